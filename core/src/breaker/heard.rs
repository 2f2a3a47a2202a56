//! What a person who asks "why is it open?" is shown of a record: each signal with what it asks for.

use super::signal::Voice;
use super::{Breaker, Policy, Signal, SignalId};

/// What a signal asks for, as a person reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asks {
    /// Nothing: calls may flow.
    Rest,
    /// Half-open at the first share: it is stale, or its group is gone.
    Doubt,
    /// Open.
    Fire,
}

/// One signal at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard<'a> {
    /// The group of the monitor.
    pub id: &'a SignalId,
    /// What was observed of it.
    pub signal: &'a Signal,
    /// What it asks for.
    pub asks: Asks,
    /// When it goes stale, Unix milliseconds of the store's clock.
    pub stale_at_ms: i64,
}

impl Breaker {
    /// Every signal as it counts at `now_ms` (the store's clock, Unix milliseconds), by monitor and group.
    pub fn heard<'a>(&'a self, policy: &'a Policy, now_ms: i64) -> impl Iterator<Item = Heard<'a>> {
        self.signals.iter().map(move |(id, signal)| {
            let asks = match signal.voice(policy, now_ms) {
                Voice::Rest => Asks::Rest,
                Voice::Doubt => Asks::Doubt,
                Voice::Fire => Asks::Fire,
            };
            Heard { id, signal, asks, stale_at_ms: signal.stale_at_ms(policy) }
        })
    }
}
