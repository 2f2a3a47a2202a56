//! The store's clock as this process knows it, and how old that knowledge is.
//!
//! Ramps and lapses are dated by the store's clock, so callers need its offset from a clock of their own, measured at each
//! snapshot. Their own is the monotonic one: a step of the system's clock between two snapshots moves nothing. It is tokio's, so
//! that a test which pauses the runtime's time moves breakers too.
//! When the store has been silent for long, time stands still for breakers: a process that is cut off must not walk
//! through half-open to closed on its own while the fleet knows better.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How long after the last contact with the store breakers' own timers still run. Then ramps stand still, and what is open or
/// half-open stays so until the store answers or a [`MaxStaleness`](crate::MaxStaleness) acts. Milliseconds.
///
/// ```
/// assert_eq!(cutout::FROZEN_AFTER_MS, 90_000);
/// ```
pub const FROZEN_AFTER_MS: i64 = 90_000;

/// No contact yet.
const NEVER_MS: i64 = i64::MAX;

/// Offset and freshness, shared by all handles of a client.
#[derive(Debug)]
pub(crate) struct StoreClock {
    started: Instant,
    /// The store's time less the monotonic time.
    offset_ms: AtomicI64,
    /// The offset from the system's clock behind it, by which a new measurement is told from a mere contact.
    measured_ms: AtomicI64,
    /// The monotonic time of the last good contact.
    contact_ms: AtomicI64,
}

/// One reading of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the client started: for what this process does by itself.
    pub(crate) monotonic_ms: i64,
    /// Now by the store's clock, Unix milliseconds; at most [`FROZEN_AFTER_MS`] after the last contact.
    pub(crate) store_ms: i64,
    /// The same, without standing still.
    pub(crate) true_ms: i64,
}

impl Default for StoreClock {
    fn default() -> StoreClock {
        StoreClock {
            started: Instant::now(),
            // Until the store tells its own time, the system's is the best guess.
            offset_ms: AtomicI64::new(local_ms()),
            measured_ms: AtomicI64::new(NEVER_MS),
            contact_ms: AtomicI64::new(NEVER_MS),
        }
    }
}

impl StoreClock {
    /// Notes a good contact at the system's time `local_ms`, from which the store's was `measured_ms` away at the last
    /// snapshot.
    pub(crate) fn contact(&self, local_ms: i64, measured_ms: i64) {
        self.contact_at(self.monotonic_ms(), local_ms, measured_ms);
    }

    /// The store counts as answering whatever time passes, until [`StoreClock::contact_ends`].
    pub(crate) fn contact_for_good(&self) {
        self.contact_ms.store(NEVER_MS - 1, Ordering::Relaxed);
    }

    /// The last good contact was now.
    pub(crate) fn contact_ends(&self) {
        self.contact_ms.store(self.monotonic_ms(), Ordering::Relaxed);
    }

    fn contact_at(&self, monotonic_ms: i64, local_ms: i64, measured_ms: i64) {
        if self.measured_ms.swap(measured_ms, Ordering::Relaxed) != measured_ms {
            let store_ms = local_ms.saturating_add(measured_ms);
            self.offset_ms.store(store_ms.saturating_sub(monotonic_ms), Ordering::Relaxed);
        }
        self.contact_ms.store(monotonic_ms, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Moment {
        self.at(self.monotonic_ms())
    }

    fn at(&self, monotonic_ms: i64) -> Moment {
        let offset_ms = self.offset_ms.load(Ordering::Relaxed);
        let frozen_ms = self.contact_ms.load(Ordering::Relaxed).saturating_add(FROZEN_AFTER_MS);
        Moment {
            monotonic_ms,
            store_ms: monotonic_ms.min(frozen_ms).saturating_add(offset_ms),
            true_ms: monotonic_ms.saturating_add(offset_ms),
        }
    }

    /// How long ago the last good contact was; none: there was none yet.
    pub(crate) fn age(&self) -> Option<Duration> {
        (self.contact_ms.load(Ordering::Relaxed) != NEVER_MS).then(|| self.silence())
    }

    /// How long the store has been silent: since the last good contact, before the first since the start.
    pub(crate) fn silence(&self) -> Duration {
        let contact_ms = self.contact_ms.load(Ordering::Relaxed);
        let since_ms = if contact_ms == NEVER_MS { 0 } else { contact_ms };
        Duration::from_millis(self.monotonic_ms().saturating_sub(since_ms).max(0).unsigned_abs())
    }

    /// When the silence began, by the store's clock; before the first contact, when the client started.
    pub(crate) fn silent_since_ms(&self) -> i64 {
        let contact_ms = self.contact_ms.load(Ordering::Relaxed);
        let since_ms = if contact_ms == NEVER_MS { 0 } else { contact_ms };
        since_ms.saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn monotonic_ms(&self) -> i64 {
        #[cfg(test)]
        READ.with(|read| read.set(read.get() + 1));
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread has read a clock.
    pub(crate) static READ: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The system's clock, Unix milliseconds.
fn local_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_store_and_stands_still_when_it_is_silent_for_long() {
        let clock = StoreClock::default();
        assert!(clock.age().is_none());
        clock.contact_at(1_000, 700_000, 250);
        let at = |monotonic_ms| (clock.at(monotonic_ms).store_ms, clock.at(monotonic_ms).true_ms);
        assert_eq!(at(1_000), (700_250, 700_250));
        assert_eq!(at(91_000), (790_250, 790_250));
        assert_eq!(at(91_001), (790_250, 790_251));
        assert_eq!(at(5_000_000), (790_250, 5_699_250));
        clock.contact_at(5_000_000, 5_699_000, 240);
        assert_eq!(at(5_000_001), (5_699_241, 5_699_241));
        assert!(clock.age().is_some());
    }

    #[test]
    fn a_step_of_the_systems_clock_moves_nothing_until_the_next_snapshot_has_measured_it() {
        let clock = StoreClock::default();
        clock.contact_at(1_000, 700_000, 250);
        // An hour back; the follower still tells the offset of the last snapshot.
        clock.contact_at(2_000, 701_000 - 3_600_000, 250);
        assert_eq!(clock.at(2_000).store_ms, 701_250);
        clock.contact_at(3_000, 702_000 - 3_600_000, 250 + 3_600_000);
        assert_eq!(clock.at(3_000).store_ms, 702_250);
    }
}
