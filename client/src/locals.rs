//! The local breakers of this process that are not closed, for the snapshot and for gauges.
//!
//! Lanes are asked for theirs once a second and for a snapshot, so that a call that trips one has nothing to do here. Left out: how they trip
//! (`local`).

use crate::snapshot::KnownLocal;
use crate::tally::NO_CLASS;
use cutout_core::State;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many are kept before those that are gone are looked for.
const KEPT_MIN: usize = 64;

/// Who has a local breaker: a lane.
pub(crate) trait Tripping: fmt::Debug + Send + Sync {
    fn name(&self) -> &str;
    fn class(&self) -> Option<&str>;
    /// None: it is closed.
    fn tripped(&self) -> Option<KnownLocal>;
}

/// All that have one.
#[derive(Debug, Default)]
pub(crate) struct Locals(Mutex<Vec<Weak<dyn Tripping>>>);

impl Locals {
    pub(crate) fn add(&self, one: Weak<dyn Tripping>) {
        let mut all = self.lock();
        if all.len() >= all.capacity().max(KEPT_MIN) {
            all.retain(|one| one.strong_count() > 0);
            // Each look pays for as many new ones as it leaves.
            let left = all.len();
            all.reserve(left.max(KEPT_MIN));
        }
        all.push(one);
    }

    /// Those that are not closed, by breaker.
    pub(crate) fn known(&self) -> Vec<KnownLocal> {
        let mut known: Vec<_> = self.all().iter().filter_map(|one| one.tripped()).collect();
        known.sort_by(|one, other| (&one.breaker, &one.class).cmp(&(&other.breaker, &other.class)));
        known
    }

    /// Tells the gauges.
    pub(crate) fn tell(&self) {
        let all = self.all();
        let mut counts: BTreeMap<(&str, &str), [u32; 2]> = BTreeMap::new();
        for one in &all {
            let [open, half_open] = counts.entry((one.name(), one.class().unwrap_or(NO_CLASS))).or_default();
            match one.tripped().map(|known| known.state) {
                Some(State::Open) => *open += 1,
                Some(State::HalfOpen) => *half_open += 1,
                Some(State::Closed) | None => {}
            }
        }
        for ((breaker, class), counts) in counts {
            for (state, count) in ["open", "half-open"].into_iter().zip(counts) {
                let labels = [("breaker", breaker), ("class", class), ("state", state)];
                let labels = labels.map(|(name, value)| (name, value.to_owned()));
                metrics::gauge!("cutout_client_local_breakers", &labels).set(f64::from(count));
            }
        }
    }

    /// Not under the lock: a recorder is another's code.
    fn all(&self) -> Vec<Arc<dyn Tripping>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<dyn Tripping>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
