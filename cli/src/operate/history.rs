//! `cutout history`: who did what, and what changed by itself. `--export` passes the service's JSON Lines through.

use super::HistoryArguments;
use super::status::text;
use crate::api::{Api, unreached};
use crate::ended::Failed;
use crate::terminal::{Terminal, moment};
use serde_json::Value;
use std::io::Write;

/// How many entries one request asks for.
const PAGE_MAX: usize = 1_000;
/// How many pages are asked for at the most: one of a breaker that changed long ago may hold nothing.
const PAGES_MAX: usize = 1_000;

pub(super) async fn run(api: &Api, terminal: Terminal, asked: &HistoryArguments) -> Result<(), Failed> {
    if asked.export {
        return export(api, asked).await;
    }
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let (mut left, mut before) = (limit, None::<String>);
    for _ in 0..PAGES_MAX {
        let size = left.min(PAGE_MAX).to_string();
        let mut query = vec![("limit", size.as_str())];
        query.extend(asked.breaker.as_deref().map(|breaker| ("breaker", breaker)));
        query.extend(before.as_deref().map(|before| ("before", before)));
        let page = api.get(&["history"]).query(&query).json().await?;
        for item in page["items"].as_array().into_iter().flatten() {
            terminal.line(&if asked.form.json { item.to_string() } else { line(terminal, item) })?;
            left = left.saturating_sub(1);
        }
        match page["next"].as_str() {
            Some(next) if left > 0 => before = Some(next.to_owned()),
            _ => break,
        }
    }
    Ok(())
}

fn line(terminal: Terminal, item: &Value) -> String {
    let at = moment(item["at"].as_str().unwrap_or_default());
    let breaker = item["breaker"].as_str().map_or_else(|| "(all)".to_owned(), crate::terminal::plain);
    let change = match (item["from"].as_str(), item["to"].as_str()) {
        (Some(from), Some(to)) if from != to => {
            format!("  {} -> {}", terminal.state(from, 0), terminal.state(to, 0))
        }
        (_, Some(to)) => format!("  {}", terminal.state(to, 0)),
        _ => String::new(),
    };
    let watched = if item["mode"] == "watch" { " (watch)" } else { "" };
    let cause = &item["cause"];
    let what = match cause["by"].as_str() {
        Some(_) => format!("{} by {}: {}", text(&cause["act"]), text(&cause["by"]), text(&cause["why"])),
        None => match cause["monitor_id"].as_u64() {
            Some(id) => format!("{} of monitor {id}", text(&cause["kind"])),
            None => text(&cause["kind"]),
        },
    };
    let link = item["links"]["event"].as_str().or(item["links"]["monitor"].as_str());
    let link = link.map(|link| format!("  {}", crate::terminal::plain(link))).unwrap_or_default();
    format!("{at}  {breaker}{change}{watched}  {what}{link}")
}

/// Copies the export to standard output. A cut one is told, with the place to go on from left to its reader.
async fn export(api: &Api, asked: &HistoryArguments) -> Result<(), Failed> {
    let mut query = Vec::new();
    query.extend(asked.breaker.as_deref().map(|breaker| ("breaker", breaker)));
    query.extend(asked.after.as_deref().map(|after| ("after", after)));
    let mut answer = api.get(&["history", "export"]).query(&query).streamed().await?;
    let mut out = std::io::stdout();
    loop {
        let chunk = answer.chunk().await.map_err(|error| unreached(api.base(), error));
        match chunk {
            Ok(Some(chunk)) => out.write_all(&chunk)?,
            Ok(None) => return Ok(out.flush()?),
            Err(failed) => {
                out.flush()?;
                let told = "the export was cut; go on with --after and the id of the last line";
                return Err(Failed::unreachable(format!("{told}: {}", failed.told())));
            }
        }
    }
}
