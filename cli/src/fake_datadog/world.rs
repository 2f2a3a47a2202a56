//! The fake's monitors, events and clock, and their JSON in Datadog's shapes.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The first event's number: beyond 2^53, as real ones are.
const FIRST_EVENT_ID: u64 = 7_700_000_000_000_000_101;

/// The message of a monitor that was given none.
const MESSAGE: &str = "{{#is_alert}}circuit-breaker-callback: https://service-a.example.internal/dd_circuit_breaker/callback {{/is_alert}}";

/// A fault of the real API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 403: wrong keys, or a scope is missing.
    Forbidden,
    /// 429 with `X-RateLimit-Reset`.
    RateLimited {
        /// Seconds until the limit resets.
        reset_secs: u32,
    },
    /// 502 with a page that is not JSON.
    BadGateway,
    /// No answer at all.
    Hang,
}

/// How often the fake was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// Single monitors.
    pub monitor: u64,
    /// Pages of the list of monitors.
    pub list: u64,
    /// Events.
    pub event: u64,
}

/// One change of one group, as a notification tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The monitor's number.
    pub monitor_id: u64,
    /// Its name.
    pub monitor_name: String,
    /// The group's name; `*` for an ungrouped monitor.
    pub group: String,
    /// The new status.
    pub status: String,
    /// The event's number.
    pub event_id: u64,
    /// When it happened.
    pub at: Timestamp,
}

impl Change {
    /// The title that Datadog gives the event, such as `[Triggered on {bank_code:0001}] Bank API`.
    #[must_use]
    pub fn title(&self) -> String {
        let word = match self.status.as_str() {
            "Alert" => "Triggered",
            "Warn" => "Warn",
            "No Data" => "No data",
            _ => "Recovered",
        };
        match self.group.as_str() {
            "*" => format!("[{word}] {}", self.monitor_name),
            group => format!("[{word} on {{{group}}}] {}", self.monitor_name),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Monitor {
    name: String,
    tags: Vec<String>,
    /// The author's own text; none: [`MESSAGE`].
    message: Option<String>,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    status: String,
    triggered_s: Option<i64>,
    resolved_s: Option<i64>,
    nodata_s: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) monitors: BTreeMap<u64, Monitor>,
    /// What reads show while the read side lags.
    pub(super) shown: Option<BTreeMap<u64, Monitor>>,
    pub(super) monitor_fault: Option<Fault>,
    /// Faults of single pages of the list.
    pub(super) page_faults: BTreeMap<usize, Fault>,
    pub(super) event_fault: Option<Fault>,
    pub(super) reads: Reads,
    events: BTreeMap<u64, Change>,
    clock_ahead: SignedDuration,
    changed_s: i64,
}

impl World {
    pub(super) fn create_monitor(&mut self, id: u64, name: &str, tags: &[&str]) {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let monitor = self.monitors.entry(id).or_default();
        (monitor.name, monitor.tags) = (name.to_owned(), tags);
    }

    pub(super) fn set_message(&mut self, id: u64, text: &str) {
        self.monitors.entry(id).or_default().message = Some(text.to_owned());
    }

    pub(super) fn set(&mut self, monitor_id: u64, group: &str, status: &str) -> Change {
        let at = self.next_second();
        let at_s = at.as_second();
        let monitor = self.monitors.entry(monitor_id).or_default();
        let entry = monitor.groups.entry(group.to_owned()).or_default();
        status.clone_into(&mut entry.status);
        match status {
            "Alert" | "Warn" => entry.triggered_s = Some(at_s),
            "No Data" => entry.nodata_s = Some(at_s),
            _ => entry.resolved_s = Some(at_s),
        }
        let event_id = FIRST_EVENT_ID + self.events.len() as u64;
        let (group, status) = (group.to_owned(), status.to_owned());
        let change = Change { monitor_id, monitor_name: monitor.name.clone(), group, status, event_id, at };
        self.events.insert(event_id, change.clone());
        change
    }

    /// Now, in a second of the fake's clock in which nothing changed yet.
    fn next_second(&mut self) -> Timestamp {
        let behind_s = self.changed_s + 1 - self.now().as_second();
        if behind_s > 0 {
            self.clock_ahead += SignedDuration::from_secs(behind_s);
        }
        let now = self.now();
        self.changed_s = now.as_second();
        now
    }

    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.clock_ahead).unwrap_or(now)
    }

    pub(super) fn http_date(&self) -> String {
        self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// One page of the monitors that bear all these tags, in the order of their numbers; past the end an empty one.
    pub(super) fn page_json(&self, tags: &[&str], page: usize, page_size: usize) -> Value {
        let bears = |monitor: &Monitor| tags.iter().all(|tag| monitor.tags.iter().any(|own| own == tag));
        let ids = self.shown().iter().filter(|(_, monitor)| bears(monitor)).map(|(id, _)| *id);
        let page = ids.skip(page.saturating_mul(page_size)).take(page_size);
        page.filter_map(|id| self.monitor_json(id)).collect()
    }

    fn shown(&self) -> &BTreeMap<u64, Monitor> {
        self.shown.as_ref().unwrap_or(&self.monitors)
    }

    pub(super) fn monitor_json(&self, id: u64) -> Option<Value> {
        let monitor = self.shown().get(&id)?;
        let groups: Map<String, Value> =
            monitor.groups.iter().map(|(name, group)| (name.clone(), group.json(name))).collect();
        let worst = ["Alert", "Warn", "No Data"]
            .into_iter()
            .find(|worst| monitor.groups.values().any(|group| group.status == *worst));
        Some(json!({
            "id": id, "org_id": 100_001, "type": "query alert", "name": monitor.name,
            "message": monitor.message.as_deref().unwrap_or(MESSAGE),
            "tags": monitor.tags, "query": "avg(last_5m):avg:vendor.request.error_rate{*} by {bank_code} > 0.5",
            "options": {"thresholds": {"critical": 0.5}, "silenced": {}, "notify_no_data": false},
            "multi": !monitor.groups.contains_key("*"), "created_at": 1_740_000_000_000_i64, "deleted": null, "priority": null,
            "overall_state": worst.unwrap_or("OK"), "overall_state_modified": null, "matching_downtimes": [],
            "state": {"groups": groups},
        }))
    }

    pub(super) fn event_json(&self, id: u64) -> Option<Value> {
        let change = self.events.get(&id)?;
        let alert_type = match change.status.as_str() {
            "Alert" => "error",
            "Warn" | "No Data" => "warning",
            _ => "success",
        };
        let tags: Vec<&str> = change.group.split(',').chain(["monitor", "source:alert"]).collect();
        Some(json!({"event": {
            "id": id, "id_str": id.to_string(), "title": change.title(), "text": "%%%\nsee the monitor\n%%%",
            "date_happened": change.at.as_second(), "alert_type": alert_type, "tags": tags, "priority": "normal",
            "host": null, "device_name": null, "monitor_id": change.monitor_id,
            "monitor_groups": change.group.split(',').collect::<Vec<_>>(),
            "resource": format!("/api/v1/events/{id}"), "url": format!("/event/event?event_id={id}"),
        }}))
    }
}

impl Group {
    fn json(&self, name: &str) -> Value {
        json!({
            "name": name, "status": self.status,
            "last_triggered_ts": self.triggered_s, "last_resolved_ts": self.resolved_s,
            "last_nodata_ts": self.nodata_s, "last_notified_ts": null,
        })
    }
}
