//! Follows a scope's flags: a snapshot, then the changes after it, and a snapshot again whenever in doubt.
//!
//! It never ends and never gives up: errors are told to the [`Sink`] and tried again, and what was known stays. A
//! snapshot now and then, whether or not anything seems wrong, heals what nobody thought of.
//!
//! Left out: what is done with the flags (the sink), and what a snapshot means (`table`).

use crate::clock::LocalClock;
use crate::store::{Change, Epoch, Position, Store, StoreError};
use crate::table::{FlagTable, Step, Update};
use cutout_core::{Chain, Declared, Pause};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The mean time between two snapshots when nothing else asks for one.
pub const SNAPSHOT_EVERY_MS: u64 = 30_000;
/// How far that time varies to both sides, so that a fleet does not read at once.
pub const SNAPSHOT_JITTER_PERCENT: u64 = 20;
/// How long one read of the stream waits for changes.
pub const TAIL_WAIT_MS: u64 = 1_000;
/// The shortest wait after an error.
pub const BACKOFF_MIN_MS: u64 = 50;
/// The longest wait after an error.
pub const BACKOFF_MAX_MS: u64 = 2_000;
/// The longest wait before a snapshot that a gap asks for: all followers see the same gap at the same moment.
pub const GAP_PAUSE_MAX_MS: u64 = 100;

/// The counter of losses: how often the store came back without data that the follower had seen.
pub const LOSSES_METRIC: &str = "cutout_store_losses_total";

/// Who wants to know. Called by the follower's task, in the order in which things happened; must not block.
pub trait Sink: Send + Sync {
    /// These flags changed.
    fn update(&self, updates: &[Update]);

    /// The store answered. The first time it comes after all flags of the first snapshot.
    fn synced(&self, at: &Synced);

    /// The store failed; all flags stay as they are, and the next [`Sink::synced`] says that it is back.
    fn failed(&self, error: &StoreError) {
        let _ = error;
    }
}

/// What is known since the store's last good answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Synced {
    /// When that was, Unix milliseconds of the local clock.
    pub local_ms: i64,
    /// The store's clock less the local one, in milliseconds, as the last snapshot showed it.
    pub offset_ms: i64,
    /// What the scope's service declares; none before the first declaration.
    pub declared: Option<Arc<Declared>>,
    /// How often the store lost data that this follower had seen.
    pub losses: u64,
    /// The newest epoch seen; none before the first.
    pub epoch: Option<Epoch>,
    /// A person's pause of the scope as the last snapshot showed it, also one whose time is over.
    pub pause: Option<Pause>,
}

/// Keeps a sink up to date with a store. Run [`Follower::run`]; drop its future to stop. While the store is gone, flags stay as
/// they are, and [`Sink::failed`] tells it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout_flags::{Follower, MemoryStore, Sink, Synced, Update};
/// use std::sync::Arc;
/// use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
///
/// struct Losses(UnboundedSender<u64>);
///
/// impl Sink for Losses {
///     fn update(&self, _flags: &[Update]) {}
///
///     fn synced(&self, at: &Synced) {
///         let _ = self.0.send(at.losses);
///     }
/// }
///
/// let (losses, mut told) = unbounded_channel();
/// let follower = Follower::new(Arc::new(MemoryStore::new()), Arc::new(Losses(losses)));
/// let following = tokio::spawn(follower.run());
/// assert_eq!(told.recv().await, Some(0), "after the first snapshot");
/// following.abort();
/// # Ok(())
/// # }
/// ```
pub struct Follower {
    store: Arc<dyn Store>,
    sink: Arc<dyn Sink>,
    table: FlagTable,
    /// What the last snapshot showed; changes alone move none of it but the time.
    synced: Synced,
    /// Errors since the last good read of the stream.
    failures: u32,
    clock: LocalClock,
    /// The table's clock starts here; it never goes back, as the system's may.
    started: Instant,
}

/// What ends the reading of the stream.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The time of the next snapshot has come.
    Due,
    /// A change is missing, or was none.
    Gap,
}

impl Follower {
    /// A follower of `store` that tells `sink`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, sink: Arc<dyn Sink>) -> Follower {
        Follower::with_clock(store, sink, LocalClock::default())
    }

    /// The same by a clock of one's own.
    #[must_use]
    pub fn with_clock(store: Arc<dyn Store>, sink: Arc<dyn Sink>, clock: LocalClock) -> Follower {
        let (table, synced, started) = (FlagTable::default(), Synced::default(), Instant::now());
        Follower { store, sink, table, synced, failures: 0, clock, started }
    }

    /// Follows for ever.
    pub async fn run(mut self) {
        loop {
            let Err(error) = self.follow().await;
            self.tell_failed(&error);
            tokio::time::sleep(backoff(self.failures)).await;
            self.failures = self.failures.saturating_add(1);
        }
    }

    async fn follow(&mut self) -> Result<Infallible, StoreError> {
        loop {
            let mut position = self.snapshot().await?;
            if self.tail(&mut position, Instant::now() + snapshot_period()).await? == Ended::Gap {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..GAP_PAUSE_MAX_MS))).await;
            }
        }
    }

    /// Reads a snapshot, and gives the place from where to go on.
    async fn snapshot(&mut self) -> Result<Position, StoreError> {
        let asked = Instant::now();
        let snapshot = self.store.snapshot().await?;
        // The store looked at its clock somewhere between question and answer: take the middle.
        let one_way_ms = i64::try_from(asked.elapsed().as_millis() / 2).unwrap_or(0);
        let offset_ms = snapshot.now_ms.saturating_sub(self.clock.now_ms().saturating_sub(one_way_ms));
        let position = snapshot.position.clone();
        let updates = self.table.snapshot(snapshot, self.now_ms());
        if self.table.losses() > self.synced.losses {
            tracing::warn!(
                "the store of flags lost its data: flags stay as they were last known, for two minutes at most"
            );
            metrics::counter!(LOSSES_METRIC).increment(1);
        }
        self.synced = Synced {
            local_ms: self.synced.local_ms,
            offset_ms,
            declared: self.table.declared().cloned(),
            losses: self.table.losses(),
            epoch: self.table.epoch().cloned(),
            pause: self.table.pause().cloned(),
        };
        self.tell(&updates);
        Ok(position)
    }

    /// Reads changes until the next snapshot is due or asked for.
    async fn tail(&mut self, position: &mut Position, due: Instant) -> Result<Ended, StoreError> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Ended::Due);
            }
            let wait = left.min(Duration::from_millis(TAIL_WAIT_MS));
            let changes = match self.store.tail(position, wait).await {
                Err(StoreError::Retracted { from_rev }) => {
                    self.table.retract(from_rev);
                    return Ok(Ended::Gap);
                }
                answer => answer?,
            };
            self.failures = 0;
            let (updates, gap) = self.apply(changes);
            self.tell(&updates);
            if gap {
                return Ok(Ended::Gap);
            }
        }
    }

    /// Takes in changes up to the first gap.
    fn apply(&mut self, changes: Vec<Change>) -> (Vec<Update>, bool) {
        let mut updates = Vec::with_capacity(changes.len());
        for change in changes {
            match self.table.change(change) {
                Step::Applied(update) => updates.push(update),
                Step::Stale => {}
                Step::Gap => return (updates, true),
            }
        }
        (updates, false)
    }

    fn tell(&mut self, updates: &[Update]) {
        if !updates.is_empty() {
            self.sink.update(updates);
        }
        self.synced.local_ms = self.clock.now_ms();
        self.sink.synced(&self.synced);
    }

    fn tell_failed(&self, error: &StoreError) {
        if self.failures == 0 {
            tracing::warn!(
                error = %Chain(error),
                "the store of flags failed: flags stay as they were last known"
            );
        }
        self.sink.failed(error);
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

fn snapshot_period() -> Duration {
    let spread_ms = SNAPSHOT_EVERY_MS * SNAPSHOT_JITTER_PERCENT / 100;
    Duration::from_millis(SNAPSHOT_EVERY_MS - spread_ms + fastrand::u64(..=2 * spread_ms))
}

/// The wait after the error that came after `failures` others: a random part of a bound that doubles.
fn backoff(failures: u32) -> Duration {
    let bound_ms = BACKOFF_MIN_MS.saturating_mul(2_u64.saturating_pow(failures)).min(BACKOFF_MAX_MS);
    Duration::from_millis(fastrand::u64(BACKOFF_MIN_MS..=bound_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Publish, Write};
    use cutout_core::{Breaker, BreakerId, Flag, State};
    use std::sync::Mutex;

    /// What a sink was told, counted.
    #[derive(Debug, Default)]
    struct Told(Mutex<(u64, Vec<BreakerId>, Option<Synced>)>);

    impl Sink for Told {
        fn update(&self, updates: &[Update]) {
            self.0.lock().unwrap().1.extend(updates.iter().map(|update| update.id.clone()));
        }

        fn synced(&self, at: &Synced) {
            let mut told = self.0.lock().unwrap();
            told.0 += 1;
            told.2 = Some(at.clone());
        }

        fn failed(&self, error: &StoreError) {
            panic!("{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_hours_of_silence_it_still_follows() {
        const HOURS: u64 = 12;
        let (store, told) = (MemoryStore::new(), Arc::new(Told::default()));
        let term = store.declare(&Declared::default()).await.unwrap();
        let following = tokio::spawn(Follower::new(Arc::new(store.clone()), Arc::clone(&told) as _).run());
        tokio::time::sleep(Duration::from_hours(HOURS)).await;
        let (answers, changed, _) = told.0.lock().unwrap().clone();
        let reads = HOURS * 3_600_000 / TAIL_WAIT_MS;
        assert!((reads..reads * 11 / 10).contains(&answers), "it asked {answers} times in {HOURS} h");
        assert_eq!(changed, []);

        let id = BreakerId::new("bank", &["0001"]);
        let flag = Some(Publish::Change(Flag { state: State::Open, ..Flag::default() }));
        let (record, audit) = (Breaker::new(1), Vec::new());
        let write = Write::Breaker { id: id.clone(), expected: 0, record, flag, not_closed_by: 1, audit };
        store.commit(&term, &[write]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (_, changed, synced) = told.0.lock().unwrap().clone();
        assert_eq!((changed, synced.unwrap().losses), (vec![id], 0), "at once, without a snapshot");
        following.abort();
    }

    #[test]
    fn waits_stay_within_their_bounds() {
        for _ in 0..1_000 {
            assert!((24_000..=36_000).contains(&snapshot_period().as_millis()));
            assert_eq!(backoff(0), Duration::from_millis(BACKOFF_MIN_MS));
            for failures in [1, 5, 64, u32::MAX] {
                assert!((50..=2_000).contains(&backoff(failures).as_millis()), "after {failures}");
            }
        }
    }
}
