//! A change told by SNS, in the shape that was recorded: plain text with the author's message first and Datadog's
//! footer of links last, wrapped as AWS hands it to a function.

use super::world::Change;
use serde_json::{Value, json};

/// The function's event for one or more changes, one record each. Every message bears `message`, the author's own
/// text (put the directive there), before the generated part.
#[must_use]
pub fn sns_event(changes: &[Change], message: &str) -> Value {
    json!({ "Records": changes.iter().map(|change| record(change, message)).collect::<Vec<_>>() })
}

fn record(change: &Change, message: &str) -> Value {
    let topic = "arn:aws:sns:ap-northeast-1:123456789012:dd-circuit-breaker";
    json!({
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": format!("{topic}:11111111-2222-4333-8444-555555555555"),
        "Sns": {
            "Type": "Notification",
            "MessageId": format!("00000000-0000-5000-8000-{:012}", change.event_id % 1_000_000_000_000),
            "TopicArn": topic,
            "Subject": change.title(),
            "Message": text(change, message),
            "Timestamp": change.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            "SignatureVersion": "1",
            "Signature": "RVhBTVBMRQ==",
            "SigningCertUrl": "https://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem",
            "UnsubscribeUrl": format!("https://sns.ap-northeast-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={topic}"),
            "MessageAttributes": {}
        }
    })
}

fn text(change: &Change, message: &str) -> String {
    let Change { monitor_id, group, event_id, .. } = change;
    let app = "https://app.datadoghq.com";
    let link = match group.as_str() {
        "*" => String::new(),
        group => format!("group={}", group.replace(':', "%3A").replace(',', "%2C")),
    };
    format!(
        "{message}\n\nvendor.request.error_rate over {group} was evaluated on average during the last 5m.\n\n\
         Monitor Status: {app}/monitors#{monitor_id}?{link} · Edit Monitor: {app}/monitors#{monitor_id}/edit · \
         Event URL: {app}/event/event?id={event_id}"
    )
}
