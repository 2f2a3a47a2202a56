//! `POST /dd_circuit_breaker/callback`: from a signed body to 200, which means committed.
//!
//! The order is the defence: size, then signature over the raw bytes, then parsing, then the address it was sent to.
//! Nobody without a secret reaches the parser or the store. Any answer but 200 is an error for the function, which
//! sends the callback again.
//!
//! Left out: limits that hold for all routes (`limits`).

use crate::Shared;
use crate::answer;
use crate::apply::{self, Applied, ApplyError};
use crate::drill::{self, Drilled, Untaken};
use crate::metrics;
use crate::pulse::Kind;
use axum::Json;
use axum::body::{Bytes, HttpBody};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use cutout_core::Chain;
use cutout_core::drill::DRILL_SCHEMA;
use cutout_core::report::{CALLBACK_SCHEMA, INVENTORY_SCHEMA, Inventory, Reason};
use cutout_core::webhook::{self, VerifyError};
use cutout_core::{Callback, Drill};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// The path of the callback in a service.
pub const CALLBACK_PATH: &str = "/dd_circuit_breaker/callback";
/// The largest body that is read.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// How long a body may take to arrive: less than the whole request, so that a slow sender is told from a slow store.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The result of what was taken, in logs and metrics.
const COMMITTED: &str = "committed";

/// What may be posted.
enum Message {
    Callback(Box<Callback>),
    Inventory(Inventory),
    Drill(Drill),
}

impl Message {
    fn parse(body: &[u8]) -> Result<Message, Refusal> {
        #[derive(serde::Deserialize)]
        struct Schema {
            schema: String,
        }
        // Nearly all are callbacks: only what is none is looked at twice.
        let callback = match serde_json::from_slice::<Box<Callback>>(body) {
            Ok(callback) if callback.schema == CALLBACK_SCHEMA => return Ok(Message::Callback(callback)),
            other => other,
        };
        let Schema { schema } = serde_json::from_slice(body).map_err(Refusal::Malformed)?;
        match schema.as_str() {
            CALLBACK_SCHEMA => callback.map(Message::Callback).map_err(Refusal::Malformed),
            INVENTORY_SCHEMA => {
                serde_json::from_slice(body).map(Message::Inventory).map_err(Refusal::Malformed)
            }
            DRILL_SCHEMA => serde_json::from_slice(body).map(Message::Drill).map_err(Refusal::Malformed),
            _ => Err(Refusal::Schema(schema)),
        }
    }

    /// The URL it was sent to.
    fn to(&self) -> &str {
        match self {
            Message::Callback(callback) => &callback.to,
            Message::Inventory(inventory) => &inventory.to,
            Message::Drill(drill) => &drill.to,
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Message::Callback(callback) if callback.reason == Reason::Notification => {
                Some(Kind::Notification)
            }
            Message::Callback(_) | Message::Inventory(_) => Some(Kind::Reconcile),
            Message::Drill(_) => None,
        }
    }

    fn monitor_id(&self) -> Option<u64> {
        match self {
            Message::Callback(callback) => Some(callback.monitor_id),
            Message::Inventory(_) | Message::Drill(_) => None,
        }
    }

    /// How it is named in logs and metrics.
    fn form(&self) -> &'static str {
        match self {
            Message::Callback(_) => "callback",
            Message::Inventory(_) => "inventory",
            Message::Drill(_) => "drill",
        }
    }
}

/// Why a callback was turned away.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body exceeds {BODY_MAX_BYTES} bytes")]
    TooLarge,
    #[error("the body did not arrive within {} s", BODY_READ_TIMEOUT.as_secs())]
    Slow,
    #[error("the body could not be received")]
    Cut(#[source] BytesRejection),
    #[error("the callback is not authentic")]
    Unauthentic(#[source] VerifyError),
    #[error("the body is not a callback")]
    Malformed(#[source] serde_json::Error),
    #[error("the callback has the schema {0:?}, this version reads {CALLBACK_SCHEMA} and {INVENTORY_SCHEMA}")]
    Schema(String),
    #[error("the callback was sent to {to:?}, which is not CUTOUT_PUBLIC_URL, {public_url}")]
    Elsewhere { to: String, public_url: Url },
    #[error("the callback was not applied")]
    NotApplied(#[source] ApplyError),
    #[error("the drill was not carried out")]
    Undrilled(#[source] Untaken),
}

impl Refusal {
    /// The status and what the sender is told.
    fn answer(&self) -> (StatusCode, String) {
        let fixed = |status, text: &str| (status, text.to_owned());
        match self {
            Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, self.to_string()),
            Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, self.to_string()),
            Refusal::Cut(_) => (StatusCode::BAD_REQUEST, self.to_string()),
            Refusal::Unauthentic(error) => (StatusCode::UNAUTHORIZED, error.to_string()),
            Refusal::Malformed(_) | Refusal::Schema(_) => {
                (StatusCode::BAD_REQUEST, format!("the body is not a callback of schema {CALLBACK_SCHEMA}"))
            }
            Refusal::Elsewhere { .. } => fixed(
                StatusCode::UNAUTHORIZED,
                "the callback is addressed to another URL than this service's",
            ),
            Refusal::NotApplied(ApplyError::Undeclared(undeclared)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, undeclared.to_string())
            }
            Refusal::Undrilled(untaken) => untaken.answer(),
            Refusal::NotApplied(ApplyError::StandsBack(_)) => {
                fixed(StatusCode::SERVICE_UNAVAILABLE, "another instance has newer settings: send it again")
            }
            Refusal::NotApplied(
                ApplyError::Store(_) | ApplyError::Unreadable { .. } | ApplyError::Contended,
            ) => fixed(StatusCode::SERVICE_UNAVAILABLE, "the flags cannot be written now: send it again"),
        }
    }

    /// How it is named in metrics.
    fn result(&self) -> &'static str {
        match self {
            Refusal::TooLarge => "too_large",
            Refusal::Slow => "slow",
            Refusal::Cut(_) => "cut",
            Refusal::Unauthentic(_) => "unauthentic",
            Refusal::Malformed(_) | Refusal::Schema(_) => "malformed",
            Refusal::Elsewhere { .. } => "elsewhere",
            Refusal::NotApplied(ApplyError::Undeclared(_)) => "undeclared",
            Refusal::NotApplied(ApplyError::StandsBack(_)) => "stands_back",
            Refusal::NotApplied(ApplyError::Store(_)) => "store",
            Refusal::NotApplied(ApplyError::Unreadable { .. }) => "unreadable",
            Refusal::NotApplied(ApplyError::Contended) => "contended",
            Refusal::Undrilled(untaken) => untaken.result(),
        }
    }
}

/// The handler.
pub(crate) async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let started = Instant::now();
    let message = match authentic(&shared, request, Timestamp::now().as_second()).await {
        Ok(message) => message,
        Err(refusal) => return turn_away(&refusal, None, started),
    };
    let believed = Instant::now();
    let applied = match &message {
        Message::Drill(drill) => {
            return match drill::carry_out(&shared, drill).await {
                Ok(drilled) => accept_drill(&drilled, drill, started),
                Err(untaken) => turn_away(&Refusal::Undrilled(untaken), Some(&message), started),
            };
        }
        Message::Callback(callback) => apply::apply(&shared, callback).await,
        Message::Inventory(inventory) => apply::apply_inventory(&shared, inventory).await,
    };
    match applied {
        Ok(applied) => {
            metrics::applied(message.form(), COMMITTED, believed.elapsed());
            if let Some(kind) = message.kind() {
                shared.pulse.heard(kind, shared.clock.now_ms());
            }
            accept(&applied, &message, started)
        }
        Err(error) => {
            let refusal = Refusal::NotApplied(error);
            metrics::applied(message.form(), refusal.result(), believed.elapsed());
            turn_away(&refusal, Some(&message), started)
        }
    }
}

/// The message in a request that may be believed at `now_secs`, Unix.
async fn authentic(shared: &Shared, mut request: Request, now_secs: i64) -> Result<Message, Refusal> {
    let headers = std::mem::take(request.headers_mut());
    let body = body(request).await?;
    let text = |name| header_text(&headers, name);
    let (id, timestamp) = (text(webhook::ID_HEADER), text(webhook::TIMESTAMP_HEADER));
    let signatures = text(webhook::SIGNATURE_HEADER);
    webhook::verify(&shared.parts.secrets, id, timestamp, signatures, &body, now_secs)
        .map_err(Refusal::Unauthentic)?;
    let message = Message::parse(&body)?;
    match &shared.parts.public_url {
        Some(public_url) if Url::parse(message.to()).as_ref() != Ok(public_url) => {
            Err(Refusal::Elsewhere { to: message.to().to_owned(), public_url: public_url.clone() })
        }
        _ => Ok(message),
    }
}

/// The whole body. What announces itself as too large is not read at all.
async fn body(request: Request) -> Result<Bytes, Refusal> {
    if request.body().size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Err(Refusal::TooLarge);
    }
    let reading = tokio::time::timeout(BODY_READ_TIMEOUT, Bytes::from_request(request, &()));
    reading.await.map_err(|_| Refusal::Slow)?.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
        _ => Refusal::Cut(rejection),
    })
}

/// A header's text; empty if it is missing, there twice, or not text, which no signature fits.
fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        // Of two values a proxy before this service may have judged the other one.
        _ => "",
    }
}

fn accept(applied: &Applied, message: &Message, started: Instant) -> Response {
    let Applied { applied, changed, unkeyed, refused } = applied;
    metrics::callback(message.form(), COMMITTED);
    metrics::unkeyed(unkeyed.len());
    refused.iter().for_each(|id| metrics::key_refused(id.name()));
    if let Some(first) = refused.first() {
        let (monitor_id, keys, first) = (message.monitor_id(), refused.len(), first.as_str());
        tracing::error!(
            monitor_id,
            keys,
            first,
            "new keys beyond max_keys are refused: nothing protects them"
        );
    }
    let groups = match message {
        Message::Callback(callback) => callback.report.as_ref().map_or(0, |report| report.groups.len()),
        Message::Inventory(_) | Message::Drill(_) => 0,
    };
    tracing::info!(
        result = COMMITTED,
        status = StatusCode::OK.as_u16(),
        ms = ms_since(started),
        monitor_id = message.monitor_id(),
        groups,
        applied,
        changed,
        unkeyed = unkeyed.len(),
        // One reason shows what is wrong; thousands of groups would all have the same.
        unkeyed_first = unkeyed.first(),
        "{}",
        message.form()
    );
    Json(serde_json::json!({ "applied": applied, "changed": changed })).into_response()
}

fn accept_drill(drilled: &Drilled, drill: &Drill, started: Instant) -> Response {
    metrics::callback("drill", COMMITTED);
    tracing::info!(
        result = COMMITTED,
        status = StatusCode::OK.as_u16(),
        ms = ms_since(started),
        breaker = drill.breaker,
        opens = drill.opens,
        by = drill.by,
        changed = drilled.changed,
        "drill"
    );
    Json(serde_json::json!({ "changed": drilled.changed })).into_response()
}

fn turn_away(refusal: &Refusal, message: Option<&Message>, started: Instant) -> Response {
    metrics::callback(message.map_or("unknown", Message::form), refusal.result());
    let monitor_id = message.and_then(Message::monitor_id);
    let (status, text) = refusal.answer();
    let (ms, error) = (ms_since(started), Chain(refusal));
    let (result, code) = ("refused", status.as_u16());
    if status.is_server_error() {
        tracing::error!(result, status = code, ms, monitor_id, %error, "callback");
    } else {
        tracing::warn!(result, status = code, ms, monitor_id, %error, "callback");
    }
    answer::error(status, &text)
}

fn ms_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
