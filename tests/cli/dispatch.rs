//! The whole path without AWS: Datadog's webhook, `cutout dispatch`, the service, a real Redis. Every part but Datadog is
//! the compiled program.

use crate::operators::Ended;
use cutout_cli::fake_datadog::{FakeDatadog, Fault};
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::process::{Program, until};
use cutout_tests::redis::RedisServer;
use cutout_tests::service::ServiceProcess;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::process::Command;

const MONITOR: u64 = 5_200_001;
const BREAKERS: &str = r#"
[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "0s"
ramp = "1s"
"#;

struct World {
    datadog: FakeDatadog,
    service: ServiceProcess,
    dispatch: Program,
    door: String,
    redis: RedisServer,
}

impl World {
    /// `every`: how often all monitors are read.
    async fn start(every: &str) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redis = RedisServer::start();
        let service = ServiceProcess::start(&redis.url(), BREAKERS, &[]);
        let _ = service.lines_at_least(1, "declared");
        let datadog = FakeDatadog::start().await.unwrap();
        datadog.create_monitor(MONITOR, "Bank API error rate", &["cutout"]);
        datadog.set(MONITOR, "bank_code:0001,env:prod", "OK");
        let (url, secrets) =
            (datadog.url(), [canary::DISPATCH_SECRET, canary::OTHER_DISPATCH_SECRET].join(","));
        let environment = [
            ("DD_API_KEY", canary::DD_API_KEY),
            ("DD_APP_KEY", canary::DD_APP_KEY),
            ("CUTOUT_DATADOG_URL", url.as_str()),
            ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
            ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
            ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
            ("CUTOUT_DISPATCH_LISTEN", "127.0.0.1:0"),
            ("CUTOUT_DISPATCH_SECRETS", secrets.as_str()),
            ("CUTOUT_RECONCILE_EVERY", every),
        ];
        let mut command = Program::command(&binary("cutout"), &environment);
        command.arg("dispatch");
        let dispatch = Program::start(command);
        let at = dispatch.wait_for("where it listens", 0, |line| line["listen"].as_str().map(str::to_owned));
        dispatch
            .wait_for("the first scheduled run", 0, |line| (line["message"] == "reconciled").then_some(()));
        World { datadog, service, dispatch, door: format!("http://{at}"), redis }
    }

    fn callback_url(&self) -> String {
        format!("http://{}/dd_circuit_breaker/callback", self.service.at())
    }

    /// What Datadog posts when a group changes: the payload that docs/install.md gives.
    fn payload(&self, status: &str) -> Value {
        let change = self.datadog.set(MONITOR, "bank_code:0001,env:prod", status);
        let link = format!("https://app.datadoghq.com/event/event?id={}", change.event_id);
        json!({
            "title": change.title(), "body": format!("%%%\ncircuit-breaker-callback: {} \n\n%%%", self.callback_url()),
            "date": change.at.as_millisecond().to_string(), "event_id": change.event_id.to_string(),
            "monitor_id": MONITOR.to_string(), "alert_transition": "x", "alert_scope": change.group, "link": link,
        })
    }

    async fn post(&self, secret: &str, payload: Vec<u8>) -> StatusCode {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("{}/notify", self.door)).header("x-cutout-secret", secret);
        request.body(payload).send().await.unwrap().status()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.get(format!("{}{path}", self.door)).send().await.unwrap();
        (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    fn state(&self) -> String {
        let mut connection = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
        let flag: Option<String> = redis::cmd("HGET")
            .arg("cutout:{default}:flags")
            .arg("bank-charge/0001")
            .query(&mut connection)
            .unwrap();
        let flag: Value = flag.map_or(Value::Null, |flag| serde_json::from_str(&flag).unwrap());
        flag["state"].as_str().unwrap_or("absent").to_owned()
    }
}

fn send(environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = Program::command(&binary("cutout"), environment);
    command.arg("send").args(arguments);
    let mut program = Program::start(command);
    let code = program.wait().code().unwrap();
    program.read_to_end();
    Ended { code, told: program.lines().join("\n") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_opens_and_closes_a_breaker_and_only_who_knows_the_secret_may_post() {
    let mut world = World::start("60s").await;
    let alert = world.payload("Alert").to_string().into_bytes();
    for secret in ["", "wrong", &canary::DISPATCH_SECRET[1..]] {
        assert_eq!(world.post(secret, alert.clone()).await, 401, "{secret}");
    }
    assert_eq!(world.state(), "absent", "nothing has touched it");
    assert_eq!(world.post(canary::DISPATCH_SECRET, alert.clone()).await, 200);
    assert_eq!(world.state(), "open", "200 means committed");
    // A rotation: either secret does. Doubled, it changes nothing.
    assert_eq!(world.post(canary::OTHER_DISPATCH_SECRET, alert).await, 200);
    let recovery = world.payload("OK").to_string().into_bytes();
    assert_eq!(world.post(canary::DISPATCH_SECRET, recovery).await, 200);
    assert_ne!(world.state(), "open");

    assert_eq!(world.post(canary::DISPATCH_SECRET, b"no JSON".to_vec()).await, 400);
    assert_eq!(world.post(canary::DISPATCH_SECRET, vec![b' '; 300_000]).await, 413);
    let elsewhere = json!({"title": "x", "body": "circuit-breaker-callback: https://elsewhere.example/ ", "monitor_id": MONITOR});
    assert_eq!(
        world.post(canary::DISPATCH_SECRET, elsewhere.to_string().into_bytes()).await,
        422,
        "not allowed: no use to try again"
    );
    assert_eq!(world.post(canary::DISPATCH_SECRET, b"{}".to_vec()).await, 200, "no directive: nothing to do");
    world.datadog.fail_monitor_reads(Some(Fault::BadGateway));
    let unread = world.payload("Alert").to_string().into_bytes();
    assert_eq!(world.post(canary::DISPATCH_SECRET, unread).await, 502, "so that Datadog sends it again");

    assert_eq!(world.get("/healthz").await.0, 200);
    let (status, ready) = world.get("/readyz").await;
    assert_eq!((status, &ready["reconcile"]["complete"]), (StatusCode::OK, &json!(true)), "{ready}");
    assert!(
        Command::new("kill").args(["-TERM", &world.dispatch.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(world.dispatch.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_timer_heals_what_no_message_told() {
    let world = World::start("10s").await;
    let directive = format!("circuit-breaker-callback: {}", world.callback_url());
    world.datadog.set_message(MONITOR, &directive);
    world.datadog.set(MONITOR, "bank_code:0001,env:prod", "Alert");
    until("a scheduled run opens it", || world.state() == "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_tries_an_installation_without_opening_anything_unless_told() {
    let world = World::start("60s").await;
    let (door, callback) = (format!("{}/notify", world.door), world.callback_url());
    let secret = [("CUTOUT_DISPATCH_SECRET", canary::DISPATCH_SECRET)];
    let notify = ["notification", "--to", &door, "--callback", &callback, "--monitor", "5200001"];
    send(&secret, &notify).is(0, &["200", "done"]);
    send(&[], &notify).is(4, &["401", "x-cutout-secret"]);
    send(&secret, &["notification", "--to", "http://127.0.0.1:1/", "--callback", "x", "--monitor", "1"])
        .is(3, &[]);
    let printed =
        send(&[], &["notification", "--print", "--as", "event", "--callback", &callback, "--monitor", "1"]);
    assert!(
        serde_json::from_str::<Value>(&printed.told).unwrap()["Records"][0]["Sns"]["Message"].is_string()
    );

    let signing = [("CUTOUT_SIGNING_SECRET", canary::SIGNING_SECRET)];
    let straight =
        ["callback", "--to", &callback, "--monitor", "5200001", "--group", "bank_code:0001,env:prod"];
    send(&signing, &straight).is(0, &["200"]);
    assert_ne!(world.state(), "open");
    send(&signing, &[&straight[..], &["--transition", "alert"]].concat()).is(0, &["200"]);
    assert_eq!(world.state(), "open");
    send(&[("CUTOUT_SIGNING_SECRET", canary::OTHER_SIGNING_SECRET)], &straight).is(4, &["401"]);
    send(&signing, &["callback", "--to", &callback, "--monitor", "99"]).is(1, &["422"]);
    send(&[], &straight).is(2, &["CUTOUT_SIGNING_SECRET"]);
}

#[test]
fn mistakes_in_its_settings_are_told_at_once() {
    let mut command = Program::command(
        &binary("cutout"),
        &[("CUTOUT_DISPATCH_SECRETS", "short"), ("CUTOUT_DISPATCH_SECRTS", "x")],
    );
    command.arg("dispatch");
    let mut program = Program::start(command);
    assert_eq!(program.wait().code(), Some(2));
    program.read_to_end();
    let told = program.lines().join("\n");
    for name in [
        "CUTOUT_DISPATCH_SECRETS",
        "CUTOUT_DISPATCH_SECRTS",
        "DD_API_KEY",
        "DD_APP_KEY",
        "CUTOUT_SIGNING_SECRETS",
    ] {
        assert!(told.contains(name), "{name} is missing in:\n{told}");
    }
}
