//! Signals that no report confirms, and what of a confirmation is worth a write.

use super::people::force;
use super::*;
use crate::flag::Forced;

const MAX_AGE_MS: i64 = 300_000;

fn aging(on_stale: OnStale) -> Policy {
    Policy { max_age_ms: MAX_AGE_MS, on_stale, ..policy() }
}

#[test]
fn an_open_breaker_that_nothing_confirms_follows_its_policy() {
    let alert = (2, report(MONITOR, seen("Alert", 0, 1)));
    for (on_stale, at_age, later) in [
        (OnStale::HalfOpen, State::HalfOpen, State::HalfOpen),
        (OnStale::Hold, State::Open, State::Open),
        (OnStale::Close, State::HalfOpen, State::Closed),
    ] {
        let policy = aging(on_stale);
        let mut breaker = after(&policy, std::slice::from_ref(&alert));
        let flag = breaker.flag(&policy, None);
        let stale_ms = T0 + 2_000 + MAX_AGE_MS;
        assert_eq!(flag.stale_at_ms, Some(stale_ms), "{on_stale:?}");
        breaker.advance(&policy, None, stale_ms - 1);
        assert_eq!(breaker.state(), State::Open, "{on_stale:?}");
        breaker.advance(&policy, None, stale_ms);
        assert_eq!((breaker.state(), flag.state_at(stale_ms)), (at_age, at_age), "{on_stale:?}");
        breaker.advance(&policy, None, stale_ms + RAMP_MS);
        assert_eq!((breaker.state(), flag.state_at(stale_ms + RAMP_MS)), (later, later), "{on_stale:?}");
        let fresh = report(MONITOR, seen("Alert", 0, 500));
        breaker.apply(&policy, &fresh, None, T0 + 501_000);
        assert_eq!(breaker.state(), State::Open, "{on_stale:?}: a fresh report decides again");
    }
}

#[test]
fn freshness_counts_from_the_commit_and_no_data_does_not_refresh() {
    let policy = aging(OnStale::HalfOpen);
    let late = [(100, report(MONITOR, seen("Alert", 0, 1)))];
    assert_eq!(after(&policy, &late).flag(&policy, None).stale_at_ms, Some(T0 + 100_000 + MAX_AGE_MS));
    let told = [late[0].clone(), (160, report(MONITOR, seen("No Data", 150, 160)))];
    assert_eq!(after(&policy, &told).flag(&policy, None).stale_at_ms, Some(T0 + 100_000 + MAX_AGE_MS));
    let confirmed = [late[0].clone(), (160, report(MONITOR, seen("Alert", 0, 160)))];
    assert_eq!(after(&policy, &confirmed).flag(&policy, None).stale_at_ms, Some(T0 + 160_000 + MAX_AGE_MS));
    let doubled = [late[0].clone(), (160, late[0].1.clone())];
    assert_eq!(
        after(&policy, &doubled).flag(&policy, None).stale_at_ms,
        Some(T0 + 100_000 + MAX_AGE_MS),
        "the same report again confirms nothing"
    );
}

#[test]
fn a_breaker_with_several_signals_is_open_until_the_last_of_them_is_stale() {
    let policy = aging(OnStale::HalfOpen);
    let steps = [(1, report(1, seen("Alert", 0, 1))), (50, report(2, seen("Alert", 49, 50)))];
    let mut breaker = after(&policy, &steps);
    assert_eq!(breaker.flag(&policy, None).stale_at_ms, Some(T0 + 50_000 + MAX_AGE_MS));
    let causes = breaker.advance(&policy, None, T0 + 60_000 + MAX_AGE_MS);
    assert_eq!(causes[0].cause, Cause::Stale);
}

#[test]
fn that_reports_go_on_saying_the_same_is_worth_a_write_now_and_then() {
    let policy = aging(OnStale::HalfOpen);
    let stored = after(&policy, &[(1, report(MONITOR, seen("Alert", 0, 1)))]);
    let later = |status, changed_s, at_s: i64| {
        let mut breaker = stored.clone();
        breaker.apply(&policy, &report(MONITOR, seen(status, changed_s, at_s)), None, T0 + at_s * 1000);
        breaker.is_worth_writing(&stored, &policy)
    };
    assert!(!later("Alert", 0, 61));
    assert!(!later("Alert", 0, 75) && later("Alert", 0, 76), "a quarter of max_age");
    assert!(later("Alert", 5, 61) && later("OK", 60, 61));
    let mut missed = stored.clone();
    missed.apply(&policy, &empty_report(9), None, T0 + 9_000);
    assert!(missed.is_worth_writing(&stored, &policy));

    let unknown_change = |as_of_s: i64| Observation { changed_at_ms: None, ..seen("Alert", 0, as_of_s) };
    let stored = after(&policy, &[(1, report(MONITOR, unknown_change(1)))]);
    let mut next = stored.clone();
    next.apply(&policy, &report(MONITOR, unknown_change(2)), None, T0 + 2_000);
    assert!(next.is_worth_writing(&stored, &policy), "it is ordered by its reading alone");
}

#[test]
fn a_flag_tells_when_it_goes_stale_only_where_a_signal_opens_it() {
    for on_stale in [OnStale::HalfOpen, OnStale::Hold, OnStale::Close] {
        let policy = aging(on_stale);
        let alert = report(MONITOR, seen("Alert", 0, 1));
        let stale_ms = Some(T0 + 2_000 + MAX_AGE_MS);
        let mut breaker = after(&policy, &[(2, alert.clone())]);
        assert_eq!(breaker.flag(&policy, None).stale_at_ms, stale_ms, "{on_stale:?}");
        breaker.obey(&policy, &force(Forced::Open, None), None, T0 + 3_000);
        assert_eq!(breaker.flag(&policy, None).stale_at_ms, None, "{on_stale:?}: a person opens it");
        breaker.obey(&policy, &force(Forced::Closed, Some(100)), None, T0 + 4_000);
        let flag = breaker.flag(&policy, None);
        assert_eq!(flag.next, Some(Next { at_ms: T0 + 100_000, state: State::Open }), "{on_stale:?}");
        assert_eq!(flag.stale_at_ms, stale_ms, "{on_stale:?}: of what opens it then");

        let paused = Some(Hold::Paused);
        let mut held = Breaker::new(T0);
        held.apply(&policy, &alert, paused, T0 + 2_000);
        assert_eq!(held.flag(&policy, paused).stale_at_ms, None, "{on_stale:?}: it is closed");
    }
}

#[test]
fn a_flag_tells_the_first_change_and_not_the_one_after_it() {
    let mut breaker = after(&policy(), &[(11, hint(10, NotifiedTransition::Alert, None))]);
    breaker.obey(&policy(), &force(Forced::Closed, Some(100)), None, T0 + 12_000);
    let opens = Some(Next { at_ms: T0 + 100_000, state: State::Open });
    assert_eq!(breaker.flag(&policy(), None).next, opens, "and later the hint lapses");
}
