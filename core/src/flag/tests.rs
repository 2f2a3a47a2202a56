//! What a flag answers, now and later, in the words that are published.

use super::*;

#[test]
fn closed_admits_all_and_open_none() {
    let open = Flag { state: State::Open, ..Flag::default() };
    assert!(Flag::default().admits(None, 0, ALL_PPM - 1));
    assert!(!open.admits(None, i64::MAX, 0));
    assert_eq!(Flag { probe_ppm: u32::MAX, ..open }.share_ppm(0), ALL_PPM);
}

#[test]
fn half_open_ramps_in_a_straight_line_and_ends_closed() {
    let ramp = Ramp { from_ms: 1000, to_ms: 2000, from_ppm: 100_000 };
    let next = Next { at_ms: 2000, state: State::Closed };
    let flag = Flag {
        state: State::HalfOpen,
        since_ms: 1000,
        ramp: Some(ramp),
        next: Some(next),
        ..Flag::default()
    };
    let shares: Vec<u32> = [0, 1000, 1500, 1999, 2000].map(|now_ms| flag.share_ppm(now_ms)).into();
    assert_eq!(shares, [100_000, 100_000, 550_000, 999_100, 1_000_000]);
    assert_eq!(flag.state_at(1999), State::HalfOpen);
    assert_eq!(flag.state_at(2000), State::Closed);
}

#[test]
fn an_open_flag_with_a_next_runs_through_half_open_to_closed_by_itself() {
    let ramp = Ramp { from_ms: 5000, to_ms: 6000, from_ppm: 100_000 };
    let next = Next { at_ms: 5000, state: State::HalfOpen };
    let flag = Flag { state: State::Open, ramp: Some(ramp), next: Some(next), ..Flag::default() };
    assert_eq!(
        [4999, 5000, 6000].map(|now_ms| flag.state_at(now_ms)),
        [State::Open, State::HalfOpen, State::Closed]
    );
    assert_eq!(flag.share_ppm(4999), 0);
    assert_eq!(flag.share_ppm(5500), 550_000);
}

#[test]
fn half_open_without_a_ramp_stays_at_the_first_share() {
    let flag = Flag { state: State::HalfOpen, ..Flag::default() };
    assert_eq!((flag.share_ppm(0), flag.share_ppm(i64::MAX)), (FIRST_SHARE_PPM, FIRST_SHARE_PPM));
}

#[test]
fn extreme_times_do_not_overflow() {
    let ramp = Ramp { from_ms: i64::MIN, to_ms: i64::MAX, from_ppm: u32::MAX };
    assert_eq!(ramp.share_ppm(0), ALL_PPM);
    let backwards = Ramp { from_ms: 10, to_ms: 5, from_ppm: 0 };
    assert_eq!(backwards.share_ppm(4), 0);
}

#[test]
fn an_open_flag_that_nobody_confirms_goes_stale_as_its_policy_says() {
    let ramp = Some(Ramp { from_ms: 5000, to_ms: 6000, from_ppm: 100_000 });
    let open = |on_stale, ramp| Flag {
        state: State::Open,
        stale_at_ms: Some(5000),
        on_stale,
        ramp,
        ..Flag::default()
    };
    let shares = |flag: Flag| [4999, 5000, 5500, 6000, i64::MAX].map(|now_ms| flag.share_ppm(now_ms));
    let first = FIRST_SHARE_PPM;
    assert_eq!(shares(open(OnStale::HalfOpen, None)), [0, first, first, first, first]);
    assert_eq!(shares(open(OnStale::Hold, None)), [0; 5]);
    assert_eq!(shares(open(OnStale::Close, ramp)), [0, first, 550_000, ALL_PPM, ALL_PPM]);
    let due_ms = [OnStale::HalfOpen, OnStale::Hold, OnStale::Close]
        .map(|on_stale| open(on_stale, None).next_change_ms());
    assert_eq!(due_ms, [Some(5000), None, Some(5000)]);
}

#[test]
fn a_persons_decision_does_not_go_stale_and_what_follows_it_does() {
    let forced = |state, until_ms| Some(ForcedUntil { state, until_ms });
    let open = Flag {
        state: State::Open,
        probe_ppm: 10_000,
        stale_at_ms: Some(10),
        forced: forced(Forced::Open, None),
        ..Flag::default()
    };
    assert_eq!((open.state_at(99), open.share_ppm(99), open.probes_at(99)), (State::Open, 0, false));
    let closed = Flag {
        state: State::Closed,
        next: Some(Next { at_ms: 20, state: State::Open }),
        stale_at_ms: Some(30),
        forced: forced(Forced::Closed, Some(20)),
        ..open
    };
    assert_eq!(
        [19, 20, 30].map(|now_ms| closed.state_at(now_ms)),
        [State::Closed, State::Open, State::HalfOpen]
    );
    assert_eq!((closed.share_ppm(20), closed.probes_at(20), closed.probes_at(30)), (10_000, true, false));
    assert_eq!(closed.next_change_ms(), Some(20));
}

#[test]
fn watch_mode_refuses_nobody_and_says_what_it_would_do() {
    let next = Some(Next { at_ms: 5, state: State::HalfOpen });
    let watching = Flag { mode: Mode::Watch, would: Some(State::Open), next, ..Flag::default() };
    assert!(watching.admits(None, 0, ALL_PPM - 1) && watching.state_at(9) == State::Closed);
    assert_eq!([0, 5].map(|now_ms| watching.would_at(now_ms)), [State::Open, State::HalfOpen]);
    assert_eq!([0, 5].map(|now_ms| watching.would_share_ppm(now_ms)), [0, FIRST_SHARE_PPM]);
    let held = Flag { would: Some(State::Open), ..Flag::default() };
    assert_eq!((held.state_at(0), held.would_at(0)), (State::Closed, State::Open));
}

#[test]
fn classes_that_are_not_listed_pass_and_a_call_without_class_does_not() {
    let refuse = ["charge".to_owned()].into();
    let open = Flag { state: State::Open, refuse, ..Flag::default() };
    assert!(open.admits(Some("refund"), 0, 0));
    assert!(!open.admits(Some("charge"), 0, 0) && !open.admits(None, 0, 0));
    let all = Flag { refuse: BTreeSet::new(), ..open };
    assert!(!all.admits(Some("refund"), 0, 0));
}

#[test]
fn only_a_later_staleness_is_a_refresh() {
    let open = Flag { state: State::Open, stale_at_ms: Some(5), ..Flag::default() };
    let later = Flag { stale_at_ms: Some(9), ..open.clone() };
    assert!(later.is_refresh_of(&open));
    assert!(!Flag { since_ms: 1, ..later.clone() }.is_refresh_of(&open));
    assert!(!Flag { stale_at_ms: None, ..later }.is_refresh_of(&open));
}

#[test]
fn the_published_words_are_fixed() {
    let flag = Flag { state: State::HalfOpen, since_ms: 7, ..Flag::default() };
    assert_eq!(
        serde_json::to_string(&flag).unwrap(),
        r#"{"state":"half-open","since_ms":7,"mode":"enforce","refuse":[],"probe_ppm":0,"ramp":null,"next":null,"stale_at_ms":null,"on_stale":"half-open","override":null,"would":null,"fault":null}"#
    );
    let flag = Flag {
        forced: Some(ForcedUntil { state: Forced::Closed, until_ms: Some(9) }),
        would: Some(State::Open),
        mode: Mode::Watch,
        on_stale: OnStale::Hold,
        fault: Some(Box::new(Fault {
            since_ms: 7,
            until_ms: 9,
            abort_ppm: 1,
            delay_ppm: 2,
            delay_ms: 3,
            only: Some(Mark { name: "x-fault".into(), value: None }),
        })),
        ..flag
    };
    let read: Flag = serde_json::from_str(&serde_json::to_string(&flag).unwrap()).unwrap();
    assert_eq!(read, flag);
    let least: Flag = serde_json::from_str(r#"{"state":"open","since_ms":1,"of_tomorrow":[1]}"#).unwrap();
    assert_eq!(least, Flag { state: State::Open, since_ms: 1, ..Flag::default() });
    for fault in
        ["null", "1", r#""of tomorrow""#, r#"{"v":2}"#, r#"{"since_ms":1,"until_ms":2,"delay_ms":"long"}"#]
    {
        let text = format!(r#"{{"state":"open","since_ms":1,"fault":{fault}}}"#);
        assert_eq!(
            serde_json::from_str::<Flag>(&text).unwrap(),
            least,
            "a fault that cannot be read is none: {fault}"
        );
    }
}

#[test]
fn a_fault_is_for_calls_that_may_be_refused_and_bear_its_mark() {
    let fault = Fault {
        since_ms: 0,
        until_ms: 10,
        abort_ppm: 1,
        delay_ppm: 0,
        delay_ms: 0,
        only: Some(Mark { name: "x-fault".into(), value: None }),
    };
    let flag = Flag {
        refuse: ["charge".to_owned()].into(),
        fault: Some(Box::new(fault.clone())),
        ..Flag::default()
    };
    let hit = Some(Injection { delay_ms: 0, aborts: true });
    let injects = |class, draws, bears: bool| flag.injects(class, 9, draws, |_| bears);
    assert_eq!(injects(Some("charge"), (0, 0), true), hit);
    assert_eq!(injects(None, (0, 0), true), hit);
    assert_eq!(injects(Some("refund"), (0, 0), true), None);
    assert_eq!(injects(None, (0, 1), true), None);
    assert_eq!(injects(None, (0, 0), false), None);
    assert_eq!(flag.injects(None, 10, (0, 0), |_| true), None);
    let unmarked = Flag { fault: Some(Box::new(Fault { only: None, ..fault })), ..flag.clone() };
    assert_eq!(unmarked.injects(None, 9, (0, 0), |_| false), hit);
    assert_eq!(
        (flag.next_change_ms(), flag.state_at(9), flag.share_ppm(9)),
        (Some(10), State::Closed, ALL_PPM)
    );
}

#[test]
fn states_are_told_by_their_published_words() {
    for state in [State::Closed, State::Open, State::HalfOpen] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
    }
    for mode in [Mode::Enforce, Mode::Watch] {
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.to_string());
    }
}

#[test]
fn a_ramp_that_is_over_admits_all_also_by_itself() {
    let ramp = Ramp { from_ms: 1000, to_ms: 2000, from_ppm: 0 };
    assert_eq!(
        [999, 1000, 1001, 1999, 2000].map(|now_ms| ramp.share_ppm(now_ms)),
        [0, 0, 1000, 999_000, ALL_PPM]
    );
}

#[test]
fn what_would_be_is_what_is_where_nothing_is_held_back() {
    let open = Flag { state: State::Open, stale_at_ms: Some(5), ..Flag::default() };
    assert_eq!([4, 5].map(|now_ms| open.would_at(now_ms)), [State::Open, State::HalfOpen]);
    let watched = Flag { mode: Mode::Watch, ..open };
    assert_eq!(watched.would_at(4), State::Closed);
}

#[test]
fn a_ramp_moves_with_a_staleness_that_closes_and_is_news_otherwise() {
    let ramp = |from_ms| Some(Ramp { from_ms, to_ms: from_ms + 5, from_ppm: FIRST_SHARE_PPM });
    let flag = |on_stale, stale_ms| Flag {
        state: State::Open,
        on_stale,
        stale_at_ms: Some(stale_ms),
        ramp: ramp(stale_ms),
        ..Flag::default()
    };
    assert!(flag(OnStale::Close, 9).is_refresh_of(&flag(OnStale::Close, 5)));
    assert!(!flag(OnStale::HalfOpen, 9).is_refresh_of(&flag(OnStale::HalfOpen, 5)));
    let fresh = Flag { stale_at_ms: None, ..flag(OnStale::Close, 5) };
    assert!(!flag(OnStale::Close, 5).is_refresh_of(&fresh));
}

#[test]
fn a_probe_is_for_what_a_signal_holds_open() {
    let open = Flag { state: State::Open, probe_ppm: 1, ..Flag::default() };
    assert!(open.probes_at(0));
    assert!(!Flag { probe_ppm: 0, ..open.clone() }.probes_at(0));
    assert!(!Flag { state: State::HalfOpen, ..open.clone() }.probes_at(0));
    assert!(!Flag { state: State::Closed, ..open }.probes_at(0));
}

#[test]
fn an_override_is_in_force_until_its_end_and_not_at_it() {
    let of =
        |until_ms| Flag { forced: Some(ForcedUntil { state: Forced::Open, until_ms }), ..Flag::default() };
    let holds = |flag: &Flag, now_ms| flag.forced_at(now_ms).is_some();
    assert_eq!([999, 1000].map(|now_ms| holds(&of(Some(1000)), now_ms)), [true, false]);
    assert!(holds(&of(None), i64::MAX) && !holds(&Flag::default(), 0));
}
