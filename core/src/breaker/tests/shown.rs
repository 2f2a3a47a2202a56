//! What a person is shown of a record, and what of it is worth a write.

use super::people::{force, order};
use super::*;
use crate::fault::Fault;
use crate::flag::Forced;

const MAX_AGE_MS: i64 = 300_000;

fn aging() -> Policy {
    Policy { max_age_ms: MAX_AGE_MS, ..policy() }
}

fn alert(as_of_s: i64) -> Evidence {
    report(MONITOR, seen("Alert", 0, as_of_s))
}

#[test]
fn who_asks_why_it_is_open_is_shown_each_signal_with_what_it_asks_for() {
    let policy = aging();
    let steps = [
        (1, report(3, seen("OK", 0, 1))),
        (2, report(4, seen("Alert", 0, 2))),
        (250, report(5, seen("Alert", 249, 250))),
    ];
    let breaker = after(&policy, &steps);
    let heard: Vec<_> = breaker.heard(&policy, T0 + 302_000).collect();
    let asks: Vec<_> = heard.iter().map(|heard| (heard.id.monitor_id, heard.asks)).collect();
    assert_eq!(asks, [(3, Asks::Rest), (4, Asks::Doubt), (5, Asks::Fire)], "the second is stale");
    let stale_at_ms: Vec<_> = heard.iter().map(|heard| heard.stale_at_ms - T0).collect();
    assert_eq!(stale_at_ms, [301_000, 302_000, 550_000]);
    assert_eq!(heard[2].signal.latest, seen("Alert", 249, 250));
    assert_eq!(&*heard[2].id.group, "bank:1");
}

#[test]
fn the_hints_that_hold_it_open_are_shown() {
    let breaker = after(&policy(), &[(11, hint(10, NotifiedTransition::Alert, None))]);
    let shown: Vec<_> = breaker.hints().iter().map(|(id, hint)| (id.monitor_id, hint.clone())).collect();
    let hint = Hint { at_ms: T0 + 10_000, until_ms: T0 + 11_000 + HINT_HOLD_MS };
    assert_eq!(shown, [(MONITOR, hint)]);
    assert!(breaker.signals().is_empty());
}

/// Whether what `evidence` makes of a record after one alert, committed at `at_s`, is worth a write.
fn is_worth_writing(evidence: &Evidence, at_s: i64) -> bool {
    let stored = after(&aging(), &[(1, alert(1))]);
    let mut breaker = stored.clone();
    breaker.apply(&aging(), evidence, None, T0 + at_s * 1000);
    breaker.is_worth_writing(&stored, &aging())
}

#[test]
fn a_confirmation_is_worth_a_write_by_the_time_of_its_commit_or_of_its_reading() {
    assert!(!is_worth_writing(&alert(74), 75));
    assert!(is_worth_writing(&alert(30), 76), "committed a quarter of max_age later");
    assert!(is_worth_writing(&alert(76), 40), "read a quarter of max_age later");
}

#[test]
fn what_is_not_the_same_is_worth_a_write_at_once() {
    assert!(is_worth_writing(&report(MONITOR, seen("No Data", 0, 20)), 20), "although it holds");
    assert!(!is_worth_writing(&alert(20), 20), "the same is not");
    let muted = Observation { muted: true, ..seen("Alert", 0, 20) };
    assert!(is_worth_writing(&report(MONITOR, muted), 20), "who looks is shown that it is muted");
    assert!(is_worth_writing(&empty_report(20), 20));
    assert!(is_worth_writing(&report(8, seen("Alert", 0, 20)), 20), "one signal more");

    let stored = after(&aging(), &[(1, alert(1)), (60, empty_report(60))]);
    let mut gone = stored.clone();
    gone.apply(&aging(), &empty_report(120), None, T0 + 120_000);
    assert!(gone.is_worth_writing(&stored, &aging()), "missing twice");
    let mut back = stored.clone();
    back.apply(&aging(), &alert(61), None, T0 + 61_000);
    assert!(back.is_worth_writing(&stored, &aging()), "there again");
}

#[test]
fn a_status_that_holds_is_confirmed_without_a_write_as_well() {
    let no_data = |as_of_s| report(MONITOR, seen("No Data", 0, as_of_s));
    let stored = after(&aging(), &[(1, no_data(1))]);
    let mut later = stored.clone();
    later.apply(&aging(), &no_data(20), None, T0 + 20_000);
    assert!(!later.is_worth_writing(&stored, &aging()));
    later.apply(&aging(), &alert(21), None, T0 + 21_000);
    assert!(later.is_worth_writing(&stored, &aging()), "it decides now");
}

#[test]
fn what_a_person_ordered_is_worth_a_write_and_the_same_record_is_not() {
    let unknown_change = Observation { changed_at_ms: None, ..seen("Alert", 0, 1) };
    for first in [report(MONITOR, unknown_change), alert(1)] {
        let stored = after(&aging(), &[(1, first)]);
        assert!(!stored.is_worth_writing(&stored, &aging()));
        let fault =
            Fault { since_ms: 0, until_ms: T0 + 60_000, abort_ppm: 1, delay_ppm: 0, delay_ms: 0, only: None };
        for ordered in [order(Act::Inject(fault)), force(Forced::Open, None)] {
            let mut breaker = stored.clone();
            breaker.obey(&aging(), &ordered, None, T0 + 1_000);
            assert!(breaker.is_worth_writing(&stored, &aging()), "{ordered:?}");
        }
    }
}

#[test]
fn a_signal_that_was_forgotten_is_worth_a_write() {
    let policy = Policy { on_vanished: OnVanished::Close, ..aging() };
    let stored = after(&policy, &[(1, alert(1)), (60, empty_report(60)), (120, empty_report(120))]);
    let mut forgotten = stored.clone();
    forgotten.advance(&policy, None, T0 + 1_000_000);
    let stored = forgotten.clone();
    forgotten.apply(&policy, &empty_report(1_000), None, T0 + 1_000_000);
    assert_eq!((stored.signals().len(), forgotten.signals().len()), (1, 0));
    assert!(forgotten.is_worth_writing(&stored, &policy));
}
