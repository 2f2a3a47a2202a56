//! One breaker: what its monitors' groups say, what people decide, and the state that follows from both.
//!
//! A breaker is open while any of its signals fires, goes half-open when none does, and closes at the ramp's end.
//! What a signal says is the newest observation of its group, so the result does not depend on the order in which
//! reports arrive. An override stands above all signals. All changes of state go through one door, `settle`, which
//! yields the [`Transition`].
//!
//! Left out: where the record is kept and how writers exclude each other (`flags`).

mod heard;
mod person;
mod policy;
mod published;
mod signal;

use crate::fault::Fault;
use crate::flag::{FIRST_SHARE_PPM, OnStale, Ramp, State};
use crate::hint;
use crate::observation::Observation;
use crate::report::NotifiedTransition;
use crate::tags::Tags;
pub use heard::{Asks, Heard};
pub use person::{Act, Hold, InjectedFault, Order, Override, Pause};
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

/// One change of a breaker's state, with what a person needs to understand it. A person's order is always told, also
/// when it leaves the state as it was.
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
    /// How much of a fault was ordered: what the history must still tell when the fault is over. None: no fault was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Box<Fault>>,
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
    /// No report has confirmed the signals that fire for too long.
    Stale,
    /// An override came to its end.
    OverrideEnded,
    /// An injected fault came to its end. The state stays.
    FaultEnded,
    /// A person's order.
    Person {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// What: `force`, `clear`, `release`, `inject` and `end_fault` for faults, or `restore` for an override brought back after a loss.
        act: &'static str,
    },
}
/// A breaker's record: private to the services that own it. What a person decides stands above what signals say:
///
/// ```
/// use cutout_core::{Act, Breaker, Forced, Order, Policy, State};
///
/// let (policy, now_ms) = (Policy::default(), 1_795_224_918_000);
/// let mut breaker = Breaker::new(now_ms);
/// let act = Act::Force { state: Forced::Open, until_ms: Some(now_ms + 60_000) };
/// breaker.obey(&policy, &Order { by: "ann".into(), why: "the bank is down".into(), act }, None, now_ms);
/// assert_eq!(breaker.state(), State::Open);
/// breaker.advance(&policy, None, now_ms + 60_000); // its end
/// assert_eq!(breaker.state(), State::HalfOpen);
/// breaker.advance(&policy, None, now_ms + 60_000 + policy.ramp_ms);
/// assert_eq!(breaker.state(), State::Closed);
/// ```
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
    /// A person's decision in force.
    #[serde(default, rename = "override")]
    forced: Option<Override>,
    /// When a person last decided, Unix milliseconds: nothing older is brought back.
    #[serde(default)]
    ordered_ms: Option<i64>,
    /// Why it is not open although a signal fires.
    #[serde(default)]
    held: Option<Hold>,
    /// What a person injects into its calls.
    #[serde(default)]
    fault: Option<InjectedFault>,
}

impl Breaker {
    /// A closed breaker that nothing was said to yet.
    #[must_use]
    pub fn new(now_ms: i64) -> Breaker {
        Breaker {
            state: State::Closed,
            since_ms: now_ms,
            ramp: None,
            min_open_ms: 0,
            closed_at_ms: None,
            signals: BTreeMap::new(),
            hints: BTreeMap::new(),
            forced: None,
            ordered_ms: None,
            held: None,
            fault: None,
        }
    }

    /// Takes in one callback at `now_ms` (the store's clock, Unix milliseconds), after what time alone has changed.
    /// `hold` keeps signals from opening it. The same evidence again changes nothing. Yields the transitions, oldest first.
    pub fn apply(
        &mut self,
        policy: &Policy,
        evidence: &Evidence,
        hold: Option<Hold>,
        now_ms: i64,
    ) -> Vec<Transition> {
        let mut transitions = self.advance(policy, hold, now_ms);
        let monitor_id = evidence.monitor_id;
        for (group, seen) in &evidence.groups {
            let id = SignalId { monitor_id, group: group.to_string() };
            let signal = self.signals.entry(id).or_insert_with(|| Signal::new(seen, now_ms));
            signal.observe(seen, policy, now_ms);
        }
        if let Some(as_of_ms) = evidence.complete_as_of_ms {
            self.miss_others(policy, evidence, as_of_ms);
        }
        let seen_past = |hint: &Hint| hint::superseded(hint.at_ms, evidence.latest_change_ms);
        self.hints.retain(|id, hint| id.monitor_id != monitor_id || !seen_past(hint));
        transitions.extend(self.settle(policy, hold, now_ms, Cause::Report { monitor_id }));
        if let Some(claim) = &evidence.claim {
            self.take_hint(policy, monitor_id, claim, evidence.latest_change_ms, now_ms);
            transitions.extend(self.settle(policy, hold, now_ms, Cause::Hint { monitor_id }));
        }
        transitions
    }

    /// Does what time alone has brought by `now_ms`, each change at its own moment, and what a `hold` that ended
    /// kept back. Yields the transitions.
    pub fn advance(&mut self, policy: &Policy, hold: Option<Hold>, now_ms: i64) -> Vec<Transition> {
        let mut transitions = Vec::new();
        while let Some((due_ms, cause)) = self.next_due(policy).filter(|(due_ms, _)| *due_ms <= now_ms) {
            transitions.extend(self.step(policy, hold, due_ms, cause));
        }
        if self.held.is_some() {
            let cause = self.loudest_cause(policy, now_ms);
            transitions.extend(self.settle(policy, hold, now_ms, cause));
        }
        transitions
    }

    /// Does what a person orders at `now_ms` (the store's clock, Unix milliseconds). Yields the transitions; the last is
    /// the order's own, also when the state stays. What is restored after a loss does not replace what a person has
    /// ordered since.
    pub fn obey(
        &mut self,
        policy: &Policy,
        order: &Order,
        hold: Option<Hold>,
        now_ms: i64,
    ) -> Vec<Transition> {
        let mut transitions = self.advance(policy, hold, now_ms);
        if let Act::Inject(_) | Act::EndFault = order.act {
            transitions.push(self.inject(order, now_ms));
            return transitions;
        }
        // Hints also lapse under an override, which lets time bring nothing else.
        self.hints.retain(|_, hint| hint.until_ms > now_ms);
        let forced = |state, since_ms, until_ms| {
            let (by, why) = (order.by.clone(), order.why.clone());
            Some(Override { state, by, why, since_ms, until_ms }).filter(|forced| forced.holds_at(now_ms))
        };
        let (act, hold) = match order.act {
            Act::Force { state, until_ms } => {
                self.forced = forced(state, now_ms, until_ms);
                self.ordered_ms = Some(now_ms);
                ("force", hold)
            }
            Act::Restore { since_ms, state, until_ms } => {
                let restored = forced(state, since_ms, until_ms);
                let decided_since = self.ordered_ms.is_some_and(|ordered_ms| ordered_ms >= since_ms);
                if self.forced.is_some() || restored.is_none() || decided_since {
                    return transitions;
                }
                self.forced = restored;
                self.ordered_ms = Some(since_ms);
                ("restore", hold)
            }
            Act::Clear => {
                self.forced = None;
                self.ordered_ms = Some(now_ms);
                ("clear", hold)
            }
            Act::Release => ("release", hold.filter(|hold| *hold != Hold::MaxOpen)),
            Act::Inject(_) | Act::EndFault => return transitions,
        };
        self.held = None;
        let cause = Cause::Person { by: order.by.clone(), why: order.why.clone(), act };
        let from = self.state;
        let unchanged = Transition { from, to: from, at_ms: now_ms, cause: cause.clone(), fault: None };
        transitions.push(self.settle(policy, hold, now_ms, cause).unwrap_or(unchanged));
        transitions
    }

    /// Sets or ends the fault. A fault is beside all that decides the state, so nothing else moves.
    fn inject(&mut self, order: &Order, now_ms: i64) -> Transition {
        let (by, why) = (order.by.clone(), order.why.clone());
        let (fault, act) = match &order.act {
            Act::Inject(fault) => (Some(Fault { since_ms: now_ms, ..fault.clone() }), "inject"),
            _ => (None, "end_fault"),
        };
        let allowed = fault.filter(|fault| fault.check().is_ok());
        let told = allowed.clone().map(Box::new);
        self.fault = allowed.map(|fault| InjectedFault { by: by.clone(), why: why.clone(), fault });
        let cause = Cause::Person { by, why, act };
        Transition { from: self.state, to: self.state, at_ms: now_ms, cause, fault: told }
    }

    /// What a person injects into its calls.
    #[must_use]
    pub fn fault(&self) -> Option<&InjectedFault> {
        self.fault.as_ref()
    }

    /// The state as of the last change: forced or decided, whether or not it is carried out.
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

    /// A person's decision in force, if there is one.
    #[must_use]
    pub fn forced(&self) -> Option<&Override> {
        self.forced.as_ref()
    }

    /// Why it is not open although a signal fires.
    #[must_use]
    pub fn held(&self) -> Option<Hold> {
        self.held
    }

    /// Whether the difference to what is `stored` is worth a write. That reports go on saying the same is, once it is a
    /// quarter of `max_age` since that was last written.
    #[must_use]
    pub fn is_worth_writing(&self, stored: &Breaker, policy: &Policy) -> bool {
        let worth_ms = policy.max_age_ms / 4;
        let confirmed = |(id, signal): (&SignalId, &Signal)| {
            stored
                .signals
                .get(id)
                .is_some_and(|stored| *signal == *stored || signal.only_confirms(stored, worth_ms))
        };
        let same_signals = self.signals.len() == stored.signals.len() && self.signals.iter().all(confirmed);
        !same_signals || self.without_signals() != stored.without_signals()
    }

    /// All fields but the signals, to be compared.
    fn without_signals(&self) -> impl PartialEq + '_ {
        let Breaker {
            state,
            since_ms,
            ramp,
            min_open_ms,
            closed_at_ms,
            hints,
            forced,
            ordered_ms,
            held,
            fault,
            signals: _,
        } = self;
        (state, since_ms, ramp, min_open_ms, closed_at_ms, hints, forced, ordered_ms, held, fault)
    }

    /// The next moment at which time alone may change something.
    fn next_due(&self, policy: &Policy) -> Option<(i64, Cause)> {
        let fault_ends = self.fault.as_ref().map(|injected| (injected.fault.ends_ms(), Cause::FaultEnded));
        self.next_move(policy).into_iter().chain(fault_ends).min_by_key(|(due_ms, _)| *due_ms)
    }

    /// The next moment at which time alone may change the state.
    fn next_move(&self, policy: &Policy) -> Option<(i64, Cause)> {
        if let Some(forced) = &self.forced {
            return forced.until_ms.map(|until_ms| (until_ms, Cause::OverrideEnded));
        }
        let lapse =
            self.hints.values().map(|hint| hint.until_ms).min().map(|lapse_ms| (lapse_ms, Cause::HintLapsed));
        let change = match self.state {
            State::Closed => None,
            State::HalfOpen => self.half_open_ends(policy),
            State::Open if self.hints.is_empty() => self.open_ends(policy),
            State::Open => None,
        };
        lapse.into_iter().chain(change).min_by_key(|(due_ms, _)| *due_ms)
    }

    /// When half-open ends by itself; without a ramp, when that starts.
    fn half_open_ends(&self, policy: &Policy) -> Option<(i64, Cause)> {
        if let Some(ramp) = self.ramp {
            return Some((ramp.to_ms, Cause::RampEnded));
        }
        let doubts = self.signals.values().filter(|signal| signal.fresh_voice(policy) != Voice::Rest);
        let stale_ms = doubts.map(|signal| signal.stale_at_ms(policy)).max()?;
        (policy.on_stale == OnStale::Close).then_some((stale_ms, Cause::Stale))
    }

    /// When open ends by itself, with no hint left: when nothing fires any more, but not before the least time.
    fn open_ends(&self, policy: &Policy) -> Option<(i64, Cause)> {
        let min_open_ms = self.min_open_until_ms();
        match self.fires_until_ms(policy) {
            None => Some((min_open_ms, Cause::MinOpenEnded)),
            Some(_) if policy.on_stale == OnStale::Hold => None,
            Some(stale_ms) => Some((stale_ms.max(min_open_ms), Cause::Stale)),
        }
    }

    /// When the last of the signals that fire goes stale; none: none fires.
    fn fires_until_ms(&self, policy: &Policy) -> Option<i64> {
        let firing = self.signals.values().filter(|signal| signal.fresh_voice(policy) == Voice::Fire);
        firing.map(|signal| signal.stale_at_ms(policy)).max()
    }

    /// One change that time alone brings.
    fn step(&mut self, policy: &Policy, hold: Option<Hold>, due_ms: i64, cause: Cause) -> Option<Transition> {
        if cause == Cause::FaultEnded {
            self.fault = None;
            return Some(Transition { from: self.state, to: self.state, at_ms: due_ms, cause, fault: None });
        }
        self.hints.retain(|_, hint| hint.until_ms > due_ms);
        if cause == Cause::OverrideEnded {
            self.forced = None;
        }
        self.settle(policy, hold, due_ms, cause)
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

    /// What all signals and hints ask for at `now_ms`.
    fn voice(&self, policy: &Policy, now_ms: i64) -> Voice {
        if !self.hints.is_empty() {
            return Voice::Fire;
        }
        self.signals.values().map(|signal| signal.voice(policy, now_ms)).max().unwrap_or(Voice::Rest)
    }

    /// What a breaker would be opened by that was held back until now.
    fn loudest_cause(&self, policy: &Policy, now_ms: i64) -> Cause {
        let fires = |(_, signal): &(&SignalId, &Signal)| signal.voice(policy, now_ms) == Voice::Fire;
        match (self.signals.iter().find(fires), self.hints.keys().next()) {
            (None, Some(id)) => Cause::Hint { monitor_id: id.monitor_id },
            (signal, _) => Cause::Report { monitor_id: signal.map_or(0, |(id, _)| id.monitor_id) },
        }
    }

    /// The one door for transitions: moves to the state that follows from people, signals, hints and time.
    fn settle(
        &mut self,
        policy: &Policy,
        hold: Option<Hold>,
        at_ms: i64,
        cause: Cause,
    ) -> Option<Transition> {
        let asked = self.voice(policy, at_ms);
        self.held = self.holds_back(asked, hold);
        let voice = if self.held.is_some() { Voice::Rest } else { asked };
        let ramp_ended = self.ramp.is_some_and(|ramp| at_ms >= ramp.to_ms);
        let stays_open = self.state == State::Open && at_ms < self.min_open_until_ms();
        let to = match (&self.forced, voice, self.state) {
            (Some(forced), ..) => forced.state.into(),
            (None, Voice::Fire, _) => State::Open,
            (None, _, State::Open) if stays_open => State::Open,
            // Doubt makes nothing worse than it is: after a forced close a person has decided.
            (None, Voice::Doubt, State::Closed) => State::Closed,
            (None, Voice::Doubt, _) | (None, Voice::Rest, State::Open) => State::HalfOpen,
            (None, Voice::Rest, State::HalfOpen) if ramp_ended => State::Closed,
            (None, Voice::Rest, unchanged) => unchanged,
        };
        // Doubt stays at the first share; when it is over, the ramp starts then.
        self.ramp = match (to, voice) {
            (State::HalfOpen, Voice::Rest) => self.ramp.or_else(|| Some(ramp_from(policy, at_ms))),
            _ => None,
        };
        if self.forced.is_some() {
            // A person's end is an end: no least time follows it.
            self.min_open_ms = 0;
        }
        self.turn(policy, to, at_ms, cause)
    }

    /// Why a breaker that is asked to open does not.
    fn holds_back(&self, asked: Voice, hold: Option<Hold>) -> Option<Hold> {
        if self.forced.is_some() || asked != Voice::Fire || self.state == State::Open {
            return None;
        }
        match (self.held, hold, self.state) {
            // Once held for this it waits for a person, or for its signals to rest.
            (Some(Hold::MaxOpen), ..) | (_, Some(Hold::MaxOpen), State::Closed) => Some(Hold::MaxOpen),
            (_, Some(Hold::Paused), _) => Some(Hold::Paused),
            _ => None,
        }
    }

    /// Moves to a state, and keeps what later decisions need of it.
    fn turn(&mut self, policy: &Policy, to: State, at_ms: i64, cause: Cause) -> Option<Transition> {
        if to == self.state {
            return None;
        }
        match to {
            State::Open if self.forced.is_some() => {}
            State::Open => self.min_open_ms = self.next_min_open_ms(policy, at_ms),
            State::Closed => self.closed_at_ms = Some(at_ms),
            State::HalfOpen => {}
        }
        let from = std::mem::replace(&mut self.state, to);
        self.since_ms = at_ms;
        Some(Transition { from, to, at_ms, cause, fault: None })
    }
}

fn ramp_from(policy: &Policy, from_ms: i64) -> Ramp {
    Ramp { from_ms, to_ms: from_ms.saturating_add(policy.ramp_ms), from_ppm: FIRST_SHARE_PPM }
}

#[cfg(test)]
mod tests;
