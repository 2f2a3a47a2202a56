//! What pages have in common in small: states, times, shares, links. No page spells these itself.

use super::texts::Texts;
use super::{Site, Visitor};
use crate::api::model::StateName;
use crate::operators::Role;
use jiff::Timestamp;
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a path leaves as it is: all of a breaker's spelling but its own percent signs.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// One rendering: for whom, and when.
pub(crate) struct View<'a> {
    pub(crate) site: &'a Site,
    pub(crate) visitor: &'a Visitor,
    /// The store's clock, or this machine's before the store first answered; Unix milliseconds.
    pub(crate) now_ms: i64,
}

impl<'a> View<'a> {
    pub(crate) fn new(site: &'a Site, visitor: &'a Visitor) -> View<'a> {
        let now_ms = site.api.scope().map_or_else(|_| site.api.shared.clock.now_ms(), |scope| scope.now_ms);
        View { site, visitor, now_ms }
    }

    pub(crate) fn texts(&self) -> &'static Texts {
        self.site.texts
    }

    pub(crate) fn may_decide(&self) -> bool {
        self.visitor.operator.role == Role::Operator
    }

    pub(crate) fn form_token(&self) -> String {
        self.site.door().form_token(self.visitor)
    }

    /// The page of a breaker.
    pub(crate) fn breaker_at(&self, breaker: &str) -> String {
        self.site.at(&breaker_path(breaker))
    }

    /// How long ago, in words.
    pub(crate) fn age(&self, at: Timestamp) -> String {
        span(self.texts(), self.now_ms.saturating_sub(at.as_millisecond()))
    }

    /// A time that was, with how long ago.
    pub(crate) fn since(&self, at: Timestamp) -> Markup {
        let texts = self.texts();
        html! {
            strong { (texts.for_time) " " (self.age(at)) }
            " " span.quiet { (texts.since) " " (moment(at)) }
        }
    }

    /// A time that will be, with how long it is until then.
    pub(crate) fn until(&self, at: Option<Timestamp>) -> Markup {
        let texts = self.texts();
        let Some(at) = at else { return html! { (texts.until_somebody) } };
        let left_ms = at.as_millisecond().saturating_sub(self.now_ms);
        html! { (texts.until) " " (moment(at)) " (" (texts.for_another) " " (span(texts, left_ms)) ")" }
    }

    /// A state: a switch that is closed or not, and its name.
    pub(crate) fn badge(&self, state: StateName) -> Markup {
        html! { span class={ "badge " (class(state)) } { (switch(state)) (self.state(state)) } }
    }

    pub(crate) fn state(&self, state: StateName) -> &'static str {
        match state {
            StateName::Closed => self.texts().closed,
            StateName::Open => self.texts().open,
            StateName::HalfOpen => self.texts().half_open,
        }
    }

    /// What a share of calls means.
    pub(crate) fn share(&self, share_ppm: u32) -> String {
        let texts = self.texts();
        match share_ppm {
            0 => texts.no_call_passes.to_owned(),
            1_000_000.. => texts.calls_flow.to_owned(),
            ppm => format!("{} {}", percent(ppm), texts.of_calls_pass),
        }
    }
}

/// The path of a breaker within the page.
pub(crate) fn breaker_path(breaker: &str) -> String {
    format!("/breakers/{}", utf8_percent_encode(breaker, IN_PATH))
}

/// How a state is called in classes.
pub(crate) fn class(state: StateName) -> &'static str {
    match state {
        StateName::Closed => "closed",
        StateName::Open => "open",
        StateName::HalfOpen => "half-open",
    }
}

/// A switch in a circuit, so that a state can be told by its form too.
fn switch(state: StateName) -> Markup {
    let lever = match state {
        StateName::Closed => "M5 9H23",
        StateName::Open => "M5 9 19 1",
        StateName::HalfOpen => "M5 9 21 4.5",
    };
    html! {
        svg.switch viewBox="0 0 28 12" aria-hidden="true" focusable="false" {
            path d="M0 9H5M23 9h5" {}
            path.lever d=(lever) {}
            circle cx="5" cy="9" r="2.4" {}
            circle cx="23" cy="9" r="2.4" {}
        }
    }
}

/// A time as everybody everywhere reads it, for programs too.
pub(crate) fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M:%S UTC")) } }
}

/// Parts per million as percent, with a decimal where it matters.
pub(crate) fn percent(ppm: u32) -> String {
    match ppm {
        0 => "0 %".to_owned(),
        1..=999 => "< 0.1 %".to_owned(),
        // All but all is not all.
        999_000..=999_999 => "99.9 %".to_owned(),
        ppm if ppm < 100_000 && ppm % 10_000 != 0 => format!("{}.{} %", ppm / 10_000, ppm / 1_000 % 10),
        ppm => format!("{} %", ppm / 10_000),
    }
}

/// A span of time in words, by its two largest units.
pub(crate) fn span(texts: &Texts, ms: i64) -> String {
    let two = |large_ms: i64, large: &str, small_ms: i64, small: &str| match (ms % large_ms) / small_ms {
        0 => format!("{} {large}", ms / large_ms),
        rest => format!("{} {large} {rest} {small}", ms / large_ms),
    };
    match ms {
        ..SECOND_MS => format!("0 {}", texts.seconds),
        SECOND_MS..MINUTE_MS => format!("{} {}", ms / SECOND_MS, texts.seconds),
        MINUTE_MS..HOUR_MS => two(MINUTE_MS, texts.minutes, SECOND_MS, texts.seconds),
        HOUR_MS..DAY_MS => two(HOUR_MS, texts.hours, MINUTE_MS, texts.minutes),
        _ => two(DAY_MS, texts.days, HOUR_MS, texts.hours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::texts::ENGLISH;

    #[test]
    fn a_span_is_told_by_its_two_largest_units() {
        let cases = [
            (-5, "0 s"),
            (999, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (3_599_999, "59 min 59 s"),
            (3_600_000, "1 h"),
            (5_430_000, "1 h 30 min"),
            (90_000_000, "1 d 1 h"),
        ];
        for (ms, told) in cases {
            assert_eq!(span(&ENGLISH, ms), told);
        }
    }

    #[test]
    fn a_share_is_told_so_that_none_and_all_mean_it() {
        let cases = [
            (0, "0 %"),
            (1, "< 0.1 %"),
            (1_000, "0.1 %"),
            (10_000, "1 %"),
            (12_345, "1.2 %"),
            (230_000, "23 %"),
            (999_999, "99.9 %"),
            (1_000_000, "100 %"),
        ];
        for (ppm, told) in cases {
            assert_eq!(percent(ppm), told);
        }
    }

    #[test]
    fn the_path_of_a_breaker_leads_back_to_it() {
        assert_eq!(breaker_path("bank-charge/0001"), "/breakers/bank-charge/0001");
        assert_eq!(breaker_path("a/x%2Fy"), "/breakers/a/x%252Fy");
        assert_eq!(breaker_path("a/<\"?#>"), "/breakers/a/%3C%22%3F%23%3E");
    }
}
