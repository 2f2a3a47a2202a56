//! `cutout demo --event FILE`: one Lambda event through the whole path.
//!
//! The event names monitors and services that are not here. So the fake Datadog gets the monitors that it names, in the
//! state that it tells, breakers are declared for them, and the origin of each callback URL is replaced by the local
//! service's. All of that is told; everything else is as in production.

use crate::stack::{BoxError, Keep, Stack};
use cutout_core::report::NotifiedTransition;
use cutout_core::{BreakerId, Tags};
use cutout_lambda::notification::{Notification, notifications};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// Feeds the event of a file to the function and tells what came of it.
///
/// # Errors
/// If the file is not readable as JSON, or the invocation failed.
pub(crate) async fn run(keep: &Keep, file: &Path) -> Result<(), BoxError> {
    let shown = file.display();
    let text = std::fs::read(file).map_err(|error| format!("reading {shown}: {error}"))?;
    let mut event: Value =
        serde_json::from_slice(&text).map_err(|error| format!("{shown} is not JSON: {error}"))?;
    let found: Vec<Notification> = notifications(event.clone()).into_iter().filter_map(Result::ok).collect();
    let monitors = monitors(&found);
    let scope = format!("event-{:08x}", fastrand::u32(..));
    let stack = Stack::start(keep, &scope, &declare(&monitors)).await?;
    for (id, group, status) in changes(&found) {
        stack.datadog.create_monitor(id, "the event's monitor", &["cutout"]);
        stack.datadog.set(id, &group.to_string(), status);
    }
    let mut out = std::io::stdout();
    for (number, notification) in (1..).zip(&found) {
        writeln!(out, "record {number}: {}", described(notification))?;
    }
    for url in found.iter().flat_map(|notification| &notification.callback_urls) {
        if let Some(origin) = origin(url) {
            let local = format!("http://{}", stack.service);
            writeln!(out, "{origin} is not here: its callbacks go to {local}")?;
            replace(&mut event, origin, &local);
        }
    }
    stack.invoke(event).await?;
    writeln!(out, "the invocation succeeded")?;
    for (id, group) in monitors.iter().flat_map(|(id, groups)| groups.iter().map(move |group| (id, group))) {
        let (name, keys) = (name(*id), keys(group));
        let values: Vec<&str> = keys.iter().flat_map(|key| group.values(key).next()).collect();
        let breaker = stack.client.breaker(&name, &values)?;
        writeln!(out, "{} is {}", BreakerId::new(&name, &values), breaker.state())?;
    }
    Ok(())
}

/// The groups that the notifications name, by monitor.
fn monitors(found: &[Notification]) -> BTreeMap<u64, Vec<Tags>> {
    let mut monitors = BTreeMap::<u64, Vec<Tags>>::new();
    for (id, group, _) in changes(found) {
        let groups = monitors.entry(id).or_default();
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    monitors
}

/// What each notification says happened: monitor, group (none named: the whole monitor), status.
fn changes(found: &[Notification]) -> impl Iterator<Item = (u64, Tags, &'static str)> + '_ {
    found.iter().filter_map(|notification| {
        let notified = notification.notified.as_ref();
        let status = match notified.map(|notified| notified.transition) {
            Some(NotifiedTransition::Alert | NotifiedTransition::Renotify) => "Alert",
            Some(NotifiedTransition::Warn) => "Warn",
            Some(NotifiedTransition::NoData) => "No Data",
            Some(NotifiedTransition::Recovery | NotifiedTransition::Unknown) | None => "OK",
        };
        let group = notified.and_then(|notified| notified.tags.clone()).unwrap_or_default();
        Some((notification.monitor_id?, group, status))
    })
}

/// A breakers' file for these monitors: one breaker each, by all tags of its first group.
fn declare(monitors: &BTreeMap<u64, Vec<Tags>>) -> String {
    let mut file = String::new();
    for (id, groups) in monitors {
        let keys = groups.first().map(keys).unwrap_or_default();
        let key = if keys.is_empty() { String::new() } else { format!("key = {keys:?}\n") };
        // Writing to a String cannot fail.
        let _ = write!(file, "[[breaker]]\nname = {:?}\n{key}monitors = {{ ids = [{id}] }}\n", name(*id));
    }
    if file.is_empty() {
        // An event that names no monitor: the path is still to be walked.
        file.push_str("[[breaker]]\nname = \"none\"\nmonitors = { ids = [1] }\n");
    }
    file
}

fn name(monitor_id: u64) -> String {
    format!("monitor-{monitor_id}")
}

fn keys(group: &Tags) -> Vec<&str> {
    group.keys().collect()
}

fn described(notification: &Notification) -> String {
    let number = |id: Option<u64>| id.map_or("none".to_owned(), |id| id.to_string());
    let (monitor, event) = (number(notification.monitor_id), number(notification.event_id));
    let urls = notification.callback_urls.len();
    let hint = notification.notified.as_ref().map_or("no hint".to_owned(), |notified| {
        let group = notified.tags.as_ref().map_or("no group".to_owned(), ToString::to_string);
        format!("hint {:?} of {group}", notified.transition)
    });
    format!("monitor {monitor}, event {event}, {urls} callback URL(s), {hint}")
}

/// `https://host[:port]` of a URL.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url.get(host..)?.find(['/', '?', '#']).map_or(url.len(), |length| host + length);
    url.get(..end).filter(|origin| origin.len() > host)
}

/// Replaces a text in every string of a value.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
