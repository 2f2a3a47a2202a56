//! The history: who did what and why, and what changed by itself, the newest first.

use super::fields;
use super::layout::{Html, Part, page};
use super::view::{View, moment};
use super::{Site, Visitor};
use crate::api::Api;
use crate::api::history::{HistoryItem, HistoryQuery, paged, paged_since};
use crate::api::model::ModeName;
use crate::api::problem::Problem;
use axum::extract::{RawQuery, State};
use cutout_core::BreakerId;
use maud::{Markup, html};
use std::sync::Arc;

/// How many entries of one breaker its page shows, so that a picture of a restless breaker ends.
const OF_BREAKER_MAX: usize = 400;
/// How many entries a page of the whole history has.
const PAGE: usize = 50;

/// A part of one breaker's history.
pub(crate) struct History {
    /// The newest first.
    pub(crate) items: Vec<HistoryItem>,
    /// Whether nothing is missing back to where it was asked for.
    pub(crate) is_whole: bool,
}

/// A breaker's history back to `from_ms`, Unix milliseconds, and not beyond: a page that is fetched again with every change must not look
/// through all that other breakers ever did. What a breaker was at the beginning stands in its first entry, or it has not changed.
pub(crate) async fn of_breaker(api: &Api, id: &BreakerId, from_ms: i64) -> Result<History, Problem> {
    let query =
        HistoryQuery { breaker: Some(id.as_str().to_owned()), limit: Some(OF_BREAKER_MAX), before: None };
    let read = paged_since(api, &query, from_ms).await?;
    Ok(History { items: read.items, is_whole: read.next.is_none() })
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
        section #past data-part aria-label=(texts.history) { (table(&view, &read.items, true, texts.no_history)) }
        @if let Some(older) = older { nav.pages aria-label=(texts.pages) { a rel="next" href=(older) { (texts.older) } } }
    };
    Ok(page(&view, Part::History, texts.history, &content))
}

/// Entries as a table, or that there is none.
pub(crate) fn table(view: &View<'_>, items: &[HistoryItem], with_breaker: bool, none: &str) -> Markup {
    let texts = view.texts();
    html! {
        @if items.is_empty() { p { (none) } } @else {
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
