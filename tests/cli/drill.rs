//! A drill on compiled programs: `cutout drill` invokes the function at a stand-in for Lambda, the function signs and
//! posts, the service commits to a real Redis, and a client refuses. And what no drill may do.

use crate::operators::Ended;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use cutout_cli::stack::{Keep, Stack};
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::process::{Program, until};
use cutout_tests::redis::RedisServer;
use cutout_tests::runtime_api::RuntimeApi;
use cutout_tests::service::ServiceProcess;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_secs(10);
const BREAKERS: &str = r#"
[[breaker]]
name = "practice"
key = ["bank_code"]
monitors = { ids = [1] }
drill = true
min_open = "0s"
ramp = "1s"

[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
"#;

struct World {
    runtime: Arc<RuntimeApi>,
    lambda: String,
    service: ServiceProcess,
    redis: RedisServer,
    _function: Program,
}

impl World {
    async fn start() -> World {
        let redis = RedisServer::start();
        let operators = canary::operators();
        let more = [("CUTOUT_OPERATORS", operators.as_str()), ("CUTOUT_OPERATORS_LISTEN", "127.0.0.1:0")];
        let service = ServiceProcess::start(&redis.url(), BREAKERS, &more);
        let _ = service.lines_at_least(1, "declared");
        let runtime = Arc::new(RuntimeApi::start().await);
        let mut command = runtime.command(&binary("bootstrap"));
        command.envs(function_settings());
        let function = Program::start(command.into_std());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lambda = format!("http://{}", listener.local_addr().unwrap());
        let path = "/2015-03-31/functions/{name}/invocations";
        let router = Router::new().route(path, post(invocation)).with_state(Arc::clone(&runtime));
        tokio::spawn(async move { axum::serve(listener, router).await });
        World { runtime, lambda, service, redis, _function: function }
    }

    fn callback(&self) -> String {
        format!("http://{}/dd_circuit_breaker/callback", self.service.at())
    }

    fn cutout(&self, more: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let (redis, operators) = (self.redis.url(), format!("http://{}", self.service.operators_at()));
        let environment = [
            ("CUTOUT_REDIS_URL", redis.as_str()),
            ("CUTOUT_URL", &operators),
            ("CUTOUT_TOKEN", canary::OPERATOR_TOKEN),
            ("AWS_ENDPOINT_URL", &self.lambda),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "canary-secret-of-an-aws-account"),
        ];
        let environment: Vec<_> = environment.iter().chain(more).copied().collect();
        let mut command = Program::command(&binary("cutout"), &environment);
        command.args(arguments);
        let mut program = Program::start(command);
        let code = program.wait().code().unwrap();
        program.read_to_end();
        Ended { code, told: program.lines().join("\n") }
    }

    fn drill(&self, breaker: &str) -> Ended {
        let callback = self.callback();
        self.cutout(
            &[],
            &[
                "drill",
                breaker,
                "--callback",
                &callback,
                "--function",
                "cutout-notification",
                "--by",
                "ann",
                "--whole",
            ],
        )
    }

    fn state(&self, breaker: &str) -> String {
        let mut connection = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
        let flag: Option<String> =
            redis::cmd("HGET").arg("cutout:{default}:flags").arg(breaker).query(&mut connection).unwrap();
        let flag: Value = flag.map_or(Value::Null, |flag| serde_json::from_str(&flag).unwrap());
        flag["state"].as_str().unwrap_or("absent").to_owned()
    }
}

fn function_settings() -> [(&'static str, &'static str); 5] {
    [
        ("DD_API_KEY", canary::DD_API_KEY),
        ("DD_APP_KEY", canary::DD_APP_KEY),
        ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
        ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
        ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
    ]
}

/// Lambda's door for direct invocations: who signs may invoke.
async fn invocation(
    State(runtime): State<Arc<RuntimeApi>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let signed = headers
        .get("authorization")
        .is_some_and(|value| value.to_str().unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    if !signed || name != "cutout-notification" {
        return (StatusCode::FORBIDDEN, r#"{"Message": "not allowed"}"#).into_response();
    }
    match runtime.invoke(serde_json::from_slice(&body).unwrap(), TIMEOUT).await {
        Ok(answer) => answer.to_string().into_response(),
        Err(error) => ([("x-amz-function-error", "Unhandled")], error.to_string()).into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_goes_there_and_back_and_stands_in_the_history() {
    let world = World::start().await;
    let drilled = world.drill("practice/0001");
    drilled.is(0, &["a client refuses", "ms", "a client admits a call", "all calls flow", "the path works"]);
    assert_ne!(world.state("practice/0001"), "open");
    world.cutout(&[], &["history"]).is(0, &["force by drill:ann: a drill", "clear by drill:ann: a drill"]);
    // The same without AWS, by a function in the command's own process.
    let callback = world.callback();
    let here = ["drill", "practice/0002", "--callback", &callback, "--in-process", "--by", "bob"];
    world.cutout(&function_settings(), &here).is(0, &["the path works"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_breakers_that_are_for_drills_take_one_and_nobodys_decision_is_touched() {
    let world = World::start().await;
    world.drill("bank-charge/0001").is(1, &["422", "drill = true", "ends by itself"]);
    assert_eq!(world.state("bank-charge/0001"), "absent");
    world.drill("practice").is(1, &["one value for each of [`bank_code`]"]);

    let close = ["close", "practice/0001", "--why", "mine", "--until", "1h"];
    world.cutout(&[], &close).is(0, &[]);
    world.drill("practice/0001").is(1, &["somebody forces it", "no drill now"]);
    // Also at the service, should the command not look.
    let step = |breaker: &str, opens: bool| json!({"cutout": "drill", "to": world.callback(), "breaker": breaker, "opens": opens, "for_secs": 60});
    for (breaker, opens, answer) in
        [("practice/0001", true, "409"), ("practice/0001", false, "409"), ("practice", true, "422")]
    {
        let error = world.runtime.invoke(step(breaker, opens), TIMEOUT).await.unwrap_err();
        assert!(error.to_string().contains(answer), "{error}");
    }
    world.cutout(&[], &["status", "practice/0001"]).is(0, &["forced closed by ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_drill_ends_by_itself_and_no_message_asks_for_one() {
    let world = World::start().await;
    let step = json!({"cutout": "drill", "to": world.callback(), "breaker": "practice/0001", "opens": true, "for_secs": 2});
    world.runtime.invoke(step.clone(), TIMEOUT).await.unwrap();
    assert_eq!(world.state("practice/0001"), "open");
    until("it ends by itself", || world.state("practice/0001") == "closed");

    // As the text of a message, as a record, and as an event that is both.
    let other = |breaker: &str| {
        let mut step = step.clone();
        step["breaker"] = json!(breaker);
        step
    };
    let text = json!({"Records": [{"Sns": {"Message": other("practice/0002").to_string()}}]});
    world.runtime.invoke(text, TIMEOUT).await.unwrap();
    let _ = world.runtime.invoke(json!({"Records": [other("practice/0002")]}), TIMEOUT).await;
    let mut both = other("practice/0002");
    both["Records"] = json!([]);
    let _ = world.runtime.invoke(both, TIMEOUT).await;
    assert_eq!(world.state("practice/0002"), "absent");
    // The guard judges its URL like any other.
    let mut elsewhere = step.clone();
    elsewhere["to"] = json!("http://10.0.0.1/");
    let error = world.runtime.invoke(elsewhere, TIMEOUT).await.unwrap_err();
    assert_eq!(error["errorType"], "Cutout.guard", "{error}");
    let error = world.runtime.invoke(json!({"cutout": "drill"}), TIMEOUT).await.unwrap_err();
    assert_eq!(error["errorType"], "Cutout.drill", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_service_takes_drills_too() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stack = Stack::start(&Keep::Memory, "default", BREAKERS).await.unwrap();
    let practice = stack.client.breaker("practice", &["0001"]).unwrap();
    let step = |opens: bool| json!({"cutout": "drill", "to": stack.callback_url(), "breaker": "practice/0001", "opens": opens, "for_secs": 60});
    stack.invoke(step(true)).await.unwrap();
    until("a client refuses", || practice.admit().is_err() && practice.state() == cutout::State::Open);
    stack.invoke(step(false)).await.unwrap();
    until("all calls flow", || practice.state() == cutout::State::Closed);
    // Ended already: a step that comes twice is success.
    stack.invoke(step(false)).await.unwrap();
}
