//! How a breaker decides: its settings, and what a status says under them.

use crate::flag::{ALL_PPM, Mode, OnStale};
use crate::observation::Observation;
use crate::report::{NotifiedTransition, Status};
use std::collections::BTreeSet;

/// How a breaker decides. Durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// From which status on a signal fires.
    pub open_on: OpenOn,
    /// What No Data means.
    pub no_data: NoData,
    /// How long it stays open at the least, so that it does not flap with its monitor. A reopening while half-open, or
    /// within [`super::REOPENED_WITHIN_MS`] of closing, doubles it, up to [`super::MIN_OPEN_MAX_MS`].
    pub min_open_ms: i64,
    /// How long half-open takes to let all calls flow.
    pub ramp_ms: i64,
    /// What the status of a muted group means.
    pub muted: Muted,
    /// What becomes of a firing signal whose monitor or group is gone.
    pub on_vanished: OnVanished,
    /// How long a firing signal counts without a report that confirms it, by the store's clock at commit.
    pub max_age_ms: i64,
    /// What becomes of an open breaker whose signals are all older.
    pub on_stale: OnStale,
    /// The share of calls admitted while a signal holds it open, parts per million.
    pub probe_ppm: u32,
    /// Whether its decisions are carried out.
    pub mode: Mode,
    /// The operation classes it refuses; empty: all.
    pub refuse: BTreeSet<String>,
    /// The largest share of the known keys that signals may open, parts per million; see [`crate::family`].
    pub max_open_ppm: u32,
    /// How many keys it may have.
    pub max_keys: u64,
    /// Whether drills may open it.
    pub drill: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            open_on: OpenOn::Alert,
            no_data: NoData::Hold,
            min_open_ms: 30_000,
            ramp_ms: 300_000,
            muted: Muted::Follow,
            on_vanished: OnVanished::HalfOpen,
            max_age_ms: 900_000,
            on_stale: OnStale::HalfOpen,
            probe_ppm: 10_000,
            mode: Mode::Enforce,
            refuse: BTreeSet::new(),
            max_open_ppm: ALL_PPM,
            max_keys: 10_000,
            drill: false,
        }
    }
}

/// From which status on a signal fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenOn {
    /// Alert only.
    Alert,
    /// Warn and Alert.
    Warn,
}

/// What No Data means for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoData {
    /// It goes on as it was.
    Hold,
    /// It fires.
    Open,
    /// It does not fire.
    Close,
}

/// What the status of a muted group means. Whoever mutes a monitor silences its messages; its state goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Muted {
    /// The same as if it were not muted.
    Follow,
    /// The signal goes on as it was before.
    Hold,
}

/// What becomes of a firing signal whose monitor or group is gone: nobody will ever report its recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnVanished {
    /// It holds the breaker half-open at the first share, until a report shows the group again.
    HalfOpen,
    /// It goes on firing.
    Hold,
    /// It does not fire any more.
    Close,
}
/// What one status says under a policy. In the order of weight for observations that are equally new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Rest,
    Hold,
    Fire,
}

impl Policy {
    /// What an observation says.
    pub(super) fn hears(&self, seen: &Observation) -> Says {
        match self.muted {
            Muted::Hold if seen.muted => Says::Hold,
            Muted::Hold | Muted::Follow => self.says(&seen.status),
        }
    }

    /// Whether a signal with this status fires; none: it goes on as it was.
    #[must_use]
    pub fn fires_at(&self, status: &Status) -> Option<bool> {
        match self.says(status) {
            Says::Fire => Some(true),
            Says::Rest => Some(false),
            Says::Hold => None,
        }
    }

    fn says(&self, status: &Status) -> Says {
        match (status, self.open_on, self.no_data) {
            (Status::Alert, ..) | (Status::Warn, OpenOn::Warn, _) | (Status::NoData, _, NoData::Open) => {
                Says::Fire
            }
            (Status::Ok | Status::Warn, ..) | (Status::NoData, _, NoData::Close) => Says::Rest,
            (Status::NoData, _, NoData::Hold) | (Status::Other(_), ..) => Says::Hold,
        }
    }

    /// Whether a notified transition, if true, would make a signal fire.
    pub(super) fn fires_on(&self, transition: NotifiedTransition) -> bool {
        let status = match transition {
            NotifiedTransition::Alert => Status::Alert,
            NotifiedTransition::Warn => Status::Warn,
            NotifiedTransition::NoData => Status::NoData,
            NotifiedTransition::Recovery | NotifiedTransition::Renotify | NotifiedTransition::Unknown => {
                return false;
            }
        };
        self.says(&status) == Says::Fire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_status_fires_is_told_and_holding_is_neither() {
        let policy = |open_on, no_data| Policy { open_on, no_data, ..Policy::default() };
        let usual = policy(OpenOn::Alert, NoData::Hold);
        for (policy, status, fires) in [
            (&usual, Status::Alert, Some(true)),
            (&usual, Status::Warn, Some(false)),
            (&usual, Status::Ok, Some(false)),
            (&usual, Status::NoData, None),
            (&usual, Status::Other("Skipped".to_owned()), None),
            (&policy(OpenOn::Warn, NoData::Open), Status::Warn, Some(true)),
            (&policy(OpenOn::Warn, NoData::Open), Status::NoData, Some(true)),
            (&policy(OpenOn::Alert, NoData::Close), Status::NoData, Some(false)),
        ] {
            assert_eq!(policy.fires_at(&status), fires, "{status:?}");
        }
    }
}
