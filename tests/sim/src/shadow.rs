//! What a breaker's record must say, computed a second time and in another way: from the set of what was committed to
//! it, whatever the order.
//!
//! The newest of a set is its greatest element by one plain order; core compares pairs as they arrive. Both must agree
//! after every write. Left out: what follows for the breaker's state (`checker`).

use crate::history::Shows;
use cutout_core::Evidence;
use cutout_core::Policy;
use cutout_core::breaker::{Muted, NoData, OpenOn, SignalId};
use cutout_core::flag::{Forced, OnStale};
use cutout_core::observation::Observation;
use cutout_core::report::Status;

/// What a status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    Rests,
    Holds,
    Fires,
}

/// What a read says under a policy, by the words of the design.
pub(crate) fn says(policy: &Policy, status: &Status, muted: bool) -> Says {
    if muted && policy.muted == Muted::Hold {
        return Says::Holds;
    }
    match status {
        Status::Alert => Says::Fires,
        Status::Warn if policy.open_on == OpenOn::Warn => Says::Fires,
        Status::Ok | Status::Warn => Says::Rests,
        Status::NoData => match policy.no_data {
            NoData::Hold => Says::Holds,
            NoData::Open => Says::Fires,
            NoData::Close => Says::Rests,
        },
        Status::Other(_) => Says::Holds,
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SignalShadow {
    pub(crate) id: SignalId,
    pub(crate) latest: Observation,
    pub(crate) decided: Option<Observation>,
    /// When that was committed, by the store's clock.
    pub(crate) refreshed_ms: i64,
    /// The newest time of a read that showed the group, of all that were committed.
    pub(crate) shown_ms: i64,
    /// The first and the last of the complete reads that lack it.
    pub(crate) lacking_ms: Option<(i64, i64)>,
}

/// One hint that was told, and when.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) id: SignalId,
    pub(crate) at_ms: i64,
    pub(crate) told_ms: i64,
}

/// What a person has ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ordered {
    pub(crate) state: Forced,
    pub(crate) since_ms: i64,
    pub(crate) until_ms: Option<i64>,
}

impl Ordered {
    pub(crate) fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Shadow {
    pub(crate) ordered: Option<Ordered>,
    pub(crate) signals: Vec<SignalShadow>,
    pub(crate) told: Vec<Told>,
    /// For each monitor: the newest change that it was told to have shown.
    pub(crate) changes: Vec<(u64, i64)>,
}

impl Shadow {
    /// Takes in what was committed. What needed no commit only confirms it.
    pub(crate) fn take(&mut self, policy: &Policy, evidence: &Evidence, now_ms: i64) {
        for (tags, seen) in &evidence.groups {
            let id = SignalId { monitor_id: evidence.monitor_id, group: tags.to_string() };
            self.show(policy, id, seen, now_ms);
        }
        if let Some(as_of_ms) = evidence.complete_as_of_ms {
            self.lack(evidence, as_of_ms);
        }
        if let Some(change_ms) = evidence.latest_change_ms {
            match self.changes.iter_mut().find(|(id, _)| *id == evidence.monitor_id) {
                Some((_, latest_ms)) => *latest_ms = change_ms.max(*latest_ms),
                None => self.changes.push((evidence.monitor_id, change_ms)),
            }
        }
        if let Some(claim) = &evidence.claim {
            let id = SignalId { monitor_id: evidence.monitor_id, group: claim.group.to_string() };
            self.told.push(Told { id, at_ms: claim.at_ms, told_ms: now_ms });
        }
    }

    pub(crate) fn signal(&self, id: &SignalId) -> Option<&SignalShadow> {
        self.signals.iter().find(|signal| signal.id == *id)
    }

    pub(crate) fn latest_change_ms(&self, monitor_id: u64) -> Option<i64> {
        self.changes.iter().find(|(id, _)| *id == monitor_id).map(|(_, change_ms)| *change_ms)
    }

    fn show(&mut self, policy: &Policy, id: SignalId, seen: &Observation, now_ms: i64) {
        let decides = says(policy, &seen.status, seen.muted) != Says::Holds;
        let nth = self.signals.iter().position(|signal| signal.id == id).unwrap_or_else(|| {
            let (latest, shown_ms) = (seen.clone(), seen.as_of_ms);
            let (decided, refreshed_ms, lacking_ms) = (None, now_ms, None);
            self.signals.push(SignalShadow { id, latest, decided, refreshed_ms, shown_ms, lacking_ms });
            self.signals.len() - 1
        });
        let signal = &mut self.signals[nth];
        signal.shown_ms = signal.shown_ms.max(seen.as_of_ms);
        if is_newer(policy, seen, &signal.latest) {
            signal.latest = seen.clone();
        }
        if decides && signal.decided.as_ref().is_none_or(|decided| is_newer(policy, seen, decided)) {
            signal.decided = Some(seen.clone());
            signal.refreshed_ms = now_ms;
        }
    }

    fn lack(&mut self, evidence: &Evidence, as_of_ms: i64) {
        let shown = |id: &SignalId| evidence.groups.iter().any(|(tags, _)| tags.to_string() == id.group);
        for signal in &mut self.signals {
            if signal.id.monitor_id == evidence.monitor_id && !shown(&signal.id) {
                let (first_ms, last_ms) = signal.lacking_ms.unwrap_or((as_of_ms, as_of_ms));
                signal.lacking_ms = Some((first_ms.min(as_of_ms), last_ms.max(as_of_ms)));
            }
        }
    }
}

impl SignalShadow {
    /// Whether it asks for open at `now_ms`, vanished or not.
    pub(crate) fn fires_at(&self, policy: &Policy, now_ms: i64) -> bool {
        let fresh = now_ms < self.refreshed_ms + policy.max_age_ms || policy.on_stale == OnStale::Hold;
        fresh && self.fires(policy)
    }

    /// Whether what was read of it asks for open, however old that is.
    pub(crate) fn fires(&self, policy: &Policy) -> bool {
        let fires = |seen: &Observation| says(policy, &seen.status, seen.muted) == Says::Fires;
        match says(policy, &self.latest.status, self.latest.muted) {
            Says::Holds => self.decided.as_ref().is_some_and(fires),
            now => now == Says::Fires,
        }
    }
}

/// The plain order of reads of one group: by the time of change (none: it never changed, before all others), then by
/// the time of reading; equal in both: what fires, then any fixed order.
fn is_newer(policy: &Policy, one: &Observation, other: &Observation) -> bool {
    let rank = |seen: &Observation| {
        let says = says(policy, &seen.status, seen.muted);
        (seen.changed_at_ms, seen.as_of_ms, says, seen.status.clone())
    };
    rank(one) > rank(other)
}

/// Whether an observation shows what is shown.
pub(crate) fn same(seen: &Observation, shows: &Shows) -> bool {
    seen.status == shows.status && seen.changed_at_ms == shows.changed_ms && seen.muted == shows.muted
}
