//! What callers see of a breaker, its future included.
//!
//! The future is not computed twice: a copy of the record goes through the same door that the service's timers will
//! use, so that a caller who follows the flag and the store's own next change cannot disagree.

use super::{Breaker, Cause, Hold, Override};
use crate::breaker::Policy;
use crate::flag::{Flag, Mode, Next, OnStale, Ramp, State};

/// What time alone will bring.
#[derive(Default)]
struct Future {
    next: Option<Next>,
    ramp: Option<Ramp>,
    stale_at_ms: Option<i64>,
}

impl Breaker {
    /// What callers see. `hold` is what keeps signals from opening it now.
    #[must_use]
    pub fn flag(&self, policy: &Policy, hold: Option<Hold>) -> Flag {
        let Future { next, ramp, stale_at_ms } = self.future(policy, hold);
        let (state, would) = match (policy.mode, self.held) {
            (Mode::Watch, None) => (State::Closed, Some(self.state)),
            (Mode::Watch, Some(_)) => (State::Closed, Some(State::Open)),
            (Mode::Enforce, held) => (self.state, held.map(|_| State::Open)),
        };
        Flag {
            state,
            since_ms: self.since_ms,
            mode: policy.mode,
            refuse: policy.refuse.clone(),
            probe_ppm: policy.probe_ppm,
            ramp,
            next,
            stale_at_ms,
            on_stale: policy.on_stale,
            forced: self.forced.as_ref().map(Override::shown),
            would,
            fault: self.fault.as_ref().map(|injected| Box::new(injected.fault.clone())),
        }
    }

    fn future(&self, policy: &Policy, hold: Option<Hold>) -> Future {
        let mut future = Future { ramp: self.ramp, ..Future::default() };
        // A fault changes no state, and its end stands in itself.
        let mut later = Breaker { fault: None, ..self.clone() };
        while let Some((due_ms, cause)) = later.next_due(policy) {
            later.step(policy, hold, due_ms, cause.clone());
            let goes_stale = cause == Cause::Stale && (self.state == State::Open || future.next.is_some());
            match cause {
                // Callers see hints only in what comes after them, and in what is held back because of them.
                Cause::HintLapsed if later.state == self.state && later.held == self.held => continue,
                _ if goes_stale => future.stale_at_ms = Some(due_ms),
                // A flag tells one change; whoever writes it then tells the one after it.
                _ if future.next.is_some() => break,
                _ => future.next = Some(Next { at_ms: due_ms, state: later.state }),
            }
            if cause != Cause::RampEnded {
                future.ramp = later.ramp;
            }
            if later.state != State::Open {
                break;
            }
        }
        if policy.on_stale == OnStale::Hold && later.state == State::Open && later.forced.is_none() {
            future.stale_at_ms = later.fires_until_ms(policy);
        }
        future
    }
}
