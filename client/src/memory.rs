//! What this process knows of all breakers: the follower's sink.
//!
//! The follower writes here; callers hold cells and never come through the map again. A cell lives while its breaker
//! has a flag or somebody holds a handle, so the map is bounded by what the store and the program themselves hold.

use crate::breaker::{Breaker, Cell};
use crate::clock::StoreClock;
use crate::names::{self, UnknownBreaker};
use arc_swap::ArcSwapOption;
use cutout_core::{BreakerId, Declared};
use cutout_flags::{LocalClock, Sink, StoreError, Synced, Update};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by a client, its handles and its follower.
#[derive(Debug)]
pub(crate) struct Memory {
    cells: Mutex<HashMap<BreakerId, Arc<Cell>>>,
    clock: Arc<StoreClock>,
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
}

impl Memory {
    pub(crate) fn new(used: BTreeSet<String>, allow_undeclared: bool, clock: LocalClock) -> Memory {
        Memory {
            cells: Mutex::default(),
            clock: Arc::new(StoreClock::new(clock)),
            declared: ArcSwapOption::empty(),
            used,
            allow_undeclared,
            start_is_over: AtomicBool::new(false),
            names_checked: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            synced: watch::Sender::new(false),
        }
    }

    /// A handle on one breaker.
    pub(crate) fn breaker(&self, id: BreakerId) -> Breaker {
        let cell =
            Arc::clone(self.cells().entry(id).or_insert_with_key(|id| Arc::new(Cell::new(id.clone()))));
        Breaker::new(cell, Arc::clone(&self.clock))
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
        &self.clock
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
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
        for Update { id, flag } in updates {
            let flag = flag.as_ref().map(|published| published.flag.clone());
            match cells.get(id) {
                Some(cell) => cell.set(flag),
                None if flag.is_some() => {
                    let cell = Arc::new(Cell::new(id.clone()));
                    cell.set(flag);
                    cells.insert(id.clone(), cell);
                }
                None => {}
            }
        }
        cells.retain(|_, cell| cell.has_flag() || Arc::strong_count(cell) > 1);
    }

    fn synced(&self, at: &Synced) {
        self.clock.contact(at.local_ms, at.offset_ms);
        self.losses.store(at.losses, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
        self.declared.store(at.declared.clone());
        self.synced.send_replace(true);
        self.check_names_late();
    }

    fn failed(&self, _: &StoreError) {
        // The follower logs it once; here it only shows in the health.
        self.connected.store(false, Ordering::Relaxed);
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
        let memory = Memory::new(BTreeSet::new(), false, LocalClock::default());
        let before = memory.breaker(BreakerId::new("bank", &["1"]));
        memory.update(&[update("1", Some(State::Open)), update("2", Some(State::Open))]);
        let after = memory.breaker(BreakerId::new("bank", &["2"]));
        assert_eq!((before.state(), after.state()), (State::Open, State::Open));
        assert!(memory.breaker(BreakerId::new("bank", &["3"])).admit().is_ok());
    }

    #[test]
    fn keys_that_nobody_holds_and_no_flag_shows_are_forgotten() {
        let memory = Memory::new(BTreeSet::new(), false, LocalClock::default());
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
