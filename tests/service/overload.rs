//! More than there is room for: idle connections, slow senders, bodies without end, ten times the load. What is asked
//! properly is answered, everything else gets a clear no, and memory stays bounded.

use crate::process::ServiceProcess;
use crate::wire::{Raw, callback, get, head, send, until};
use cutout_service::limits::REQUESTS_MAX;
use cutout_service::serve::CONNECTIONS_MAX;
use cutout_tests::redis::RedisServer;
use std::process::Command;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const IDLE: usize = 10_000;
/// Files that a process may need besides the connections of a test.
const OTHER_FILES: usize = 1_000;
/// How much more memory any of this may take.
const GROWTH_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// How many callbacks each of too many senders sends.
const ROUNDS: usize = 3;

async fn started(redis: &RedisServer) -> ServiceProcess {
    let service = ServiceProcess::start(&redis.url());
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    service
}

/// How many files this process, and what it starts, may have open, after asking for enough.
pub(crate) fn files_max() -> usize {
    let wanted = format!("--nofile={}:", IDLE + OTHER_FILES);
    // It fails where the hard limit is lower; then there are fewer connections, which is told.
    let _ = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &wanted]).output();
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the system tells limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("that of files");
    line.split_whitespace().next().expect("the soft one").parse().expect("a number")
}

#[tokio::test]
async fn ten_thousand_idle_connections_hold_up_nobody_and_cost_no_more_than_the_places() {
    let idle = IDLE.min(files_max().saturating_sub(OTHER_FILES));
    println!("{idle} idle connections");
    assert!(idle > 2 * CONNECTIONS_MAX, "ulimit -n is too low to show anything");
    let redis = RedisServer::start();
    let service = started(&redis).await;
    let before = service.resident_bytes();
    let mut connections = Vec::new();
    for nth in 0..idle {
        let connection = TcpStream::connect(service.at()).await.expect("a connection is taken");
        if nth % 2 == 0 {
            // Closed already if it had to make room.
            let _ = connection.try_write(b"GET /healthz HTTP/1.1\r\nhost: ");
        }
        connections.push(connection);
    }
    for bank in 0..10 {
        assert_eq!(send(service.at(), &callback(&format!("{bank:04}"), "Alert", 5)).await.status, 200);
    }
    assert_eq!(get(service.at(), "/healthz").await, 200);
    let growth = service.resident_bytes().saturating_sub(before);
    println!("{} KiB more are resident", growth / 1_024);
    assert!(growth < GROWTH_MAX_BYTES, "{growth}");
}

#[tokio::test]
async fn slow_and_endless_bodies_get_their_answer_while_others_get_theirs() {
    const LEFT: usize = 4;
    let redis = RedisServer::start();
    let service = started(&redis).await;
    let before = service.resident_bytes();
    let body = callback("0001", "Alert", 5).to_string().into_bytes();
    let mut slow = Vec::new();
    for _ in 0..REQUESTS_MAX - LEFT {
        let mut raw = Raw::connect(service.at()).await;
        raw.write(head(service.at(), &body, "").as_bytes()).await;
        raw.write(&body[..1]).await;
        slow.push(raw);
    }
    let mut endless = Raw::connect(service.at()).await;
    let length = format!("content-length: {}", body.len());
    let chunked = head(service.at(), &body, "").replace(&length, "transfer-encoding: chunked");
    endless.write(chunked.as_bytes()).await;
    let chunk =
        [format!("{:x}\r\n", 1024 * 1024).into_bytes(), vec![b' '; 1024 * 1024], b"\r\n".to_vec()].concat();
    for _ in 0..4 {
        endless.write(&chunk).await;
    }
    endless.write(b"1\r\n ").await;
    assert!(endless.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 413 "));
    assert_eq!(send(service.at(), &callback("0002", "Alert", 5)).await.status, 200);
    for mut raw in slow {
        let answer = raw.read_until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    let growth = service.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX_BYTES, "{growth}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_times_the_load_each_callback_is_committed_or_told_to_come_again() {
    let redis = RedisServer::start();
    let service = started(&redis).await;
    let (at, before) = (service.at(), service.resident_bytes());
    let mut senders = JoinSet::new();
    for sender in 0..10 * REQUESTS_MAX {
        senders.spawn(async move {
            let mut committed = 0;
            for round in 0..ROUNDS {
                // By hand: a client for each would be more work than the service has.
                let body = callback(&format!("{sender}-{round}"), "OK", 5).to_string().into_bytes();
                let mut raw = Raw::connect(at).await;
                let request = [head(at, &body, "connection: close\r\n").into_bytes(), body].concat();
                raw.write(&request).await;
                let answer = raw.read_to_end().await;
                let is_refused = answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: ");
                assert!(is_refused || answer.starts_with("HTTP/1.1 200 "), "{answer}");
                committed += usize::from(!is_refused);
            }
            committed
        });
    }
    let mut committed = 0;
    while let Some(of_one) = senders.join_next().await {
        committed += of_one.expect("each is answered");
        if senders.len() % 100 == 0 {
            assert_eq!(get(at, "/healthz").await, 200, "it lives");
        }
    }
    let growth = service.resident_bytes().saturating_sub(before);
    println!(
        "{committed} of {} committed, {} KiB more are resident",
        10 * REQUESTS_MAX * ROUNDS,
        growth / 1_024
    );
    assert!(committed > 0 && growth < GROWTH_MAX_BYTES, "{committed} committed, {growth} more bytes");
    assert_eq!(send(at, &callback("after", "Alert", 5)).await.status, 200);
}
