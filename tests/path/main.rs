//! End to end, with nothing faked but Datadog: the compiled function under a Lambda Runtime API host, the compiled
//! service, a private redis-server, and a caller in a process of its own.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod examples;
mod faults;
mod forms;
mod reconcile;
mod rig;
mod story;
