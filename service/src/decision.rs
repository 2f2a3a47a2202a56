//! One breaker's decision: what is to be written, and what is told of it.
//!
//! Core decides; this turns "before" and "after" into a write, and is the one place that logs transitions. A
//! transition is logged when its write is taken, so that of several instances exactly one logs it.

use cutout_core::{Breaker, BreakerId, Cause, Policy, Transition};
use cutout_flags::{Stored, Write};

/// A decision that has something to write.
pub(crate) struct Decision {
    /// Which breaker.
    pub(crate) id: BreakerId,
    /// The record, and the flag if callers see a change.
    pub(crate) write: Write,
    /// Whether the write publishes a flag.
    pub(crate) publishes: bool,
    /// When time alone will bring the next change, Unix milliseconds of the store's clock.
    pub(crate) next_at_ms: Option<i64>,
    transitions: Vec<Transition>,
}

/// Lets `act` change a breaker (none stored: a new one) as of `now_ms`, the store's clock. None: nothing changed.
pub(crate) fn decide(
    id: &BreakerId,
    policy: &Policy,
    stored: Option<&Stored<Breaker>>,
    now_ms: i64,
    act: impl FnOnce(&mut Breaker) -> Vec<Transition>,
) -> Option<Decision> {
    let before = stored.map_or_else(|| Breaker::new(now_ms), |stored| stored.value.clone());
    let mut record = before.clone();
    let transitions = act(&mut record);
    if record == before {
        return None;
    }
    let flag = record.flag(policy);
    // A new breaker's flag is published even if it is closed: readers then tell a known breaker from a lost one.
    let publishes = stored.is_none() || flag != before.flag(policy);
    let next_at_ms = flag.next.map(|next| next.at_ms);
    let expected = stored.map_or(0, |stored| stored.revision);
    let write = Write::Breaker { id: id.clone(), expected, record, flag: publishes.then_some(flag) };
    Some(Decision { id: id.clone(), write, publishes, next_at_ms, transitions })
}

impl Decision {
    /// Logs the transitions of a decision that was taken.
    pub(crate) fn log(&self) {
        for Transition { from, to, at_ms, cause } in &self.transitions {
            let breaker = self.id.as_str();
            let (cause, monitor_id) = match cause {
                Cause::Report { monitor_id } => ("report", Some(*monitor_id)),
                Cause::Hint { monitor_id } => ("hint", Some(*monitor_id)),
                Cause::HintLapsed => ("hint_lapsed", None),
                Cause::RampEnded => ("ramp_ended", None),
                Cause::MinOpenEnded => ("min_open_ended", None),
            };
            tracing::info!(breaker, %from, %to, at_ms, cause, monitor_id, "transition");
        }
    }
}
