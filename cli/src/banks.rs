//! The demo's vendors and its callers: three banks, and a payment service that charges them all the time.
//!
//! Each caller asks its breaker before each call, as a team's own code would, and keeps count of what became of it.

use cutout::Breaker;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The banks' codes, as the monitor's groups name them.
pub(crate) const CODES: [&str; 3] = ["0001", "0002", "0003"];

/// How long one charge takes, and how long a caller waits before the next.
const CHARGE: Duration = Duration::from_millis(3);
const BETWEEN: Duration = Duration::from_millis(2);

/// One bank, and what its caller saw.
#[derive(Debug, Default)]
pub(crate) struct Bank {
    down: AtomicBool,
    charged: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    first_refused: OnceLock<Instant>,
}

/// How many calls ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The bank answered well.
    pub(crate) charged: u64,
    /// The bank failed.
    pub(crate) failed: u64,
    /// The breaker refused; the bank was not called.
    pub(crate) refused: u64,
}

impl Bank {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { charged: read(&self.charged), failed: read(&self.failed), refused: read(&self.refused) }
    }

    /// When the breaker first refused a call.
    pub(crate) fn first_refused(&self) -> Option<Instant> {
        self.first_refused.get().copied()
    }

    /// One payment: ask, then call.
    async fn pay(&self, breaker: &Breaker) {
        let Ok(_permit) = breaker.admit() else {
            self.first_refused.get_or_init(Instant::now);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        tokio::time::sleep(CHARGE).await;
        let outcome = if self.is_down() { &self.failed } else { &self.charged };
        outcome.fetch_add(1, Ordering::Relaxed);
    }
}

/// The banks and their callers, which stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Banks {
    banks: BTreeMap<&'static str, Arc<Bank>>,
    _callers: JoinSet<()>,
}

impl Banks {
    /// Starts one caller for each bank; `breaker` gives its handle.
    pub(crate) fn start<E>(breaker: impl Fn(&str) -> Result<Breaker, E>) -> Result<Banks, E> {
        let (mut banks, mut callers) = (BTreeMap::new(), JoinSet::new());
        for code in CODES {
            let (bank, breaker) = (Arc::<Bank>::default(), breaker(code)?);
            banks.insert(code, Arc::clone(&bank));
            callers.spawn(async move {
                loop {
                    bank.pay(&breaker).await;
                    tokio::time::sleep(BETWEEN).await;
                }
            });
        }
        Ok(Banks { banks, _callers: callers })
    }

    /// One bank.
    pub(crate) fn bank(&self, code: &str) -> Option<&Bank> {
        self.banks.get(code).map(Arc::as_ref)
    }

    /// Each bank's counts now.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, Counts> {
        self.banks.iter().map(|(code, bank)| (*code, bank.counts())).collect()
    }
}
