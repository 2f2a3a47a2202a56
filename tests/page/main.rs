//! The operators' page as it runs: the compiled service on a real Redis, over HTTP and in a real browser.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod access;
mod away;
mod browser;
mod faults;
mod healing;
mod journeys;
mod past;
