//! The list: what is not closed comes first, with what fired it; then all breakers, by pages, as the API lists them.
//!
//! The list itself comes from memory and is there when the store is not; only what fired is read from the store.

use super::layout::{Html, Part, page};
use super::view::{View, class};
use super::{Site, Visitor, fields, pipeline};
use crate::api::flags::{ListQuery, PAGE_DEFAULT, listed, monitors};
use crate::api::model::{BreakerList, BreakerSummary, MonitorView, StateName, time};
use crate::api::problem::Problem;
use crate::board::Scope;
use axum::extract::{RawQuery, State};
use cutout_core::breaker::Asks;
use cutout_core::{BreakerId, Pause};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How many breakers that are not closed stand at the top.
const ATTENTION_MAX: usize = 50;
/// How many firing groups are shown of one of them.
const FIRING_MAX: usize = 3;
/// How long the list waits for what only the store knows.
const STORE_WAIT: Duration = Duration::from_secs(1);

/// The list.
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Html, Problem> {
    let query = fields::query::<ListQuery>(&query.unwrap_or_default(), &[])?;
    let (scope, list) = (site.api.scope()?, listed(&site.api, &query)?);
    let view = View { site: &site, visitor: &visitor, now_ms: scope.now_ms };
    let texts = view.texts();
    let all = Counted::of(&site, &scope);
    let shown: Vec<&BreakerSummary> = if is_all(&query) { all.first.values().collect() } else { Vec::new() };
    let behind = behind(&view, &shown).await;
    let pause = behind.as_ref().map_or_else(|_| scope.pause().cloned(), |behind| behind.pause.clone());
    let content = html! {
        (pipeline::paused(&view, pause.as_ref()))
        h1 { (texts.breakers) }
        (summary(&view, &query, &all))
        @if is_all(&query) { (attention(&view, &all, &behind)) }
        (table(&view, &query, &list))
        (pipeline::health(&view, &scope, all.unconfirmed))
    };
    let title = match all.open {
        0 => texts.breakers.to_owned(),
        open => format!("{open} {} · {}", texts.open_lower, texts.breakers),
    };
    Ok(page(&view, Part::Breakers, &title, &content))
}

/// Whether nothing was asked for but the list.
fn is_all(query: &ListQuery) -> bool {
    let ListQuery { state, name, key, overridden, after, limit: _ } = query;
    state.is_none() && name.is_none() && key.is_none() && overridden.is_none() && after.is_none()
}

/// All breakers, by what matters of them.
#[derive(Debug, Default)]
struct Counted {
    open: usize,
    half_open: usize,
    closed: usize,
    forced: usize,
    /// Open or not quite, and no report confirms it any more.
    unconfirmed: usize,
    /// Those that somebody should look at, the worst first.
    first: BTreeMap<(u8, String), BreakerSummary>,
    /// How many there are of them.
    first_total: usize,
}

impl Counted {
    fn of(site: &Site, scope: &Scope) -> Counted {
        let mut counted = Counted::default();
        site.api.board().each(|id, published| {
            let flag = &published.flag;
            match flag.state_at(scope.now_ms).into() {
                StateName::Open => counted.open += 1,
                StateName::HalfOpen => counted.half_open += 1,
                StateName::Closed => counted.closed += 1,
            }
            counted.forced += usize::from(flag.forced_at(scope.now_ms).is_some());
            let is_stale = flag.stale_at_ms.is_some_and(|stale_at_ms| stale_at_ms <= scope.now_ms);
            counted.unconfirmed += usize::from(is_stale);
            counted.notice(id, published, scope.now_ms);
        });
        counted
    }

    /// Keeps a breaker that somebody should look at.
    fn notice(&mut self, id: &BreakerId, published: &cutout_flags::Published, now_ms: i64) {
        let flag = &published.flag;
        let is_quiet = flag.state_at(now_ms) == cutout_core::State::Closed
            && flag.would_at(now_ms) == cutout_core::State::Closed
            && flag.forced_at(now_ms).is_none()
            && flag.fault.as_deref().is_none_or(|fault| !fault.holds_at(now_ms));
        if is_quiet {
            return;
        }
        let shown = BreakerSummary::of(id, published, now_ms);
        let rank = match (shown.state, shown.would) {
            (StateName::Open, _) => 0,
            (_, Some(StateName::Open)) => 1,
            (StateName::HalfOpen, _) => 2,
            _ if shown.forced.is_some() || shown.fault.is_some() => 3,
            (StateName::Closed, _) => 4,
        };
        self.first_total += 1;
        self.first.insert((rank, shown.breaker.clone()), shown);
        if self.first.len() > ATTENTION_MAX {
            self.first.pop_last();
        }
    }
}

/// How many there are in each state; each number leads to those.
fn summary(view: &View<'_>, query: &ListQuery, all: &Counted) -> Markup {
    let texts = view.texts();
    let tile = |kind: &str, count: usize, name: &str, filter: &str, is_chosen: bool| {
        html! {
            li {
                a class={ "tile " (kind) @if count == 0 { " none" } } href=(view.site.at(&format!("/?{filter}")))
                    aria-current=[is_chosen.then_some("true")] {
                    strong { (count) } " " span { (name) }
                }
            }
        }
    };
    let states = [
        (StateName::Open, all.open, texts.open, "state=open"),
        (StateName::HalfOpen, all.half_open, texts.half_open, "state=half-open"),
        (StateName::Closed, all.closed, texts.closed, "state=closed"),
    ];
    html! {
        ul #summary .tiles aria-label=(texts.by_state) data-part {
            @for (state, count, name, filter) in states {
                (tile(class(state), count, name, filter, query.state == Some(state)))
            }
            (tile("forced", all.forced, texts.forced, "overridden=true", query.overridden == Some(true)))
        }
    }
}

/// What somebody should look at.
fn attention(view: &View<'_>, all: &Counted, behind: &Result<Behind, Problem>) -> Markup {
    let texts = view.texts();
    html! {
        section #attention aria-labelledby="attention-title" data-part {
            h2 #attention-title { (texts.not_closed) }
            @if all.first.is_empty() {
                p.calm { (texts.all_closed) }
            }
            @if let Err(problem) = behind { p.failed { (texts.problem(problem.code(), problem.detail())) } }
            ul.cards {
                @for shown in all.first.values() {
                    (card(view, shown, behind.as_ref().ok().and_then(|behind| behind.firing.get(&shown.breaker))))
                }
            }
            @if all.first_total > all.first.len() {
                p.quiet { (all.first_total - all.first.len()) " " (texts.more_not_closed) }
            }
        }
    }
}

/// A group that fires.
struct Firing {
    monitor: MonitorView,
    group: String,
    status: String,
}

/// What only the store knows.
struct Behind {
    pause: Option<Pause>,
    /// What fires, by breaker.
    firing: BTreeMap<String, Vec<Firing>>,
}

/// What stands behind these breakers, if the store tells it soon: the list does not wait for a store that is away.
async fn behind(view: &View<'_>, shown: &[&BreakerSummary]) -> Result<Behind, Problem> {
    let late = |_| Problem::unavailable("store", "the store of breakers does not answer in time");
    tokio::time::timeout(STORE_WAIT, read_behind(view, shown)).await.map_err(late)?
}

async fn read_behind(view: &View<'_>, shown: &[&BreakerSummary]) -> Result<Behind, Problem> {
    let api = &view.site.api;
    let ids: Vec<BreakerId> =
        shown.iter().map(|shown| BreakerId::from_stored(shown.breaker.clone())).collect();
    let read = api.store().read(&ids, None).await?;
    let mut groups = Vec::new();
    for (id, stored) in ids.iter().zip(&read.breakers) {
        let (Some(stored), Ok(declaration)) = (stored, api.declaration(id)) else { continue };
        for heard in stored.value.heard(&declaration.policy, read.now_ms) {
            if heard.asks == Asks::Fire {
                let status = heard.signal.latest.status.as_str().to_owned();
                groups.push((id, heard.id.clone(), status));
            }
        }
        for hinted in stored.value.hints().keys() {
            groups.push((id, hinted.clone(), view.texts().notified.to_owned()));
        }
    }
    let ids: BTreeSet<u64> = groups.iter().map(|(_, signal, _)| signal.monitor_id).collect();
    let seen = monitors(api, &ids).await?;
    let mut firing: BTreeMap<String, Vec<Firing>> = BTreeMap::new();
    for (id, signal, status) in groups {
        let monitor = MonitorView::of(signal.monitor_id, seen.get(&signal.monitor_id));
        let of_breaker = firing.entry(id.as_str().to_owned()).or_default();
        of_breaker.push(Firing { monitor, group: signal.group, status });
    }
    let pause = read.pause.filter(|pause| pause.holds_at(read.now_ms));
    Ok(Behind { pause, firing })
}

/// One breaker that somebody should look at.
fn card(view: &View<'_>, shown: &BreakerSummary, firing: Option<&Vec<Firing>>) -> Markup {
    let texts = view.texts();
    let firing = firing.map(Vec::as_slice).unwrap_or_default();
    html! {
        li class={ "card " (class(shown.state)) } data-breaker=(shown.breaker) data-state=(class(shown.state)) {
            div.head {
                (view.badge(shown.state))
                a.name href=(view.breaker_at(&shown.breaker)) { (shown.breaker) }
                span { (view.since(shown.since)) }
            }
            p { (effect(view, shown)) }
            @if let Some(forced) = &shown.forced {
                p { strong { (texts.forced_by_person) } " " (view.until(forced.until)) }
            }
            @if !firing.is_empty() {
                ul.firing {
                    @for Firing { monitor, group, status } in firing.iter().take(FIRING_MAX) {
                        li { strong { (status) } " " (monitor_link(view, monitor)) " " code { (group) } }
                    }
                    @if firing.len() > FIRING_MAX { li.quiet { (firing.len() - FIRING_MAX) " " (texts.more_groups) } }
                }
            }
        }
    }
}

/// A monitor's name, as a link if it is known where it stands.
pub(crate) fn monitor_link(view: &View<'_>, monitor: &MonitorView) -> Markup {
    let texts = view.texts();
    let name = monitor.name.clone().unwrap_or_else(|| format!("{} {}", texts.monitor, monitor.id));
    html! {
        @match &monitor.url {
            Some(url) => a href=(url) rel="noreferrer" { (name) },
            None => (name),
        }
        @if let Some(event) = &monitor.event_url { " (" a href=(event) rel="noreferrer" { (texts.event) } ")" }
    }
}

/// What the state does to calls, and what comes next.
pub(crate) fn effect(view: &View<'_>, shown: &BreakerSummary) -> Markup {
    let texts = view.texts();
    html! {
        (view.share(shown.share_ppm))
        @if let Some(would) = shown.would {
            @let why = if shown.mode == crate::api::model::ModeName::Watch { texts.would_watch } else { texts.would_held };
            ". " strong { (texts.would_be) " " (view.state(would)) } ": " (why)
        }
        @if let Some(next) = &shown.next {
            ". " (texts.then) " " (view.state(next.state)) " " (texts.at) " " (super::view::moment(next.at))
        }
        @if shown.stale_at.is_some_and(|at| at.as_millisecond() <= view.now_ms) { ". " strong { (texts.stale) } }
        @if let Some(fault) = &shown.fault { ". " strong { (texts.fault_injected) } " " (view.until(Some(fault.until))) }
    }
}

/// All breakers that were asked for, by pages.
fn table(view: &View<'_>, query: &ListQuery, list: &BreakerList) -> Markup {
    let texts = view.texts();
    html! {
        section aria-labelledby="all-title" {
            h2 #all-title { @if is_all(query) { (texts.all_breakers) } @else { (texts.chosen_breakers) } }
            (filters(view, query))
            div #rows data-part {
                p.quiet { (texts.breakers_fit) " " (list.total) }
                @if list.items.is_empty() { (nothing(view, query)) } @else {
                    div.wide tabindex="0" role="group" aria-labelledby="all-title" {
                        table {
                            thead { tr {
                                th scope="col" { (texts.state) }
                                th scope="col" { (texts.breaker) }
                                th scope="col" { (texts.since_title) }
                                th scope="col" { (texts.effect) }
                            } }
                            tbody { @for shown in &list.items { (row(view, shown)) } }
                        }
                    }
                }
                (pages(view, query, list))
            }
        }
    }
}

fn row(view: &View<'_>, shown: &BreakerSummary) -> Markup {
    let texts = view.texts();
    html! {
        tr class=(class(shown.state)) data-breaker=(shown.breaker) data-state=(class(shown.state)) {
            td { (view.badge(shown.state)) }
            th scope="row" { a href=(view.breaker_at(&shown.breaker)) { (shown.breaker) } }
            td { (view.age(shown.since)) }
            td {
                (effect(view, shown))
                @if let Some(forced) = &shown.forced { ". " (texts.forced_lower) ", " (view.until(forced.until)) }
            }
        }
    }
}

/// What to do if nothing fits. A breaker that is declared and not known yet may be forced all the same.
fn nothing(view: &View<'_>, query: &ListQuery) -> Markup {
    let texts = view.texts();
    let named = query.name.as_ref().map(|name| match &query.key {
        Some(key) => format!("{name}/{key}"),
        None => name.clone(),
    });
    let declared =
        named.filter(|named| view.site.api.declaration(&BreakerId::from_stored(named.clone())).is_ok());
    html! {
        p { (texts.no_breaker) }
        @if let Some(named) = declared {
            p { a href=(view.breaker_at(&named)) { (named) } " " (texts.declared_unknown) }
        }
    }
}

/// What to show, as the API takes it.
fn filters(view: &View<'_>, query: &ListQuery) -> Markup {
    let texts = view.texts();
    let breakers = view.site.api.shared.breakers();
    let declarations = &breakers.declarations;
    let states = [
        ("open", texts.open, StateName::Open),
        ("half-open", texts.half_open, StateName::HalfOpen),
        ("closed", texts.closed, StateName::Closed),
    ];
    html! {
        form.filters method="get" action=(view.site.at("/")) role="search" aria-label=(texts.filter) {
            div {
                label for="state" { (texts.state) }
                select #state name="state" {
                    option value="" { (texts.any) }
                    @for (value, name, state) in states {
                        option value=(value) selected[query.state == Some(state)] { (name) }
                    }
                }
            }
            div {
                label for="name" { (texts.name) }
                select #name name="name" {
                    option value="" { (texts.any) }
                    @for declaration in declarations {
                        option value=(declaration.name) selected[query.name.as_ref() == Some(&declaration.name)] {
                            (declaration.name)
                        }
                    }
                }
            }
            div {
                label for="key" { (texts.key) }
                input #key name="key" value=(query.key.as_deref().unwrap_or_default()) autocomplete="off" spellcheck="false";
            }
            div.check {
                input #overridden type="checkbox" name="overridden" value="true" checked[query.overridden == Some(true)];
                label for="overridden" { (texts.only_forced) }
            }
            button type="submit" { (texts.show) }
            @if !is_all(query) { a href=(view.site.at("/")) { (texts.show_all) } }
        }
    }
}

/// The way to the next page, and back to the first.
fn pages(view: &View<'_>, query: &ListQuery, list: &BreakerList) -> Markup {
    let texts = view.texts();
    let at = |after: Option<&str>| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        let limit = query.limit.filter(|limit| *limit != PAGE_DEFAULT).map(|limit| limit.to_string());
        let overridden = query.overridden.map(|overridden| overridden.to_string());
        for (name, value) in [
            ("state", query.state.map(class)),
            ("name", query.name.as_deref()),
            ("key", query.key.as_deref()),
            ("overridden", overridden.as_deref()),
            ("limit", limit.as_deref()),
            ("after", after),
        ] {
            if let Some(value) = value {
                pairs.append_pair(name, value);
            }
        }
        view.site.at(&format!("/?{}", pairs.finish()))
    };
    html! {
        @if list.next.is_some() || query.after.is_some() {
            nav.pages aria-label=(texts.pages) {
                @if query.after.is_some() { a href=(at(None)) { (texts.first_page) } }
                @if let Some(next) = &list.next { a rel="next" href=(at(Some(next))) { (texts.next_page) } }
            }
        }
    }
}

/// A time as the model spells it, for what is no breaker's.
pub(crate) fn before(view: &View<'_>, age_ms: i64) -> Markup {
    html! { time datetime=(time(view.now_ms.saturating_sub(age_ms))) { (super::view::span(view.texts(), age_ms)) } }
}
