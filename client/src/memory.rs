//! What this process knows of all breakers: the follower's sink.
//!
//! The follower writes here; callers hold cells and never come through the map again. A cell lives while its breaker
//! has a flag or somebody holds a handle, so the map is bounded by what the store and the program themselves hold.

use crate::breaker::{self, Breaker, Shared};
use crate::cell::Cell;
use crate::clock::{Moment, StoreClock};
use crate::names::{self, UnknownBreaker};
use crate::snapshot::KnownBreaker;
use crate::staleness::Limits;
use crate::transitions::Listeners;
use arc_swap::ArcSwapOption;
use cutout_core::flag::PROBE_EVERY_MS;
use cutout_core::{BreakerId, Declared};
use cutout_flags::{Sink, StoreError, Synced, Update};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by a client, its handles and its follower.
#[derive(Debug)]
pub(crate) struct Memory {
    cells: Mutex<HashMap<BreakerId, Arc<Cell>>>,
    shared: Arc<Shared>,
    limits: Limits,
    declared: ArcSwapOption<Declared>,
    /// Names that the program uses, checked as soon as the declared ones are known.
    used: BTreeSet<String>,
    allow_undeclared: bool,
    /// Whether `connect` went on without the declared names: a wrong name can then only be told, not returned.
    start_is_over: AtomicBool,
    names_checked: AtomicBool,
    connected: AtomicBool,
    losses: AtomicU64,
    synced: watch::Sender<bool>,
    listeners: Listeners,
}

impl Memory {
    pub(crate) fn new(used: BTreeSet<String>, allow_undeclared: bool, limits: Limits) -> Memory {
        Memory {
            cells: Mutex::default(),
            shared: Arc::default(),
            limits,
            declared: ArcSwapOption::empty(),
            used,
            allow_undeclared,
            start_is_over: AtomicBool::new(false),
            names_checked: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            synced: watch::Sender::new(false),
            listeners: Listeners::default(),
        }
    }

    /// A handle on one breaker.
    pub(crate) fn breaker(&self, id: BreakerId) -> Breaker {
        let mut cells = self.cells();
        let cell = Arc::clone(cells.entry(id).or_insert_with_key(|id| self.new_cell(id)));
        drop(cells);
        Breaker::new(cell, Arc::clone(&self.shared))
    }

    /// What is known of each breaker, in no order.
    pub(crate) fn breakers(&self) -> Vec<KnownBreaker> {
        let (cells, now) = (self.cells(), self.clock().now());
        cells.values().map(|cell| cell.known(now, Arc::strong_count(cell) > 1)).collect()
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Tells listeners if a breaker has changed. Only while the cells are locked, so that they hear it in order.
    fn tell_turn(&self, cell: &Cell, now: Moment) {
        if let Some(turn) = cell.turn(now) {
            self.listeners.tell(cell.id(), turn, breaker::at(now.true_ms));
        }
    }

    /// Tells listeners what time alone has changed.
    fn tell_turns(&self) {
        let (cells, now) = (self.cells(), self.clock().now());
        cells.values().filter(|cell| !cell.is_calm()).for_each(|cell| self.tell_turn(cell, now));
    }

    /// A cell for a breaker that has none. Only while the cells are locked, so that no change of the limits passes it by.
    fn new_cell(&self, id: &BreakerId) -> Arc<Cell> {
        Arc::new(Cell::new(id.clone(), self.limits.act_on(id.name())))
    }

    /// Ends the start: whether the names that the program uses are declared. If the declared ones are not known yet,
    /// nothing is wrong, and a wrong name is told when they are.
    pub(crate) fn check_names(&self) -> Result<(), UnknownBreaker> {
        if self.declared.load().is_some() {
            self.names_checked.store(true, Ordering::SeqCst);
            return self.used.iter().try_for_each(|name| self.check_name(name));
        }
        self.start_is_over.store(true, Ordering::SeqCst);
        self.check_names_late();
        Ok(())
    }

    /// The same for one name.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), UnknownBreaker> {
        match self.declared.load().as_deref() {
            Some(declared) if !self.allow_undeclared => names::check(declared, name),
            _ => Ok(()),
        }
    }

    /// Becomes true with the first snapshot.
    pub(crate) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(crate) fn clock(&self) -> &StoreClock {
        &self.shared.clock
    }

    /// Whether a limit of staleness acts now.
    pub(crate) fn is_over_max_staleness(&self) -> bool {
        self.limits.any_acts()
    }

    /// What must be done now and then whether or not the store answers: looks whether it has been silent for too long, and
    /// hands to the metrics what callers have counted.
    pub(crate) fn look_around(&self) {
        self.look_at_staleness();
        self.tell_turns();
        self.tell_counts();
        metrics::gauge!("cutout_client_store_age_seconds").set(self.clock().silence().as_secs_f64());
    }

    /// Hands to the metrics what callers have counted.
    pub(crate) fn tell_counts(&self) {
        self.shared.tallies.tell();
    }

    fn look_at_staleness(&self) {
        // Locked before the time is read: between a contact and a look at an older time, the contact must win.
        let cells = self.cells();
        if self.limits.look(self.clock().silence()) {
            let now = self.clock().now();
            for cell in cells.values() {
                cell.act(self.limits.act_on(cell.id().name()));
                self.tell_turn(cell, now);
            }
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    pub(crate) fn regained_contact(&self, declared: Option<Arc<Declared>>) {
        self.connected.store(true, Ordering::Relaxed);
        self.declared.store(declared);
        self.synced.send_replace(true);
        self.check_names_late();
    }

    pub(crate) fn lost_contact(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<BreakerId, Arc<Cell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program that started before the declared names were known learns here that it uses names nobody declares:
    /// it goes on, loudly.
    fn check_names_late(&self) {
        let ready = self.start_is_over.load(Ordering::SeqCst) && self.declared.load().is_some();
        if !ready || self.names_checked.swap(true, Ordering::SeqCst) {
            return;
        }
        for unknown in self.used.iter().filter_map(|name| self.check_name(name).err()) {
            let name = unknown.name().to_owned();
            tracing::error!(breaker = name, error = %unknown, "a breaker in use is not declared, so nothing opens it");
            metrics::counter!("cutout_client_undeclared_total", "breaker" => name).increment(1);
        }
    }
}

impl Sink for Memory {
    fn update(&self, updates: &[Update]) {
        let mut cells = self.cells();
        let now = self.clock().now();
        for Update { id, flag } in updates {
            let flag = flag.as_ref().map(|published| published.flag.clone());
            // Not all processes at once: a vendor that has just failed would get a call from each in the same moment.
            let probe_due_ms = now.monotonic_ms.saturating_add(fastrand::i64(0..PROBE_EVERY_MS));
            match cells.get(id) {
                Some(cell) => {
                    cell.set(flag, probe_due_ms);
                    self.tell_turn(cell, now);
                }
                None if flag.is_some() => {
                    let cell = self.new_cell(id);
                    cell.set(flag, probe_due_ms);
                    self.tell_turn(&cell, now);
                    cells.insert(id.clone(), cell);
                }
                None => {}
            }
        }
        cells.retain(|_, cell| !cell.is_plain() || Arc::strong_count(cell) > 1);
    }

    fn synced(&self, at: &Synced) {
        self.clock().contact(at.local_ms, at.offset_ms);
        let losses = self.losses.swap(at.losses, Ordering::Relaxed);
        if at.losses > losses {
            // The follower logs it.
            metrics::counter!("cutout_client_store_losses_total").increment(at.losses - losses);
        }
        self.look_at_staleness();
        self.regained_contact(at.declared.clone());
    }

    fn failed(&self, _: &StoreError) {
        // The follower logs it once; here it only shows in the health.
        self.lost_contact();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::{Flag, State};
    use cutout_flags::{Epoch, Published};

    fn update(key: &str, state: Option<State>) -> Update {
        let published = |state| Published {
            v: 1,
            epoch: Epoch::from_stored("e".into()),
            rev: 1,
            flag: Flag { state, ..Flag::default() },
        };
        Update { id: BreakerId::new("bank", &[key]), flag: state.map(published) }
    }

    #[test]
    fn handles_taken_before_and_after_a_flag_arrives_tell_the_same() {
        let memory = Memory::new(BTreeSet::new(), false, Limits::default());
        let before = memory.breaker(BreakerId::new("bank", &["1"]));
        memory.update(&[update("1", Some(State::Open)), update("2", Some(State::Open))]);
        let after = memory.breaker(BreakerId::new("bank", &["2"]));
        assert_eq!((before.state(), after.state()), (State::Open, State::Open));
        assert!(memory.breaker(BreakerId::new("bank", &["3"])).admit().is_ok());
    }

    #[test]
    fn breakers_that_open_at_once_do_not_all_probe_at_once() {
        let memory = Memory::new(BTreeSet::new(), false, Limits::default());
        let ids: Vec<String> = (0..1_000).map(|key| key.to_string()).collect();
        let mut updates: Vec<Update> = ids.iter().map(|id| update(id, Some(State::Open))).collect();
        for published in updates.iter_mut().filter_map(|update| update.flag.as_mut()) {
            published.flag.probe_ppm = 1;
        }
        memory.update(&updates);
        let asked = ids.iter().map(|id| memory.breaker(BreakerId::new("bank", &[id])).admit());
        let probes = asked.filter(Result::is_ok).count();
        assert!(probes < 100, "{probes} of 1,000 in the first moment of 30 s");
    }

    #[test]
    fn keys_that_nobody_holds_and_no_flag_shows_are_forgotten() {
        let memory = Memory::new(BTreeSet::new(), false, Limits::default());
        let held = memory.breaker(BreakerId::new("bank", &["held"]));
        for key in 0..100 {
            let _ = memory.breaker(BreakerId::new("bank", &[key.to_string()]));
        }
        memory.update(&[update("flagged", Some(State::Open))]);
        assert_eq!(memory.cells().len(), 2, "the held one and the flagged one");
        memory.update(&[update("held", Some(State::Open))]);
        assert_eq!(held.state(), State::Open);
    }
}
