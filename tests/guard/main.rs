//! The guard on callback URLs, through the real connector.
//!
//! [`judged`] dials every judged URL inside a network namespace where a hole would be seen to connect; [`delivery`]
//! is about what happens to a callback that may go out. The rest is their scenery.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod delivery;
mod fixtures;
mod http;
mod judged;
mod listeners;
mod names;
mod tls;

use cutout_core::webhook::Secret;
use cutout_lambda::callbacks::Callbacks;
use cutout_lambda::guard::{Guard, GuardSettings};
use std::sync::Arc;
use std::time::Duration;

/// How long anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(20);
const NOW_SECS: i64 = 1_795_224_918;

/// A guard by three settings, spelt as in the environment.
fn guard(allow: &str, allow_cidr: &str, allow_http: bool) -> Arc<Guard> {
    Arc::new(Guard::new(GuardSettings {
        allow: entries(allow).map(|entry| entry.parse().unwrap()).collect(),
        allow_cidrs: entries(allow_cidr).map(|cidr| cidr.parse().unwrap()).collect(),
        allow_http,
    }))
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|entry| !entry.is_empty())
}

/// The way out, with `names` for DNS.
fn callbacks(guard: &Arc<Guard>, names: &Arc<names::Names>, timeout: Duration) -> Callbacks {
    // Fails from the second call on, when it is done already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Callbacks::new(Arc::clone(guard), Arc::clone(names) as _, timeout).unwrap()
}

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}
