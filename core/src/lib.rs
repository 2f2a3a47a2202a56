//! Cutout's decisions, and nothing else.
//!
//! A Datadog monitor's state arrives as a [`Callback`]; [`plan()`] says which breakers it is for; [`Breaker::apply`]
//! decides each one's state; [`Breaker::flag`] is what callers see of it; [`Flag::admits`] answers a caller's
//! "may I call?". [`directive`] and [`webhook`] hold the two small languages spoken on the way.
//!
//! Everything here is pure: time is an argument in Unix milliseconds, there is no I/O, no environment, no thread.
//! What is left out: where breakers are kept (`flags`), how Datadog is read (`lambda`), settings of any program.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod breaker;
pub mod chain;
pub mod declaration;
pub mod directive;
pub mod drill;
pub mod family;
pub mod fault;
pub mod flag;
pub mod hint;
pub mod observation;
pub mod plan;
pub mod problems;
pub mod reference;
pub mod report;
pub mod tags;
pub mod webhook;

pub use breaker::{
    Act, Breaker, Cause, Evidence, Hold, InjectedFault, Order, Override, Pause, Policy, Transition,
};
pub use chain::Chain;
pub use declaration::{BreakerId, Declaration, Declared};
pub use drill::Drill;
pub use family::Family;
pub use fault::{Fault, Injection, Mark};
pub use flag::{Flag, Forced, Mode, OnStale, State};
pub use plan::{EventSeen, MonitorSeen, Plan, plan, plan_gone};
pub use problems::Problems;
pub use report::{Callback, Report};
pub use tags::Tags;
