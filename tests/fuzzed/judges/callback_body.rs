//! A callback's body, signed, through the service's own door: never an error of the service, twice is once, and the same told in
//! other bytes does the same.
//!
//! An input is a body. The store and its clock are made for each.

use super::NOW_SECS;
use axum::body::{Body, to_bytes};
use cutout_core::drill::DRILL_SCHEMA;
use cutout_core::report::CALLBACK_SCHEMA;
use cutout_core::webhook::{self, Secret};
use cutout_core::{BreakerId, Callback, Drill, Flag};
use cutout_flags::{LocalClock, MemoryStore, Published, Store};
use cutout_service::callback::CALLBACK_PATH;
use cutout_service::{Parts, Service, breakers};
use http::{Request, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tower::ServiceExt;

const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Breakers of every kind, for few monitors.
const BREAKERS: &str = r#"
[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001], tags = ["cutout:bank"] }
where = { env = ["prod"] }
max_keys = 3
max_open = "50%"
[[breaker]]
name = "fleet"
monitors = { ids = [1, 5200001] }
open_on = "warn"
no_data = "open"
refuse = ["charge"]
drill = true
[[breaker]]
name = "watched"
key = ["a", "b"]
monitors = { tags = ["cutout"] }
mode = "watch"
muted = "hold"
on_stale = "close"
"#;
/// The largest answer that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

pub(super) fn judge(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(judge_body(input));
}

async fn judge_body(body: &[u8]) {
    let place = Place::new();
    assert_eq!(place.post(body, None).await, StatusCode::UNAUTHORIZED, "without a signature");
    assert!(place.flags().await.is_empty());
    let secret: Secret = SECRET.parse().expect("a secret");
    let status = place.post(body, Some(&secret)).await;
    assert!(!status.is_server_error(), "{status}");
    let flags = place.flags().await;
    if status != StatusCode::OK {
        // What is turned away leaves nothing behind.
        assert!(status.is_client_error() && flags.is_empty(), "{status}: {flags:?}");
        return;
    }
    // What a reader ignores it does not check either, so a body that is taken need not be JSON for every reader.
    let is_drill = serde_json::from_slice::<Drill>(body).is_ok_and(|drill| drill.schema == DRILL_SCHEMA);
    if !is_drill {
        assert_eq!(place.post(body, Some(&secret)).await, StatusCode::OK, "a second time");
        assert_eq!(place.flags().await, flags, "twice is once");
    }
    let callback = serde_json::from_slice::<Callback>(body).ok();
    if let Some(callback) = callback.filter(|callback| callback.schema == CALLBACK_SCHEMA) {
        let written = serde_json::to_vec(&callback).expect("a callback is JSON");
        assert_eq!(serde_json::from_slice::<Callback>(&written).expect("it is read again"), callback);
        let other = Place::new();
        assert_eq!(other.post(&written, Some(&secret)).await, StatusCode::OK, "written again");
        assert_eq!(other.flags().await, flags, "the same in other bytes");
    }
}

/// A service and its store, at a moment that does not move.
struct Place {
    service: Service,
    store: Arc<MemoryStore>,
}

impl Place {
    fn new() -> Place {
        let now_ms = NOW_SECS * 1_000;
        let store = Arc::new(MemoryStore::with_clock(Arc::new(move || now_ms)));
        let parts = Parts {
            store: store.clone(),
            breakers: breakers::parse("b.toml", BREAKERS).expect("a file without mistakes"),
            secrets: vec![SECRET.parse().expect("a secret")],
            public_url: None,
        };
        Place { service: Service::with_clock(parts, LocalClock::new(move || now_ms)), store }
    }

    /// What a body is answered, signed or not.
    async fn post(&self, body: &[u8], secret: Option<&Secret>) -> StatusCode {
        // The age of signatures is measured by the system's clock.
        let now_secs = Timestamp::now().as_second();
        let id = webhook::message_id(URL, body);
        let signature = secret.map(|secret| webhook::sign(std::slice::from_ref(secret), &id, now_secs, body));
        let request = Request::post(CALLBACK_PATH)
            .header(webhook::TIMESTAMP_HEADER, now_secs.to_string())
            .header(webhook::SIGNATURE_HEADER, signature.unwrap_or_else(|| "v1,".to_owned()))
            .header(webhook::ID_HEADER, id)
            .body(Body::from(body.to_vec()))
            .expect("a request");
        let response = self.service.router().oneshot(request).await.expect("an answer");
        let status = response.status();
        let answer = to_bytes(response.into_body(), ANSWER_MAX_BYTES).await.expect("its body");
        let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        assert!(status != StatusCode::OK || answer["changed"].is_number() || answer["changed"].is_boolean());
        status
    }

    /// The flags with their numbers. Each is what every reader of the store would read of it.
    async fn flags(&self) -> BTreeMap<BreakerId, (u64, Flag)> {
        let snapshot = self.store.snapshot().await.expect("a snapshot");
        let read = snapshot.flags.into_iter().map(|(id, published)| {
            assert!(["bank-charge", "fleet", "watched"].contains(&id.name()), "{id} is not declared");
            let json = serde_json::to_vec(&published).expect("a flag is JSON");
            assert_eq!(Published::read(&json).expect("it is read again"), published);
            (id, (published.rev, published.flag))
        });
        read.collect()
    }
}
