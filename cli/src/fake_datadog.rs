//! A small Datadog on loopback: monitors with groups, their events, and the faults of the real API.
//!
//! It speaks the part of the v1 API that the function reads, in the shapes that were recorded, with the real one's
//! bad days on request: refused keys, rate limits, gateway errors, silence, a read side that lags behind. It is for
//! the demo, for `cutout dev` and for tests; it evaluates no query and knows no organisation.

mod message;
mod world;

pub use message::sns_event;
pub use world::{Change, Fault, Reads};

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use world::World;

/// How many monitors a page of the list has, unless the request says otherwise.
const PAGE_SIZE_DEFAULT: usize = 100;

/// The running fake. Stops when dropped.
#[derive(Debug)]
pub struct FakeDatadog {
    address: SocketAddr,
    world: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<World>>;

impl FakeDatadog {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> std::io::Result<FakeDatadog> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let world = Shared::default();
        let router = Router::new()
            .route("/api/v1/monitor", get(list))
            .route("/api/v1/monitor/{id}", get(monitor))
            .route("/api/v1/events/{id}", get(event))
            .with_state(world.clone());
        let server = tokio::spawn(async move {
            // axum::serve returns only when told to; dropping the task ends it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(FakeDatadog { address, world, server })
    }

    /// The base URL to give as `CUTOUT_DATADOG_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a monitor without groups, or renames one. `tags` are its own, not its groups'.
    pub fn create_monitor(&self, id: u64, name: &str, tags: &[&str]) {
        self.world().create_monitor(id, name, tags);
    }

    /// Sets a monitor's own message: what its author wrote, not what a notification renders.
    pub fn set_message(&self, id: u64, text: &str) {
        self.world().set_message(id, text);
    }

    /// Forgets a monitor: it answers 404 from now on, and no list shows it.
    pub fn delete_monitor(&self, id: u64) {
        self.world().monitors.remove(&id);
    }

    /// Sets a group's status (`OK`, `Alert`, `Warn`, `No Data`, …), which makes an event. No two changes happen in
    /// the same second of the fake's clock: Datadog tells changes in whole seconds, so two of one second have no
    /// order; the clock is moved on where needed.
    pub fn set(&self, monitor_id: u64, group: &str, status: &str) -> Change {
        self.world().set(monitor_id, group, status)
    }

    /// From now on, monitor reads meet this fault, lists too; `None` heals.
    pub fn fail_monitor_reads(&self, fault: Option<Fault>) {
        self.world().monitor_fault = fault;
    }

    /// From now on, reads of one page of the list (from 0) meet this fault; `None` heals.
    pub fn fail_list_page(&self, page: usize, fault: Option<Fault>) {
        let mut world = self.world();
        match fault {
            Some(fault) => world.page_faults.insert(page, fault),
            None => world.page_faults.remove(&page),
        };
    }

    /// From now on, event reads meet this fault; `None` heals.
    pub fn fail_event_reads(&self, fault: Option<Fault>) {
        self.world().event_fault = fault;
    }

    /// Freezes what monitor reads show, as a read side that lags behind does; `false` lets it catch up.
    pub fn lag_monitor_reads(&self, lag: bool) {
        let mut world = self.world();
        world.shown = lag.then(|| world.monitors.clone());
    }

    /// How often it was read so far.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.world().reads
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

impl Drop for FakeDatadog {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A panic elsewhere leaves the fake's plain data usable.
fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn monitor(State(world): State<Shared>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let (fault, answer) = {
        let mut world = lock(&world);
        world.reads.monitor += 1;
        (world.monitor_fault, world.monitor_json(id))
    };
    respond(&world, &headers, fault, answer.ok_or("Monitor not found")).await
}

/// What the function asks for needs no percent-encoding, so none is undone.
async fn list(State(world): State<Shared>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name).and_then(|text| text.parse::<usize>().ok());
    let (page, page_size) = (number("page").unwrap_or(0), number("page_size").unwrap_or(PAGE_SIZE_DEFAULT));
    let tags = value("monitor_tags").unwrap_or_default();
    let tags: Vec<&str> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
    let (fault, answer) = {
        let mut world = lock(&world);
        world.reads.list += 1;
        let fault = world.monitor_fault.or_else(|| world.page_faults.get(&page).copied());
        (fault, world.page_json(&tags, page, page_size))
    };
    respond(&world, &headers, fault, Ok(answer)).await
}

async fn event(State(world): State<Shared>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let (fault, answer) = {
        let mut world = lock(&world);
        world.reads.event += 1;
        (world.event_fault, world.event_json(id))
    };
    respond(&world, &headers, fault, answer.ok_or("No event matches that event_id.")).await
}

async fn respond(
    world: &Shared,
    headers: &HeaderMap,
    fault: Option<Fault>,
    answer: Result<Value, &str>,
) -> Response {
    let date = lock(world).http_date();
    let keyed = ["dd-api-key", "dd-application-key"]
        .iter()
        .all(|name| headers.get(*name).is_some_and(|key| !key.is_empty()));
    let answer = match (fault, answer) {
        (Some(Fault::Hang), _) => std::future::pending().await,
        (Some(Fault::Forbidden), _) => errors(StatusCode::FORBIDDEN, "Forbidden"),
        (Some(Fault::RateLimited { reset_secs }), _) => {
            let limit =
                [("x-ratelimit-reset", reset_secs.to_string()), ("x-ratelimit-remaining", "0".to_owned())];
            (
                limit,
                errors(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Rate limit of 3000 requests in 10 seconds reached. Please try again later.",
                ),
            )
                .into_response()
        }
        (Some(Fault::BadGateway), _) => {
            (StatusCode::BAD_GATEWAY, "<html><body>502</body></html>").into_response()
        }
        (None, _) if !keyed => errors(StatusCode::FORBIDDEN, "API key required"),
        (None, Ok(body)) => Json(body).into_response(),
        (None, Err(text)) => errors(StatusCode::NOT_FOUND, text),
    };
    ([("date", date)], answer).into_response()
}

fn errors(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "errors": [text] }))).into_response()
}
