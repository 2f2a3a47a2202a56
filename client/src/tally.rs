//! Counts of what became of calls, kept on the caller's path and handed to the metrics by the client's task.
//!
//! A caller adds to a plain number, since handing a labelled metric to a recorder allocates. Labels are the breaker's name
//! and the operation class. Never the key: a family may have thousands of keys, and each would be a paid time series of its
//! own; which key it was stands in its flag and on the service's side.

use crate::calls::{Calls, Ended};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many pairs of name and class are counted apart; all further ones together as [`OTHER`].
pub(crate) const TALLIES_MAX: usize = 1_000;
/// The label of what is not counted apart.
const OTHER: &str = "other";
/// The label of calls without a class.
const NO_CLASS: &str = "none";

/// Why a refusal was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unenforced {
    /// The breaker is in watch mode.
    Watch,
    /// Openings are held back: a pause, or too many open at once.
    Held,
}

/// What happens around calls now and then: rare enough for one plain number each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aside {
    /// A call that failed is made once more.
    Retry,
    /// It would have been, but for the budget.
    RetryWithheld,
    /// The call went to the second upstream.
    Failover,
    /// The caller's fallback took the place of an answer.
    Fallback,
    /// The local breaker opened.
    LocalTrip,
}

impl Aside {
    const ALL: [Aside; 5] =
        [Aside::Retry, Aside::RetryWithheld, Aside::Failover, Aside::Fallback, Aside::LocalTrip];

    fn metric(self) -> &'static str {
        match self {
            Aside::Retry => "cutout_client_retries_total",
            Aside::RetryWithheld => "cutout_client_retries_withheld_total",
            Aside::Failover => "cutout_client_failovers_total",
            Aside::Fallback => "cutout_client_fallbacks_total",
            Aside::LocalTrip => "cutout_client_local_trips_total",
        }
    }
}

/// The counts of one name and class.
#[derive(Debug)]
pub(crate) struct Tally {
    breaker: String,
    class: String,
    watch: AtomicU64,
    held: AtomicU64,
    calls: Calls,
    /// How many of `calls` were told, by how they ended.
    told: [AtomicU64; Ended::ALL.len()],
    waiting: AtomicU64,
    asides: [AtomicU64; Aside::ALL.len()],
}

impl Tally {
    /// Counts one call that would have been refused.
    pub(crate) fn would_refuse(&self, why: Unenforced) {
        let count = match why {
            Unenforced::Watch => &self.watch,
            Unenforced::Held => &self.held,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn new(breaker: String, class: String) -> Tally {
        Tally {
            breaker,
            class,
            watch: AtomicU64::new(0),
            held: AtomicU64::new(0),
            calls: Calls::default(),
            told: Default::default(),
            waiting: AtomicU64::new(0),
            asides: Default::default(),
        }
    }

    /// The counts of calls.
    #[inline]
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Counts something beside the calls.
    pub(crate) fn aside(&self, what: Aside) {
        if let Some(count) = self.asides.get(what as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many calls wait for room.
    pub(crate) fn waiting(&self) -> &AtomicU64 {
        &self.waiting
    }

    fn tell(&self) {
        self.tell_unenforced();
        self.tell_calls();
        for aside in Aside::ALL {
            let new = self.asides.get(aside as usize).map_or(0, |count| count.swap(0, Ordering::Relaxed));
            if new > 0 {
                metrics::counter!(aside.metric(), &self.labels()).increment(new);
            }
        }
    }

    /// Nothing is told of what was never used: a time series that is always 0 costs as much as any.
    fn tell_calls(&self) {
        let mut used = false;
        for (ended, told) in Ended::ALL.into_iter().zip(&self.told) {
            let count = self.calls.ended(ended);
            let new = count.wrapping_sub(told.swap(count, Ordering::Relaxed));
            let labels = || self.labels_of(ended);
            if new > 0 {
                metrics::counter!("cutout_client_calls_total", &labels()).increment(new);
            }
            self.calls.take_latencies(ended, |seconds, count| {
                metrics::histogram!("cutout_client_call_seconds", &labels()).record_many(seconds, count);
            });
            used |= count > 0;
        }
        let in_flight = self.calls.in_flight();
        if used || in_flight > 0 {
            metrics::gauge!("cutout_client_calls_in_flight", &self.labels()).set(gauge(in_flight));
            let waiting = self.waiting.load(Ordering::Relaxed);
            metrics::gauge!("cutout_client_calls_waiting", &self.labels()).set(gauge(waiting));
        }
    }

    fn labels(&self) -> [(&'static str, String); 2] {
        [("breaker", self.breaker.clone()), ("class", self.class.clone())]
    }

    fn labels_of(&self, ended: Ended) -> [(&'static str, String); 3] {
        let [breaker, class] = self.labels();
        [breaker, class, ("outcome", ended.word().to_owned())]
    }

    fn tell_unenforced(&self) {
        for (why, count) in [("watch", &self.watch), ("held", &self.held)] {
            let new = count.swap(0, Ordering::Relaxed);
            if new > 0 {
                let labels = [
                    ("breaker", self.breaker.clone()),
                    ("class", self.class.clone()),
                    ("why", why.to_owned()),
                ];
                metrics::counter!("cutout_client_would_refuse_total", &labels).increment(new);
            }
        }
    }
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn gauge(count: u64) -> f64 {
    count as f64
}

/// All counts of a client.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<(String, String), Arc<Tally>>>);

impl Tallies {
    /// The counts of one name and class.
    pub(crate) fn of(&self, breaker: &str, class: Option<&str>) -> Arc<Tally> {
        let mut tallies = self.lock();
        let mut labels = (breaker.to_owned(), class.unwrap_or(NO_CLASS).to_owned());
        if tallies.len() >= TALLIES_MAX && !tallies.contains_key(&labels) {
            labels = (OTHER.to_owned(), OTHER.to_owned());
        }
        let made = tallies.entry(labels).or_insert_with_key(|(breaker, class)| {
            let (breaker, class) = (breaker.clone(), class.clone());
            Arc::new(Tally::new(breaker, class))
        });
        Arc::clone(made)
    }

    /// Hands what came together since the last time to the metrics.
    pub(crate) fn tell(&self) {
        self.lock().values().for_each(|tally| tally.tell());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Tally>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_and_class_is_counted_in_one_place_and_the_number_of_places_is_bounded() {
        let tallies = Tallies::default();
        let charge = tallies.of("bank", Some("charge"));
        assert!(Arc::ptr_eq(&charge, &tallies.of("bank", Some("charge"))));
        assert!(!Arc::ptr_eq(&charge, &tallies.of("bank", None)));
        for class in 0..2 * TALLIES_MAX {
            tallies.of("bank", Some(&class.to_string())).would_refuse(Unenforced::Watch);
        }
        assert_eq!(tallies.lock().len(), TALLIES_MAX + 1);
        assert!(
            Arc::ptr_eq(&charge, &tallies.of("bank", Some("charge"))),
            "what was there first stays apart"
        );
        let further = tallies.of("bank", Some("1999"));
        assert_eq!((further.breaker.as_str(), further.class.as_str()), (OTHER, OTHER));
    }
}
