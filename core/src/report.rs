//! The callback's body: what the function tells the owning service, as both rooms read it.
//!
//! `event_id` and `monitor_id` are always there, so that a service that asks Datadog itself needs nothing else.
//! The `report` is the truth (all groups of one monitor, as read at one moment); `notified` is a hint;
//! the `event` only enriches. Unknown fields are ignored, so that an older service reads a newer function.

use crate::tags::Tags;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// The value of [`Callback::schema`] that this version writes and reads.
pub const CALLBACK_SCHEMA: &str = "cutout.callback/1";

/// One callback: hint and report about one monitor, addressed to one URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Callback {
    /// [`CALLBACK_SCHEMA`].
    pub schema: String,
    /// Where it comes from; `datadog`.
    pub source: String,
    /// What made the function send it.
    pub reason: Reason,
    /// The URL it was sent to: a receiver that knows its own can refuse what was meant for another.
    pub to: String,
    /// The Datadog event's number as text (it exceeds 2^53), if the notification named one.
    #[serde(default, deserialize_with = "text_or_number")]
    pub event_id: Option<String>,
    /// The Datadog monitor's number.
    pub monitor_id: u64,
    /// What the notification itself says: the hint.
    #[serde(default)]
    pub notified: Option<Notified>,
    /// The monitor as read from Datadog; none if it could not be read.
    #[serde(default)]
    pub report: Option<Report>,
    /// The event as read from Datadog, if it could be.
    #[serde(default)]
    pub event: Option<Event>,
}

impl Callback {
    /// Whether the report shows what the notification tells: the group that it names, or the only one, has the status that
    /// the transition leads to. Also true where that cannot be said.
    #[must_use]
    pub fn shows_what_was_told(&self) -> bool {
        let (Some(told), Some(report)) = (&self.notified, &self.report) else { return true };
        let Some(status) = told.transition.leads_to() else { return true };
        let is_named = |group: &&Group| match &told.tags {
            Some(tags) => group.tags.includes(tags),
            None => report.groups.len() == 1,
        };
        report.groups.iter().filter(is_named).all(|group| group.status == status)
    }
}

/// The value of [`Inventory::schema`] that this version writes and reads.
pub const INVENTORY_SCHEMA: &str = "cutout.inventory/1";

/// What ends a complete scheduled run: every managed monitor that there is. Sent to each distinct URL once, signed like
/// a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`INVENTORY_SCHEMA`].
    pub schema: String,
    /// When the run began to read, by Datadog's clock: a monitor created later may be missing.
    pub as_of: Timestamp,
    /// The URL it was sent to.
    pub to: String,
    /// The numbers of all managed monitors, in order; also of those that do not name this URL.
    pub monitor_ids: Vec<u64>,
}

/// What made the function send a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A notification arrived.
    Notification,
    /// The scheduled run over all managed monitors.
    Reconcile,
}

/// What a notification claims. Never more than a hint: see [`crate::hint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    /// When SNS took the message.
    pub at: Timestamp,
    /// The transition that the title names.
    pub transition: NotifiedTransition,
    /// The tags of the one group that the message names; none if it names none or several.
    #[serde(default)]
    pub tags: Option<Tags>,
}

/// The transition that a notification's title names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifiedTransition {
    /// To Alert.
    Alert,
    /// To Warn.
    Warn,
    /// To OK.
    Recovery,
    /// To No Data.
    NoData,
    /// The same state told again.
    Renotify,
    /// Not known, or a test message.
    #[serde(other)]
    Unknown,
}

impl NotifiedTransition {
    /// The status that a group has after it; none where it may have several.
    fn leads_to(self) -> Option<Status> {
        match self {
            NotifiedTransition::Alert => Some(Status::Alert),
            NotifiedTransition::Warn => Some(Status::Warn),
            NotifiedTransition::Recovery => Some(Status::Ok),
            NotifiedTransition::NoData => Some(Status::NoData),
            NotifiedTransition::Renotify | NotifiedTransition::Unknown => None,
        }
    }
}

/// All groups of one monitor, as Datadog answered at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When Datadog answered, by Datadog's clock (whole seconds).
    pub as_of: Timestamp,
    /// The monitor.
    pub monitor: Monitor,
    /// Its groups, each once; `*` alone for an ungrouped monitor.
    pub groups: Vec<Group>,
}

impl Report {
    /// The newest change of any group, in Unix milliseconds of Datadog's clock; none if no group tells.
    #[must_use]
    pub fn latest_change_ms(&self) -> Option<i64> {
        self.groups.iter().filter_map(|group| group.changed_at).map(Timestamp::as_millisecond).max()
    }
}

/// A monitor, as far as a breaker or a person needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Datadog's type, such as `query alert`; the list grows.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Datadog's summary over all groups, if it gave one.
    #[serde(default)]
    pub overall_state: Option<String>,
    /// The monitor's own tags, not the groups'.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where a person sees it.
    #[serde(default)]
    pub url: String,
}

/// One group of a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// As Datadog spells it.
    pub name: String,
    /// The same as a set.
    pub tags: Tags,
    /// Alert, OK, …
    pub status: Status,
    /// When it last changed by Datadog's clock; none if Datadog does not tell.
    #[serde(default)]
    pub changed_at: Option<Timestamp>,
    /// Whether a downtime silences it now.
    #[serde(default)]
    pub muted: bool,
}

/// A group's status. Datadog's list grows, so a new one is kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// `OK`
    Ok,
    /// `Alert`
    Alert,
    /// `Warn`
    Warn,
    /// `No Data`
    NoData,
    /// `Unknown`, `Skipped`, `Ignored`, or one that this version does not know.
    Other(String),
}

impl Status {
    /// The status as Datadog writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Status::Ok => "OK",
            Status::Alert => "Alert",
            Status::Warn => "Warn",
            Status::NoData => "No Data",
            Status::Other(text) => text,
        }
    }
}

impl From<String> for Status {
    fn from(text: String) -> Status {
        match text.to_ascii_lowercase().replace(['_', ' '], "").as_str() {
            "ok" => Status::Ok,
            "alert" => Status::Alert,
            "warn" | "warning" => Status::Warn,
            "nodata" => Status::NoData,
            _ => Status::Other(text),
        }
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Status {
        Status::from(text.to_owned())
    }
}

impl From<Status> for String {
    fn from(status: Status) -> String {
        match status {
            Status::Other(text) => text,
            known => known.as_str().to_owned(),
        }
    }
}

/// The Datadog event behind a notification: enrichment only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its title.
    pub title: String,
    /// Its text, cut where it is long.
    pub text: String,
    /// When it happened.
    pub date_happened: Timestamp,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where a person sees it.
    pub url: String,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_example_is_read_and_written_back_unchanged() {
        let body = serde_json::json!({
            "schema": "cutout.callback/1", "source": "datadog", "reason": "notification",
            "to": "https://service-a/dd_circuit_breaker/callback",
            "event_id": "6618108885455469409", "monitor_id": 5_200_001,
            "notified": {"at": "2026-11-21T01:15:20.123Z", "transition": "alert", "tags": {"bank_code": ["0001"]}},
            "report": {
                "as_of": "2026-11-21T01:15:18Z",
                "monitor": {"name": "Bank API", "type": "query alert", "overall_state": "Alert", "tags": ["cutout"], "url": "https://app.datadoghq.com/monitors/5200001"},
                "groups": [{"name": "bank_code:0001,env:prod", "tags": {"bank_code": ["0001"], "env": ["prod"]},
                            "status": "Alert", "changed_at": "2026-11-21T01:15:05Z", "muted": false}]
            },
            "event": null
        });
        let callback: Callback = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(&callback).unwrap(), body);
        assert_eq!(callback.report.unwrap().latest_change_ms(), Some(1_795_223_705_000));
    }

    #[test]
    fn a_report_shows_what_was_told_if_the_named_group_or_the_only_one_does() {
        let shows = |transition: &str, tags: Option<&str>, groups: &[(&str, &str)]| {
            let groups = groups.iter().map(|(name, status)| {
                serde_json::json!({"name": name, "tags": Tags::parse(name), "status": status})
            });
            let callback: Callback = serde_json::from_value(serde_json::json!({
                "schema": CALLBACK_SCHEMA, "source": "", "reason": "notification", "to": "", "monitor_id": 1,
                "notified": {"at": "2026-11-21T01:15:20Z", "transition": transition, "tags": tags.map(Tags::parse)},
                "report": {"as_of": "2026-11-21T01:15:18Z", "monitor": {}, "groups": groups.collect::<Vec<_>>()},
            }))
            .unwrap();
            callback.shows_what_was_told()
        };
        let two = [("bank:1,env:prod", "Alert"), ("bank:2,env:prod", "OK")];
        assert!(shows("alert", Some("bank:1"), &two) && !shows("recovery", Some("bank:1"), &two));
        assert!(shows("recovery", Some("bank:2,env:prod"), &two) && !shows("no_data", Some("bank:2"), &two));
        assert!(shows("alert", Some("bank:3"), &two), "a group that is not there can show nothing");
        assert!(shows("recovery", None, &two), "of several groups none is named");
        assert!(!shows("warn", None, &[("*", "OK")]) && shows("warn", None, &[("*", "Warn")]));
        assert!(shows("renotify", Some("bank:1"), &two) && shows("unknown", Some("bank:1"), &two));
    }

    #[test]
    fn an_event_id_beyond_2_to_the_53_keeps_every_digit_as_number_or_text() {
        for id in ["6618108885455469409", "\"6618108885455469409\""] {
            let body = format!(
                r#"{{"schema":"cutout.callback/1","source":"datadog","reason":"reconcile","to":"x","event_id":{id},"monitor_id":1}}"#
            );
            let callback: Callback = serde_json::from_str(&body).unwrap();
            assert_eq!(callback.event_id.as_deref(), Some("6618108885455469409"));
        }
    }

    #[test]
    fn statuses_are_read_in_any_case_and_new_ones_are_kept() {
        assert_eq!(Status::from("Ok"), Status::Ok);
        assert_eq!(Status::from("No Data"), Status::NoData);
        assert_eq!(Status::from("Paused"), Status::Other("Paused".into()));
        assert_eq!(String::from(Status::from("no data")), "No Data");
    }

    #[test]
    fn each_status_is_written_as_datadog_writes_it() {
        for text in ["OK", "Alert", "Warn", "No Data", "Skipped"] {
            let status = Status::from(text);
            assert_eq!(status.as_str(), text);
            assert_eq!(serde_json::to_value(&status).unwrap(), text);
        }
        for (text, status) in
            [("warning", Status::Warn), ("NO_DATA", Status::NoData), ("ALERT", Status::Alert)]
        {
            assert_eq!(Status::from(text), status);
        }
    }

    #[test]
    fn a_callback_without_event_has_none_and_the_newest_change_counts() {
        let body = serde_json::json!({
            "schema": CALLBACK_SCHEMA, "source": "datadog", "reason": "reconcile", "to": "x", "event_id": null, "monitor_id": 1,
            "report": {"as_of": "2026-11-21T01:15:18Z", "monitor": {}, "groups": [
                {"name": "a", "tags": {}, "status": "OK"},
                {"name": "b", "tags": {}, "status": "OK", "changed_at": "2026-11-21T01:15:05Z"},
                {"name": "c", "tags": {}, "status": "OK", "changed_at": "2026-11-21T01:15:04Z"},
            ]},
        });
        let callback: Callback = serde_json::from_value(body).unwrap();
        assert_eq!(callback.event_id, None);
        assert_eq!(callback.report.unwrap().latest_change_ms(), Some(1_795_223_705_000));
    }
}
