//! `cutout demo`: a bank fails, and the whole path is watched at work, each step with its time.
//!
//! Nothing is played: callers really call, the fake Datadog's monitor really watches their failures, the function
//! reads it, the service commits, the client refuses. Each step has a deadline and a check; the first that does not
//! hold ends the demo with an error.

use crate::banks::{Banks, CODES, Counts};
use crate::fake_datadog::{Change, sns_event};
use crate::stack::{BoxError, Keep, Stack};
use cutout::{Breaker, State};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

const BREAKER: &str = "bank-charge";
const MONITOR_ID: u64 = 5_200_001;
/// The bank that fails.
const FAILING: &str = "0002";
/// How long half-open takes here; a real breaker's default is five minutes.
const BREAKERS: &str = r#"
[[breaker]]
name     = "bank-charge"
key      = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "1s"
ramp     = "3s"
"#;
/// How long any step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a level is looked at.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// How many calls make a step worth believing.
const CALLS_MIN: u64 = 50;

/// A step that did not go as it should.
#[derive(Debug, thiserror::Error)]
#[error("the demo failed: {0}")]
struct StepFailed(String);

/// Runs the demo.
///
/// # Errors
/// The first step that did not go as it should.
pub(crate) async fn run(keep: &Keep) -> Result<(), BoxError> {
    // A scope of its own, so that a Redis that others use stays as it is.
    let scope = format!("demo-{:08x}", fastrand::u32(..));
    let stack = Stack::start(keep, &scope, BREAKERS).await?;
    stack.datadog.create_monitor(MONITOR_ID, "Bank API error rate", &["cutout"]);
    for code in CODES {
        stack.datadog.set(MONITOR_ID, &group(code), "OK");
    }
    let banks = Banks::start(|code| stack.client.breaker(BREAKER, &[code]))?;
    let watched = stack.client.breaker(BREAKER, &[FAILING])?;
    let mut story = Story { stack, banks, watched, started: Instant::now() };
    story.told("three banks are charged, one breaker each: bank-charge/0001, /0002, /0003")?;
    story.all_calls_flow().await?;
    story.one_bank_fails().await?;
    story.one_bank_recovers().await?;
    story.all_calls_flow().await?;
    story.sum()
}

struct Story {
    stack: Stack,
    banks: Banks,
    /// The failing bank's breaker.
    watched: Breaker,
    started: Instant,
}

impl Story {
    /// Every bank is charged and no breaker refuses.
    async fn all_calls_flow(&mut self) -> Result<(), BoxError> {
        let before = self.banks.counts();
        self.level("every bank is charged", || {
            delta(&self.banks, &before).values().all(|counts| counts.charged >= CALLS_MIN)
        })
        .await?;
        let counts = delta(&self.banks, &before);
        check(counts.values().all(|counts| counts.refused == 0), "a closed breaker refused a call")?;
        self.told(&format!("all calls flow: {}", shown(&counts)))
    }

    /// Bank 0002 goes down; its breaker opens, and only its.
    async fn one_bank_fails(&mut self) -> Result<(), BoxError> {
        self.bank_down(true)?;
        self.told("bank 0002 goes down")?;
        let before = self.banks.counts();
        self.level("the monitor sees failures", || {
            delta(&self.banks, &before).get(FAILING).is_some_and(|counts| counts.failed >= CALLS_MIN)
        })
        .await?;
        let change = self.stack.datadog.set(MONITOR_ID, &group(FAILING), "Alert");
        self.told(&format!("the Datadog monitor alerts: \"{}\"", change.title()))?;

        let sent = self.notify(&change).await?;
        self.level("a call is refused", || self.first_refused().is_some()).await?;
        let refused = self.first_refused().map_or(Duration::ZERO, |at| at.saturating_duration_since(sent));
        check(self.watched.state() == State::Open, "the breaker is not open after the alert")?;
        self.told(&format!(
            "bank-charge/0002 is open: the first call was refused {} after the message",
            ms(refused)
        ))?;

        let before = self.banks.counts();
        self.level("the others go on", || {
            others(&delta(&self.banks, &before)).all(|counts| counts.charged >= CALLS_MIN)
        })
        .await?;
        let counts = delta(&self.banks, &before);
        check(others(&counts).all(|counts| counts.refused == 0), "a call of another bank was refused")?;
        check(
            counts.get(FAILING).is_some_and(|counts| counts.charged == 0 && counts.refused > 0),
            "the failing bank was called",
        )?;
        self.told(&format!("the others go on: {}", shown(&counts)))
    }

    /// The bank is well again; its breaker goes through half-open to closed.
    async fn one_bank_recovers(&mut self) -> Result<(), BoxError> {
        self.bank_down(false)?;
        let change = self.stack.datadog.set(MONITOR_ID, &group(FAILING), "OK");
        self.told(&format!("bank 0002 is well again: \"{}\"", change.title()))?;
        let before = self.banks.counts();
        self.notify(&change).await?;
        self.level("half-open", || self.watched.state() == State::HalfOpen).await?;
        self.told("bank-charge/0002 is half-open: a tenth of the calls first, all of them after 3 s")?;
        self.level("closed", || self.watched.state() == State::Closed).await?;
        let counts = delta(&self.banks, &before);
        let ramped = counts.get(FAILING).copied().unwrap_or_default();
        check(ramped.charged > 0 && ramped.refused > 0, "half-open must admit some calls and refuse some")?;
        check(others(&counts).all(|counts| counts.refused == 0), "a call of another bank was refused")?;
        self.told(&format!("bank-charge/0002 is closed; on the way: {}", shown(&counts)))
    }

    /// Sends the SNS message of a change through the function. Yields when it was handed over.
    async fn notify(&self, change: &Change) -> Result<Instant, BoxError> {
        let event = sns_event(std::slice::from_ref(change), &self.stack.directive());
        let sent = Instant::now();
        self.stack.invoke(event).await?;
        self.told(&format!(
            "SNS -> function -> Datadog read -> signed callback -> committed: {}",
            ms(sent.elapsed())
        ))?;
        Ok(sent)
    }

    fn bank_down(&self, down: bool) -> Result<(), StepFailed> {
        let bank = self.banks.bank(FAILING).ok_or_else(|| StepFailed("no such bank".to_owned()))?;
        bank.set_down(down);
        Ok(())
    }

    fn first_refused(&self) -> Option<Instant> {
        self.banks.bank(FAILING)?.first_refused()
    }

    /// Waits until something holds.
    async fn level(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), StepFailed> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        while !holds() {
            if Instant::now() > deadline {
                return Err(StepFailed(format!("not within {STEP_TIMEOUT:?}: {what}")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn told(&self, line: &str) -> Result<(), BoxError> {
        writeln!(std::io::stdout(), "{:>8.3} s  {line}", self.started.elapsed().as_secs_f64())?;
        Ok(())
    }

    fn sum(&self) -> Result<(), BoxError> {
        let out = &mut std::io::stdout();
        writeln!(out, "\n{:<22}{:>10}{:>10}{:>10}", "calls", "charged", "failed", "refused")?;
        for (code, Counts { charged, failed, refused }) in self.banks.counts() {
            writeln!(out, "bank-charge/{code:<10}{charged:>10}{failed:>10}{refused:>10}")?;
        }
        writeln!(out, "\nEvery step was as it should be. Post your own messages: cargo run -- dev")?;
        Ok(())
    }
}

fn group(code: &str) -> String {
    format!("bank_code:{code},env:prod")
}

fn check(holds: bool, otherwise: &str) -> Result<(), StepFailed> {
    if holds { Ok(()) } else { Err(StepFailed(otherwise.to_owned())) }
}

type PerBank = BTreeMap<&'static str, Counts>;

fn delta(banks: &Banks, before: &PerBank) -> PerBank {
    let since = |(code, now): (&'static str, Counts)| {
        let then = before.get(code).copied().unwrap_or_default();
        let (charged, failed) = (now.charged - then.charged, now.failed - then.failed);
        (code, Counts { charged, failed, refused: now.refused - then.refused })
    };
    banks.counts().into_iter().map(since).collect()
}

fn others(counts: &PerBank) -> impl Iterator<Item = &Counts> {
    counts.iter().filter(|(code, _)| **code != FAILING).map(|(_, counts)| counts)
}

fn shown(counts: &PerBank) -> String {
    let one = |(code, counts): (&&str, &Counts)| {
        let Counts { charged, failed, refused } = counts;
        format!("{code} {charged} charged {failed} failed {refused} refused")
    };
    counts.iter().map(one).collect::<Vec<_>>().join(" · ")
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
