//! What becomes of a notification when something on its way fails.

use crate::fixtures::{self, constructed};
use crate::world::{AMPLE, CALLBACK_PATH, MONITOR_ID, World, ok, steps};
use cutout_lambda::function::{CALLBACK_BYTES_MAX, CALLBACKS_PER_MESSAGE_MAX, FailureCause, InvocationError};
use cutout_lambda::guard::SystemResolver;
use cutout_lambda::{Function, Settings};
use cutout_tests::canary;
use cutout_tests::doubles::Answer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVENT_ID: u64 = 7_700_000_000_000_000_001;

fn alert() -> Value {
    fixtures::read(&constructed("sns"), "text_alert")
}

/// An alert with other text before Datadog's footer.
fn alert_saying(text: &str) -> Value {
    let footer =
        format!("Monitor Status: https://app.datadoghq.com/monitors/{MONITOR_ID}?group=bank_code%3A0001");
    let sns = json!({"Subject": "[Triggered] x", "Message": format!("{text}\n{footer}"), "Timestamp": "2025-06-01T00:00:10.123Z"});
    json!({ "Records": [{ "Sns": sns }] })
}

fn error(status: u16) -> Answer {
    Answer::new(status, "{\"errors\":[\"x\"]}")
}

/// The steps that failed, and whether an invocation again may help.
fn told(outcome: Result<(), InvocationError>) -> (Vec<&'static str>, bool) {
    let retryable = outcome.as_ref().is_err_and(InvocationError::is_retryable);
    (steps(outcome), retryable)
}

#[tokio::test]
async fn an_unreadable_monitor_leaves_the_hint_alone_and_ends_in_an_error() {
    for (fault, retryable) in [(403, false), (429, true), (500, true), (502, true), (400, false)] {
        let world = World::start().await;
        world.monitor_answers(MONITOR_ID, [error(fault)]);
        assert_eq!(told(world.handle(&alert()).await), (vec!["monitor"], retryable), "{fault}");
        let callbacks = world.callbacks();
        assert_eq!(callbacks.len(), 1, "{fault}");
        assert!(callbacks[0].report.is_none() && callbacks[0].notified.is_some(), "{fault}");
        assert_eq!(
            (callbacks[0].monitor_id, callbacks[0].event_id.as_deref()),
            (MONITOR_ID, Some("7700000000000000001"))
        );
    }
}

#[tokio::test]
async fn a_datadog_that_does_not_answer_leaves_time_to_deliver_the_hint() {
    let world = World::start().await;
    world.monitor_answers(MONITOR_ID, [Answer::hang()]);
    world.event_answers(EVENT_ID, [Answer::hang()]);
    let outcome =
        world.function().handle(world.here(&alert()), Instant::now() + Duration::from_secs(2)).await;
    assert_eq!(told(outcome), (vec!["monitor"], true));
    assert!(world.callbacks()[0].report.is_none());
}

#[tokio::test]
async fn a_monitor_that_does_not_exist_is_an_error_and_nobody_is_told() {
    let world = World::start().await;
    world.monitor_answers(MONITOR_ID, [error(404)]);
    assert_eq!(told(world.handle(&alert()).await), (vec!["monitor"], false));
    assert!(world.callbacks().is_empty());
}

#[tokio::test]
async fn an_event_that_cannot_be_read_costs_nothing_but_itself() {
    for fault in [error(404), error(403), error(500), ok("<html>"), ok("{\"event\":null}"), Answer::hang()] {
        let world = World::start().await;
        world.event_answers(EVENT_ID, [fault]);
        world.handle(&alert()).await.unwrap();
        let callbacks = world.callbacks();
        assert!(callbacks[0].report.is_some() && callbacks[0].event.is_none());
    }
}

#[tokio::test]
async fn an_event_that_is_read_before_the_monitor_goes_along() {
    let world = World::start().await;
    let api = constructed("api");
    // The rate limit makes sure which of the two comes first.
    let limited = error(429).header("X-RateLimit-Reset", "1");
    world.monitor_answers(MONITOR_ID, [limited, ok(fixtures::text(&api, "monitor_v1_groups_all"))]);
    world.event_answers(EVENT_ID, [ok(fixtures::text(&api, "event_v1_alert"))]);
    world.handle(&alert()).await.unwrap();
    let callbacks = world.callbacks();
    assert!(callbacks[0].report.is_some());
    assert_eq!(callbacks[0].event.as_ref().unwrap().date_happened.to_string(), "2025-06-01T00:00:05Z");
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_once_if_there_is_time() {
    let limited = |secs: &str| error(429).header("X-RateLimit-Reset", secs);
    let readable = || ok(fixtures::text(&constructed("api"), "monitor_v1_groups_all"));
    for (answers, time, delivered_with_report, monitor_reads) in [
        (vec![limited("1"), readable()], AMPLE, true, 2),
        (vec![limited("0"), limited("0"), readable()], AMPLE, false, 2),
        (vec![limited("5"), readable()], Duration::from_secs(4), false, 1),
        (vec![limited("3600"), readable()], Duration::from_secs(7_200), false, 1),
        (vec![limited("soon"), readable()], AMPLE, false, 1),
    ] {
        let world = World::start().await;
        world.monitor_answers(MONITOR_ID, answers);
        let outcome = world.function().handle(world.here(&alert()), Instant::now() + time).await;
        assert_eq!(outcome.is_ok(), delivered_with_report, "{outcome:?}");
        assert_eq!(world.callbacks()[0].report.is_some(), delivered_with_report);
        assert_eq!(world.monitor_reads(), monitor_reads);
    }
}

#[tokio::test]
async fn only_200_is_committed() {
    for (status, retryable) in
        [(201, false), (204, false), (302, false), (401, false), (422, false), (500, true), (503, true)]
    {
        let world = World::start().await;
        world.services[0].answer(CALLBACK_PATH, [Answer::new(status, "")]);
        assert_eq!(told(world.handle(&alert()).await), (vec!["deliver"], retryable), "{status}");
        assert_eq!(world.callbacks().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn each_url_is_served_whatever_becomes_of_the_others() {
    let world = World::start().await;
    world.services[0].answer(CALLBACK_PATH, [error(503)]);
    let text = "circuit-breaker-callback: https://evil.example/x?token=canary-secret-in-a-query\n\
        circuit-breaker-callback:\n\
        circuit-breaker-callback: https://service-a.example.internal/dd_circuit_breaker/callback\n\
        circuit-breaker-callback: https://service-b.example.internal/dd_circuit_breaker/callback";
    let outcome = world.handle(&alert_saying(text)).await;
    let message = outcome.as_ref().unwrap_err().to_string();
    assert_eq!(steps(outcome), ["deliver", "guard", "guard"]);
    assert_eq!(world.services[1].asked().len(), 1);
    assert!(message.contains("evil.example") && message.contains("CUTOUT_CALLBACK_ALLOW"), "{message}");
    assert!(!message.contains("canary"), "{message}");
}

#[tokio::test]
async fn a_message_without_a_usable_url_reads_nothing() {
    let world = World::start().await;
    let outcome = world.handle(&alert_saying("circuit-breaker-callback: https://evil.example/")).await;
    assert_eq!(told(outcome), (vec!["guard"], false));
    assert_eq!(world.reads(), 0);
}

#[tokio::test]
async fn the_error_without_ids_names_the_presets() {
    let world = World::start().await;
    let event = fixtures::read(&constructed("sns"), "text_hide_all_no_ids");
    let error = world.handle(&event).await.unwrap_err();
    for preset in ["hide_all", "hide_handles_and_footer", "show_only_snapshot"] {
        assert!(error.to_string().contains(preset), "{error}");
    }
    assert!(!error.is_retryable());
    assert_eq!(error.kind(), "Cutout.ids");
}

#[tokio::test]
async fn a_host_without_a_secret_is_told_by_its_setting() {
    let world = World::start().await;
    let mut variables = world.variables();
    variables.insert("CUTOUT_SIGNING_SECRETS".into(), format!("127.0.0.2={}", canary::SIGNING_SECRET));
    let function = Function::new(Settings::read(variables).unwrap(), Arc::new(SystemResolver)).unwrap();
    let both = fixtures::read(&constructed("sns"), "text_two_callbacks");
    let outcome = function.handle(world.here(&both), Instant::now() + AMPLE).await;
    assert!(outcome.as_ref().unwrap_err().to_string().contains("CUTOUT_SIGNING_SECRETS"));
    assert_eq!(told(outcome), (vec!["deliver"], false));
    assert_eq!([world.services[0].asked().len(), world.services[1].asked().len()], [0, 1]);
}

#[tokio::test]
async fn one_record_that_fails_does_not_stop_the_others() {
    let world = World::start().await;
    let mut event = alert();
    let good = event["Records"][0].clone();
    event["Records"] = json!([{"Sns": {"Message": null}}, good, {"s3": {}}]);
    assert_eq!(told(world.handle(&event).await), (vec!["notification", "notification"], false));
    assert_eq!(world.callbacks().len(), 1);
    assert_eq!(told(world.handle(&json!({})).await), (vec!["notification"], false));
}

#[tokio::test]
async fn a_report_too_large_for_a_callback_leaves_the_hint_alone() {
    let world = World::start().await;
    let group = |n: usize| (format!("bank_code:{n},note:{}", "x".repeat(200)), json!({"status": "Alert"}));
    let groups: serde_json::Map<_, _> = (0..9_000).map(group).collect();
    let monitor = json!({"name": "large", "type": "query alert", "multi": true, "state": {"groups": groups}});
    world.monitor_answers(MONITOR_ID, [ok(monitor.to_string())]);
    let error = world.handle(&alert()).await.unwrap_err();
    let [failure] = error.failures() else { panic!("{error}") };
    assert!(
        matches!(failure.cause, FailureCause::ReportTooLarge { bytes } if bytes > CALLBACK_BYTES_MAX),
        "{error}"
    );
    assert!(error.to_string().contains("monitor 7300001"), "{error}");
    assert!(world.callbacks()[0].report.is_none());
}

#[tokio::test]
async fn more_urls_than_a_message_may_have_is_an_error_and_the_first_ones_are_called() {
    let world = World::start().await;
    let directive = |n: usize| format!("circuit-breaker-callback: https://service-a.example.internal/{n}\n");
    world.services[0].answer("/0", [Answer::new(200, "")]);
    let text: String = (0..CALLBACKS_PER_MESSAGE_MAX + 1).map(directive).collect();
    let outcome = world.handle(&alert_saying(&text)).await;
    let called = world.services[0].asked().len();
    assert_eq!(called, CALLBACKS_PER_MESSAGE_MAX);
    let guards = steps(outcome).into_iter().filter(|step| *step == "guard").count();
    assert_eq!(guards, 1);
}

#[tokio::test]
async fn a_service_that_does_not_answer_ends_with_the_invocations_time() {
    let world = World::start().await;
    world.services[0].answer(CALLBACK_PATH, [Answer::hang()]);
    let both = fixtures::read(&constructed("sns"), "text_two_callbacks");
    let outcome = world.function().handle(world.here(&both), Instant::now() + Duration::from_secs(2)).await;
    assert!(
        matches!(outcome.as_ref().unwrap_err().failures()[0].cause, FailureCause::Deadline),
        "{outcome:?}"
    );
    assert_eq!(told(outcome), (vec!["deliver"], true));
    assert_eq!(world.services[1].asked().len(), 1);
}
