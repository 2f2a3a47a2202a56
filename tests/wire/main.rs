//! What goes over the wires of the function: every known notification and every known answer of Datadog, judged by
//! what a user relies on. The tables name every fixture; a fixture without a row fails the test.

// Helpers stand outside the functions in which clippy knows a test.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod batches;
mod bootstrap;
mod faults;
mod fixtures;
mod notifications;
mod reads;
mod reconcile;
mod rereads;
mod secrets;
mod world;
