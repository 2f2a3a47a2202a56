//! Faults that people inject into a breaker's calls: set with a reason and an end, ended by anybody who may decide.
//!
//! The limits are core's, and stand in the description. There is no `never`: a fault that nobody remembers must not stay.

use super::document::BreakerPath;
use super::model::{BreakerDetail, HeaderView};
use super::operator::Decider;
use super::orders::{IfMatch, Until, WhyQuery, decided};
use super::problem::{Problem, ProblemBody};
use super::{Api, Asked, Body, Named};
use crate::operators::Operator;
use axum::extract::State;
use axum::response::Response;
use cutout_core::{Act, BreakerId, Fault, Mark};
use http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What to inject, why, and until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Fault)]
pub(crate) struct FaultBody {
    /// The share of calls that end unsent, parts per million: half of them at the most, and all only with a header.
    #[serde(default)]
    #[schema(maximum = 1_000_000, example = 100_000)]
    pub(crate) abort_ppm: u32,
    /// The share of calls that wait before they are sent, parts per million: half of them at the most, and all only with a header.
    #[serde(default)]
    #[schema(maximum = 1_000_000)]
    pub(crate) delay_ppm: u32,
    /// How long they wait, milliseconds.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 30_000)]
    pub(crate) delay_ms: i64,
    /// Only HTTP requests that bear this header; null: any call.
    #[serde(default)]
    pub(crate) header: Option<HeaderView>,
    /// Why: it stands in the history.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "\\S",
        example = "a drill: does the till fall back?"
    )]
    pub(crate) why: String,
    /// When it ends: a time (RFC 3339), or how long from now (`90s`, `30m`); one hour from now at the latest.
    #[schema(example = "10m")]
    pub(crate) until: String,
}

/// Injects a fault into the calls that the breaker admits, in the place of the one before.
#[utoipa::path(put, path = "/v1/faults/{id}", tag = "faults", params(BreakerPath, IfMatch), request_body = FaultBody,
    responses(
        (status = 200, description = "It is injected: the breaker as it is now", body = BreakerDetail, headers(("etag" = String, description = "Its version"))),
        (status = 404, description = "No such breaker is declared", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It would be one key more than max_keys allows", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn inject(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    Named(id): Named,
    headers: HeaderMap,
    Body(body): Body<FaultBody>,
) -> Result<Response, Problem> {
    injected(&api, &id, &headers, operator, body).await
}

/// Injects a fault into the calls of a declared breaker, and shows the breaker as it is then.
pub(crate) async fn injected(
    api: &Api,
    id: &BreakerId,
    headers: &HeaderMap,
    operator: Operator,
    body: FaultBody,
) -> Result<Response, Problem> {
    let until = Until::parse(&body.until)?;
    api.declaration(id)?;
    let now_ms = api.store().read(&[], None).await?.now_ms;
    let until_ms = until.at_ms(now_ms);
    let until_ms =
        until_ms.ok_or_else(|| Problem::unprocessable("a fault has an end: until is not never"))?;
    let only = body.header.map(|header| Mark { name: header.name.to_lowercase(), value: header.value });
    let FaultBody { abort_ppm, delay_ppm, delay_ms, .. } = body;
    let fault = Fault { since_ms: now_ms, until_ms, abort_ppm, delay_ppm, delay_ms, only };
    decided(api, id, headers, operator, body.why, Act::Inject(fault)).await
}

/// Ends a fault, whoever has set it.
#[utoipa::path(delete, path = "/v1/faults/{id}", tag = "faults", params(BreakerPath, WhyQuery, IfMatch),
    responses(
        (status = 200, description = "It is ended: the breaker as it is now", body = BreakerDetail, headers(("etag" = String, description = "Its version"))),
        (status = 404, description = "No such breaker is declared, or no fault is injected", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn end(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    Named(id): Named,
    headers: HeaderMap,
    Asked(query): Asked<WhyQuery>,
) -> Result<Response, Problem> {
    decided(&api, &id, &headers, operator, query.why, Act::EndFault).await
}
