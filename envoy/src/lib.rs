//! Flags -> Envoy, for callers without the library.
//!
//! A follower keeps the flags in memory ([`known`]); from them, the user's hooks and the time, one picture is computed
//! ([`picture`]): which keys are refused, by which share. Each piece of it is one xDS resource (`resources`), and each Envoy
//! has a stream that sends it what it has not taken yet (`ads`). Envoy itself refuses: nothing here touches a request.
//!
//! Left out: every decision (`cutout-core`), and everything else about a proxy, which stays in the user's own configuration.

mod ads;
mod health;
pub mod hooks;
pub mod known;
pub mod picture;
mod publish;
mod resources;
pub mod serve;
pub mod settings;
mod tally;

pub use health::ask;
pub use serve::serve;
pub use settings::Settings;
