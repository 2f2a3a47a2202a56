//! What core is told where a bug is planted, and the settings that it is given then.
//!
//! Everything is the truth unless a bug is planted. The product has no part in it: the bugs sit between it and the world.

use crate::history::History;
use crate::plants::Plant;
use crate::service::{Job, Origin};
use crate::world::World;
use cutout_core::hint::HINT_AGE_LIMIT_MS;
use cutout_core::observation::Observation;
use cutout_core::report::{NotifiedTransition, Status};
use cutout_core::{Breaker, Declaration, Evidence, Tags};

/// The declarations as the service uses them.
pub(crate) fn declarations(history: &History, plant: Option<Plant>) -> Vec<Declaration> {
    let mut declarations = history.declarations.clone();
    for declaration in &mut declarations {
        match plant {
            Some(Plant::FullClose) => declaration.policy.ramp_ms = 0,
            Some(Plant::NoMinOpen) => declaration.policy.min_open_ms = 0,
            Some(Plant::NeverStale) => declaration.policy.max_age_ms = i64::MAX / 8,
            Some(Plant::NoKey) => declaration.key.clear(),
            _ => {}
        }
    }
    declarations
}

impl World<'_> {
    /// The evidence as core is told it: the same, unless a bug is planted.
    pub(crate) fn told(&self, evidence: &Evidence, before: &Breaker, now_ms: i64) -> Evidence {
        let mut told = evidence.clone();
        self.limit_hint(&mut told, now_ms);
        let Some(plant) = self.plant else { return told };
        match plant {
            Plant::ReceiversClock => told.groups.iter_mut().for_each(|(_, seen)| {
                (seen.changed_at_ms, seen.as_of_ms) = (Some(now_ms), now_ms);
            }),
            Plant::TiesByArrival | Plant::NoTieBreak => break_ties(plant, &mut told, before),
            Plant::KeyedByMonitor => told.groups.iter_mut().for_each(|(tags, _)| *tags = Tags::default()),
            Plant::OrDropped => told.monitor_id = 1,
            Plant::OldHint => {
                let old = |at_ms: i64| now_ms - at_ms > HINT_AGE_LIMIT_MS;
                told.claim.iter_mut().filter(|claim| old(claim.at_ms)).for_each(|claim| claim.at_ms = now_ms);
            }
            Plant::HintAsReport => {
                if let Some(claim) = told.claim.take() {
                    let status = match claim.transition {
                        NotifiedTransition::Alert => Status::Alert,
                        _ => Status::Ok,
                    };
                    let (changed_at_ms, as_of_ms) = (Some(claim.at_ms), now_ms);
                    told.groups
                        .push((claim.group, Observation { status, changed_at_ms, as_of_ms, muted: false }));
                }
            }
            _ => {}
        }
        told
    }

    /// Other rules for hints, to measure them.
    fn limit_hint(&self, told: &mut Evidence, now_ms: i64) {
        if let Some(age_ms) = self.wiring.hint_age_ms {
            told.claim.take_if(|claim| now_ms - claim.at_ms > age_ms);
            let seen = told.latest_change_ms;
            if let Some(claim) =
                told.claim.as_mut().filter(|claim| seen.is_none_or(|seen| seen < claim.at_ms))
            {
                claim.at_ms = claim.at_ms.max(now_ms - HINT_AGE_LIMIT_MS);
            }
        }
        if let (Some(past_ms), Some(as_of_ms)) = (self.wiring.seen_past_ms, told.complete_as_of_ms) {
            told.latest_change_ms = told.latest_change_ms.max(Some(as_of_ms - past_ms));
        }
    }

    /// The record without what a scheduled run overwrites, where that bug is planted.
    pub(crate) fn forget(&self, breaker: Breaker, evidence: &Evidence, job: &Job) -> Breaker {
        if self.plant != Some(Plant::ReconcilePlainSet) || job.origin != Origin::Tick {
            return breaker;
        }
        let Ok(mut record) = serde_json::to_value(&breaker) else { return breaker };
        if let Some(signals) = record.get_mut("signals").and_then(serde_json::Value::as_object_mut) {
            for (tags, _) in &evidence.groups {
                signals.remove(&format!("{}|{tags}", evidence.monitor_id));
            }
        }
        serde_json::from_value(record).unwrap_or(breaker)
    }
}

/// Lets arrival decide between two reads that are equally new.
fn break_ties(plant: Plant, told: &mut Evidence, before: &Breaker) {
    let monitor_id = told.monitor_id;
    let ties = |tags: &Tags, seen: &Observation| {
        let stored = before
            .signals()
            .iter()
            .find(|(id, _)| id.monitor_id == monitor_id && id.group == tags.to_string());
        stored.is_some_and(|(_, signal)| {
            let latest = &signal.latest;
            latest.changed_at_ms == seen.changed_at_ms
                && latest.as_of_ms == seen.as_of_ms
                && latest.status != seen.status
        })
    };
    match plant {
        Plant::TiesByArrival => {
            told.groups
                .iter_mut()
                .filter(|(tags, seen)| ties(tags, seen))
                .for_each(|(_, seen)| seen.as_of_ms += 1);
        }
        _ => told.groups.retain(|(tags, seen)| !ties(tags, seen)),
    }
}
