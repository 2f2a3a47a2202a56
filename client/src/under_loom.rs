//! The cell under loom: every order in which threads may meet, not the ones that a machine happens to show.
//!
//! The same source as in production, over loom's atomics. Flags are swapped through a lock here instead of `arc_swap`, which has
//! models of its own; what is tried is what cells make of it: probes, the ramp, and the word that says "calm".

#![allow(dead_code, unreachable_pub, reason = "the source of production, of which a model uses a part")]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicI64, Ordering};
    use std::sync::Arc;

    /// In the place of `arc_swap::ArcSwapOption`.
    #[derive(Debug)]
    pub(crate) struct ArcSwapOption<T>(loom::sync::Mutex<Option<Arc<T>>>);

    impl<T> ArcSwapOption<T> {
        pub(crate) fn empty() -> ArcSwapOption<T> {
            ArcSwapOption(loom::sync::Mutex::new(None))
        }

        pub(crate) fn load(&self) -> Guard<T> {
            Guard(self.0.lock().unwrap().clone())
        }

        pub(crate) fn store(&self, value: Option<Arc<T>>) {
            *self.0.lock().unwrap() = value;
        }
    }

    pub(crate) struct Guard<T>(Option<Arc<T>>);

    impl<T> std::ops::Deref for Guard<T> {
        type Target = Option<Arc<T>>;

        fn deref(&self) -> &Option<Arc<T>> {
            &self.0
        }
    }
}

#[allow(clippy::duplicate_mod, reason = "that is the point: the source of production over other atomics")]
#[path = "cell.rs"]
mod cell;

use crate::clock::Moment;
use crate::staleness::Act;
use cell::{Answer, Cell};
use cutout_core::flag::{ALL_PPM, PROBE_EVERY_MS, Ramp};
use cutout_core::{BreakerId, Flag, State};
use loom::thread;
use std::sync::Arc;

const NOW: Moment = Moment { monotonic_ms: 7, store_ms: 7, true_ms: 7 };
const LAST_DRAW: u32 = ALL_PPM - 1;

/// Three threads that take each other's place at will are some hundred thousand orders; nearly all mistakes show when they do so
/// three times.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

fn cell(flag: Option<Flag>) -> Arc<Cell> {
    let cell = Cell::new(BreakerId::new("bank", &["0001"]), Act::Nothing);
    cell.set(flag, 0);
    Arc::new(cell)
}

fn open() -> Option<Flag> {
    Some(Flag { state: State::Open, probe_ppm: 10_000, ..Flag::default() })
}

/// As `Breaker::admit` does.
fn admits(cell: &Cell, draw_ppm: u32) -> bool {
    cell.is_calm() || cell.ask(None, NOW, draw_ppm) == Answer::Admitted
}

fn spawn<T: 'static>(cell: &Arc<Cell>, run: impl FnOnce(&Cell) -> T + 'static) -> thread::JoinHandle<T> {
    let cell = Arc::clone(cell);
    thread::spawn(move || run(&cell))
}

#[test]
fn of_callers_at_once_one_makes_the_probe_that_is_due() {
    model(|| {
        let cell = cell(open());
        let others =
            [spawn(&cell, |cell| admits(cell, LAST_DRAW)), spawn(&cell, |cell| admits(cell, LAST_DRAW))];
        let mine = admits(&cell, LAST_DRAW);
        let probes = others.map(|other| other.join().unwrap()).into_iter().chain([mine]);
        assert_eq!(probes.filter(|probe| *probe).count(), 1);
    });
}

#[test]
fn a_new_flag_of_a_breaker_that_stays_open_brings_no_second_probe() {
    model(|| {
        let cell = cell(open());
        let others =
            [spawn(&cell, |cell| admits(cell, LAST_DRAW)), spawn(&cell, |cell| admits(cell, LAST_DRAW))];
        cell.set(open().map(|flag| Flag { since_ms: 5, ..flag }), 0);
        let early = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(early.iter().sum::<usize>() + usize::from(admits(&cell, LAST_DRAW)), 1);
    });
}

#[test]
fn a_drawn_call_beside_the_due_probe_leaves_none_due() {
    model(|| {
        let cell = cell(open());
        let drawn = spawn(&cell, |cell| admits(cell, 0));
        let due = admits(&cell, LAST_DRAW);
        assert!(drawn.join().unwrap(), "the share admits it");
        assert!(!admits(&cell, LAST_DRAW), "a probe was made: by its draw, and by the clock too: {due}");
        let later = Moment { monotonic_ms: NOW.monotonic_ms + PROBE_EVERY_MS, ..NOW };
        assert_eq!(cell.ask(None, later, LAST_DRAW), Answer::Admitted, "and the next one comes in time");
    });
}

#[test]
fn whoever_was_refused_once_is_not_admitted_again_and_all_are_refused_when_the_writer_is_done() {
    model(|| {
        let cell = cell(None);
        let caller = spawn(&cell, |cell| (admits(cell, LAST_DRAW), admits(cell, LAST_DRAW)));
        cell.set(open().map(|flag| Flag { probe_ppm: 0, ..flag }), 0);
        assert!(!admits(&cell, LAST_DRAW));
        assert_ne!(caller.join().unwrap(), (false, true), "open, and then closed again");
    });
}

#[test]
fn a_ramp_that_is_over_admits_for_good() {
    model(|| {
        let ramp = Some(Ramp { from_ms: 0, to_ms: 1_000, from_ppm: 500_000 });
        let cell = cell(Some(Flag { state: State::HalfOpen, ramp, ..Flag::default() }));
        let caller = spawn(&cell, |cell| {
            assert!(admits(cell, 0), "the first share is admitted before and after");
            (admits(cell, LAST_DRAW), admits(cell, LAST_DRAW))
        });
        cell.set(Some(Flag::default()), 0);
        assert!(admits(&cell, LAST_DRAW) && cell.is_calm() && cell.is_plain());
        assert_ne!(caller.join().unwrap(), (true, false), "closed, and then half-open again");
    });
}

#[test]
fn what_staleness_opens_it_gives_back() {
    model(|| {
        let cell = cell(None);
        let caller = spawn(&cell, |cell| (admits(cell, 0), admits(cell, 0), admits(cell, 0)));
        cell.act(Act::Open);
        assert!(!admits(&cell, 0));
        cell.act(Act::Nothing);
        assert!(admits(&cell, 0) && cell.is_calm());
        assert_ne!(caller.join().unwrap(), (false, true, false), "opened twice");
    });
}
