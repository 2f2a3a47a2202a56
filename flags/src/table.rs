//! What a follower knows, and what a snapshot or a change makes of it. Pure: time is an argument.
//!
//! Absent is closed only under a known epoch. When data were lost, each flag is held until the store shows its key
//! again or [`LOST_HOLD_MS`] have passed, so that a fleet does not rush a failing vendor because a cache restarted.
//! The hold belongs to the flag and starts with the first loss, so losses in a row do not prolong it.
//!
//! Left out: when to read and what to do about errors (`follower`).

use crate::store::{Change, Epoch, Published, Snapshot};
use cutout_core::{BreakerId, Declared, Pause};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// How long a flag outlives the loss of the store's data: two reconcile periods, in which the service writes again
/// what Datadog still reports.
pub const LOST_HOLD_MS: i64 = 120_000;

/// How long a store may stay behind what it has shown before (the same epoch, a smaller `rev`) until that counts as
/// a loss. Shorter than the time between two snapshots, so that the second one decides; longer than a replica lags.
pub const BEHIND_LIMIT_MS: i64 = 20_000;

/// A flag that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Which breaker.
    pub id: BreakerId,
    /// Its flag from now on; none: there is none, which is closed.
    pub flag: Option<Published>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is the next one.
    Applied(Update),
    /// It was known already.
    Stale,
    /// Something is missing between: read a snapshot.
    Gap,
}

/// A follower's knowledge of one scope.
#[derive(Debug, Default)]
pub struct FlagTable {
    life: Option<Life>,
    flags: HashMap<BreakerId, Digest>,
    /// Until when those are kept that were seen before data were lost and not again since; on a local clock, milliseconds. Apart, because there are
    /// hardly ever any.
    held_until_ms: HashMap<BreakerId, i64>,
    digests: RandomState,
    declared: Option<Arc<Declared>>,
    pause: Option<Pause>,
    losses: u64,
}

/// The newest epoch seen.
#[derive(Debug)]
struct Life {
    epoch: Epoch,
    rev: u64,
    standing: Standing,
}

/// How the last snapshot stood to the newest epoch seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was of that epoch and as new as anything seen before: absent is closed.
    Current,
    /// It was older than what was seen before, for the first time then.
    Behind { since_ms: i64 },
    /// It had no epoch.
    Lost,
}

/// What is kept of a flag: enough to see that it is another one, and whoever is told of flags keeps them. A digest of all that is published, its
/// number too, keyed anew in each process: that two flags of a breaker have one digest is as likely as guessing 64 bits.
type Digest = u64;

impl FlagTable {
    /// Takes in a snapshot. `now_ms` is any local clock that never goes back. Yields what changed.
    pub fn snapshot(&mut self, snapshot: Snapshot, now_ms: i64) -> Vec<Update> {
        let Snapshot { meta, flags, unreadable, .. } = snapshot;
        let version = meta.as_ref().map(|meta| (&meta.epoch, meta.rev));
        let (standing, is_loss) = self.judge(version, now_ms);
        if let Standing::Behind { .. } = standing {
            if let Some(life) = &mut self.life {
                life.standing = standing;
            }
            return Vec::new();
        }
        self.losses += u64::from(is_loss);
        if is_loss || meta.is_none() {
            self.hold_all(now_ms);
        }
        match meta {
            Some(meta) => {
                self.life = Some(Life { epoch: meta.epoch, rev: meta.rev, standing });
                self.pause = meta.pause;
                if self.declared.as_deref() != Some(&meta.declared) {
                    self.declared = Some(Arc::new(meta.declared));
                }
            }
            None => self.life.iter_mut().for_each(|life| life.standing = standing),
        }
        self.replace(flags, unreadable, now_ms)
    }

    /// Takes in the next change of the stream.
    pub fn change(&mut self, change: Change) -> Step {
        let Change { id, published } = change;
        let Some(life) = self.life.as_mut().filter(|life| life.epoch == published.epoch) else {
            return Step::Gap;
        };
        if published.rev <= life.rev && life.standing != Standing::Lost {
            return Step::Stale;
        }
        if published.rev != life.rev + 1 || life.standing != Standing::Current {
            return Step::Gap;
        }
        life.rev = published.rev;
        self.know(&id, &published);
        Step::Applied(Update { id, flag: Some(published) })
    }

    /// Changes from this number on are none: the next snapshot decides, though it be older than they seemed.
    pub fn retract(&mut self, from_rev: u64) {
        if let Some(life) = &mut self.life {
            life.rev = life.rev.min(from_rev.saturating_sub(1));
        }
    }

    /// What the service declares; none before the first snapshot that had it.
    #[must_use]
    pub fn declared(&self) -> Option<&Arc<Declared>> {
        self.declared.as_ref()
    }

    /// The newest epoch seen.
    #[must_use]
    pub fn epoch(&self) -> Option<&Epoch> {
        self.life.as_ref().map(|life| &life.epoch)
    }

    /// The pause that the last snapshot with an epoch showed.
    #[must_use]
    pub fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    /// How often data that had been seen were lost.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// How a snapshot of this epoch and rev stands to what is known, and whether it shows a loss.
    fn judge(&self, version: Option<(&Epoch, u64)>, now_ms: i64) -> (Standing, bool) {
        let Some(life) = &self.life else {
            // Before the first epoch nothing can be lost.
            return (Standing::Current, false);
        };
        let known_lost = life.standing == Standing::Lost;
        match version {
            None => (Standing::Lost, !known_lost),
            Some((epoch, _)) if *epoch != life.epoch => (Standing::Current, !known_lost),
            Some((_, rev)) if rev >= life.rev => (Standing::Current, false),
            // A replica that lags, or a store that came back without its last writes. The first catches up soon.
            Some(_) => match life.standing {
                Standing::Behind { since_ms } if now_ms - since_ms >= BEHIND_LIMIT_MS => {
                    (Standing::Current, true)
                }
                behind @ Standing::Behind { .. } => (behind, false),
                Standing::Current | Standing::Lost => (Standing::Behind { since_ms: now_ms }, false),
            },
        }
    }

    /// Holds what is known. What is held already keeps its time.
    fn hold_all(&mut self, now_ms: i64) {
        for id in self.flags.keys() {
            if !self.held_until_ms.contains_key(id) {
                self.held_until_ms.insert(id.clone(), now_ms.saturating_add(LOST_HOLD_MS));
            }
        }
    }

    /// Notes a flag that stands there. Whether it is another than was known.
    fn know(&mut self, id: &BreakerId, published: &Published) -> bool {
        self.held_until_ms.remove(id);
        let digest = self.digests.hash_one(published);
        match self.flags.get_mut(id) {
            Some(known) => std::mem::replace(known, digest) != digest,
            None => self.flags.insert(id.clone(), digest).is_none(),
        }
    }

    /// Sets the flags that are shown, and drops those that are not, unless they are held.
    fn replace(
        &mut self,
        shown: Vec<(BreakerId, Published)>,
        unreadable: Vec<BreakerId>,
        now_ms: i64,
    ) -> Vec<Update> {
        let mut seen: HashSet<BreakerId> = HashSet::with_capacity(shown.len() + unreadable.len());
        let mut updates = Vec::new();
        for (id, published) in shown {
            if self.know(&id, &published) {
                updates.push(Update { id: id.clone(), flag: Some(published) });
            }
            seen.insert(id);
        }
        for id in unreadable {
            // It stands there, so it is not absent; what it says is for a newer version than this one.
            self.held_until_ms.remove(&id);
            seen.insert(id);
        }
        let held = &mut self.held_until_ms;
        held.retain(|_, until_ms| now_ms < *until_ms);
        let gone = self.flags.extract_if(|id, _| !seen.contains(id) && !held.contains_key(id));
        let mut gone: Vec<BreakerId> = gone.map(|(id, _)| id).collect();
        // In the order of their names, so that the same snapshots tell the same.
        gone.sort_unstable();
        updates.extend(gone.into_iter().map(|id| Update { id, flag: None }));
        updates
    }
}

#[cfg(test)]
mod tests;
