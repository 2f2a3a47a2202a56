//! "May I call?", answered in the caller's process from memory.
//!
//! A service that calls a vendor connects once, names its breakers, and asks before each call. While the team's
//! Datadog monitor is in alert for one bank, calls to that bank are refused with a typed error, in every process of the
//! fleet; everything else flows.
//!
//! ```no_run
//! # async fn pay() -> Result<(), Box<dyn std::error::Error>> {
//! let client = cutout::Client::builder("redis://127.0.0.1/").breaker("bank-charge").connect().await?;
//! let bank = client.breaker("bank-charge", &["0001"])?; // keep the handle
//! match bank.admit() {
//!     Ok(_permit) => { /* call the bank */ }
//!     Err(refused) => { /* nothing was sent: fall back, or tell the user */ drop(refused); }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Calls that must pass while others are refused, such as refunds, have an operation class of their own
//! ([`Breaker::for_class`]). A breaker in watch mode refuses nobody; [`Permit::would_refuse`] tells what it would do.
//!
//! Around a call an [`Upstream`] puts time-outs, a bound on calls under way, retries with a budget, a breaker of this process alone and a second
//! vendor; as plain calls ([`Lane`]), as a tower layer (feature `tower`) or as a reqwest middleware (feature `reqwest`). [`Breaker::call`] is the door without
//! settings.
//!
//! With the store gone, breakers go on by the last known flags ([`Client::health`] tells how old they are), and after 90 s
//! their timers stand still, until [`MaxStaleness`] says otherwise. With the store gone at the start, calls flow. The client never
//! calls the service and never writes.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

/// Their examples are compiled, and run unless they need a store.
#[cfg(doctest)]
#[doc = include_str!("../../docs/handles.md")]
struct DocsHandles;
#[cfg(doctest)]
#[doc = include_str!("../../docs/client.md")]
struct DocsClient;

mod board;
mod breaker;
mod call;
mod calls;
mod cell;
#[cfg(test)]
mod cell_tests;
mod client;
mod clock;
#[cfg(any(feature = "tower", feature = "reqwest"))]
mod door;
mod fake;
mod family;
#[cfg(any(feature = "tower", feature = "reqwest"))]
pub mod http;
mod local;
mod locals;
mod memory;
pub mod metrics;
mod names;
mod outcome;
mod reason;
#[cfg(test)]
mod reference_tests;
#[cfg(feature = "reqwest")]
pub mod reqwest;
mod snapshot;
mod staleness;
mod states;
mod sync;
mod tally;
#[cfg(feature = "tower")]
pub mod tower;
mod transitions;
#[cfg(test)]
mod under_loom;
mod upstream;

pub use breaker::{Breaker, Permit, Refused};
pub use call::CallError;
pub use client::{Client, ClientBuilder, ConnectError, DEFAULT_SCOPE, Health, START_TIMEOUT};
pub use clock::FROZEN_AFTER_MS;
pub use cutout_core::{BreakerId, State};
#[cfg(any(feature = "tower", feature = "reqwest"))]
pub use door::Protection;
pub use fake::{FakeClient, FakeFault};
pub use family::Family;
pub use local::{LocalBreaker, Window};
pub use names::UnknownBreaker;
pub use outcome::{ByResult, Classify, Nested, Outcome};
pub use reason::Reason;
pub use snapshot::{
    FaultHeader, KnownBreaker, KnownFault, KnownLocal, Override, SNAPSHOT_BREAKERS_MAX, Snapshot,
};
pub use staleness::{MAX_STALENESS_MIN, MaxStaleness};
pub use transitions::{Missed, TRANSITIONS_KEPT, Transition, Transitions};
pub use upstream::{
    Bulkhead, CONNECT_TIMEOUT, Failover, Injected, LANES_MAX, Lane, Mistake, Mistakes, Overflow,
    POOL_IDLE_TIMEOUT, REQUEST_TIMEOUT, Retries, TIMEOUT_MAX, TimedOut, Timeout, Tripped, Upstream,
    UpstreamBuilder,
};
