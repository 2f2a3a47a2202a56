//! Counts of what became of calls, kept on the caller's path and handed to the metrics by the client's task.
//!
//! A caller adds to a plain number, since handing a labelled metric to a recorder allocates. Labels are the breaker's name
//! and the operation class. Not the key, unless an upstream asks for it: a family may have thousands of keys, and each would be a paid
//! time series of its own; which key it was stands in its flag and on the service's side.

use crate::calls::{Calls, Ended};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many sets of labels are counted apart. Further keys are counted together as [`OTHER`], up to as many again; then everything is.
pub(crate) const TALLIES_MAX: usize = 1_000;
/// The label of what is not counted apart.
const OTHER: &str = "other";
/// The label of calls without a class.
pub(crate) const NO_CLASS: &str = "none";

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
    /// A fault delayed the call.
    InjectedDelay,
}

impl Aside {
    const ALL: [Aside; 6] = [
        Aside::Retry,
        Aside::RetryWithheld,
        Aside::Failover,
        Aside::Fallback,
        Aside::LocalTrip,
        Aside::InjectedDelay,
    ];

    fn metric(self) -> &'static str {
        match self {
            Aside::Retry => "cutout_client_retries_total",
            Aside::RetryWithheld => "cutout_client_retries_withheld_total",
            Aside::Failover => "cutout_client_failovers_total",
            Aside::Fallback => "cutout_client_fallbacks_total",
            Aside::LocalTrip => "cutout_client_local_trips_total",
            Aside::InjectedDelay => "cutout_client_injected_delays_total",
        }
    }
}

/// What counts are told by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Labels {
    breaker: String,
    class: String,
    /// The key's tags with their values, where an upstream asks for them.
    key: Vec<(String, String)>,
}

impl Labels {
    pub(crate) fn new(breaker: &str, class: Option<&str>, key: Vec<(String, String)>) -> Labels {
        Labels { breaker: breaker.to_owned(), class: class.unwrap_or(NO_CLASS).to_owned(), key }
    }

    /// The same without telling keys apart.
    fn of_other_keys(mut self) -> Labels {
        self.key.iter_mut().for_each(|(_, value)| OTHER.clone_into(value));
        self
    }

    fn of_others(self) -> Labels {
        Labels { breaker: OTHER.to_owned(), class: OTHER.to_owned(), ..self.of_other_keys() }
    }
}

/// The counts of one set of labels.
#[derive(Debug)]
pub(crate) struct Tally {
    labels: Labels,
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

    fn new(labels: Labels) -> Tally {
        Tally {
            labels,
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
            used |= count > 0;
            if new == 0 {
                continue;
            }
            metrics::counter!("cutout_client_calls_total", &labels()).increment(new);
            // A latency is noted before its call is counted, so none is left behind.
            self.calls.take_latencies(ended, |seconds, count| {
                metrics::histogram!("cutout_client_call_seconds", &labels()).record_many(seconds, count);
            });
        }
        let in_flight = self.calls.in_flight();
        if used || in_flight > 0 {
            metrics::gauge!("cutout_client_calls_in_flight", &self.labels()).set(gauge(in_flight));
            let waiting = self.waiting.load(Ordering::Relaxed);
            metrics::gauge!("cutout_client_calls_waiting", &self.labels()).set(gauge(waiting));
        }
    }

    fn labels(&self) -> Vec<(String, String)> {
        let Labels { breaker, class, key } = &self.labels;
        let own =
            [("breaker", breaker), ("class", class)].map(|(name, value)| (name.to_owned(), value.clone()));
        own.into_iter().chain(key.iter().cloned()).collect()
    }

    fn labels_of(&self, ended: Ended) -> Vec<(String, String)> {
        self.labels_with("outcome", ended.word())
    }

    fn labels_with(&self, name: &str, value: &str) -> Vec<(String, String)> {
        let mut labels = self.labels();
        labels.push((name.to_owned(), value.to_owned()));
        labels
    }

    fn tell_unenforced(&self) {
        for (why, count) in [("watch", &self.watch), ("held", &self.held)] {
            let new = count.swap(0, Ordering::Relaxed);
            if new > 0 {
                let labels = self.labels_with("why", why);
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
pub(crate) struct Tallies(Mutex<HashMap<Labels, Arc<Tally>>>);

impl Tallies {
    /// The counts of one set of labels.
    pub(crate) fn of(&self, mut labels: Labels) -> Arc<Tally> {
        let mut tallies = self.lock();
        if tallies.len() >= TALLIES_MAX && !tallies.contains_key(&labels) {
            let has_key = !labels.key.is_empty();
            labels = if has_key { labels.of_other_keys() } else { labels.of_others() };
        }
        if tallies.len() >= 2 * TALLIES_MAX && !tallies.contains_key(&labels) {
            labels = labels.of_others();
        }
        let made = tallies.entry(labels).or_insert_with_key(|labels| Arc::new(Tally::new(labels.clone())));
        Arc::clone(made)
    }

    /// Hands what came together since the last time to the metrics.
    pub(crate) fn tell(&self) {
        // A recorder is another's code, and who makes a lane waits for this lock.
        let all: Vec<_> = self.lock().values().cloned().collect();
        all.iter().for_each(|tally| tally.tell());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Labels, Arc<Tally>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_and_class_is_counted_in_one_place_and_the_number_of_places_is_bounded() {
        let tallies = Tallies::default();
        let of = |class: Option<&str>| tallies.of(Labels::new("bank", class, Vec::new()));
        let charge = of(Some("charge"));
        assert!(Arc::ptr_eq(&charge, &of(Some("charge"))));
        assert!(!Arc::ptr_eq(&charge, &of(None)));
        for class in 0..2 * TALLIES_MAX {
            of(Some(&class.to_string())).would_refuse(Unenforced::Watch);
        }
        assert_eq!(tallies.lock().len(), TALLIES_MAX + 1);
        assert!(Arc::ptr_eq(&charge, &of(Some("charge"))), "what was there first stays apart");
        let further = of(Some("1999"));
        assert_eq!((further.labels.breaker.as_str(), further.labels.class.as_str()), (OTHER, OTHER));

        let keyed = |class: &str, key: u64| {
            let key = vec![("bank_code".to_owned(), key.to_string())];
            tallies.of(Labels::new("bank", Some(class), key))
        };
        let keys = keyed("charge", 1);
        assert_eq!(
            keys.labels(),
            [("breaker", "bank"), ("class", "charge"), ("bank_code", OTHER)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        (0..3 * TALLIES_MAX).for_each(|class| drop(keyed(&class.to_string(), 1)));
        assert!(tallies.lock().len() <= 2 * TALLIES_MAX + 1);
    }
}
