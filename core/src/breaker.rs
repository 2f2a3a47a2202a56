//! One breaker: what its monitors' groups say, and the state that follows from it.
//!
//! A breaker is open while any of its signals fires, goes half-open when none does, and closes at the ramp's end.
//! What a signal says is the newest observation of its group, so the result does not depend on the order in which
//! reports arrive. All changes of state go through one door, `settle`, which yields the [`Transition`].
//!
//! Left out: where the record is kept and how writers exclude each other (`flags`).

use crate::flag::{FIRST_SHARE_PPM, Flag, Next, Ramp, State};
use crate::hint;
use crate::observation::Observation;
use crate::report::{NotifiedTransition, Status};
use crate::tags::Tags;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far apart two reports must be that both lack a group, until the group counts as vanished.
pub const VANISHED_AFTER_MS: i64 = 60_000;
/// How long a vanished group that does not count any more is still remembered: longer than a report can be old when it
/// is accepted, so that a late one cannot bring the group back.
pub const FORGOTTEN_AFTER_MS: i64 = 900_000;

/// How a breaker decides. Durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// From which status on a signal fires.
    pub open_on: OpenOn,
    /// What No Data means.
    pub no_data: NoData,
    /// How long half-open takes to let all calls flow.
    pub ramp_ms: i64,
    /// What becomes of a firing signal whose monitor or group is gone.
    pub on_vanished: OnVanished,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            open_on: OpenOn::Alert,
            no_data: NoData::Hold,
            ramp_ms: 300_000,
            on_vanished: OnVanished::HalfOpen,
        }
    }
}

/// From which status on a signal fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenOn {
    /// Alert only.
    Alert,
    /// Warn and Alert.
    Warn,
}

/// What No Data means for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoData {
    /// It goes on as it was.
    Hold,
    /// It fires.
    Open,
    /// It does not fire.
    Close,
}

/// What becomes of a firing signal whose monitor or group is gone: nobody will ever report its recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnVanished {
    /// It holds the breaker half-open at the first share, until a report shows the group again.
    HalfOpen,
    /// It goes on firing.
    Hold,
    /// It does not fire any more.
    Close,
}

/// What a signal asks for, the loudest last. The loudest of all signals counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    /// Nothing.
    Rest,
    /// Half-open at the first share.
    Doubt,
    /// Open.
    Fire,
}

/// What one status says under a policy. In the order of weight for observations that are equally new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Rest,
    Hold,
    Fire,
}

impl Policy {
    fn says(&self, status: &Status) -> Says {
        match (status, self.open_on, self.no_data) {
            (Status::Alert, ..) | (Status::Warn, OpenOn::Warn, _) | (Status::NoData, _, NoData::Open) => {
                Says::Fire
            }
            (Status::Ok | Status::Warn, ..) | (Status::NoData, _, NoData::Close) => Says::Rest,
            (Status::NoData, _, NoData::Hold) | (Status::Other(_), ..) => Says::Hold,
        }
    }

    /// Whether a notified transition, if true, would make a signal fire.
    fn fires_on(&self, transition: NotifiedTransition) -> bool {
        let status = match transition {
            NotifiedTransition::Alert => Status::Alert,
            NotifiedTransition::Warn => Status::Warn,
            NotifiedTransition::NoData => Status::NoData,
            NotifiedTransition::Recovery | NotifiedTransition::Renotify | NotifiedTransition::Unknown => {
                return false;
            }
        };
        self.says(&status) == Says::Fire
    }
}

/// What one group of one monitor says to one breaker.
///
/// Two observations are kept, each the newest of its kind, so that "hold" gives the same result in any order: the
/// newest of all, and the newest that decides. A held signal goes on saying what the latter said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The newest observation.
    pub latest: Observation,
    /// The newest one that does not hold; none if there was none yet.
    pub decided: Option<Observation>,
    /// When the first report was read that lacks the group, if none shows it since; Unix milliseconds.
    #[serde(default)]
    pub missing_since_ms: Option<i64>,
    /// Whether two such reports, far enough apart, say that the group is gone.
    #[serde(default)]
    pub vanished: bool,
}

impl Signal {
    fn new(seen: &Observation) -> Signal {
        Signal { latest: seen.clone(), decided: None, missing_since_ms: None, vanished: false }
    }

    fn voice(&self, policy: &Policy) -> Voice {
        let says = match policy.says(&self.latest.status) {
            Says::Hold => self.decided.as_ref().map_or(Says::Rest, |decided| policy.says(&decided.status)),
            decided => decided,
        };
        match (says, self.vanished, policy.on_vanished) {
            (Says::Rest | Says::Hold, ..) | (Says::Fire, true, OnVanished::Close) => Voice::Rest,
            (Says::Fire, true, OnVanished::HalfOpen) => Voice::Doubt,
            (Says::Fire, false, _) | (Says::Fire, true, OnVanished::Hold) => Voice::Fire,
        }
    }

    fn observe(&mut self, seen: &Observation, policy: &Policy) {
        let weight = |status: &Status| policy.says(status);
        if seen.supersedes(&self.latest, weight) {
            self.latest = seen.clone();
        }
        let decides = policy.says(&seen.status) != Says::Hold;
        if decides && self.decided.as_ref().is_none_or(|decided| seen.supersedes(decided, weight)) {
            self.decided = Some(seen.clone());
        }
        if self.missing_since_ms.is_some_and(|missing_ms| seen.as_of_ms > missing_ms) {
            (self.missing_since_ms, self.vanished) = (None, false);
        }
    }

    /// Takes in that a complete report of `as_of_ms` lacks the group. One that is older than the last sight of it says
    /// nothing.
    fn miss(&mut self, as_of_ms: i64) {
        if as_of_ms > self.latest.as_of_ms {
            let first_ms = self.missing_since_ms.map_or(as_of_ms, |missing_ms| missing_ms.min(as_of_ms));
            self.vanished |= self
                .missing_since_ms
                .is_some_and(|missing_ms| missing_ms.abs_diff(as_of_ms) >= VANISHED_AFTER_MS.unsigned_abs());
            self.missing_since_ms = Some(first_ms);
        }
    }

    /// Whether nothing would change if it were not there, now that no report that still knew it can come.
    fn is_forgotten(&self, policy: &Policy, as_of_ms: i64) -> bool {
        let gone = self
            .missing_since_ms
            .is_some_and(|missing_ms| as_of_ms.saturating_sub(missing_ms) >= FORGOTTEN_AFTER_MS);
        self.vanished && gone && self.voice(policy) == Voice::Rest
    }
}

/// A notification's claim that a group fires, until a report knows better or it lapses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// When SNS took the message, Unix milliseconds.
    pub at_ms: i64,
    /// When it lapses, Unix milliseconds of the store's clock.
    pub until_ms: i64,
}

/// A group of a monitor: the key under which a breaker keeps its signal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignalId {
    /// The monitor's number.
    pub monitor_id: u64,
    /// The group's canonical name.
    pub group: String,
}

impl From<SignalId> for String {
    fn from(id: SignalId) -> String {
        format!("{}|{}", id.monitor_id, id.group)
    }
}

impl TryFrom<String> for SignalId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<SignalId, &'static str> {
        let (monitor_id, group) = text.split_once('|').ok_or("a signal's id is <monitor>|<group>")?;
        let monitor_id = monitor_id.parse().map_err(|_| "a signal's id starts with a monitor's number")?;
        Ok(SignalId { monitor_id, group: group.to_owned() })
    }
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
}

/// A breaker's record: private to the services that own it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    state: State,
    since_ms: i64,
    ramp: Option<Ramp>,
    signals: BTreeMap<SignalId, Signal>,
    hints: BTreeMap<SignalId, Hint>,
}

impl Breaker {
    /// A closed breaker that nothing was said to yet.
    #[must_use]
    pub fn new(now_ms: i64) -> Breaker {
        let (signals, hints) = (BTreeMap::new(), BTreeMap::new());
        Breaker { state: State::Closed, since_ms: now_ms, ramp: None, signals, hints }
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
        while let Some((due_ms, cause)) = self.next_due().filter(|(due_ms, _)| *due_ms <= now_ms) {
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
            State::Open => match self.hints.values().map(|hint| hint.until_ms).max() {
                Some(lapse_ms) if self.loudest_signal(policy) != Voice::Fire => (
                    (self.loudest_signal(policy) == Voice::Rest).then(|| ramp_from(policy, lapse_ms)),
                    Some(Next { at_ms: lapse_ms, state: State::HalfOpen }),
                ),
                _ => (None, None),
            },
        };
        Flag { state: self.state, since_ms: self.since_ms, ramp, next }
    }

    /// The state as of the last [`Breaker::apply`] or [`Breaker::advance`].
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The next moment at which time alone may change something.
    fn next_due(&self) -> Option<(i64, Cause)> {
        let ramp_end =
            self.ramp.filter(|_| self.state == State::HalfOpen).map(|ramp| (ramp.to_ms, Cause::RampEnded));
        let lapse =
            self.hints.values().map(|hint| hint.until_ms).min().map(|lapse_ms| (lapse_ms, Cause::HintLapsed));
        ramp_end.into_iter().chain(lapse).min_by_key(|(due_ms, _)| *due_ms)
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
        let to = match (voice, self.state) {
            (Voice::Fire, _) => State::Open,
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
