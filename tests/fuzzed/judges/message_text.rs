//! The text of a notification: the same by every way, and Datadog's own footer counts, whatever an author wrote before it.
//!
//! An input is a line with the subject, and the text.

use super::{first_line, text};
use cutout_core::directive::callback_urls;
use cutout_core::report::NotifiedTransition;
use cutout_lambda::notification::{Notification, notifications};
use serde_json::{Value, json};

/// As it ends each message.
const FOOTER: &str = "\n\n[[Monitor Status](https://app.datadoghq.com/monitors/5200001?group=bank_code%3A0001)] · [[Event URL](https://app.datadoghq.com/event/event?id=6618108885455469409)]";

pub(super) fn judge(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (subject, text) = first_line(text);
    let notification = by_topic(subject, text);
    assert_eq!(by_queue(subject, text), notification, "by a queue");
    raw(text);
    if !is_object(text) {
        assert_eq!(
            notification.callback_urls,
            callback_urls(text),
            "a text's directives are those of the text"
        );
    }
    let with_footer = format!("{text}{FOOTER}");
    let footed = by_topic(subject, &with_footer);
    assert_eq!((footed.monitor_id, footed.event_id), (Some(5_200_001), Some(6_618_108_885_455_469_409)));
    for test in [
        by_topic(&format!("[TEST] {subject}"), text),
        by_topic(subject, &format!("{text}\nTest notification triggered by somebody")),
    ] {
        let transition = test.notified.expect("it has a time").transition;
        assert!(is_object(text) || transition == NotifiedTransition::Unknown, "a test claims nothing");
    }
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object())
}

fn sns(subject: &str, text: &str) -> Value {
    json!({
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:dd-circuit-breaker",
        "Subject": subject, "Message": text, "Timestamp": "2026-11-21T01:15:20.123Z",
    })
}

fn one(record: &Value) -> Notification {
    let [notification] = <[_; 1]>::try_from(notifications(json!({"Records": [record]}))).expect("one record");
    notification.expect("a message of SNS")
}

fn by_topic(subject: &str, text: &str) -> Notification {
    one(&json!({"Sns": sns(subject, text)}))
}

fn by_queue(subject: &str, text: &str) -> Notification {
    one(&json!({"eventSource": "aws:sqs", "messageId": "1", "body": sns(subject, text).to_string()}))
}

/// Delivered raw there is no subject, and the time is that of the queue; the rest is the same.
fn raw(text: &str) {
    // What looks like SNS's own wrapping is taken for it.
    if serde_json::from_str::<Value>(text).is_ok_and(|value| value.get("TopicArn").is_some()) {
        return;
    }
    let raw = one(&json!({"body": text, "attributes": {"SentTimestamp": "1795223720123"}}));
    assert_eq!(raw, by_topic("", text), "delivered raw");
}
