//! A vendor with all that a team would otherwise write around each: time-outs, a bound on calls under way, retries with a
//! budget, and a breaker of this process beside the fleet's.
//!
//! One engine (`tries`), used by every door: [`Lane::call`], the tower layer, the reqwest middleware.
//! Left out: ejection, health checks and routing over many endpoints, which are a proxy's work.

mod bulkhead;
mod ends;
mod failover;
mod lane;
mod mistakes;
mod reference;
mod refusals;
mod retries;
mod settings;
mod tries;

pub use bulkhead::Bulkhead;
pub use failover::Failover;
pub use lane::{LANES_MAX, Lane, Upstream};
pub use mistakes::{Mistake, Mistakes};
pub use refusals::{Injected, Overflow, TimedOut, Timeout, Tripped};
pub use retries::Retries;
pub use settings::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT, REQUEST_TIMEOUT, TIMEOUT_MAX, UpstreamBuilder};
#[cfg(any(feature = "tower", feature = "reqwest"))]
pub(crate) use {ends::Ends, tries::Tries, tries::Try};
