//! What people order, and that no signal undoes it.

use super::*;
use crate::flag::Forced;

pub(super) fn order(act: Act) -> Order {
    Order { by: "ann".into(), why: "vendor maintenance".into(), act }
}

pub(super) fn force(state: Forced, until_s: Option<i64>) -> Order {
    order(Act::Force { state, until_ms: until_s.map(|s| T0 + s * 1000) })
}

fn person(act: &'static str) -> Cause {
    Cause::Person { by: "ann".into(), why: "vendor maintenance".into(), act }
}

fn alert(at_s: i64) -> Evidence {
    report(MONITOR, seen("Alert", at_s, at_s))
}

fn ok(at_s: i64) -> Evidence {
    report(MONITOR, seen("OK", at_s, at_s))
}

#[test]
fn what_a_person_forces_outlives_every_signal_and_ends_at_its_time() {
    for (forced, evidence, after_end) in [
        (Forced::Open, ok(20), State::HalfOpen),
        (Forced::Open, alert(20), State::Open),
        (Forced::Closed, ok(20), State::Closed),
        (Forced::Closed, alert(20), State::Open),
    ] {
        let mut breaker = Breaker::new(T0);
        let told = breaker.obey(&policy(), &force(forced, Some(100)), None, T0 + 10_000);
        assert_eq!(
            told.last().map(|told| (told.to, told.cause.clone())),
            Some((forced.into(), person("force")))
        );
        breaker.apply(&policy(), &evidence, None, T0 + 20_000);
        assert_eq!(breaker.state(), forced.into(), "{forced:?}");
        assert_eq!(breaker.flag(&policy(), None).next, Some(Next { at_ms: T0 + 100_000, state: after_end }));

        let ended = breaker.advance(&policy(), None, T0 + 100_000);
        assert_eq!(breaker.state(), after_end, "{forced:?}");
        assert!(breaker.forced().is_none());
        if after_end != forced.into() {
            assert_eq!(ended[0].cause, Cause::OverrideEnded);
        }
    }
}

#[test]
fn a_forced_close_is_closed_at_once_and_no_least_time_follows_a_persons_end() {
    let policy = Policy { min_open_ms: 300_000, ..policy() };
    let mut breaker = after(&policy, &[(1, alert(1))]);
    breaker.obey(&policy, &force(Forced::Closed, None), None, T0 + 2_000);
    let flag = breaker.flag(&policy, None);
    assert_eq!((flag.state, flag.ramp, flag.next), (State::Closed, None, None));

    let mut opened = Breaker::new(T0);
    opened.obey(&policy, &force(Forced::Open, None), None, T0);
    let cleared = opened.obey(&policy, &order(Act::Clear), None, T0 + 1_000);
    assert_eq!(
        cleared[0],
        Transition {
            from: State::Open,
            to: State::HalfOpen,
            at_ms: T0 + 1_000,
            cause: person("clear"),
            fault: None
        }
    );
}

#[test]
fn an_order_that_leaves_the_state_as_it_is_is_told_too() {
    let told = Breaker::new(T0).obey(&policy(), &force(Forced::Closed, None), None, T0);
    assert_eq!(
        told,
        [Transition {
            from: State::Closed,
            to: State::Closed,
            at_ms: T0,
            cause: person("force"),
            fault: None
        }]
    );
}

#[test]
fn a_forced_close_is_the_way_out_of_half_open_for_a_group_that_vanished() {
    let gone = [(1, alert(1)), (60, empty_report(60)), (120, empty_report(120))];
    let mut breaker = after(&policy(), &gone);
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.obey(&policy(), &force(Forced::Closed, Some(200)), None, T0 + 130_000);
    breaker.advance(&policy(), None, T0 + 200_000);
    breaker.apply(&policy(), &empty_report(201), None, T0 + 201_000);
    assert_eq!(breaker.state(), State::Closed);
    breaker.apply(&policy(), &alert(300), None, T0 + 300_000);
    assert_eq!(breaker.state(), State::Open, "a group that is there again counts again");
}

#[test]
fn what_was_lost_is_restored_unless_a_person_has_decided_again_or_it_is_over() {
    let restore = |until_s: i64| {
        order(Act::Restore { since_ms: T0, state: Forced::Open, until_ms: Some(T0 + until_s * 1000) })
    };
    let mut lost = Breaker::new(T0);
    lost.obey(&policy(), &restore(100), None, T0 + 50_000);
    assert_eq!((lost.state(), lost.forced().map(|forced| forced.since_ms)), (State::Open, Some(T0)));

    let mut decided = Breaker::new(T0);
    decided.obey(&policy(), &force(Forced::Closed, None), None, T0);
    assert_eq!(decided.obey(&policy(), &restore(100), None, T0 + 50_000), []);
    assert_eq!(decided.state(), State::Closed);

    // Two instances bring the same override back, and between them a person ends it.
    assert_eq!(lost.obey(&policy(), &restore(100), None, T0 + 51_000), []);
    lost.obey(&policy(), &order(Act::Clear), None, T0 + 52_000);
    assert_eq!(lost.obey(&policy(), &restore(100), None, T0 + 53_000), []);
    assert_eq!(lost.forced(), None);

    let mut over = Breaker::new(T0);
    over.obey(&policy(), &restore(40), None, T0 + 50_000);
    assert_eq!((over.state(), over.forced()), (State::Closed, None));
}

#[test]
fn a_paused_scope_lets_no_signal_open_and_what_is_open_recovers() {
    let paused = Some(Hold::Paused);
    let mut breaker = Breaker::new(T0);
    breaker.apply(&policy(), &alert(1), paused, T0 + 2_000);
    let flag = breaker.flag(&policy(), paused);
    assert_eq!((flag.state, flag.would), (State::Closed, Some(State::Open)));
    let opened = breaker.advance(&policy(), None, T0 + 9_000);
    assert_eq!(opened[0].cause, Cause::Report { monitor_id: MONITOR }, "the pause is over");
    assert_eq!(breaker.flag(&policy(), None).would, None);

    breaker.apply(&policy(), &ok(20), paused, T0 + 20_000);
    breaker.apply(&policy(), &alert(22), paused, T0 + 22_000);
    assert_eq!(breaker.state(), State::HalfOpen, "half-open is not opened again");
    breaker.advance(&policy(), paused, T0 + 20_000 + RAMP_MS);
    assert_eq!(breaker.state(), State::Closed);
    breaker.obey(&policy(), &force(Forced::Open, None), paused, T0 + 60_000);
    assert_eq!(breaker.state(), State::Open, "a person may");
}

#[test]
fn a_hint_in_a_pause_is_shown_until_it_lapses_and_the_flag_tells_when() {
    let paused = Some(Hold::Paused);
    let mut breaker = Breaker::new(T0);
    breaker.apply(&policy(), &hint(1, NotifiedTransition::Alert, None), paused, T0 + 2_000);
    let flag = breaker.flag(&policy(), paused);
    let lapses_ms = T0 + 2_000 + HINT_HOLD_MS;
    assert_eq!((flag.state, flag.would), (State::Closed, Some(State::Open)));
    assert_eq!(flag.next, Some(Next { at_ms: lapses_ms, state: State::Closed }));
    breaker.advance(&policy(), paused, lapses_ms);
    assert_eq!((breaker.flag(&policy(), paused).would, breaker.held()), (None, None));
    assert_eq!(breaker.advance(&policy(), None, lapses_ms + 1), [], "the pause is over, and so is the hint");
}

#[test]
fn what_the_share_holds_back_waits_for_a_person_or_for_its_signals_to_rest() {
    let held = || {
        let mut breaker = Breaker::new(T0);
        breaker.apply(&policy(), &alert(1), Some(Hold::MaxOpen), T0 + 2_000);
        assert_eq!((breaker.state(), breaker.held()), (State::Closed, Some(Hold::MaxOpen)));
        breaker
    };
    let mut waits = held();
    waits.apply(&policy(), &alert(60), None, T0 + 60_000);
    assert_eq!(waits.state(), State::Closed, "room again is no decision");
    waits.obey(&policy(), &order(Act::Release), Some(Hold::MaxOpen), T0 + 70_000);
    assert_eq!((waits.state(), waits.held()), (State::Open, None));

    let mut rests = held();
    rests.apply(&policy(), &ok(60), Some(Hold::MaxOpen), T0 + 60_000);
    assert_eq!((rests.state(), rests.held()), (State::Closed, None));
}

#[test]
fn in_watch_mode_it_decides_and_the_flag_stays_closed() {
    let policy = Policy { mode: crate::flag::Mode::Watch, ..policy() };
    let mut breaker = after(&policy, &[(1, alert(1))]);
    let flag = breaker.flag(&policy, None);
    assert_eq!(
        (flag.state, flag.would, flag.state_at(i64::MAX)),
        (State::Closed, Some(State::Open), State::Closed)
    );
    breaker.apply(&policy, &ok(9), None, T0 + 9_000);
    assert_eq!(breaker.flag(&policy, None).would_at(T0 + 10_000), State::HalfOpen);
    assert_eq!(breaker.flag(&policy, None).would_at(T0 + 9_000 + RAMP_MS), State::Closed);
}

/// One step of a history in which everything may happen. Yields the transitions.
pub(super) fn step(
    breaker: &mut Breaker,
    policy: &Policy,
    kind: u8,
    hold: Option<Hold>,
    now_s: i64,
) -> Vec<Transition> {
    let now_ms = T0 + now_s * 1000;
    match kind {
        0 | 1 => breaker.apply(policy, &alert(now_s), hold, now_ms),
        2 => breaker.apply(policy, &ok(now_s), hold, now_ms),
        3 => breaker.apply(policy, &hint(now_s, NotifiedTransition::Alert, None), hold, now_ms),
        4 => breaker.apply(policy, &empty_report(now_s), hold, now_ms),
        5 => breaker.obey(policy, &force(Forced::Open, Some(now_s + 70)), hold, now_ms),
        6 => breaker.obey(policy, &force(Forced::Closed, Some(now_s + 90)), hold, now_ms),
        7 => breaker.obey(policy, &force(Forced::Closed, None), hold, now_ms),
        _ => breaker.obey(policy, &order(Act::Clear), hold, now_ms),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// What a caller computes from the flag is what the service will write, up to the flag's second change.
    #[test]
    fn the_flag_tells_the_future_that_time_alone_brings(
        steps in prop::collection::vec((0i64..100, 0u8..9, any::<bool>()), 1..10),
        later_ms in 0i64..900_000, min_open_ms in 0i64..200_000, max_age_ms in 60_000i64..400_000,
        on_stale in prop::sample::select(vec![OnStale::HalfOpen, OnStale::Hold, OnStale::Close]),
    ) {
        let policy = Policy { min_open_ms, max_age_ms, on_stale, ..policy() };
        let mut breaker = Breaker::new(T0);
        let (mut now_s, mut hold) = (0, None);
        for (wait_s, kind, paused) in steps {
            now_s += wait_s;
            hold = paused.then_some(Hold::Paused);
            step(&mut breaker, &policy, kind, hold, now_s);
        }
        let then_ms = T0 + now_s * 1000 + later_ms;
        // The service writes each change when it is due, so a caller needs a flag no longer than that.
        let mut flag = breaker.flag(&policy, hold);
        let mut changes = 0;
        while let Some(due_ms) = flag.next_change_ms().filter(|due_ms| *due_ms <= then_ms) {
            prop_assert_eq!(flag.state_at(due_ms - 1), breaker.state());
            breaker.advance(&policy, hold, due_ms);
            prop_assert_eq!(flag.state_at(due_ms), breaker.state(), "{:?}", flag);
            prop_assert_eq!(flag.share_ppm(due_ms), breaker.flag(&policy, hold).share_ppm(due_ms));
            flag = breaker.flag(&policy, hold);
            changes += 1;
            prop_assert!(changes < 12, "a change that is due again and again: {:?}", flag);
        }
        breaker.advance(&policy, hold, then_ms);
        prop_assert_eq!(flag.state_at(then_ms), breaker.state());
        prop_assert_eq!(flag.share_ppm(then_ms), breaker.flag(&policy, hold).share_ppm(then_ms));
    }

    /// Invariant 3: while an override holds, the state is what it says.
    #[test]
    fn no_signal_undoes_an_override(steps in prop::collection::vec((0i64..20, 0u8..5, any::<bool>()), 1..20), open in any::<bool>()) {
        let state = if open { Forced::Open } else { Forced::Closed };
        let mut breaker = Breaker::new(T0);
        breaker.obey(&policy(), &force(state, None), None, T0);
        let mut now_s = 0;
        for (wait_s, kind, paused) in steps {
            now_s += wait_s;
            step(&mut breaker, &policy(), kind, paused.then_some(Hold::Paused), now_s);
            prop_assert_eq!(breaker.state(), State::from(state));
        }
    }
}
