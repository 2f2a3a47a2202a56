//! Who may be believed: callbacks are signed by a public specification, so its own libraries sign what the service takes,
//! and verify what the function sends.
//!
//! `tests/run` installs the libraries, from the lock files beside this, below `target/trust`. A million forged messages
//! are `tests/forgeries`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod library;
mod sent;
mod taken;
