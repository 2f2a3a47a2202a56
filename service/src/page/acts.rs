//! What people decide in a browser. Forms alone: what becomes of them is the API's to decide (`api::orders`), by the same
//! rules for reasons, ends and what somebody else has decided.
//!
//! A form that may replace somebody else's decision carries the version that its sender saw, so that he does not replace one
//! that he did not see.

use super::fields::{FORM_TOKEN, Fields};
use super::layout::{Html, Part, page};
use super::view::{View, breaker_path, moment};
use super::{Site, Visitor, breaker};
use crate::api::Named;
use crate::api::faults::{FaultBody, injected};
use crate::api::model::{BreakerDetail, ForcedName, HeaderView, HeldName, time};
use crate::api::orders::{decided, forcing, paused, resumed};
use crate::api::problem::Problem;
use crate::order::pause_version;
use crate::{duration, share};
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
/// The ends of a fault that are offered, the first of them first: it lasts an hour at the most, and never for ever.
const FAULT_ENDS: [&str; 3] = ["15m", "30m", "1h"];

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
        Ok(()) => Ok(site.go(&format!("{}?done={}", breaker_path(id.as_str()), done(&fields)))),
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
        "inject" => "inject",
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
        "inject" => {
            let fault = fault(fields)?;
            return injected(&site.api, id, &seen(fields), operator, fault).await.map(|_| ());
        }
        _ => return Err(Problem::bad_request("the form does not say what to do")),
    };
    let why = fields.get("why").to_owned();
    decided(&site.api, id, &seen(fields), operator, why, act).await.map(|_| ())
}

/// The fault that a form describes. What is left empty is none.
fn fault(fields: &Fields) -> Result<FaultBody, Problem> {
    let wrong = |what: &str| Problem::unprocessable(format!("{what} is a share such as 10%"));
    let share = |name: &str, what: &str| match fields.get(name).trim() {
        "" => Ok(0),
        text => share::parse_ppm(text).ok_or_else(|| wrong(what)),
    };
    let delay_ms = match fields.get("delay").trim() {
        "" => 0,
        text => duration::parse_ms(text).map_err(|error| Problem::unprocessable(error.to_string()))?,
    };
    let header = match (fields.get("header").trim(), fields.get("header-value")) {
        ("", "") => None,
        ("", _) => return Err(Problem::unprocessable("a header's value has a header's name before it")),
        (name, value) => {
            Some(HeaderView { name: name.to_owned(), value: (!value.is_empty()).then(|| value.to_owned()) })
        }
    };
    Ok(FaultBody {
        abort_ppm: share("abort", "what ends unsent")?,
        delay_ppm: share("delay-share", "what waits")?,
        delay_ms,
        header,
        why: fields.get("why").to_owned(),
        until: end(fields).to_owned(),
    })
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
        (ends(view, "force", &ENDS, END_FIRST, [typed("force", "until"), typed("force", "until-typed")]))
    };
    // Anybody may end a fault; only replacing somebody else's is told.
    let is_others = known.is_some_and(|known| {
        known.fault_by.as_ref().is_some_and(|fault| fault.by != view.visitor.operator.name)
    });
    let fault_version = known.filter(|_| is_others).map(|known| &*known.summary.version);
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
                (form("inject", texts.inject, fault_version, &fault_fields(view, &typed), texts.inject))
            }
        }
    }
}

/// The fields that describe a fault.
fn fault_fields<'a>(view: &View<'_>, typed: &impl Fn(&str, &str) -> &'a str) -> Markup {
    let texts = view.texts();
    let typed = |field: &str| typed("inject", field);
    let [first, ..] = FAULT_ENDS;
    html! {
        p.quiet { (texts.inject_means) }
        div.ends {
            @for (name, label, example) in [
                ("abort", texts.fault_abort, "10%"),
                ("delay-share", texts.fault_delay_share, "10%"),
                ("delay", texts.fault_delay, "300ms"),
                ("header", texts.fault_header, "x-drill"),
                ("header-value", texts.fault_header_value, ""),
            ] {
                div {
                    label for={ "inject-" (name) } { (label) }
                    input name=(name) id={ "inject-" (name) } value=(typed(name)) placeholder=(example)
                        autocomplete="off" spellcheck="false";
                }
            }
        }
        (ends(view, "inject", &FAULT_ENDS, first, [typed("until"), typed("until-typed")]))
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
fn ends(view: &View<'_>, act: &str, offered: &[&str], first: &str, [chosen, typed]: [&str; 2]) -> Markup {
    let texts = view.texts();
    let chosen = if offered.contains(&chosen) { chosen } else { first };
    html! {
        div.ends {
            div {
                label for={ (act) "-until" } { (texts.ends_after) }
                select name="until" id={ (act) "-until" } {
                    @for &end in offered { option value=(end) selected[end == chosen] { (texts.end(end)) } }
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
                h2 { (button) }
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
            (form("pause", texts.pause_scope, &ends(view, "pause", &ENDS, END_FIRST, [typed("until"), typed("until-typed")])))
        }
    }
}
