//! Too much at the operators' listener: idle connections, slow bodies, ten times the load. Who asks properly is answered.

use crate::overload::files_max;
use crate::process::ServiceProcess;
use crate::wire::{Raw, callback, send, until};
use cutout_service::api::REQUESTS_MAX;
use cutout_service::serve::CONNECTIONS_MAX;
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How many idle connections: more than there are places.
const IDLE: usize = 2 * CONNECTIONS_MAX;
/// How much more memory any of this may take.
const GROWTH_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// How many requests each of too many askers sends.
const ROUNDS: usize = 3;

/// A service with operators, and where they are served.
async fn started(redis: &RedisServer) -> (ServiceProcess, SocketAddr) {
    let operators = canary::operators();
    let more = [("CUTOUT_OPERATORS", operators.as_str()), ("CUTOUT_OPERATORS_LISTEN", "127.0.0.1:0")];
    let service = ServiceProcess::start_with(&redis.url(), &more);
    let at = service.operators_at();
    until("the API answers", async || ask(at, "/v1/breakers").await.starts_with("HTTP/1.1 200 ")).await;
    (service, at)
}

/// A request by hand, whose connection ends with its answer.
fn request(at: SocketAddr, line: &str, more: &str) -> String {
    let token = canary::OPERATOR_TOKEN;
    format!(
        "{line} HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n{more}\r\n"
    )
}

async fn ask(at: SocketAddr, path: &str) -> String {
    let mut raw = Raw::connect(at).await;
    raw.write(request(at, &format!("GET {path}"), "").as_bytes()).await;
    raw.read_to_end().await
}

#[tokio::test]
async fn idle_connections_and_slow_bodies_hold_up_no_operator_and_no_callback() {
    const LEFT: usize = 4;
    let redis = RedisServer::start();
    let (service, at) = started(&redis).await;
    let before = service.resident_bytes();
    assert!(files_max() > 2 * IDLE, "ulimit -n is too low to show anything");
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(at).await.expect("a connection is taken"));
    }
    let length = "content-length: 100\r\n";
    let json = format!("content-type: application/json\r\n{length}");
    let mut slow = Vec::new();
    for _ in 0..REQUESTS_MAX - LEFT {
        let mut raw = Raw::connect(at).await;
        raw.write(request(at, "PUT /v1/overrides/bank-charge/0001", &json).as_bytes()).await;
        raw.write(b"{").await;
        slow.push(raw);
    }
    // The page's forms are read by another hand.
    let form = format!("content-type: application/x-www-form-urlencoded\r\norigin: http://{at}\r\n{length}");
    let mut raw = Raw::connect(at).await;
    raw.write(request(at, "POST /login", &form).as_bytes()).await;
    raw.write(b"token=").await;
    slow.push(raw);
    assert!(ask(at, "/v1/breakers").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    for mut raw in slow {
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("within 5 s"), "{answer}");
    }
    let growth = service.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX_BYTES, "{growth}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_times_the_load_each_operator_is_answered_or_told_to_come_again() {
    let redis = RedisServer::start();
    let (service, at) = started(&redis).await;
    let before = service.resident_bytes();
    let mut askers = JoinSet::new();
    for asker in 0..10 * REQUESTS_MAX {
        // One from memory, one from the store.
        let path = if asker % 2 == 0 { "/v1/breakers" } else { "/v1/history" };
        askers.spawn(async move {
            let mut answered = 0;
            for _ in 0..ROUNDS {
                let answer = ask(at, path).await;
                let is_refused = answer.starts_with("HTTP/1.1 503 ")
                    && answer.contains("retry-after: ")
                    && answer.contains("\"code\":\"busy\"");
                assert!(is_refused || answer.starts_with("HTTP/1.1 200 "), "{answer}");
                answered += usize::from(!is_refused);
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(of_one) = askers.join_next().await {
        answered += of_one.expect("each is answered");
        if askers.len() % 50 == 0 {
            // Callbacks have a listener and places of their own.
            assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
        }
    }
    let growth = service.resident_bytes().saturating_sub(before);
    println!("{answered} of {} answered, {} KiB more", 10 * REQUESTS_MAX * ROUNDS, growth / 1_024);
    assert!(answered > 0 && growth < GROWTH_MAX_BYTES, "{answered} answered, {growth} more bytes");
    assert!(ask(at, "/v1/breakers").await.starts_with("HTTP/1.1 200 "));
}
