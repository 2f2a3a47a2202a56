//! Datadog's answers: whatever a report holds, the owning service reads the same of it, and a list shows what a read alone would.
//!
//! An input is a line, `monitor`, `event` or `page`, and the body of the answer.

use super::{NOW_SECS, first_line, text};
use cutout_core::report::{CALLBACK_SCHEMA, Callback, Event, Reason, Report};
use cutout_core::tags::{Tags, UNGROUPED};
use cutout_lambda::datadog::{self, Listing, Site};
use http::Uri;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

const MONITOR: u64 = 5_200_001;
const EVENT: u64 = 6_618_108_885_455_469_409;
/// How much of an event's text is handed on, in characters.
const EVENT_TEXT_LEN_MAX: usize = 4_000;

pub(super) fn judge(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (kind, body) = first_line(text);
    match kind {
        "monitor" => {
            let _ = monitor(body.as_bytes());
        }
        "event" => event(body.as_bytes()),
        "page" => page(body.as_bytes()),
        _ => {}
    }
}

fn as_of() -> Timestamp {
    Timestamp::from_second(NOW_SECS).expect("a time")
}

/// The report of a monitor, if its answer makes one.
fn monitor(body: &[u8]) -> Option<Report> {
    let report = datadog::report(body, MONITOR, as_of(), Site::default()).ok()?;
    let names: BTreeSet<&str> = report.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names.len(), report.groups.len(), "each group once");
    assert!(names.len() < 2 || !names.contains(UNGROUPED), "a stale * beside named groups");
    for group in &report.groups {
        assert_eq!(group.tags, Tags::parse(&group.name));
        assert!(group.changed_at.is_none_or(|at| at.as_second() > 0), "0 is no time");
    }
    assert!(Uri::try_from(&report.monitor.url).is_ok_and(|url| url.host() == Some("app.datadoghq.com")));
    carried(Some(report.clone()), None);
    Some(report)
}

fn event(body: &[u8]) {
    let Ok(event) = datadog::event(body, EVENT, Site::default()) else { return };
    assert!(event.text.chars().count() <= EVENT_TEXT_LEN_MAX, "a long text is cut");
    assert!(
        event.url.starts_with("https://app.datadoghq.com/"),
        "a link to Datadog's own pages: {}",
        event.url
    );
    carried(None, Some(event));
}

/// What the function writes into a callback, the service reads out of it.
fn carried(report: Option<Report>, event: Option<Event>) {
    let callback = Callback {
        schema: CALLBACK_SCHEMA.to_owned(),
        source: "datadog".to_owned(),
        reason: Reason::Reconcile,
        to: "https://service-a.example/dd_circuit_breaker/callback".to_owned(),
        event_id: Some(EVENT.to_string()),
        monitor_id: MONITOR,
        notified: None,
        report,
        event,
    };
    let body = serde_json::to_vec(&callback).expect("a callback is JSON");
    assert_eq!(serde_json::from_slice::<Callback>(&body).expect("it is read again"), callback);
}

/// Each monitor of a page is as a read of it alone would show it; of two with one number the later one counts.
fn page(body: &[u8]) {
    let mut listing = Listing::default();
    let Ok(count) = listing.add_page(body, as_of(), Site::default()) else { return };
    let entries: Vec<Value> = serde_json::from_slice(body).expect("it is a list");
    assert_eq!(count, entries.len());
    assert!(listing.monitors.len() <= count && (count == 0 || !listing.monitors.is_empty()));
    assert_eq!(listing.as_of, Some(as_of()));
    for entry in &entries {
        let id = entry["id"].as_u64().expect("an entry without a number is no part of a list");
        assert!(listing.monitors.contains_key(&id));
    }
    for (id, listed) in &listing.monitors {
        let entry = entries.iter().rfind(|entry| entry["id"].as_u64() == Some(*id)).expect("it is listed");
        let alone = datadog::report(entry.to_string().as_bytes(), *id, as_of(), Site::default());
        assert_eq!(listed.report.as_ref().ok(), alone.as_ref().ok(), "monitor {id}");
    }
    // A page that is read again brings nothing new.
    let numbers: Vec<u64> = listing.monitors.keys().copied().collect();
    listing.add_page(body, as_of(), Site::default()).expect("it was read before");
    assert!(listing.monitors.keys().eq(&numbers));
}
