//! `/healthz` and `/readyz`, for the binary alone: a team's own readiness must not hang on a breaker's store.
//!
//! They stand outside the limits of the callback, so that a busy service is not taken for a dead one.

use crate::Shared;
use crate::answer;
use crate::chain::Chain;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    // Shallow: the process runs and answers. A store that is away is no reason to restart it.
    let healthz = get(async || "ok");
    Router::new().route("/healthz", healthz).route("/readyz", get(readyz)).with_state(shared)
}

/// Deep: the breakers are declared and the store answers.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if !shared.declared.load(Relaxed) {
        return answer::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "the breakers are not declared in the store yet",
        );
    }
    match shared.parts.store.ping().await {
        Ok(()) => "ok".into_response(),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "not ready");
            answer::error(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
        }
    }
}
