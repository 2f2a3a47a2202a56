//! What becomes of breakers when the store has been silent for too long, and whether that is so now.
//!
//! The closed path reads no clock, so nobody there could notice that time has passed. Instead the client's own task
//! looks once a second, and what it finds is written into the cells of all breakers concerned.
//! Left out: the writing into cells (`memory`), and what a cell makes of it (`cell`).

use crate::clock::FROZEN_AFTER_MS;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The shortest staleness that can be told to act. Before it breakers' own timers still run.
///
/// ```
/// assert_eq!(cutout::MAX_STALENESS_MIN.as_secs(), 90);
/// ```
pub const MAX_STALENESS_MIN: Duration = Duration::from_millis(FROZEN_AFTER_MS.unsigned_abs());

/// How it is written in metrics that a limit is for all breakers without one of their own.
const ALL_OTHERS: &str = "*";

/// What a breaker does when the store has been silent for long: counted from the last good contact; before the first
/// from the client's start.
///
/// A person's decision in force is left alone until its own end, and a breaker known to be in watch mode refuses nobody.
///
/// ```
/// use cutout::MaxStaleness;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = cutout::Client::builder("redis://127.0.0.1/")
///     .max_staleness_of("bank-charge", MaxStaleness::OpenAfter(Duration::from_secs(60)))
///     .connect()
///     .await;
/// assert!(matches!(client, Err(cutout::ConnectError::Staleness(_))), "shorter than 90 s");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaxStaleness {
    /// It goes on by the last known flag, however old: what is open stays open, what is closed stays closed.
    #[default]
    LastKnown,
    /// After so long it counts as closed: for vendors where a wrongly refused call costs more than a failing one.
    ClosedAfter(Duration),
    /// After so long it counts as open, and admits no probes unless a signal held it open anyway: for vendors where a
    /// call that fails costs more than one not made.
    OpenAfter(Duration),
}

/// What a limit makes of a breaker now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Act {
    /// Nothing: the flag decides.
    Nothing = 0,
    Close = 1,
    Open = 2,
}

impl Act {
    pub(crate) fn from_stored(stored: i64) -> Act {
        match stored {
            1 => Act::Close,
            2 => Act::Open,
            _ => Act::Nothing,
        }
    }
}

impl MaxStaleness {
    fn after(self) -> Option<Duration> {
        match self {
            MaxStaleness::LastKnown => None,
            MaxStaleness::ClosedAfter(after) | MaxStaleness::OpenAfter(after) => Some(after),
        }
    }

    fn act(self) -> Act {
        match self {
            MaxStaleness::LastKnown => Act::Nothing,
            MaxStaleness::ClosedAfter(_) => Act::Close,
            MaxStaleness::OpenAfter(_) => Act::Open,
        }
    }

    fn word(self) -> &'static str {
        match self {
            MaxStaleness::LastKnown => "last-known",
            MaxStaleness::ClosedAfter(_) => "closed",
            MaxStaleness::OpenAfter(_) => "open",
        }
    }

    /// Whether it leaves breakers' own timers their time.
    pub(crate) fn is_usable(self) -> bool {
        self.after().is_none_or(|after| after >= MAX_STALENESS_MIN)
    }
}

/// The limits of one client.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    all_others: Limit,
    by_name: BTreeMap<String, Limit>,
}

#[derive(Debug, Default)]
struct Limit {
    staleness: MaxStaleness,
    acts: AtomicBool,
}

impl Limits {
    pub(crate) fn new(all_others: MaxStaleness, by_name: BTreeMap<String, MaxStaleness>) -> Limits {
        let limit = |staleness| Limit { staleness, acts: AtomicBool::new(false) };
        let by_name = by_name.into_iter().map(|(name, staleness)| (name, limit(staleness))).collect();
        Limits { all_others: limit(all_others), by_name }
    }

    /// What is made of the breakers of this name now.
    pub(crate) fn act_on(&self, name: &str) -> Act {
        let limit = self.by_name.get(name).unwrap_or(&self.all_others);
        if limit.acts.load(Ordering::Relaxed) { limit.staleness.act() } else { Act::Nothing }
    }

    /// Whether any limit acts now.
    pub(crate) fn any_acts(&self) -> bool {
        self.each().any(|(_, limit)| limit.acts.load(Ordering::Relaxed))
    }

    /// Takes note of how long the store has been silent. True: a limit began or ended to act, and cells must be told.
    pub(crate) fn look(&self, silence: Duration) -> bool {
        // Every limit is looked at, whether or not one before it changed.
        self.each().filter(|(name, limit)| limit.look(name, silence)).count() > 0
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Limit)> {
        let by_name = self.by_name.iter().map(|(name, limit)| (name.as_str(), limit));
        by_name.chain([(ALL_OTHERS, &self.all_others)])
    }
}

impl Limit {
    fn look(&self, name: &str, silence: Duration) -> bool {
        let acts = self.staleness.after().is_some_and(|after| silence > after);
        if self.acts.swap(acts, Ordering::Relaxed) == acts {
            return false;
        }
        self.tell(name, acts, silence);
        true
    }

    fn tell(&self, name: &str, acts: bool, silence: Duration) {
        let (policy, silent_s) = (self.staleness.word(), silence.as_secs());
        let change = if acts {
            tracing::error!(
                breaker = name,
                policy,
                silent_s,
                "the store has been silent for too long: max_staleness acts now"
            );
            "begins"
        } else {
            tracing::info!(breaker = name, policy, "the store answers again: max_staleness acts no more");
            "ends"
        };
        let labels =
            [("breaker", name.to_owned()), ("policy", policy.to_owned()), ("change", change.to_owned())];
        metrics::counter!("cutout_client_max_staleness_total", &labels).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_own_limit_and_it_acts_beyond_it_alone() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let by_name = [
            ("safe".to_owned(), MaxStaleness::OpenAfter(minutes(5))),
            ("never".to_owned(), MaxStaleness::LastKnown),
        ];
        let limits = Limits::new(MaxStaleness::ClosedAfter(minutes(10)), by_name.into());
        let acts = || ["safe", "never", "other"].map(|name| limits.act_on(name));
        assert!(!limits.look(minutes(5)) && !limits.any_acts(), "not beyond it yet");
        assert!(limits.look(minutes(5) + Duration::from_millis(1)) && limits.any_acts());
        assert_eq!(acts(), [Act::Open, Act::Nothing, Act::Nothing]);
        assert!(limits.look(minutes(11)) && !limits.look(minutes(12)), "told when it changes");
        assert_eq!(acts(), [Act::Open, Act::Nothing, Act::Close]);
        assert!(limits.look(Duration::ZERO) && !limits.any_acts(), "both end with the first contact");
    }

    #[test]
    fn nothing_acts_before_timers_stand_still() {
        assert!(MaxStaleness::LastKnown.is_usable());
        assert!(MaxStaleness::OpenAfter(MAX_STALENESS_MIN).is_usable());
        assert!(!MaxStaleness::ClosedAfter(MAX_STALENESS_MIN - Duration::from_millis(1)).is_usable());
    }
}
