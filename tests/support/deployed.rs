//! The compiled function between stand-ins, for a driver that speaks for AWS. Ends when its standard input does.
//!
//! First it prints `{"service": URL}`, where callbacks will arrive. The first line that it reads is
//! `{"bootstrap": PATH, "variables": {…}, "secrets": {name: text}}`: the function's environment as it was deployed, and what its
//! secrets' names stand for. Each further line is `{"event": …, "service_status": 200}`, and answered by
//! `{"answer": …}` or `{"error": …}`, and the callbacks that arrived, verified as a service does.

// A driver reads its last words.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use cutout_core::webhook;
use cutout_tests::canary;
use cutout_tests::doubles::{Answer, Asked, Double};
use cutout_tests::runtime_api::RuntimeApi;
use cutout_tests::secret_store::SecretStore;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

const PATH: &str = "/dd_circuit_breaker/callback";
const MONITOR: &str = include_str!("../fixtures/constructed/api/monitor_v1_groups_all.json");
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct SetUp {
    bootstrap: PathBuf,
    variables: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Asking {
    event: Value,
    service_status: u16,
}

fn tell(line: &Value) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the driver listens");
}

#[tokio::main]
async fn main() {
    let (datadog, service) = (Double::start("127.0.0.1").await, Double::start("127.0.0.1").await);
    datadog.demand("dd-api-key", canary::DD_API_KEY);
    datadog.demand("dd-application-key", canary::DD_APP_KEY);
    answer_as_datadog(&datadog, &service);
    tell(&json!({"service": format!("{}{PATH}", service.url())}));

    let mut lines = std::io::stdin().lock().lines().map(|line| line.expect("the driver speaks"));
    let set_up: SetUp = serde_json::from_str(&lines.next().expect("the set-up")).expect("the set-up's shape");
    let store = SecretStore::start().await;
    set_up.secrets.iter().for_each(|(name, text)| store.keep(name, text));
    let api = RuntimeApi::start().await;
    let mut command = api.command(&set_up.bootstrap);
    command.envs(set_up.variables).envs(store.variables()).envs(here(&datadog));
    let _function = command.stdout(std::io::stderr()).spawn().expect("the function starts");

    for line in lines {
        let asking: Asking = serde_json::from_str(&line).expect("an event's shape");
        let before = service.asked().len();
        service.answer(PATH, [Answer::new(asking.service_status, "")]);
        let outcome = api.invoke(asking.event, TIMEOUT).await;
        let callbacks: Vec<Value> = service.asked().iter().skip(before).map(verified).collect();
        tell(&match outcome {
            Ok(answer) => json!({"answer": answer, "callbacks": callbacks}),
            Err(error) => json!({"error": error, "callbacks": callbacks}),
        });
    }
}

/// Monitor 7300001, alone and in the list of managed ones, whose message names the service.
fn answer_as_datadog(datadog: &Double, service: &Double) {
    let mut monitor: Value = serde_json::from_str(MONITOR).expect("a fixture is JSON");
    monitor["tags"] = json!(["cutout"]);
    monitor["message"] =
        json!(format!("circuit-breaker-callback: {}{PATH} @sns-dd-circuit-breaker", service.url()));
    let ok =
        |body: &Value| Answer::new(200, body.to_string()).header("date", "Sun, 01 Jun 2025 00:00:18 GMT");
    datadog.answer("/api/v1/monitor/7300001", [ok(&monitor)]);
    datadog.answer("/api/v1/monitor", [ok(&json!([monitor])), ok(&json!([]))]);
}

/// What is not as it was deployed, for the whole world stands on loopback.
fn here(datadog: &Double) -> [(&'static str, String); 2] {
    [("CUTOUT_DATADOG_URL", datadog.url()), ("CUTOUT_CALLBACK_ALLOW_HTTP", "true".to_owned())]
}

fn verified(asked: &Asked) -> Value {
    let secrets = [canary::SIGNING_SECRET.parse().expect("a secret")];
    let timestamp = asked.header(webhook::TIMESTAMP_HEADER);
    let now_secs = timestamp.parse().expect("a time");
    let (id, signatures) = (asked.header(webhook::ID_HEADER), asked.header(webhook::SIGNATURE_HEADER));
    webhook::verify(&secrets, id, timestamp, signatures, &asked.body, now_secs).expect("a signed callback");
    serde_json::from_slice(&asked.body).expect("a callback is JSON")
}
