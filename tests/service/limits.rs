//! Slow, many and rude clients, and an end that cuts nobody off.

use crate::callbacks::flag;
use crate::process::ServiceProcess;
use crate::wire::{Raw, callback, get, head, post, until};
use axum::Router;
use axum::extract::Path;
use axum::routing::get as get_route;
use cutout_service::limits::REQUESTS_MAX;
use cutout_service::{Limits, serve};
use cutout_tests::redis::RedisServer;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Serves a router in this process. It ends when the sender is used or dropped.
async fn serving(router: Router, limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    (at, stop, tokio::spawn(serve(listener, router, limits, shutdown)))
}

/// `/` answers, `/endless` never does.
fn router() -> Router {
    let endless = get_route(async || pending::<&str>().await);
    Router::new().route("/", get_route(async || "ok")).route("/endless", endless)
}

/// How often the first connection asks while the second waits.
const REQUESTS_OF_FIRST: usize = 200;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn half_written_headers_and_idle_connections_are_cut() {
    let limits = Limits { header_read_timeout: Duration::from_millis(100), ..Limits::default() };
    let (at, _stop, _task) = serving(router(), limits).await;
    let mut half = Raw::connect(at).await;
    half.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    let mut silent = Raw::connect(at).await;
    let mut idle = Raw::connect(at).await;
    idle.write(REQUEST).await;
    assert!(idle.read_until("ok").await.starts_with("HTTP/1.1 200"));
    for connection in [&mut half, &mut silent, &mut idle] {
        let rest = connection.read_to_end().await;
        assert!(!rest.contains("200"), "{rest}");
    }
}

#[tokio::test]
async fn beyond_the_limit_a_connection_waits_until_another_has_gone() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let note = get_route(async move |Path(who): Path<String>| {
        noted.lock().unwrap().push(who);
        "ok"
    });
    let limits = Limits { connections_max: 1, idle_min: crate::wire::DEADLINE, ..Limits::default() };
    let (at, _stop, _task) = serving(Router::new().route("/{who}", note), limits).await;
    let request = |who: &str| format!("GET /{who} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
    let mut first = Raw::connect(at).await;
    first.write(&request("first")).await;
    first.read_until("ok").await;
    let mut second = Raw::connect(at).await;
    second.write(&request("second")).await;
    // The second has long asked when the last of these is served; without a limit it would be among them.
    for _ in 0..REQUESTS_OF_FIRST {
        first.write(&request("first")).await;
        first.read_until("ok").await;
    }
    drop(first);
    second.read_until("ok").await;
    let order = order.lock().unwrap();
    assert_eq!(order.len(), REQUESTS_OF_FIRST + 2);
    assert_eq!(order.iter().position(|who| who == "second"), Some(REQUESTS_OF_FIRST + 1));
}

#[tokio::test]
async fn a_request_that_never_ends_holds_up_the_shutdown_no_longer_than_the_drain_limit() {
    let limits = Limits { drain_timeout: Duration::from_millis(200), ..Limits::default() };
    let (at, stop, task) = serving(router(), limits).await;
    let mut endless = Raw::connect(at).await;
    endless.write(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut idle = Raw::connect(at).await;
    idle.write(REQUEST).await;
    idle.read_until("ok").await;
    stop.send(()).unwrap();
    tokio::time::timeout(crate::wire::DEADLINE, task).await.expect("serving ends").unwrap();
    assert_eq!(endless.read_to_end().await, "");
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn beyond_the_limit_callbacks_are_shed_while_readiness_answers() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    let body = callback("0001", "Alert", 5).to_string().into_bytes();
    let mut stalled = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let mut raw = Raw::connect(service.at()).await;
        raw.write(head(service.at(), &body, "expect: 100-continue\r\n").as_bytes()).await;
        raw.read_until("100 Continue").await; // it is being worked on, and waits for its body
        stalled.push(raw);
    }
    let shed = post(service.at(), &[], b"{}".to_vec()).await;
    assert_eq!(shed.status, 503, "{shed:?}");
    assert!(shed.retry_after.is_some() && shed.body["error"].is_string(), "{shed:?}");
    assert_eq!(get(service.at(), "/healthz").await, 200);
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    drop(stalled);
    until("the places are free", async || post(service.at(), &[], b"{}".to_vec()).await.status == 401).await;
}

#[tokio::test]
async fn sigterm_lets_a_request_at_work_end_and_takes_no_new_one() {
    let redis = RedisServer::start();
    let mut service = ServiceProcess::start_with(&redis.url(), &[("CUTOUT_DRAIN", "0s")]);
    let body = callback("0001", "Alert", 5).to_string().into_bytes();
    let mut raw = Raw::connect(service.at()).await;
    raw.write(head(service.at(), &body, "expect: 100-continue\r\n").as_bytes()).await;
    raw.read_until("100 Continue").await;
    service.terminate();
    until("no new connection is taken", async || TcpStream::connect(service.at()).await.is_err()).await;
    raw.write(&body).await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(flag(&redis, "bank-charge/0001").await.unwrap()["state"], "open");
    assert!(service.ended().success());
    assert_eq!(service.lines_at_least(1, "stopped").len(), 1, "{}", service.log());
}
