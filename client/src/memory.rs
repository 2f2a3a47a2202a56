//! What this process knows of all breakers: the follower's sink.
//!
//! The follower writes here; callers hold cells, or look at the board, and never wait for this lock to get an answer.
//! A cell lives while there is more to tell of its breaker than "closed", or somebody holds a handle. Others are kept for the
//! next handle, and forgotten when there would be more of them than of those that live; so however many keys a program asks
//! for, the map is bounded by what the store and the program themselves hold.

use crate::board::{Board, ById, Cells};
use crate::breaker::{self, Common, Shared};
use crate::cell::{Cell, is_plain};
use crate::clock::{Moment, StoreClock};
use crate::locals::Locals;
use crate::names::Names;
use crate::snapshot::KnownBreaker;
use crate::staleness::{Act, Limits};
use crate::states;
use crate::transitions::Listeners;
use cutout_core::flag::PROBE_EVERY_MS;
use cutout_core::{BreakerId, Chain, Declared};
use cutout_flags::{Sink, StoreError, Synced, Update};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by a client, its handles and its follower.
#[derive(Debug)]
pub(crate) struct Memory {
    cells: Mutex<Kept>,
    shared: Arc<Shared>,
    limits: Limits,
    names: Names,
    connected: AtomicBool,
    losses: AtomicU64,
    contact: watch::Sender<Contact>,
    listeners: Listeners,
    locals: Locals,
}

/// What came of the start.
#[derive(Debug, Clone)]
pub(crate) enum Contact {
    /// No answer yet, and what went wrong last.
    Not(Option<String>),
    /// It answers, and will say the same again: a wrong password, no permission.
    Refused(String),
    /// All flags of the first snapshot are known.
    Synced,
}

/// How many cells are kept before those that nobody needs are looked for.
const CELLS_KEPT_MIN: usize = 1_024;

/// What stands behind the lock.
#[derive(Debug)]
struct Kept {
    by_id: Cells,
    /// How many cells there may be until the next sweep.
    sweep_at: usize,
    /// As many as the program names, and the store's flags.
    names: HashMap<Box<str>, Named>,
}

/// What the breakers of one name share.
#[derive(Debug, Clone)]
struct Named {
    board: Arc<Board>,
    /// For calls without a class.
    common: Arc<Common>,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { by_id: Cells::default(), sweep_at: CELLS_KEPT_MIN, names: HashMap::new() }
    }
}

impl Kept {
    fn all(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.by_id.iter().map(|cell| &cell.0)
    }

    fn get(&self, id: &str) -> Option<&Arc<Cell>> {
        self.by_id.get(id).map(|cell| &cell.0)
    }

    fn insert(&mut self, cell: Arc<Cell>) {
        if self.by_id.len() >= self.sweep_at {
            self.by_id.retain(|cell| lives(&cell.0));
            // Each sweep pays for as many new cells as it leaves.
            self.sweep_at = self.by_id.len().saturating_mul(2).max(CELLS_KEPT_MIN);
            self.by_id.shrink_to(self.sweep_at);
        }
        self.by_id.insert(ById(cell));
    }
}

/// Whether a new cell in its place could make a difference. One that is not plain never makes room for another.
fn lives(cell: &Arc<Cell>) -> bool {
    // Somebody besides the map has it: a handle, or a thread's old board, which will go.
    let is_held = Arc::strong_count(cell) > 1;
    !cell.is_plain() || is_held
}

impl Memory {
    pub(crate) fn new(names: Names, limits: Limits) -> Memory {
        Memory {
            cells: Mutex::default(),
            shared: Arc::default(),
            limits,
            names,
            connected: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            contact: watch::Sender::new(Contact::Not(None)),
            listeners: Listeners::default(),
            locals: Locals::default(),
        }
    }

    /// A memory that a test writes: a fault meets every call that it is for.
    pub(crate) fn of_a_fake() -> Memory {
        let shared = Arc::new(Shared { faults_meet_all: true, ..Shared::default() });
        Memory { shared, ..Memory::new(Names::new(BTreeSet::new(), false), Limits::default()) }
    }

    /// The cell of one breaker, for a handle.
    pub(crate) fn cell<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Arc<Cell> {
        let mut id = String::new();
        BreakerId::spell(name, key, &mut id);
        let mut cells = self.cells();
        if let Some(cell) = cells.get(&id) {
            return Arc::clone(cell);
        }
        let cell = self.new_cell(BreakerId::from_stored(id));
        cells.insert(Arc::clone(&cell));
        if !cell.is_calm() {
            self.post(&mut cells, &[Arc::clone(&cell)]);
        }
        cell
    }

    /// A cell for a breaker that has none. Only while the cells are locked, so that no change of the limits passes it by.
    fn new_cell(&self, id: BreakerId) -> Arc<Cell> {
        let act = self.limits.act_on(id.name());
        Arc::new(Cell::new(id, act))
    }

    /// What the breakers of a name share.
    pub(crate) fn named(&self, name: &str) -> (Arc<Board>, Arc<Common>) {
        let Named { board, common } = self.named_in(&mut self.cells(), name);
        (board, common)
    }

    fn named_in(&self, cells: &mut Kept, name: &str) -> Named {
        if let Some(named) = cells.names.get(name) {
            return named.clone();
        }
        let common = Arc::new(Common::new(Arc::clone(&self.shared), name, None));
        let named = Named { board: Arc::default(), common };
        named.board.keyed_by(self.names.tags(name));
        named.board.post(std::iter::empty(), self.refuses_others(name));
        cells.names.insert(name.into(), named.clone());
        named
    }

    /// Puts on the boards of their names what these cells have become.
    fn post(&self, cells: &mut Kept, changed: &[Arc<Cell>]) {
        let mut by_name: BTreeMap<&str, Vec<&Arc<Cell>>> = BTreeMap::new();
        changed.iter().for_each(|cell| by_name.entry(cell.id().name()).or_default().push(cell));
        for (name, changed) in by_name {
            self.named_in(cells, name).board.post(changed.into_iter(), self.refuses_others(name));
        }
    }

    /// Whether a key that nobody has heard of is to be refused.
    fn refuses_others(&self, name: &str) -> bool {
        self.limits.act_on(name) == Act::Open
    }

    /// What is known of each breaker of which there is something to tell, or that the program holds; in no order.
    pub(crate) fn breakers(&self) -> Vec<KnownBreaker> {
        let (cells, now) = (self.cells(), self.clock().now());
        cells.all().filter(|cell| lives(cell)).map(|cell| cell.known(now)).collect()
    }

    pub(crate) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Tells listeners if a breaker has changed. Only while the cells are locked, so that they hear it in order.
    fn tell_turn(&self, cell: &Cell, now: Moment) {
        if let Some(turn) = cell.turn(now) {
            self.listeners.tell(cell.id(), turn, breaker::at(now.true_ms));
        }
    }

    /// Tells listeners what time alone has changed.
    fn tell_turns(&self) {
        // Calm ones do not change with time.
        let (cells, now) = (self.cells(), self.clock().now());
        let in_question = cells.names.values().flat_map(|named| named.board.all());
        in_question.for_each(|cell| self.tell_turn(&cell, now));
    }

    /// What is declared.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// What comes of the start.
    pub(crate) fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
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
        self.tell_states();
        self.locals.tell();
        metrics::gauge!("cutout_client_store_age_seconds").set(self.clock().silence().as_secs_f64());
    }

    /// Hands to the metrics what state the breakers of each name are in.
    fn tell_states(&self) {
        // A recorder is another's code, so the lock is not held while it is told.
        let names: Vec<_> =
            self.cells().names.iter().map(|(name, named)| (name.clone(), Arc::clone(&named.board))).collect();
        let now = self.clock().now();
        for (name, board) in names {
            states::tell(&name, board.all().into_iter().map(|cell| cell.known(now)), now.true_ms);
        }
    }

    /// Hands to the metrics what callers have counted.
    pub(crate) fn tell_counts(&self) {
        self.shared.tallies.tell();
    }

    fn look_at_staleness(&self) {
        // Locked before the time is read: between a contact and a look at an older time, the contact must win.
        let mut cells = self.cells();
        if self.limits.look(self.clock().silence()) {
            let now = self.clock().now();
            for cell in cells.all() {
                cell.act(self.limits.act_on(cell.id().name()));
                self.tell_turn(cell, now);
            }
            let all: Vec<_> = cells.all().cloned().collect();
            self.post(&mut cells, &all);
            for (name, named) in &cells.names {
                named.board.post(std::iter::empty(), self.refuses_others(name));
            }
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    pub(crate) fn regained_contact(&self, declared: Option<&Arc<Declared>>) {
        self.connected.store(true, Ordering::Relaxed);
        if self.names.learn(declared) {
            self.cells().names.iter().for_each(|(name, named)| named.board.keyed_by(self.names.tags(name)));
        }
        self.contact.send_if_modified(|contact| {
            let is_first = !matches!(contact, Contact::Synced);
            *contact = Contact::Synced;
            is_first
        });
        self.names.check_used_late();
    }

    pub(crate) fn lost_contact(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    fn cells(&self) -> MutexGuard<'_, Kept> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Memory {
    fn update(&self, updates: &[Update]) {
        let mut cells = self.cells();
        let now = self.clock().now();
        let mut changed = Vec::with_capacity(updates.len());
        for Update { id, flag } in updates {
            let flag = flag.as_ref().map(|published| published.flag.clone());
            let cell = match cells.get(id.as_str()) {
                Some(cell) => Arc::clone(cell),
                // Nobody asks for it, and a new cell says the same.
                None if flag.as_ref().is_none_or(is_plain) => continue,
                None => {
                    let cell = self.new_cell(id.clone());
                    cells.insert(Arc::clone(&cell));
                    cell
                }
            };
            // Not all processes at once: a vendor that has just failed would get a call from each in the same moment.
            let probe_due_ms = now.monotonic_ms.saturating_add(fastrand::i64(0..PROBE_EVERY_MS));
            cell.set(flag, probe_due_ms);
            self.tell_turn(&cell, now);
            changed.push(cell);
        }
        self.post(&mut cells, &changed);
    }

    fn synced(&self, at: &Synced) {
        self.clock().contact(at.local_ms, at.offset_ms);
        let losses = self.losses.swap(at.losses, Ordering::Relaxed);
        if at.losses > losses {
            // The follower logs it.
            metrics::counter!("cutout_client_store_losses_total").increment(at.losses - losses);
        }
        self.look_at_staleness();
        self.regained_contact(at.declared.as_ref());
    }

    fn failed(&self, error: &StoreError) {
        // The follower logs it once; here it only shows in the health, and in what the start says.
        self.lost_contact();
        self.contact.send_if_modified(|contact| {
            if matches!(contact, Contact::Synced) {
                return false;
            }
            let told = Chain(error).to_string();
            *contact = if error.is_retryable() { Contact::Not(Some(told)) } else { Contact::Refused(told) };
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::Breaker;
    use cutout_core::{Flag, Mode, State};
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

    fn memory() -> Memory {
        Memory::new(Names::new(BTreeSet::new(), false), Limits::default())
    }

    fn handle(memory: &Memory, key: &str) -> Breaker {
        Breaker::new(memory.cell("bank", &[key]), memory.named("bank").1)
    }

    #[test]
    fn handles_taken_before_and_after_a_flag_arrives_tell_the_same() {
        let memory = memory();
        let before = handle(&memory, "1");
        memory.update(&[update("1", Some(State::Open)), update("2", Some(State::Open))]);
        let after = handle(&memory, "2");
        assert_eq!((before.state(), after.state()), (State::Open, State::Open));
        assert!(handle(&memory, "3").admit().is_ok());
    }

    #[test]
    fn breakers_that_open_at_once_do_not_all_probe_at_once() {
        let memory = memory();
        let ids: Vec<String> = (0..1_000).map(|key| key.to_string()).collect();
        let mut updates: Vec<Update> = ids.iter().map(|id| update(id, Some(State::Open))).collect();
        for published in updates.iter_mut().filter_map(|update| update.flag.as_mut()) {
            published.flag.probe_ppm = 1;
        }
        memory.update(&updates);
        let asked = ids.iter().map(|id| handle(&memory, id).admit());
        let probes = asked.filter(Result::is_ok).count();
        assert!(probes < 100, "{probes} of 1,000 in the first moment of 30 s");
    }

    #[test]
    fn keys_are_bounded_by_what_is_held_and_what_is_not_closed_and_neither_makes_room_for_others() {
        const HELD: usize = 1_000;
        const OPEN: usize = 3_000;
        let memory = memory();
        let held: Vec<Breaker> = (0..HELD).map(|key| handle(&memory, &format!("held-{key}"))).collect();
        let of_open = |key: usize, state| update(&format!("open-{key}"), Some(state));
        memory.update(&(0..OPEN).map(|key| of_open(key, State::Open)).collect::<Vec<_>>());
        for key in 0..100_000 {
            // Keys may come from anybody; nobody holds these.
            assert!(handle(&memory, &format!("asked-{key}")).admit().is_ok());
            let kept = memory.cells().by_id.len();
            assert!(kept <= 2 * (HELD + OPEN), "{kept} after {key}");
        }
        assert_eq!(memory.breakers().len(), HELD + OPEN, "what is neither is not listed");
        assert!((0..OPEN).all(|key| handle(&memory, &format!("open-{key}")).admit().is_err()));
        memory.update(
            &(0..HELD).map(|key| update(&format!("held-{key}"), Some(State::Open))).collect::<Vec<_>>(),
        );
        assert!(held.iter().all(|breaker| breaker.admit().is_err()), "a handle that is held is always told");

        memory.update(&(0..OPEN).map(|key| of_open(key, State::Closed)).collect::<Vec<_>>());
        memory.update(&(0..HELD).map(|key| update(&format!("held-{key}"), None)).collect::<Vec<_>>());
        drop(held);
        (0..2 * (HELD + OPEN)).for_each(|key| drop(handle(&memory, &key.to_string())));
        assert!(memory.cells().by_id.len() <= CELLS_KEPT_MIN, "what is closed again and let go is forgotten");
    }

    #[test]
    fn what_is_closed_but_has_more_to_tell_is_not_forgotten_either() {
        let memory = memory();
        let mut watched = update("watched", Some(State::Closed));
        watched.flag.iter_mut().for_each(|published| published.flag.mode = Mode::Watch);
        memory.update(&[watched]);
        (0..10 * CELLS_KEPT_MIN).for_each(|key| drop(handle(&memory, &key.to_string())));
        let known = memory.breakers();
        assert!(known.len() == 1 && known[0].watch, "{known:?}");
    }

    #[test]
    fn closed_flags_that_nobody_asks_for_take_no_room() {
        let memory = memory();
        memory.update(
            &(0..10_000).map(|key| update(&key.to_string(), Some(State::Closed))).collect::<Vec<_>>(),
        );
        assert_eq!(memory.cells().by_id.len(), 0);
    }
}
