//! What people decide in a browser. Forms alone: what becomes of them is the API's to decide (`api::orders`), by the same
//! rules for reasons, ends and what somebody else has decided.
//!
//! A form that may replace somebody else's decision carries the version that its sender saw, so that he does not replace one
//! that he did not see.

use super::fields::{FORM_TOKEN, Fields};
use super::layout::{Html, Part, page};
use super::view::{View, breaker_path, moment};
use super::{Site, Visitor, breaker};
use crate::api::model::{BreakerDetail, ForcedName, HeldName, time};
use crate::api::orders::{decided, forcing, paused, resumed};
use crate::api::problem::Problem;
use crate::api::{ID_MAX_BYTES, Named};
use crate::order::pause_version;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use cutout_core::{Act, BreakerId, Pause};
use http::{HeaderMap, HeaderValue, header};
use maud::{Markup, html};
use std::sync::Arc;

/// The longest reason, characters.
const WHY_MAX_CHARS: &str = "500";
/// The ends that are offered, as the API spells them.
const ENDS: [&str; 6] = ["15m", "30m", "1h", "4h", "12h", "never"];
/// The end that is offered first.
const END_FIRST: &str = "1h";

/// A decision that was not carried out, and what was sent for it.
pub(crate) struct Failed {
    pub(crate) problem: Problem,
    fields: Fields,
}

impl Failed {
    /// What was typed into a field of an act's form.
    fn typed<'a>(failed: Option<&'a Failed>, act: &str, field: &str) -> &'a str {
        failed.filter(|failed| failed.fields.get("act") == act).map_or("", |failed| failed.fields.get(field))
    }
}

/// Carries out what a form of a breaker's page says.
pub(crate) async fn decide(State(site): State<Arc<Site>>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Named(id) = Named::from_request_parts(&mut parts, &()).await?;
    let (visitor, fields) = Fields::signed(&site, Request::from_parts(parts, body)).await?;
    match carry_out(&site, &visitor, &id, &fields).await {
        Ok(()) => {
            debug_assert!(id.as_str().len() <= ID_MAX_BYTES * 3);
            Ok(site.go(&format!("{}?done={}", breaker_path(id.as_str()), done(&fields))))
        }
        Err(problem) => {
            let view = View::new(&site, &visitor);
            breaker::failed(&view, &id, &Failed { problem, fields }).await
        }
    }
}

/// What was done, for the page that tells it.
fn done(fields: &Fields) -> &'static str {
    match fields.get("act") {
        "force" if fields.get("state") == "open" => "open",
        "force" => "closed",
        "clear" => "clear",
        "release" => "release",
        _ => "end-fault",
    }
}

async fn carry_out(site: &Site, visitor: &Visitor, id: &BreakerId, fields: &Fields) -> Result<(), Problem> {
    let operator = decider(visitor)?;
    let act = match fields.get("act") {
        "force" => {
            let state = match fields.get("state") {
                "open" => ForcedName::Open,
                "closed" => ForcedName::Closed,
                _ => return Err(Problem::unprocessable("choose open or closed")),
            };
            forcing(&site.api, id, state, end(fields)).await?
        }
        "clear" => Act::Clear,
        "release" => Act::Release,
        "end-fault" => Act::EndFault,
        _ => return Err(Problem::bad_request("the form does not say what to do")),
    };
    let why = fields.get("why").to_owned();
    decided(&site.api, id, &seen(fields), operator, why, act).await.map(|_| ())
}

/// Who may decide.
fn decider(visitor: &Visitor) -> Result<crate::operators::Operator, Problem> {
    crate::api::operator::Decider::of(visitor.operator.clone()).map(|decider| decider.0)
}

/// The end that was typed, or else the one that was chosen.
fn end(fields: &Fields) -> &str {
    let typed = fields.get("until-typed").trim();
    if typed.is_empty() { fields.get("until") } else { typed }
}

/// The version that the sender saw, as the API takes it.
fn seen(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let tag = HeaderValue::try_from(format!("\"{}\"", fields.get("seen")));
    if let (false, Ok(tag)) = (fields.get("seen").is_empty(), tag) {
        headers.insert(header::IF_MATCH, tag);
    }
    headers
}

/// The forms of a breaker's page.
pub(crate) fn forms(
    view: &View<'_>,
    id: &BreakerId,
    known: Option<&BreakerDetail>,
    failed: Option<&Failed>,
) -> Markup {
    let (texts, action) = (view.texts(), view.breaker_at(id.as_str()));
    let forced = known.and_then(|known| known.forced_by.as_ref());
    // What was seen is told where it is somebody else's: one's own may be replaced as it is.
    let others = forced.filter(|forced| forced.by != view.visitor.operator.name);
    let version = others.and(known).map(|known| &*known.summary.version);
    let typed = |act: &str, field: &str| Failed::typed(failed, act, field);
    let form = |act: &str, legend: &str, version: Option<&str>, fields: &Markup, button: &str| {
        html! {
            form.act method="post" action=(action) aria-label=(legend) {
                h3 { (legend) }
                input type="hidden" name=(FORM_TOKEN) value=(view.form_token());
                input type="hidden" name="act" value=(act);
                @if let Some(version) = version { input type="hidden" name="seen" value=(version); }
                (fields)
                (reason(view, act, typed(act, "why")))
                button type="submit" { (button) }
            }
        }
    };
    let force = html! {
        fieldset.choice {
            legend { (texts.force_to) }
            @for (value, name, means) in [("open", texts.open, texts.open_means), ("closed", texts.closed, texts.closed_means)] {
                div {
                    input type="radio" name="state" value=(value) id={ "force-" (value) } required
                        checked[typed("force", "state") == value];
                    label for={ "force-" (value) } { strong { (name) } " " span.quiet { (means) } }
                }
            }
        }
        (ends(view, "force", typed("force", "until"), typed("force", "until-typed")))
    };
    let is_held = known.is_some_and(|known| known.held == Some(HeldName::MaxOpen));
    let has_fault = known.is_some_and(|known| known.fault_by.is_some());
    html! {
        section #decide aria-labelledby="decide-title" {
            h2 #decide-title { (texts.decide) }
            @if let Some(others) = others { p { (texts.replaces) " " strong { (others.by) } "." } }
            div.acts {
                @if forced.is_some() { (form("clear", texts.clear, version, &html! { p.quiet { (texts.clear_means) } }, texts.clear)) }
                @if is_held { (form("release", texts.release, version, &html! { p.quiet { (texts.release_means) } }, texts.release)) }
                @if has_fault { (form("end-fault", texts.end_fault, None, &html! {}, texts.end_fault)) }
                (form("force", texts.force, version, &force, texts.force))
            }
        }
    }
}

/// The field for a reason.
fn reason(view: &View<'_>, act: &str, typed: &str) -> Markup {
    html! {
        label for={ (act) "-why" } { (view.texts().why) }
        textarea name="why" id={ (act) "-why" } required maxlength=(WHY_MAX_CHARS) rows="2" { (typed) }
    }
}

/// The fields for an end.
fn ends(view: &View<'_>, act: &str, chosen: &str, typed: &str) -> Markup {
    let texts = view.texts();
    let chosen = if ENDS.contains(&chosen) { chosen } else { END_FIRST };
    html! {
        div.ends {
            div {
                label for={ (act) "-until" } { (texts.ends_after) }
                select name="until" id={ (act) "-until" } {
                    @for end in ENDS { option value=(end) selected[end == chosen] { (texts.end(end)) } }
                }
            }
            div {
                label for={ (act) "-until-typed" } { (texts.or_until) }
                input name="until-typed" id={ (act) "-until-typed" } value=(typed) placeholder="2026-11-21T06:00:00Z"
                    autocomplete="off" spellcheck="false";
            }
        }
    }
}

/// The page that pauses the scope, or ends its pause.
pub(crate) async fn pause_form(State(site): State<Arc<Site>>, visitor: Visitor) -> Result<Html, Problem> {
    pause_page(&View::new(&site, &visitor), None).await
}

/// Carries out what the form of that page says.
pub(crate) async fn pause(State(site): State<Arc<Site>>, request: Request) -> Result<Response, Problem> {
    let (visitor, fields) = Fields::signed(&site, request).await?;
    match carry_out_pause(&site, &visitor, &fields).await {
        Ok(()) => Ok(site.go("/pause")),
        Err(problem) => {
            let (view, status) = (View::new(&site, &visitor), problem.status());
            let page = pause_page(&view, Some(&Failed { problem, fields })).await?;
            Ok((status, page).into_response())
        }
    }
}

async fn carry_out_pause(site: &Site, visitor: &Visitor, fields: &Fields) -> Result<(), Problem> {
    let (operator, why, headers) = (decider(visitor)?, fields.get("why").to_owned(), seen(fields));
    match fields.get("act") {
        "pause" => paused(&site.api, &headers, &operator, why, end(fields)).await.map(|_| ()),
        "resume" => resumed(&site.api, &headers, &operator, why).await,
        _ => Err(Problem::bad_request("the form does not say what to do")),
    }
}

async fn pause_page(view: &View<'_>, failed: Option<&Failed>) -> Result<Html, Problem> {
    let texts = view.texts();
    let read = view.site.api.store().read(&[], None).await?;
    let pause = read.pause.filter(|pause| pause.holds_at(read.now_ms));
    let content = html! {
        h1 { (texts.pause) }
        @if let Some(failed) = failed {
            p.failed role="alert" {
                strong { (texts.not_done) } " " (texts.problem(failed.problem.code(), failed.problem.detail()))
            }
        }
        section #paused-now data-part {
            @match &pause {
                Some(pause) => p.banner {
                    strong { (texts.paused) } " " (pause.by) ": " q { (pause.why) } ", " (texts.since) " "
                    (moment(time(pause.since_ms))) ", " (view.until(pause.until_ms.map(time))) "."
                },
                None => p { (texts.not_paused) },
            }
        }
        p { (texts.pause_means) }
        @if view.may_decide() { (pause_forms(view, pause.as_ref(), failed)) } @else { p { (texts.viewers_look) } }
    };
    Ok(page(view, Part::Pause, texts.pause, &content))
}

fn pause_forms(view: &View<'_>, pause: Option<&Pause>, failed: Option<&Failed>) -> Markup {
    let (texts, action) = (view.texts(), view.site.at("/pause"));
    let others = pause.filter(|pause| pause.by != view.visitor.operator.name);
    let version = others.map(|pause| pause_version(Some(pause)));
    let form = |act: &str, button: &str, fields: &Markup| {
        html! {
            form.act method="post" action=(action) aria-label=(button) {
                h3 { (button) }
                input type="hidden" name=(FORM_TOKEN) value=(view.form_token());
                input type="hidden" name="act" value=(act);
                @if let Some(version) = &version { input type="hidden" name="seen" value=(version); }
                (fields)
                (reason(view, act, Failed::typed(failed, act, "why")))
                button type="submit" { (button) }
            }
        }
    };
    let typed = |field: &str| Failed::typed(failed, "pause", field);
    html! {
        @if let Some(others) = others { p { (texts.replaces) " " strong { (others.by) } "." } }
        div.acts {
            @if pause.is_some() { (form("resume", texts.resume, &html! {})) }
            (form("pause", texts.pause_scope, &ends(view, "pause", typed("until"), typed("until-typed"))))
        }
    }
}
