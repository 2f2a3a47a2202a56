//! A message: plain text as Datadog sends it over SNS, or a JSON object as a relay, a workflow or a webhook makes it.
//!
//! Of a JSON object every string counts as text, for who made it chose the names. Explicit fields for ids come
//! before links. Ids are integers or text, never floats: they exceed 2^53.

use super::{named_group, title};
use cutout_core::Tags;
use cutout_core::report::NotifiedTransition;
use serde_json::Value;

/// Field names in lower case, the surer one first.
const MONITOR_ID_FIELDS: [&str; 4] = ["monitor_id", "alert_id", "monitorid", "alertid"];
const EVENT_ID_FIELDS: [&str; 2] = ["event_id", "eventid"];
const TRANSITION_FIELDS: [&str; 3] = ["alert_transition", "alerttransition", "transition"];
const GROUP_FIELDS: [&str; 3] = ["alert_scope", "scopes", "scope"];
/// What Datadog writes into the text of a test notification, besides `[TEST]` into its title.
const TEST_NOTIFICATION: &str = "Test notification triggered by ";

pub(super) struct Message {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) monitor_id: Option<u64>,
    pub(super) event_id: Option<u64>,
    /// `id` of the default webhook shape is the event's number; elsewhere it may be another's, so it comes last.
    pub(super) fallback_event_id: Option<u64>,
    pub(super) group: Option<Tags>,
    transition: Option<NotifiedTransition>,
}

impl Message {
    pub(super) fn read(text: &str, subject: Option<String>) -> Message {
        match serde_json::from_str::<Value>(text) {
            Ok(object @ Value::Object(_)) => Message::from_object(&object, subject),
            _ => Message {
                title: subject.unwrap_or_default(),
                text: text.to_owned(),
                monitor_id: None,
                event_id: None,
                fallback_event_id: None,
                group: None,
                transition: None,
            },
        }
    }

    fn from_object(object: &Value, subject: Option<String>) -> Message {
        let title = object.get("title").and_then(Value::as_str).map(str::to_owned);
        let mut text = String::new();
        append_strings(object, &mut text);
        Message {
            title: title.or(subject).unwrap_or_default(),
            text,
            monitor_id: field(object, &MONITOR_ID_FIELDS, &id),
            event_id: field(object, &EVENT_ID_FIELDS, &id),
            fallback_event_id: object.get("id").and_then(id),
            group: field(object, &GROUP_FIELDS, &|value| named_group(value.as_str()?)),
            transition: field(object, &TRANSITION_FIELDS, &|value| title::transition(value.as_str()?)),
        }
    }

    /// The transition that the title claims, or else a field; a test notification claims none.
    pub(super) fn transition(&self, titled: Option<NotifiedTransition>) -> NotifiedTransition {
        let test = title::is_test(&self.title) || self.text.contains(TEST_NOTIFICATION);
        titled.or(self.transition).filter(|_| !test).unwrap_or(NotifiedTransition::Unknown)
    }
}

/// The first usable value of any of these fields, at any depth.
fn field<T>(value: &Value, names: &[&str], read: &impl Fn(&Value) -> Option<T>) -> Option<T> {
    names.iter().find_map(|name| field_named(value, name, read))
}

fn field_named<T>(value: &Value, name: &str, read: &impl Fn(&Value) -> Option<T>) -> Option<T> {
    let object = value.as_object()?;
    let here =
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| read(value));
    here.or_else(|| object.values().find_map(|value| field_named(value, name, read)))
}

/// A number, or its decimal text.
fn id(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// serde_json bounds the depth of what it reads.
fn append_strings(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => {
            text.push_str(string);
            text.push('\n');
        }
        Value::Array(values) => values.iter().for_each(|value| append_strings(value, text)),
        Value::Object(fields) => fields.values().for_each(|value| append_strings(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
