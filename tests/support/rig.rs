//! The service's binary with its operators' API, those who use it, and callbacks as the function would send them.

use crate::binaries::binary;
use crate::canary;
use crate::process::Program;
use crate::redis::RedisServer;
use cutout_core::webhook::{self, Secret};
use jiff::{Timestamp, ToSpan};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The monitor of `bank-charge`.
pub const MONITOR: u64 = 5_200_001;
/// How long any level may take to be reached.
pub const DEADLINE: Duration = Duration::from_secs(20);
const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const CALLBACK_PATH: &str = "/dd_circuit_breaker/callback";
/// Where a report says that the monitor is shown.
pub const MONITOR_URL: &str = "https://app.datadoghq.example/monitors/5200001";
/// Where a callback says that its event is shown.
pub const EVENT_URL: &str = "https://app.datadoghq.example/event/event?id=6618108885455469409";

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
pub enum Who {
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
    /// What he shows.
    pub fn token(self) -> Option<&'static str> {
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
pub enum Kept {
    /// In the service's memory.
    Memory,
    /// In a Redis of the test's own.
    Redis,
}

/// One instance of the service.
pub struct Instance {
    program: Program,
    callbacks: SocketAddr,
    operators: SocketAddr,
}

/// A running service, and its Redis if it has one.
pub struct Rig {
    first: Instance,
    /// Its Redis; none where the flags are in memory.
    pub redis: Option<RedisServer>,
    folder: TempDir,
    more: Vec<(String, String)>,
}

impl Rig {
    /// Starts an instance, and a Redis if wanted.
    pub async fn start(kept: Kept) -> Rig {
        Rig::start_with(kept, &[]).await
    }

    /// With more settings.
    pub async fn start_with(kept: Kept, more: &[(&str, &str)]) -> Rig {
        let redis = (kept == Kept::Redis).then(RedisServer::start);
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("breakers.toml"), BREAKERS).expect("the folder can be written");
        let first = instance(redis.as_ref(), &folder, more).await;
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Rig { first, redis, folder, more }
    }

    /// Ends the first instance at once, as a crash does.
    pub fn kill(&mut self) {
        self.first.program.kill();
    }

    /// Starts the first instance again, with the same settings and at the same addresses.
    pub async fn restart(&mut self) {
        // The places must be free before they are taken again.
        self.kill();
        let (callbacks, operators) = (self.first.callbacks.to_string(), self.first.operators.to_string());
        let more = self.more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let at = [("CUTOUT_LISTEN", callbacks.as_str()), ("CUTOUT_OPERATORS_LISTEN", operators.as_str())];
        self.first = instance(self.redis.as_ref(), &self.folder, &more.chain(at).collect::<Vec<_>>()).await;
    }

    /// One more instance on the same Redis.
    pub async fn another(&self) -> Instance {
        self.another_with(&[]).await
    }

    /// The same with more settings.
    pub async fn another_with(&self, more: &[(&str, &str)]) -> Instance {
        assert!(self.redis.is_some(), "memory serves one process");
        instance(self.redis.as_ref(), &self.folder, more).await
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
    let starts = async || instance.get(Who::Vic, "/v1/status").await.status == 200;
    until("the instance follows the flags", starts).await;
    instance
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body as it came.
    pub text: String,
    /// Null if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// A header's value; empty if it has none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Its status, and which problem.
    pub fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Instance {
    /// Where callbacks go.
    pub fn callbacks_at(&self) -> SocketAddr {
        self.callbacks
    }

    /// Where the API and the page are.
    pub fn operators_at(&self) -> SocketAddr {
        self.operators
    }

    /// A request to the API.
    pub fn request(&self, who: Who, method: Method, path: &str) -> RequestBuilder {
        // Without TLS no provider is used, but the client wants to have one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.operators));
        match who.token() {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    /// Asks for a path of the API.
    pub async fn get(&self, who: Who, path: &str) -> Answer {
        answer(self.request(who, Method::GET, path)).await
    }

    /// Puts a body.
    pub async fn put(&self, who: Who, path: &str, body: &Value) -> Answer {
        answer(with_body(self.request(who, Method::PUT, path), body)).await
    }

    /// Deletes.
    pub async fn delete(&self, who: Who, path: &str) -> Answer {
        answer(self.request(who, Method::DELETE, path)).await
    }

    /// Sends a callback as the function does.
    pub async fn callback(&self, callback: &Value) {
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
    pub async fn say(&self, monitor_id: u64, banks: &[(&str, &str)]) {
        self.callback(&callback(monitor_id, banks)).await;
    }

    /// Waits until the list shows a breaker in this state.
    pub async fn until_state(&self, breaker: &str, state: &str) -> Value {
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

    /// Waits until something is held back, and gives the first of it.
    pub async fn until_held(&self) -> String {
        let mut first = String::new();
        until("something is held back", async || {
            let held = self.get(Who::Vic, "/v1/held").await.body;
            first = held["items"][0]["breaker"].as_str().unwrap_or_default().to_owned();
            !first.is_empty()
        })
        .await;
        first
    }

    /// Everything that it printed.
    pub fn log(&self) -> String {
        self.program.lines().join("\n")
    }

    /// The lines of its log with this message so far.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        let lines =
            self.program.lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = self.program.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there").success());
    }

    /// Waits until it has ended, which must be without complaint.
    pub fn ended(&mut self) {
        assert!(self.program.wait().success());
    }
}

/// The request with a JSON body.
pub fn with_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

/// Sends the request and reads the whole answer.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the service answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer has a body");
    let body = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, text, body }
}

/// A callback about banks of one monitor, whose groups took their status five seconds ago.
pub fn callback(monitor_id: u64, banks: &[(&str, &str)]) -> Value {
    callback_at(monitor_id, banks, Timestamp::now() - 5.seconds())
}

/// The same, of groups that took their status then.
pub fn callback_at(monitor_id: u64, banks: &[(&str, &str)], at: Timestamp) -> Value {
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
pub async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !reached().await {
        assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each part as a test on memory and as one on Redis.
#[macro_export]
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
pub use crate::on_each_store;
