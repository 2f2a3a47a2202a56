//! This machine's clock, as an argument.
//!
//! What is dated by the store is due here by the local clock and the offset between the two, so a follower, a service and
//! a client read a local clock. It is the system's; the simulation gives them its own, which runs with its time.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// A local clock. Cheap to clone.
///
/// ```
/// let stands_still = cutout_flags::LocalClock::new(|| 1_795_224_918_000);
/// assert_eq!(stands_still.now_ms(), 1_795_224_918_000);
/// ```
#[derive(Clone)]
pub struct LocalClock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl LocalClock {
    /// A clock of one's own that tells Unix milliseconds.
    pub fn new(now_ms: impl Fn() -> i64 + Send + Sync + 'static) -> LocalClock {
        LocalClock(Arc::new(now_ms))
    }

    /// Now, Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl Default for LocalClock {
    /// The system's clock.
    fn default() -> LocalClock {
        LocalClock::new(system_ms)
    }
}

impl fmt::Debug for LocalClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalClock").finish_non_exhaustive()
    }
}

/// The system's clock, Unix milliseconds.
pub(crate) fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
