//! Callback in, flag out.
//!
//! [`Service::router`] takes signed callbacks and commits what follows from them; [`Service::run`] declares the
//! breakers and does what time alone brings. A team mounts both in its own axum service, or runs the
//! `cutout-service` binary, which adds [`Service::probes`], [`Settings`] and [`serve()`].
//!
//! ```
//! # async fn start(parts: cutout_service::Parts) {
//! let service = cutout_service::Service::new(parts);
//! let app: axum::Router = axum::Router::new().merge(service.router()); // beside the team's own routes
//! tokio::spawn(service.run());
//! # }
//! ```
//!
//! Every instance is alike: what they do at once is kept apart by the store's compare-and-set. The service never
//! calls Datadog or the function.

pub mod breakers;
pub mod callback;
pub mod duration;
pub mod limits;
pub mod serve;
pub mod settings;

mod answer;
mod apply;
mod backoff;
mod chain;
mod decision;
mod nearest;
mod probes;
mod timers;

use axum::Router;
use axum::routing::post;
use cutout_core::webhook::Secret;
use cutout_core::{Declaration, Declared};
use cutout_flags::{Follower, Store};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use url::Url;

pub use serve::{Limits, serve};
pub use settings::Settings;

/// What a service is made of.
pub struct Parts {
    /// Where breakers and flags are kept.
    pub store: Arc<dyn Store>,
    /// The breakers.
    pub declarations: Vec<Declaration>,
    /// Any of these may have signed a callback.
    pub secrets: Vec<Secret>,
    /// The URL that monitors name; callbacks sent to another are refused. None: not checked.
    pub public_url: Option<Url>,
}

impl fmt::Debug for Parts {
    /// Without the store, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("declarations", &self.declarations)
            .field("secrets", &self.secrets)
            .field("public_url", &self.public_url.as_ref().map(Url::as_str))
            .finish_non_exhaustive()
    }
}

/// The owning service: callbacks in, flags out.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

/// What all requests and timers share.
#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// Whether the breakers were declared in the store since the start.
    declared: AtomicBool,
}

impl Service {
    /// A service that does nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Service {
        Service { shared: Arc::new(Shared { parts, declared: AtomicBool::new(false) }) }
    }

    /// The callback's route within its limits: what a team mounts.
    pub fn router(&self) -> Router {
        let route = post(callback::receive).with_state(self.shared.clone());
        let router = Router::new().route(callback::CALLBACK_PATH, route);
        limits::limited(router, limits::REQUESTS_MAX, limits::REQUEST_TIMEOUT)
    }

    /// `/healthz` (the process answers) and `/readyz` (breakers declared, store answers).
    pub fn probes(&self) -> Router {
        probes::router(self.shared.clone())
    }

    /// Declares the breakers, follows their flags, and does what time alone brings. Never returns; dropped to stop.
    /// Callbacks are also taken without it, but half-open would then not end in the store.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move {
            let due = Arc::new(timers::Due::default());
            let follower = Follower::new(shared.parts.store.clone(), due.clone());
            tokio::join!(declare(&shared), follower.run(), timers::run(&shared, &due));
        }
    }
}

/// Declares the breakers, however long the store is away.
async fn declare(shared: &Shared) {
    let declared = Declared::from_iter(&shared.parts.declarations);
    let mut backoff = backoff::Backoff::default();
    loop {
        match shared.parts.store.declare(&declared).await {
            Ok(epoch) => {
                shared.declared.store(true, Relaxed);
                tracing::info!(
                    breakers = shared.parts.declarations.len(),
                    epoch = epoch.as_str(),
                    "declared"
                );
                return;
            }
            Err(error) => {
                tracing::error!(error = %chain::Chain(&error), "the breakers cannot be declared: trying again");
                backoff.wait().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
