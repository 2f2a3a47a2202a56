//! Faults that people inject: they end, they are bounded, and nothing that decides the state knows of them.

use super::people::{force, order};
use super::*;
use crate::fault::{FAULT_TIME_MAX_MS, Fault};
use crate::flag::Forced;

fn fault(until_s: i64) -> Fault {
    Fault {
        since_ms: i64::MIN,
        until_ms: T0 + until_s * 1000,
        abort_ppm: 100_000,
        delay_ppm: 0,
        delay_ms: 0,
        only: None,
    }
}

fn injected(until_s: i64) -> Breaker {
    let mut breaker = Breaker::new(T0);
    breaker.obey(&policy(), &order(Act::Inject(fault(until_s))), None, T0);
    breaker
}

#[test]
fn a_fault_is_published_without_who_and_why_and_told_with_them() {
    let mut breaker = Breaker::new(T0);
    let told = breaker.obey(&policy(), &order(Act::Inject(fault(60))), None, T0);
    let by_ann = |act| Cause::Person { by: "ann".into(), why: "vendor maintenance".into(), act };
    let (from, to) = (State::Closed, State::Closed);
    let begun = Some(Box::new(Fault { since_ms: T0, ..fault(60) }));
    assert_eq!(
        told,
        [Transition { from, to, at_ms: T0, cause: by_ann("inject"), fault: begun }],
        "and how much"
    );
    let flag = breaker.flag(&policy(), None);
    assert_eq!(
        flag.fault.as_deref(),
        Some(&Fault { since_ms: T0, ..fault(60) }),
        "it begins when it is ordered"
    );
    assert_eq!((flag.state, flag.next, flag.next_change_ms()), (State::Closed, None, Some(T0 + 60_000)));
    assert_eq!(breaker.fault().map(|injected| &*injected.by), Some("ann"));

    let stored = serde_json::to_string(&breaker).unwrap();
    assert_eq!(
        serde_json::from_str::<Breaker>(&stored).unwrap(),
        breaker,
        "it survives a restart with its end"
    );

    let ended = breaker.obey(&policy(), &order(Act::EndFault), None, T0 + 1_000);
    let cause = by_ann("end_fault");
    assert_eq!(ended, [Transition { from, to, at_ms: T0 + 1_000, cause, fault: None }]);
    assert_eq!((breaker.fault(), breaker.flag(&policy(), None).fault), (None, None));
}

#[test]
fn it_ends_by_itself_in_every_state_and_under_every_override() {
    let ended = |mut breaker: Breaker| {
        let told = breaker.advance(&policy(), None, T0 + 59_999);
        assert!(breaker.fault().is_some() && told.iter().all(|told| told.cause != Cause::FaultEnded));
        let told = breaker.advance(&policy(), None, T0 + 60_000);
        assert!(breaker.fault().is_none() && breaker.flag(&policy(), None).fault.is_none());
        assert!(told.iter().any(|told| told.cause == Cause::FaultEnded && told.at_ms == T0 + 60_000));
    };
    ended(injected(60));
    for forced in [Forced::Open, Forced::Closed] {
        let mut breaker = injected(60);
        breaker.obey(&policy(), &force(forced, None), None, T0 + 1_000);
        ended(breaker);
    }
    let mut open = injected(60);
    open.apply(&policy(), &report(MONITOR, seen("Alert", 1, 1)), None, T0 + 1_000);
    assert_eq!(open.state(), State::Open);
    ended(open);
}

#[test]
fn the_state_and_its_future_are_the_same_with_a_fault_and_without() {
    let alerts = report(MONITOR, seen("Alert", 1, 1));
    let (mut with, mut without) = (injected(60), Breaker::new(T0));
    for step_ms in [1_000, 30_000, 60_000, 90_000] {
        let told = [&mut with, &mut without].map(|breaker| {
            let told = breaker.apply(&policy(), &alerts, None, T0 + step_ms);
            told.into_iter().filter(|told| told.cause != Cause::FaultEnded).collect::<Vec<_>>()
        });
        assert_eq!(told[0], told[1]);
        assert_eq!(Flag { fault: None, ..with.flag(&policy(), None) }, without.flag(&policy(), None));
    }
    assert_eq!(with, without);
}

#[test]
fn what_exceeds_a_limit_is_not_injected_and_ends_what_was() {
    for beyond in [fault(0), Fault { until_ms: T0 + FAULT_TIME_MAX_MS + 1, ..fault(1) }] {
        let mut breaker = injected(60);
        breaker.obey(&policy(), &order(Act::Inject(beyond)), None, T0);
        assert_eq!(breaker.fault(), None);
    }
    let longer = injected(60).flag(&policy(), None);
    assert!(
        !injected(61).flag(&policy(), None).is_refresh_of(&longer),
        "followers are told of another fault at once"
    );
}
