//! Who did what, and what changed by itself: pages of the audit stream, newest first, and all of it as JSON Lines.
//!
//! What is older than the retention is not shown, also where the store has not let it go yet. An entry is shown as far as
//! this version can read it: an older or newer one may have written it.

use super::model::{FaultView, ModeName, StateName, time};
use super::operator::Looker;
use super::problem::Problem;
use super::{Api, Asked};
use crate::apply::web_link;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cutout_core::Chain;
use cutout_core::{BreakerId, Fault};
use cutout_flags::{AUDIT_PER_READ_MAX, AuditFrom, AuditId, Audited};
use futures_util::stream::try_unfold;
use http::{HeaderValue, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

/// How many entries one page looks through for those of one breaker.
const LOOKED_AT_MAX: usize = 20 * AUDIT_PER_READ_MAX;
/// The media type of JSON Lines.
pub(crate) const JSON_LINES: &str = "application/x-ndjson";

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only those of this breaker.
    pub(crate) breaker: Option<String>,
    /// How many on this page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(crate) limit: Option<usize>,
    /// Those before this one: `next` of the page before.
    #[param(example = "1795223705000-0", pattern = "^[0-9]{1,19}-[0-9]{1,19}$")]
    pub(crate) before: Option<String>,
}

/// Which entries to export.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// Only those of this breaker.
    breaker: Option<String>,
    /// Those after this one: the `id` of the last one that is there already.
    #[param(example = "1795223705000-0", pattern = "^[0-9]{1,19}-[0-9]{1,19}$")]
    after: Option<String>,
}

/// What brought a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CauseView {
    /// `report`, `hint`, `hint_lapsed`, `ramp_ended`, `min_open_ended`, `stale`, `override_ended`, `fault_ended` or `person`; the list may grow.
    pub(crate) kind: String,
    /// The monitor whose report or notification brought it.
    #[schema(required)]
    pub(crate) monitor_id: Option<u64>,
    /// Who ordered it.
    #[schema(required)]
    pub(crate) by: Option<String>,
    /// Why.
    #[schema(required)]
    pub(crate) why: Option<String>,
    /// What: `force`, `clear`, `release`, `inject`, `end_fault`, `pause`, `resume`, or `restore` of what the store had lost; the list may grow.
    #[schema(required)]
    pub(crate) act: Option<String>,
}

/// Where a person sees more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinksView {
    #[schema(required)]
    pub(crate) monitor: Option<String>,
    #[schema(required)]
    pub(crate) event: Option<String>,
}

/// One entry of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryItem {
    /// Its place.
    pub(crate) id: String,
    /// When it took effect, by the store's clock.
    pub(crate) at: Timestamp,
    /// Which breaker; null: the whole scope.
    #[schema(required)]
    pub(crate) breaker: Option<String>,
    #[schema(required)]
    pub(crate) from: Option<StateName>,
    /// The same as `from` if a person's order, or the end of a fault, left the state as it was.
    #[schema(required)]
    pub(crate) to: Option<StateName>,
    /// Whether that was carried out: what was decided in watch mode has refused nobody. Null: for the whole scope, and where an older version wrote it.
    #[schema(required)]
    pub(crate) mode: Option<ModeName>,
    pub(crate) cause: CauseView,
    /// How much of a fault was ordered; null: none was.
    #[schema(required)]
    pub(crate) fault: Option<FaultView>,
    pub(crate) links: LinksView,
}

impl HistoryItem {
    pub(crate) fn of(audited: &Audited) -> HistoryItem {
        let Audited { id, breaker, entry } = audited;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let state = |value: &Value| StateName::deserialize(value).ok();
        let link = |name: &str| entry["links"][name].as_str().and_then(web_link);
        let cause = &entry["cause"];
        let written_ms = i64::try_from(id.at_ms).unwrap_or(i64::MAX);
        HistoryItem {
            id: id.to_string(),
            at: time(entry["at_ms"].as_i64().unwrap_or(written_ms)),
            breaker: breaker.as_ref().map(|breaker| breaker.as_str().to_owned()),
            from: state(&entry["from"]),
            to: state(&entry["to"]),
            mode: ModeName::deserialize(&entry["mode"]).ok(),
            cause: CauseView {
                kind: text(&cause["kind"]).unwrap_or_else(|| "unknown".to_owned()),
                monitor_id: cause["monitor_id"].as_u64(),
                by: text(&cause["by"]),
                why: text(&cause["why"]),
                act: text(&cause["act"]),
            },
            fault: Fault::deserialize(&entry["fault"]).ok().as_ref().map(Into::into),
            links: LinksView { monitor: link("monitor"), event: link("event") },
        }
    }
}

/// One page of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// The newest first.
    pub(crate) items: Vec<HistoryItem>,
    /// What `before` takes for the next page, which may hold few items, or none, of a breaker that changed long ago; null:
    /// that is all.
    #[schema(required)]
    pub(crate) next: Option<String>,
}

/// Shows the history, the newest entry first.
#[utoipa::path(get, path = "/v1/history", tag = "history", params(HistoryQuery),
    responses((status = 200, description = "One page", body = HistoryPage)))]
pub(crate) async fn page(
    State(api): State<Arc<Api>>,
    _who: Looker,
    Asked(query): Asked<HistoryQuery>,
) -> Result<Json<HistoryPage>, Problem> {
    paged(&api, &query).await.map(Json)
}

/// One page of the history.
pub(crate) async fn paged(api: &Api, query: &HistoryQuery) -> Result<HistoryPage, Problem> {
    paged_since(api, query, 0).await
}

/// One page of the history without what was written before `from_ms`, Unix milliseconds: nothing before it is looked through.
pub(crate) async fn paged_since(
    api: &Api,
    query: &HistoryQuery,
    from_ms: i64,
) -> Result<HistoryPage, Problem> {
    let limit = super::flags::page(query.limit)?;
    let breaker = query.breaker.as_deref().map(BreakerId::typed);
    let first = AuditId { at_ms: u64::try_from(from_ms).unwrap_or(0), number: 0 };
    let oldest = oldest_kept(api).await?.max(first);
    let (mut before, mut items, mut looked_at) = (place(query.before.as_deref())?, Vec::new(), 0);
    while looked_at < LOOKED_AT_MAX {
        let read = api.store().audit(AuditFrom::Before(before), AUDIT_PER_READ_MAX).await?;
        for audited in &read {
            if audited.id < oldest {
                return Ok(HistoryPage { items, next: None });
            }
            if items.len() == limit {
                return Ok(HistoryPage { items, next: before.map(|place| place.to_string()) });
            }
            before = Some(audited.id);
            if breaker.is_none() || audited.breaker == breaker {
                items.push(HistoryItem::of(audited));
            }
        }
        looked_at += read.len();
        if read.is_empty() {
            return Ok(HistoryPage { items, next: None });
        }
    }
    Ok(HistoryPage { items, next: before.map(|place| place.to_string()) })
}

/// The place that a query names.
fn place(text: Option<&str>) -> Result<Option<AuditId>, Problem> {
    let wrong =
        |_| Problem::bad_request("a place in the history is the id of an entry, such as 1795223705000-0");
    text.map(str::parse).transpose().map_err(wrong)
}

/// The oldest place that is still shown.
async fn oldest_kept(api: &Api) -> Result<AuditId, Problem> {
    let now_ms = api.store().read(&[], None).await?.now_ms;
    let oldest_ms = now_ms.saturating_sub(api.store().audit_kept().age_ms);
    Ok(AuditId { at_ms: u64::try_from(oldest_ms).unwrap_or(0), number: 0 })
}

/// An export under way.
struct Export {
    api: Arc<Api>,
    breaker: Option<BreakerId>,
    after: AuditId,
    /// The newest entry when it began: without an end it would run after what is written meanwhile.
    last: AuditId,
    lines: VecDeque<String>,
    _place: OwnedSemaphorePermit,
}

/// Exports the history as JSON Lines, the oldest entry first: each line is an item of the history. An export that ends
/// without its last line was cut: go on after the last `id`.
#[utoipa::path(get, path = "/v1/history/export", tag = "history", params(ExportQuery),
    responses((status = 200, description = "One entry a line", body = String, content_type = "application/x-ndjson")))]
pub(crate) async fn export(
    State(api): State<Arc<Api>>,
    _who: Looker,
    Asked(query): Asked<ExportQuery>,
) -> Result<Response, Problem> {
    let place = api.stream_place()?;
    let breaker = query.breaker.as_deref().map(BreakerId::typed);
    let oldest = oldest_kept(&api).await?;
    let before_oldest = AuditId { at_ms: oldest.at_ms.saturating_sub(1), number: u64::MAX };
    let after = self::place(query.after.as_deref())?.unwrap_or_default().max(before_oldest);
    let newest = api.store().audit(AuditFrom::Before(None), 1).await?;
    let last = newest.first().map_or(after, |newest| newest.id);
    let export = Export { api, breaker, after, last, lines: VecDeque::new(), _place: place };
    let lines = try_unfold(export, |mut export| async move {
        let line = export.next().await?;
        Ok::<_, Problem>(line.map(|line| (line, export)))
    });
    let body = Body::from_stream(futures_util::TryStreamExt::map_err(lines, |problem| {
        std::io::Error::other(format!("{problem:?}"))
    }));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    let name = "attachment; filename=\"cutout-history.jsonl\"";
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(name));
    Ok(response)
}

impl Export {
    /// The next line; none: that was all. An error cuts the answer, so that what is missing shows.
    async fn next(&mut self) -> Result<Option<String>, Problem> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            if self.after >= self.last {
                return Ok(None);
            }
            let read = self.api.store().audit(AuditFrom::After(self.after), AUDIT_PER_READ_MAX).await;
            let read =
                read.inspect_err(|error| tracing::error!(error = %Chain(error), "an export is cut"))?;
            let Some(end) = read.last() else { return Ok(None) };
            self.after = end.id;
            let wanted = |audited: &&Audited| {
                audited.id <= self.last && (self.breaker.is_none() || audited.breaker == self.breaker)
            };
            let line =
                |audited: &Audited| serde_json::to_string(&HistoryItem::of(audited)).map(|line| line + "\n");
            // An item always has a JSON form.
            self.lines = read.iter().filter(wanted).filter_map(|audited| line(audited).ok()).collect();
        }
    }
}
