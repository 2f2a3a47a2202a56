//! The door: `POST /notify` for who knows the secret, `/healthz` and `/readyz` for anybody who reaches it.
//!
//! The secret stands in a header, never in the path, which proxies write into their logs. It is looked at before the body
//! is read, in constant time. Datadog waits 15 s for an answer and tries again after a 5xx alone: so what may succeed
//! later is 502 or 503, what cannot is 422, and what takes longer is 202 and goes on.

use super::{HANDLE_TIMEOUT, Reconciled, webhook};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cutout_lambda::Function;
use cutout_lambda::function::InvocationError;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// The header that holds the secret.
pub(crate) const SECRET_HEADER: &str = "x-cutout-secret";
/// Where messages are posted.
pub(crate) const NOTIFY_PATH: &str = "/notify";
/// The largest payload. Datadog's messages are cut at some kilobytes.
const BODY_MAX_BYTES: usize = 256 * 1024;
/// How long a payload may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many messages are worked on at once.
const HANDLED_AT_ONCE_MAX: u32 = 32;
/// When an answer is given although the work goes on. Datadog gives up after 15 s.
const ANSWER_AFTER: Duration = Duration::from_secs(12);
/// When to come again, seconds.
const RETRY_AFTER_SECS: &str = "5";

/// What all requests share.
#[derive(Clone)]
pub(super) struct Door {
    function: Arc<Function>,
    /// The digests of the secrets: of one length, whatever the secrets' own.
    secrets: Arc<[[u8; 32]]>,
    places: Arc<Semaphore>,
    reconciled: Arc<Reconciled>,
    stopping: watch::Receiver<bool>,
}

impl Door {
    pub(super) fn new(
        function: Arc<Function>,
        secrets: &[String],
        reconciled: Arc<Reconciled>,
        stopping: watch::Receiver<bool>,
    ) -> Door {
        let secrets = secrets.iter().map(|secret| Sha256::digest(secret).into()).collect();
        let places = Arc::new(Semaphore::new(HANDLED_AT_ONCE_MAX as usize));
        Door { function, secrets, places, reconciled, stopping }
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route(NOTIFY_PATH, post(notify))
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(ready))
            .with_state(self.clone())
    }

    /// Waits until no message is worked on, or for so long.
    pub(super) async fn drained(&self, limit: Duration) {
        if timeout(limit, self.places.acquire_many(HANDLED_AT_ONCE_MAX)).await.is_err() {
            let left = HANDLED_AT_ONCE_MAX as usize - self.places.available_permits();
            tracing::warn!(
                left,
                "messages cut at the end of the drain limit: the next scheduled run heals what they told"
            );
        }
    }

    /// Whether a request bears one of the secrets. All are compared, whichever fits.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(SECRET_HEADER).map_or(&[][..], |value| value.as_bytes());
        let given: [u8; 32] = Sha256::digest(given).into();
        let fits = |fits: Choice, secret: &[u8; 32]| fits | secret.ct_eq(&given);
        self.secrets.iter().fold(Choice::from(0), fits).into()
    }

    /// Works on an event as a task of its own, so that a sender who goes away stops nothing.
    async fn handle(&self, event: Value, place: OwnedSemaphorePermit) -> Option<Result<(), InvocationError>> {
        let function = Arc::clone(&self.function);
        let work = tokio::spawn(async move {
            let ended = function.handle(event, Instant::now() + HANDLE_TIMEOUT).await;
            drop(place);
            ended
        });
        match timeout(ANSWER_AFTER, work).await {
            Ok(Ok(ended)) => Some(ended),
            // A panic has been told by the runtime; the scheduled run heals what the message told.
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

async fn notify(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !door.knows(&parts.headers) {
        tracing::warn!(status = 401, "a message without the secret");
        return answer(
            StatusCode::UNAUTHORIZED,
            &format!("the header {SECRET_HEADER} does not hold the secret"),
        );
    }
    let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
        tracing::warn!(status = 503, "too many messages at once");
        return answer(StatusCode::SERVICE_UNAVAILABLE, "too many messages at once");
    };
    let payload = match timeout(BODY_TIMEOUT, to_bytes(Body::new(body), BODY_MAX_BYTES)).await {
        Ok(Ok(payload)) => payload,
        Ok(Err(_)) => return answer(StatusCode::PAYLOAD_TOO_LARGE, "the payload is cut, or too large"),
        Err(_) => return answer(StatusCode::REQUEST_TIMEOUT, "the payload took too long"),
    };
    let event = match webhook::event(&payload, Timestamp::now()) {
        Ok(event) => event,
        Err(error) => {
            // The error names a place in the payload, and nothing of it.
            tracing::warn!(status = 400, error = %error, "a payload that is no JSON object");
            return answer(
                StatusCode::BAD_REQUEST,
                "the payload is no JSON object: see docs/install.md for one that is",
            );
        }
    };
    match door.handle(event, place).await {
        Some(Ok(())) => answer(StatusCode::OK, "done"),
        Some(Err(error)) if error.is_retryable() => {
            answer(StatusCode::BAD_GATEWAY, "not delivered: the log tells why; send it again")
        }
        Some(Err(_)) => answer(
            StatusCode::UNPROCESSABLE_ENTITY,
            "not delivered, and sending it again would not help: the log tells why",
        ),
        None => answer(StatusCode::ACCEPTED, "taken, and not done yet"),
    }
}

/// Ready as long as it takes messages. How the scheduled runs go is told, and must be watched: a balancer that turned to
/// another instance would not mend it.
async fn ready(State(door): State<Door>) -> Response {
    let last = door.reconciled.last();
    let reconcile = last.map(|(ago, is_complete)| {
        json!({"ended_ms_ago": u64::try_from(ago.as_millis()).unwrap_or(u64::MAX), "complete": is_complete})
    });
    let is_stopping = *door.stopping.borrow();
    let status = if is_stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(json!({"ready": !is_stopping, "reconcile": reconcile}))).into_response()
}

fn answer(status: StatusCode, result: &str) -> Response {
    let mut response = (status, Json(json!({"result": result}))).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER_SECS));
    }
    response
}
