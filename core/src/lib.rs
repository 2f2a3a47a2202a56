//! Cutout's decisions, and nothing else.
//!
//! A Datadog monitor's state arrives as a [`Callback`]; [`plan()`] says which breakers it is for; [`Breaker::apply`]
//! decides each one's state; [`Breaker::flag`] is what callers see of it; [`Flag::admits`] answers a caller's
//! "may I call?". [`directive`] and [`webhook`] hold the two small languages spoken on the way.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use cutout_core::{Breaker, Callback, Declaration, Policy, State, plan};
//!
//! let banks = [Declaration {
//!     name: "bank-charge".into(),
//!     key: vec!["bank_code".into()],
//!     monitor_ids: [5200001].into(),
//!     monitor_tags: [].into(),
//!     only: [].into(),
//!     policy: Policy::default(),
//! }];
//! let callback: Callback = serde_json::from_str(r#"{
//!     "schema": "cutout.callback/1", "source": "datadog", "reason": "reconcile", "monitor_id": 5200001,
//!     "to": "https://service-a.example/dd_circuit_breaker/callback",
//!     "report": { "as_of": "2026-11-21T01:15:18Z", "monitor": {}, "groups": [ {
//!         "name": "bank_code:0001", "tags": { "bank_code": ["0001"] }, "status": "Alert", "changed_at": "2026-11-21T01:15:02Z" } ] } }"#)?;
//!
//! let plan = plan(&banks, &callback, None)?;
//! let (id, (declaration, evidence)) = plan.targets.first_key_value().ok_or("no breaker is meant")?;
//! assert_eq!(id.as_str(), "bank-charge/0001");
//!
//! let now_ms = 1_795_224_919_000; // by the store's clock
//! let mut breaker = Breaker::new(now_ms);
//! let transitions = breaker.apply(&declaration.policy, evidence, None, now_ms);
//! assert_eq!((transitions.len(), breaker.state()), (1, State::Open));
//!
//! let flag = breaker.flag(&declaration.policy, None);
//! let draw_ppm = 500_000; // evenly from 0 to 999,999
//! assert!(!flag.admits(None, now_ms, draw_ppm), "refused, unless it is among the probes");
//! # Ok(())
//! # }
//! ```
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
