//! The two that are compared, each a process of its own: this program again, told what to be.
//!
//! The service is whole: its limits, its metrics, a JSON log line for each callback, its follower and timers, as the binary has them.

use crate::load::{self, Requests, Turn};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use cutout_core::Callback;
use cutout_core::webhook::{self, Secret};
use cutout_service::callback::CALLBACK_PATH;
use cutout_service::{Exposition, Limits, Parts, Service, breakers, serve as serve_within};
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The word that makes this program one of them.
pub(crate) const SERVE: &str = "serve";
/// Ticks of the processor's clock in a second, as `/proc` counts them.
const TICKS_PER_SECOND: f64 = 100.0;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contestant {
    Service,
    Yardstick,
}

impl Contestant {
    fn name(self) -> &'static str {
        match self {
            Contestant::Service => "service",
            Contestant::Yardstick => "yardstick",
        }
    }
}

/// One of them, running.
pub(crate) struct Server {
    redis: RedisServer,
    redis_pid: u32,
    process: Child,
    at: SocketAddr,
    /// The sender's.
    runtime: Runtime,
}

impl Server {
    pub(crate) fn start(contestant: Contestant) -> Server {
        let redis = RedisServer::start();
        let info: redis::InfoDict = redis.ask(&["INFO", "server"]);
        let redis_pid = info.get("process_id").expect("Redis tells its number");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        // Its log lines go nowhere; where it listens comes by standard error.
        command.args([SERVE, contestant.name(), &redis.url()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("this program once more");
        let mut told = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let at = told.next().expect("a line").expect("text").parse().expect("where it listens");
        std::thread::spawn(move || told.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Server { redis, redis_pid, process, at, runtime }
    }

    /// Sends each connection's requests one after the other, all connections at once.
    pub(crate) fn send(&self, requests: &Requests) -> Turn {
        let used = || [self.process.id(), self.redis_pid].map(processor_s);
        let before = used();
        let mut turn = self.runtime.block_on(load::send(self.at, requests));
        let after = used();
        (turn.processor_s, turn.redis_processor_s) = (after[0] - before[0], after[1] - before[1]);
        turn
    }

    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (Ok(()), Ok(_)) = (self.process.kill(), self.process.wait()) else {
            return eprintln!("{} cannot be ended", self.process.id());
        };
        let _ends_with_it = &self.redis;
    }
}

/// How long a process has had the processor, all threads, seconds.
fn processor_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th behind it.
    let (_, behind_name) = stat.rsplit_once(')').expect("a name");
    let ticks = |place| behind_name.split_whitespace().nth(place).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(11).expect("user time") + ticks(12).expect("system time")) / TICKS_PER_SECOND
}

/// Is one of them, until killed.
pub(crate) fn serve(name: &str, redis: &str) -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    Runtime::new().expect("a runtime").block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        if name == Contestant::Service.name() {
            service(listener, at, redis).await;
        } else {
            yardstick(listener, at, redis).await;
        }
    });
    ExitCode::FAILURE
}

/// The service, whole.
async fn service(listener: TcpListener, at: SocketAddr, redis: &str) {
    tracing_subscriber::fmt().json().flatten_event(true).init();
    let exposition = Exposition::install().expect("the first recorder");
    let store = cutout_flags::open(redis, "default").expect("a store");
    let breakers = breakers::parse("the bench's breakers", &load::breakers_file()).expect("breakers");
    let service = Service::new(Parts { store, breakers, secrets: vec![secret()], public_url: None });
    tokio::spawn(service.run());
    tokio::spawn(async move { exposition.run().await });
    eprintln!("{at}");
    let router = service.parting(service.router().merge(service.readiness()));
    serve_within(listener, router, Limits::default(), std::future::pending()).await;
}

/// What nobody can do without: signature, JSON, one script.
async fn yardstick(listener: TcpListener, at: SocketAddr, redis: &str) {
    const SCRIPT: &str = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1";
    let client = redis::Client::open(redis).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
    let sha = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await;
    let state = Yardstick { secrets: vec![secret()], connection, sha: sha.expect("a script") };
    let router = Router::new().route(CALLBACK_PATH, post(minimal)).with_state(state);
    eprintln!("{at}");
    axum::serve(listener, router).await.expect("it serves");
}

#[derive(Clone)]
struct Yardstick {
    secrets: Vec<Secret>,
    connection: MultiplexedConnection,
    sha: String,
}

async fn minimal(
    State(mut state): State<Yardstick>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<String, StatusCode> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let [id, timestamp, signature] =
        [webhook::ID_HEADER, webhook::TIMESTAMP_HEADER, webhook::SIGNATURE_HEADER].map(text);
    webhook::verify(&state.secrets, id, timestamp, signature, &body, Timestamp::now().as_second())
        .map_err(|_| StatusCode::UNAUTHORIZED)?;
    let callback: Callback = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut script = redis::cmd("EVALSHA");
    script.arg(&state.sha).arg(1).arg("monitors").arg(callback.monitor_id).arg(&*body);
    let done: i64 =
        script.query_async(&mut state.connection).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(json!({ "applied": done }).to_string())
}

pub(crate) fn secret() -> Secret {
    canary::SIGNING_SECRET.parse().expect("the test's secret is one")
}
