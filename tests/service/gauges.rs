//! What gauges and counters of `/metrics` say, by their values, after each thing that they tell of has happened.

use crate::wire::{MONITOR, Raw, callback, head, read, send, until, with};
use cutout_service::limits::REQUESTS_MAX;
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use cutout_tests::service::ServiceProcess;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The monitors of `capped` and `watched`.
const CAPPED: u64 = 5_200_002;
const WATCHED: u64 = 5_200_003;

/// `capped` opens no more than a third of its keys; `watched` refuses nobody.
fn file(revision: u64) -> String {
    let breaker = |name: &str, id: u64, more: &str| {
        format!(
            "[[breaker]]\nname = \"{name}\"\nkey = [\"bank_code\"]\nmonitors = {{ ids = [{id}] }}\n{more}\n"
        )
    };
    format!("revision = {revision}\n")
        + &breaker("bank-charge", MONITOR, "")
        + &breaker("capped", CAPPED, "max_open = \"34%\"")
        + &breaker("watched", WATCHED, "mode = \"watch\"")
}

struct World {
    service: ServiceProcess,
    metrics: SocketAddr,
    _redis: RedisServer,
}

impl World {
    async fn start() -> World {
        let (redis, operators) = (RedisServer::start(), canary::operators());
        let more = [
            ("CUTOUT_OPERATORS", operators.as_str()),
            ("CUTOUT_OPERATORS_LISTEN", "127.0.0.1:0"),
            ("CUTOUT_METRICS_LISTEN", "127.0.0.1:0"),
        ];
        let service = ServiceProcess::start(&redis.url(), &file(1), &more);
        let line = service.lines_at_least(1, "listening for metrics").remove(0);
        let metrics = line["metrics_listen"].as_str().unwrap().parse().unwrap();
        let world = World { service, metrics, _redis: redis };
        world.reaches("cutout_service_paused", 0.0).await;
        world
    }

    /// The value of a series; none: it is not there.
    async fn sample(&self, series: &str) -> Option<f64> {
        let text = read(self.metrics, "/metrics").await.1;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().expect("a number"))
    }

    async fn reaches(&self, series: &str, value: f64) {
        until(&format!("{series} is {value}"), async || self.sample(series).await == Some(value)).await;
    }

    /// What an operator orders, which must be carried out.
    async fn order(&self, method: Method, path: &str, body: &Value) {
        let url = format!("http://{}{path}", self.service.operators_at());
        let request = reqwest::Client::new().request(method, url);
        let request = request.header("authorization", format!("Bearer {}", canary::OPERATOR_TOKEN));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await.expect("the service answers");
        assert!(answer.status().is_success(), "{path}: {:?}", answer.text().await);
    }

    /// Lets one bank of a monitor alert.
    async fn alert(&self, monitor: u64, bank: &str) {
        let alert = with(callback(bank, "Alert", 5), "monitor_id", json!(monitor));
        assert_eq!(send(self.service.at(), &alert).await.status, 200);
    }
}

#[tokio::test]
async fn gauges_tell_what_people_and_signals_have_done() {
    let world = World::start().await;
    let forced = r#"cutout_service_overrides{breaker="bank-charge",state="open"}"#;
    let faults = r#"cutout_service_faults{breaker="bank-charge"}"#;
    let held = r#"cutout_service_held{breaker="capped"}"#;
    let watched = r#"cutout_service_watched_open{breaker="watched"}"#;
    for series in [forced, faults, held, watched] {
        assert_eq!(world.sample(series).await, Some(0.0), "{series}");
    }
    let open = json!({"state": "open", "why": "a drill", "until": "30m"});
    world.order(Method::PUT, "/v1/overrides/bank-charge/0001", &open).await;
    world.reaches(forced, 1.0).await;
    world.order(Method::DELETE, "/v1/overrides/bank-charge/0001?why=over", &Value::Null).await;
    world.reaches(forced, 0.0).await;

    let fault = json!({"abort_ppm": 100_000, "why": "a drill", "until": "10m"});
    world.order(Method::PUT, "/v1/faults/bank-charge/0002", &fault).await;
    world.reaches(faults, 1.0).await;
    world.alert(WATCHED, "0001").await;
    world.reaches(watched, 1.0).await;
    // Of three keys one may open.
    for bank in ["0001", "0002", "0003"] {
        world.alert(CAPPED, bank).await;
    }
    until("some are held", async || world.sample(held).await.is_some_and(|held| held >= 1.0)).await;

    world.order(Method::PUT, "/v1/pause", &json!({"why": "a storm", "until": "1h"})).await;
    world.reaches("cutout_service_paused", 1.0).await;
    world.order(Method::DELETE, "/v1/pause?why=over", &Value::Null).await;
    world.reaches("cutout_service_paused", 0.0).await;
}

#[tokio::test]
async fn the_age_of_the_scheduled_run_begins_anew_with_each() {
    const AGE: &str = "cutout_service_reconcile_age_seconds";
    let world = World::start().await;
    until("some time passes", async || world.sample(AGE).await.is_some_and(|age| age > 0.5)).await;
    world.alert(MONITOR, "0001").await;
    assert!(world.sample(AGE).await.unwrap() > 0.5, "a notification is none");
    let sent = Instant::now();
    let scheduled = with(callback("0001", "Alert", 5), "reason", json!("reconcile"));
    assert_eq!(send(world.service.at(), &scheduled).await.status, 200);
    let age = world.sample(AGE).await.unwrap();
    assert!(age <= sent.elapsed().as_secs_f64(), "{age}");
}

#[tokio::test]
async fn files_that_came_while_it_ran_are_counted_by_what_became_of_them() {
    let world = World::start().await;
    let of = |result: &str| format!("cutout_service_settings_reloads_total{{result=\"{result}\"}}");
    world.service.rewrite("[[breaker]]\nname = 7");
    world.service.hang_up();
    world.reaches(&of("refused"), 1.0).await;
    assert!(world.sample("cutout_service_settings_mistakes").await.unwrap() >= 1.0);
    assert_eq!(world.sample("cutout_service_settings_revision").await, Some(1.0));
    world.service.rewrite(file(2));
    world.service.hang_up();
    world.reaches(&of("taken"), 1.0).await;
    world.reaches("cutout_service_settings_mistakes", 0.0).await;
    assert_eq!(world.sample("cutout_service_settings_revision").await, Some(2.0));
}

#[tokio::test]
async fn callbacks_that_are_shed_are_counted_as_such_from_the_first() {
    let world = World::start().await;
    let busy = |of: &str| format!("cutout_service_requests_refused_total{{of=\"{of}\",why=\"busy\"}}");
    for of in ["callbacks", "operators"] {
        assert_eq!(world.sample(&busy(of)).await, Some(0.0), "{of}: told as none before the first");
    }
    let (at, body) = (world.service.at(), callback("0001", "Alert", 5).to_string().into_bytes());
    let started = Instant::now();
    let mut slow = Vec::new();
    while send(at, &callback("0002", "Alert", 5)).await.status != 503 {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is shed");
        // All places are taken by bodies that do not come, each for five seconds.
        for _ in 0..REQUESTS_MAX {
            let mut raw = Raw::connect(at).await;
            raw.write(head(at, &body, "").as_bytes()).await;
            slow.push(raw);
        }
    }
    assert!(world.sample(&busy("callbacks")).await.unwrap() >= 1.0);
    assert_eq!(world.sample(&busy("operators")).await, Some(0.0));
}
