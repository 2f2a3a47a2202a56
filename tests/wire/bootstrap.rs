//! The binary as AWS runs it: one process, the Runtime API, an environment, and what it logs.

use crate::fixtures::{self, constructed};
use crate::world::{AMPLE, CALLBACK_PATH, World};
use cutout_tests::binaries::binary;
use cutout_tests::doubles::{Answer, Double};
use cutout_tests::runtime_api::RuntimeApi;
use serde_json::{Value, json};
use std::process::Stdio;

/// The lines of a log, each a JSON object.
fn lines(log: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(log).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("a JSON line: {line}")))
        .collect()
}

/// The only line with this message.
pub(crate) fn line<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let mut of_message = lines.iter().filter(|line| line["message"] == message);
    let line = of_message.next().unwrap_or_else(|| panic!("a line {message:?} in {lines:?}"));
    assert!(of_message.next().is_none(), "one line {message:?} in {lines:?}");
    line
}

#[tokio::test]
async fn a_notification_goes_through_and_a_failure_is_told_once() {
    let world = World::start().await;
    let api = RuntimeApi::start().await;
    let mut command = api.command(&binary("bootstrap"));
    let child = command.envs(world.variables()).stdout(Stdio::piped()).spawn().unwrap();
    let alert = world.here(&fixtures::read(&constructed("sns"), "text_alert"));

    assert_eq!(api.invoke(alert.clone(), AMPLE).await, Ok(Value::Null));
    let callbacks = world.callbacks();
    assert!(callbacks.len() == 1 && callbacks[0].report.is_some());

    world.services[0].answer(CALLBACK_PATH, [Answer::new(422, "")]);
    let error = api.invoke(alert, AMPLE).await.unwrap_err();
    assert_eq!(error["errorType"], "Cutout.deliver");
    assert!(error["errorMessage"].as_str().unwrap().contains("127.0.0.1 answered 422"), "{error}");

    // The process polls for the next invocation again, so it has logged all of the last one.
    assert_eq!(api.invoke(json!({"Records": []}), AMPLE).await, Ok(Value::Null));
    let log = killed(child).await;
    let committed = line(&log, "callback committed");
    let (level, groups) = (&committed["level"], &committed["groups"]);
    assert_eq!((level, groups, &committed["reason"]), (&json!("INFO"), &json!(7), &json!("notification")));
    let failed = line(&log, "not delivered");
    let about = ["level", "step", "monitor_id", "event_id", "callback_host", "retryable"]
        .map(|field| failed[field].clone());
    let expected = [
        json!("ERROR"),
        json!("deliver"),
        json!(7_300_001),
        json!("7700000000000000001"),
        json!("127.0.0.1"),
        json!(false),
    ];
    assert_eq!(about, expected);
    assert!(failed["error"].as_str().unwrap().contains("answered 422"), "{failed}");
    assert_eq!(log.iter().filter(|line| line["level"] == "ERROR").count(), 1, "{log:?}");
    assert_eq!(unmanaged(&log), 2, "{log:?}");
    assert!(!format!("{log:?}").contains("canary"), "{log:?}");
}

/// How many lines count an unmanaged monitor.
fn unmanaged(log: &[Value]) -> usize {
    log.iter().filter(|line| line["unmanaged"] == true && line["monitor_id"] == 7_300_001).count()
}

#[tokio::test]
async fn a_monitor_that_bears_the_tag_is_managed() {
    let world = World::start().await;
    let api = RuntimeApi::start().await;
    let mut command = api.command(&binary("bootstrap"));
    command.envs(world.variables()).env("CUTOUT_RECONCILE_TAG", "circuit-breaker");
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let alert = world.here(&fixtures::read(&constructed("sns"), "text_alert"));
    assert_eq!(api.invoke(alert, AMPLE).await, Ok(Value::Null));
    let log = killed(child).await;
    line(&log, "callback committed");
    assert_eq!(unmanaged(&log), 0, "{log:?}");
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_used_for_https_to_datadog_and_nothing_else() {
    for (datadog_url, through_proxy) in [(None, false), (Some("https://datadog.invalid"), true)] {
        let (world, proxy) = (World::start().await, Double::start("127.0.0.1").await);
        let api = RuntimeApi::start().await;
        let mut command = api.command(&binary("bootstrap"));
        command.envs(world.variables()).envs(["HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name, proxy.url())));
        command.envs(datadog_url.map(|url| ("CUTOUT_DATADOG_URL", url)));
        let _child = command.stdout(Stdio::null()).spawn().unwrap();
        let alert = world.here(&fixtures::read(&constructed("sns"), "text_alert"));
        assert_eq!(api.invoke(alert, AMPLE).await.is_err(), through_proxy);
        assert_eq!(world.callbacks()[0].report.is_none(), through_proxy);
        let asked = proxy.asked();
        assert_eq!(!asked.is_empty(), through_proxy, "{asked:?}");
        for asked in asked {
            assert_eq!((asked.method.as_str(), asked.path.as_str()), ("CONNECT", "datadog.invalid:443"));
            assert!(!format!("{asked:?}").contains("canary"), "{asked:?}");
        }
    }
}

/// What the process had logged when it was killed.
pub(crate) async fn killed(mut child: tokio::process::Child) -> Vec<Value> {
    child.start_kill().unwrap();
    lines(&child.wait_with_output().await.unwrap().stdout)
}

#[tokio::test]
async fn a_process_with_wrong_settings_tells_all_mistakes_and_ends() {
    let api = RuntimeApi::start().await;
    let mut command = api.command(&binary("bootstrap"));
    command.env("CUTOUT_CALLBACK_ALOW", "*").env("DD_API_KEY", cutout_tests::canary::DD_API_KEY);
    let output = command.output().await.unwrap();
    assert!(!output.status.success());
    let log = lines(&output.stdout);
    let error = line(&log, "the function cannot run")["error"].as_str().unwrap();
    for told in ["DD_APP_KEY is not set", "CUTOUT_SIGNING_SECRETS is not set", "is it CUTOUT_CALLBACK_ALLOW?"]
    {
        assert!(error.contains(told), "{told:?} is not in {error}");
    }
    assert!(!format!("{output:?}").contains("canary"));
}
