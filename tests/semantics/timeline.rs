//! Runs one time line and says which of its rows are not so.

use crate::document::{Block, Row, at};
use crate::events::{self, Act, Arrival, Message};
use crate::rig::{Rig, URL};
use crate::world::{START_MS, World, moment};
use cutout_core::report::{CALLBACK_SCHEMA, INVENTORY_SCHEMA, Inventory, Notified, Reason};
use cutout_core::{Callback, Flag, Forced, Order, Tags};

/// What a block's settings are added to, unless they declare a breaker themselves.
const BREAKER: &str = "[[breaker]]\n";
const DEFAULTS: [(&str, &str); 3] =
    [("name", "\"bank-charge\""), ("key", "[\"bank_code\"]"), ("monitors", "{ ids = [5200001] }")];
const PPM_PER_PERCENT: u32 = 10_000;

/// The rows that are not so. After the first problem of what happens the rest is not tried: it would follow from it.
pub(crate) async fn check(block: &Block) -> Vec<String> {
    let mut file = file(&block.settings);
    let mut rig = match Rig::start(&file).await {
        Ok(rig) => rig,
        Err(problem) => return vec![at(block.line, problem)],
    };
    let (mut world, mut problems, mut before_ms) = (World::default(), Vec::new(), 0);
    for row in &block.rows {
        if row.at_ms < before_ms {
            problems.push(at(row.line, "earlier than the row before"));
            return problems;
        }
        before_ms = row.at_ms;
        if let Err(problem) = happen(&mut rig, &mut world, &mut file, block, row).await {
            problems.push(at(row.line, problem));
            return problems;
        }
        for (column, told) in block.breakers.iter().zip(&row.states) {
            let so = state(&rig, column, told, row.at_ms).await;
            if so != *told {
                problems.push(at(row.line, format!("{column} is `{so}`, not `{told}`")));
            }
        }
    }
    problems
}

/// The breakers' file that a block's settings make.
pub(crate) fn file(settings: &str) -> String {
    if settings.contains(BREAKER.trim()) {
        return settings.to_owned();
    }
    let (top, own): (Vec<&str>, Vec<&str>) = settings.lines().partition(|line| line.starts_with("revision"));
    let is_set = |name: &str| own.iter().any(|line| line.split(['=', ' ']).next() == Some(name));
    let defaults =
        DEFAULTS.iter().filter(|(name, _)| !is_set(name)).map(|(name, value)| format!("{name} = {value}"));
    let defaults: Vec<String> = defaults.collect();
    format!("{}\n{BREAKER}{}\n{}\n", top.join("\n"), defaults.join("\n"), own.join("\n"))
}

/// The file with some settings changed.
fn changed(file: &str, settings: &[String]) -> String {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
    for setting in settings {
        match lines.iter_mut().find(|line| name(line) == name(setting)) {
            Some(line) => line.clone_from(setting),
            None => lines.push(setting.clone()),
        }
    }
    lines.join("\n")
}

async fn happen(
    rig: &mut Rig,
    world: &mut World,
    file: &mut String,
    block: &Block,
    row: &Row,
) -> Result<(), String> {
    rig.wait_until(row.at_ms).await?;
    for change in events::changes(&row.datadog)? {
        world.change(change, row.at_ms);
    }
    for arrival in events::arrivals(&row.arrives)? {
        match arrival {
            Arrival::Reconcile => reconcile(rig, world, row.at_ms).await?,
            Arrival::Callback(message) => {
                let answer = rig.post(&callback(world, &message, row.at_ms), message.to_old).await;
                if answer != message.answer {
                    return Err(format!("the answer is {answer}, not {}", message.answer));
                }
            }
            Arrival::Person { who, act, breaker } => {
                let breaker = breaker.as_deref().unwrap_or(&block.breakers[0]);
                order(rig, &who, act, breaker.split(' ').next().unwrap_or_default()).await?;
            }
            Arrival::Deploy(settings) => {
                *file = changed(file, &settings);
                rig.deploy(file).await?;
            }
        }
    }
    Ok(())
}

/// A complete scheduled run. Monitors that no breaker is declared for are answered 422, which fails no run.
async fn reconcile(rig: &Rig, world: &World, at_ms: i64) -> Result<(), String> {
    let monitor_ids = world.monitor_ids(at_ms);
    for monitor_id in &monitor_ids {
        let report = Some(world.report(*monitor_id, at_ms, at_ms));
        let callback = Callback { reason: Reason::Reconcile, report, ..blank(*monitor_id) };
        let answer = rig.post(&callback, false).await;
        if ![200, 422].contains(&answer) {
            return Err(format!("the scheduled run is answered {answer}"));
        }
    }
    let (schema, to) = (INVENTORY_SCHEMA.to_owned(), URL.to_owned());
    let answer = rig.post(&Inventory { schema, as_of: moment(at_ms), to, monitor_ids }, false).await;
    if answer == 200 { Ok(()) } else { Err(format!("the inventory is answered {answer}")) }
}

fn callback(world: &World, message: &Message, at_ms: i64) -> Callback {
    let notified = message.hint.map(|(transition, notified_ms)| {
        let tags = Some(Tags::parse(&message.group)).filter(|tags| !tags.is_empty());
        Notified { at: moment(notified_ms.unwrap_or(at_ms)), transition, tags }
    });
    let report = message.report.map(|read| {
        world.report(message.monitor_id, read.as_of_ms.unwrap_or(at_ms), read.shows_ms.unwrap_or(at_ms))
    });
    Callback { notified, report, ..blank(message.monitor_id) }
}

fn blank(monitor_id: u64) -> Callback {
    Callback {
        schema: CALLBACK_SCHEMA.to_owned(),
        source: "datadog".to_owned(),
        reason: Reason::Notification,
        to: URL.to_owned(),
        event_id: None,
        monitor_id,
        notified: None,
        report: None,
        event: None,
    }
}

async fn order(rig: &Rig, who: &str, act: Act, breaker: &str) -> Result<(), String> {
    let end = |until_ms: Option<i64>| until_ms.map(|until_ms| START_MS + until_ms);
    let why = "the page shows it";
    let act = match act {
        Act::ForceOpen(until_ms) => cutout_core::Act::Force { state: Forced::Open, until_ms: end(until_ms) },
        Act::ForceClosed(until_ms) => {
            cutout_core::Act::Force { state: Forced::Closed, until_ms: end(until_ms) }
        }
        Act::Clear => cutout_core::Act::Clear,
        Act::Release => cutout_core::Act::Release,
        Act::Pause(until_ms) => {
            return rig.service().pause(who, why, end(until_ms)).await.map(drop).map_err(|e| e.to_string());
        }
        Act::Resume => return rig.service().resume(who, why).await.map_err(|error| error.to_string()),
    };
    rig.order(breaker, &Order { by: who.to_owned(), why: why.to_owned(), act }).await
}

/// What is so of a column (a breaker, or a breaker and a class of calls), as precisely as `told` tells it.
async fn state(rig: &Rig, column: &str, told: &str, at_ms: i64) -> String {
    let (id, class) = column.split_once(' ').map_or((column, None), |(id, class)| (id, Some(class)));
    let Some(flag) = rig.flag(id).await else { return "absent 100 %".to_owned() };
    let now_ms = START_MS + at_ms;
    let (seen, would) = (flag.state_at(now_ms), flag.would_at(now_ms));
    if seen != flag.state {
        return format!("{} in the store and {seen} for callers", flag.state);
    }
    let share = share(&flag, class, now_ms, told);
    if would == seen { format!("{seen} {share} %") } else { format!("{seen} {share} % (would be {would})") }
}

/// The share of calls that flows, rounded down to as many decimals as `told` has.
fn share(flag: &Flag, class: Option<&str>, now_ms: i64, told: &str) -> String {
    let ppm = if flag.is_for(class) { flag.share_ppm(now_ms) } else { cutout_core::flag::ALL_PPM };
    let number = told.split(' ').nth(1).unwrap_or_default();
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len()).min(4);
    let (whole, rest) = (ppm / PPM_PER_PERCENT, format!("{:04}", ppm % PPM_PER_PERCENT));
    if decimals == 0 { whole.to_string() } else { format!("{whole}.{}", &rest[..decimals]) }
}
