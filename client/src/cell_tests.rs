//! What a cell answers, one thread at a time and many at once. Every order of threads: `under_loom`.

use crate::cell::{Answer, Cell, refusal};
use crate::clock::Moment;
use crate::reason::Reason;
use crate::staleness::Act;
use cutout_core::flag::ALL_PPM;
use cutout_core::flag::PROBE_EVERY_MS;
use cutout_core::flag::{ForcedUntil, Next};
use cutout_core::{BreakerId, Flag, Mode, OnStale, State};
use cutout_core::{Forced, flag::Ramp};
use std::sync::Barrier;

const LAST_DRAW: u32 = ALL_PPM - 1;

fn at(ms: i64) -> Moment {
    Moment { monotonic_ms: ms, store_ms: ms, true_ms: ms }
}

fn cell(act: Act, flag: Flag) -> Cell {
    let cell = Cell::new(BreakerId::new("bank", &["0001"]), Act::Nothing);
    cell.set(Some(flag), 0);
    cell.act(act);
    cell
}

fn open() -> Flag {
    Flag { state: State::Open, probe_ppm: 10_000, ..Flag::default() }
}

fn reason(cell: &Cell, now: Moment) -> Option<Reason> {
    match cell.ask(None, now, LAST_DRAW) {
        Answer::Refused(refusal) => Some(refusal.reason),
        Answer::Admitted | Answer::WouldRefuse(_) => None,
    }
}

#[test]
fn what_shares_a_word_does_not_touch_each_other() {
    /// Where there is no more room: a million years from 1970.
    const FAR_MS: i64 = 1 << 55;
    let cell = Cell::new(BreakerId::new("bank", &["0001"]), Act::Nothing);
    assert_eq!((cell.known(at(0)).since_ms, cell.is_calm()), (None, true));
    // What is told begins with 1970.
    let all =
        [(-1, 0), (0, 0), (1_795_223_705_123, 1_795_223_705_123), (i64::MIN, 0), (i64::MAX, FAR_MS - 1)];
    for (since_ms, told_ms) in all {
        for (act, would_be) in
            [(Act::Open, State::Open), (Act::Close, State::Closed), (Act::Nothing, State::Closed)]
        {
            cell.set(Some(Flag { since_ms, ..Flag::default() }), 0);
            cell.act(act);
            let told = cell.turn(at(0)).map(|(_, now)| now.state);
            let known = cell.known(at(0));
            assert_eq!((known.state, cell.is_calm()), (would_be, act != Act::Open), "{since_ms} {act:?}");
            assert_eq!(told.unwrap_or(known.state), would_be);
            assert_eq!(cell.turn(at(0)), None, "told once");
            cell.act(Act::Nothing);
            assert_eq!(cell.known(at(0)).since_ms, Some(told_ms), "{since_ms} {act:?}");
        }
    }
}

#[test]
fn of_many_callers_at_once_exactly_one_makes_the_probe_that_is_due() {
    const CALLERS: usize = 8;
    let cell = cell(Act::Nothing, open());
    for round in 0..500 {
        let now = at(round * PROBE_EVERY_MS);
        let start = Barrier::new(CALLERS);
        let ask = || {
            start.wait();
            cell.ask(None, now, LAST_DRAW) == Answer::Admitted
        };
        let probes: usize = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
            callers.into_iter().map(|caller| usize::from(caller.join().unwrap())).sum()
        });
        assert_eq!(probes, 1, "round {round}");
        assert!(reason(&cell, at((round + 1) * PROBE_EVERY_MS - 1)).is_some(), "not before it is due");
    }
}

#[test]
fn a_drawn_probe_puts_the_next_one_off_and_a_call_that_passes_by_its_class_does_not() {
    let cell = cell(Act::Nothing, Flag { refuse: ["charge".to_owned()].into(), ..open() });
    assert_eq!(cell.ask(Some("charge"), at(0), 9_999), Answer::Admitted, "the last of the share");
    assert!(reason(&cell, at(PROBE_EVERY_MS - 1)).is_some());
    assert_eq!(cell.ask(Some("refund"), at(PROBE_EVERY_MS), 0), Answer::Admitted);
    assert_eq!(cell.ask(Some("charge"), at(PROBE_EVERY_MS), LAST_DRAW), Answer::Admitted, "still due");
    assert_eq!(reason(&cell, at(PROBE_EVERY_MS)), Some(Reason::Signals));
}

#[test]
fn a_breaker_that_stays_open_keeps_the_pace_of_its_probes() {
    let cell = cell(Act::Nothing, open());
    assert_eq!(reason(&cell, at(0)), None);
    cell.set(Some(Flag { since_ms: 7, ..open() }), 0);
    assert_eq!(reason(&cell, at(1)), Some(Reason::Signals), "a new flag brings no new probe");
    cell.set(Some(Flag::default()), 0);
    cell.set(Some(open()), 5_000);
    assert_eq!((reason(&cell, at(4_999)), reason(&cell, at(5_000))), (Some(Reason::Signals), None));
}

#[test]
fn without_a_probe_share_there_is_no_probe_and_a_person_forbids_it() {
    assert!(reason(&cell(Act::Nothing, Flag { probe_ppm: 0, ..open() }), at(i64::MAX)).is_some());
    let forced = Some(ForcedUntil { state: Forced::Open, until_ms: None });
    let cell = cell(Act::Nothing, Flag { forced, ..open() });
    assert_eq!(reason(&cell, at(i64::MAX)), Some(Reason::Override));
    assert!(matches!(cell.ask(None, at(0), 0), Answer::Refused(_)), "nor is any drawn");
}

#[test]
fn calm_is_what_admits_every_call_now_and_later_with_nothing_to_count() {
    let next = Some(Next { at_ms: 5, state: State::Open });
    let watching = |would| Flag { mode: Mode::Watch, would: Some(would), ..Flag::default() };
    assert!(cell(Act::Nothing, Flag::default()).is_calm() && cell(Act::Close, Flag::default()).is_calm());
    assert!(cell(Act::Nothing, watching(State::Closed)).is_calm());
    assert!(!cell(Act::Nothing, watching(State::Open)).is_calm());
    assert!(!cell(Act::Nothing, Flag { next, ..Flag::default() }).is_calm());
    assert!(!cell(Act::Nothing, open()).is_calm() && !cell(Act::Open, Flag::default()).is_calm());
    assert!(!Cell::new(BreakerId::new("bank", &["0001"]), Act::Open).is_calm());
}

#[test]
fn until_is_the_next_moment_at_which_time_changes_the_state() {
    let ramp = Some(Ramp { from_ms: 10, to_ms: 90, from_ppm: 0 });
    let next = Some(Next { at_ms: 10, state: State::HalfOpen });
    let until = |flag: &Flag, now_ms| refusal(flag, now_ms).until_ms;
    let ends = Flag { ramp, next, ..open() };
    assert_eq!((until(&ends, 9), until(&ends, 10)), (Some(10), Some(90)));
    let stale = Flag { stale_at_ms: Some(50), ..open() };
    assert_eq!((until(&stale, 49), until(&stale, 50)), (Some(50), None));
    assert_eq!(until(&Flag { on_stale: OnStale::Hold, ..stale.clone() }, 49), None);
    let forced = Some(ForcedUntil { state: Forced::Closed, until_ms: Some(10) });
    let next = Some(Next { at_ms: 10, state: State::Open });
    let over = Flag { state: State::Closed, since_ms: 3, forced, next, ..stale.clone() };
    assert_eq!((refusal(&over, 11).since_ms, until(&over, 11)), (Some(10), Some(50)));
    let forced = Some(ForcedUntil { state: Forced::Open, until_ms: None });
    assert_eq!(until(&Flag { forced, ..stale }, 11), None, "a person's decision does not go stale");
}

#[test]
fn staleness_leaves_a_person_alone_by_the_true_time_though_the_breakers_stands_still() {
    let now = |true_ms| Moment { monotonic_ms: 0, store_ms: 100, true_ms };
    let forced = |state| Some(ForcedUntil { state, until_ms: Some(500) });
    let kept_open = cell(Act::Close, Flag { forced: forced(Forced::Open), ..open() });
    assert_eq!((kept_open.state(now(499)), kept_open.state(now(500))), (State::Open, State::Closed));
    assert_eq!((reason(&kept_open, now(499)), reason(&kept_open, now(500))), (Some(Reason::Override), None));
    let kept_closed = cell(Act::Open, Flag { forced: forced(Forced::Closed), ..Flag::default() });
    assert_eq!(
        (reason(&kept_closed, now(499)), reason(&kept_closed, now(500))),
        (None, Some(Reason::Staleness))
    );
}
