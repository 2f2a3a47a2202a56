//! What people have ordered, remembered outside the store: a store that loses its data must not undo it.
//!
//! Every instance follows the flags anyway, so it learns of each override and reads who gave it and why. When the store
//! comes back under another epoch, what is remembered and not yet over is written back before anything else; of
//! several instances compare-and-set lets one do it.

use crate::Shared;
use crate::backoff::Backoff;
use crate::order::{self, OrderError};
use crate::sweep;
use crate::term::{self, TermError};
use cutout_core::Chain;
use cutout_core::flag::ForcedUntil;
use cutout_core::{Act, BreakerId, Cause, Order, Override, Pause};
use cutout_flags::{Epoch, LocalClock, Published, StoreError, Synced, Term, Update};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How much later than a pause's end an instance may look at what was held back, twice this at the most; milliseconds.
const PAUSE_END_JITTER_MAX_MS: u64 = 250;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct People {
    memory: Mutex<Memory>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Memory {
    overrides: BTreeMap<BreakerId, Remembered>,
    pause: Option<SeenPause>,
    /// The store's clock less this machine's.
    offset_ms: i64,
    /// How many losses the follower has seen, and how many of them were answered.
    losses: (u64, u64),
}

/// A pause, and the epoch under which it was last seen.
#[derive(Debug)]
struct SeenPause {
    epoch: Epoch,
    pause: Pause,
    /// Whether it came to its end and what it had held back was looked at.
    is_over: bool,
}

/// An override, and the epoch under which it was last seen.
#[derive(Debug, Clone)]
struct Remembered {
    epoch: Epoch,
    forced: Override,
    /// Whether who and why were read.
    is_complete: bool,
}

impl Remembered {
    /// What the flag alone tells.
    fn of(published: &Published, shown: ForcedUntil) -> Remembered {
        let forced = Override {
            state: shown.state,
            by: "unknown".to_owned(),
            why: "the store lost who ordered it and why".to_owned(),
            since_ms: published.flag.since_ms,
            until_ms: shown.until_ms,
        };
        Remembered { epoch: published.epoch.clone(), forced, is_complete: false }
    }
}

impl Memory {
    fn sees(&self, epoch: &Epoch, pause: &Pause) -> bool {
        self.pause.as_ref().is_some_and(|seen| seen.epoch == *epoch && seen.pause == *pause)
    }
}

impl People {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change is one step, so a panic leaves it whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in flags that changed.
    pub(crate) fn update(&self, updates: &[Update]) {
        let mut memory = self.memory();
        for Update { id, flag } in updates {
            let Some(published) = flag else { continue };
            if let Some(shown) = published.flag.forced {
                // Another flag may be another override: who and why are read anew.
                memory.overrides.insert(id.clone(), Remembered::of(published, shown));
                self.changed.notify_one();
            } else if memory.overrides.get(id).is_some_and(|known| known.epoch == published.epoch) {
                memory.overrides.remove(id);
            }
        }
    }

    /// Takes in that the store answered.
    pub(crate) fn synced(&self, at: &Synced) {
        let mut memory = self.memory();
        match (&at.epoch, &at.pause) {
            (Some(epoch), Some(pause)) if !memory.sees(epoch, pause) => {
                memory.pause = Some(SeenPause { epoch: epoch.clone(), pause: pause.clone(), is_over: false });
                self.changed.notify_one();
            }
            // Ended by a person; under another epoch it was lost.
            (Some(epoch), None) if memory.pause.as_ref().is_some_and(|seen| seen.epoch == *epoch) => {
                memory.pause = None;
            }
            _ => {}
        }
        memory.offset_ms = at.offset_ms;
        memory.losses.0 = at.losses;
        if memory.losses.1 < at.losses {
            self.changed.notify_one();
        }
    }

    /// How long the pause still lasts, or what it held back still waits; none: there is none that ends by itself.
    fn pause_left(&self, clock: &LocalClock) -> Option<Duration> {
        let memory = self.memory();
        let seen = memory.pause.as_ref().filter(|seen| !seen.is_over)?;
        let now_ms = clock.now_ms().saturating_add(memory.offset_ms);
        let left_ms = seen.pause.until_ms?.saturating_sub(now_ms);
        Some(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)))
    }

    fn pause_is_over(&self) {
        if let Some(seen) = &mut self.memory().pause {
            seen.is_over = true;
        }
    }

    /// Whether the follower saw a loss that was not answered yet: how many it had seen by now.
    fn unanswered_loss(&self) -> Option<u64> {
        let (seen, answered) = self.memory().losses;
        (seen > answered).then_some(seen)
    }

    fn answered(&self, losses: u64) {
        self.memory().losses.1 = losses;
    }

    /// Overrides of which only the flag was seen.
    fn incomplete(&self) -> Vec<BreakerId> {
        let memory = self.memory();
        let incomplete = memory.overrides.iter().filter(|(_, known)| !known.is_complete);
        incomplete.map(|(id, _)| id.clone()).collect()
    }

    /// Keeps who and why of an override that is still remembered; none: the record has none any more.
    fn learn(&self, id: &BreakerId, epoch: &Epoch, forced: Option<Override>) {
        let mut memory = self.memory();
        if memory.overrides.get(id).is_none_or(|known| known.epoch != *epoch) {
            return;
        }
        match forced {
            Some(forced) => {
                let remembered = Remembered { epoch: epoch.clone(), forced, is_complete: true };
                memory.overrides.insert(id.clone(), remembered);
            }
            None => drop(memory.overrides.remove(id)),
        }
    }

    /// Overrides that were seen under another epoch than `epoch`.
    fn lost_before(&self, epoch: &Epoch) -> Vec<(BreakerId, Override)> {
        let memory = self.memory();
        let lost = memory.overrides.iter().filter(|(_, known)| known.epoch != *epoch);
        lost.map(|(id, known)| (id.clone(), known.forced.clone())).collect()
    }

    /// The override was brought back, or is over: from now on it belongs to `epoch`.
    fn settled(&self, id: &BreakerId, epoch: &Epoch) {
        if let Some(known) = self.memory().overrides.get_mut(id) {
            known.epoch = epoch.clone();
        }
    }

    /// Takes the pause that was seen under another epoch than `epoch`, and lets it belong to this one.
    fn take_lost_pause(&self, epoch: &Epoch) -> Option<Pause> {
        let mut memory = self.memory();
        let seen = memory.pause.as_mut().filter(|seen| seen.epoch != *epoch)?;
        seen.epoch = epoch.clone();
        Some(seen.pause.clone())
    }
}

#[cfg(test)]
impl People {
    /// Whether an override is known with who and why.
    pub(crate) fn knows(&self, id: &BreakerId) -> bool {
        self.memory().overrides.get(id).is_some_and(|known| known.is_complete)
    }

    pub(crate) fn knows_pause(&self) -> bool {
        self.memory().pause.is_some()
    }
}

/// Learns who gave each override and why, brings back what was lost, and sweeps when a pause ends by its time. Never
/// returns.
pub(crate) async fn run(shared: &Shared) {
    let mut backoff = Backoff::default();
    let mut pause_ended = false;
    loop {
        match keep_up(shared, pause_ended).await {
            Ok(()) => {
                backoff = Backoff::default();
                pause_ended = news_or_pause_end(shared).await;
            }
            // A newer breakers' file is at work elsewhere, and its instance does the same.
            Err(TermError::StandsBack(_)) => pause_ended = news_or_pause_end(shared).await,
            Err(TermError::Store(error)) => {
                tracing::error!(error = %Chain(&error), "what people ordered cannot be read or restored: trying again");
                backoff.wait().await;
            }
        }
    }
}

/// Waits for news. True: the pause has come to its end.
async fn news_or_pause_end(shared: &Shared) -> bool {
    let people = &shared.people;
    let Some(left) = people.pause_left(&shared.clock) else {
        people.changed.notified().await;
        return false;
    };
    // A little late, so that it is over by the store's clock too, and not for all instances at once.
    let late = Duration::from_millis(fastrand::u64(..PAUSE_END_JITTER_MAX_MS) + PAUSE_END_JITTER_MAX_MS);
    tokio::time::timeout(left + late, people.changed.notified()).await.is_err()
}

async fn keep_up(shared: &Shared, pause_ended: bool) -> Result<(), TermError> {
    if pause_ended {
        sweep::sweep(shared).await?;
        shared.people.pause_is_over();
    }
    if let Some(losses) = shared.people.unanswered_loss() {
        term::declare(shared).await?;
        shared.people.answered(losses);
    }
    let ids = shared.people.incomplete();
    if ids.is_empty() {
        return Ok(());
    }
    let read = shared.parts.store.read(&ids, None).await?;
    let Some(term) = read.term else { return Ok(()) };
    for (id, stored) in ids.iter().zip(&read.breakers).filter(|(id, _)| !read.unreadable.contains(*id)) {
        let forced = stored.as_ref().and_then(|stored| stored.value.forced().cloned());
        shared.people.learn(id, &term.epoch, forced);
    }
    Ok(())
}

/// Writes back what was lost before `term`: overrides that are not over, and the pause.
pub(crate) async fn restore(shared: &Shared, term: &Term) -> Result<(), TermError> {
    for (id, lost) in shared.people.lost_before(&term.epoch) {
        let Override { state, by, why, since_ms, until_ms } = lost;
        let order = Order { by, why, act: Act::Restore { since_ms, state, until_ms } };
        // The order's own road asks for the term again, which is in force by now.
        match Box::pin(order::obey(shared, &id, &order)).await {
            Ok(_) => tracing::warn!(breaker = id.as_str(), "an override that the store lost is restored"),
            Err(OrderError::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(breaker = id.as_str(), error = %Chain(&error), "an override cannot be restored");
            }
        }
        shared.people.settled(&id, &term.epoch);
    }
    restore_pause(shared, term).await?;
    Ok(())
}

async fn restore_pause(shared: &Shared, term: &Term) -> Result<(), StoreError> {
    let Some(pause) = shared.people.take_lost_pause(&term.epoch) else { return Ok(()) };
    let read = shared.parts.store.read(&[], None).await?;
    if read.pause.is_none() && pause.holds_at(read.now_ms) {
        let cause = Cause::Person { by: pause.by.clone(), why: pause.why.clone(), act: "restore" };
        shared.parts.store.set_pause(Some(&pause), &cause, read.now_ms).await?;
        let Pause { by, why, until_ms, .. } = &pause;
        let at_ms = read.now_ms;
        tracing::warn!(
            cause = "person",
            act = "restore",
            by,
            why,
            at_ms,
            until_ms,
            "a pause that the store lost is restored"
        );
    }
    Ok(())
}
