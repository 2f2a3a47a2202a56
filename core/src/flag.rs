//! What is published of a breaker for callers, and what it answers.
//!
//! A flag carries its own future: when a hint lapses, a person's decision ends or a signal goes stale, and how half-open
//! ramps up, so that a caller with a clock needs no further message. Closed = calls flow.

use crate::fault::{self, Fault, Injection, Mark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// All of one million parts: every call.
pub const ALL_PPM: u32 = 1_000_000;

/// How often each process may probe an open breaker whatever its draws say, milliseconds.
pub const PROBE_EVERY_MS: i64 = 30_000;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Next {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// To which state.
    pub state: State,
}

/// Whether a breaker's decision is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is decided, published as `would` and counted, and refuses nobody.
    Watch,
}

/// What becomes of an open breaker when no report has confirmed it for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStale {
    /// Half-open at the first share, without a ramp, until a fresh report.
    #[default]
    HalfOpen,
    /// It stays open.
    Hold,
    /// It goes through half-open, with its ramp, to closed.
    Close,
}

/// To which state a person forces a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forced {
    /// All calls are refused, probes too.
    Open,
    /// All calls flow, at once.
    Closed,
}

impl From<Forced> for State {
    fn from(forced: Forced) -> State {
        match forced {
            Forced::Open => State::Open,
            Forced::Closed => State::Closed,
        }
    }
}

/// What callers see of a person's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForcedUntil {
    /// The state it forces.
    pub state: Forced,
    /// When it ends, Unix milliseconds; none: when a person ends it.
    pub until_ms: Option<i64>,
}

impl ForcedUntil {
    fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// A breaker as callers see it. The default is closed, which is also what an absent flag means under a known epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flag {
    /// The state at the time of writing. Closed in watch mode.
    pub state: State,
    /// Since when that was decided, Unix milliseconds.
    pub since_ms: i64,
    /// Whether the decision is carried out.
    #[serde(default)]
    pub mode: Mode,
    /// The operation classes that are refused; empty: all.
    #[serde(default)]
    pub refuse: BTreeSet<String>,
    /// The share of calls that is admitted while a signal holds it open, parts per million.
    #[serde(default)]
    pub probe_ppm: u32,
    /// The share while half-open, now or after what comes next. None while half-open: [`FIRST_SHARE_PPM`] until further notice.
    pub ramp: Option<Ramp>,
    /// What time alone will change, staleness apart.
    pub next: Option<Next>,
    /// When an open breaker becomes what `on_stale` says, unless a report confirms it before; Unix milliseconds.
    #[serde(default)]
    pub stale_at_ms: Option<i64>,
    /// What it becomes then.
    #[serde(default)]
    pub on_stale: OnStale,
    /// A person's decision in force.
    #[serde(default, rename = "override")]
    pub forced: Option<ForcedUntil>,
    /// What was decided, where that is not carried out: in watch mode, or because openings are held back.
    #[serde(default)]
    pub would: Option<State>,
    /// What a person injects into the calls that are admitted; see [`crate::fault`]. One that cannot be read is none.
    #[serde(default, deserialize_with = "fault::readable")]
    pub fault: Option<Box<Fault>>,
}

impl Flag {
    /// The state at `now_ms`, with what time alone has changed since the flag was written.
    #[must_use]
    pub fn state_at(&self, now_ms: i64) -> State {
        match self.mode {
            Mode::Enforce => self.later(self.state, now_ms),
            Mode::Watch => State::Closed,
        }
    }

    /// The state at `now_ms` if every decision were carried out: differs from [`Flag::state_at`] in watch mode, and while
    /// openings are held back.
    #[must_use]
    pub fn would_at(&self, now_ms: i64) -> State {
        match (self.mode, self.would) {
            (Mode::Watch, Some(would)) => self.later(would, now_ms),
            (Mode::Enforce, Some(would)) => would,
            (_, None) => self.state_at(now_ms),
        }
    }

    /// The share of calls that is admitted at `now_ms`, in parts per million.
    #[must_use]
    pub fn share_ppm(&self, now_ms: i64) -> u32 {
        self.share_of(self.state_at(now_ms), now_ms)
    }

    /// The share that would be admitted if every decision were carried out, in parts per million.
    #[must_use]
    pub fn would_share_ppm(&self, now_ms: i64) -> u32 {
        self.share_of(self.would_at(now_ms), now_ms)
    }

    /// Whether calls of this operation class are refused at all; one without a class is refused as if listed.
    #[must_use]
    pub fn is_for(&self, class: Option<&str>) -> bool {
        self.refuse.is_empty() || class.is_none_or(|class| self.refuse.contains(class))
    }

    /// "May I call?" at `now_ms`, for a call of `class` that drew `draw_ppm` evenly from 0 to 999,999.
    #[must_use]
    pub fn admits(&self, class: Option<&str>, now_ms: i64, draw_ppm: u32) -> bool {
        draw_ppm < self.share_ppm(now_ms) || !self.is_for(class)
    }

    /// Whether each process may make one call in [`PROBE_EVERY_MS`] although its draws were refused: while a signal holds
    /// the breaker open, so that the metric behind it keeps flowing. Not while a person does.
    #[must_use]
    pub fn probes_at(&self, now_ms: i64) -> bool {
        self.probe_ppm > 0 && self.state_at(now_ms) == State::Open && !self.is_forced_at(now_ms)
    }

    /// When time alone changes something next, Unix milliseconds.
    #[must_use]
    pub fn next_change_ms(&self) -> Option<i64> {
        let stale_at_ms = self.stale_at_ms.filter(|_| self.on_stale != OnStale::Hold);
        let fault_ends_ms = self.fault.as_ref().map(|fault| fault.ends_ms());
        self.next.map(|next| next.at_ms).into_iter().chain(stale_at_ms).chain(fault_ends_ms).min()
    }

    /// Whether `other` differs from this flag by when it goes stale at the most: its followers need not be told at once.
    #[must_use]
    pub fn is_refresh_of(&self, other: &Flag) -> bool {
        let mut refreshed = other.clone();
        if self.stale_at_ms.is_some() && other.stale_at_ms.is_some() {
            refreshed.stale_at_ms = self.stale_at_ms;
            if self.on_stale == OnStale::Close {
                refreshed.ramp = self.ramp;
            }
        }
        refreshed == *self
    }

    /// What is injected at `now_ms` into an admitted call of `class` that drew twice evenly from 0 to 999,999. Classes that are
    /// never refused are left alone by faults, too. `bears` tells whether the call bears the mark that a fault may be for.
    #[must_use]
    pub fn injects(
        &self,
        class: Option<&str>,
        now_ms: i64,
        draws_ppm: (u32, u32),
        bears: impl FnOnce(&Mark) -> bool,
    ) -> Option<Injection> {
        let fault = self.fault.as_ref().filter(|_| self.is_for(class))?;
        let is_meant = fault.only.as_ref().is_none_or(bears);
        if is_meant { fault.strikes(now_ms, draws_ppm.0, draws_ppm.1) } else { None }
    }

    /// Whether a person's decision is in force at `now_ms`.
    #[must_use]
    pub fn is_forced_at(&self, now_ms: i64) -> bool {
        self.forced.is_some_and(|forced| forced.holds_at(now_ms))
    }

    /// What time alone makes of `state` by `now_ms`.
    fn later(&self, state: State, now_ms: i64) -> State {
        let state = match self.next {
            Some(next) if now_ms >= next.at_ms => next.state,
            _ => state,
        };
        let is_stale = state == State::Open
            && self.on_stale != OnStale::Hold
            && self.stale_at_ms.is_some_and(|stale_ms| now_ms >= stale_ms)
            && !self.is_forced_at(now_ms);
        let state = if is_stale { State::HalfOpen } else { state };
        match (state, self.ramp) {
            (State::HalfOpen, Some(ramp)) if now_ms >= ramp.to_ms => State::Closed,
            _ => state,
        }
    }

    fn share_of(&self, state: State, now_ms: i64) -> u32 {
        match state {
            State::Closed => ALL_PPM,
            State::Open if self.is_forced_at(now_ms) => 0,
            State::Open => self.probe_ppm,
            State::HalfOpen => self.ramp.map_or(FIRST_SHARE_PPM, |ramp| ramp.share_ppm(now_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod bounds;

    #[test]
    fn closed_admits_all_and_open_none() {
        let open = Flag { state: State::Open, ..Flag::default() };
        assert!(Flag::default().admits(None, 0, ALL_PPM - 1));
        assert!(!open.admits(None, i64::MAX, 0));
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
        for fault in [
            "null",
            "1",
            r#""of tomorrow""#,
            r#"{"v":2}"#,
            r#"{"since_ms":1,"until_ms":2,"delay_ms":"long"}"#,
        ] {
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
}
