//! How many callbacks a second one instance commits over 32 connections, and how long each takes: beside a yardstick that
//! checks the same signature, parses the same JSON and issues one EVALSHA. Then memory over many callbacks.
//!
//! `tests/bench callbacks [--callbacks N]`. The service is whole: limits, metrics, a JSON log line for each callback (written to nowhere), its
//! follower and timers. Both are served in this process on a real Redis each, and loaded in turns, because neighbours come and go; a ratio is the
//! median over the turns. The sender shares the two cores with them, so read the ratios.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use cutout_core::Callback;
use cutout_core::webhook::{self, Secret};
use cutout_service::callback::CALLBACK_PATH;
use cutout_service::{Exposition, Limits, Parts, Service, breakers, serve};
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use http::{HeaderMap, StatusCode};
use jiff::{Timestamp, ToSpan};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONNECTIONS: u64 = 32;
/// How many callbacks one connection sends in a turn.
const OF_A_TURN: u32 = 200;
const TURNS: u32 = 9;
const CALLBACKS_DEFAULT: u64 = 50_000;
/// In how many slices memory is looked at.
const SLICES: u64 = 10;
const FIRST_MONITOR: u64 = 5_200_000;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--callbacks").skip(1);
    let callbacks = arguments.next().map_or(CALLBACKS_DEFAULT, |count| count.parse().expect("--callbacks N"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(callbacks));
}

async fn measure(callbacks: u64) {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let _counted = Exposition::install().expect("the first recorder");
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::sink).init();
    let (of_service, of_yardstick) = (RedisServer::start(), RedisServer::start());
    let (service, yardstick) = (service(&of_service).await, yardstick(&of_yardstick).await);
    println!(
        "{CONNECTIONS} connections, {TURNS} turns of {} callbacks each\n",
        CONNECTIONS * u64::from(OF_A_TURN)
    );
    println!(
        "{:<24} {:<10} {:>11} {:>9} {:>9} {:>7}",
        "callbacks", "", "callbacks/s", "p50 ms", "p99 ms", "ratio"
    );
    for (name, groups, flips) in
        [("1 group, confirmed", 1, false), ("20 groups, confirmed", 20, false), ("1 group, changed", 1, true)]
    {
        let mut sender = Sender { groups, flips, sent: 0 };
        let (mut ours, mut its, mut ratios) = (Turn::default(), Turn::default(), Vec::new());
        // The first turn of each only warms up.
        for turn in 0..=TURNS {
            let bodies = sender.bodies();
            let (first, second) = (send(service, &bodies).await, send(yardstick, &bodies).await);
            if turn > 0 {
                ratios.push(second.took.as_secs_f64() / first.took.as_secs_f64());
                ours.add(first);
                its.add(second);
            }
        }
        ratios.sort_by(f64::total_cmp);
        ours.print(name, "service", &format!("{:.2}", ratios[ratios.len() / 2]));
        its.print("", "yardstick", "");
    }
    memory(service, callbacks).await;
}

/// The service, whole, and where it listens.
async fn service(redis: &RedisServer) -> SocketAddr {
    let store = cutout_flags::open(&redis.url(), "default").unwrap();
    let text = "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmin_open = \"0s\"\nmonitors = { tags = [\"cutout\"] }\n";
    let breakers = breakers::parse("the bench's breakers", text).unwrap();
    let parts = Parts { store, breakers, secrets: vec![secret()], public_url: None };
    let service = Service::new(parts);
    tokio::spawn(service.run());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, service.router(), Limits::default(), std::future::pending()));
    at
}

/// What nobody can do without: signature, JSON, one script.
async fn yardstick(redis: &RedisServer) -> SocketAddr {
    const SCRIPT: &str = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1";
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let sha: String =
        redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await.unwrap();
    let state = Yardstick { secrets: vec![secret()], connection, sha };
    let router = Router::new().route(CALLBACK_PATH, post(minimal)).with_state(state);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    at
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
    let now_secs = Timestamp::now().as_second();
    webhook::verify(&state.secrets, id, timestamp, signature, &body, now_secs)
        .map_err(|_| StatusCode::UNAUTHORIZED)?;
    let callback: Callback = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut script = redis::cmd("EVALSHA");
    script.arg(&state.sha).arg(1).arg("monitors").arg(callback.monitor_id).arg(&*body);
    let done: i64 =
        script.query_async(&mut state.connection).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(json!({ "applied": done }).to_string())
}

fn secret() -> Secret {
    canary::SIGNING_SECRET.parse().expect("the test's secret is one")
}

/// Makes callbacks: each connection has a monitor of its own.
struct Sender {
    groups: u64,
    flips: bool,
    sent: u32,
}

impl Sender {
    /// The requests of one turn, for each connection.
    fn bodies(&mut self) -> Vec<Vec<Vec<u8>>> {
        let first = self.sent;
        self.sent += OF_A_TURN;
        // What confirms may come again and again: it says the same.
        let numbers = if self.flips { first..first + OF_A_TURN } else { 0..OF_A_TURN };
        let of_one = |connection| numbers.clone().map(|number| self.request(connection, number)).collect();
        (0..CONNECTIONS).map(of_one).collect()
    }

    fn request(&self, connection: u64, number: u32) -> Vec<u8> {
        let start =
            Timestamp::from_second(Timestamp::now().as_second() / 3_600 * 3_600).expect("an hour of today");
        let at = if self.flips { start + i64::from(number).milliseconds() } else { start };
        let group = |nth: u64| {
            let bank = format!("{}-{connection}-{nth}", if self.flips { "flips" } else { "stays" });
            let fires = if self.flips { number % 2 == 0 } else { nth == 0 };
            json!({"name": format!("bank_code:{bank}"), "tags": {"bank_code": [bank]},
                   "status": if fires { "Alert" } else { "OK" }, "changed_at": at, "muted": false})
        };
        let groups: Vec<_> = (0..self.groups).map(group).collect();
        let monitor_id = FIRST_MONITOR + connection + 100 * self.groups + 10_000 * u64::from(self.flips);
        let body = json!({
            "schema": "cutout.callback/1", "source": "datadog", "reason": "reconcile", "to": "https://bench.example/",
            "event_id": null, "monitor_id": monitor_id, "notified": null, "event": null,
            "report": {"as_of": at, "groups": groups,
                       "monitor": {"name": "Bank API", "type": "query alert", "tags": ["cutout"], "url": ""}},
        });
        signed(body.to_string().as_bytes())
    }
}

/// A request with its signature, as it goes over the wire.
fn signed(body: &[u8]) -> Vec<u8> {
    let (id, now_secs) = (webhook::message_id("https://bench.example/", body), Timestamp::now().as_second());
    let signature = webhook::sign(&[secret()], &id, now_secs, body);
    let head = format!(
        "POST {CALLBACK_PATH} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}: {id}\r\n{}: {now_secs}\r\n{}: {signature}\r\n\r\n",
        body.len(),
        webhook::ID_HEADER,
        webhook::TIMESTAMP_HEADER,
        webhook::SIGNATURE_HEADER,
    );
    [head.as_bytes(), body].concat()
}

/// What turns brought.
#[derive(Default)]
struct Turn {
    took: Duration,
    each: Vec<Duration>,
}

impl Turn {
    fn add(&mut self, other: Turn) {
        self.took += other.took;
        self.each.extend(other.each);
    }

    fn print(&mut self, name: &str, who: &str, ratio: &str) {
        self.each.sort();
        let at =
            |share: f64| self.each[((self.each.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
        let rate = self.each.len() as f64 / self.took.as_secs_f64();
        println!("{name:<24} {who:<10} {rate:>11.0} {:>9.2} {:>9.2} {ratio:>7}", at(0.5), at(0.99));
    }
}

/// Sends each connection's requests one after the other, all connections at once.
async fn send(at: SocketAddr, bodies: &[Vec<Vec<u8>>]) -> Turn {
    let mut connections = JoinSet::new();
    let started = Instant::now();
    for requests in bodies.to_vec() {
        connections.spawn(async move {
            let mut stream = TcpStream::connect(at).await.expect("it listens");
            stream.set_nodelay(true).expect("a TCP stream");
            let (mut each, mut answer) = (Vec::with_capacity(requests.len()), Vec::with_capacity(4_096));
            for request in requests {
                let started = Instant::now();
                stream.write_all(&request).await.expect("the connection is kept");
                answered(&mut stream, &mut answer).await;
                each.push(started.elapsed());
            }
            each
        });
    }
    let each: Vec<Duration> = connections.join_all().await.into_iter().flatten().collect();
    Turn { took: started.elapsed(), each }
}

/// Reads one answer, which must be 200.
async fn answered(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    answer.clear();
    loop {
        let count = stream.read_buf(answer).await.expect("the connection is kept");
        assert!(count > 0, "cut: {}", String::from_utf8_lossy(answer));
        let text = String::from_utf8_lossy(answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.parse().expect("a number") {
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            return;
        }
    }
}

/// What is resident after each slice of many callbacks.
async fn memory(at: SocketAddr, callbacks: u64) {
    println!("\nresident memory over {callbacks} callbacks that flip, KiB (sender included)");
    let of_a_turn = CONNECTIONS * u64::from(OF_A_TURN);
    let mut sender = Sender { groups: 1, flips: true, sent: 1_000_000 };
    let turns = callbacks.div_ceil(of_a_turn).max(SLICES);
    let mut seen = Vec::new();
    for turn in 0..turns {
        send(at, &sender.bodies()).await;
        if (turn + 1) % (turns / SLICES) == 0 {
            seen.push(resident_kib());
        }
    }
    println!("{seen:?}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}
