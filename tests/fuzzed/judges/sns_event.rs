//! An event of the function: each record is read by itself, and by whatever way it came.

use cutout_lambda::notification::{Notification, notifications, records};
use serde_json::{Value, json};

pub(super) fn judge(input: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(input) else { return };
    let given = event.get("Records").and_then(Value::as_array).cloned();
    let read = records(event.clone());
    let Some(given) = given else {
        assert!(read.len() == 1 && read[0].notification.is_err(), "no list of records is one mistake");
        return;
    };
    assert_eq!(read.len(), given.len(), "an answer for each record");
    for (record, given) in read.iter().zip(&given) {
        assert!(record.sqs_id.as_ref().is_none_or(|id| !id.is_empty() && given["messageId"] == json!(id)));
        let alone = one(&json!({"Records": [given]}));
        assert_eq!(alone.as_ref(), record.notification.as_ref().ok(), "other records change nothing");
        if let Some(notification) = &alone {
            same_by_queue(given, notification);
            hint(given, notification);
        }
    }
    assert_eq!(notifications(event).len(), given.len());
}

fn one(event: &Value) -> Option<Notification> {
    let [notification] = <[_; 1]>::try_from(notifications(event.clone())).expect("one record");
    notification.ok()
}

/// What SNS hands to the function says the same when it hands it to a queue.
fn same_by_queue(record: &Value, direct: &Notification) {
    let Some(sns) = record.get("Sns").filter(|sns| sns.is_object()) else { return };
    let mut wrapped = sns.clone();
    wrapped["TopicArn"] = json!("arn:aws:sns:us-east-1:000000000000:dd-circuit-breaker");
    let event =
        json!({"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": wrapped.to_string()}]});
    assert_eq!(one(&event).as_ref(), Some(direct), "by a queue");
}

/// A hint has a time, which is SNS's own where it tells one.
fn hint(record: &Value, notification: &Notification) {
    let told = record.pointer("/Sns/Timestamp").and_then(Value::as_str).and_then(|text| text.parse().ok());
    if record.get("Sns").is_some_and(Value::is_object) {
        assert_eq!(notification.notified.as_ref().map(|notified| notified.at), told);
    }
}
