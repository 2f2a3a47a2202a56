//! Trying again: how often, how soon, and how much of it a vendor in trouble is spared.
//!
//! Budget and backoff are tower's. Only the random numbers are ours: tower's own generator gives every clone the same row of numbers,
//! and retries that draw the same jitter are not spread.

use std::fmt;
use std::time::Duration;
use tower::retry::backoff::{ExponentialBackoff, ExponentialBackoffMaker, InvalidBackoff, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::rng::Rng;

/// Of a base wait of one, up to one more is added at random.
const JITTER: f64 = 1.0;

/// Retries of calls that failed or timed out. Never of a refusal, and never of a call that is not known to be idempotent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{Retries, Upstream};
/// use std::time::Duration;
///
/// # let client = cutout::FakeClient::new(["bank"]).client();
/// let retries = Retries::up_to(2).budget(20, 1).backoff(Duration::from_millis(1), Duration::from_millis(4));
/// let bank = Upstream::builder("bank").retries(retries).build(&client)?.lane::<&str>(&[]);
/// let mut tries = 0;
/// let answer = bank.call_idempotent(|| {
///     tries += 1;
///     async { Err::<(), _>("no route") }
/// });
/// assert_eq!(answer.await.unwrap_err().into_failed(), Some("no route"));
/// assert_eq!(tries, 3, "the first and two more: the budget had room");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    pub(crate) retries_max: u32,
    pub(crate) budget_percent: u32,
    pub(crate) free_per_s: u32,
    pub(crate) window: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
}

impl Retries {
    /// At most so many tries after the first; the defaults of the rest stand with each method.
    #[must_use]
    pub fn up_to(retries: u32) -> Retries {
        Retries {
            retries_max: retries,
            budget_percent: 20,
            free_per_s: 1,
            window: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }

    /// Over the last 10 s, retries may be this share of the calls, in percent, and so many more each second, for one key in this
    /// process; 20 % and 1 otherwise. With 20 % a vendor that fails every call gets at most 1.2 times the calls, and not
    /// three times.
    #[must_use]
    pub fn budget(self, percent: u32, free_per_s: u32) -> Retries {
        Retries { budget_percent: percent, free_per_s, ..self }
    }

    /// The wait before the first retry, which doubles with each further one, and the longest; 50 ms and 1 s otherwise. Up to as much again
    /// is added at random, but never beyond the longest.
    #[must_use]
    pub fn backoff(self, first: Duration, longest: Duration) -> Retries {
        Retries { backoff_min: first, backoff_max: longest, ..self }
    }
}

/// Retries that can be carried out.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    retries: Retries,
    backoffs: ExponentialBackoffMaker<Draws>,
}

impl Plan {
    /// None: these settings say that there are no retries.
    pub(super) fn new(retries: Retries) -> Result<Option<Plan>, InvalidBackoff> {
        if retries.retries_max == 0 {
            return Ok(None);
        }
        let Retries { backoff_min, backoff_max, .. } = retries;
        let backoffs = ExponentialBackoffMaker::new(backoff_min, backoff_max, JITTER, Draws)?;
        Ok(Some(Plan { retries, backoffs }))
    }
}

/// Retries at work.
pub(super) struct Retrying {
    budget: TpsBudget,
    backoffs: ExponentialBackoffMaker<Draws>,
    pub(super) retries_max: u32,
}

/// The waits of one call.
pub(super) type Waits = ExponentialBackoff<Draws>;

/// Random numbers, each thread's own.
#[derive(Debug, Clone)]
pub(super) struct Draws;

impl Rng for Draws {
    fn next_u64(&mut self) -> u64 {
        fastrand::u64(..)
    }
}

impl Retrying {
    pub(super) fn new(plan: &Plan) -> Retrying {
        let Retries { retries_max, budget_percent, free_per_s, window, .. } = plan.retries;
        // At most 100, so exact.
        let share = f32::from(u8::try_from(budget_percent).unwrap_or(u8::MAX)) / 100.0;
        let budget = TpsBudget::new(window, free_per_s, share);
        Retrying { budget, backoffs: plan.backoffs.clone(), retries_max }
    }

    /// A call begins that may be retried.
    pub(super) fn begin(&self) {
        self.budget.deposit();
    }

    /// The waits of one call, made when the first is needed.
    pub(super) fn waits(&self) -> Waits {
        self.backoffs.clone().make_backoff()
    }

    /// Whether the budget has room for one more retry, which is taken.
    pub(super) fn withdraw(&self) -> bool {
        self.budget.withdraw()
    }
}

impl fmt::Debug for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retrying").field("retries_max", &self.retries_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tower::retry::backoff::Backoff;

    fn retrying(retries: Retries) -> Retrying {
        Retrying::new(&Plan::new(retries).unwrap().unwrap())
    }

    fn paused(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// In any window, retries are at most their share of the calls of that window and of the slice before it, and the free ones.
        #[test]
        fn a_budget_is_never_overdrawn(
            percent in prop::sample::select(vec![0_u32, 1, 5, 10, 20, 25, 50, 100]),
            free_per_s in 0_u32..5,
            steps in prop::collection::vec((0_u64..700, 0_usize..30, 0_usize..30), 1..60),
        ) {
            let retrying = retrying(Retries::up_to(1).budget(percent, free_per_s));
            paused(async {
                let (mut calls, mut retries): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
                let mut now_ms = 0;
                for (wait_ms, begun, failed) in &steps {
                    tokio::time::advance(Duration::from_millis(*wait_ms)).await;
                    now_ms += wait_ms;
                    calls.extend(std::iter::repeat_n(now_ms, *begun));
                    for _ in 0..*begun { retrying.begin(); }
                    retries.extend((0..*failed).filter(|_| retrying.withdraw()).map(|_| now_ms));
                }
                let since = |times: &[u64], ms: u64| times.iter().filter(|at| **at + ms > now_ms).count() as u64;
                // Slices end when somebody looks, so a window may be some slices longer than its 10 s; calls are looked at a
                // window back from the oldest retry counted.
                let allowed = since(&calls, 30_000) * u64::from(percent) / 100 + u64::from(free_per_s) * 10 * 2;
                assert!(since(&retries, 10_000) <= allowed, "{} of {allowed}", since(&retries, 10_000));
            });
        }
    }

    #[test]
    fn a_vendor_that_fails_every_call_gets_a_fifth_more_and_not_three_times_as_many() {
        paused(async {
            let retrying = retrying(Retries::up_to(2).budget(20, 0));
            let mut retries = 0;
            for _ in 0..10_000 {
                tokio::time::advance(Duration::from_millis(1)).await;
                retrying.begin();
                retries += (0..2).filter(|_| retrying.withdraw()).count();
            }
            assert!((1_900..=2_000).contains(&retries), "{retries} retries of 10,000 calls");
        });
    }

    #[test]
    fn waits_double_up_to_the_longest_and_no_two_calls_draw_alike() {
        paused(async {
            let (first, longest) = (Duration::from_millis(50), Duration::from_millis(300));
            let retrying = retrying(Retries::up_to(4).backoff(first, longest));
            let waits = || {
                let mut waits = retrying.waits();
                let now = tokio::time::Instant::now();
                let mut next = || waits.next_backoff().deadline() - now;
                [next(), next(), next(), next()]
            };
            let (one, other) = (waits(), waits());
            for (wait, base_ms) in one.iter().zip([50, 100, 200, 300]) {
                let base = Duration::from_millis(base_ms);
                // The clock of timers ticks by the millisecond.
                let most = longest.min(base * 2) + Duration::from_millis(1);
                assert!(*wait >= base && *wait <= most, "{wait:?} for {base:?}");
            }
            assert_ne!(one, other);
        });
    }
}
