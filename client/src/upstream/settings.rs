//! The settings of an upstream, checked whole: every mistake is told at once, by the name of its setting.
//!
//! Each default is argued in the reference (`reference`). Left out: what carries them out.

use super::bulkhead::Bulkhead;
use super::lane::Upstream;
use super::mistakes::{Found, Mistake, Mistakes};
use super::retries::{Plan, Retries};
use crate::client::Client;
use crate::local::{LocalBreaker, Window};
use crate::names::UnknownBreaker;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a whole call may take unless told otherwise.
///
/// ```
/// assert_eq!(cutout::REQUEST_TIMEOUT.as_secs(), 10);
/// ```
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connecting may take unless told otherwise.
///
/// ```
/// assert_eq!(cutout::CONNECT_TIMEOUT.as_secs(), 2);
/// ```
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an unused connection is kept unless told otherwise: below the minute after which many load balancers drop it.
///
/// ```
/// assert_eq!(cutout::POOL_IDLE_TIMEOUT.as_secs(), 50);
/// ```
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// The longest of any of these times.
///
/// ```
/// assert_eq!(cutout::TIMEOUT_MAX.as_secs(), 3_600);
/// ```
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// What each of these times may be.
pub(super) const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=TIMEOUT_MAX;
/// Calls under way for one key.
pub(super) const CONCURRENT: RangeInclusive<usize> = 1..=Semaphore::MAX_PERMITS;
/// Retries of one call.
pub(super) const RETRIES: RangeInclusive<u32> = 0..=10;
/// The share of calls that retries may be.
pub(super) const BUDGET_PERCENT: RangeInclusive<u32> = 0..=100;
/// Free retries each second.
pub(super) const FREE_PER_S: RangeInclusive<u32> = 0..=1_000;
/// A window of calls.
pub(super) const WINDOW_CALLS: RangeInclusive<u32> = 1..=10_000;
/// A window of time.
pub(super) const WINDOW_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=LOCAL_TIME_MAX;
/// The longest window of time, and the longest time open.
const LOCAL_TIME_MAX: Duration = Duration::from_secs(600);
/// The time open.
pub(super) const OPEN_FOR: RangeInclusive<Duration> = Duration::from_millis(1)..=LOCAL_TIME_MAX;
/// Calls that the window must hold before a share counts.
pub(super) const MIN_CALLS_MIN: u32 = 1;
/// Trials side by side.
pub(super) const TRIALS: RangeInclusive<u32> = 1..=1_000;
/// A share that trips.
pub(super) const PERCENT: RangeInclusive<u32> = 1..=100;
/// Failures in a row.
pub(super) const CONSECUTIVE: RangeInclusive<u32> = 1..=u32::MAX;

/// The labels that metrics of calls bear anyway.
pub(super) const OWN_LABELS: [&str; 4] = ["breaker", "class", "outcome", "why"];

/// What one upstream is set to.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) class: Option<String>,
    pub(crate) key_tags: Vec<String>,
    pub(crate) request_timeout: Duration,
    pub(crate) try_timeout: Option<Duration>,
    // Carried out by doors that open connections themselves.
    pub(crate) connect_timeout: Duration,
    /// None: the whole request's.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) pool_idle_timeout: Duration,
    pub(crate) bulkhead: Option<Bulkhead>,
    pub(crate) retries: Retries,
    pub(crate) local: Option<LocalBreaker>,
}

/// Settings of an [`Upstream`]. All have defaults, and all mistakes are told at once, by [`UpstreamBuilder::build`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank-charge"]).client();
/// use cutout::{Bulkhead, LocalBreaker, Retries, Upstream, UpstreamBuilder, Window};
/// use std::time::Duration;
///
/// let settings: UpstreamBuilder = Upstream::builder("bank-charge")
///     .class("charge")
///     .key_tags(["bank_code"]) // metrics by bank
///     .request_timeout(Duration::from_secs(4)) // of the whole call
///     .try_timeout(Duration::from_secs(2))
///     .connect_timeout(Duration::from_millis(500))
///     .idle_timeout(Duration::from_secs(1))
///     .pool_idle_timeout(Duration::from_secs(30))
///     .bulkhead(Bulkhead { max_concurrent: 50, max_waiting: 10 })
///     .retries(Retries::up_to(2))
///     .local_breaker(LocalBreaker::over(Window::Calls(100)).failure_percent(50));
/// assert_eq!(settings.clone().build(&client)?.name(), "bank-charge");
///
/// let unbound = settings.without_bulkhead().try_timeout(Duration::from_secs(5));
/// let told = unbound.build(&client).unwrap_err().to_string();
/// assert!(told.ends_with("try_timeout: 5s is longer than the whole request's 4s"), "{told}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "call build()"]
pub struct UpstreamBuilder(pub(super) Settings);

impl UpstreamBuilder {
    pub(super) fn new(name: String) -> UpstreamBuilder {
        UpstreamBuilder(Settings {
            name,
            class: None,
            key_tags: Vec::new(),
            request_timeout: REQUEST_TIMEOUT,
            try_timeout: None,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: None,
            pool_idle_timeout: POOL_IDLE_TIMEOUT,
            bulkhead: Some(Bulkhead::default()),
            retries: Retries::up_to(0),
            local: None,
        })
    }

    /// The operation class of all its calls, spelled as in the breakers' file. An upstream for each class: they share no bulkhead, so
    /// that refunds have room while charges hang.
    pub fn class(mut self, class: impl Into<String>) -> UpstreamBuilder {
        self.0.class = Some(class.into());
        self
    }

    /// Tells the metrics of calls by these tags of the key as well, in declared order, such as `bank_code`: a monitor that alerts for each bank needs
    /// them. None otherwise, since each key is a time series that somebody pays for. Keys beyond the first 1,000 are told as `other`.
    pub fn key_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> UpstreamBuilder {
        self.0.key_tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// How long a whole call may take, with its waits and retries; [`REQUEST_TIMEOUT`] otherwise.
    pub fn request_timeout(mut self, timeout: Duration) -> UpstreamBuilder {
        self.0.request_timeout = timeout;
        self
    }

    /// How long each try may take; the whole of the request's time otherwise.
    pub fn try_timeout(mut self, timeout: Duration) -> UpstreamBuilder {
        self.0.try_timeout = Some(timeout);
        self
    }

    /// How long connecting may take, where the door opens connections (reqwest); [`CONNECT_TIMEOUT`] otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> UpstreamBuilder {
        self.0.connect_timeout = timeout;
        self
    }

    /// How long the connection may be silent, where the door opens it (reqwest): from the sending of the request until the headers of its
    /// answer have come, however long the vendor works, and from then on between two pieces of the body. The whole of the request's
    /// time otherwise, so that silence alone ends no call.
    pub fn idle_timeout(mut self, timeout: Duration) -> UpstreamBuilder {
        self.0.idle_timeout = Some(timeout);
        self
    }

    /// How long an unused connection is kept, where the door keeps them (reqwest); [`POOL_IDLE_TIMEOUT`] otherwise.
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> UpstreamBuilder {
        self.0.pool_idle_timeout = timeout;
        self
    }

    /// How many calls may be under way for one key; [`Bulkhead::default`] otherwise.
    pub fn bulkhead(mut self, bulkhead: Bulkhead) -> UpstreamBuilder {
        self.0.bulkhead = Some(bulkhead);
        self
    }

    /// Any number of calls may be under way: something else bounds them.
    pub fn without_bulkhead(mut self) -> UpstreamBuilder {
        self.0.bulkhead = None;
        self
    }

    /// Retries of idempotent calls; none otherwise.
    pub fn retries(mut self, retries: Retries) -> UpstreamBuilder {
        self.0.retries = retries;
        self
    }

    /// When this process stops by itself; never otherwise.
    pub fn local_breaker(mut self, rules: LocalBreaker) -> UpstreamBuilder {
        self.0.local = Some(rules);
        self
    }

    /// Checks all settings, and the name and its key tags against the declared ones if they are known.
    ///
    /// # Errors
    /// [`Mistakes`], all of them.
    pub fn build(self, client: &Client) -> Result<Upstream, Mistakes> {
        let name = &self.0.name;
        let unknown = client.names().check(name).err();
        let all = self.mistakes(unknown.as_ref(), client.names().tags(name).as_deref());
        match Plan::new(self.0.retries) {
            Ok(plan) if all.is_empty() => Ok(Upstream::new(client.clone(), self.0, plan)),
            _ => Err(Mistakes::new(self.0.name, all)),
        }
    }

    /// `declared`: the tags that make the breakers' key, if they are known.
    pub(super) fn mistakes(
        &self,
        unknown: Option<&UnknownBreaker>,
        declared: Option<&[String]>,
    ) -> Vec<Mistake> {
        let mut found = Found::default();
        if let Some(unknown) = unknown {
            found.push("builder", unknown.to_string());
        }
        let settings = &self.0;
        if settings.class.as_deref() == Some("") {
            found.push("class", "it is empty; leave it out".to_owned());
        }
        found.key_tags(&settings.key_tags, declared);
        found.timeouts(settings);
        if let Some(bulkhead) = settings.bulkhead {
            found.bulkhead(bulkhead);
        }
        if settings.retries.retries_max > 0 {
            found.retries(settings.retries);
        }
        if let Some(local) = settings.local {
            found.local(local, settings.try_timeout.unwrap_or(settings.request_timeout));
        }
        found.into_all()
    }
}

impl Found {
    /// `declared`: the tags that make the breakers' key, if they are known.
    fn key_tags(&mut self, tags: &[String], declared: Option<&[String]>) {
        for (at, tag) in tags.iter().enumerate() {
            if tag.is_empty() || OWN_LABELS.contains(&tag.as_str()) {
                self.push("key_tags", format!("`{tag}` is empty, or a label of these metrics"));
            } else if tags.iter().take(at).any(|before| before == tag) {
                self.push("key_tags", format!("`{tag}` is named twice"));
            }
        }
        if let Some(declared) = declared.filter(|declared| !declared.starts_with(tags)) {
            self.push(
                "key_tags",
                format!("{tags:?} are not the first of the tags that make the key, {declared:?}"),
            );
        }
    }

    fn timeouts(&mut self, settings: &Settings) {
        let whole = settings.request_timeout;
        let mut one = |setting, value| self.within(setting, value, &TIMES);
        one("request_timeout", whole);
        one("connect_timeout", settings.connect_timeout);
        one("pool_idle_timeout", settings.pool_idle_timeout);
        for (setting, part) in
            [("idle_timeout", settings.idle_timeout), ("try_timeout", settings.try_timeout)]
        {
            let Some(part) = part else { continue };
            self.within(setting, part, &TIMES);
            self.unless(part <= whole, setting, || {
                format!("{part:?} is longer than the whole request's {whole:?}")
            });
        }
    }

    fn bulkhead(&mut self, bulkhead: Bulkhead) {
        let Bulkhead { max_concurrent, max_waiting } = bulkhead;
        let (least, most) = CONCURRENT.into_inner();
        self.unless(CONCURRENT.contains(&max_concurrent), "bulkhead", || {
            format!("max_concurrent: {max_concurrent} is not between {least} and {most}; to bound nothing use without_bulkhead()")
        });
        self.unless(max_waiting <= most, "bulkhead", || format!("max_waiting: {max_waiting} is over {most}"));
    }

    fn retries(&mut self, retries: Retries) {
        self.number("retries", "up_to", retries.retries_max, &RETRIES);
        self.number("retries", "budget, percent", retries.budget_percent, &BUDGET_PERCENT);
        self.number("retries", "budget, free_per_s", retries.free_per_s, &FREE_PER_S);
        if let Err(invalid) = Plan::new(retries) {
            let (first, longest) = (retries.backoff_min, retries.backoff_max);
            self.push("retries", format!("backoff: {first:?} to {longest:?}: {invalid}"));
        }
        self.within("retries", retries.backoff_max, &TIMES);
    }

    /// `timeout`: what ends a call at the latest.
    fn local(&mut self, rules: LocalBreaker, timeout: Duration) {
        const SETTING: &str = "local_breaker";
        let most = match rules.window {
            Window::Calls(calls) => {
                self.number(SETTING, "window, calls", calls, &WINDOW_CALLS);
                calls
            }
            Window::Time(time) => {
                self.within(SETTING, time, &WINDOW_TIME);
                u32::MAX
            }
        };
        self.number(
            SETTING,
            "min_calls (as many as the window holds at most)",
            rules.min_calls,
            &(MIN_CALLS_MIN..=most),
        );
        self.within(SETTING, rules.open_for, &OPEN_FOR);
        self.number(SETTING, "trials", rules.trials, &TRIALS);
        if let Some(percent) = rules.failure_percent {
            self.number(SETTING, "failure_percent", percent, &PERCENT);
        }
        if let Some((longer_than, percent)) = rules.slow {
            self.number(SETTING, "slow_calls, percent", percent, &PERCENT);
            self.within(SETTING, longer_than, &TIMES);
            self.unless(longer_than <= timeout, SETTING, || {
                format!("slow_calls: no call takes longer than {longer_than:?}, since its time ends after {timeout:?}")
            });
        }
        if let Some(failures) = rules.consecutive_failures {
            self.number(SETTING, "consecutive_failures", failures, &CONSECUTIVE);
        }
        let has_rule =
            rules.failure_percent.is_some() || rules.slow.is_some() || rules.consecutive_failures.is_some();
        self.unless(has_rule, SETTING, || {
            "it has no rule; give failure_percent, slow_calls or consecutive_failures".to_owned()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_no_mistake_and_all_mistakes_are_told_at_once() {
        assert_eq!(UpstreamBuilder::new("bank".to_owned()).mistakes(None, None), []);
        let wrong = UpstreamBuilder::new("bank".to_owned())
            .class("")
            .key_tags(["bank_code", "class", "", "bank_code"])
            .request_timeout(Duration::from_secs(1))
            .try_timeout(Duration::from_secs(2))
            .connect_timeout(Duration::ZERO)
            .idle_timeout(Duration::MAX)
            .pool_idle_timeout(Duration::ZERO)
            .bulkhead(Bulkhead { max_concurrent: 0, max_waiting: usize::MAX })
            .retries(
                Retries::up_to(11).budget(101, 1).backoff(Duration::from_secs(2), Duration::from_secs(1)),
            )
            .local_breaker(
                LocalBreaker::over(Window::Calls(5)).min_calls(6).trials(0).open_for(Duration::ZERO),
            );
        let mistakes = Mistakes::new("bank".to_owned(), wrong.mistakes(None, None));
        let settings: Vec<_> = mistakes.all().iter().map(Mistake::setting).collect();
        let expected = [
            ("class", 1),
            ("key_tags", 3),
            ("connect_timeout", 1),
            ("pool_idle_timeout", 1),
            ("idle_timeout", 2),
            ("try_timeout", 1),
            ("bulkhead", 2),
            ("retries", 3),
            ("local_breaker", 4),
        ];
        let expected: Vec<_> =
            expected.into_iter().flat_map(|(setting, count)| vec![setting; count]).collect();
        assert_eq!(settings, expected, "{mistakes}");
        let told = mistakes.to_string();
        assert!(told.starts_with("the upstream `bank` cannot be built: class: it is empty"), "{told}");
        assert!(told.contains("try_timeout: 2s is longer than the whole request's 1s; "), "{told}");
    }

    #[test]
    fn rules_of_a_local_breaker_have_their_bounds() {
        let mistakes = |rules| {
            let builder = UpstreamBuilder::new("bank".to_owned()).local_breaker(rules);
            builder.mistakes(None, None).len()
        };
        let time = |seconds| LocalBreaker::over(Window::Time(Duration::from_secs(seconds)));
        assert_eq!(mistakes(time(10).failure_percent(50)), 0);
        assert_eq!(mistakes(time(10)), 1, "no rule");
        assert_eq!(mistakes(time(0).failure_percent(0)), 2);
        assert_eq!(mistakes(time(601).slow_calls(Duration::ZERO, 101)), 3);
        assert_eq!(mistakes(time(10).slow_calls(REQUEST_TIMEOUT, 50)), 0);
        assert_eq!(mistakes(time(10).slow_calls(REQUEST_TIMEOUT * 2, 50)), 1, "it would never trip");
        let tried = UpstreamBuilder::new("bank".to_owned()).try_timeout(Duration::from_secs(2));
        let slow = time(10).slow_calls(Duration::from_secs(3), 50);
        assert_eq!(tried.local_breaker(slow).mistakes(None, None).len(), 1);
        assert_eq!(mistakes(LocalBreaker::over(Window::Calls(0)).consecutive_failures(0)), 3);
    }
}
