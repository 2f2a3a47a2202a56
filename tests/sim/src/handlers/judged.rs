//! What the real parts did, judged by the same checker as the model.
//!
//! Everything that the disk took goes into the model's store too, with its shadow; so the two stores must agree on every
//! revision, and the rules are the same. What followers were shown is compared with what they know then.

use super::disk::{Look, Told};
use crate::checker::{self, TIMER_SLACK_MS, Verdict, broken};
use crate::history::Window;
use crate::service::{Origin, What};
use crate::store::Shown;
use crate::world::World;
use cutout_core::{Act, Breaker, BreakerId, Evidence, State, plan, plan_gone};
use cutout_flags::Write;
use std::collections::BTreeMap;

/// How long instances take to learn who ordered an override and why: what the store loses earlier nobody remembers.
pub(super) const LEARNT_AFTER_MS: i64 = 45_000;
/// How long a client that was cut off takes to follow again, and to believe what it sees.
const BACK_AFTER_MS: i64 = 80_000;
/// How old a connected client's knowledge may be.
const CLIENT_AGE_MAX_MS: u128 = 45_000;

impl World<'_> {
    /// Takes in what happened.
    pub(crate) fn hear(&mut self, told: Told) -> Verdict {
        match told {
            Told::Declared(epoch) => {
                if self.store.epoch() != Some(&epoch) {
                    self.trace(|| format!("store: begins the life {epoch:?}"));
                    self.store.begin(epoch);
                }
                Ok(())
            }
            Told::Committed { job, writes } => {
                let taken = |(write, look)| self.committed(job, write, &look);
                writes.into_iter().try_for_each(taken)
            }
            Told::Conflicts(refused) => {
                self.tally.conflicts += refused;
                Ok(())
            }
            Told::Paused(pause) => {
                self.trace(|| format!("store: pause {pause:?}"));
                self.store.set_pause(pause);
                Ok(())
            }
            Told::Showed { epoch, rev, flags, whole } => {
                let Some(rig) = &mut self.rig else { return Ok(()) };
                self.tally.snapshots += u64::from(whole);
                let shown = Shown { epoch: epoch.as_ref(), rev, flags: &flags };
                let judged = rig.must.judge(shown, &rig.view.flags(), self.now_ms, whole);
                judged.or_else(|what| broken("9 a caller knows what the store shows", what))
            }
            Told::Answered { job, status } => self.answered(job, status),
            Told::Crashed { instance } => {
                self.crashed(instance);
                Ok(())
            }
        }
    }

    /// The disk took a write.
    fn committed(&mut self, job: Option<u64>, write: Write, look: &Look) -> Verdict {
        match write {
            Write::Monitor { monitor_id, expected, seen } => {
                let taken = self.store.write_monitor(monitor_id, expected, seen);
                self.agreed(taken, || format!("monitor {monitor_id}"))
            }
            Write::Breaker { id, expected, record, flag, .. } => {
                let restored = self.restored(job, &id, &record, look);
                if let Some(rig) = &mut self.rig {
                    rig.saw_pause = look.paused;
                }
                let taken = self.write_one(&id, expected, record, flag, look.hold, look.now_ms)?;
                self.agreed(taken, || format!("{id}"))?;
                if let Some(ordered) = restored {
                    self.trace(|| format!("service: restored {ordered:?} of {id}"));
                    self.store.shadow(&id).ordered = Some(ordered);
                    return self.judge(&id, look.hold, look.now_ms);
                }
                self.trace(|| format!("service: wrote {id} for {job:?}"));
                self.take_in(job, &id, look)
            }
        }
    }

    fn agreed(&self, taken: bool, what: impl Fn() -> String) -> Verdict {
        match taken {
            true => Ok(()),
            false => broken(
                "both stores agree",
                format!("the memory store took {} and the model refused it", what()),
            ),
        }
    }

    /// Lets the breaker's shadow know why it was written, and judges the record.
    fn take_in(&mut self, job: Option<u64>, id: &BreakerId, look: &Look) -> Verdict {
        let posted = self.rig.as_ref().zip(job).and_then(|(rig, job)| rig.posted.get(&job));
        let (mut evidence, mut order) = (None, None);
        if let Some(posted) = posted {
            match &posted.job.what {
                What::Order(_, given) => order = Some(given.clone()),
                what => evidence = self.evidence(what, look).remove(id),
            }
        }
        if let Some(order) = order {
            if let Some(rig) = &mut self.rig {
                rig.restores.remove(id);
            }
            self.note_order(id, &order, look.now_ms);
        }
        match evidence {
            Some(evidence) => self.take(id, &evidence, look.hold, look.now_ms),
            None => self.judge(id, look.hold, look.now_ms),
        }
    }

    /// What a message says to each breaker.
    fn evidence(&self, what: &What, look: &Look) -> BTreeMap<BreakerId, Evidence> {
        let (declarations, seen) = (&self.declarations, look.monitor.as_ref());
        let plan = match (what, look.monitor_id) {
            (What::Callback(callback), _) => plan(declarations, callback, seen).ok(),
            (What::Inventory { as_of_ms, .. }, Some(monitor_id)) => {
                seen.map(|seen| plan_gone(declarations, monitor_id, *as_of_ms, seen))
            }
            _ => None,
        };
        let targets = plan.into_iter().flat_map(|plan| plan.targets);
        targets.map(|(id, (_, evidence))| (id, evidence)).collect()
    }

    /// The override that this write brings back, if it does.
    fn restored(
        &self,
        job: Option<u64>,
        id: &BreakerId,
        record: &Breaker,
        look: &Look,
    ) -> Option<crate::shadow::Ordered> {
        let forced = record.forced()?;
        let was_forced = self.store.stored(id).is_some_and(|stored| stored.value.forced().is_some());
        let posted = self.rig.as_ref().zip(job).and_then(|(rig, job)| rig.posted.get(&job));
        let what = posted.map(|posted| &posted.job.what);
        let is_order = matches!(what, Some(What::Order(ordered, order))
            if ordered == id && matches!(order.act, Act::Force { .. }) && forced.since_ms == look.now_ms);
        let known = self
            .ordered
            .get(id)
            .filter(|known| known.state == forced.state && known.until_ms == forced.until_ms);
        known.filter(|_| !was_forced && !is_order).copied()
    }

    /// An instance answered.
    fn answered(&mut self, job: u64, status: u16) -> Verdict {
        if status == 500 {
            return broken("no panic", format!("message {job} is answered with 500"));
        }
        let committed = if status == 200 { self.must_be_committed(job) } else { Ok(()) };
        let Some(rig) = &mut self.rig else { return committed };
        rig.disk.end_of(job);
        let Some(posted) = rig.posted.remove(&job) else { return committed };
        self.trace(|| format!("service: answers {status} to {job}"));
        let whole = !matches!(posted.job.origin, Origin::Note { whole: false, .. });
        if status != 200 || !whole {
            self.fail(posted.job.origin);
        }
        committed
    }

    /// Invariant 6: what is answered with 200 is in the store, unless that lost it meanwhile.
    pub(super) fn must_be_committed(&self, job: u64) -> Verdict {
        let Some(rig) = &self.rig else { return Ok(()) };
        let Some(posted) = rig.posted.get(&job).filter(|posted| posted.losses == rig.losses) else {
            return Ok(());
        };
        let What::Callback(callback) = &posted.job.what else { return Ok(()) };
        let seen = self.store.monitor(callback.monitor_id).map(|stored| &stored.value);
        let Ok(plan) = plan(&self.declarations, callback, seen) else { return Ok(()) };
        let mut targets = plan.targets.into_iter();
        targets.try_for_each(|(id, (_, evidence))| {
            checker::answered(self.history.policy(), &self.store, &id, &evidence)
        })
    }

    /// After all faults: the store is right, and so is what callers know.
    pub(crate) fn all_is_right(&mut self) -> Verdict {
        let now_ms = self.store_ms();
        if let Some(rig) = &self.rig {
            for (id, ordered) in rig.restores.iter().filter(|(_, ordered)| ordered.holds_at(now_ms)) {
                self.store.shadow(id).ordered = Some(*ordered);
            }
        }
        checker::converged(self.history, &self.store, self.now_ms)?;
        let away = self.history.caller.iter().flat_map(|plan| &plan.away);
        let was_away =
            |window: &Window| window.from_ms <= self.now_ms && self.now_ms < window.to_ms + BACK_AFTER_MS;
        if away.into_iter().any(was_away) {
            return Ok(());
        }
        self.client_follows()
    }

    /// Invariant 9: a client that was not cut off lately knows what the store shows.
    fn client_follows(&self) -> Verdict {
        let now_ms = self.store_ms();
        let Some(client) = self.rig.as_ref().and_then(|rig| rig.client.as_ref()) else { return Ok(()) };
        let health = client.health();
        if !health.connected || health.age.is_none_or(|age| age.as_millis() > CLIENT_AGE_MAX_MS) {
            return broken("9 a client follows", format!("its health is {health:?}"));
        }
        for (id, published) in self.store.flags() {
            let key = id.as_str().split_once('/').map_or("", |(_, key)| key);
            let key: &[&str] = if key.is_empty() { &[] } else { &[key] };
            let Ok(breaker) = client.breaker(id.name(), key) else {
                return broken("9 a client follows", format!("it does not know {id}"));
            };
            let around = [-TIMER_SLACK_MS, 0, TIMER_SLACK_MS];
            let states: Vec<State> = around.iter().map(|ms| published.flag.state_at(now_ms + ms)).collect();
            if !states.contains(&breaker.state()) {
                return broken(
                    "9 a client follows",
                    format!("it takes {id} for {}, the store shows {:?}", breaker.state(), published.flag),
                );
            }
        }
        Ok(())
    }
}
