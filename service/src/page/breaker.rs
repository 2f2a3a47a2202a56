//! One breaker: what it does to calls, who forces it, what its monitors' groups say, how it went, and the forms to decide.

use super::acts::{self, Failed};
use super::fields::Fields;
use super::layout::{Html, Part, page};
use super::list::{effect, monitor_link};
use super::past::{self, History};
use super::plot::Span;
use super::view::{View, breaker_path, class, moment, span};
use super::{Site, Visitor, plot};
use crate::api::Named;
use crate::api::flags::detail;
use crate::api::model::{
    AsksName, BreakerDetail, HeldName, ModeName, OnStaleName, PolicyView, SignalView, StateName,
};
use crate::api::problem::Problem;
use crate::duration::shown as duration;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use cutout_core::BreakerId;
use http::StatusCode;
use maud::{Markup, html};
use std::sync::Arc;

/// The page of one breaker.
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Named(id): Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = Fields::of(query.unwrap_or_default().as_bytes());
    let view = View::new(&site, &visitor);
    let content = content(&view, &id, &query, None).await?;
    Ok(content.into_response())
}

/// The same after a decision that was not carried out.
pub(crate) async fn failed(view: &View<'_>, id: &BreakerId, failed: &Failed) -> Result<Response, Problem> {
    let page = content(view, id, &Fields::default(), Some(failed)).await?;
    Ok((failed.problem.status(), page).into_response())
}

async fn content(
    view: &View<'_>,
    id: &BreakerId,
    query: &Fields,
    failed: Option<&Failed>,
) -> Result<Html, Problem> {
    let (api, texts) = (&view.site.api, view.texts());
    api.declaration(id)?;
    let known = match detail(api, id).await {
        Ok(known) => Some(known),
        // Declared, and no group has touched it: it may be forced all the same.
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => None,
        Err(problem) => return Err(problem),
    };
    let chosen = Span::named(query.get("span"));
    let history = past::of_breaker(api, id, chosen.begins_ms(view.now_ms)).await?;
    let content = html! {
        @if let Some(failed) = failed {
            p.failed #failed role="alert" tabindex="-1" {
                strong { (texts.not_done) } " " (texts.problem(failed.problem.code(), failed.problem.detail()))
            }
        }
        @if let Some(done) = texts.done(query.get("done")) { p.done role="status" { (done) } }
        p.crumb { a href=(view.site.at("/")) { (texts.to_breakers) } }
        @match &known {
            Some(known) => (state(view, known)),
            None => {
                h1 { (id.as_str()) }
                p #known data-part { (texts.unknown_breaker) }
            }
        }
        @if let Some(known) = &known { (signals(view, known)) }
        (timeline(view, id, known.as_ref(), chosen, &history))
        @if view.may_decide() { (acts::forms(view, id, known.as_ref(), failed)) } @else {
            section { h2 { (texts.decide) } p { (texts.viewers_look) } }
        }
        section #past aria-labelledby="past-title" data-part {
            h2 #past-title { (texts.history) }
            (past::table(view, &history.items, false, texts.no_history_in_span))
            p { a href=(past::more_at(view, id)) { (texts.older) } }
        }
        @if let Some(known) = &known { (policy(view, known)) }
    };
    let word = known.as_ref().map_or(texts.closed, |known| view.state(known.summary.state));
    Ok(page(view, Part::Breakers, &format!("{word}: {}", id.as_str()), &content))
}

/// What it does to calls now, and why.
fn state(view: &View<'_>, known: &BreakerDetail) -> Markup {
    let (texts, shown) = (view.texts(), &known.summary);
    html! {
        section #known .{ "state " (class(shown.state)) } data-part data-breaker=(shown.breaker)
            data-state=(class(shown.state)) aria-labelledby="title" {
            h1 #title { (view.badge(shown.state)) " " span.name { (shown.breaker) } }
            p { (view.since(shown.since)) }
            p { (effect(view, shown)) }
            @if !known.policy.refuse.is_empty() && shown.state != StateName::Closed {
                p { (texts.refused_alone) " " @for class in &known.policy.refuse { code { (class) } " " } }
            }
            @if shown.mode == ModeName::Watch { p { strong { (texts.watch_mode) } " " (texts.watch_means) } }
            @if let Some(held) = known.held {
                p.warn { strong { (texts.held) } " "
                    @match held { HeldName::Paused => (texts.held_paused), HeldName::MaxOpen => (texts.held_max_open) } }
            }
            @if let Some(forced) = &known.forced_by {
                p.warn {
                    strong { (texts.forced_by) " " (forced.by) } ": " q { (forced.why) } ", "
                    (texts.since) " " (moment(forced.since)) ", " (view.until(forced.until))
                }
            }
            @if let (Some(fault), Some(by)) = (&shown.fault, &known.fault_by) {
                p.warn {
                    strong { (texts.fault_by) " " (by.by) } ": " q { (by.why) } ". "
                    (super::view::percent(fault.abort_ppm)) " " (texts.aborted) ", "
                    (super::view::percent(fault.delay_ppm)) " " (texts.delayed_by) " " (duration(fault.delay_ms)) ", "
                    @if let Some(header) = &fault.header {
                        (texts.fault_only) " " code { (header.name) @if let Some(value) = &header.value { ": " (value) } } ", "
                    }
                    (view.until(Some(fault.until)))
                }
            }
        }
    }
}

/// What its monitors' groups say.
fn signals(view: &View<'_>, known: &BreakerDetail) -> Markup {
    let texts = view.texts();
    let mut signals: Vec<&SignalView> = known.signals.iter().collect();
    signals.sort_by_key(|signal| match signal.asks {
        AsksName::Open => 0,
        AsksName::HalfOpen => 1,
        AsksName::Closed => 2,
    });
    html! {
        section #signals aria-labelledby="signals-title" data-part {
            h2 #signals-title { (texts.signals) }
            @if signals.is_empty() && known.hints.is_empty() { p { (texts.no_signals) } } @else {
                div.wide tabindex="0" role="group" aria-labelledby="signals-title" {
                    table {
                        thead { tr {
                            th scope="col" { (texts.status) }
                            th scope="col" { (texts.monitor) }
                            th scope="col" { (texts.group) }
                            th scope="col" { (texts.asks) }
                            th scope="col" { (texts.since_title) }
                            th scope="col" { (texts.confirmed) }
                        } }
                        tbody {
                            @for hint in &known.hints {
                                tr.open {
                                    td { strong { (texts.notified) } }
                                    td { (monitor_link(view, &hint.monitor)) }
                                    td { code { (hint.group) } }
                                    td { (texts.open) }
                                    td { (view.age(hint.at)) }
                                    td { (texts.hint_lapses) " " (moment(hint.until)) }
                                }
                            }
                            @for signal in signals { (signal_row(view, signal)) }
                        }
                    }
                }
            }
        }
    }
}

fn signal_row(view: &View<'_>, signal: &SignalView) -> Markup {
    let texts = view.texts();
    let (kind, asks) = match signal.asks {
        AsksName::Open => ("open", texts.open),
        AsksName::HalfOpen => ("half-open", texts.half_open),
        AsksName::Closed => ("closed", texts.closed),
    };
    let is_stale = signal.stale_at.as_millisecond() <= view.now_ms;
    html! {
        tr class=(kind) {
            td { strong { (signal.status) } @if signal.muted { " " (texts.muted) } @if signal.vanished { " " (texts.vanished) } }
            td { (monitor_link(view, &signal.monitor)) }
            td { code { (signal.group) } }
            td { (asks) }
            td { @match signal.changed_at { Some(at) => (view.age(at)), None => (texts.not_told) } }
            td { (span(texts, signal.age_ms)) " " (texts.ago) @if is_stale { " " strong { (texts.stale) } } }
        }
    }
}

/// How it went, as a picture and in words.
fn timeline(
    view: &View<'_>,
    id: &BreakerId,
    known: Option<&BreakerDetail>,
    chosen: Span,
    history: &History,
) -> Markup {
    let texts = view.texts();
    let now = known.map(|known| known.summary.would.unwrap_or(known.summary.state));
    let line = plot::line(&history.items, now, chosen.begins_ms(view.now_ms), view.now_ms);
    let would = known.is_some_and(|known| known.summary.mode == ModeName::Watch);
    html! {
        section #timeline aria-labelledby="timeline-title" data-part {
            h2 #timeline-title { (texts.timeline) }
            nav.spans aria-label=(texts.spans) {
                @for span in Span::ALL {
                    a href={ (view.site.at(&breaker_path(id.as_str()))) "?span=" (span.name()) }
                        aria-current=[(span == chosen).then_some("true")] { (span.name()) }
                }
            }
            (plot::picture(view, &line, chosen, would))
            @if !history.is_whole { p.quiet { (texts.history_cut) } }
        }
    }
}

/// How it decides.
fn policy(view: &View<'_>, known: &BreakerDetail) -> Markup {
    let (texts, policy) = (view.texts(), &known.policy);
    let PolicyView { min_open_ms, ramp_ms, max_age_ms, on_stale, probe_ppm, max_open_ppm, max_keys, refuse } =
        policy;
    let on_stale = match on_stale {
        OnStaleName::HalfOpen => "half-open",
        OnStaleName::Hold => "hold",
        OnStaleName::Close => "close",
    };
    let mode = if known.summary.mode == ModeName::Watch { "watch" } else { "enforce" };
    let refused: Vec<&str> = refuse.iter().map(String::as_str).collect();
    let refused = if refused.is_empty() { texts.all_classes.to_owned() } else { refused.join(", ") };
    // As the breakers' file spells them.
    let lines = [
        ("mode", mode.to_owned()),
        ("min_open", duration(*min_open_ms)),
        ("ramp", duration(*ramp_ms)),
        ("probe", super::view::percent(*probe_ppm)),
        ("max_age", duration(*max_age_ms)),
        ("on_stale", on_stale.to_owned()),
        ("refuse", refused),
        ("max_open", super::view::percent(*max_open_ppm)),
        ("max_keys", max_keys.to_string()),
    ];
    html! {
        section aria-labelledby="policy-title" {
            h2 #policy-title { (texts.policy) }
            dl.policy { @for (name, value) in lines { div { dt { code { (name) } } dd { (value) } } } }
        }
    }
}
