//! `cutout status`: the list of breakers as callers see it, or one breaker with everything behind it.
//!
//! A breaker that is declared and that no monitor group has touched is closed: its calls flow, and so it is told.

use super::StatusArguments;
use crate::api::{Api, Refused};
use crate::ended::Failed;
use crate::terminal::{Terminal, age, ago, moment, plain, share};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

/// How many breakers one request asks for.
const PAGE: &str = "1000";
/// How many are shown at the most.
const SHOWN_MAX: usize = 100_000;

/// From here on the list is told to be old.
const OLD_MS: i64 = 90_000;

/// What was shown.
struct Shown {
    /// How many are open.
    open: usize,
    /// How long the store has been silent, milliseconds, if that is for too long to know how things are now.
    old_ms: Option<i64>,
}

pub(super) async fn run(api: &Api, terminal: Terminal, asked: &StatusArguments) -> Result<(), Failed> {
    let Shown { open, old_ms } = match &asked.breaker {
        // Read from the store itself, so never old.
        Some(breaker) => Shown { open: one(api, terminal, breaker, asked.form.json).await?, old_ms: None },
        None => all(api, terminal, asked).await?,
    };
    match (asked.fail_if_open, old_ms, open) {
        (true, Some(old_ms), _) => {
            let told = "the store has not answered the service for";
            Err(Failed::unreachable(format!("{told} {}: nobody can tell what is open now", age(old_ms))))
        }
        (true, None, 1..) => Err(Failed::refused(format!("{open} open"))),
        _ => Ok(()),
    }
}

/// Shows a list.
async fn all(api: &Api, terminal: Terminal, asked: &StatusArguments) -> Result<Shown, Failed> {
    let mut service = api.get(&["status"]).json().await?;
    // The instance's own word on the pause may be half a minute old. While the store is away it is all there is.
    match api.get(&["pause"]).json().await {
        Ok(mut paused) => service["pause"] = paused["pause"].take(),
        Err(failed) if failed.is_unreachable() => {}
        Err(failed) => return Err(failed),
    }
    let (items, is_cut) = list(api, asked).await?;
    let open = items.iter().filter(|item| item["state"] == "open").count();
    let shown = Shown { open, old_ms: old_ms(&service) };
    if asked.form.json {
        terminal.line(&json!({"service": service, "items": items, "cut": is_cut}).to_string())?;
        return Ok(shown);
    }
    for line in service_lines(&service) {
        terminal.line(&line)?;
    }
    let now = now(&service["now"]);
    let width = items.iter().map(|item| text(&item["breaker"]).chars().count()).max().unwrap_or(0);
    for item in &items {
        terminal.line(&line(terminal, item, width, now))?;
    }
    let closed = items.iter().filter(|item| item["state"] == "closed").count();
    let half_open = items.len() - open - closed;
    let cut = if is_cut { ", and more that are not shown" } else { "" };
    terminal.line(&format!("{open} open, {half_open} half-open, {closed} closed{cut}"))?;
    Ok(shown)
}

/// How long the store has been silent, if the list is to be told as old.
fn old_ms(service: &Value) -> Option<i64> {
    service["age_ms"].as_i64().filter(|age_ms| *age_ms >= OLD_MS)
}

/// All items of all pages, and whether there are more than are taken.
async fn list(api: &Api, asked: &StatusArguments) -> Result<(Vec<Value>, bool), Failed> {
    let mut filters = Vec::new();
    if !asked.held {
        filters.push(("limit", PAGE));
    }
    filters.extend(asked.state.map(|state| ("state", state.as_str())));
    filters.extend(asked.name.as_deref().map(|name| ("name", name)));
    filters.extend(asked.overridden.then_some(("overridden", "true")));
    let path = if asked.held { "held" } else { "breakers" };
    let (mut items, mut after) = (Vec::new(), None::<String>);
    while items.len() < SHOWN_MAX {
        let mut query = filters.clone();
        query.extend(after.as_deref().map(|after| ("after", after)));
        let mut page = api.get(&[path]).query(&query).json().await?;
        if let Value::Array(more) = page["items"].take() {
            items.extend(more);
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok((items, false)),
        }
    }
    Ok((items, true))
}

/// What stands above the list: the pause, and what is wrong with the service itself.
fn service_lines(service: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let pause @ Value::Object(_) = &service["pause"] {
        lines.push(format!("PAUSED by {}: {}", by(pause), "no signal opens anything"));
    }
    if let Some(losses @ 1..) = service["losses"].as_u64() {
        lines.push(format!("the store lost its data {losses} times since this instance started"));
    }
    if let Some(age_ms) = old_ms(service) {
        lines.push(format!("the store has not answered for {}: what follows is that old", age(age_ms)));
    }
    lines
}

/// One line of the list.
pub(super) fn line(terminal: Terminal, item: &Value, width: usize, now: Timestamp) -> String {
    let name = format!("{:width$}", text(&item["breaker"]));
    let state = terminal.state(item["state"].as_str().unwrap_or_default(), 9);
    let since = ago(item["since"].as_str().unwrap_or_default(), now);
    let line = format!("{name}  {state}  {since:>10}  {}", notes(item).join("; "));
    line.trim_end().to_owned()
}

/// What is not as usual about a breaker.
fn notes(item: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    if item["state"] != "closed" {
        notes.push(format!("{} of calls admitted", share(item["share_ppm"].as_u64().unwrap_or(0))));
    }
    if let Some(would) = item["would"].as_str() {
        let mode = if item["mode"] == "watch" { "watch mode: " } else { "" };
        notes.push(format!("{mode}would be {}", plain(would)));
    }
    if let Some(held) = item["held"].as_str() {
        notes.push(format!("held by {}", if held == "paused" { "the pause" } else { "max_open" }));
    }
    if let forced @ Value::Object(_) = &item["override"] {
        notes.push(format!("forced {} {}", text(&forced["state"]), until(&forced["until"])));
    }
    if let Some(at) = item["next"]["at"].as_str() {
        notes.push(format!("{} at {}", text(&item["next"]["state"]), moment(at)));
    }
    if let fault @ Value::Object(_) = &item["fault"] {
        notes.push(format!("a fault is injected {}", until(&fault["until"])));
    }
    notes
}

/// Shows one breaker; 1 if it is open.
async fn one(api: &Api, terminal: Terminal, breaker: &str, is_json: bool) -> Result<usize, Failed> {
    let shown = match api.request(Method::GET, &["breakers"], Some(breaker)).json().await {
        Ok(shown) => shown,
        Err(failed) if failed.is_of::<Refused>(|refused| refused.code == "unknown") => {
            let told = if is_json {
                json!({"breaker": breaker, "state": "closed", "untouched": true}).to_string()
            } else {
                format!("{breaker} is closed: no group of any monitor has touched it yet")
            };
            terminal.line(&told)?;
            return Ok(0);
        }
        Err(failed) => return Err(failed),
    };
    if is_json {
        terminal.line(&shown.to_string())?;
    } else {
        detail(terminal, &shown)?;
    }
    Ok(usize::from(shown["state"] == "open"))
}

/// Everything about one breaker.
pub(super) fn detail(terminal: Terminal, shown: &Value) -> std::io::Result<()> {
    let now = now(&shown["now"]);
    terminal.line(&line(terminal, shown, 0, now))?;
    if let forced @ Value::Object(_) = &shown["forced_by"] {
        terminal.line(&format!("  forced {} by {}", text(&forced["state"]), by(forced)))?;
    }
    if let decided @ Value::Object(_) = &shown["fault_by"] {
        let (by, why) = (text(&decided["by"]), text(&decided["why"]));
        terminal.line(&format!("  fault by {by}: {}: {why}", fault(&shown["fault"])))?;
    }
    for signal in shown["signals"].as_array().into_iter().flatten() {
        terminal.line(&signal_line(signal))?;
    }
    for hint in shown["hints"].as_array().into_iter().flatten() {
        let monitor = monitor(&hint["monitor"]);
        let until = until(&hint["until"]);
        terminal.line(&format!(
            "  notified    {}  {monitor}  holds {until} unless a report agrees",
            text(&hint["group"])
        ))?;
    }
    terminal.line(&format!("  version {}", text(&shown["version"])))
}

/// What a fault does to calls.
fn fault(fault: &Value) -> String {
    let of_calls = |field: &str| share(fault[field].as_u64().unwrap_or(0));
    let header = &fault["header"];
    let value = header["value"].as_str().map(|value| format!(": {}", plain(value))).unwrap_or_default();
    let only = header["name"].as_str().map(|name| format!(" of requests with {}{value}", plain(name)));
    format!(
        "{} end unsent, {} wait {} ms{}",
        of_calls("abort_ppm"),
        of_calls("delay_ppm"),
        fault["delay_ms"],
        only.unwrap_or_default()
    )
}

fn signal_line(signal: &Value) -> String {
    let status = format!("{:10}", text(&signal["status"]));
    let changed =
        signal["changed_at"].as_str().map(|at| format!(", since {}", moment(at))).unwrap_or_default();
    let muted = if signal["muted"] == true { ", muted" } else { "" };
    let vanished = if signal["vanished"] == true { ", gone" } else { "" };
    let confirmed = age(signal["age_ms"].as_i64().unwrap_or(0));
    let (asks, group, monitor) = (text(&signal["asks"]), text(&signal["group"]), monitor(&signal["monitor"]));
    format!(
        "  {status}  {group}  asks for {asks}{changed}{muted}{vanished}, confirmed {confirmed} ago\n              {monitor}"
    )
}

fn monitor(monitor: &Value) -> String {
    let name = monitor["name"].as_str().map(|name| format!(" {}", plain(name))).unwrap_or_default();
    let url = monitor["url"].as_str().map(|url| format!(" {}", plain(url))).unwrap_or_default();
    format!("monitor {}{name}{url}", monitor["id"])
}

/// Who decided, until when, and why.
pub(super) fn by(decision: &Value) -> String {
    format!("{} {}: {}", text(&decision["by"]), until(&decision["until"]), text(&decision["why"]))
}

pub(super) fn until(end: &Value) -> String {
    end.as_str().map_or_else(|| "until somebody ends it".to_owned(), |end| format!("until {}", moment(end)))
}

pub(super) fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or("-"))
}

/// The service's clock; this machine's if it does not tell.
pub(super) fn now(told: &Value) -> Timestamp {
    told.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(Timestamp::now)
}
