//! What time alone brings happens once, however many instances run.

use crate::callbacks::{changes, flag};
use crate::process::ServiceProcess;
use crate::wire::{callback, send, until};
use cutout_tests::redis::RedisServer;

#[tokio::test]
async fn two_instances_end_half_open_with_exactly_one_change() {
    let redis = RedisServer::start();
    let instances = [ServiceProcess::start(&redis.url()), ServiceProcess::start(&redis.url())];
    assert_eq!(send(instances[0].at(), &callback("0001", "Alert", 9)).await.status, 200);
    assert_eq!(send(instances[1].at(), &callback("0001", "OK", 5)).await.status, 200);
    until("the breaker is closed", async || {
        flag(&redis, "bank-charge/0001").await.is_some_and(|flag| flag["state"] == "closed")
    })
    .await;
    // The slower instance has had its turn when both have seen the change and a later one was handled by both.
    assert_eq!(send(instances[0].at(), &callback("0002", "Alert", 9)).await.status, 200);
    assert_eq!(send(instances[0].at(), &callback("0002", "OK", 5)).await.status, 200);
    until("the other breaker is closed", async || {
        flag(&redis, "bank-charge/0002").await.is_some_and(|flag| flag["state"] == "closed")
    })
    .await;
    assert_eq!(changes(&redis, "bank-charge/0001").await, ["open", "half-open", "closed"]);
    let ends = instances.iter().flat_map(|instance| instance.lines("transition"));
    let ends = ends.filter(|line| line["cause"] == "ramp_ended" && line["breaker"] == "bank-charge/0001");
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!((&ends[0]["from"], &ends[0]["to"]), (&"half-open".into(), &"closed".into()));
}
