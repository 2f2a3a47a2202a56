//! When this instance last heard of what feeds it: notifications, and the scheduled run.
//!
//! Memory alone, and of this instance alone: of several, each is sent a part. The scheduled run sends one callback for each
//! monitor, so that every instance hears of it soon.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

/// Nothing was heard yet.
const NEVER: i64 = i64::MIN;

/// The times, Unix milliseconds of this machine's clock.
#[derive(Debug)]
pub(crate) struct Pulse {
    notification_ms: AtomicI64,
    reconcile_ms: AtomicI64,
    started_ms: i64,
}

/// What brought a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Notification,
    Reconcile,
}

impl Pulse {
    /// Of an instance that starts at `now_ms`.
    pub(crate) fn new(now_ms: i64) -> Pulse {
        let [notification_ms, reconcile_ms] = [NEVER, NEVER].map(AtomicI64::new);
        Pulse { notification_ms, reconcile_ms, started_ms: now_ms }
    }

    fn of(&self, kind: Kind) -> &AtomicI64 {
        match kind {
            Kind::Notification => &self.notification_ms,
            Kind::Reconcile => &self.reconcile_ms,
        }
    }

    /// Something of that kind was committed at `now_ms`.
    pub(crate) fn heard(&self, kind: Kind, now_ms: i64) {
        self.of(kind).fetch_max(now_ms, Relaxed);
    }

    /// How long ago that was at `now_ms`, milliseconds; none: never since the start.
    pub(crate) fn age_ms(&self, kind: Kind, now_ms: i64) -> Option<i64> {
        let at_ms = self.of(kind).load(Relaxed);
        (at_ms != NEVER).then(|| now_ms.saturating_sub(at_ms).max(0))
    }

    /// For how long nothing of that kind was heard at `now_ms`, milliseconds: since the start if nothing was heard yet.
    pub(crate) fn silent_ms(&self, kind: Kind, now_ms: i64) -> i64 {
        self.age_ms(kind, now_ms).unwrap_or(now_ms.saturating_sub(self.started_ms))
    }
}
