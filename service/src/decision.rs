//! One breaker's decision: what is to be written, and what is told of it.
//!
//! Core decides; this turns "before" and "after" into a write, and is the one place that logs and counts transitions. A
//! transition is logged when its write is taken, so that of several instances exactly one logs it.

use crate::metrics::{self, cause_name};
use cutout_core::{Breaker, BreakerId, Cause, Flag, Hold, Policy, State, Transition};
use cutout_flags::{AuditEntry, Links, Publish, Stored, Write};

/// A decision that has something to write.
pub(crate) struct Decision {
    /// Which breaker.
    pub(crate) id: BreakerId,
    /// The record, and the flag if callers see a change.
    pub(crate) write: Write,
    /// Whether the write publishes a change of the flag.
    pub(crate) publishes: bool,
    /// When time alone will bring the next change, Unix milliseconds of the store's clock.
    pub(crate) next_at_ms: Option<i64>,
    /// Whether the breaker was closed before and is closed after it.
    pub(crate) closed: (bool, bool),
}

/// What is known of a breaker before a decision.
pub(crate) struct Before<'a> {
    /// Its record; none: it is new.
    pub(crate) stored: Option<&'a Stored<Breaker>>,
    /// Its flag as it is published, where that is known; otherwise the record tells.
    pub(crate) shown: Option<&'a Flag>,
    /// What keeps signals from opening it.
    pub(crate) hold: Option<Hold>,
    /// The store's clock, Unix milliseconds.
    pub(crate) now_ms: i64,
}

/// Lets `act` change a breaker. None: nothing changed that is worth a write.
pub(crate) fn decide(
    id: &BreakerId,
    policy: &Policy,
    before: &Before<'_>,
    act: impl FnOnce(&mut Breaker) -> Vec<Transition>,
) -> Option<Decision> {
    let Before { stored, shown, hold, now_ms } = before;
    let new = Breaker::new(*now_ms);
    let old = stored.map_or(&new, |stored| &stored.value);
    let mut record = old.clone();
    let transitions = act(&mut record);
    let flag = record.flag(policy, *hold);
    let old_flag = shown.cloned().unwrap_or_else(|| old.flag(policy, *hold));
    let is_misshown = shown.is_some_and(|shown| *shown != flag && !flag.is_refresh_of(shown));
    if transitions.is_empty() && !is_misshown && !record.is_worth_writing(old, policy) {
        return None;
    }
    let next_at_ms = flag.next_change_ms();
    let closed = (old.state() == State::Closed, record.state() == State::Closed);
    // A new breaker's flag is published even if it is closed: readers then tell a known breaker from a lost one.
    let flag = match stored {
        Some(_) if flag == old_flag => None,
        Some(_) if flag.is_refresh_of(&old_flag) => Some(Publish::Refresh(flag)),
        _ => Some(Publish::Change(flag)),
    };
    let publishes = matches!(flag, Some(Publish::Change(_)));
    let write = Write::Breaker {
        id: id.clone(),
        expected: stored.map_or(0, |stored| stored.revision),
        record,
        flag,
        not_closed_by: i64::from(closed.0) - i64::from(closed.1),
        audit: transitions.into_iter().map(|transition| AuditEntry::new(transition, policy.mode)).collect(),
    };
    Some(Decision { id: id.clone(), write, publishes, next_at_ms, closed })
}

impl Decision {
    /// Adds to what a callback brought where a person sees more of it.
    pub(crate) fn link(&mut self, links: &Links) {
        let Write::Breaker { audit, .. } = &mut self.write else { return };
        let brought = |entry: &&mut AuditEntry| {
            matches!(entry.transition.cause, Cause::Report { .. } | Cause::Hint { .. })
        };
        audit.iter_mut().filter(brought).for_each(|entry| entry.links = Some(links.clone()));
    }

    /// Makes the write publish its flag also if callers see no change: who reads changes must learn of it.
    pub(crate) fn publish(&mut self, shown: Flag) {
        if let Write::Breaker { flag, .. } = &mut self.write {
            *flag = Some(Publish::Change(shown));
            self.publishes = true;
        }
    }

    /// Logs and counts the transitions of a decision that was taken.
    pub(crate) fn log(&self) {
        let Write::Breaker { audit, record, id, .. } = &self.write else { return };
        for AuditEntry { transition, mode, links } in audit {
            let Transition { from, to, at_ms, cause, fault } = transition;
            let breaker = id.as_str();
            metrics::transition(id.name(), *from, *to, cause);
            let name = cause_name(cause);
            let monitor_id = match cause {
                Cause::Report { monitor_id } | Cause::Hint { monitor_id } => Some(*monitor_id),
                Cause::Person { by, why, act } => {
                    let fault = fault.as_deref();
                    let [abort_ppm, delay_ppm] =
                        [fault.map(|fault| fault.abort_ppm), fault.map(|fault| fault.delay_ppm)];
                    let delay_ms = fault.map(|fault| fault.delay_ms);
                    tracing::info!(
                        breaker, %from, %to, %mode, at_ms, cause = name, act, by, why, abort_ppm, delay_ppm, delay_ms,
                        "transition"
                    );
                    continue;
                }
                _ => None,
            };
            let monitor = links.as_ref().and_then(|links| links.monitor.as_deref());
            let event = links.as_ref().and_then(|links| links.event.as_deref());
            tracing::info!(
                breaker, %from, %to, %mode, at_ms, cause = name, monitor_id, monitor, event, "transition"
            );
        }
        if let Some(hold) = record.held()
            && self.publishes
        {
            tracing::warn!(breaker = id.as_str(), ?hold, "a signal fires and the breaker is held closed");
        }
    }
}
