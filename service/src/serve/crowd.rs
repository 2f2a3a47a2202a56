//! The connections of one server: each takes a place, and when all are taken the one that has asked for nothing for longest makes room.
//!
//! So ten thousand connections that say nothing cost no more than the places there are, and hold up nobody who asks. A request at work is never
//! given up for it. A stream that is being sent counts as idle, since its answer has begun: its reader comes back.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How often it is looked again whether somebody can make room.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How many leave at once: one by one each of them would cost a turn of the scheduler.
const LEAVE_AT_ONCE: usize = 32;

/// All connections.
#[derive(Debug)]
pub(super) struct Crowd {
    places: Arc<Semaphore>,
    members: Mutex<BTreeMap<u64, Arc<Member>>>,
    next: AtomicU64,
    started: Instant,
    /// How long one must have been idle before it makes room.
    idle_min: Duration,
}

#[derive(Debug)]
struct Member {
    /// Since when it asks for nothing, milliseconds since the start of the server.
    idle_since_ms: AtomicU64,
    /// How many requests of it are at work.
    at_work: AtomicU64,
    /// Tells it to make room.
    leave: Notify,
}

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    member: Arc<Member>,
    _permit: OwnedSemaphorePermit,
}

/// A request at work; over when dropped.
#[derive(Debug)]
pub(super) struct AtWork {
    crowd: Arc<Crowd>,
    member: Arc<Member>,
}

impl Crowd {
    pub(super) fn new(places: usize, idle_min: Duration) -> Arc<Crowd> {
        Arc::new(Crowd {
            places: Arc::new(Semaphore::new(places)),
            members: Mutex::default(),
            next: AtomicU64::new(0),
            started: Instant::now(),
            idle_min,
        })
    }

    /// A permit for a place, if need be that of an idle connection.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Some(permit) = self.free() {
                return permit;
            }
            self.make_room();
            let waiting = self.places.clone().acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_EVERY, waiting).await {
                return permit;
            }
        }
    }

    /// A permit, if a place is free.
    pub(super) fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// The place of a new connection.
    pub(super) fn enter(self: &Arc<Crowd>, permit: OwnedSemaphorePermit) -> Place {
        let number = self.next.fetch_add(1, Relaxed);
        let member = Arc::new(Member {
            idle_since_ms: AtomicU64::new(self.now_ms()),
            at_work: AtomicU64::new(0),
            leave: Notify::new(),
        });
        self.members().insert(number, member.clone());
        Place { crowd: self.clone(), number, member, _permit: permit }
    }

    /// Asks the connections that have been idle for longest, and for long enough, to leave.
    pub(super) fn make_room(&self) {
        let idle_min_ms = u64::try_from(self.idle_min.as_millis()).unwrap_or(u64::MAX);
        let until_ms = self.now_ms().saturating_sub(idle_min_ms);
        let members = self.members();
        let idle = members.values().filter(|member| !member.is_at_work());
        let idle = idle.map(|member| (member.idle_since_ms.load(Relaxed), member));
        let mut idle: Vec<_> = idle.filter(|(since_ms, _)| *since_ms < until_ms).collect();
        idle.sort_by_key(|(since_ms, _)| *since_ms);
        idle.iter().take(LEAVE_AT_ONCE).for_each(|(_, member)| member.leave.notify_one());
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Member>>> {
        // Every change is one step, so a panic leaves it whole.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn is_at_work(&self) -> bool {
        self.at_work.load(Relaxed) > 0
    }
}

impl Place {
    /// A request begins.
    pub(super) fn begin(&self) -> AtWork {
        self.member.at_work.fetch_add(1, Relaxed);
        AtWork { crowd: self.crowd.clone(), member: self.member.clone() }
    }

    /// Returns when the connection is to make room, and has not asked for anything since it was chosen.
    pub(super) async fn left(&self) {
        loop {
            self.member.leave.notified().await;
            if !self.member.is_at_work() {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.members().remove(&self.number);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.member.idle_since_ms.store(self.crowd.now_ms(), Relaxed);
        self.member.at_work.fetch_sub(1, Relaxed);
    }
}
