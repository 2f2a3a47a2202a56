//! Where a flag's answers change: the last moment before, the first one after, and what is no change at all.

use super::*;

#[test]
fn states_are_told_by_their_published_words() {
    for state in [State::Closed, State::Open, State::HalfOpen] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
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
