//! What the tests share. Every server is started for one test, on a free port, in a folder of its own.

// A test that cannot go on ends where it stands, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

pub mod binaries;
pub mod canary;
pub mod cluster;
pub mod crowd;
pub mod doubles;
pub mod figures;
pub mod flips;
pub mod forward;
pub mod metrics;
pub mod namespace;
pub mod process;
pub mod redis;
pub mod rig;
pub mod runtime_api;
pub mod secret_store;
pub mod sentinel;
pub mod service;
