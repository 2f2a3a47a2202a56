//! What arrived: the notifications of one function event, read leniently.
//!
//! A notification is text that has gone through an author, Datadog and perhaps a relay. Three things are read from it:
//! the URLs of its directives, the numbers of its monitor and event, and the hint (what its title claims). The shapes
//! that are known, and how sure each one is, stand with the fixtures; nothing that is not needed is required.
//!
//! Left out: judging the URLs (the guard's), believing the hint (core's), and AWS's own event types, which refuse
//! records that lack fields nobody needs.

mod envelope;
mod links;
mod message;
mod title;

use cutout_core::Tags;
use cutout_core::directive::callback_urls;
use cutout_core::report::Notified;
use envelope::Envelope;
use message::Message;
use serde_json::Value;

/// What is needed of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The URLs of its directives as written, each distinct one once. Empty: it is not for this function.
    pub callback_urls: Vec<String>,
    /// The monitor's number; none if the message names none.
    pub monitor_id: Option<u64>,
    /// The event's number; none if the message names none.
    pub event_id: Option<u64>,
    /// The hint; none if it is not known when the message was sent.
    pub notified: Option<Notified>,
}

/// Why a function event, or one record of it, cannot be read. Sending it again does not help.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not an event of SNS or SQS.
    #[error("the event has no list `Records`: subscribe this function to an SNS topic or an SQS queue")]
    NoRecords,
    /// A record is neither an SNS nor an SQS record.
    #[error("a record of the event holds neither `Sns.Message` nor `body` as text")]
    NoMessage,
    /// A record's fields are of other types than AWS documents.
    #[error("a record of the event is not in the shape of SNS or SQS")]
    Record(#[source] serde_json::Error),
}

/// One record of a function event.
#[derive(Debug)]
pub struct Record {
    /// The number that SQS gave it, by which it can be told apart in the answer; none for a record of SNS.
    pub sqs_id: Option<String>,
    /// What it says.
    pub notification: Result<Notification, Unreadable>,
}

/// The records of a function event, in order; a single unreadable one if the event has no list of them.
pub fn records(event: Value) -> Vec<Record> {
    match envelope::records(event) {
        Ok(records) => records.into_iter().map(record).collect(),
        Err(unreadable) => vec![Record { sqs_id: None, notification: Err(unreadable) }],
    }
}

/// The notifications of a function event, one entry a record, in order.
pub fn notifications(event: Value) -> Vec<Result<Notification, Unreadable>> {
    records(event).into_iter().map(|record| record.notification).collect()
}

fn record(value: Value) -> Record {
    let sqs_id = envelope::sqs_id(&value);
    Record { sqs_id, notification: envelope::envelope(value).map(notification) }
}

fn notification(envelope: Envelope) -> Notification {
    let message = Message::read(&envelope.text, envelope.subject);
    let links = links::links(&message.text);
    let monitor_id = message.monitor_id.or_else(|| links::monitor_id(&links));
    let event_id = message.event_id.or_else(|| links::event_id(&links)).or(message.fallback_event_id);
    let claim = title::claim(&message.title);
    let linked_group = monitor_id.and_then(|id| links::group(&links, id));
    let transition = message.transition(claim.transition);
    let tags = agreed(claim.group.or(message.group), linked_group);
    let notified = envelope.at.map(|at| Notified { at, transition, tags });
    Notification { callback_urls: callback_urls(&message.text), monitor_id, event_id, notified }
}

/// The one group that title and link name. Where one names more tags than the other (Datadog shortens titles), the
/// fuller one; where they contradict each other, none: a hint must not open what it may not mean.
fn agreed(titled: Option<Tags>, linked: Option<Tags>) -> Option<Tags> {
    match (titled, linked) {
        (Some(titled), Some(linked)) if titled.includes(&linked) => Some(titled),
        (Some(titled), Some(linked)) => linked.includes(&titled).then_some(linked),
        (titled, linked) => titled.or(linked),
    }
}

/// The tags of a group's name; none for a name that stands for the whole monitor.
fn named_group(name: &str) -> Option<Tags> {
    const WHOLE_MONITOR: &str = "total";
    let tags = Tags::parse(name);
    (name != WHOLE_MONITOR && !tags.is_empty()).then_some(tags)
}

#[cfg(test)]
mod tests;
