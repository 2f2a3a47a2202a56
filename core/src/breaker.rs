//! One breaker: what its monitors' groups say, and the state that follows from it.
//!
//! A breaker is open while any of its signals fires, goes half-open when none does, and closes at the ramp's end.
//! What a signal says is the newest observation of its group, so the result does not depend on the order in which
//! reports arrive. All changes of state go through one door, `settle`, which yields the [`Transition`].
//!
//! Left out: where the record is kept and how writers exclude each other (`flags`).

mod policy;
mod signal;

use crate::flag::{FIRST_SHARE_PPM, Flag, Next, Ramp, State};
use crate::hint;
use crate::observation::Observation;
use crate::report::NotifiedTransition;
use crate::tags::Tags;
pub use policy::{Muted, NoData, OnVanished, OpenOn, Policy};
use serde::{Deserialize, Serialize};
use signal::Voice;
pub use signal::{FORGOTTEN_AFTER_MS, Signal, SignalId, VANISHED_AFTER_MS};
use std::collections::{BTreeMap, BTreeSet};

/// How soon after closing a reopening counts as flapping.
pub const REOPENED_WITHIN_MS: i64 = 600_000;
/// What the least time open grows to when a breaker flaps.
pub const MIN_OPEN_MAX_MS: i64 = 600_000;

/// A notification's claim that a group fires, until a report knows better or it lapses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// When SNS took the message, Unix milliseconds.
    pub at_ms: i64,
    /// When it lapses, Unix milliseconds of the store's clock.
    pub until_ms: i64,
}
/// What one callback says to one breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The monitor.
    pub monitor_id: u64,
    /// Its groups that touch this breaker, as the report shows them; empty without a report.
    pub groups: Vec<(Tags, Observation)>,
    /// When the report was read, Unix milliseconds: it holds all groups of the monitor, so what is not among `groups` is
    /// missing. None without a report.
    pub complete_as_of_ms: Option<i64>,
    /// The newest change that any report of this monitor showed, this one included; Unix milliseconds.
    pub latest_change_ms: Option<i64>,
    /// What the notification claims of a group that touches this breaker.
    pub claim: Option<Claim>,
}

/// What a notification claims of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The group, or what the message names of it.
    pub group: Tags,
    /// When SNS took the message, Unix milliseconds.
    pub at_ms: i64,
    /// The transition claimed.
    pub transition: NotifiedTransition,
}

/// One change of a breaker's state, with what a person needs to understand it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// From this state.
    pub from: State,
    /// To this one.
    pub to: State,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What brought it.
    pub cause: Cause,
}

/// What brought a transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// A report of this monitor.
    Report {
        /// The monitor's number.
        monitor_id: u64,
    },
    /// A notification of this monitor, before any report agreed.
    Hint {
        /// The monitor's number.
        monitor_id: u64,
    },
    /// No report agreed with a hint in time.
    HintLapsed,
    /// Half-open's ramp ended.
    RampEnded,
    /// The least time open ended, and nothing fires any more.
    MinOpenEnded,
}
/// A breaker's record: private to the services that own it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    state: State,
    since_ms: i64,
    ramp: Option<Ramp>,
    /// How long it stays open at the least, this time.
    #[serde(default)]
    min_open_ms: i64,
    /// When it last closed.
    #[serde(default)]
    closed_at_ms: Option<i64>,
    signals: BTreeMap<SignalId, Signal>,
    hints: BTreeMap<SignalId, Hint>,
}

impl Breaker {
    /// A closed breaker that nothing was said to yet.
    #[must_use]
    pub fn new(now_ms: i64) -> Breaker {
        let (signals, hints) = (BTreeMap::new(), BTreeMap::new());
        let (ramp, min_open_ms, closed_at_ms) = (None, 0, None);
        Breaker { state: State::Closed, since_ms: now_ms, ramp, min_open_ms, closed_at_ms, signals, hints }
    }

    /// Takes in one callback at `now_ms` (the store's clock, Unix milliseconds), after what time alone has changed.
    /// The same evidence again changes nothing. Yields the transitions, oldest first.
    pub fn apply(&mut self, policy: &Policy, evidence: &Evidence, now_ms: i64) -> Vec<Transition> {
        let mut transitions = self.advance(policy, now_ms);
        let monitor_id = evidence.monitor_id;
        for (group, seen) in &evidence.groups {
            let id = SignalId { monitor_id, group: group.to_string() };
            self.signals.entry(id).or_insert_with(|| Signal::new(seen)).observe(seen, policy);
        }
        if let Some(as_of_ms) = evidence.complete_as_of_ms {
            self.miss_others(policy, evidence, as_of_ms);
        }
        let seen_past = |hint: &Hint| hint::superseded(hint.at_ms, evidence.latest_change_ms);
        self.hints.retain(|id, hint| id.monitor_id != monitor_id || !seen_past(hint));
        transitions.extend(self.settle(policy, now_ms, Cause::Report { monitor_id }));
        if let Some(claim) = &evidence.claim {
            self.take_hint(policy, monitor_id, claim, evidence.latest_change_ms, now_ms);
            transitions.extend(self.settle(policy, now_ms, Cause::Hint { monitor_id }));
        }
        transitions
    }

    /// Does what time alone has brought by `now_ms`, each change at its own moment. Yields the transitions.
    pub fn advance(&mut self, policy: &Policy, now_ms: i64) -> Vec<Transition> {
        let mut transitions = Vec::new();
        while let Some((due_ms, cause)) = self.next_due(policy).filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.hints.retain(|_, hint| hint.until_ms > due_ms);
            transitions.extend(self.settle(policy, due_ms, cause));
        }
        transitions
    }

    /// What callers see.
    #[must_use]
    pub fn flag(&self, policy: &Policy) -> Flag {
        let (ramp, next) = match self.state {
            State::Closed => (None, None),
            State::HalfOpen => {
                let next = self.ramp.map(|ramp| Next { at_ms: ramp.to_ms, state: State::Closed });
                (self.ramp, next)
            }
            State::Open if self.loudest_signal(policy) == Voice::Fire => (None, None),
            State::Open => {
                let lapse_ms = self.hints.values().map(|hint| hint.until_ms).max();
                let at_ms = lapse_ms.max(Some(self.min_open_until_ms())).unwrap_or_default();
                let ramp = (self.loudest_signal(policy) == Voice::Rest).then(|| ramp_from(policy, at_ms));
                (ramp, Some(Next { at_ms, state: State::HalfOpen }))
            }
        };
        Flag { state: self.state, since_ms: self.since_ms, ramp, next }
    }

    /// The state as of the last [`Breaker::apply`] or [`Breaker::advance`].
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What each group of each monitor says, as last observed.
    #[must_use]
    pub fn signals(&self) -> &BTreeMap<SignalId, Signal> {
        &self.signals
    }

    /// The hints that no report has seen past and that have not lapsed.
    #[must_use]
    pub fn hints(&self) -> &BTreeMap<SignalId, Hint> {
        &self.hints
    }

    /// The next moment at which time alone may change something.
    fn next_due(&self, policy: &Policy) -> Option<(i64, Cause)> {
        let ramp_end =
            self.ramp.filter(|_| self.state == State::HalfOpen).map(|ramp| (ramp.to_ms, Cause::RampEnded));
        let lapse =
            self.hints.values().map(|hint| hint.until_ms).min().map(|lapse_ms| (lapse_ms, Cause::HintLapsed));
        let rests =
            self.state == State::Open && self.hints.is_empty() && self.loudest_signal(policy) != Voice::Fire;
        let min_open_end = rests.then(|| (self.min_open_until_ms(), Cause::MinOpenEnded));
        ramp_end.into_iter().chain(lapse).chain(min_open_end).min_by_key(|(due_ms, _)| *due_ms)
    }

    /// Until when it stays open at the least.
    fn min_open_until_ms(&self) -> i64 {
        self.since_ms.saturating_add(self.min_open_ms)
    }

    /// The least time open from a reopening at `at_ms` on.
    fn next_min_open_ms(&self, policy: &Policy, at_ms: i64) -> i64 {
        let soon =
            self.closed_at_ms.is_some_and(|closed_ms| at_ms.saturating_sub(closed_ms) <= REOPENED_WITHIN_MS);
        let flaps = self.state == State::HalfOpen || soon;
        let longest_ms = MIN_OPEN_MAX_MS.max(policy.min_open_ms);
        if flaps {
            self.min_open_ms.saturating_mul(2).clamp(policy.min_open_ms, longest_ms)
        } else {
            policy.min_open_ms
        }
    }

    /// Takes a hint in if it may act: see [`crate::hint`]. Also while a signal fires anyway: that signal may rest on a
    /// report that is older than the hint, and what follows must not depend on which of them came first.
    fn take_hint(
        &mut self,
        policy: &Policy,
        monitor_id: u64,
        claim: &Claim,
        latest_change_ms: Option<i64>,
        now_ms: i64,
    ) {
        let usable = hint::usable(claim.at_ms, now_ms, latest_change_ms).is_ok();
        if !usable || !policy.fires_on(claim.transition) {
            return;
        }
        let id = SignalId { monitor_id, group: claim.group.to_string() };
        let until_ms = now_ms.saturating_add(hint::HINT_HOLD_MS);
        let hint = self.hints.entry(id).or_insert(Hint { at_ms: claim.at_ms, until_ms });
        if claim.at_ms > hint.at_ms {
            *hint = Hint { at_ms: claim.at_ms, until_ms };
        }
    }

    /// Takes in that a complete report lacks groups that were known.
    fn miss_others(&mut self, policy: &Policy, evidence: &Evidence, as_of_ms: i64) {
        let shown: BTreeSet<String> = evidence.groups.iter().map(|(group, _)| group.to_string()).collect();
        for (id, signal) in &mut self.signals {
            if id.monitor_id == evidence.monitor_id && !shown.contains(&id.group) {
                signal.miss(as_of_ms);
            }
        }
        self.signals.retain(|id, signal| {
            id.monitor_id != evidence.monitor_id || !signal.is_forgotten(policy, as_of_ms)
        });
    }

    fn loudest_signal(&self, policy: &Policy) -> Voice {
        self.signals.values().map(|signal| signal.voice(policy)).max().unwrap_or(Voice::Rest)
    }

    /// The one door for transitions: moves to the state that follows from signals, hints and time.
    fn settle(&mut self, policy: &Policy, at_ms: i64, cause: Cause) -> Option<Transition> {
        let voice = if self.hints.is_empty() { self.loudest_signal(policy) } else { Voice::Fire };
        let ramp_ended = self.ramp.is_some_and(|ramp| at_ms >= ramp.to_ms);
        let stays_open = self.state == State::Open && at_ms < self.min_open_until_ms();
        let to = match (voice, self.state) {
            (Voice::Fire, _) => State::Open,
            (_, State::Open) if stays_open => State::Open,
            (Voice::Doubt, _) | (Voice::Rest, State::Open) => State::HalfOpen,
            (Voice::Rest, State::HalfOpen) if ramp_ended => State::Closed,
            (Voice::Rest, unchanged) => unchanged,
        };
        // Doubt stays at the first share; when it is over, the ramp starts then.
        self.ramp = match (to, voice) {
            (State::HalfOpen, Voice::Rest) => self.ramp.or_else(|| Some(ramp_from(policy, at_ms))),
            _ => None,
        };
        if to == self.state {
            return None;
        }
        match to {
            State::Open => self.min_open_ms = self.next_min_open_ms(policy, at_ms),
            State::Closed => self.closed_at_ms = Some(at_ms),
            State::HalfOpen => {}
        }
        let from = std::mem::replace(&mut self.state, to);
        self.since_ms = at_ms;
        Some(Transition { from, to, at_ms, cause })
    }
}

fn ramp_from(policy: &Policy, from_ms: i64) -> Ramp {
    Ramp { from_ms, to_ms: from_ms.saturating_add(policy.ramp_ms), from_ppm: FIRST_SHARE_PPM }
}

#[cfg(test)]
mod tests;
