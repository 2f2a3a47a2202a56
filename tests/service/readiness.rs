//! What `/readyz` tells of each dependency, and when it says that nothing should come.

use crate::process::ServiceProcess;
use crate::wire::{get, read, until};
use cutout_tests::redis::RedisServer;
use cutout_tests::service::ServiceProcess as Plain;
use serde_json::{Value, json};
use std::net::SocketAddr;

async fn readiness(at: SocketAddr) -> (u16, Value) {
    let (status, text) = read(at, "/readyz").await;
    (status, serde_json::from_str(&text).expect("readiness is JSON"))
}

/// The breakers' file under a revision.
fn file(revision: u64) -> String {
    format!("revision = {revision}\n[[breaker]]\nname = \"a\"\nmonitors = {{ ids = [1] }}\n")
}

#[tokio::test]
async fn a_ready_instance_tells_how_each_dependency_is() {
    let redis = RedisServer::start_durable();
    let service = Plain::start(&redis.url(), &file(3), &[]);
    until("it is ready", async || {
        let (status, told) = readiness(service.at()).await;
        status == 200 && told["follower"]["ok"] == true && !told["store"]["durable"].is_null()
    })
    .await;
    let (_, told) = readiness(service.at()).await;
    assert_eq!((&told["ready"], &told["draining"]), (&json!(true), &json!(false)));
    assert_eq!((&told["store"]["ok"], &told["store"]["durable"]), (&json!(true), &json!(true)));
    assert!((0.0..2_000.0).contains(&told["store"]["ms"].as_f64().unwrap()), "{told}");
    let settings = &told["settings"];
    let revisions = (&settings["ok"], &settings["revision"], &settings["declared_revision"]);
    assert_eq!((revisions, &settings["mistakes"]), ((&json!(true), &json!(3), &json!(3)), &json!(0)));
    assert!(settings["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{told}");
    assert!(told["follower"]["age_ms"].as_i64().unwrap() < 20_000, "{told}");
    assert_eq!(told["follower"]["losses"], 0);
}

#[tokio::test]
async fn with_redis_gone_it_is_not_ready_and_lives_and_tells_what_is_missing() {
    let mut redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    until("it follows", async || readiness(service.at()).await.1["follower"]["ok"] == true).await;
    redis.kill();
    // What the store said holds for a moment.
    until("it is not ready", async || get(service.at(), "/readyz").await == 503).await;
    let (_, told) = readiness(service.at()).await;
    assert_eq!((&told["ready"], &told["store"]["ok"]), (&json!(false), &json!(false)));
    assert_eq!(told["settings"]["declared_revision"], json!(null));
    assert_eq!(told["store"]["durable"], false, "as it was told before");
    assert!(told["follower"]["age_ms"].is_i64(), "{told}");
    assert_eq!(get(service.at(), "/healthz").await, 200);
}

#[tokio::test]
async fn an_instance_that_stands_back_is_not_ready() {
    let redis = RedisServer::start();
    let old = Plain::start(&redis.url(), &file(1), &[]);
    until("the older file is ready", async || get(old.at(), "/readyz").await == 200).await;
    let new = Plain::start(&redis.url(), &file(2), &[]);
    until("the newer file is ready", async || get(new.at(), "/readyz").await == 200).await;
    until("the older one is not", async || get(old.at(), "/readyz").await == 503).await;
    let (_, told) = readiness(old.at()).await;
    let settings = &told["settings"];
    let revisions = (&settings["ok"], &settings["revision"], &settings["declared_revision"]);
    assert_eq!(revisions, (&json!(false), &json!(1), &json!(2)));
    assert_eq!(told["store"]["ok"], true);
}
