//! What is published of a breaker for callers, and what it answers.
//!
//! A flag carries its own future: when a hint lapses and how half-open ramps up, so that a caller with a clock needs
//! no further message. Closed = calls flow.

use serde::{Deserialize, Serialize};
use std::fmt;

/// All of one million parts: every call.
pub const ALL_PPM: u32 = 1_000_000;

/// The first share of half-open, in parts per million; all of it while there is no ramp.
pub const FIRST_SHARE_PPM: u32 = 100_000;

/// A breaker's state, in the field's own words and polarity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Calls flow.
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// A growing share of calls flows.
    HalfOpen,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        })
    }
}

/// Half-open's growing share: from `from_ppm` at `from_ms`, in a straight line, to all at `to_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// When it starts, Unix milliseconds.
    pub from_ms: i64,
    /// When all calls flow again, Unix milliseconds.
    pub to_ms: i64,
    /// The first share, in parts per million.
    pub from_ppm: u32,
}

impl Ramp {
    /// The share of calls admitted at `now_ms`, in parts per million.
    #[must_use]
    pub fn share_ppm(&self, now_ms: i64) -> u32 {
        if now_ms >= self.to_ms {
            return ALL_PPM;
        }
        let length_ms = (i128::from(self.to_ms) - i128::from(self.from_ms)).max(0);
        let gone_ms = (i128::from(now_ms) - i128::from(self.from_ms)).clamp(0, length_ms);
        let from_ppm = self.from_ppm.min(ALL_PPM);
        let grown = i128::from(ALL_PPM - from_ppm) * gone_ms / length_ms.max(1);
        from_ppm.saturating_add(u32::try_from(grown).unwrap_or(ALL_PPM)).min(ALL_PPM)
    }
}

/// A change of state that time alone brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// To which state.
    pub state: State,
}

/// A breaker as callers see it. The default is closed, which is also what an absent flag means under a known epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// The state at the time of writing.
    pub state: State,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// The share while half-open, now or after `next`. None while half-open: [`FIRST_SHARE_PPM`] until further notice.
    pub ramp: Option<Ramp>,
    /// What time alone will change.
    pub next: Option<Next>,
}

impl Flag {
    /// The state at `now_ms`, with what time alone has changed since the flag was written.
    #[must_use]
    pub fn state_at(&self, now_ms: i64) -> State {
        let state = match self.next {
            Some(next) if now_ms >= next.at_ms => next.state,
            _ => self.state,
        };
        match (state, self.ramp) {
            (State::HalfOpen, Some(ramp)) if now_ms >= ramp.to_ms => State::Closed,
            _ => state,
        }
    }

    /// The share of calls that is admitted at `now_ms`, in parts per million.
    #[must_use]
    pub fn share_ppm(&self, now_ms: i64) -> u32 {
        match self.state_at(now_ms) {
            State::Closed => ALL_PPM,
            State::Open => 0,
            State::HalfOpen => self.ramp.map_or(FIRST_SHARE_PPM, |ramp| ramp.share_ppm(now_ms)),
        }
    }

    /// "May I call?" at `now_ms`, for a caller that drew `draw_ppm` evenly from 0 to 999,999.
    #[must_use]
    pub fn admits(&self, now_ms: i64, draw_ppm: u32) -> bool {
        draw_ppm < self.share_ppm(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_admits_all_and_open_none() {
        let open = Flag { state: State::Open, ..Flag::default() };
        assert!(Flag::default().admits(0, ALL_PPM - 1));
        assert!(!open.admits(i64::MAX, 0));
    }

    #[test]
    fn half_open_ramps_in_a_straight_line_and_ends_closed() {
        let ramp = Ramp { from_ms: 1000, to_ms: 2000, from_ppm: 100_000 };
        let next = Next { at_ms: 2000, state: State::Closed };
        let flag = Flag { state: State::HalfOpen, since_ms: 1000, ramp: Some(ramp), next: Some(next) };
        let shares: Vec<u32> = [0, 1000, 1500, 1999, 2000].map(|now_ms| flag.share_ppm(now_ms)).into();
        assert_eq!(shares, [100_000, 100_000, 550_000, 999_100, 1_000_000]);
        assert_eq!(flag.state_at(1999), State::HalfOpen);
        assert_eq!(flag.state_at(2000), State::Closed);
    }

    #[test]
    fn an_open_flag_with_a_next_runs_through_half_open_to_closed_by_itself() {
        let ramp = Ramp { from_ms: 5000, to_ms: 6000, from_ppm: 100_000 };
        let next = Next { at_ms: 5000, state: State::HalfOpen };
        let flag = Flag { state: State::Open, since_ms: 0, ramp: Some(ramp), next: Some(next) };
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
    fn the_published_words_are_fixed() {
        let json =
            serde_json::to_string(&Flag { state: State::HalfOpen, since_ms: 7, ramp: None, next: None })
                .unwrap();
        assert_eq!(json, r#"{"state":"half-open","since_ms":7,"ramp":null,"next":null}"#);
    }
}
