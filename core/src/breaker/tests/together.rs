//! Policies that meet: what each decides alone is tested beside it.

use super::people::{force, order, step};
use super::*;
use crate::flag::{ALL_PPM, Forced, Mode};

const MAX_AGE_MS: i64 = 300_000;
const ON_STALE: [OnStale; 3] = [OnStale::HalfOpen, OnStale::Hold, OnStale::Close];

fn seen_muted(status: &str, at_s: i64) -> Observation {
    Observation { muted: true, ..seen(status, at_s, at_s) }
}

fn alert(at_s: i64) -> Evidence {
    report(MONITOR, seen("Alert", at_s, at_s))
}

#[test]
fn a_group_that_is_gone_goes_stale_too() {
    use State::{Closed, HalfOpen, Open};
    for (on_vanished, gone, stale) in [
        (OnVanished::HalfOpen, HalfOpen, [HalfOpen, HalfOpen, Closed]),
        (OnVanished::Hold, Open, [HalfOpen, Open, Closed]),
        (OnVanished::Close, Closed, [Closed, Closed, Closed]),
    ] {
        for (on_stale, stale) in ON_STALE.into_iter().zip(stale) {
            let policy = Policy { on_vanished, on_stale, max_age_ms: MAX_AGE_MS, ..policy() };
            let mut breaker =
                after(&policy, &[(1, alert(1)), (60, empty_report(60)), (120, empty_report(120))]);
            breaker.advance(&policy, None, T0 + 120_000 + RAMP_MS);
            assert_eq!(breaker.state(), gone, "{on_vanished:?}, {on_stale:?}");
            let flag = breaker.flag(&policy, None);
            let later_ms = T0 + 1_000 + MAX_AGE_MS + RAMP_MS;
            breaker.advance(&policy, None, later_ms);
            assert_eq!(
                (breaker.state(), flag.state_at(later_ms)),
                (stale, stale),
                "{on_vanished:?}, {on_stale:?}"
            );
        }
    }
}

#[test]
fn what_goes_stale_within_the_least_time_open_waits_for_its_end() {
    let policy = Policy { min_open_ms: 600_000, max_age_ms: MAX_AGE_MS, ..policy() };
    let mut breaker = after(&policy, &[(1, alert(1))]);
    breaker.advance(&policy, None, T0 + 600_999);
    assert_eq!(breaker.state(), State::Open);
    let flag = breaker.flag(&policy, None);
    breaker.advance(&policy, None, T0 + 601_000);
    let doubt = breaker.flag(&policy, None);
    assert_eq!((doubt.state, doubt.ramp, doubt.next), (State::HalfOpen, None, None));
    assert_eq!([600_999, 601_000].map(|ms| flag.state_at(T0 + ms)), [State::Open, State::HalfOpen]);
}

#[test]
fn no_data_of_a_muted_group_counts_only_where_muted_groups_count() {
    use State::{Closed, HalfOpen, Open};
    for (no_data, from_ok, from_alert) in
        [(NoData::Hold, Closed, Open), (NoData::Open, Open, Open), (NoData::Close, Closed, HalfOpen)]
    {
        let follow = Policy { no_data, muted: Muted::Follow, ..policy() };
        let hold = Policy { muted: Muted::Hold, ..follow.clone() };
        let from = |policy: &Policy, before: &str, then: Observation| {
            state_after(policy, &[(1, report(MONITOR, seen(before, 1, 1))), (20, report(MONITOR, then))])
        };
        let no_data_muted = || seen_muted("No Data", 20);
        assert_eq!(from(&follow, "OK", no_data_muted()), from_ok, "{no_data:?}");
        assert_eq!(from(&follow, "Alert", no_data_muted()), from_alert, "{no_data:?}");
        assert_eq!(from(&hold, "OK", no_data_muted()), Closed, "{no_data:?}");
        assert_eq!(from(&hold, "Alert", no_data_muted()), Open, "{no_data:?}");
        assert_eq!(from(&hold, "OK", seen("No Data", 20, 20)), from_ok, "{no_data:?}: not muted");
    }
}

#[test]
fn a_signal_that_a_downtime_holds_is_not_refreshed() {
    let policy = Policy { muted: Muted::Hold, max_age_ms: MAX_AGE_MS, ..policy() };
    let mut breaker = after(&policy, &[(1, alert(1)), (200, report(MONITOR, seen_muted("Alert", 200)))]);
    assert_eq!(breaker.flag(&policy, None).stale_at_ms, Some(T0 + 1_000 + MAX_AGE_MS));
    breaker.advance(&policy, None, T0 + 1_000 + MAX_AGE_MS);
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.apply(&policy, &report(MONITOR, seen_muted("OK", 400)), None, T0 + 400_000);
    assert_eq!(breaker.flag(&policy, None).ramp, None, "still nobody knows");
}

#[test]
fn the_end_of_an_override_finds_signals_as_old_as_they_are() {
    use State::{Closed, HalfOpen, Open};
    for (on_stale, forced_open, forced_closed) in [
        (OnStale::HalfOpen, (HalfOpen, false), Closed),
        (OnStale::Hold, (Open, false), Open),
        (OnStale::Close, (HalfOpen, true), Closed),
    ] {
        let policy = Policy { on_stale, max_age_ms: MAX_AGE_MS, ..policy() };
        for state in [Forced::Open, Forced::Closed] {
            let mut breaker = after(&policy, &[(1, alert(1))]);
            breaker.obey(&policy, &force(state, None), None, T0 + 2_000);
            let long_after_ms = T0 + 10 * MAX_AGE_MS;
            assert_eq!(breaker.advance(&policy, None, long_after_ms), [], "neither age nor time ends it");
            breaker.obey(&policy, &order(Act::Clear), None, long_after_ms);
            let flag = breaker.flag(&policy, None);
            match state {
                Forced::Open => assert_eq!((flag.state, flag.ramp.is_some()), forced_open, "{on_stale:?}"),
                Forced::Closed => assert_eq!(flag.state, forced_closed, "{on_stale:?}"),
            }
        }
    }
}

#[test]
fn in_watch_mode_not_even_a_person_refuses_anybody() {
    let policy = Policy { mode: Mode::Watch, ..policy() };
    let mut breaker = Breaker::new(T0);
    breaker.obey(&policy, &force(Forced::Open, Some(100)), None, T0);
    let flag = breaker.flag(&policy, None);
    assert_eq!((flag.state, flag.share_ppm(T0), flag.would_at(T0)), (State::Closed, ALL_PPM, State::Open));
    assert_eq!(flag.would_share_ppm(T0), 0, "it would be without probes");
    assert_eq!(flag.would_at(T0 + 100_000), State::HalfOpen);
    assert_eq!(breaker.state(), State::Open, "the record knows what was ordered");
}

#[test]
fn a_release_in_a_pause_opens_nothing() {
    let mut breaker = Breaker::new(T0);
    breaker.apply(&policy(), &alert(1), Some(Hold::MaxOpen), T0 + 2_000);
    breaker.obey(&policy(), &order(Act::Release), Some(Hold::Paused), T0 + 3_000);
    assert_eq!((breaker.state(), breaker.held()), (State::Closed, Some(Hold::Paused)));
    breaker.advance(&policy(), None, T0 + 4_000);
    assert_eq!(breaker.state(), State::Open, "the pause is over, and there is room");
}

#[test]
fn a_released_breaker_that_closed_again_is_held_again() {
    let max_open = Some(Hold::MaxOpen);
    let mut breaker = Breaker::new(T0);
    breaker.apply(&policy(), &alert(1), max_open, T0 + 2_000);
    breaker.obey(&policy(), &order(Act::Release), max_open, T0 + 3_000);
    assert_eq!(breaker.state(), State::Open);
    breaker.apply(&policy(), &report(MONITOR, seen("OK", 10, 10)), max_open, T0 + 10_000);
    breaker.apply(&policy(), &alert(12), max_open, T0 + 12_000);
    assert_eq!(breaker.state(), State::Open, "half-open counts as not closed");
    breaker.apply(&policy(), &report(MONITOR, seen("OK", 20, 20)), max_open, T0 + 20_000);
    breaker.advance(&policy(), max_open, T0 + 20_000 + RAMP_MS);
    breaker.apply(&policy(), &alert(50), max_open, T0 + 50_000);
    assert_eq!((breaker.state(), breaker.held()), (State::Closed, max_open));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Closed never goes half-open; open goes straight to closed only by a person's order.
    #[test]
    fn no_history_takes_a_way_that_the_state_table_does_not_have(
        steps in prop::collection::vec((0i64..400, 0u8..9, any::<bool>()), 1..12),
        max_age_ms in 60_000i64..400_000,
        on_stale in prop::sample::select(ON_STALE.to_vec()),
        on_vanished in prop::sample::select(vec![OnVanished::HalfOpen, OnVanished::Hold, OnVanished::Close]),
    ) {
        let policy = Policy { max_age_ms, on_stale, on_vanished, min_open_ms: 20_000, ..policy() };
        let mut breaker = Breaker::new(T0);
        let mut now_s = 0;
        for (wait_s, kind, paused) in steps {
            now_s += wait_s;
            let hold = paused.then_some(Hold::Paused);
            for told in step(&mut breaker, &policy, kind, hold, now_s) {
                let by_person = matches!(told.cause, Cause::Person { .. });
                prop_assert!((told.from, told.to) != (State::Closed, State::HalfOpen), "{:?}", told);
                prop_assert!((told.from, told.to) != (State::Open, State::Closed) || by_person, "{:?}", told);
                prop_assert!(!paused || told.to != State::Open || told.from == State::Open || by_person, "{:?}", told);
            }
        }
    }
}
