//! The operators' API as it runs: the compiled service, on memory and on a real Redis, over HTTP.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod access;
mod deciding;
mod description;
mod faults;
mod history;
mod live;
mod reading;
mod storm;
