//! The breaker's rules, one by one and as properties.

use super::*;
use crate::flag::{Flag, Next};
use crate::hint::{HINT_AGE_LIMIT_MS, HINT_HOLD_MS};
use proptest::prelude::*;

mod bounds;
mod faults;
mod people;
mod shown;
mod stale;
mod together;

const MONITOR: u64 = 7;
const T0: i64 = 1_795_000_000_000;
const RAMP_MS: i64 = 10_000;

fn policy() -> Policy {
    Policy { min_open_ms: 0, ramp_ms: RAMP_MS, ..Policy::default() }
}

fn seen(status: &str, changed_s: i64, as_of_s: i64) -> Observation {
    let changed_at_ms = Some(T0 + changed_s * 1000);
    Observation { status: status.into(), changed_at_ms, as_of_ms: T0 + as_of_s * 1000, muted: false }
}

/// A report about one group, `bank:1`.
fn report(monitor_id: u64, seen: Observation) -> Evidence {
    let latest_change_ms = seen.changed_at_ms;
    Evidence {
        monitor_id,
        groups: vec![(Tags::parse("bank:1"), seen)],
        complete_as_of_ms: None,
        latest_change_ms,
        claim: None,
    }
}

fn claim(at_s: i64, transition: NotifiedTransition) -> Claim {
    Claim { group: Tags::parse("bank:1"), at_ms: T0 + at_s * 1000, transition }
}

fn hint(at_s: i64, transition: NotifiedTransition, latest_change_s: Option<i64>) -> Evidence {
    let latest_change_ms = latest_change_s.map(|s| T0 + s * 1000);
    Evidence {
        monitor_id: MONITOR,
        groups: vec![],
        complete_as_of_ms: None,
        latest_change_ms,
        claim: Some(claim(at_s, transition)),
    }
}

fn after(policy: &Policy, steps: &[(i64, Evidence)]) -> Breaker {
    let mut breaker = Breaker::new(T0);
    for (now_s, evidence) in steps {
        breaker.apply(policy, evidence, None, T0 + now_s * 1000);
    }
    breaker
}

fn state_after(policy: &Policy, steps: &[(i64, Evidence)]) -> State {
    after(policy, steps).state()
}

#[test]
fn an_alert_opens_and_recovery_goes_through_half_open_to_closed() {
    let mut breaker = Breaker::new(T0);
    let opened = breaker.apply(&policy(), &report(MONITOR, seen("Alert", 5, 6)), None, T0 + 7_000);
    let cause = Cause::Report { monitor_id: MONITOR };
    assert_eq!(
        opened,
        [Transition {
            from: State::Closed,
            to: State::Open,
            at_ms: T0 + 7_000,
            cause: cause.clone(),
            fault: None
        }]
    );
    assert_eq!(
        breaker.flag(&policy(), None),
        Flag {
            state: State::Open,
            since_ms: T0 + 7_000,
            probe_ppm: policy().probe_ppm,
            stale_at_ms: Some(T0 + 7_000 + policy().max_age_ms),
            ..Flag::default()
        }
    );

    let recovered = breaker.apply(&policy(), &report(MONITOR, seen("OK", 60, 61)), None, T0 + 62_000);
    assert_eq!(
        recovered,
        [Transition { from: State::Open, to: State::HalfOpen, at_ms: T0 + 62_000, cause, fault: None }]
    );
    let flag = breaker.flag(&policy(), None);
    assert_eq!(flag.ramp, Some(Ramp { from_ms: T0 + 62_000, to_ms: T0 + 72_000, from_ppm: FIRST_SHARE_PPM }));
    assert_eq!(flag.next, Some(Next { at_ms: T0 + 72_000, state: State::Closed }));

    assert_eq!(breaker.advance(&policy(), None, T0 + 71_999), []);
    let closed = breaker.advance(&policy(), None, T0 + 99_000);
    let ended = Transition {
        from: State::HalfOpen,
        to: State::Closed,
        at_ms: T0 + 72_000,
        cause: Cause::RampEnded,
        fault: None,
    };
    assert_eq!(closed, [ended], "the change is dated when it was due, not when it was written");
}

#[test]
fn an_alert_while_half_open_opens_again_and_the_next_recovery_starts_a_new_ramp() {
    let steps = [
        (1, report(MONITOR, seen("Alert", 0, 1))),
        (20, report(MONITOR, seen("OK", 19, 20))),
        (25, report(MONITOR, seen("Alert", 24, 25))),
    ];
    assert_eq!(state_after(&policy(), &steps), State::Open);
    let mut breaker = after(&policy(), &steps);
    breaker.apply(&policy(), &report(MONITOR, seen("OK", 40, 41)), None, T0 + 42_000);
    assert_eq!(breaker.flag(&policy(), None).ramp.map(|ramp| ramp.from_ms), Some(T0 + 42_000));
}

#[test]
fn what_each_status_means_under_each_policy() {
    let warn = Policy { open_on: OpenOn::Warn, ..policy() };
    let no_data_opens = Policy { no_data: NoData::Open, ..policy() };
    let no_data_closes = Policy { no_data: NoData::Close, ..policy() };
    // First an alert or nothing, then this status: is the breaker open?
    for (name, policy, status, from_alert, from_nothing) in [
        ("warn does not open", &policy(), "Warn", false, false),
        ("warn opens", &warn, "Warn", true, true),
        ("no data holds", &policy(), "No Data", true, false),
        ("no data opens", &no_data_opens, "No Data", true, true),
        ("no data closes", &no_data_closes, "No Data", false, false),
        ("unknown holds", &no_data_closes, "Unknown", true, false),
        ("skipped holds", &no_data_opens, "Skipped", true, false),
        ("a new status holds", &policy(), "Paused", true, false),
        ("ok", &warn, "OK", false, false),
    ] {
        let alert = (1, report(MONITOR, seen("Alert", 0, 1)));
        let then = (20, report(MONITOR, seen(status, 15, 20)));
        let open = |steps: &[_]| state_after(policy, steps) == State::Open;
        assert_eq!((open(&[alert, then.clone()]), open(&[then])), (from_alert, from_nothing), "{name}");
    }
}

#[test]
fn a_recovery_read_before_its_alert_arrives_late_keeps_it_closed() {
    let steps = [(90, report(MONITOR, seen("OK", 80, 81))), (95, report(MONITOR, seen("Alert", 10, 11)))];
    assert_eq!(state_after(&policy(), &steps), State::Closed);
}

#[test]
fn a_held_status_keeps_what_a_late_report_says_was_before_it() {
    let steps =
        [(30, report(MONITOR, seen("No Data", 20, 21))), (31, report(MONITOR, seen("Alert", 10, 11)))];
    assert_eq!(state_after(&policy(), &steps), State::Open);
}

#[test]
fn one_monitor_recovers_while_another_fires() {
    let steps = [
        (1, report(7, seen("Alert", 0, 1))),
        (2, report(8, seen("Alert", 1, 2))),
        (60, report(7, seen("OK", 59, 60))),
    ];
    assert_eq!(state_after(&policy(), &steps), State::Open);
    let mut breaker = after(&policy(), &steps);
    breaker.apply(&policy(), &report(8, seen("OK", 61, 62)), None, T0 + 63_000);
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn an_alert_whose_report_still_says_ok_opens_by_its_hint() {
    let lagging = report(MONITOR, seen("OK", 0, 10));
    let evidence = Evidence { claim: Some(claim(10, NotifiedTransition::Alert)), ..lagging };
    let mut breaker = Breaker::new(T0);
    let transitions = breaker.apply(&policy(), &evidence, None, T0 + 11_000);
    assert_eq!(
        transitions.iter().map(|t| t.cause.clone()).collect::<Vec<_>>(),
        [Cause::Hint { monitor_id: MONITOR }]
    );
    assert_eq!(breaker.state(), State::Open);
    // The report that agrees takes over: the hint's lapse no longer matters.
    breaker.apply(&policy(), &report(MONITOR, seen("Alert", 9, 40)), None, T0 + 41_000);
    assert_eq!(breaker.flag(&policy(), None).next, None);
    assert_eq!(breaker.advance(&policy(), None, T0 + 11_000 + HINT_HOLD_MS), []);
}

#[test]
fn a_hint_that_no_report_supports_lapses_by_itself_through_half_open() {
    let mut breaker = after(&policy(), &[(11, hint(10, NotifiedTransition::Alert, None))]);
    let lapse_ms = T0 + 11_000 + HINT_HOLD_MS;
    assert_eq!(breaker.flag(&policy(), None).next, Some(Next { at_ms: lapse_ms, state: State::HalfOpen }));
    let states: Vec<_> =
        breaker.advance(&policy(), None, lapse_ms + RAMP_MS).iter().map(|t| (t.to, t.at_ms)).collect();
    assert_eq!(states, [(State::HalfOpen, lapse_ms), (State::Closed, lapse_ms + RAMP_MS)]);
}

#[test]
fn hints_that_change_nothing() {
    for (name, now_s, evidence) in [
        ("redriven", 10 + 61, hint(10, NotifiedTransition::Alert, None)),
        ("doubled after its recovery was reported", 20, hint(10, NotifiedTransition::Alert, Some(15))),
        ("a report has seen a change at that very moment", 20, hint(10, NotifiedTransition::Alert, Some(10))),
        ("a test message, or an unknown title", 11, hint(10, NotifiedTransition::Unknown, None)),
        ("a renotification", 11, hint(10, NotifiedTransition::Renotify, None)),
        ("a warning for a breaker that opens on alert", 11, hint(10, NotifiedTransition::Warn, None)),
        ("no data that holds", 11, hint(10, NotifiedTransition::NoData, None)),
        ("a recovery", 11, hint(10, NotifiedTransition::Recovery, None)),
    ] {
        assert_eq!(state_after(&policy(), &[(now_s, evidence)]), State::Closed, "{name}");
    }
}

#[test]
fn a_recovery_hint_never_closes() {
    let steps =
        [(1, report(MONITOR, seen("Alert", 0, 1))), (9, hint(8, NotifiedTransition::Recovery, Some(0)))];
    assert_eq!(state_after(&policy(), &steps), State::Open);
}

#[test]
fn a_report_older_than_the_hint_does_not_take_its_place() {
    let told = hint(100, NotifiedTransition::Alert, None);
    let earlier_alert = report(MONITOR, seen("Alert", 20, 50));
    let earlier_recovery = report(MONITOR, seen("OK", 60, 90));
    for steps in [
        [(101, told.clone()), (101, earlier_alert.clone()), (101, earlier_recovery.clone())],
        [(101, earlier_recovery), (101, earlier_alert), (101, told)],
    ] {
        assert_eq!(
            state_after(&policy(), &steps),
            State::Open,
            "the read side has not seen the new alert yet"
        );
    }
}

/// A complete report of the monitor that lacks every group.
fn empty_report(as_of_s: i64) -> Evidence {
    let complete_as_of_ms = Some(T0 + as_of_s * 1000);
    Evidence { monitor_id: MONITOR, groups: vec![], complete_as_of_ms, latest_change_ms: None, claim: None }
}

#[test]
fn a_group_missing_from_two_reports_a_minute_apart_has_vanished_and_the_policy_decides() {
    let alert = (1, report(MONITOR, seen("Alert", 0, 1)));
    for (on_vanished, end) in [
        (OnVanished::HalfOpen, State::HalfOpen),
        (OnVanished::Hold, State::Open),
        (OnVanished::Close, State::Closed),
    ] {
        let policy = Policy { on_vanished, ..policy() };
        let one = [alert.clone(), (60, empty_report(60))];
        assert_eq!(state_after(&policy, &one), State::Open, "{on_vanished:?}: missing once is not gone");
        let close = [alert.clone(), (60, empty_report(60)), (100, empty_report(100))];
        assert_eq!(
            state_after(&policy, &close),
            State::Open,
            "{on_vanished:?}: twice within a minute neither"
        );
        let twice = [alert.clone(), (60, empty_report(60)), (120, empty_report(120))];
        let mut gone = after(&policy, &twice);
        gone.advance(&policy, None, T0 + 120_000 + RAMP_MS);
        assert_eq!(gone.state(), end, "{on_vanished:?}");
    }
}

#[test]
fn half_open_for_a_vanished_group_stays_at_the_first_share_until_a_report_shows_the_group_again() {
    let policy = Policy { on_vanished: OnVanished::HalfOpen, ..policy() };
    let gone = [(1, report(MONITOR, seen("Alert", 0, 1))), (60, empty_report(60)), (120, empty_report(120))];
    let mut breaker = after(&policy, &gone);
    let flag = breaker.flag(&policy, None);
    assert_eq!((flag.state, flag.ramp, flag.next), (State::HalfOpen, None, None));
    assert_eq!(flag.share_ppm(i64::MAX), FIRST_SHARE_PPM);

    let mut alerts_again = breaker.clone();
    alerts_again.apply(&policy, &report(MONITOR, seen("Alert", 0, 130)), None, T0 + 131_000);
    assert_eq!(alerts_again.state(), State::Open);
    breaker.apply(&policy, &report(MONITOR, seen("OK", 129, 130)), None, T0 + 131_000);
    assert_eq!(
        breaker.flag(&policy, None).ramp.map(|ramp| ramp.from_ms),
        Some(T0 + 131_000),
        "the ramp starts then"
    );
}

#[test]
fn a_report_older_than_the_last_sight_of_a_group_says_nothing_of_it() {
    let steps =
        [(100, report(MONITOR, seen("Alert", 0, 100))), (101, empty_report(20)), (102, empty_report(90))];
    let breaker = after(&Policy { on_vanished: OnVanished::Close, ..policy() }, &steps);
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.signals.values().all(|signal| signal.missing_since_ms.is_none()));
}

#[test]
fn what_vanished_and_does_not_count_is_forgotten_at_last() {
    let policy = Policy { on_vanished: OnVanished::Close, ..policy() };
    let mut steps =
        vec![(1, report(MONITOR, seen("Alert", 0, 1))), (60, empty_report(60)), (120, empty_report(120))];
    assert_eq!(after(&policy, &steps).signals.len(), 1, "a late report must still find it");
    steps.push((1_000, empty_report(1_000)));
    assert!(after(&policy, &steps).signals.is_empty());
}

#[test]
fn an_open_breaker_stays_open_for_its_least_time_and_then_goes_on_by_itself() {
    let policy = Policy { min_open_ms: 30_000, ..policy() };
    let steps = [(10, report(MONITOR, seen("Alert", 9, 10))), (15, report(MONITOR, seen("OK", 14, 15)))];
    let mut breaker = after(&policy, &steps);
    let flag = breaker.flag(&policy, None);
    assert_eq!(
        (flag.state, flag.next),
        (State::Open, Some(Next { at_ms: T0 + 40_000, state: State::HalfOpen }))
    );
    assert_eq!(flag.ramp.map(|ramp| ramp.from_ms), Some(T0 + 40_000));
    let causes: Vec<_> =
        breaker.advance(&policy, None, T0 + 60_000).into_iter().map(|t| (t.to, t.at_ms, t.cause)).collect();
    let expected = [
        (State::HalfOpen, T0 + 40_000, Cause::MinOpenEnded),
        (State::Closed, T0 + 40_000 + RAMP_MS, Cause::RampEnded),
    ];
    assert_eq!(causes, expected);
}

#[test]
fn the_least_time_open_doubles_when_it_flaps_and_is_the_first_again_after_a_quiet_time() {
    let policy = Policy { min_open_ms: 100_000, ..policy() };
    let mut breaker = Breaker::new(T0);
    let mut now_s = 0;
    let mut times = Vec::new();
    for quiet_s in [1, 1, 1, 1, 1, 700] {
        now_s += quiet_s;
        breaker.apply(&policy, &report(MONITOR, seen("Alert", now_s, now_s)), None, T0 + now_s * 1000);
        times.push(breaker.min_open_ms / 1000);
        now_s += 1;
        breaker.apply(&policy, &report(MONITOR, seen("OK", now_s, now_s)), None, T0 + now_s * 1000);
        // Through half-open to closed.
        now_s += breaker.min_open_ms / 1000 + RAMP_MS / 1000;
        breaker.advance(&policy, None, T0 + now_s * 1000);
        assert_eq!(breaker.state(), State::Closed);
    }
    assert_eq!(times, [100, 200, 400, 600, 600, 100]);
}

#[test]
fn a_reopening_while_half_open_doubles_the_least_time_too() {
    let policy = Policy { min_open_ms: 5_000, ..policy() };
    let steps = [
        (10, report(MONITOR, seen("Alert", 9, 10))),
        (20, report(MONITOR, seen("OK", 19, 20))),
        (22, report(MONITOR, seen("Alert", 21, 22))),
    ];
    assert_eq!(after(&policy, &steps).min_open_ms, 10_000);
}

#[test]
fn a_muted_group_counts_by_its_status_or_holds() {
    let muted = |status, at_s| Observation { muted: true, ..seen(status, at_s, at_s) };
    let steps = [(10, report(MONITOR, seen("Alert", 9, 10))), (20, report(MONITOR, muted("OK", 20)))];
    assert_eq!(state_after(&policy(), &steps), State::HalfOpen);
    let hold = Policy { muted: Muted::Hold, ..policy() };
    assert_eq!(state_after(&hold, &steps), State::Open);
    assert_eq!(state_after(&hold, &[(20, report(MONITOR, muted("Alert", 20)))]), State::Closed);
}

#[test]
fn the_record_survives_its_stored_form() {
    let steps =
        [(1, report(MONITOR, seen("Paused", 0, 1))), (11, hint(10, NotifiedTransition::Alert, Some(0)))];
    let breaker = after(&policy(), &steps);
    assert!(!breaker.hints.is_empty());
    let json = serde_json::to_string(&breaker).unwrap();
    assert_eq!(serde_json::from_str::<Breaker>(&json).unwrap(), breaker);
}

/// What really happened to one group, and what was read of it: each read shows the group as it was at a moment at
/// most `READ_LAG_LIMIT_SECS` before.
#[derive(Debug, Clone)]
struct History {
    /// (second of the change, status), in order.
    changes: Vec<(i64, &'static str)>,
    /// (second of the read, lag).
    reads: Vec<(i64, i64)>,
}

impl History {
    fn status_at(&self, second: i64) -> (i64, &'static str) {
        *self.changes.iter().rev().find(|(at, _)| *at <= second).unwrap_or(&(-1000, "OK"))
    }

    fn observations(&self) -> Vec<Observation> {
        let read = |(at, lag): &(i64, i64)| {
            let (changed, status) = self.status_at(at - lag);
            seen(status, changed, *at)
        };
        self.reads.iter().map(read).collect()
    }

    /// What the freshest read showed, held statuses looked through.
    fn fires(&self) -> bool {
        let shown = self.reads.iter().map(|(at, lag)| at - lag).max().unwrap_or_default();
        let decided = self
            .changes
            .iter()
            .rev()
            .filter(|(at, status)| *at <= shown && !matches!(*status, "No Data" | "Unknown"));
        // Only what some read showed can be known.
        let known = |(at, _): &&(i64, &'static str)| {
            self.reads.iter().any(|(read, lag)| self.status_at(read - lag).0 == *at)
        };
        decided.clone().find(known).is_some_and(|(_, status)| *status == "Alert")
    }
}

fn histories() -> impl Strategy<Value = History> {
    let statuses = prop::sample::select(vec!["Alert", "OK", "Warn", "No Data", "Unknown"]);
    let changes = prop::collection::btree_map(0i64..600, statuses, 0..6);
    let reads = prop::collection::btree_map(0i64..700, 0i64..READ_LAG_MAX_S, 1..6);
    (changes, reads).prop_map(|(changes, reads)| History {
        changes: changes.into_iter().collect(),
        reads: reads.into_iter().collect(),
    })
}

const READ_LAG_MAX_S: i64 = crate::observation::READ_LAG_LIMIT_SECS;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Invariant 1, newer wins: every order, doubling and lateness of the same reports gives the same result, and
    /// that is what the freshest of them showed.
    #[test]
    fn the_order_of_arrival_does_not_matter(history in histories(), order in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let observations = history.observations();
        let doubled = order.iter().map(|index| index.get(&observations).clone());
        let arrivals: Vec<_> = doubled.chain(observations.iter().cloned()).collect();
        let mut breaker = Breaker::new(T0);
        for observation in arrivals {
            breaker.apply(&policy(), &report(MONITOR, observation), None, T0 + 800_000);
        }
        prop_assert_eq!(breaker.state() == State::Open, history.fires(), "{:?}", history);
    }

    /// Invariant 2, any fires: the breaker is open exactly while some monitor's newest observation fires.
    #[test]
    fn it_is_open_exactly_while_any_signal_fires(steps in prop::collection::vec((0u64..4, any::<bool>()), 1..30)) {
        let mut breaker = Breaker::new(T0);
        let mut firing = BTreeMap::new();
        for (second, (monitor_id, alert)) in (1..).zip(steps) {
            let status = if alert { "Alert" } else { "OK" };
            breaker.apply(&policy(), &report(monitor_id, seen(status, second, second)), None, T0 + second * 1000);
            firing.insert(monitor_id, alert);
            prop_assert_eq!(breaker.state() == State::Open, firing.values().any(|fires| *fires));
        }
    }

    /// The hint's rule: it acts only when fresh and unseen by reports, whichever comes first; it moves no signal;
    /// and it never outlives its hold.
    #[test]
    fn a_hint_opens_only_by_its_rule(
        at_s in 0i64..300, age_s in 0i64..120, changed_s in 0i64..300, fires in any::<bool>(), hint_first in any::<bool>(),
    ) {
        let now_s = at_s + age_s;
        let status = if fires { "Alert" } else { "OK" };
        let told = (now_s, report(MONITOR, seen(status, changed_s, changed_s.max(now_s))));
        // The caller of apply gives the newest change that any report showed so far.
        let hinted = |known| (now_s, hint(at_s, NotifiedTransition::Alert, known));
        let steps = if hint_first { [hinted(None), told] } else { [told, hinted(Some(changed_s))] };
        let mut breaker = after(&policy(), &steps);

        let acts = age_s * 1000 <= HINT_AGE_LIMIT_MS && changed_s < at_s;
        prop_assert_eq!(breaker.state() == State::Open, fires || acts);
        let only_told = after(&policy(), &[(now_s, report(MONITOR, seen(status, changed_s, changed_s.max(now_s))))]);
        prop_assert_eq!(&breaker.signals, &only_told.signals);
        breaker.advance(&policy(), None, T0 + now_s * 1000 + HINT_HOLD_MS);
        prop_assert_eq!(breaker.state() == State::Open, fires);
    }
}
