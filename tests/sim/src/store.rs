//! A store for the model: the same rules as the real ones keep (epoch, numbered changes, compare-and-set), without
//! waiting, and with the losses that a real one suffers.
//!
//! Beside each record stands its shadow: what was committed to it, so that a loss takes both.

use crate::shadow::Shadow;
use cutout_core::{Breaker, BreakerId, Declared, Flag, Hold, MonitorSeen, Pause};
use cutout_flags::{
    Change, Epoch, MemoryStore, Meta, PUBLISHED_VERSION, Position, Publish, Published, Snapshot, Store,
    Stored,
};
use futures_util::FutureExt;
use std::collections::{BTreeMap, VecDeque};

/// What a store shows its readers.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) epoch: Option<&'a Epoch>,
    pub(crate) rev: u64,
    pub(crate) flags: &'a BTreeMap<BreakerId, Published>,
}

#[derive(Clone, Default)]
pub(crate) struct Record {
    /// None until the first write.
    pub(crate) stored: Option<Stored<Breaker>>,
    pub(crate) shadow: Shadow,
}

#[derive(Clone)]
struct Life {
    epoch: Epoch,
    rev: u64,
    pause: Option<Pause>,
}

#[derive(Clone, Default)]
struct Data {
    life: Option<Life>,
    records: BTreeMap<BreakerId, Record>,
    monitors: BTreeMap<u64, Stored<MonitorSeen>>,
    flags: BTreeMap<BreakerId, Published>,
    changes: VecDeque<Change>,
}

pub(crate) struct ModelStore {
    data: Data,
    /// What a replica holds that is about to take over.
    replica: Option<Data>,
    /// How many changes the stream keeps.
    kept: usize,
    /// How many changes there ever were.
    place: u64,
    lives: u64,
    declared: Declared,
    position: Position,
    /// Whether writes name the revision that they were decided on. Off only to see the checker fail.
    pub(crate) compares: bool,
}

impl ModelStore {
    pub(crate) fn new(declared: Declared, kept: usize) -> Option<ModelStore> {
        let position = MemoryStore::new().snapshot().now_or_never()?.ok()?.position;
        Some(ModelStore {
            data: Data::default(),
            replica: None,
            kept,
            place: 0,
            lives: 0,
            declared,
            position,
            compares: true,
        })
    }

    pub(crate) fn epoch(&self) -> Option<&Epoch> {
        self.data.life.as_ref().map(|life| &life.epoch)
    }

    pub(crate) fn rev(&self) -> u64 {
        self.data.life.as_ref().map_or(0, |life| life.rev)
    }

    /// True: it has begun a new life.
    pub(crate) fn declare(&mut self) -> bool {
        if self.data.life.is_some() {
            return false;
        }
        self.lives += 1;
        self.begin(Epoch::from_stored(format!("life-{}", self.lives)));
        true
    }

    /// Begins a new life under this epoch.
    pub(crate) fn begin(&mut self, epoch: Epoch) {
        self.data.life = Some(Life { epoch, rev: 0, pause: None });
    }

    pub(crate) fn set_pause(&mut self, pause: Option<Pause>) {
        if let Some(life) = &mut self.data.life {
            life.pause = pause;
        }
    }

    /// Whether a pause that was known at `now_ms` lets no signal open anything then.
    pub(crate) fn is_paused_at(&self, now_ms: i64) -> bool {
        let pause = self.data.life.as_ref().and_then(|life| life.pause.as_ref());
        pause.is_some_and(|pause| pause.since_ms < now_ms && pause.holds_at(now_ms))
    }

    /// What keeps signals from opening anything.
    pub(crate) fn hold(&self, now_ms: i64) -> Option<Hold> {
        let pause = self.data.life.as_ref()?.pause.as_ref()?;
        pause.holds_at(now_ms).then_some(Hold::Paused)
    }

    pub(crate) fn record(&self, id: &BreakerId) -> Option<&Record> {
        self.data.records.get(id)
    }

    pub(crate) fn stored(&self, id: &BreakerId) -> Option<&Stored<Breaker>> {
        self.record(id).and_then(|record| record.stored.as_ref())
    }

    pub(crate) fn shadow(&mut self, id: &BreakerId) -> &mut Shadow {
        &mut self.data.records.entry(id.clone()).or_default().shadow
    }

    pub(crate) fn monitor(&self, id: u64) -> Option<&Stored<MonitorSeen>> {
        self.data.monitors.get(&id)
    }

    pub(crate) fn monitors(&self) -> impl Iterator<Item = (u64, &MonitorSeen)> {
        self.data.monitors.iter().map(|(id, stored)| (*id, &stored.value))
    }

    pub(crate) fn flags(&self) -> &BTreeMap<BreakerId, Published> {
        &self.data.flags
    }

    /// What a reader is shown now.
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown { epoch: self.epoch(), rev: self.rev(), flags: self.flags() }
    }

    /// Compares and sets. False: somebody else wrote between.
    pub(crate) fn write(
        &mut self,
        id: &BreakerId,
        expected: u64,
        breaker: Breaker,
        flag: Option<Publish>,
    ) -> bool {
        let record = self.data.records.entry(id.clone()).or_default();
        let revision = record.stored.as_ref().map_or(0, |stored| stored.revision);
        if self.compares && revision != expected {
            return false;
        }
        record.stored = Some(Stored { revision: revision + 1, value: breaker });
        match flag {
            Some(Publish::Change(flag)) => self.publish(id, flag),
            Some(Publish::Refresh(flag)) => match self.data.flags.get_mut(id) {
                Some(published) => published.flag = flag,
                None => self.publish(id, flag),
            },
            None => {}
        }
        true
    }

    pub(crate) fn write_monitor(&mut self, id: u64, expected: u64, seen: MonitorSeen) -> bool {
        let revision = self.data.monitors.get(&id).map_or(0, |stored| stored.revision);
        if self.compares && revision != expected {
            return false;
        }
        self.data.monitors.insert(id, Stored { revision: revision + 1, value: seen });
        true
    }

    fn publish(&mut self, id: &BreakerId, flag: Flag) {
        let Some(life) = &mut self.data.life else { return };
        life.rev += 1;
        let published = Published { v: PUBLISHED_VERSION, epoch: life.epoch.clone(), rev: life.rev, flag };
        self.data.flags.insert(id.clone(), published.clone());
        self.data.changes.push_back(Change { id: id.clone(), published });
        self.place += 1;
        if self.data.changes.len() > self.kept {
            self.data.changes.pop_front();
        }
    }

    pub(crate) fn snapshot(&self, now_ms: i64) -> Snapshot {
        let meta = |life: &Life| Meta {
            epoch: life.epoch.clone(),
            rev: life.rev,
            declared: self.declared.clone(),
            pause: life.pause.clone(),
        };
        Snapshot {
            now_ms,
            meta: self.data.life.as_ref().map(meta),
            flags: self.data.flags.iter().map(|(id, published)| (id.clone(), published.clone())).collect(),
            unreadable: Vec::new(),
            position: self.position.clone(),
        }
    }

    /// Where the stream ends now.
    pub(crate) fn place(&self) -> u64 {
        self.place
    }

    /// The changes that are still there after `place`.
    pub(crate) fn changes_after(&self, place: u64) -> impl Iterator<Item = &Change> {
        let oldest = self.place - self.data.changes.len() as u64;
        let skipped = usize::try_from(place.saturating_sub(oldest)).unwrap_or(usize::MAX);
        self.data.changes.iter().skip(skipped)
    }

    pub(crate) fn lose(&mut self) {
        self.data = Data::default();
    }

    /// The replica falls behind from here on.
    pub(crate) fn mark_replica(&mut self) {
        self.replica = Some(self.data.clone());
    }

    /// The replica takes over.
    pub(crate) fn fail_over(&mut self) {
        if let Some(data) = self.replica.take() {
            self.data = data;
        }
    }
}
