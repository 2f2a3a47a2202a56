//! `/healthz` and `/readyz`, for the binary alone: a team's own readiness must not hang on a breaker's store.
//!
//! They stand outside the limits of the callback, so that a busy service is not taken for a dead one. What decides is
//! whether a callback could be committed now; the rest is told for people. No error's text: anybody may ask.

use crate::Shared;
use crate::answer::{self, RETRY_AFTER_SECS};
use crate::limits::{Of, catching};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cutout_core::Chain;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// How long one look at the store serves whoever asks: anybody may ask as often as he likes, and must not load the store by it.
pub(crate) const LOOK_HOLDS: Duration = Duration::from_millis(500);
/// How old what the follower knows may be: beyond it callers' timers stand still as well.
const FOLLOWER_AGE_MAX_MS: i64 = 90_000;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    // Shallow: the process runs and answers. A store that is away is no reason to restart it.
    let healthz = get(async || "ok");
    let router = Router::new().route("/healthz", healthz).route("/readyz", get(readyz)).with_state(shared);
    catching(router, Of::Readiness, answer::error)
}

/// The last look at the store, which all who ask share.
#[derive(Debug, Default)]
pub(crate) struct Looks(tokio::sync::Mutex<Option<Look>>);

/// What the store answered, and when.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    ok: bool,
    ms: f64,
    declared_revision: Option<u64>,
}

impl Looks {
    /// The last look, or a new one. Who asks meanwhile waits for it, so that there is never more than one.
    async fn look(&self, shared: &Shared) -> Look {
        let mut last = self.0.lock().await;
        if let Some(look) = last.filter(|look| look.at.elapsed() < LOOK_HOLDS) {
            return look;
        }
        let asked = Instant::now();
        let read = shared.parts.store.read(&[], None).await;
        let ms = asked.elapsed().as_secs_f64() * 1_000.0;
        if let Err(error) = &read {
            tracing::warn!(error = %Chain(error), "not ready");
        }
        let term = read.as_ref().ok().and_then(|read| read.term.as_ref());
        let declared_revision = term.map(|term| term.revision);
        *last.insert(Look { at: Instant::now(), ok: read.is_ok(), ms, declared_revision })
    }
}

/// How this instance is.
#[derive(Debug, Serialize)]
struct Readiness {
    /// Whether callbacks should come here.
    ready: bool,
    /// Whether it is about to end.
    draining: bool,
    store: StoreHealth,
    settings: SettingsHealth,
    follower: FollowerHealth,
}

/// The store, asked now or [`LOOK_HOLDS`] ago at the most.
#[derive(Debug, Serialize)]
struct StoreHealth {
    ok: bool,
    /// How long it took to answer, or to fail.
    ms: f64,
    /// Whether it keeps an append-only file; null: it does not tell.
    durable: Option<bool>,
}

/// The breakers' file.
#[derive(Debug, Serialize)]
struct SettingsHealth {
    /// Declared since the start, and no newer file is at work elsewhere.
    ok: bool,
    /// This instance's; 0: the file has none.
    revision: u64,
    /// The one in force; null: the store did not tell.
    declared_revision: Option<u64>,
    /// Since when the file is at work here.
    since: Timestamp,
    /// How many mistakes a newer file has, so that it was not taken.
    mistakes: usize,
    /// How many names of breakers destinations of notifications ask for and the file does not declare: they are told nothing of these.
    undeclared: usize,
}

/// What follows the flags, for the operators' API and the timers: callbacks do not need it.
#[derive(Debug, Serialize)]
struct FollowerHealth {
    ok: bool,
    /// Since the store last answered it; null: it never did.
    age_ms: Option<i64>,
    /// How often it saw the store come back without its data.
    losses: Option<u64>,
}

/// Deep: the breakers are declared, the store answers, and no newer breakers' file makes this instance stand back.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let look = shared.looks.look(&shared).await;
    let store = StoreHealth { ok: look.ok, ms: look.ms, durable: *shared.durable() };
    let settings = SettingsHealth::of(&shared, look.declared_revision);
    let draining = shared.draining.load(Relaxed);
    let ready = store.ok && settings.ok && !draining;
    let follower = FollowerHealth::of(&shared);
    answer(&Readiness { ready, draining, store, settings, follower })
}

impl SettingsHealth {
    fn of(shared: &Shared, declared_revision: Option<u64>) -> SettingsHealth {
        let revision = shared.breakers().revision;
        let (since_ms, mistakes) = shared.in_use.since_and_mistakes();
        let stands_back = declared_revision.is_some_and(|declared| declared > revision);
        let ok = shared.declared.load(Relaxed) && !stands_back;
        let since = Timestamp::from_millisecond(since_ms).unwrap_or_default();
        let undeclared = shared.in_use.undeclared().len();
        SettingsHealth { ok, revision, declared_revision, since, mistakes, undeclared }
    }
}

impl FollowerHealth {
    fn of(shared: &Shared) -> FollowerHealth {
        let scope = shared.board.scope();
        let age_ms = scope.as_ref().map(crate::board::Scope::age_ms);
        let ok = age_ms.is_some_and(|age_ms| age_ms < FOLLOWER_AGE_MAX_MS);
        FollowerHealth { ok, age_ms, losses: scope.map(|scope| scope.synced.losses) }
    }
}

fn answer(readiness: &Readiness) -> Response {
    let mut response = Json(readiness).into_response();
    if !readiness.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
    response
}
