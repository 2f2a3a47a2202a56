//! The wrapping of a message: SNS to Lambda, SNS to SQS to Lambda, and SQS with raw delivery.
//!
//! SNS spells its fields alike in all of them but for `…Url` and `…URL`, which are not needed.

use super::Unreadable;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One message out of its wrapping.
pub(super) struct Envelope {
    pub(super) subject: Option<String>,
    pub(super) text: String,
    /// When SNS took it, or, with raw delivery, SQS.
    pub(super) at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "Sns")]
    sns: Option<Sns>,
    body: Option<String>,
    #[serde(default)]
    attributes: SqsAttributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sns {
    subject: Option<String>,
    message: Option<String>,
    timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsAttributes {
    /// Unix milliseconds, as text.
    sent_timestamp: Option<String>,
}

const SQS_SOURCE: &str = "aws:sqs";

pub(super) fn records(mut event: Value) -> Result<Vec<Value>, Unreadable> {
    match event.get_mut("Records").map(Value::take) {
        Some(Value::Array(records)) => Ok(records),
        _ => Err(Unreadable::NoRecords),
    }
}

/// The message's number in its queue, which stands beside the body, whatever that holds.
pub(super) fn sqs_id(record: &Value) -> Option<String> {
    let of_sqs = record.get("eventSource").is_some_and(|source| source == SQS_SOURCE);
    record.get("messageId").filter(|_| of_sqs)?.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

pub(super) fn envelope(record: Value) -> Result<Envelope, Unreadable> {
    let record: Record = serde_json::from_value(record).map_err(Unreadable::Record)?;
    if let Some(sns) = record.sns {
        return sns.open().ok_or(Unreadable::NoMessage);
    }
    let body = record.body.ok_or(Unreadable::NoMessage)?;
    // A message that is JSON itself has no `Message` beside a `TopicArn`; what SNS wrapped has both.
    let wrapped = serde_json::from_str::<Value>(&body)
        .ok()
        .filter(|body| body.get("TopicArn").is_some())
        .and_then(|body| serde_json::from_value::<Sns>(body).ok())
        .and_then(Sns::open);
    let sent_at = || {
        let sent_ms = record.attributes.sent_timestamp?.parse().ok()?;
        Timestamp::from_millisecond(sent_ms).ok()
    };
    Ok(wrapped.unwrap_or_else(|| Envelope { subject: None, text: body, at: sent_at() }))
}

impl Sns {
    fn open(self) -> Option<Envelope> {
        let at = self.timestamp.and_then(|text| text.parse().ok());
        Some(Envelope { subject: self.subject, text: self.message?, at })
    }
}
