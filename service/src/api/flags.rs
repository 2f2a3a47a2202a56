//! What there is: the list of breakers, one of them with everything behind it, those that are held back, and the
//! state of the service itself.
//!
//! The list comes from memory (`board`) and is there when the store is not; what stands behind one breaker is read from
//! the store.

use super::document::BreakerPath;
use super::model::{
    BreakerDetail, BreakerList, BreakerSummary, DeclaredView, FileView, HeldName, Me, StateName, StatusView,
    Stored, time,
};
use super::operator::Looker;
use super::problem::{Problem, ProblemBody};
use super::{Api, Asked, tagged};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use cutout_core::{BreakerId, Declaration, Flag, MonitorSeen, State as BreakerState};
use cutout_flags::Published;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// How many breakers one page holds at the most.
pub(crate) const PAGE_MAX: usize = 1_000;
/// How many it holds unless told otherwise.
pub(crate) const PAGE_DEFAULT: usize = 100;
/// For how many monitors of one breaker name and links are read.
const MONITORS_MAX: usize = 32;
/// How many records one look for what is held back reads.
const HELD_READ_MAX: usize = 500;

/// Which breakers to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only those in this state now.
    #[param(inline)]
    pub(crate) state: Option<StateName>,
    /// Only those of this name.
    pub(crate) name: Option<String>,
    /// Only those of this key, as the list spells it.
    pub(crate) key: Option<String>,
    /// Only those that a person forces, or does not.
    pub(crate) overridden: Option<bool>,
    /// How many on this page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(crate) limit: Option<usize>,
    /// Those after this one: `next` of the page before.
    pub(crate) after: Option<String>,
}

impl ListQuery {
    /// Asks the flag itself: of ten thousand breakers a page shows a hundred, and all wait while it is asked.
    fn takes(&self, id: &BreakerId, flag: &Flag, now_ms: i64) -> bool {
        self.state.is_none_or(|state| StateName::from(flag.state_at(now_ms)) == state)
            && self.name.as_ref().is_none_or(|name| id.name() == name)
            && self.key.as_ref().is_none_or(|key| id.key_len() > 0 && id.key() == key)
            && self.overridden.is_none_or(|overridden| flag.forced_at(now_ms).is_some() == overridden)
    }
}

/// The page size that was asked for.
pub(crate) fn page(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Problem::bad_request(format!("limit is from 1 to {PAGE_MAX}"))),
    }
}

/// Lists breakers as callers see them now, from this instance's memory.
#[utoipa::path(get, path = "/v1/breakers", tag = "breakers", params(ListQuery),
    responses((status = 200, description = "One page", body = BreakerList)))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    _who: Looker,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<BreakerList>, Problem> {
    listed(&api, &query).map(Json)
}

/// One page of the list.
pub(crate) fn listed(api: &Api, query: &ListQuery) -> Result<BreakerList, Problem> {
    let limit = page(query.limit)?;
    let scope = api.scope()?;
    let after = query.after.clone().map(BreakerId::from_stored);
    let (mut items, mut total) = (Vec::new(), 0);
    let mut states =
        [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen].map(|state| (state, 0));
    let mut is_more = false;
    api.board().each(|id, published| {
        if !query.takes(id, &published.flag, scope.now_ms) {
            return;
        }
        total += 1;
        let state = published.flag.state_at(scope.now_ms);
        states.iter_mut().filter(|(of, _)| *of == state).for_each(|(_, count)| *count += 1);
        let fits = after.as_ref().is_none_or(|after| id > after);
        is_more |= fits && items.len() == limit;
        if fits && items.len() < limit {
            items.push(BreakerSummary::of(id, published, scope.now_ms));
        }
    });
    let next = items.last().filter(|_| is_more).map(|last| last.breaker.clone());
    let states = states.into_iter().filter(|(_, count)| *count > 0);
    let states = states.map(|(state, count)| (state.to_string(), count)).collect();
    Ok(BreakerList { items, total, states, next, age_ms: scope.age_ms() })
}

/// Shows one breaker with everything behind it, from the store.
#[utoipa::path(get, path = "/v1/breakers/{id}", tag = "breakers", params(BreakerPath),
    responses(
        (status = 200, description = "The breaker", body = BreakerDetail, headers(("etag" = String, description = "Its version, for If-Match"))),
        (status = 404, description = "No such breaker is known", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    _who: Looker,
    super::Named(id): super::Named,
) -> Result<Response, Problem> {
    shown(&api, &id).await
}

/// One breaker as an answer, tagged with its version.
pub(crate) async fn shown(api: &Api, id: &BreakerId) -> Result<Response, Problem> {
    let detail = detail(api, id).await?;
    let version = detail.summary.version.clone();
    Ok(tagged(&version, Json(detail)))
}

/// One breaker with everything behind it, from the store.
pub(crate) async fn detail(api: &Api, id: &BreakerId) -> Result<BreakerDetail, Problem> {
    let declaration = api.declaration(id)?;
    let ids = std::slice::from_ref(id);
    let store = api.store();
    let (read, published) = (store.read(ids, None).await?, store.flags(ids).await?);
    if read.unreadable.contains(id) {
        return Err(Problem::unavailable(
            "unreadable",
            "the breaker's record cannot be read by this version",
        ));
    }
    let (Some(stored), Some(published)) =
        (read.breakers.into_iter().next().flatten(), published.into_iter().next().flatten())
    else {
        let detail = format!("no group of any monitor has touched breaker {id} yet, so its calls flow");
        return Err(Problem::not_found("unknown", detail));
    };
    let record = &stored.value;
    let (declaration, now_ms) = (&declaration, read.now_ms);
    let policy = &declaration.policy;
    let heard = record.heard(policy, now_ms).map(|heard| heard.id.monitor_id);
    let monitor_ids = heard.chain(record.hints().keys().map(|id| id.monitor_id)).collect();
    let monitors = monitors(api, &monitor_ids).await?;
    let stored = Stored { id, declaration, record, published: &published, monitors: &monitors, now_ms };
    Ok(BreakerDetail::of(&stored))
}

/// What is remembered of these monitors.
pub(crate) async fn monitors(api: &Api, ids: &BTreeSet<u64>) -> Result<BTreeMap<u64, MonitorSeen>, Problem> {
    let one = async |id: u64| api.store().read(&[], Some(id)).await.map(|read| (id, read.monitor));
    let read = try_join_all(ids.iter().take(MONITORS_MAX).map(|id| one(*id))).await?;
    Ok(read.into_iter().filter_map(|(id, stored)| Some((id, stored?.value))).collect())
}

/// Which held breakers to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HeldQuery {
    /// Those after this one: `next` of the page before.
    after: Option<String>,
}

/// A breaker that is not open although a signal fires.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldItem {
    #[serde(flatten)]
    summary: BreakerSummary,
    held: HeldName,
}

/// What is held back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldList {
    items: Vec<HeldItem>,
    /// What `after` takes to go on looking; null: that is all.
    #[schema(required)]
    next: Option<String>,
}

/// Lists the breakers that a signal would open and a pause, or `max_open`, does not let.
#[utoipa::path(get, path = "/v1/held", tag = "held", params(HeldQuery),
    responses((status = 200, description = "What is held back; a page may be empty although there are more", body = HeldList)))]
pub(crate) async fn held(
    State(api): State<Arc<Api>>,
    _who: Looker,
    Asked(query): Asked<HeldQuery>,
) -> Result<Json<HeldList>, Problem> {
    let scope = api.scope()?;
    let after = query.after.map_or(Bound::Unbounded, |after| Bound::Excluded(BreakerId::from_stored(after)));
    // Only what would be open may be held; the record tells whether it is.
    let mut candidates: Vec<(BreakerId, Published)> = Vec::new();
    api.board().each(|id, published| {
        let fits = match &after {
            Bound::Excluded(after) => id > after,
            _ => true,
        };
        if fits && published.flag.would == Some(BreakerState::Open) && candidates.len() <= HELD_READ_MAX {
            candidates.push((id.clone(), published.clone()));
        }
    });
    let is_more = candidates.len() > HELD_READ_MAX;
    candidates.truncate(HELD_READ_MAX);
    let ids: Vec<BreakerId> = candidates.iter().map(|(id, _)| id.clone()).collect();
    let read = api.store().read(&ids, None).await?;
    let item = |((id, published), stored): ((BreakerId, Published), Option<cutout_flags::Stored<_>>)| {
        let held =
            stored.and_then(|stored: cutout_flags::Stored<cutout_core::Breaker>| stored.value.held())?;
        Some(HeldItem { summary: BreakerSummary::of(&id, &published, scope.now_ms), held: held.into() })
    };
    let next = ids.last().filter(|_| is_more).map(|last| last.as_str().to_owned());
    let items = candidates.into_iter().zip(read.breakers).filter_map(item).collect();
    Ok(Json(HeldList { items, next }))
}

/// Shows how the service is, and who asks.
#[utoipa::path(get, path = "/v1/status", tag = "service",
    responses((status = 200, description = "How the service is", body = StatusView)))]
pub(crate) async fn status(
    State(api): State<Arc<Api>>,
    Looker(operator): Looker,
) -> Result<Json<StatusView>, Problem> {
    let scope = api.scope()?;
    let breakers = api.shared.breakers();
    let (since_ms, mistakes) = api.shared.in_use.since_and_mistakes();
    let declared = |declaration: &Declaration| DeclaredView {
        name: declaration.name.clone(),
        key: declaration.key.clone(),
        mode: declaration.policy.mode.into(),
    };
    Ok(Json(StatusView {
        you: Me::from(&operator),
        now: time(scope.now_ms),
        age_ms: scope.age_ms(),
        epoch: scope.synced.epoch.as_ref().map(|epoch| epoch.as_str().to_owned()),
        rev: scope.rev,
        losses: scope.synced.losses,
        revision: breakers.revision,
        pause: scope.pause().map(Into::into),
        breakers: breakers.declarations.iter().map(declared).collect(),
        file: FileView { since: time(since_ms), mistakes },
    }))
}
