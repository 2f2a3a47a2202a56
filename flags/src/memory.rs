//! A store in the memory of one process: demo, development, tests, embedding. Nothing outlives the process.
//!
//! It keeps the same rules as the store in Redis, and the same suite checks both. Handles share one state, so a
//! service and its followers in one process see the same flags. Left out: durability, and other processes.

use crate::audit::{AUDIT_PER_READ_MAX, AuditFrom, AuditId, AuditKept, Audited, TakenOver, keeps_none};
use crate::store::{
    CHANGES_KEPT, CHANGES_PER_READ_MAX, Change, Committed, Epoch, Meta, PUBLISHED_VERSION, Position, Publish,
    Published, Read, Snapshot, Store, StoreError, Stored, Term, Write,
};
use async_trait::async_trait;
use cutout_core::{Breaker, BreakerId, Cause, Declared, Family, Flag, MonitorSeen, Pause};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many audit entries are kept at the most, whatever the settings say: they are in this process's memory.
pub const AUDIT_KEPT_IN_MEMORY: usize = 10_000;

/// The clock of a memory store: Unix milliseconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A store in memory. Cheap to clone: clones share one state.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout_core::Declared;
/// use cutout_flags::{MemoryStore, Store};
///
/// let store = MemoryStore::new();
/// let first = store.declare(&Declared::default()).await?;
/// store.lose_everything(); // as a Redis without persistence that restarts
/// assert!(store.snapshot().await?.meta.is_none(), "lost, which is not the same as closed");
/// assert_ne!(store.declare(&Declared::default()).await?.epoch, first.epoch);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    clock: Clock,
}

#[derive(Clone, Default)]
struct State {
    life: Option<Life>,
    flags: BTreeMap<BreakerId, Published>,
    breakers: HashMap<BreakerId, Stored<Breaker>>,
    monitors: HashMap<u64, Stored<MonitorSeen>>,
    families: BTreeMap<String, Family>,
    changes: VecDeque<Change>,
    /// How many changes there ever were; the place of the last one. Goes on after a loss, as time does.
    place: u64,
    audit: VecDeque<Audited>,
    /// How many audit entries there ever were.
    told: usize,
    audit_kept: AuditKept,
    groups: HashMap<String, Group>,
}

/// Readers of the audit stream who share its entries.
#[derive(Clone)]
struct Group {
    /// The last entry that was handed out.
    last: AuditId,
    /// How many entries were handed out, or let go before; those before its beginning are among them.
    read: usize,
    /// What was handed out and is not finished, and since when it is its reader's.
    pending: BTreeMap<AuditId, Instant>,
}

#[derive(Clone)]
struct Life {
    epoch: Epoch,
    rev: u64,
    declared: Declared,
    pause: Option<Pause>,
}

impl Life {
    fn term(&self) -> Term {
        Term { epoch: self.epoch.clone(), revision: self.declared.revision }
    }
}

impl MemoryStore {
    /// An empty store on the system's clock.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::with_clock(Arc::new(crate::clock::system_ms))
    }

    /// An empty store on a clock of one's own.
    #[must_use]
    pub fn with_clock(clock: Clock) -> MemoryStore {
        let (state, changed) = (Mutex::default(), Notify::new());
        MemoryStore { shared: Arc::new(Shared { state, changed, clock }) }
    }

    /// A second store with the same data and clock, such as a replica: what is written to one from now on the other does
    /// not see.
    #[must_use]
    pub fn fork(&self) -> MemoryStore {
        let (state, changed) = (Mutex::new(self.state().clone()), Notify::new());
        MemoryStore { shared: Arc::new(Shared { state, changed, clock: Arc::clone(&self.shared.clock) }) }
    }

    /// Loses all data, as a Redis without persistence does when it restarts.
    pub fn lose_everything(&self) {
        let mut state = self.state();
        *state = State { place: state.place, audit_kept: state.audit_kept, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two steps that belong together, so a poisoned state is whole.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        (self.shared.clock)()
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl State {
    fn take(&mut self, write: &Write, now_ms: i64) -> bool {
        match write {
            Write::Breaker { id, expected, record, flag, not_closed_by, audit } => {
                let taken = replace(&mut self.breakers, id, *expected, record);
                if taken {
                    let family = self.families.entry(id.name().to_owned()).or_default();
                    family.known += u64::from(*expected == 0);
                    family.not_closed = family.not_closed.saturating_add_signed(*not_closed_by);
                    match flag {
                        Some(Publish::Change(flag)) => self.publish(id, flag),
                        Some(Publish::Refresh(flag)) => self.refresh(id, flag),
                        None => {}
                    }
                    audit.iter().for_each(|entry| self.tell(Some(id), entry, now_ms));
                }
                taken
            }
            Write::Monitor { monitor_id, expected, seen } => {
                replace(&mut self.monitors, monitor_id, *expected, seen)
            }
        }
    }

    fn refresh(&mut self, id: &BreakerId, flag: &Flag) {
        match self.flags.get_mut(id) {
            Some(published) => published.flag = flag.clone(),
            None => self.publish(id, flag),
        }
    }

    fn publish(&mut self, id: &BreakerId, flag: &Flag) {
        let Some(life) = &mut self.life else { return };
        life.rev += 1;
        let (epoch, flag) = (life.epoch.clone(), flag.clone());
        let published = Published { v: PUBLISHED_VERSION, epoch, rev: life.rev, flag };
        self.flags.insert(id.clone(), published.clone());
        self.changes.push_back(Change { id: id.clone(), published });
        self.place += 1;
        if self.changes.len() > CHANGES_KEPT {
            self.changes.pop_front();
        }
    }

    /// Adds to the audit stream, and lets go what exceeds its limits.
    fn tell(&mut self, breaker: Option<&BreakerId>, entry: &impl Serialize, now_ms: i64) {
        // What is told always has a JSON form.
        let Ok(entry) = serde_json::to_value(entry) else { return };
        let at_ms = u64::try_from(now_ms).unwrap_or(0);
        // As in Redis a clock that goes back does not turn the order round.
        let id = match self.audit.back().map(|last| last.id) {
            Some(last) if last.at_ms >= at_ms => AuditId { number: last.number + 1, ..last },
            _ => AuditId { at_ms, number: 0 },
        };
        self.audit.push_back(Audited { id, breaker: breaker.cloned(), entry });
        self.told += 1;
        let from_ms = u64::try_from(now_ms.saturating_sub(self.audit_kept.age_ms)).unwrap_or(0);
        let entries = self.audit_kept.entries.min(AUDIT_KEPT_IN_MEMORY);
        while self.audit.len() > entries || self.audit.front().is_some_and(|first| first.id.at_ms < from_ms) {
            self.audit.pop_front();
        }
    }

    /// Hands out the next entry of a group.
    fn next_of(&mut self, group: &str) -> Result<Option<Audited>, StoreError> {
        let group = self.groups.get_mut(group).ok_or_else(keeps_none)?;
        let next = self.audit.iter().find(|entry| entry.id > group.last).cloned();
        if let Some(next) = &next {
            (group.last, group.read) = (next.id, group.read + 1);
            group.pending.insert(next.id, Instant::now());
        }
        Ok(next)
    }

    fn take_over(&mut self, group: &str, idle: Duration) -> Result<TakenOver, StoreError> {
        let group = self.groups.get_mut(group).ok_or_else(keeps_none)?;
        let gone = self.told - self.audit.len();
        let unread = gone.saturating_sub(group.read);
        group.read += unread;
        let before = group.pending.len();
        let audit = &self.audit;
        group.pending.retain(|id, since| {
            since.elapsed() < idle || audit.binary_search_by_key(id, |entry| entry.id).is_ok()
        });
        let trimmed = before - group.pending.len();
        let left = group.pending.iter_mut().find(|(_, since)| since.elapsed() >= idle);
        let entry = left.and_then(|(id, since)| {
            *since = Instant::now();
            audit.binary_search_by_key(id, |entry| entry.id).ok().map(|place| audit[place].clone())
        });
        Ok(TakenOver { entry, trimmed, unread })
    }

    fn set_pause(&mut self, pause: Option<&Pause>, cause: &Cause, at_ms: i64, now_ms: i64) {
        if let Some(life) = &mut self.life {
            life.pause = pause.cloned();
            self.tell(None, &serde_json::json!({ "at_ms": at_ms, "cause": cause }), now_ms);
        }
    }

    fn family(&self, name: &str) -> (String, Family) {
        (name.to_owned(), self.families.get(name).copied().unwrap_or_default())
    }

    /// The changes after `position`, at most one read of them; the position moves on behind them.
    fn changes_after(&self, position: &mut Position) -> Vec<Change> {
        // Only this store spells positions; one from elsewhere reads as the beginning, and `rev` shows the rest.
        let after: u64 = position.0.parse().unwrap_or(0);
        let oldest = self.place - self.changes.len() as u64;
        let skipped = usize::try_from(after.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let found: Vec<Change> =
            self.changes.iter().skip(skipped).take(CHANGES_PER_READ_MAX).cloned().collect();
        if !found.is_empty() {
            *position = Position((after.max(oldest) + found.len() as u64).to_string());
        }
        found
    }
}

/// Compares and sets. True: taken.
fn replace<K: Hash + Eq + Clone, T: Clone>(
    records: &mut HashMap<K, Stored<T>>,
    key: &K,
    expected: u64,
    value: &T,
) -> bool {
    if records.get(key).map_or(0, |stored| stored.revision) != expected {
        return false;
    }
    records.insert(key.clone(), Stored { revision: expected + 1, value: value.clone() });
    true
}

#[async_trait]
impl Store for MemoryStore {
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError> {
        let mut state = self.state();
        let life = state.life.get_or_insert_with(|| Life {
            epoch: Epoch::random(),
            rev: 0,
            declared: Declared::default(),
            pause: None,
        });
        if declared.revision >= life.declared.revision {
            life.declared.clone_from(declared);
        }
        Ok(life.term())
    }

    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError> {
        let state = self.state();
        Ok(Read {
            now_ms: self.now_ms(),
            term: state.life.as_ref().map(Life::term),
            pause: state.life.as_ref().and_then(|life| life.pause.clone()),
            breakers: ids.iter().map(|id| state.breakers.get(id).cloned()).collect(),
            unreadable: BTreeSet::new(),
            monitor: monitor_id.and_then(|monitor_id| state.monitors.get(&monitor_id).cloned()),
            families: ids.iter().map(|id| state.family(id.name())).collect(),
        })
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        Ok(self.state().monitors.iter().map(|(monitor_id, stored)| (*monitor_id, stored.clone())).collect())
    }

    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError> {
        let mut state = self.state();
        if state.life.as_ref().map(Life::term).as_ref() != Some(term) {
            return Ok(Committed::OtherTerm);
        }
        let now_ms = self.now_ms();
        let taken = writes.iter().map(|write| state.take(write, now_ms)).collect();
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(Committed::Taken(taken))
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        self.state().set_pause(pause, cause, at_ms, self.now_ms());
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn replace_pause(
        &self,
        expected: Option<&Pause>,
        pause: Option<&Pause>,
        cause: &Cause,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let is_expected = state.life.as_ref().and_then(|life| life.pause.as_ref()) == expected;
        if is_expected {
            state.set_pause(pause, cause, at_ms, self.now_ms());
        }
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(is_expected)
    }

    async fn flags(&self, ids: &[BreakerId]) -> Result<Vec<Option<Published>>, StoreError> {
        let state = self.state();
        Ok(ids.iter().map(|id| state.flags.get(id).cloned()).collect())
    }

    async fn audit(&self, from: AuditFrom, count: usize) -> Result<Vec<Audited>, StoreError> {
        let (state, count) = (self.state(), count.min(AUDIT_PER_READ_MAX));
        Ok(match from {
            AuditFrom::Before(place) => {
                let before = |entry: &&Audited| place.is_none_or(|place| entry.id < place);
                state.audit.iter().rev().filter(before).take(count).cloned().collect()
            }
            AuditFrom::After(place) => {
                state.audit.iter().filter(|entry| entry.id > place).take(count).cloned().collect()
            }
        })
    }

    async fn audit_group(&self, group: &str, from_start: bool) -> Result<(), StoreError> {
        let mut state = self.state();
        let newest = state.audit.back().map(|newest| newest.id).filter(|_| !from_start);
        let read = state.told - if from_start { state.audit.len() } else { 0 };
        let new = || Group { last: newest.unwrap_or_default(), read, pending: BTreeMap::new() };
        state.groups.entry(group.to_owned()).or_insert_with(new);
        Ok(())
    }

    async fn audit_next(
        &self,
        group: &str,
        _reader: &str,
        wait: Duration,
    ) -> Result<Option<Audited>, StoreError> {
        let deadline = Instant::now() + wait;
        loop {
            // Registered before the look, so that an entry between the look and the wait is not missed.
            let changed = self.shared.changed.notified();
            let next = self.state().next_of(group)?;
            if next.is_some() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(next);
            }
        }
    }

    async fn audit_take_over(
        &self,
        group: &str,
        _reader: &str,
        idle: Duration,
    ) -> Result<TakenOver, StoreError> {
        self.state().take_over(group, idle)
    }

    async fn audit_keep(&self, group: &str, _reader: &str, id: AuditId) -> Result<(), StoreError> {
        if let Some(since) = self.state().groups.get_mut(group).and_then(|group| group.pending.get_mut(&id)) {
            *since = Instant::now();
        }
        Ok(())
    }

    async fn audit_done(&self, group: &str, id: AuditId) -> Result<(), StoreError> {
        if let Some(group) = self.state().groups.get_mut(group) {
            group.pending.remove(&id);
        }
        Ok(())
    }

    fn keep_audit(&self, kept: AuditKept) {
        self.state().audit_kept = kept;
    }

    fn audit_kept(&self) -> AuditKept {
        self.state().audit_kept
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let state = self.state();
        let meta = |life: &Life| Meta {
            epoch: life.epoch.clone(),
            rev: life.rev,
            declared: life.declared.clone(),
            pause: life.pause.clone(),
        };
        Ok(Snapshot {
            now_ms: self.now_ms(),
            meta: state.life.as_ref().map(meta),
            flags: state.flags.iter().map(|(id, published)| (id.clone(), published.clone())).collect(),
            unreadable: Vec::new(),
            position: Position(state.place.to_string()),
        })
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        let deadline = Instant::now() + wait;
        loop {
            // Registered before the look, so that a change between the look and the wait is not missed.
            let changed = self.shared.changed.notified();
            let found = self.state().changes_after(position);
            if !found.is_empty() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(found);
            }
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
