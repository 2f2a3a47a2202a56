//! What `/metrics` says after callbacks that were taken and others that were not.

use crate::process::ServiceProcess;
use crate::wire::{callback, get, post, read, send, until};
use cutout_core::reference::{Kind, Metric};
use cutout_service::metrics::METRICS;
use cutout_tests::redis::RedisServer;
use std::net::SocketAddr;

/// The bank of these tests: a value that stands in nothing else.
const BANK: &str = "zz-0001";
const REFERENCE: &str = include_str!("../../docs/metrics.md");

/// The value of a sample, by its name and labels as Prometheus's text spells them; none: it is not there.
async fn sample(at: SocketAddr, series: &str) -> Option<f64> {
    let text = read(at, "/metrics").await.1;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

#[tokio::test]
async fn what_happened_is_counted_by_name_and_never_by_key() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start_with(&redis.url(), &[("CUTOUT_METRICS_LISTEN", "127.0.0.1:0")]);
    let at = service.metrics_at();
    assert_eq!(send(service.at(), &callback(BANK, "Alert", 5)).await.status, 200);
    assert_eq!(post(service.at(), &[], b"{}".to_vec()).await.status, 401);
    for (series, value) in [
        (r#"cutout_service_callbacks_total{kind="callback",result="committed"}"#, 1.0),
        (r#"cutout_service_callbacks_total{kind="unknown",result="unauthentic"}"#, 1.0),
        (r#"cutout_service_transitions_total{breaker="bank-charge",to="open",cause="report"}"#, 1.0),
        (r#"cutout_service_apply_seconds_count{kind="callback",result="committed"}"#, 1.0),
        (r#"cutout_store_request_seconds_count{doing="writing breakers",result="ok"}"#, 1.0),
        ("cutout_service_streams", 0.0),
    ] {
        assert_eq!(sample(at, series).await, Some(value), "{series}");
    }
    // Gauges come from what the follower brings.
    let (open, closed) = (
        r#"cutout_service_breakers{breaker="bank-charge",state="open"}"#,
        r#"cutout_service_breakers{breaker="bank-charge",state="closed"}"#,
    );
    until("the breaker is counted as open", async || sample(at, open).await == Some(1.0)).await;
    assert_eq!(sample(at, closed).await, Some(0.0));
    assert!(sample(at, "cutout_service_store_age_seconds").await.unwrap() < 20.0);
    assert!(sample(at, "process_resident_memory_bytes").await.unwrap() > 1e6);
    let text = read(at, "/metrics").await.1;
    assert!(!text.contains(BANK), "{text}");
    for Metric { name, kind, what, .. } in METRICS {
        // A counter is there once there is something to count.
        assert!(kind != Kind::Gauge || text.contains(&format!("# TYPE {name} gauge\n")), "{name}: {text}");
        assert!(!text.contains(&format!("# TYPE {name} ")) || text.contains(what), "{name} says what it is");
    }
}

#[tokio::test]
async fn metrics_are_at_their_own_address_with_the_probes_and_nowhere_else() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start_with(&redis.url(), &[("CUTOUT_METRICS_LISTEN", "127.0.0.1:0")]);
    assert_eq!(get(service.at(), "/metrics").await, 404);
    let at = service.metrics_at();
    assert_eq!(get(at, "/healthz").await, 200);
    until("it is ready", async || get(at, "/readyz").await == 200).await;
    assert_eq!(get(at, cutout_service::callback::CALLBACK_PATH).await, 404);
    let without = ServiceProcess::start(&redis.url());
    assert_eq!(get(without.at(), "/metrics").await, 404);
}

#[test]
fn every_metric_stands_in_the_reference() {
    let store = [cutout_flags::REQUEST_SECONDS_METRIC, cutout_flags::LOSSES_METRIC];
    for name in METRICS.iter().map(|metric| metric.name).chain(store) {
        assert!(REFERENCE.contains(&format!("| `{name}` |")), "{name}");
    }
}
