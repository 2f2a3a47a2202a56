//! The history: who did what and why, and what changed by itself, the newest first.

use super::fields;
use super::layout::{Html, Part, page};
use super::view::{View, moment};
use super::{Site, Visitor};
use crate::api::Api;
use crate::api::history::{HistoryItem, HistoryQuery, paged};
use crate::api::model::ModeName;
use crate::api::problem::Problem;
use axum::extract::{RawQuery, State};
use cutout_core::BreakerId;
use maud::{Markup, html};
use std::sync::Arc;

/// How many entries of one breaker its page reads at a time.
const OF_BREAKER: usize = 100;
/// How often it reads, so that a picture of a restless breaker ends.
const READS_MAX: usize = 4;
/// How many entries a page of the whole history has.
const PAGE: usize = 50;

/// A part of one breaker's history.
pub(crate) struct History {
    /// The newest first.
    pub(crate) items: Vec<HistoryItem>,
    /// Whether nothing before them is missing back to where it was asked for.
    pub(crate) is_whole: bool,
}

/// A breaker's history back to `from_ms` and one read beyond, Unix milliseconds.
pub(crate) async fn of_breaker(api: &Api, id: &BreakerId, from_ms: i64) -> Result<History, Problem> {
    let (mut items, mut before): (Vec<HistoryItem>, _) = (Vec::new(), None);
    for _ in 0..READS_MAX {
        let breaker = Some(id.as_str().to_owned());
        let read = paged(api, &HistoryQuery { breaker, limit: Some(OF_BREAKER), before }).await?;
        items.extend(read.items);
        let is_back = items.last().is_some_and(|oldest| oldest.at.as_millisecond() <= from_ms);
        if read.next.is_none() || is_back {
            return Ok(History { items, is_whole: read.next.is_none() || is_back });
        }
        before = read.next;
    }
    Ok(History { items, is_whole: false })
}

/// Where all of a breaker's history stands.
pub(crate) fn more_at(view: &View<'_>, id: &BreakerId) -> String {
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("breaker", id.as_str()).finish();
    view.site.at(&format!("/history?{query}"))
}

/// The page of the history.
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Html, Problem> {
    let mut query: HistoryQuery = fields::query(&query.unwrap_or_default(), &[])?;
    query.limit = Some(query.limit.unwrap_or(PAGE));
    let view = View::new(&site, &visitor);
    let texts = view.texts();
    let read = paged(&site.api, &query).await?;
    let older = read.next.as_ref().map(|next| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        if let Some(breaker) = &query.breaker {
            pairs.append_pair("breaker", breaker);
        }
        site.at(&format!("/history?{}", pairs.append_pair("before", next).finish()))
    });
    let content = html! {
        h1 { (texts.history) }
        form.filters method="get" action=(site.at("/history")) role="search" aria-label=(texts.filter) {
            div {
                label for="breaker" { (texts.breaker) }
                input #breaker name="breaker" value=(query.breaker.as_deref().unwrap_or_default()) autocomplete="off"
                    spellcheck="false";
            }
            button type="submit" { (texts.show) }
        }
        section #past data-part aria-label=(texts.history) { (table(&view, &read.items, true)) }
        @if let Some(older) = older { nav.pages aria-label=(texts.pages) { a rel="next" href=(older) { (texts.older) } } }
    };
    Ok(page(&view, Part::History, texts.history, &content))
}

/// Entries as a table.
pub(crate) fn table(view: &View<'_>, items: &[HistoryItem], with_breaker: bool) -> Markup {
    let texts = view.texts();
    html! {
        @if items.is_empty() { p { (texts.no_history) } } @else {
            div.wide tabindex="0" role="group" aria-label=(texts.history) {
                table {
                    thead { tr {
                        th scope="col" { (texts.when) }
                        @if with_breaker { th scope="col" { (texts.breaker) } }
                        th scope="col" { (texts.change) }
                        th scope="col" { (texts.who_and_why) }
                    } }
                    tbody { @for item in items { (row(view, item, with_breaker)) } }
                }
            }
        }
    }
}

fn row(view: &View<'_>, item: &HistoryItem, with_breaker: bool) -> Markup {
    let texts = view.texts();
    html! {
        tr {
            td { (moment(item.at)) }
            @if with_breaker {
                td { @match &item.breaker {
                    Some(breaker) => a href=(view.breaker_at(breaker)) { (breaker) },
                    None => (texts.whole_scope),
                } }
            }
            td.change {
                @match (item.from, item.to) {
                    (Some(from), Some(to)) if from != to => { (view.state(from)) " " span aria-label=(texts.becomes) role="img" { "→" } " " (view.badge(to)) }
                    (_, Some(to)) => (view.badge(to)),
                    _ => "–",
                }
                @if item.mode == Some(ModeName::Watch) { " " span.quiet { "(" (texts.would_watch) ")" } }
            }
            td { (cause(view, item)) }
        }
    }
}

/// Who brought it, and why.
fn cause(view: &View<'_>, item: &HistoryItem) -> Markup {
    let (texts, cause) = (view.texts(), &item.cause);
    html! {
        @if let Some(by) = &cause.by {
            strong { (by) } " " (texts.act(cause.act.as_deref().unwrap_or_default()))
            @if let Some(why) = &cause.why { ": " q { (why) } }
        } @else {
            (texts.cause(&cause.kind))
            @if let Some(id) = cause.monitor_id {
                " " @match &item.links.monitor {
                    Some(url) => a href=(url) rel="noreferrer" { (texts.monitor) " " (id) },
                    None => { (texts.monitor) " " (id) },
                }
            }
            @if let Some(event) = &item.links.event { " (" a href=(event) rel="noreferrer" { (texts.event) } ")" }
        }
    }
}
