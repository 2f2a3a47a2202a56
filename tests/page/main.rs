//! The operators' page as it runs: the compiled service on a real Redis, over HTTP and in a real browser.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod access;
mod browser;
mod journeys;
// The API's rig, of which the page uses a part.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../api/rig.rs"]
mod rig;
