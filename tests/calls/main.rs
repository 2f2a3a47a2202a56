//! Calls through breakers and upstreams, by each of the doors: what is sent, what is not, what is counted. All on one clock that a test
//! moves, but for the doors' real HTTP.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with the tests of the client")]
#[path = "../client/counted.rs"]
mod counted;
mod failover;
mod faults;
mod guards;
mod monitor;
mod nested;
mod plain;
mod reqwest_door;
mod retries;
mod spans;
mod tower_door;
mod vendor;
#[allow(dead_code, reason = "shared with the tests of the client")]
#[path = "../client/world.rs"]
mod world;
