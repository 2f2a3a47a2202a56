//! What a person may order, and what is kept of it.
//!
//! An override is a layer above the signals: they go on underneath, and none of them can undo it. It ends at its own
//! time or by a person. Every order has a name and a reason, since the next person at three in the morning needs both.
//!
//! Left out: who may order (`service`).

use crate::fault::Fault;
use crate::flag::{Forced, ForcedUntil};
use serde::{Deserialize, Serialize};

/// A person's decision on a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The state it forces.
    pub state: Forced,
    /// Who decided.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, Unix milliseconds of the store's clock.
    pub since_ms: i64,
    /// When it ends, Unix milliseconds; none: when a person ends it.
    pub until_ms: Option<i64>,
}

impl Override {
    /// What callers see of it: neither who nor why.
    #[must_use]
    pub fn shown(&self) -> ForcedUntil {
        ForcedUntil { state: self.state, until_ms: self.until_ms }
    }

    /// Whether it has not ended by `now_ms`.
    #[must_use]
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// A fault that a person injects, with who and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFault {
    /// Who decided.
    pub by: String,
    /// Why.
    pub why: String,
    /// What is injected, since when, and until when.
    #[serde(flatten)]
    pub fault: Fault,
}

/// A person's decision on a whole scope: no signal opens anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who decided.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, Unix milliseconds of the store's clock.
    pub since_ms: i64,
    /// When it ends, Unix milliseconds; none: when a person ends it.
    pub until_ms: Option<i64>,
}

impl Pause {
    /// Whether it has not ended by `now_ms`.
    #[must_use]
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// What a person orders of one breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// What.
    pub act: Act,
}

/// What can be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Forces a state, in the place of what was forced before.
    Force {
        /// The state.
        state: Forced,
        /// When it ends, Unix milliseconds of the store's clock; none: when a person ends it.
        until_ms: Option<i64>,
    },
    /// Ends the override: signals decide again.
    Clear,
    /// Lets a breaker open that [`Hold::MaxOpen`] holds back.
    Release,
    /// Injects a fault, in the place of the one before. It begins now, whatever it says, and its limits hold.
    Inject(Fault),
    /// Ends the fault.
    EndFault,
    /// Brings an override back that the store has lost, unless a person has decided again since it was ordered.
    Restore {
        /// When it was ordered, Unix milliseconds.
        since_ms: i64,
        /// The state.
        state: Forced,
        /// When it ends, Unix milliseconds; none: when a person ends it.
        until_ms: Option<i64>,
    },
}

/// Why a signal that fires does not open its breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// A person has paused the scope.
    Paused,
    /// Too many breakers of the family are open: a person must decide.
    MaxOpen,
}
