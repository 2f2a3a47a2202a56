//! Where the rules begin and end: the exact moment, the same second, the group beside it, the monitor beside it.

use super::people::{force, order};
use super::*;
use crate::flag::{ALL_PPM, Forced};

const HINTED: NotifiedTransition = NotifiedTransition::Alert;

fn alert(at_s: i64) -> Evidence {
    report(MONITOR, seen("Alert", at_s, at_s))
}

/// A hint of another group than `bank:1`.
fn hint_beside(at_s: i64) -> Evidence {
    let claim = Claim { group: Tags::parse("bank:2"), ..claim(at_s, HINTED) };
    Evidence { claim: Some(claim), ..hint(at_s, HINTED, None) }
}

#[test]
fn a_hint_that_lapsed_under_an_override_opens_nothing_after_it() {
    let lapses_ms = T0 + 11_000 + HINT_HOLD_MS;
    for (cleared_ms, state) in [(lapses_ms - 1, State::Open), (lapses_ms, State::Closed)] {
        let mut breaker = after(&policy(), &[(11, hint(10, HINTED, None))]);
        breaker.obey(&policy(), &force(Forced::Closed, None), None, T0 + 12_000);
        breaker.obey(&policy(), &order(Act::Clear), None, cleared_ms);
        assert_eq!(breaker.state(), state);
        assert_eq!(breaker.hints().is_empty(), state == State::Closed);
    }
}

#[test]
fn each_hint_lapses_at_its_own_time() {
    let steps = [(11, hint(10, HINTED, None)), (60, hint_beside(59))];
    let mut breaker = after(&policy(), &steps);
    assert_eq!(breaker.hints().len(), 2);
    breaker.advance(&policy(), None, T0 + 11_000 + HINT_HOLD_MS);
    assert_eq!((breaker.state(), breaker.hints().len()), (State::Open, 1));
    breaker.advance(&policy(), None, T0 + 60_000 + HINT_HOLD_MS);
    assert_eq!((breaker.state(), breaker.hints().len()), (State::HalfOpen, 0));
}

#[test]
fn only_a_newer_alert_holds_a_hinted_breaker_open_for_longer() {
    for (again_s, lapses_s) in [(10, 11), (9, 11), (20, 30)] {
        let steps = [(11, hint(10, HINTED, None)), (30, hint(again_s, HINTED, None))];
        let flag = after(&policy(), &steps).flag(&policy(), None);
        let next = Next { at_ms: T0 + lapses_s * 1000 + HINT_HOLD_MS, state: State::HalfOpen };
        assert_eq!(flag.next, Some(next), "told again of second {again_s}");
    }
}

#[test]
fn what_one_monitor_reports_ends_no_hint_of_another() {
    let mut breaker = after(&policy(), &[(11, hint(10, HINTED, None))]);
    breaker.apply(&policy(), &report(8, seen("OK", 15, 16)), None, T0 + 17_000);
    assert_eq!(breaker.state(), State::Open);
    let mut told = after(&policy(), &[(11, hint(10, HINTED, None))]);
    told.apply(&policy(), &report(MONITOR, seen("OK", 15, 16)), None, T0 + 17_000);
    assert_eq!(told.state(), State::HalfOpen);
}

#[test]
fn what_one_monitor_lacks_says_nothing_of_the_groups_of_another() {
    let policy = Policy { on_vanished: OnVanished::Close, ..policy() };
    let lacks = |as_of_s| Evidence { monitor_id: 8, ..empty_report(as_of_s) };
    let steps = [(1, alert(1)), (60, lacks(60)), (120, lacks(120)), (1_200, lacks(1_200))];
    let breaker = after(&policy, &steps);
    assert!(breaker.signals().values().all(|signal| signal.missing_since_ms.is_none()));
    // Stale by then, and not forgotten.
    assert_eq!((breaker.state(), breaker.signals().len()), (State::HalfOpen, 1));
}

#[test]
fn a_report_that_lacks_one_group_says_nothing_of_the_one_it_shows() {
    let policy = Policy { on_vanished: OnVanished::Close, ..policy() };
    let mut both = alert(1);
    both.groups.push((Tags::parse("bank:2"), seen("Alert", 1, 1)));
    let shows = |as_of_s: i64| Evidence {
        complete_as_of_ms: Some(T0 + as_of_s * 1000),
        ..report(MONITOR, seen("Alert", 1, as_of_s))
    };
    let breaker = after(&policy, &[(1, both), (60, shows(60)), (120, shows(120))]);
    let gone: Vec<_> = breaker.signals().iter().map(|(id, signal)| (&*id.group, signal.vanished)).collect();
    assert_eq!(gone, [("bank:1", false), ("bank:2", true)]);
}

#[test]
fn shown_and_lacking_in_the_same_second_is_shown_in_either_order() {
    let again = report(MONITOR, seen("Alert", 1, 60));
    for steps in [[(60, again.clone()), (61, empty_report(60))], [(60, empty_report(60)), (61, again)]] {
        let breaker = after(&policy(), &[&[(1, alert(1))], &steps[..]].concat());
        assert_eq!(breaker.signals().values().next().unwrap().missing_since_ms, None);
    }
}

#[test]
fn what_still_counts_although_it_vanished_is_not_forgotten() {
    let policy = Policy { on_vanished: OnVanished::Hold, on_stale: OnStale::Hold, ..policy() };
    let gone = [(1, alert(1)), (60, empty_report(60)), (120, empty_report(120))];
    let mut breaker = after(&policy, &gone);
    breaker.apply(&policy, &empty_report(5_000), None, T0 + 5_000_000);
    assert_eq!((breaker.state(), breaker.signals().len()), (State::Open, 1));
}

#[test]
fn what_rests_is_forgotten_only_when_it_was_gone_for_long() {
    let ok = (1, report(MONITOR, seen("OK", 0, 1)));
    let kept = |empty_s: &[i64]| {
        let empty = empty_s.iter().map(|at_s| (*at_s, empty_report(*at_s)));
        after(&policy(), &[ok.clone()].into_iter().chain(empty).collect::<Vec<_>>()).signals().len()
    };
    assert_eq!(kept(&[60]), 1, "missing once is not gone");
    assert_eq!(kept(&[60, 120]), 1, "a late report may still know it");
    let forgotten_s = 60 + FORGOTTEN_AFTER_MS / 1000;
    assert_eq!(kept(&[60, forgotten_s - 1]), 1);
    assert_eq!(kept(&[60, forgotten_s]), 0);
}

#[test]
fn what_is_over_when_it_is_ordered_forces_nothing() {
    let mut breaker = Breaker::new(T0);
    breaker.obey(&policy(), &force(Forced::Open, Some(10)), None, T0 + 10_000);
    assert_eq!((breaker.state(), breaker.forced()), (State::Closed, None));
}

#[test]
fn what_is_over_is_not_restored_and_nothing_is_told_of_it() {
    let restore = order(Act::Restore { since_ms: T0, state: Forced::Open, until_ms: Some(T0 + 40_000) });
    let mut breaker = Breaker::new(T0);
    assert_eq!(breaker.obey(&policy(), &restore, None, T0 + 40_000), []);
    assert_eq!(breaker, Breaker::new(T0));
}

#[test]
fn what_is_restored_replaces_no_override_of_a_record_that_does_not_tell_since_when() {
    let mut older = Breaker::new(T0);
    older.obey(&policy(), &force(Forced::Closed, None), None, T0);
    let mut record = serde_json::to_value(&older).unwrap();
    record.as_object_mut().unwrap().remove("ordered_ms");
    let mut breaker: Breaker = serde_json::from_value(record).unwrap();
    let restore = order(Act::Restore { since_ms: T0 - 1, state: Forced::Open, until_ms: None });
    assert_eq!(breaker.obey(&policy(), &restore, None, T0 + 1_000), []);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_pause_holds_until_its_end() {
    let pause = |until_ms| Pause { by: "ann".into(), why: "drill".into(), since_ms: 1, until_ms };
    assert_eq!([9, 10, 11].map(|now_ms| pause(Some(10)).holds_at(now_ms)), [true, false, false]);
    assert!(pause(None).holds_at(i64::MAX));
}

#[test]
fn nothing_is_held_back_where_a_person_decided_or_where_it_is_open_already() {
    let paused = Some(Hold::Paused);
    let mut forced = Breaker::new(T0);
    forced.obey(&policy(), &force(Forced::Closed, None), None, T0);
    forced.apply(&policy(), &alert(1), paused, T0 + 2_000);
    assert_eq!((forced.held(), forced.flag(&policy(), paused).would), (None, None));
    let mut open = after(&policy(), &[(1, alert(1))]);
    open.apply(&policy(), &report(MONITOR, seen("Alert", 1, 60)), paused, T0 + 60_000);
    assert_eq!((open.state(), open.held()), (State::Open, None));
}

#[test]
fn what_was_held_back_opens_in_the_name_of_what_fires() {
    let paused = Some(Hold::Paused);
    let opened_by = |steps: &[(i64, Evidence)]| {
        let mut breaker = Breaker::new(T0);
        for (at_s, evidence) in steps {
            breaker.apply(&policy(), evidence, paused, T0 + at_s * 1000);
        }
        assert_eq!(breaker.state(), State::Closed);
        breaker.advance(&policy(), None, T0 + 60_000).pop().map(|told| told.cause)
    };
    let ok = (1, report(5, seen("OK", 1, 1)));
    let by_report = Cause::Report { monitor_id: MONITOR };
    assert_eq!(opened_by(&[ok.clone(), (2, alert(2))]), Some(by_report.clone()));
    assert_eq!(
        opened_by(&[ok.clone(), (2, hint(1, HINTED, None))]),
        Some(Cause::Hint { monitor_id: MONITOR })
    );
    assert_eq!(opened_by(&[ok, (2, alert(2)), (3, hint_beside(3))]), Some(by_report));
}

#[test]
fn watch_mode_tells_what_it_would_do_also_where_that_is_held_back() {
    let policy = Policy { mode: crate::flag::Mode::Watch, ..policy() };
    let mut breaker = Breaker::new(T0);
    breaker.apply(&policy, &alert(1), Some(Hold::MaxOpen), T0 + 2_000);
    let flag = breaker.flag(&policy, Some(Hold::MaxOpen));
    assert_eq!((flag.state, flag.would, flag.share_ppm(T0)), (State::Closed, Some(State::Open), ALL_PPM));
}

#[test]
fn a_signals_name_comes_back_from_its_stored_form_and_other_text_is_refused() {
    let id = SignalId { monitor_id: 7, group: "bank:1|2".to_owned() };
    let stored = serde_json::to_string(&id).unwrap();
    assert_eq!(stored, r#""7|bank:1|2""#);
    assert_eq!(serde_json::from_str::<SignalId>(&stored).unwrap(), id);
    for other in [r#""7""#, r#""x|bank:1""#, r#""|bank:1""#] {
        assert!(serde_json::from_str::<SignalId>(other).is_err(), "{other}");
    }
}
