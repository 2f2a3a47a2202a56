//! The whole path, started for one test: every part a process of its own, on free ports of loopback.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use cutout_cli::fake_datadog::{Change, FakeDatadog, sns_event};
use cutout_core::Callback;
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::process::{PATIENCE, Program};
use cutout_tests::redis::RedisServer;
use cutout_tests::runtime_api::RuntimeApi;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Watched by number, keyed by bank.
pub(crate) const BANK_MONITOR: u64 = 5_200_001;
/// Watched by its tag, opens on a warning already.
pub(crate) const CARD_MONITOR: u64 = 5_200_002;
/// How long Lambda gives an invocation.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(6);
const BREAKERS: &str = r#"
[[breaker]]
name     = "bank-charge"
key      = ["bank_code"]
monitors = { ids = [5200001] }
where    = { env = ["prod"] }
min_open = "0s"
ramp     = "1s"

[[breaker]]
name     = "card"
key      = ["network"]
monitors = { tags = ["cutout:card"] }
open_on  = "warn"
min_open = "0s"
ramp     = "1s"
"#;

/// The running parts.
pub(crate) struct Rig {
    pub(crate) datadog: FakeDatadog,
    pub(crate) redis: RedisServer,
    pub(crate) service: Program,
    pub(crate) function: Program,
    pub(crate) caller: Program,
    pub(crate) way: Way,
    runtime: RuntimeApi,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// Starts all parts and waits until the caller follows.
    pub(crate) async fn start() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start();
        let service = start_service(folder.path(), &redis.url());
        let address = service.wait_for("the service listens", 0, |line| {
            line["listen"].as_str().and_then(|listen| listen.parse().ok())
        });
        let way = Way::start(address).await;
        let datadog = FakeDatadog::start().await.unwrap();
        datadog.create_monitor(BANK_MONITOR, "Bank API error rate", &["cutout", "team:pay"]);
        datadog.create_monitor(CARD_MONITOR, "Card latency", &["cutout", "cutout:card"]);
        for (monitor, group) in
            [(BANK_MONITOR, bank("0001")), (BANK_MONITOR, bank("0002")), (CARD_MONITOR, card("visa"))]
        {
            datadog.set(monitor, &group, "OK");
        }
        let runtime = RuntimeApi::start().await;
        let function = start_function(&runtime, &datadog.url());
        service
            .wait_for("the breakers are declared", 0, |line| (line["message"] == "declared").then_some(()));
        let caller = start_caller(&redis.url());
        caller.wait_for("the caller follows", 0, |line| (line["connected"] == true).then_some(()));
        Rig { datadog, redis, service, function, caller, way, runtime, _folder: folder }
    }

    /// The line that the monitors' messages bear.
    pub(crate) fn directive(&self) -> String {
        format!(
            "circuit-breaker-callback: http://{}/dd_circuit_breaker/callback @sns-dd-circuit-breaker",
            self.way.address
        )
    }

    /// Sets a group's status, and sends the message of it through the function.
    pub(crate) async fn happens(&self, monitor: u64, group: &str, status: &str) -> Result<Value, Value> {
        let change = self.datadog.set(monitor, group, status);
        self.notify(&[change]).await
    }

    /// Sends messages through the function, all in one event.
    pub(crate) async fn notify(&self, changes: &[Change]) -> Result<Value, Value> {
        self.invoke(sns_event(changes, &self.directive())).await
    }

    /// Invokes the function once, as Lambda does.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, Value> {
        self.runtime.invoke(event, INVOCATION_TIMEOUT).await
    }

    /// Waits until the service answers that it is ready.
    pub(crate) async fn service_is_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.way.service_is_ready().await {
            assert!(Instant::now() < deadline, "the service does not get ready");
        }
    }

    /// Waits until the caller's breaker for a bank has this state.
    pub(crate) fn caller_sees(&self, key: &str, state: &str) {
        let breaker = format!("bank-charge/{key}");
        let count = self.caller.count();
        if self.last_seen(&breaker) != state {
            self.caller.wait_for(&format!("{breaker} is {state}"), count.saturating_sub(1), |line| {
                (line["breaker"] == *breaker && line["state"] == *state).then_some(())
            });
        }
    }

    /// The state that the caller told last of a breaker.
    pub(crate) fn last_seen(&self, breaker: &str) -> String {
        let lines = self.caller.lines();
        let lines = lines.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut of_breaker = lines.filter(|line| line["breaker"] == *breaker);
        of_breaker.next().and_then(|line| Some(line["state"].as_str()?.to_owned())).unwrap_or_default()
    }

    /// What a poller in any language reads: the flag's JSON, or null.
    pub(crate) fn flag(&self, breaker: &str) -> Value {
        let mut connection = self.connection();
        let flag: Option<String> =
            redis::cmd("HGET").arg("cutout:{default}:flags").arg(breaker).query(&mut connection).unwrap();
        flag.map_or(Value::Null, |flag| serde_json::from_str(&flag).unwrap())
    }

    /// How many changes were ever published.
    pub(crate) fn changes(&self) -> u64 {
        redis::cmd("XLEN").arg("cutout:{default}:changes").query(&mut self.connection()).unwrap()
    }

    fn connection(&self) -> redis::Connection {
        redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap()
    }
}

/// A bank's group.
pub(crate) fn bank(code: &str) -> String {
    format!("bank_code:{code},env:prod")
}

/// A card network's group.
pub(crate) fn card(network: &str) -> String {
    format!("network:{network}")
}

fn start_service(folder: &Path, redis: &str) -> Program {
    let file = folder.join("breakers.toml");
    std::fs::write(&file, BREAKERS).unwrap();
    let environment = [
        ("CUTOUT_LISTEN", "127.0.0.1:0"),
        ("CUTOUT_REDIS_URL", redis),
        ("CUTOUT_BREAKERS", file.to_str().unwrap()),
        ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
    ];
    Program::start(Program::command(&binary("cutout-service"), &environment))
}

fn start_function(runtime: &RuntimeApi, datadog: &str) -> Program {
    let mut command = runtime.command(&binary("bootstrap"));
    command.envs([
        ("DD_API_KEY", canary::DD_API_KEY),
        ("DD_APP_KEY", canary::DD_APP_KEY),
        ("CUTOUT_DATADOG_URL", datadog),
        ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
        ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
        ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
    ]);
    Program::start(command.into_std())
}

fn start_caller(redis: &str) -> Program {
    let mut command = Program::command(Path::new(env!("CARGO_BIN_EXE_caller")), &[]);
    command.args([redis, "bank-charge", "0001", "0002"]);
    Program::start(command)
}

/// What stands between function and service: it passes callbacks on, keeps them, and fails on request.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    service: SocketAddr,
    shared: Arc<WayShared>,
    server: JoinHandle<()>,
}

struct WayShared {
    url: String,
    http: reqwest::Client,
    seen: Mutex<Vec<Callback>>,
    failures_left: Mutex<u32>,
}

impl Way {
    async fn start(service: SocketAddr) -> Way {
        // The provider of this process; another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{service}/dd_circuit_breaker/callback");
        let shared = Arc::new(WayShared { url, http, seen: Mutex::default(), failures_left: Mutex::new(0) });
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Way { address, service, shared, server }
    }

    /// Answers the next callbacks with 500 instead of passing them on.
    pub(crate) fn fail_next(&self, times: u32) {
        *self.shared.failures_left.lock().unwrap() = times;
    }

    async fn service_is_ready(&self) -> bool {
        let url = format!("http://{}/readyz", self.service);
        self.shared.http.get(url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// The callbacks that were passed on.
    pub(crate) fn seen(&self) -> Vec<Callback> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(way): State<Arc<WayShared>>, mut headers: HeaderMap, body: Bytes) -> StatusCode {
    {
        let mut failures_left = way.failures_left.lock().unwrap();
        if *failures_left > 0 {
            *failures_left -= 1;
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    // Inventories pass, too, and are not kept.
    way.seen.lock().unwrap().extend(serde_json::from_slice::<Callback>(&body));
    headers.remove("host");
    let answer = way.http.post(&way.url).headers(headers).body(body).send().await.unwrap();
    answer.status()
}
