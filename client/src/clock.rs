//! The store's clock as this process knows it, and how old that knowledge is.
//!
//! Ramps and lapses are dated by the store's clock, so callers need its offset from their own, measured at each
//! snapshot. When the store has been silent for long, time stands still for breakers: a process that is cut off must
//! not walk through half-open to closed on its own while the fleet knows better.

use cutout_flags::LocalClock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How long after the last contact with the store breakers' own timers still run.
pub const FROZEN_AFTER_MS: i64 = 90_000;

/// Offset and freshness, shared by all handles of a client.
#[derive(Debug)]
pub(crate) struct StoreClock {
    local: LocalClock,
    /// The store's time less the local time.
    offset_ms: AtomicI64,
    /// The local time of the last good contact; `i64::MAX` before the first, when nothing can be timed anyway.
    contact_ms: AtomicI64,
}

impl Default for StoreClock {
    fn default() -> StoreClock {
        StoreClock::new(LocalClock::default())
    }
}

impl StoreClock {
    /// One that knows nothing of the store yet.
    pub(crate) fn new(local: LocalClock) -> StoreClock {
        StoreClock { local, offset_ms: AtomicI64::new(0), contact_ms: AtomicI64::new(i64::MAX) }
    }

    /// Notes a good contact at a local time, with the offset then known.
    pub(crate) fn contact(&self, local_ms: i64, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
        self.contact_ms.store(local_ms, Ordering::Relaxed);
    }

    /// Now by the store's clock, Unix milliseconds; at most [`FROZEN_AFTER_MS`] after the last contact.
    pub(crate) fn now_ms(&self) -> i64 {
        self.at(self.local.now_ms())
    }

    fn at(&self, local_ms: i64) -> i64 {
        let frozen_ms = self.contact_ms.load(Ordering::Relaxed).saturating_add(FROZEN_AFTER_MS);
        local_ms.min(frozen_ms).saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    /// How long ago the last good contact was; none: there was none yet.
    pub(crate) fn age(&self) -> Option<Duration> {
        let contact_ms = self.contact_ms.load(Ordering::Relaxed);
        let age_ms = self.local.now_ms().saturating_sub(contact_ms).max(0);
        (contact_ms != i64::MAX).then(|| Duration::from_millis(age_ms.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_store_and_stands_still_when_it_is_silent_for_long() {
        let clock = StoreClock::default();
        assert_eq!((clock.at(500), clock.age()), (500, None));
        clock.contact(1_000, 250);
        assert_eq!(
            [1_000, 91_000, 91_001, 5_000_000].map(|ms| clock.at(ms)),
            [1_250, 91_250, 91_250, 91_250]
        );
        clock.contact(5_000_000, -10);
        assert_eq!(clock.at(5_000_001), 4_999_991);
        assert!(clock.age().is_some());
    }
}
