//! The two ways to the disk: an instance's, and a follower's. Both are the real store's trait, with what goes wrong between.

use super::disk::{Look, SharedDisk, Told, job};
use crate::history::Window;
use crate::plants::Plant;
use async_trait::async_trait;
use cutout_core::{BreakerId, Cause, Declared, Hold, MonitorSeen, Pause};
use cutout_flags::{
    AuditEntry, Change, Committed, Epoch, Position, Read, Snapshot, Store, StoreError, Stored, Term, Write,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a question takes to the store, at the most.
const ROUND_TRIP_MS: i64 = 5;

/// An instance's way.
#[derive(Debug)]
pub(crate) struct InstanceWay {
    pub(crate) disk: SharedDisk,
    pub(crate) instance: usize,
    /// How many breaks came before its connection for following.
    pub(crate) breaks: AtomicU64,
}

/// A follower's way.
#[derive(Debug)]
pub(crate) struct FollowerWay {
    pub(crate) disk: SharedDisk,
    pub(crate) away: Vec<Window>,
    pub(crate) slow_ms: i64,
    /// How many changes the stream keeps.
    pub(crate) kept: usize,
    /// Whether what it is shown is told to the checker.
    pub(crate) is_watched: bool,
    /// How many breaks came before its connection.
    pub(crate) breaks: AtomicU64,
    /// The greatest change number that it was shown, for a planted bug.
    pub(crate) rev: AtomicU64,
}

#[async_trait]
impl Store for InstanceWay {
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError> {
        self.reach("declaring").await?;
        let term = self.disk.store().declare(declared).await?;
        self.disk.tell(Told::Declared(term.epoch.clone()));
        Ok(term)
    }

    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError> {
        self.reach("reading").await?;
        let mut read = self.disk.store().read(ids, monitor_id).await?;
        let paused = read.pause.as_ref().is_some_and(|pause| pause.holds_at(read.now_ms));
        if self.disk.plant == Some(Plant::PauseIgnored) {
            read.pause = None;
        }
        let hold = (paused && read.pause.is_some()).then_some(Hold::Paused);
        let monitor = read.monitor.as_ref().map(|stored| stored.value.clone());
        self.disk.note_look(
            self.instance,
            ids,
            &Look { now_ms: read.now_ms, hold, paused, monitor_id, monitor },
        );
        Ok(read)
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        self.reach("reading monitors").await?;
        let mut monitors = self.disk.store().monitors().await?;
        monitors.sort_by_key(|(id, _)| *id);
        Ok(monitors)
    }

    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError> {
        self.disk.think().await;
        self.disk.answers(&[], "writing")?;
        self.disk.may_crash(self.instance).await;
        let store = self.disk.store();
        let writes = self.planted(&store, writes).await?;
        if self.disk.plant == Some(Plant::NoTimers) && job().is_none() {
            return Ok(Committed::Taken(vec![true; writes.len()]));
        }
        let committed = store.commit(term, &writes).await?;
        if let Committed::Taken(taken) = &committed {
            self.tell_taken(&writes, taken);
        }
        self.disk.may_crash(self.instance).await;
        Ok(committed)
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        self.reach("pausing").await?;
        self.disk.store().set_pause(pause, cause, at_ms).await?;
        self.disk.tell(Told::Paused(pause.cloned()));
        Ok(())
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.reach("reading a snapshot").await?;
        self.breaks.store(self.disk.breaks(), Ordering::Relaxed);
        self.disk.store().snapshot().await
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        self.reach("following").await?;
        self.disk.tail(self.breaks.load(Ordering::Relaxed), position, wait).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.reach("pinging").await
    }
}

impl InstanceWay {
    async fn reach(&self, doing: &'static str) -> Result<(), StoreError> {
        self.disk.wait_ms(ROUND_TRIP_MS).await;
        self.disk.answers(&[], doing)
    }

    fn tell_taken(&self, writes: &[Write], taken: &[bool]) {
        let look = |write: &Write| match write {
            Write::Breaker { id, .. } => self.disk.look(self.instance, Some(id)),
            Write::Monitor { .. } => self.disk.look(self.instance, None),
        };
        let both = writes.iter().zip(taken);
        let written = both.filter(|(_, taken)| **taken).map(|(write, _)| (write.clone(), look(write)));
        self.disk.tell(Told::Committed { job: job(), writes: written.collect() });
        let refused = taken.iter().filter(|taken| !**taken).count();
        self.disk.tell(Told::Conflicts(refused as u64));
    }

    /// What is written, where a bug is planted.
    async fn planted(&self, store: &impl Store, writes: &[Write]) -> Result<Vec<Write>, StoreError> {
        let mut writes = writes.to_vec();
        if self.disk.plant == Some(Plant::OverrideNotRestored) {
            let restores =
                |write: &Write| matches!(write, Write::Breaker { audit, .. } if audit.iter().any(is_restore));
            writes.retain(|write| !restores(write));
        }
        if self.disk.plant != Some(Plant::NoCompareAndSet) {
            return Ok(writes);
        }
        for write in &mut writes {
            match write {
                Write::Breaker { id, expected, .. } => {
                    let read = store.read(std::slice::from_ref(id), None).await?;
                    *expected = read.breakers[0].as_ref().map_or(0, |stored| stored.revision);
                }
                Write::Monitor { monitor_id, expected, .. } => {
                    let read = store.read(&[], Some(*monitor_id)).await?;
                    *expected = read.monitor.map_or(0, |stored| stored.revision);
                }
            }
        }
        Ok(writes)
    }
}

fn is_restore(entry: &AuditEntry) -> bool {
    matches!(entry.transition.cause, Cause::Person { act: "restore", .. })
}

#[async_trait]
impl Store for FollowerWay {
    async fn declare(&self, _: &Declared) -> Result<Term, StoreError> {
        Err(reads_only())
    }

    async fn read(&self, _: &[BreakerId], _: Option<u64>) -> Result<Read, StoreError> {
        Err(reads_only())
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        Err(reads_only())
    }

    async fn commit(&self, _: &Term, _: &[Write]) -> Result<Committed, StoreError> {
        Err(reads_only())
    }

    async fn set_pause(&self, _: Option<&Pause>, _: &Cause, _: i64) -> Result<(), StoreError> {
        Err(reads_only())
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.disk.wait_ms(ROUND_TRIP_MS).await;
        self.disk.answers(&self.away, "reading a snapshot")?;
        self.breaks.store(self.disk.breaks(), Ordering::Relaxed);
        let mut snapshot = self.disk.store().snapshot().await?;
        self.show(&snapshot, true);
        if let (Some(Plant::LostIsClosed), Some(meta)) = (self.disk.plant, &mut snapshot.meta) {
            meta.epoch = same_epoch();
            meta.rev = self.rev.fetch_max(meta.rev, Ordering::Relaxed).max(meta.rev);
        }
        Ok(snapshot)
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        self.disk.wait_ms(self.slow_ms).await;
        self.disk.answers(&self.away, "following")?;
        let mut found = self.disk.tail(self.breaks.load(Ordering::Relaxed), position, wait).await?;
        self.disk.answers(&self.away, "following")?;
        if found.len() > self.kept {
            // The stream was trimmed meanwhile: the follower sees a gap.
            found.drain(..found.len() - self.kept);
        } else {
            let snapshot = self.disk.store().snapshot().await?;
            self.show(&snapshot, false);
        }
        if self.disk.plant == Some(Plant::LostIsClosed) {
            found.iter_mut().for_each(|change| change.published.epoch = same_epoch());
        }
        Ok(found)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.disk.answers(&self.away, "pinging")
    }
}

impl FollowerWay {
    fn show(&self, snapshot: &Snapshot, whole: bool) {
        if self.is_watched {
            let (epoch, rev) = match &snapshot.meta {
                Some(meta) => (Some(meta.epoch.clone()), meta.rev),
                None => (None, 0),
            };
            let flags = snapshot.flags.iter().cloned().collect();
            self.disk.tell(Told::Showed { epoch, rev, flags, whole });
        }
    }
}

fn same_epoch() -> Epoch {
    Epoch::from_stored("always the same".to_owned())
}

fn reads_only() -> StoreError {
    StoreError::refused("writing", "a follower only reads")
}
