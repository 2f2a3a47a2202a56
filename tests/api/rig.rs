//! The service's binary with its operators' API, those who use it, and callbacks as the function would send them.

use cutout_core::webhook::{self, Secret};
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::process::Program;
use cutout_tests::redis::RedisServer;
use jiff::{Timestamp, ToSpan};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const MONITOR: u64 = 5_200_001;
/// How long any level may take to be reached.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const CALLBACK_PATH: &str = "/dd_circuit_breaker/callback";
pub(crate) const MONITOR_URL: &str = "https://app.datadoghq.example/monitors/5200001";
pub(crate) const EVENT_URL: &str = "https://app.datadoghq.example/event/event?id=6618108885455469409";

/// By bank; `capped` opens no more than a third of its keys; `fleet` has no key.
const BREAKERS: &str = r#"
[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "0s"

[[breaker]]
name = "capped"
key = ["bank_code"]
monitors = { ids = [5200002] }
min_open = "0s"
max_open = "34%"

[[breaker]]
name = "fleet"
monitors = { ids = [5200003] }
mode = "watch"
"#;

/// Who uses the API in these tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// May decide.
    Ann,
    /// May decide.
    Bob,
    /// May look.
    Vic,
    /// Might have decided until yesterday.
    Old,
    /// Says nothing of himself.
    Nobody,
}

impl Who {
    fn token(self) -> Option<&'static str> {
        match self {
            Who::Ann => Some(canary::OPERATOR_TOKEN),
            Who::Bob => Some(canary::OTHER_OPERATOR_TOKEN),
            Who::Vic => Some(canary::VIEWER_TOKEN),
            Who::Old => Some(canary::EXPIRED_TOKEN),
            Who::Nobody => None,
        }
    }
}

/// Where the flags are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Memory,
    Redis,
}

/// One instance of the service.
pub(crate) struct Instance {
    program: Program,
    callbacks: SocketAddr,
    operators: SocketAddr,
}

/// A running service, and its Redis if it has one.
pub(crate) struct Rig {
    first: Instance,
    pub(crate) redis: Option<RedisServer>,
    folder: TempDir,
}

impl Rig {
    pub(crate) async fn start(kept: Kept) -> Rig {
        Rig::start_with(kept, &[]).await
    }

    /// With more settings.
    pub(crate) async fn start_with(kept: Kept, more: &[(&str, &str)]) -> Rig {
        let redis = (kept == Kept::Redis).then(RedisServer::start);
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("breakers.toml"), BREAKERS).expect("the folder can be written");
        let first = instance(redis.as_ref(), &folder, more).await;
        Rig { first, redis, folder }
    }

    /// One more instance on the same Redis.
    pub(crate) async fn another(&self) -> Instance {
        assert!(self.redis.is_some(), "memory serves one process");
        instance(self.redis.as_ref(), &self.folder, &[]).await
    }
}

impl std::ops::Deref for Rig {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.first
    }
}

impl std::ops::DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Instance {
        &mut self.first
    }
}

async fn instance(redis: Option<&RedisServer>, folder: &TempDir, more: &[(&str, &str)]) -> Instance {
    let breakers = folder.path().join("breakers.toml");
    let (redis_url, operators) = (redis.map_or("memory:".to_owned(), RedisServer::url), canary::operators());
    let mut variables = vec![
        ("CUTOUT_LISTEN", "127.0.0.1:0"),
        ("CUTOUT_OPERATORS_LISTEN", "127.0.0.1:0"),
        ("CUTOUT_OPERATORS", &operators),
        ("CUTOUT_REDIS_URL", &redis_url),
        ("CUTOUT_BREAKERS", breakers.to_str().expect("a plain path")),
        ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
        ("CUTOUT_DRAIN", "0s"),
    ];
    variables.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    variables.extend(more);
    let program = Program::start(Program::command(&binary("cutout-service"), &variables));
    let address = |field: &'static str| {
        program.wait_for("where it listens", 0, |line| line[field].as_str()?.parse().ok())
    };
    let (callbacks, operators) = (address("listen"), address("operators_listen"));
    program
        .wait_for("that the breakers are declared", 0, |line| (line["message"] == "declared").then_some(()));
    let instance = Instance { program, callbacks, operators };
    let starts = async || instance.get(Who::Ann, "/v1/status").await.status == 200;
    until("the instance follows the flags", starts).await;
    instance
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    /// Null if it is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Its status, and which problem.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Instance {
    pub(crate) fn callbacks_at(&self) -> SocketAddr {
        self.callbacks
    }

    /// A request to the API.
    pub(crate) fn request(&self, who: Who, method: Method, path: &str) -> RequestBuilder {
        // Without TLS no provider is used, but the client wants to have one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.operators));
        match who.token() {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Answer {
        answer(self.request(who, Method::GET, path)).await
    }

    pub(crate) async fn put(&self, who: Who, path: &str, body: &Value) -> Answer {
        answer(with_body(self.request(who, Method::PUT, path), body)).await
    }

    pub(crate) async fn delete(&self, who: Who, path: &str) -> Answer {
        answer(self.request(who, Method::DELETE, path)).await
    }

    /// Sends a callback as the function does.
    pub(crate) async fn callback(&self, callback: &Value) {
        let body = callback.to_string().into_bytes();
        let secret: Secret = canary::SIGNING_SECRET.parse().expect("the test's secret is one");
        let (id, now_secs) = (webhook::message_id(URL, &body), Timestamp::now().as_second());
        let signature = webhook::sign(&[secret], &id, now_secs, &body);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new()
            .post(format!("http://{}{CALLBACK_PATH}", self.callbacks))
            .header(webhook::ID_HEADER, id)
            .header(webhook::TIMESTAMP_HEADER, now_secs.to_string())
            .header(webhook::SIGNATURE_HEADER, signature);
        let answered = answer(request.body(body)).await;
        assert_eq!(answered.status, 200, "{answered:?}");
    }

    /// Lets banks of a monitor say this, and waits until the list shows that it did.
    pub(crate) async fn say(&self, monitor_id: u64, banks: &[(&str, &str)]) {
        self.callback(&callback(monitor_id, banks)).await;
    }

    /// Waits until the list shows a breaker in this state.
    pub(crate) async fn until_state(&self, breaker: &str, state: &str) -> Value {
        let mut shown = Value::Null;
        until(&format!("{breaker} {state}"), async || {
            let list = self.get(Who::Vic, "/v1/breakers?limit=1000").await;
            let items = list.body["items"].as_array().cloned().unwrap_or_default();
            shown = items.into_iter().find(|item| item["breaker"] == breaker).unwrap_or_default();
            shown["state"] == state
        })
        .await;
        shown
    }

    /// Everything that it printed.
    pub(crate) fn log(&self) -> String {
        self.program.lines().join("\n")
    }

    /// The lines of its log with this message so far.
    pub(crate) fn lines(&self, message: &str) -> Vec<Value> {
        let lines =
            self.program.lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        lines.filter(|line| line["message"] == message).collect()
    }

    pub(crate) fn terminate(&self) {
        let pid = self.program.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there").success());
    }

    pub(crate) fn ended(&mut self) {
        assert!(self.program.wait().success());
    }
}

pub(crate) fn with_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the service answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer has a body");
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, body }
}

/// A callback about banks of one monitor, whose groups took their status five seconds ago.
pub(crate) fn callback(monitor_id: u64, banks: &[(&str, &str)]) -> Value {
    callback_at(monitor_id, banks, Timestamp::now() - 5.seconds())
}

pub(crate) fn callback_at(monitor_id: u64, banks: &[(&str, &str)], at: Timestamp) -> Value {
    let groups = banks.iter().map(|(bank, status)| {
        json!({"name": format!("bank_code:{bank}"), "tags": {"bank_code": [bank]}, "status": status,
               "changed_at": at, "muted": false})
    });
    json!({
        "schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": URL,
        "event_id": "6618108885455469409", "monitor_id": monitor_id, "notified": null,
        "event": {"title": "t", "text": "x", "date_happened": at, "tags": [], "url": EVENT_URL},
        "report": {
            "as_of": at,
            "monitor": {"name": "Bank API", "type": "query alert", "tags": [], "url": MONITOR_URL},
            "groups": groups.collect::<Vec<_>>(),
        },
    })
}

/// Waits until `reached` says so.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !reached().await {
        assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each part as a test on memory and as one on Redis.
macro_rules! on_each_store {
    ($($part:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $part() { super::$part($crate::rig::Kept::Memory).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $part() { super::$part($crate::rig::Kept::Redis).await; })*
        }
    };
}
pub(crate) use on_each_store;
