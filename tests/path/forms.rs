//! Messages in other wrappings, and ids that do not fit a float.

use crate::rig::{BANK_MONITOR, Rig, bank};
use cutout_cli::fake_datadog::sns_event;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_came_through_sqs_is_the_same() {
    let rig = Rig::start().await;
    let change = rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert");
    let event = sns_event(&[change], &rig.directive());
    let body = event["Records"][0]["Sns"].to_string();
    let wrapped = json!({"Records": [{
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d", "eventSource": "aws:sqs", "awsRegion": "ap-northeast-1",
        "receiptHandle": "x", "body": body, "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1748736010123"},
        "messageAttributes": {}, "eventSourceARN": "arn:aws:sqs:ap-northeast-1:123456789012:dd-circuit-breaker",
    }]});
    rig.invoke(wrapped).await.unwrap();
    rig.caller_sees("0001", "open");
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
async fn ids_beyond_2_to_the_53_arrive_digit_by_digit() {
    let rig = Rig::start().await;
    let change = rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert");
    assert_ne!(change.event_id as f64 as u64, change.event_id, "a float would lose digits");
    rig.notify(std::slice::from_ref(&change)).await.unwrap();
    let sent = rig.way.seen().pop().unwrap();
    assert_eq!(sent.event_id, Some(change.event_id.to_string()));
    assert_eq!(sent.event.unwrap().title, change.title());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_record_fails_the_invocation_and_the_others_are_served_and_harmless_when_repeated() {
    let rig = Rig::start().await;
    let changes = ["0001", "0002"].map(|code| rig.datadog.set(BANK_MONITOR, &bank(code), "Alert"));
    let mut event = sns_event(&changes, &rig.directive());
    event["Records"][0]["Sns"]["Message"] = json!("circuit-breaker-callback: https://not-allowed.example/cb");
    let error = rig.invoke(event.clone()).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("not-allowed.example"), "{error}");
    rig.caller_sees("0002", "open");
    let changes = rig.changes();
    rig.invoke(event).await.unwrap_err();
    assert_eq!(rig.changes(), changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_directive_succeeds_without_a_read() {
    let rig = Rig::start().await;
    let change = rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert");
    rig.invoke(sns_event(&[change], "Please look.")).await.unwrap();
    assert_eq!(rig.datadog.reads().monitor, 0);
}
