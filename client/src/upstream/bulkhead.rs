//! A bound on the calls under way, so that one slow vendor does not take all of a process with it.
//!
//! What finds no room waits in line if there is room to wait, and is refused at once if not, as with Envoy's pending limit.
//! The room is tokio's semaphore, which is fair. tower's limit has no bound on those who wait, so the line is counted here.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How many calls may be under way at once for one key in this process, and how many more may wait for room.
///
/// ```
/// let bulkhead = cutout::Bulkhead { max_concurrent: 50, max_waiting: 10 };
/// assert!(bulkhead.max_concurrent < cutout::Bulkhead::default().max_concurrent);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulkhead {
    /// Calls under way, at least 1.
    pub max_concurrent: usize,
    /// Calls that wait; 0: what finds no room is refused at once. Nobody waits for longer than the request's time-out.
    pub max_waiting: usize,
}

impl Default for Bulkhead {
    /// 1,000 under way and none waiting: far above what a healthy vendor needs (by Little's law 100 calls a second of 10 s each), low
    /// enough that a hanging one does not take a process's memory and sockets.
    fn default() -> Bulkhead {
        Bulkhead { max_concurrent: 1_000, max_waiting: 0 }
    }
}

/// A bulkhead at work.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) bounds: Bulkhead,
    places: Semaphore,
    waiting: AtomicUsize,
}

/// A place in the room.
pub(super) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    pub(super) waited: bool,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// No room to wait either.
    AtOnce,
    /// None became free in so much time.
    InVain(Duration),
}

impl Room {
    pub(super) fn new(bounds: Bulkhead) -> Room {
        Room { bounds, places: Semaphore::new(bounds.max_concurrent), waiting: AtomicUsize::new(0) }
    }

    /// A place, if there is one now.
    pub(super) fn at_once(&self) -> Option<Place<'_>> {
        let permit = self.places.try_acquire().ok()?;
        Some(Place { _permit: permit, waited: false })
    }

    /// A place by the deadline, if there is room to wait. `shown` counts those who wait.
    pub(super) async fn wait(&self, deadline: Instant, shown: &AtomicU64) -> Result<Place<'_>, Full> {
        let _waiting = Waiting::new(self, shown).ok_or(Full::AtOnce)?;
        let asked = Instant::now();
        match tokio::time::timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit, waited: true }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Full::InVain(asked.elapsed())),
        }
    }

    /// Whether nobody is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.places.available_permits() == self.bounds.max_concurrent
    }
}

/// A place in the line, given back when dropped.
struct Waiting<'a> {
    room: &'a Room,
    shown: &'a AtomicU64,
}

impl<'a> Waiting<'a> {
    fn new(room: &'a Room, shown: &'a AtomicU64) -> Option<Waiting<'a>> {
        let one_more = |waiting| (waiting < room.bounds.max_waiting).then_some(waiting + 1);
        room.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        shown.fetch_add(1, Ordering::Relaxed);
        Some(Waiting { room, shown })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shown.fetch_sub(1, Ordering::Relaxed);
    }
}
