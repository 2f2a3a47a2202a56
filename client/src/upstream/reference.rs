//! What the reference tells of an upstream's settings: defaults are read off a builder that nobody has set anything of, limits are what
//! `settings` checks.

use super::bulkhead::Bulkhead;
use super::retries::Retries;
use super::settings::{
    BUDGET_PERCENT, CONCURRENT, CONSECUTIVE, FREE_PER_S, MIN_CALLS_MIN, OPEN_FOR, OWN_LABELS, PERCENT,
    RETRIES, Settings, TIMES, TRIALS, UpstreamBuilder, WINDOW_CALLS, WINDOW_TIME,
};
use crate::local::{LocalBreaker, Window};
use crate::tally::TALLIES_MAX;
use cutout_core::reference::{Setting, limits};
use std::fmt::Debug;

const NONE: &str = "none";
/// What a part of the call's time is without a setting of its own, and at the most.
const WHOLE: &str = "the whole";

impl UpstreamBuilder {
    /// Every setting with its default and its limits, as the reference shows them (docs/client.md): its own, and those of what it takes.
    ///
    /// ```
    /// let settings = cutout::UpstreamBuilder::reference();
    /// let whole = settings.iter().find(|setting| setting.name == "request_timeout(time)").unwrap();
    /// assert_eq!((&*whole.default, &*whole.limits), ("`10s`", "1ms to 3600s"));
    /// ```
    #[must_use]
    pub fn reference() -> Vec<Setting> {
        let settings = UpstreamBuilder::new(String::new()).0;
        [times(&settings), calls(&settings), retries(), local(), names(settings)].concat()
    }
}

/// A default as a mistake would spell it.
fn told(value: impl Debug) -> String {
    format!("`{value:?}`")
}

fn told_or(value: Option<impl Debug>, without: &str) -> String {
    value.map_or_else(|| without.to_owned(), told)
}

fn times(settings: &Settings) -> Vec<Setting> {
    let (times, part) = (limits(&TIMES), format!("{}, {WHOLE} at the most", limits(&TIMES)));
    vec![
        Setting::new(
            "request_timeout(time)",
            told(settings.request_timeout),
            &times,
            "the whole call with waits and retries. No call may hang for ever; a charge that takes longer has usually been given up by the person who waits for it",
        ),
        Setting::new(
            "try_timeout(time)",
            told_or(settings.try_timeout, WHOLE),
            &part,
            "without retries a second limit says nothing new. With retries set it, or the first hanging try eats the time of all",
        ),
        Setting::new(
            "connect_timeout(time)",
            told(settings.connect_timeout),
            &times,
            "one lost SYN is sent again after 1 s, so that a single loss does not fail a call; a host that is away is told long before the call's time is over. reqwest",
        ),
        Setting::new(
            "idle_timeout(time)",
            told_or(settings.idle_timeout, WHOLE),
            &part,
            "the silence of the connection: until the headers have come, and then between two pieces of the body. A charge may take its vendor long before a single byte comes back, so silence alone ends no call unless you ask for it. reqwest",
        ),
        Setting::new(
            "pool_idle_timeout(time)",
            told(settings.pool_idle_timeout),
            &times,
            "many load balancers drop a connection after 60 s; ours must be the first to go, or a request meets a closed connection. reqwest",
        ),
    ]
}

fn calls(settings: &Settings) -> Vec<Setting> {
    // A field that is new fails here.
    let Bulkhead { max_concurrent, max_waiting } = Bulkhead::default();
    vec![
        Setting::new(
            "bulkhead(Bulkhead)",
            if settings.bulkhead == Some(Bulkhead::default()) { "as the next two" } else { NONE },
            "",
            "for each key and process. A struct: both are given",
        ),
        Setting::new(
            "Bulkhead::max_concurrent",
            told(max_concurrent),
            format!("{} or more", CONCURRENT.start()),
            "calls under way: far above what a vendor in health needs (100 calls a second of 10 s each), low enough that one that hangs does not take the process's memory and sockets",
        ),
        Setting::new(
            "Bulkhead::max_waiting",
            told(max_waiting),
            "0 or more",
            "calls that wait for a place. A line only adds waiting, so who wants one asks for it",
        ),
        Setting::new(
            "without_bulkhead()",
            if settings.bulkhead.is_none() { "on" } else { "off" },
            "",
            "any number of calls may be under way: something else bounds them",
        ),
        Setting::new(
            "retries(Retries)",
            if settings.retries.retries_max == 0 { NONE } else { "as the next three" },
            "",
            "whether a call may be made twice is between a team and its vendor",
        ),
    ]
}

fn retries() -> Vec<Setting> {
    let Retries { retries_max: _, budget_percent, free_per_s, window, backoff_min, backoff_max } =
        Retries::up_to(*RETRIES.end());
    vec![
        Setting::new("Retries::up_to(retries)", "required", limits(&RETRIES), "tries after the first"),
        Setting::new(
            "Retries::budget(percent, free_per_s)",
            format!("`{budget_percent}`, `{free_per_s}`"),
            format!("{}, {}", limits(&BUDGET_PERCENT), limits(&FREE_PER_S)),
            format!(
                "retries as a share of the calls, and so many more each second, over {window:?}. 20 % gives a vendor that fails every call 1.2 times the calls, and not 3 times; the further ones let a quiet service retry at all. tower counts by 100 / percent, rounded down: 30 % works as 33 %"
            ),
        ),
        Setting::new(
            "Retries::backoff(first, longest)",
            format!("{}, {}", told(backoff_min), told(backoff_max)),
            format!("the longest {}, the first no longer than it", limits(&TIMES)),
            "the wait, which doubles up to the longest, and up to as much again at random. A moment's failure is over; many processes do not come back in step",
        ),
    ]
}

/// What a window may be. One of a new kind fails here.
fn window_limits(window: Window) -> String {
    match window {
        Window::Calls(_) => format!("`Calls`: {}", limits(&WINDOW_CALLS)),
        Window::Time(_) => format!("`Time`: {}", limits(&WINDOW_TIME)),
    }
}

fn local() -> Vec<Setting> {
    let kinds = [Window::Calls(*WINDOW_CALLS.end()), Window::Time(*WINDOW_TIME.end())];
    let LocalBreaker { window: _, failure_percent, slow, consecutive_failures, min_calls, open_for, trials } =
        LocalBreaker::over(kinds[0]);
    vec![
        Setting::new(
            "local_breaker(LocalBreaker)",
            NONE,
            "one rule or more of the three: `failure_percent`, `slow_calls`, `consecutive_failures`",
            "the monitor sees the fleet and decides better; this is for the minute before it fires",
        ),
        Setting::new(
            "LocalBreaker::over(Window)",
            "required",
            kinds.map(window_limits).join("; "),
            "what the shares are reckoned over: the last calls, or those of the last time",
        ),
        Setting::new(
            "LocalBreaker::failure_percent(percent)",
            told_or(failure_percent, NONE),
            limits(&PERCENT),
            "trips at this share of failures",
        ),
        Setting::new(
            "LocalBreaker::slow_calls(longer_than, percent)",
            told_or(slow, NONE),
            format!("{}, as long as a try may take at the most; {}", limits(&TIMES), limits(&PERCENT)),
            "trips at this share of calls that took longer, however they ended",
        ),
        Setting::new(
            "LocalBreaker::consecutive_failures(failures)",
            told_or(consecutive_failures, NONE),
            format!("{} or more", CONSECUTIVE.start()),
            "trips at so many failures without a success between them",
        ),
        Setting::new(
            "LocalBreaker::min_calls(calls)",
            told(min_calls),
            format!("{MIN_CALLS_MIN} to what a window of calls holds"),
            "calls before a share counts: a share of three calls is no share",
        ),
        Setting::new(
            "LocalBreaker::open_for(time)",
            told(open_for),
            limits(&OPEN_FOR),
            "short: it hides the vendor from the metric that must recover",
        ),
        Setting::new(
            "LocalBreaker::trials(calls)",
            told(trials),
            limits(&TRIALS),
            "calls that must then succeed before all are made again",
        ),
    ]
}

/// A setting that is new fails here.
fn names(settings: Settings) -> Vec<Setting> {
    let Settings {
        key_tags,
        class,
        name: _,
        request_timeout: _,
        try_timeout: _,
        connect_timeout: _,
        idle_timeout: _,
        pool_idle_timeout: _,
        bulkhead: _,
        retries: _,
        local: _,
    } = settings;
    let own = OWN_LABELS.map(|label| format!("`{label}`")).join(", ");
    vec![
        Setting::new(
            "key_tags(tags)",
            told_or(key_tags.first(), NONE),
            format!("the first of the declared ones, in their order; none of {own}"),
            format!(
                "tags of the key that metrics bear. Each key is a time series that somebody pays for; keys beyond the first {TALLIES_MAX} are told as `other`"
            ),
        ),
        Setting::new(
            "class(name)",
            told_or(class, NONE),
            "not empty",
            "the operation class of all its calls; calls without a class are refused as if listed",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference_tests::{setters, told_of};
    use std::time::Duration;

    #[test]
    fn every_setting_is_told() {
        let told = told_of(&UpstreamBuilder::reference());
        let mut found = setters(include_str!("settings.rs"), "UpstreamBuilder", "");
        found.extend(setters(include_str!("retries.rs"), "Retries", "Retries::"));
        found.extend(setters(include_str!("../local.rs"), "LocalBreaker", "LocalBreaker::"));
        found.extend(["max_concurrent", "max_waiting"].map(|field| format!("Bulkhead::{field}")));
        assert_eq!(told, found);
    }

    /// What the table says in words, asked of what is checked.
    #[test]
    fn limits_in_words_are_what_is_checked() {
        let mistakes = |builder: UpstreamBuilder| builder.mistakes(None, None).len();
        let upstream = || UpstreamBuilder::new("bank".to_owned());
        let (whole, above) = (Duration::from_secs(1), Duration::from_millis(1_001));
        for part in [UpstreamBuilder::try_timeout, UpstreamBuilder::idle_timeout] {
            assert_eq!(mistakes(part(upstream().request_timeout(whole), whole)), 0);
            assert_eq!(mistakes(part(upstream().request_timeout(whole), above)), 1);
        }
        let waits = |first, longest| mistakes(upstream().retries(Retries::up_to(1).backoff(first, longest)));
        assert_eq!((waits(whole, whole), waits(above, whole)), (0, 1));
        let rules = |calls, min| LocalBreaker::over(Window::Calls(calls)).failure_percent(1).min_calls(min);
        assert_eq!(mistakes(upstream().local_breaker(rules(30, 30))), 0);
        assert_eq!(mistakes(upstream().local_breaker(rules(30, 31))), 1);
        assert_eq!(mistakes(upstream().bulkhead(Bulkhead { max_concurrent: 1, max_waiting: 0 })), 0);
        for label in OWN_LABELS {
            assert_eq!(mistakes(upstream().key_tags([label])), 1, "{label}");
        }
    }
}
