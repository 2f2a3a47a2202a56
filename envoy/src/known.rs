//! What is known of the flags that the hooks name, and the store's clock: the follower's sink.
//!
//! Left out: what is made of it (`picture`), and when (`publish`).

use crate::hooks::Hook;
use crate::tally::Tally;
use cutout_core::{BreakerId, Declared, Flag, Mode, State};
use cutout_flags::{Sink, StoreError, Synced, Update};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long after the last contact with the store breakers' own timers still run, milliseconds: as in the client.
pub const FROZEN_AFTER_MS: i64 = 90_000;

/// After how long without an answer the next one is news, whatever it says.
const SILENCE: Duration = Duration::from_secs(5);

/// The flags of one name, by the whole identity.
pub type Flags = BTreeMap<BreakerId, Flag>;

/// Everything that is known.
#[derive(Debug)]
pub struct Known {
    tally: Arc<Tally>,
    hooked: BTreeMap<String, usize>,
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    flags: BTreeMap<String, Flags>,
    contact: Option<Instant>,
    /// The store's time at some instant, measured anew with each other offset: a step of the system's clock in between moves nothing.
    measured: Option<(Instant, i64)>,
    offset_ms: i64,
    started: Option<Instant>,
    checked: Option<Arc<Declared>>,
}

/// One reading of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Now by the store's clock, Unix milliseconds; at most [`FROZEN_AFTER_MS`] after the last contact.
    pub store_ms: i64,
    /// The same, without standing still: a person's decision ends by it.
    pub true_ms: i64,
    /// How long the store has been silent.
    pub silence: Duration,
}

impl Known {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(hooks: &[Hook], tally: Arc<Tally>) -> Known {
        let hooked = hooks.iter().map(|hook| (hook.breaker.clone(), hook.key.len())).collect();
        let kept = Mutex::new(Kept { started: Some(Instant::now()), ..Kept::default() });
        Known { tally, hooked, kept, news: Notify::new() }
    }

    /// Returns when something changed since the last time that it returned.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The moment, and what `look` sees; none before the store's first answer.
    pub fn now<T>(&self, look: impl FnOnce(&BTreeMap<String, Flags>, Moment) -> T) -> Option<T> {
        let kept = self.kept();
        let (at, measured_ms) = kept.measured?;
        let silence = kept.contact?.elapsed();
        let true_ms = measured_ms.saturating_add(ms(at.elapsed()));
        let store_ms = true_ms.saturating_sub(ms(silence).saturating_sub(FROZEN_AFTER_MS).max(0));
        Some(look(&kept.flags, Moment { store_ms, true_ms, silence }))
    }

    /// How long the store has been silent; before the first contact since the start.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let kept = self.kept();
        let since = kept.contact.or(kept.started);
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Whether the store has ever answered.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.kept().contact.is_some()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells hooks that cannot fit what the service declares: Envoy would never refuse for them.
    fn check(&self, declared: &Declared) {
        for (name, parts) in &self.hooked {
            match declared.breakers.get(name) {
                None => {
                    tracing::warn!(breaker = name, "no service declares a breaker of this hook's name");
                }
                Some(breaker) if breaker.key.len() != *parts => tracing::warn!(
                    breaker = name,
                    declared = ?breaker.key,
                    parts,
                    "the hook's key has not as many parts as the breaker's: it will refuse nothing"
                ),
                Some(_) => {}
            }
        }
    }
}

impl Sink for Known {
    fn update(&self, updates: &[Update]) {
        let mut kept = self.kept();
        for Update { id, flag } in updates.iter().filter(|update| self.hooked.contains_key(update.id.name()))
        {
            let flags = kept.flags.entry(id.name().to_owned()).or_default();
            match flag {
                Some(published) if !is_plain(&published.flag) => {
                    flags.insert(id.clone(), published.flag.clone());
                }
                _ => {
                    flags.remove(id);
                }
            }
        }
        drop(kept);
        self.news.notify_one();
    }

    fn synced(&self, at: &Synced) {
        let mut kept = self.kept();
        // A silence that may have let a limit act has ended, or this is the first answer.
        let is_measured = kept.measured.is_none() || kept.offset_ms != at.offset_ms;
        let is_news = is_measured || kept.contact.is_none_or(|contact| contact.elapsed() > SILENCE);
        kept.contact = Some(Instant::now());
        if is_measured {
            kept.measured = Some((Instant::now(), at.local_ms.saturating_add(at.offset_ms)));
            kept.offset_ms = at.offset_ms;
        }
        let unchecked = at.declared.clone().filter(|declared| kept.checked.as_ref() != Some(declared));
        if let Some(declared) = &unchecked {
            kept.checked = Some(Arc::clone(declared));
        }
        drop(kept);
        if let Some(declared) = unchecked {
            self.check(&declared);
        }
        if is_news {
            self.news.notify_one();
        }
    }

    fn failed(&self, _: &StoreError) {
        self.tally.store_failures.fetch_add(1, Relaxed);
        // Whether a limit acts now is a matter of time.
        self.news.notify_one();
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Whether a flag tells no more than that calls flow, now and later, as long as the store answers.
fn is_plain(flag: &Flag) -> bool {
    let tells = flag.would.is_some() || flag.next.is_some() || flag.fault.is_some() || flag.forced.is_some();
    flag.state == State::Closed && flag.mode == Mode::Enforce && !tells
}
