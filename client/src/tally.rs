//! Counts of calls that would have been refused, kept on the caller's path and handed to the metrics by the client's task.
//!
//! A caller adds to a plain number, since handing a labelled metric to a recorder allocates. Labels are the breaker's name
//! and the operation class. Never the key: a family may have thousands of keys, and each would be a paid time series of its
//! own; which key it was stands in its flag and on the service's side.

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

/// The counts of one name and class.
#[derive(Debug)]
pub(crate) struct Tally {
    breaker: String,
    class: String,
    watch: AtomicU64,
    held: AtomicU64,
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

    fn tell(&self) {
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
            Arc::new(Tally { breaker, class, watch: AtomicU64::new(0), held: AtomicU64::new(0) })
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
