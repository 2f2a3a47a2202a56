//! Stores and followers of flags.
//!
//! [`conformance`] holds what every store must do, and runs each part against memory and a real Redis; [`redis`] what
//! only a Redis shows: other readers, silence, restarts, passwords, foreign data; [`channel`] what is published beside the stream; [`rights`] what
//! the documented users may do; [`tls`] the encrypted way; [`rules`] that core's rules hold through the
//! service and either store.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod audit;
mod channel;
mod cluster;
mod conformance;
mod primary;
mod redis;
mod rights;
mod rules;
mod subject;
mod tls;
mod together;
