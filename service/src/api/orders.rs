//! What people decide: overrides, the release of what `max_open` holds, the pause of the scope.
//!
//! Every decision has a reason, and an end or an explicit `never`. A decision of somebody else is replaced or ended only by
//! who names its version (`If-Match`), so that two operators do not undo each other unseen.

use super::document::BreakerPath;
use super::flags::shown;
use super::model::{BreakerDetail, ForcedName, PauseState, PauseView};
use super::operator::{Decider, Looker};
use super::problem::{Problem, ProblemBody};
use super::{Api, Asked, Body, Named, tagged};
use crate::duration;
use crate::operators::Operator;
use crate::order::{self, ANY_VERSION, Caution, pause_version};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use cutout_core::{Act, BreakerId, Order, Pause};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The longest reason, characters; all of them fit into [`crate::WHY_MAX_BYTES`].
const WHY_MAX_CHARS: usize = 500;
/// How many versions of one `If-Match` are looked at.
const VERSIONS_MAX: usize = 16;

/// A state to force, why, and until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Override)]
pub(crate) struct OverrideBody {
    state: ForcedName,
    /// Why: it stands in the history.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "\\S",
        example = "the bank has maintenance until six"
    )]
    why: String,
    /// When it ends: a time (RFC 3339), how long from now (`90s`, `30m`, `12h`), or `never`.
    #[schema(example = "30m")]
    until: String,
}

/// Why, and until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Pause)]
pub(crate) struct PauseBody {
    /// Why: it stands in the history.
    #[schema(min_length = 1, max_length = 500, pattern = "\\S")]
    why: String,
    /// When it ends: a time (RFC 3339), how long from now (`90s`, `30m`, `12h`), or `never`.
    #[schema(example = "30m")]
    until: String,
}

/// Why something is ended.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhyQuery {
    /// Why: it stands in the history.
    #[param(min_length = 1, max_length = 500, pattern = "\\S")]
    pub(super) why: String,
}

/// Which version its sender has seen.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "read for its description alone")]
pub(crate) struct IfMatch {
    /// The entity tag that was seen. Needed to replace or end what somebody else has decided.
    #[param(rename = "If-Match", required = false)]
    if_match: String,
}

/// When a decision ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Never,
    At(Timestamp),
    For { ms: i64 },
}

impl Until {
    pub(super) fn parse(text: &str) -> Result<Until, Problem> {
        if text == "never" {
            return Ok(Until::Never);
        }
        if let Ok(ms) = duration::parse_ms(text) {
            return Ok(Until::For { ms });
        }
        let what = "until is a time (2026-11-21T06:00:00Z), how long from now (30m), or never";
        text.parse().map(Until::At).map_err(|_| Problem::unprocessable(what))
    }

    /// As Unix milliseconds when it is `now_ms`; none: never.
    pub(super) fn at_ms(self, now_ms: i64) -> Option<i64> {
        match self {
            Until::Never => None,
            Until::At(at) => Some(at.as_millisecond()),
            Until::For { ms } => Some(now_ms.saturating_add(ms)),
        }
    }
}

/// The reason that is given.
fn reason(why: String) -> Result<String, Problem> {
    let fits = !why.trim().is_empty() && why.chars().count() <= WHY_MAX_CHARS;
    let wrong = || Problem::unprocessable(format!("why is a reason of 1 to {WHY_MAX_CHARS} characters"));
    if fits { Ok(why) } else { Err(wrong()) }
}

/// What the sender has seen. A weak entity tag, and what is none, match nothing.
fn caution(headers: &HeaderMap) -> Caution {
    let values = headers.get_all(header::IF_MATCH).iter();
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let version = |tag: &str| match tag.trim() {
        ANY_VERSION => Some(ANY_VERSION.to_owned()),
        tag => Some(tag.strip_prefix('"')?.strip_suffix('"')?.to_owned()),
    };
    if headers.contains_key(header::IF_MATCH) {
        Caution::Seen(tags.filter_map(version).take(VERSIONS_MAX).collect())
    } else {
        Caution::Unseen
    }
}

/// Carries out what the operator decides of a declared breaker, and shows the breaker as it is then.
pub(crate) async fn decided(
    api: &Api,
    id: &BreakerId,
    headers: &HeaderMap,
    operator: Operator,
    why: String,
    act: Act,
) -> Result<Response, Problem> {
    api.declaration(id)?;
    let order = Order { by: operator.name, why: reason(why)?, act };
    order::obey_with(&api.shared, id, &order, &caution(headers)).await?;
    shown(api, id).await
}

/// Forces a breaker open or closed, in the place of what was forced before. It takes effect at once for every caller, and no
/// signal undoes it.
#[utoipa::path(put, path = "/v1/overrides/{id}", tag = "overrides", params(BreakerPath, IfMatch), request_body = OverrideBody,
    responses(
        (status = 200, description = "It is in force: the breaker as it is now", body = BreakerDetail, headers(("etag" = String, description = "Its version"))),
        (status = 404, description = "No such breaker is declared", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It would be one key more than max_keys allows", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn force(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    Named(id): Named,
    headers: HeaderMap,
    Body(body): Body<OverrideBody>,
) -> Result<Response, Problem> {
    let act = forcing(&api, &id, body.state, &body.until).await?;
    decided(&api, &id, &headers, operator, body.why, act).await
}

/// The act of forcing a declared breaker.
pub(crate) async fn forcing(
    api: &Api,
    id: &BreakerId,
    state: ForcedName,
    until: &str,
) -> Result<Act, Problem> {
    let until = Until::parse(until)?;
    api.declaration(id)?;
    let now_ms = api.store().read(&[], None).await?.now_ms;
    Ok(Act::Force { state: state.into(), until_ms: until.at_ms(now_ms) })
}

/// Ends an override: signals decide again.
#[utoipa::path(delete, path = "/v1/overrides/{id}", tag = "overrides", params(BreakerPath, WhyQuery, IfMatch),
    responses(
        (status = 200, description = "It is ended: the breaker as it is now", body = BreakerDetail, headers(("etag" = String, description = "Its version"))),
        (status = 404, description = "No such breaker is declared, or nobody forces it", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn clear(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    Named(id): Named,
    headers: HeaderMap,
    Asked(query): Asked<WhyQuery>,
) -> Result<Response, Problem> {
    decided(&api, &id, &headers, operator, query.why, Act::Clear).await
}

/// Lets a breaker open that `max_open` holds back.
#[utoipa::path(delete, path = "/v1/held/{id}", tag = "held", params(BreakerPath, WhyQuery, IfMatch),
    responses(
        (status = 200, description = "It is released: the breaker as it is now", body = BreakerDetail, headers(("etag" = String, description = "Its version"))),
        (status = 404, description = "No such breaker is declared, or max_open does not hold it", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn release(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    Named(id): Named,
    headers: HeaderMap,
    Asked(query): Asked<WhyQuery>,
) -> Result<Response, Problem> {
    decided(&api, &id, &headers, operator, query.why, Act::Release).await
}

/// Shows whether the scope is paused, from the store.
#[utoipa::path(get, path = "/v1/pause", tag = "pause",
    responses((status = 200, description = "The pause", body = PauseState, headers(("etag" = String, description = "Its version, for If-Match")))))]
pub(crate) async fn pause(State(api): State<Arc<Api>>, _who: Looker) -> Result<Response, Problem> {
    let read = api.store().read(&[], None).await?;
    let pause = read.pause.filter(|pause| pause.holds_at(read.now_ms));
    let state = PauseState { pause: pause.as_ref().map(Into::into) };
    Ok(tagged(&pause_version(pause.as_ref()), Json(state)))
}

/// Pauses the scope: no signal opens anything. What is open recovers as its signals say, and people may still force states.
#[utoipa::path(put, path = "/v1/pause", tag = "pause", params(IfMatch), request_body = PauseBody,
    responses((status = 200, description = "It is paused", body = PauseState, headers(("etag" = String, description = "Its version")))))]
pub(crate) async fn set_pause(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    headers: HeaderMap,
    Body(body): Body<PauseBody>,
) -> Result<Response, Problem> {
    let pause = paused(&api, &headers, &operator, body.why, &body.until).await?;
    let state = PauseState { pause: Some(PauseView::from(&pause)) };
    Ok(tagged(&pause_version(Some(&pause)), Json(state)))
}

/// Pauses the scope.
pub(crate) async fn paused(
    api: &Api,
    headers: &HeaderMap,
    operator: &Operator,
    why: String,
    until: &str,
) -> Result<Pause, Problem> {
    let (until, caution) = (Until::parse(until)?, caution(headers));
    let now_ms = api.store().read(&[], None).await?.now_ms;
    let until_ms = until.at_ms(now_ms);
    let why = reason(why)?;
    Ok(order::pause(&api.shared, &operator.name, &why, until_ms, &caution).await?)
}

/// Ends the pause: what fires opens at once.
#[utoipa::path(delete, path = "/v1/pause", tag = "pause", params(WhyQuery, IfMatch),
    responses(
        (status = 204, description = "It is ended"),
        (status = 404, description = "The scope is not paused", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn end_pause(
    State(api): State<Arc<Api>>,
    Decider(operator): Decider,
    headers: HeaderMap,
    Asked(query): Asked<WhyQuery>,
) -> Result<Response, Problem> {
    resumed(&api, &headers, &operator, query.why).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends the pause.
pub(crate) async fn resumed(
    api: &Api,
    headers: &HeaderMap,
    operator: &Operator,
    why: String,
) -> Result<(), Problem> {
    let (why, caution) = (reason(why)?, caution(headers));
    Ok(order::resume(&api.shared, &operator.name, &why, &caution).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_a_duration_or_never() {
        let at_ms = |text: &str| Until::parse(text).map(|until| until.at_ms(1_000)).ok();
        assert_eq!(at_ms("never"), Some(None));
        assert_eq!(at_ms("30m"), Some(Some(1_801_000)));
        assert_eq!(at_ms("1970-01-01T00:00:05Z"), Some(Some(5_000)));
        assert_eq!(at_ms("1970-01-01T09:00:05+09:00"), Some(Some(5_000)));
        assert_eq!(at_ms("9223372036854775807ms"), Some(Some(i64::MAX)));
        for text in ["", "Never", "30", "tomorrow", "1970-01-01", "1970-01-01T00:00:05", " 30m"] {
            assert_eq!(at_ms(text), None, "{text}");
        }
    }

    #[test]
    fn if_match_names_versions() {
        let of = |values: &[&'static str]| {
            let headers: HeaderMap = values
                .iter()
                .map(|value| (header::IF_MATCH, http::HeaderValue::from_static(value)))
                .collect();
            caution(&headers)
        };
        let seen =
            |versions: &[&str]| Caution::Seen(versions.iter().map(|version| (*version).to_owned()).collect());
        assert_eq!(of(&[]), Caution::Unseen);
        assert_eq!(of(&["\"a-1\""]), seen(&["a-1"]));
        assert_eq!(of(&["\"a-1\", \"a-2\"", "*"]), seen(&["a-1", "a-2", "*"]));
        for nothing in ["W/\"a-1\"", "a-1", "\"a-1", "", "\""] {
            assert_eq!(of(&[nothing]), seen(&[]), "{nothing}: given, and it matches nothing");
        }
    }
}
