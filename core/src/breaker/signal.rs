//! What one group of one monitor says to one breaker, and when the group has vanished.
//!
//! A signal is the newest that was observed of its group, so the order in which reports arrive does not matter. A
//! complete report that lacks the group is an observation too: two of them, far enough apart, say that it is gone.

use super::policy::{OnVanished, Policy, Says};
use crate::flag::OnStale;
use crate::observation::Observation;
use serde::{Deserialize, Serialize};

/// How far apart two reports must be that both lack a group, until the group counts as vanished.
pub const VANISHED_AFTER_MS: i64 = 60_000;
/// How long a vanished group that does not count any more is still remembered: longer than a report can be old when it
/// is accepted, so that a late one cannot bring the group back.
pub const FORGOTTEN_AFTER_MS: i64 = 900_000;
/// What a signal asks for, the loudest last. The loudest of all signals counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Voice {
    /// Nothing.
    Rest,
    /// Half-open at the first share.
    Doubt,
    /// Open.
    Fire,
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
    /// When the newest that decides was committed, Unix milliseconds of the store's clock.
    pub refreshed_ms: i64,
    /// When the first report was read that lacks the group, if none shows it since; Unix milliseconds.
    #[serde(default)]
    pub missing_since_ms: Option<i64>,
    /// Whether two such reports, far enough apart, say that the group is gone.
    #[serde(default)]
    pub vanished: bool,
}

impl Signal {
    pub(super) fn new(seen: &Observation, now_ms: i64) -> Signal {
        let latest = seen.clone();
        Signal { latest, decided: None, refreshed_ms: now_ms, missing_since_ms: None, vanished: false }
    }

    /// What it asks for at `now_ms`.
    pub(super) fn voice(&self, policy: &Policy, now_ms: i64) -> Voice {
        let stale = match policy.on_stale {
            _ if now_ms < self.stale_at_ms(policy) => Voice::Fire,
            OnStale::Hold => Voice::Fire,
            OnStale::HalfOpen => Voice::Doubt,
            OnStale::Close => Voice::Rest,
        };
        self.fresh_voice(policy).min(stale)
    }

    /// What it asks for while it is fresh.
    pub(super) fn fresh_voice(&self, policy: &Policy) -> Voice {
        let says = match policy.hears(&self.latest) {
            Says::Hold => self.decided.as_ref().map_or(Says::Rest, |decided| policy.hears(decided)),
            decided => decided,
        };
        match (says, self.vanished, policy.on_vanished) {
            (Says::Rest | Says::Hold, ..) | (Says::Fire, true, OnVanished::Close) => Voice::Rest,
            (Says::Fire, true, OnVanished::HalfOpen) => Voice::Doubt,
            (Says::Fire, false, _) | (Says::Fire, true, OnVanished::Hold) => Voice::Fire,
        }
    }

    /// When it goes stale, Unix milliseconds of the store's clock.
    pub(super) fn stale_at_ms(&self, policy: &Policy) -> i64 {
        self.refreshed_ms.saturating_add(policy.max_age_ms)
    }

    /// Takes in what was observed, committed at `now_ms` of the store's clock.
    pub(super) fn observe(&mut self, seen: &Observation, policy: &Policy, now_ms: i64) {
        let weight = |seen: &Observation| policy.hears(seen);
        if seen.supersedes(&self.latest, weight) {
            self.latest = seen.clone();
        }
        let decides = policy.hears(seen) != Says::Hold;
        if decides && self.decided.as_ref().is_none_or(|decided| seen.supersedes(decided, weight)) {
            self.decided = Some(seen.clone());
            self.refreshed_ms = now_ms;
        }
        // Of the same second: shown. So it is in either order.
        if self.missing_since_ms.is_some_and(|missing_ms| seen.as_of_ms >= missing_ms) {
            (self.missing_since_ms, self.vanished) = (None, false);
        }
    }

    /// Takes in that a complete report of `as_of_ms` lacks the group. One that is older than the last sight of it says
    /// nothing.
    pub(super) fn miss(&mut self, as_of_ms: i64) {
        if as_of_ms > self.latest.as_of_ms {
            let first_ms = self.missing_since_ms.map_or(as_of_ms, |missing_ms| missing_ms.min(as_of_ms));
            self.vanished |= self
                .missing_since_ms
                .is_some_and(|missing_ms| missing_ms.abs_diff(as_of_ms) >= VANISHED_AFTER_MS.unsigned_abs());
            self.missing_since_ms = Some(first_ms);
        }
    }

    /// Whether nothing would change if it were not there, now that no report that still knew it can come.
    pub(super) fn is_forgotten(&self, policy: &Policy, as_of_ms: i64) -> bool {
        let gone = self
            .missing_since_ms
            .is_some_and(|missing_ms| as_of_ms.saturating_sub(missing_ms) >= FORGOTTEN_AFTER_MS);
        self.vanished && gone && self.fresh_voice(policy) == Voice::Rest
    }

    /// Whether it differs from `stored` by nothing but a later confirmation of the same, less than `worth_ms` later.
    /// Observations that do not tell when they changed are ordered by their time of reading alone, which then counts.
    pub(super) fn only_confirms(&self, stored: &Signal, worth_ms: i64) -> bool {
        let same = |own: &Observation, other: &Observation| {
            own.changed_at_ms.is_some() && *own == Observation { as_of_ms: own.as_of_ms, ..other.clone() }
        };
        let same_decided = match (&self.decided, &stored.decided) {
            (Some(own), Some(other)) => same(own, other),
            (own, other) => own == other,
        };
        same(&self.latest, &stored.latest)
            && same_decided
            && self.missing_since_ms == stored.missing_since_ms
            && self.vanished == stored.vanished
            && self.refreshed_ms.saturating_sub(stored.refreshed_ms) < worth_ms
            && self.latest.as_of_ms.saturating_sub(stored.latest.as_of_ms) < worth_ms
    }
}
