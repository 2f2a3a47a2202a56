//! The owning service as it runs: the compiled binary against a real Redis, and its HTTP server in this process.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod callbacks;
mod dashboards;
mod drain;
mod flood;
mod gauges;
mod health;
mod large;
mod limits;
mod metrics;
mod notify;
mod overload;
mod process;
mod readiness;
mod redis_away;
mod reload;
mod timers;
mod wire;
