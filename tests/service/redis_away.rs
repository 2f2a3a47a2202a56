//! Redis away at the start and in the middle: nothing acknowledged that is not committed, and no help needed after.

use crate::callbacks::{changes, flag};
use crate::process::ServiceProcess;
use crate::wire::{callback, get, send, until};
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;

#[tokio::test]
async fn redis_down_at_the_start_the_service_starts_says_so_and_recovers_by_itself() {
    let mut redis = RedisServer::start();
    redis.kill();
    let service = ServiceProcess::start(&redis.url());
    assert_eq!(get(service.at(), "/healthz").await, 200);
    assert_eq!(get(service.at(), "/readyz").await, 503);
    let alert = callback("0001", "Alert", 5);
    let answer = send(service.at(), &alert).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.retry_after.is_some() && answer.body["error"].is_string(), "{answer:?}");

    redis.restart();
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    assert_eq!(send(service.at(), &alert).await.status, 200);
    assert_eq!(flag(&redis, "bank-charge/0001").await.unwrap()["state"], "open");
}

#[tokio::test]
async fn redis_down_in_the_middle_a_callback_is_not_acknowledged_and_the_next_try_commits_it() {
    let mut redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    assert_eq!(send(service.at(), &callback("0001", "Alert", 9)).await.status, 200);
    redis.kill();
    let second = callback("0002", "Alert", 5);
    let answer = send(service.at(), &second).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.retry_after.is_some(), "{answer:?}");
    assert_eq!(get(service.at(), "/readyz").await, 503);

    redis.restart();
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    assert_eq!(flag(&redis, "bank-charge/0002").await, None, "not acknowledged, not written");
    assert_eq!(send(service.at(), &second).await.status, 200);
    assert_eq!(flag(&redis, "bank-charge/0002").await.unwrap()["state"], "open");
    assert_eq!(changes(&redis, "bank-charge/0002").await, ["open"]);
}

#[tokio::test]
async fn a_redis_that_refuses_the_password_is_told_without_the_password() {
    let redis = RedisServer::start_with_password(canary::REDIS_PASSWORD);
    let wrong = format!("redis://:{}-mistyped@127.0.0.1:{}", canary::REDIS_PASSWORD, redis.port());
    let service = ServiceProcess::start(&wrong);
    let answer = send(service.at(), &callback("0001", "Alert", 5)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!service.lines_at_least(1, "callback").is_empty());
    assert!(!service.log().contains(canary::REDIS_PASSWORD), "{}", service.log());
}

#[tokio::test]
async fn a_redis_that_keeps_nothing_is_told_at_the_start_and_one_with_an_append_only_file_is_not() {
    const WARNING: &str =
        "the store keeps no append-only file: a restart loses all flags until the next scheduled run";
    let (volatile, durable) = (RedisServer::start(), RedisServer::start_durable());
    let service = ServiceProcess::start(&volatile.url());
    assert_eq!(service.lines_at_least(1, WARNING)[0]["level"], "WARN");

    let service = ServiceProcess::start(&durable.url());
    until("it was asked", async || durable.ask::<String>(&["INFO", "commandstats"]).contains("cmdstat_info"))
        .await;
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    assert!(service.lines_at_least(1, "callback").len() == 1 && service.lines(WARNING).is_empty());
}
