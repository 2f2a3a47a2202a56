//! The small language of a time line's two middle columns. Text in parentheses explains and is not read.
//!
//! Datadog: `[#monitor] [group] Alert [muted]`, `[#monitor] [group] gone`, `#monitor deleted`, `#monitor bears tag`.
//! Arrives: `reconcile`; `[#monitor] [group] alert hint [of m:ss] [+ report …] [-> status]`; `[#monitor] report [of m:ss]
//! [showing m:ss] [-> status]`; `ann: force open [until m:ss] [breaker]`; `deploy: setting = value, …`.

use crate::document::clock_ms;
use crate::world::Change;
use cutout_core::report::{NotifiedTransition, Status};

/// The monitor and the group that are meant where none is named.
const MONITOR: u64 = 5_200_001;
const GROUP: &str = "bank_code:0001";
const STATUSES: [&str; 6] = ["OK", "Alert", "Warn", "No Data", "Unknown", "Skipped"];
const HINTS: [(&str, NotifiedTransition); 6] = [
    ("alert", NotifiedTransition::Alert),
    ("warn", NotifiedTransition::Warn),
    ("recovery", NotifiedTransition::Recovery),
    ("no data", NotifiedTransition::NoData),
    ("renotify", NotifiedTransition::Renotify),
    ("test", NotifiedTransition::Unknown),
];

/// One thing that reaches the service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arrival {
    /// A scheduled run: every monitor's report, then the inventory.
    Reconcile,
    Callback(Message),
    Person {
        who: String,
        act: Act,
        breaker: Option<String>,
    },
    /// A new instance starts, with these lines of the breakers' file changed.
    Deploy(Vec<String>),
}

/// A callback that a notification caused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) monitor_id: u64,
    pub(crate) group: String,
    /// The transition claimed, and when SNS took the message; none: now.
    pub(crate) hint: Option<(NotifiedTransition, Option<i64>)>,
    pub(crate) report: Option<ReadAt>,
    /// The instance before the last gets it.
    pub(crate) to_old: bool,
    /// What it must be answered.
    pub(crate) answer: u16,
}

/// When a report was read, and of when what it shows is; none: now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ReadAt {
    pub(crate) as_of_ms: Option<i64>,
    pub(crate) shows_ms: Option<i64>,
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
    ForceOpen(Option<i64>),
    ForceClosed(Option<i64>),
    Clear,
    Release,
    Pause(Option<i64>),
    Resume,
}

/// The words of the orders, for the page must show each.
pub(crate) const ACTS: [&str; 6] = ["force open", "force closed", "clear", "release", "pause", "resume"];

/// What changes at Datadog in one row.
pub(crate) fn changes(cell: &str) -> Result<Vec<Change>, String> {
    items(cell).iter().map(|item| change(item)).collect()
}

/// What arrives in one row.
pub(crate) fn arrivals(cell: &str) -> Result<Vec<Arrival>, String> {
    items(cell).iter().map(|item| arrival(item)).collect()
}

/// The cell's items, without what only explains.
pub(crate) fn items(cell: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for letter in cell.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => plain.push(letter),
            _ => {}
        }
    }
    let items = plain.split(';').map(|item| item.split_whitespace().collect::<Vec<_>>().join(" "));
    items.filter(|item| !item.is_empty()).collect()
}

fn change(item: &str) -> Result<Change, String> {
    let (monitor_id, group, rest) = subject(item)?;
    let (status, muted) = rest.strip_suffix(" muted").map_or((rest, false), |status| (status, true));
    match rest {
        "gone" => Ok(Change::GroupGone { monitor_id, group }),
        "deleted" => Ok(Change::MonitorGone { monitor_id }),
        _ => match rest.strip_prefix("bears ") {
            Some(tag) => Ok(Change::Tag { monitor_id, tag: tag.to_owned() }),
            None if STATUSES.contains(&status) => {
                Ok(Change::Status { monitor_id, group, status: Status::from(status.to_owned()), muted })
            }
            None => Err(format!("`{rest}` is no status")),
        },
    }
}

/// Monitor and group, named or not, and what follows.
fn subject(item: &str) -> Result<(u64, String, &str), String> {
    let (mut monitor_id, mut group, mut rest) = (MONITOR, GROUP.to_owned(), item);
    while let Some((first, after)) = rest.split_once(' ') {
        let is_key = first.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(number) = first.strip_prefix('#') {
            monitor_id = number.parse().map_err(|_| format!("`{first}` is no monitor"))?;
        } else if is_key {
            group = format!("bank_code:{first}");
        } else if first.contains(':') || first == "*" {
            first.clone_into(&mut group);
        } else {
            break;
        }
        rest = after;
    }
    Ok((monitor_id, group, rest))
}

fn arrival(item: &str) -> Result<Arrival, String> {
    if item == "reconcile" {
        return Ok(Arrival::Reconcile);
    }
    if let Some(settings) = item.strip_prefix("deploy: ") {
        return Ok(Arrival::Deploy(settings.split(", ").map(str::to_owned).collect()));
    }
    if let Some((who, order)) = item.split_once(": ") {
        return person(who, order);
    }
    message(item).map(Arrival::Callback)
}

fn person(who: &str, order: &str) -> Result<Arrival, String> {
    let unknown = || format!("`{order}` is no order");
    let word = ACTS
        .iter()
        .find(|word| order == **word || order.starts_with(&format!("{word} ")))
        .ok_or_else(unknown)?;
    let mut rest: Vec<&str> = order[word.len()..].split_whitespace().collect();
    let mut until_ms = None;
    if let ["until", time, ..] = rest[..] {
        until_ms = Some(clock_ms(time).ok_or_else(unknown)?);
        rest.drain(..2);
    }
    let act = match *word {
        "force open" => Act::ForceOpen(until_ms),
        "force closed" => Act::ForceClosed(until_ms),
        "clear" => Act::Clear,
        "release" => Act::Release,
        "pause" => Act::Pause(until_ms),
        _ => Act::Resume,
    };
    Ok(Arrival::Person { who: who.to_owned(), act, breaker: rest.first().map(|id| (*id).to_owned()) })
}

fn message(item: &str) -> Result<Message, String> {
    let (monitor_id, group, rest) = subject(item)?;
    let unknown = || format!("`{item}` is nothing that can arrive");
    let (rest, answer) = match rest.split_once(" -> ") {
        Some((rest, answer)) => (rest, answer.parse().map_err(|_| unknown())?),
        None => (rest, 200),
    };
    let (rest, to_old) = rest.strip_suffix(" at the old instance").map_or((rest, false), |rest| (rest, true));
    let mut message = Message { monitor_id, group, hint: None, report: None, to_old, answer };
    for part in rest.split(" + ") {
        if let Some(when) = part.strip_prefix("report") {
            message.report = Some(read_at(when).ok_or_else(unknown)?);
        } else {
            let (claim, when) = part.split_once(" hint").ok_or_else(unknown)?;
            let (_, transition) = HINTS.iter().find(|(word, _)| *word == claim).ok_or_else(unknown)?;
            let at_ms = match when.strip_prefix(" of ") {
                Some(time) => Some(clock_ms(time).ok_or_else(unknown)?),
                None if when.is_empty() => None,
                None => return Err(unknown()),
            };
            message.hint = Some((*transition, at_ms));
        }
    }
    Ok(message)
}

/// `of m:ss`: read then. `showing m:ss`: read now, but what it shows is of then.
fn read_at(when: &str) -> Option<ReadAt> {
    let words: Vec<&str> = when.split_whitespace().collect();
    match words[..] {
        [] => Some(ReadAt::default()),
        ["of", time] => Some(ReadAt { as_of_ms: Some(clock_ms(time)?), shows_ms: Some(clock_ms(time)?) }),
        ["showing", time] => Some(ReadAt { as_of_ms: None, shows_ms: Some(clock_ms(time)?) }),
        _ => None,
    }
}
