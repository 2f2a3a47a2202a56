//! The caller's side: the real follower's table, fed by a connection that breaks, lags and misses changes; and beside it
//! what the caller must know, so that both can be compared after every read.

use crate::plants::Plant;
use crate::store::{ModelStore, Shown};
use cutout_core::BreakerId;
use cutout_flags::{Epoch, FlagTable, LOST_HOLD_MS, Published, Step, Update};
use std::collections::BTreeMap;

/// How long an older store may be taken for a replica that lags: until two snapshots have shown it.
const BEHIND_MS: i64 = 75_000;

pub(crate) struct Caller {
    table: FlagTable,
    /// What callers ask.
    pub(crate) view: BTreeMap<BreakerId, Published>,
    place: u64,
    connected: bool,
    pub(crate) snapshot_due_ms: i64,
    must: Must,
    pub(crate) snapshots: u64,
}

/// Why a flag must be known.
#[derive(Clone, Copy, PartialEq)]
enum Why {
    Shown,
    /// The store lost it then.
    Lost(i64),
    /// An older store showed itself: until then both readings of that are right.
    Either(i64),
}

/// What a caller must know.
#[derive(Default)]
pub(crate) struct Must {
    epoch: Option<Epoch>,
    rev: u64,
    known: BTreeMap<BreakerId, (Published, Why)>,
    behind_since_ms: Option<i64>,
}

impl Caller {
    pub(crate) fn new() -> Caller {
        Caller {
            table: FlagTable::default(),
            view: BTreeMap::new(),
            place: 0,
            connected: false,
            snapshot_due_ms: 0,
            must: Must::default(),
            snapshots: 0,
        }
    }

    /// The connection breaks.
    pub(crate) fn disconnect(&mut self) {
        self.connected = false;
    }

    /// Reads once, at `now_ms` of a local clock that never goes back.
    ///
    /// # Errors
    /// What the caller knows then and must not, or the reverse.
    pub(crate) fn read(
        &mut self,
        store: &ModelStore,
        now_ms: i64,
        plant: Option<Plant>,
    ) -> Result<(), String> {
        let reconnects = !self.connected;
        self.connected = true;
        let skips = plant == Some(Plant::NoSnapshotAfterReconnect) && self.snapshots > 0;
        if reconnects && skips {
            self.place = store.place();
        } else if reconnects || now_ms >= self.snapshot_due_ms {
            self.snapshot(store, now_ms, plant);
            return self.must.judge(store.shown(), &self.view, now_ms, true);
        }
        if self.tail(store, skips) {
            self.snapshot(store, now_ms, plant);
            return self.must.judge(store.shown(), &self.view, now_ms, true);
        }
        self.must.judge(store.shown(), &self.view, now_ms, false)
    }

    fn snapshot(&mut self, store: &ModelStore, now_ms: i64, plant: Option<Plant>) {
        self.snapshots += 1;
        self.snapshot_due_ms = now_ms + 24_000 + i64::try_from(self.snapshots % 5).unwrap_or(0) * 3_000;
        self.place = store.place();
        if plant == Some(Plant::LostIsClosed) && store.epoch() != self.must.epoch.as_ref() {
            (self.table, self.view) = (FlagTable::default(), BTreeMap::new());
        }
        let updates = self.table.snapshot(store.snapshot(now_ms), now_ms);
        updates.into_iter().for_each(|update| self.update(update));
    }

    /// Reads the stream. True: something is missing between.
    fn tail(&mut self, store: &ModelStore, ignores_gaps: bool) -> bool {
        let changes: Vec<_> = store.changes_after(self.place).cloned().collect();
        self.place = store.place();
        for change in changes {
            let plain = Update { id: change.id.clone(), flag: Some(change.published.clone()) };
            match self.table.change(change) {
                Step::Applied(update) => self.update(update),
                Step::Stale => {}
                Step::Gap if ignores_gaps => self.update(plain),
                Step::Gap => return true,
            }
        }
        false
    }

    fn update(&mut self, Update { id, flag }: Update) {
        match flag {
            Some(published) => self.view.insert(id, published),
            None => self.view.remove(&id),
        };
    }
}

impl Must {
    /// Compares what is known with what must be, after a read that showed this; by a snapshot, or by the stream alone.
    ///
    /// # Errors
    /// What is known and must not be, or the reverse.
    pub(crate) fn judge(
        &mut self,
        store: Shown<'_>,
        view: &BTreeMap<BreakerId, Published>,
        now_ms: i64,
        whole: bool,
    ) -> Result<(), String> {
        let must = self;
        let is_behind = store.epoch == must.epoch.as_ref() && store.rev < must.rev;
        if is_behind && now_ms - *must.behind_since_ms.get_or_insert(now_ms) < BEHIND_MS {
            return Ok(());
        }
        if !whole && (must.behind_since_ms.is_some() || store.epoch != must.epoch.as_ref()) {
            // The stream alone does not show that data were lost; the next snapshot does.
            return Ok(());
        }
        let was_behind = must.behind_since_ms.take().is_some();
        let lost = must.epoch.is_some() && store.epoch != must.epoch.as_ref();
        must.rev = store.rev;
        if store.epoch.is_some() {
            must.epoch = store.epoch.cloned();
        }
        for (id, (_, why)) in &mut must.known {
            if store.flags.contains_key(id) {
                continue;
            }
            *why = match *why {
                Why::Shown | Why::Lost(_) if was_behind => Why::Either(now_ms + 2 * LOST_HOLD_MS),
                Why::Shown if lost => Why::Lost(now_ms),
                unchanged => unchanged,
            };
        }
        for (id, published) in store.flags {
            must.known.insert(id.clone(), (published.clone(), Why::Shown));
        }
        if whole {
            must.known.retain(|id, (_, why)| match *why {
                Why::Shown => store.flags.contains_key(id),
                Why::Lost(since_ms) => now_ms - since_ms < LOST_HOLD_MS,
                Why::Either(until_ms) => now_ms < until_ms,
            });
        }
        compare(&must.known, view, whole)
    }
}

fn compare(
    known: &BTreeMap<BreakerId, (Published, Why)>,
    view: &BTreeMap<BreakerId, Published>,
    whole: bool,
) -> Result<(), String> {
    for (id, (published, why)) in known {
        // What is written under the number that a flag has is told by the next snapshot only.
        let refreshed = |shown: &Published| (!whole || *why != Why::Shown) && shown.rev == published.rev;
        let known = view.get(id).is_some_and(|shown| shown == published || refreshed(shown));
        if !matches!(why, Why::Either(_)) && !known {
            let lost = if *why == Why::Shown { "" } else { ", which the store lost," };
            let shown = view.get(id).map(|shown| (shown.rev, shown.flag.state));
            return Err(format!(
                "the caller must know {id}{lost} as {} of rev {} and knows {shown:?}",
                published.flag.state, published.rev
            ));
        }
    }
    match view.keys().find(|id| !known.contains_key(*id)) {
        Some(id) => Err(format!("the caller still knows {id}, which is absent and was not lost")),
        None => Ok(()),
    }
}
