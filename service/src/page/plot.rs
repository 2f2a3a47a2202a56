//! How a breaker's state went, from the history: a picture of steps, and the same in words.
//!
//! Each state has a height of its own, so that the picture can be read without colour; what it shows is told in words below
//! it. What is older than the history is drawn as the first entry says it was.

use super::view::{View, class, moment, span};
use crate::api::history::HistoryItem;
use crate::api::model::{StateName, time};
use maud::{Markup, html};

/// The picture's width, in its own units.
const WIDTH: i64 = 1_000;
/// The heights of the states, from the top.
const LANES: [(StateName, i64); 3] =
    [(StateName::Open, 4), (StateName::HalfOpen, 32), (StateName::Closed, 60)];
/// How high a lane is.
const LANE: i64 = 18;
/// The picture's height.
const HEIGHT: i64 = 84;

/// How far back a picture goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Span {
    Hour,
    #[default]
    Day,
    Week,
}

impl Span {
    pub(crate) const ALL: [Span; 3] = [Span::Hour, Span::Day, Span::Week];

    /// As a query spells it; what is no span is the default.
    pub(crate) fn named(name: &str) -> Span {
        Span::ALL.into_iter().find(|span| span.name() == name).unwrap_or_default()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Span::Hour => "1h",
            Span::Day => "24h",
            Span::Week => "7d",
        }
    }

    /// When it begins if it ends now, Unix milliseconds.
    pub(crate) fn begins_ms(self, now_ms: i64) -> i64 {
        let hours = match self {
            Span::Hour => 1,
            Span::Day => 24,
            Span::Week => 7 * 24,
        };
        now_ms.saturating_sub(hours * 3_600_000)
    }
}

/// How a state went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    from_ms: i64,
    to_ms: i64,
    /// Without gaps, from `from_ms` to `to_ms`.
    parts: Vec<Part>,
    /// When a person ordered something.
    orders_ms: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    state: StateName,
    from_ms: i64,
    to_ms: i64,
}

/// How a breaker went from `from_ms` to `to_ms`, by its entries, the newest first. `now`: its state now; none: it is unknown.
pub(crate) fn line(items: &[HistoryItem], now: Option<StateName>, from_ms: i64, to_ms: i64) -> Line {
    let steps = items.iter().filter_map(|item| Some((item.at.as_millisecond(), item.from?, item.to?)));
    let mut steps: Vec<(i64, StateName, StateName)> = steps.collect();
    steps.reverse();
    // What was written at one moment stays in its order.
    steps.sort_by_key(|(at_ms, ..)| *at_ms);
    let before = steps.iter().rev().find(|(at_ms, ..)| *at_ms <= from_ms).map(|(.., to)| *to);
    let first =
        before.or_else(|| steps.first().map(|(_, from, _)| *from)).or(now).unwrap_or(StateName::Closed);
    let mut parts = vec![Part { state: first, from_ms, to_ms }];
    for (at_ms, _, to) in steps.iter().filter(|(at_ms, ..)| (from_ms + 1..=to_ms).contains(at_ms)) {
        if let Some(last) = parts.last_mut().filter(|last| last.state != *to) {
            last.to_ms = *at_ms;
            parts.push(Part { state: *to, from_ms: *at_ms, to_ms });
        }
    }
    let orders = items.iter().filter(|item| item.cause.by.is_some()).map(|item| item.at.as_millisecond());
    let orders_ms = orders.filter(|at_ms| (from_ms..=to_ms).contains(at_ms)).collect();
    Line { from_ms, to_ms, parts, orders_ms }
}

impl Line {
    /// How often it came into a state, or was in it from the beginning, and for how long, milliseconds.
    fn spent(&self, state: StateName) -> (usize, i64) {
        let parts = self.parts.iter().filter(|part| part.state == state);
        parts.fold((0, 0), |(times, ms), part| (times + 1, ms + part.to_ms - part.from_ms))
    }

    fn x(&self, at_ms: i64) -> i64 {
        let whole_ms = i128::from(self.to_ms.saturating_sub(self.from_ms)).max(1);
        let done = i128::from(at_ms.saturating_sub(self.from_ms)) * i128::from(WIDTH) / whole_ms;
        i64::try_from(done).unwrap_or(WIDTH).clamp(0, WIDTH)
    }
}

fn top(state: StateName) -> i64 {
    LANES.iter().find(|(lane, _)| *lane == state).map_or(0, |(_, top)| *top)
}

/// A line as a picture, and in words. `would`: what it shows is not carried out.
pub(crate) fn picture(view: &View<'_>, line: &Line, chosen: Span, would: bool) -> Markup {
    let texts = view.texts();
    html! {
        figure.plot {
            div.lanes aria-hidden="true" { @for (state, _) in LANES { span { (view.state(state)) } } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-labelledby="plot-words" {
                @for (_, top) in LANES {
                    path.grid d={ "M0 " (top + LANE / 2) "H" (WIDTH) } {}
                }
                @for pair in line.parts.windows(2) {
                    @if let [one, next] = pair {
                        path.step d={ "M" (line.x(next.from_ms)) " " (top(one.state) + LANE / 2) "V" (top(next.state) + LANE / 2) } {}
                    }
                }
                @for part in &line.parts {
                    rect class=(class(part.state)) x=(line.x(part.from_ms)) y=(top(part.state)) height=(LANE)
                        width=((line.x(part.to_ms) - line.x(part.from_ms)).max(2)) {
                        title { (view.state(part.state)) ", " (span(texts, part.to_ms - part.from_ms)) }
                    }
                }
                @for at_ms in &line.orders_ms {
                    path.order d={ "M" (line.x(*at_ms)) " 0V" (HEIGHT) } { title { (texts.order_at) " " (time(*at_ms)) } }
                }
            }
            div.axis aria-hidden="true" { (moment(time(line.from_ms))) span { (texts.now) } }
            figcaption #plot-words { (words(view, line, chosen, would)) }
        }
    }
}

/// What a line shows.
fn words(view: &View<'_>, line: &Line, chosen: Span, would: bool) -> Markup {
    let texts = view.texts();
    let (times, open_ms) = line.spent(StateName::Open);
    let (_, half_ms) = line.spent(StateName::HalfOpen);
    html! {
        (texts.in_the_last) " " (chosen.name()) ": "
        @if would { strong { (texts.would_have_refused) } " " }
        (texts.open_lower) " " strong { (span(texts, open_ms)) } " (" (times) " " (texts.times) "), "
        (texts.half_open_lower) " " (span(texts, half_ms)) ". "
        (texts.orders) " " (line.orders_ms.len()) "."
        @if would { " " (texts.would_calls) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::history::{CauseView, LinksView};
    use StateName::{Closed, HalfOpen, Open};

    fn item(at_ms: i64, from: StateName, to: StateName, by: Option<&str>) -> HistoryItem {
        let cause = CauseView {
            kind: "report".to_owned(),
            monitor_id: None,
            by: by.map(str::to_owned),
            why: None,
            act: None,
        };
        let links = LinksView { monitor: None, event: None };
        HistoryItem {
            id: String::new(),
            at: time(at_ms),
            breaker: None,
            from: Some(from),
            to: Some(to),
            mode: None,
            cause,
            fault: None,
            links,
        }
    }

    fn parts(line: &Line) -> Vec<(StateName, i64, i64)> {
        line.parts.iter().map(|part| (part.state, part.from_ms, part.to_ms)).collect()
    }

    #[test]
    fn a_line_has_no_gap_and_begins_with_what_was() {
        let newest_first = [
            item(90, HalfOpen, Closed, None),
            item(70, Open, HalfOpen, None),
            item(60, Open, Open, Some("ann")),
            item(50, Closed, Open, None),
            item(5, Closed, Closed, Some("bob")),
        ];
        let line = line(&newest_first, Some(Closed), 10, 100);
        assert_eq!(parts(&line), [(Closed, 10, 50), (Open, 50, 70), (HalfOpen, 70, 90), (Closed, 90, 100)]);
        assert_eq!((line.spent(Open), line.spent(Closed)), ((1, 20), (2, 50)));
        assert_eq!(line.orders_ms, [60]);
        assert_eq!((line.x(10), line.x(55), line.x(100), line.x(0)), (0, 500, 1_000, 0));
    }

    #[test]
    fn without_entries_it_is_as_it_is_now_and_an_older_entry_tells_how_it_began() {
        assert_eq!(parts(&line(&[], Some(Open), 0, 9)), [(Open, 0, 9)]);
        assert_eq!(parts(&line(&[], None, 0, 9)), [(Closed, 0, 9)]);
        let old = [item(3, Closed, Open, None)];
        assert_eq!(parts(&line(&old, Some(HalfOpen), 5, 9)), [(Open, 5, 9)]);
        let young = [item(7, HalfOpen, Closed, None)];
        assert_eq!(parts(&line(&young, Some(Closed), 5, 9)), [(HalfOpen, 5, 7), (Closed, 7, 9)]);
    }
}
