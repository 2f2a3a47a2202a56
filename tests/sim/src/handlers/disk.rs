//! The store of the handler level: the real memory store behind a way that is slow, breaks, and crashes who uses it.
//!
//! Every party has its own way to the one disk. What was read, written and shown is told to the checker in the order in which
//! it happened. Bugs that sit between the service and its store are planted here.

use crate::dice::Dice;
use crate::history::{START_MS, Window};
use crate::plants::Plant;
use cutout_core::{BreakerId, Hold, MonitorSeen, Pause};
use cutout_flags::{Change, Epoch, MemoryStore, Position, Published, Store, StoreError, Write};
use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

tokio::task_local! {
    /// Which posted message a task works on.
    pub(crate) static JOB: u64;
}

/// True time, which is the runtime's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrueTime(Instant);

impl TrueTime {
    pub(crate) fn start() -> TrueTime {
        TrueTime(Instant::now())
    }

    /// Unix milliseconds.
    pub(crate) fn now_ms(self) -> i64 {
        START_MS + i64::try_from(self.0.elapsed().as_millis()).unwrap_or(0)
    }

    pub(crate) fn at(self, ms: i64) -> Instant {
        self.0 + Duration::from_millis(u64::try_from(ms - START_MS).unwrap_or(0))
    }
}

/// What a decision rests on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) now_ms: i64,
    /// As the service is told it.
    pub(crate) hold: Option<Hold>,
    /// As it is.
    pub(crate) paused: bool,
    pub(crate) monitor_id: Option<u64>,
    pub(crate) monitor: Option<MonitorSeen>,
}

/// What happened at the disk or in an instance.
pub(crate) enum Told {
    Declared(Epoch),
    Committed {
        job: Option<u64>,
        writes: Vec<(Write, Look)>,
    },
    Conflicts(u64),
    Paused(Option<Pause>),
    /// A follower was shown this, by a snapshot or by the stream alone.
    Showed {
        epoch: Option<Epoch>,
        rev: u64,
        flags: BTreeMap<BreakerId, Published>,
        whole: bool,
    },
    Answered {
        job: u64,
        status: u16,
    },
    Crashed {
        instance: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Disk {
    store: Mutex<MemoryStore>,
    replica: Mutex<Option<MemoryStore>>,
    looks: Mutex<Looks>,
    dice: Mutex<Dice>,
    pub(crate) time: TrueTime,
    pub(crate) away: Vec<Window>,
    /// Until when anything goes wrong.
    pub(crate) quiet_ms: i64,
    /// Crashes before a write, and as many after one; in thousandths.
    pub(crate) crash: u32,
    pub(crate) told: UnboundedSender<Told>,
    /// All connections break.
    broken: Notify,
    /// How often they did.
    breaks: AtomicU64,
    pub(crate) plant: Option<Plant>,
}

/// The last look of each message's task, and at each breaker of each instance.
#[derive(Debug, Default)]
struct Looks {
    of_jobs: HashMap<u64, Look>,
    of_breakers: HashMap<(usize, BreakerId), Look>,
}

/// Every change of what it guards is one step, so a panic leaves it whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    pub(crate) fn new(store: MemoryStore, dice: Dice, time: TrueTime, told: UnboundedSender<Told>) -> Disk {
        Disk {
            store: Mutex::new(store),
            replica: Mutex::default(),
            looks: Mutex::default(),
            dice: Mutex::new(dice),
            time,
            away: Vec::new(),
            quiet_ms: 0,
            crash: 0,
            told,
            broken: Notify::new(),
            breaks: AtomicU64::new(0),
            plant: None,
        }
    }

    pub(crate) fn store(&self) -> MemoryStore {
        locked(&self.store).clone()
    }

    pub(crate) fn mark_replica(&self) {
        *locked(&self.replica) = Some(self.store().fork());
    }

    /// The replica takes over, and every connection breaks.
    pub(crate) fn fail_over(&self) {
        if let Some(replica) = locked(&self.replica).take() {
            *locked(&self.store) = replica;
        }
        self.breaks.fetch_add(1, Ordering::Relaxed);
        self.broken.notify_waiters();
    }

    /// How often all connections broke.
    pub(crate) fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::Relaxed)
    }

    /// Reads the stream on a connection that was made after so many breaks.
    pub(crate) async fn tail(
        &self,
        breaks: u64,
        position: &mut Position,
        wait: Duration,
    ) -> Result<Vec<Change>, StoreError> {
        let broken = || StoreError::unreachable("following", "the connection broke");
        if self.breaks() != breaks {
            return Err(broken());
        }
        let store = self.store();
        tokio::select! {
            biased;
            () = self.broken.notified() => Err(broken()),
            found = store.tail(position, wait) => found,
        }
    }

    pub(crate) fn tell(&self, told: Told) {
        // Nobody listens any more once the history is over.
        let _ = self.told.send(told);
    }

    pub(crate) fn note_look(&self, instance: usize, ids: &[BreakerId], look: &Look) {
        let mut looks = locked(&self.looks);
        match job() {
            Some(job) => drop(looks.of_jobs.insert(job, look.clone())),
            None => {
                let of_instance = ids.iter().map(|id| ((instance, id.clone()), look.clone()));
                looks.of_breakers.extend(of_instance);
            }
        }
    }

    pub(crate) fn look(&self, instance: usize, id: Option<&BreakerId>) -> Look {
        let looks = locked(&self.looks);
        let look = match (job(), id) {
            (Some(job), _) => looks.of_jobs.get(&job),
            (None, Some(id)) => looks.of_breakers.get(&(instance, id.clone())),
            (None, None) => None,
        };
        look.cloned().unwrap_or_default()
    }

    /// The last look of a message's task, which is over.
    pub(crate) fn end_of(&self, job: u64) -> Look {
        locked(&self.looks).of_jobs.remove(&job).unwrap_or_default()
    }

    /// Waits up to so many milliseconds, as chance has it.
    pub(crate) async fn wait_ms(&self, max_ms: i64) {
        let wait_ms = locked(&self.dice).ms(1..=max_ms.max(1));
        sleep(Duration::from_millis(wait_ms.unsigned_abs())).await;
    }

    /// Waits as a writer does between reading and writing: now and then long enough for others to come between.
    pub(crate) async fn think(&self) {
        let slow = self.fails(50);
        self.wait_ms(if slow { 2_000 } else { 10 }).await;
    }

    pub(crate) fn fails(&self, permille: u32) -> bool {
        locked(&self.dice).permille(permille) && self.time.now_ms() < self.quiet_ms
    }

    /// Maybe the end of this instance.
    pub(crate) async fn may_crash(&self, instance: usize) {
        if self.fails(self.crash) {
            self.tell(Told::Crashed { instance });
            pending::<()>().await;
        }
    }

    /// Whether the disk answers those who see it through these windows as well as its own.
    pub(crate) fn answers(&self, away: &[Window], doing: &'static str) -> Result<(), StoreError> {
        let now_ms = self.time.now_ms();
        match self.away.iter().chain(away).any(|window| window.holds(now_ms)) {
            true => Err(StoreError::unreachable(doing, "it is away")),
            false => Ok(()),
        }
    }
}

/// The message that the running task works on; none: it is an instance's own.
pub(crate) fn job() -> Option<u64> {
    JOB.try_with(|job| *job).ok()
}

/// A disk that many share.
pub(crate) type SharedDisk = Arc<Disk>;
