//! An instance of the service: reads, lets core decide, writes by compare-and-set, and again what was refused.
//!
//! What is decided is core's; here is only the way there, as in the service itself. The handlers themselves run at the
//! other level. Some of the planted bugs sit here, those in what core is told in `planted`.

use crate::checker::{self, People, Verdict, Violation};
use crate::history::Group;
use crate::plants::Plant;
use crate::shadow::Ordered;
use crate::world::{Event, World};
use cutout_core::{
    Act, Breaker, BreakerId, Callback, Evidence, Flag, Hold, MonitorSeen, Order, Plan, Policy, plan,
    plan_gone,
};
use cutout_flags::{Epoch, Publish};
use std::fmt;

/// What an instance works on.
pub(crate) enum What {
    Callback(Box<Callback>),
    Gone {
        monitor_id: u64,
        as_of_ms: i64,
    },
    /// Which managed monitors there are.
    Inventory {
        monitor_ids: Vec<u64>,
        as_of_ms: i64,
    },
    Order(BreakerId, Order),
    Timer,
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An invocation for a notification; whether it sent all that it should.
    Note { note: usize, nth: usize, whole: bool },
    /// A scheduled run.
    Tick,
    /// Nobody.
    Nobody,
}

pub(crate) struct Job {
    pub(crate) what: What,
    pub(crate) origin: Origin,
    pub(crate) rounds: u8,
}

impl Job {
    pub(crate) fn new(what: What, origin: Origin) -> Job {
        Job { what, origin, rounds: 0 }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Callback(callback) => {
                write!(f, "a callback of monitor {} by {:?}", callback.monitor_id, self.origin)?;
                if let Some(told) = &callback.notified {
                    write!(f, ", which tells {:?} of {:?} at {}", told.transition, told.tags, told.at)?;
                }
                if let Some(report) = &callback.report {
                    write!(f, ", as of {}:", report.as_of)?;
                    for group in &report.groups {
                        let changed = group.changed_at.map(|at| at.to_string());
                        let (tags, status, muted) = (&group.tags, group.status.as_str(), group.muted);
                        write!(
                            f,
                            " [{tags} {status} since {changed:?}{}]",
                            if muted { " muted" } else { "" }
                        )?;
                    }
                }
                Ok(())
            }
            What::Gone { monitor_id, as_of_ms } => {
                write!(f, "that monitor {monitor_id} is gone as of {as_of_ms}")
            }
            What::Order(id, order) => write!(f, "{:?} for {id}", order.act),
            What::Inventory { monitor_ids, as_of_ms } => {
                write!(f, "that as of {as_of_ms} there are the monitors {monitor_ids:?}")
            }
            What::Timer => f.write_str("what time has brought"),
        }
    }
}

/// What was decided, to be written.
#[derive(Default)]
pub(crate) struct Decided {
    epoch: Option<Epoch>,
    writes: Vec<(BreakerId, u64, Breaker, Option<Publish>)>,
    hold: Option<Hold>,
    monitor: Option<(u64, u64, MonitorSeen)>,
    /// What was said to each breaker that is written, as it really is.
    pub(crate) evidence: Vec<(BreakerId, Evidence)>,
    read_ms: i64,
}

impl Decided {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.monitor.is_none()
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, revision, breaker, flag) in &self.writes {
            let told = if flag.is_some() { ", to be told" } else { "" };
            write!(f, "{id} after revision {revision} to be {}{told}; ", breaker.state())?;
        }
        Ok(())
    }
}

impl World<'_> {
    /// Reads and decides. None: there is nothing to do.
    pub(crate) fn decide(&mut self, job: &Job) -> Result<Option<Decided>, Violation> {
        self.begin_life()?;
        let now_ms = self.store_ms();
        let (epoch, hold) = (self.store.epoch().cloned(), self.hold(now_ms));
        let mut decided = Decided { epoch, read_ms: now_ms, hold, ..Decided::default() };
        if let What::Order(id, order) = &job.what {
            decided.writes.extend(self.obey(id, order, hold, now_ms));
            return Ok(Some(decided));
        }
        let Some(plan) = self.plan_of(job) else { return Ok(None) };
        for (id, (policy, evidence)) in plan.targets {
            match self.decide_one(&id, &policy, &evidence, job, hold, now_ms) {
                Some(write) => {
                    decided.writes.push(write);
                    decided.evidence.push((id, evidence));
                }
                // What needs no write is in the store as of now.
                None => checker::answered(self.history.policy(), &self.store, &id, &evidence)?,
            }
        }
        decided.monitor = plan.seen;
        Ok(Some(decided))
    }

    /// What keeps signals from opening anything, as the service is told it.
    fn hold(&self, now_ms: i64) -> Option<Hold> {
        self.store.hold(now_ms).filter(|_| self.plant != Some(Plant::PauseIgnored))
    }

    fn decide_one(
        &self,
        id: &BreakerId,
        policy: &Policy,
        evidence: &Evidence,
        job: &Job,
        hold: Option<Hold>,
        now_ms: i64,
    ) -> Option<(BreakerId, u64, Breaker, Option<Publish>)> {
        let stored = self.store.stored(id);
        let before = stored.map_or_else(|| Breaker::new(now_ms), |stored| stored.value.clone());
        let mut after = self.forget(before.clone(), evidence, job);
        let told = self.told(evidence, &before, now_ms);
        let mut transitions = after.apply(policy, &told, hold, now_ms);
        if self.plant == Some(Plant::VanishedAtOnce) {
            let twice = told.complete_as_of_ms.map(|as_of_ms| as_of_ms + 60_000);
            let twice = Evidence { complete_as_of_ms: twice, ..told };
            transitions.extend(after.apply(policy, &twice, hold, now_ms));
        }
        if self.plant == Some(Plant::OverrideUndone) && after.forced().is_some() {
            let order = Order { by: String::new(), why: String::new(), act: Act::Clear };
            transitions.extend(after.obey(policy, &order, hold, now_ms));
        }
        let revision = stored.map_or(0, |stored| stored.revision);
        self.to_write(id, policy, revision, &before, after, !transitions.is_empty(), hold)
    }

    fn obey(
        &self,
        id: &BreakerId,
        order: &Order,
        hold: Option<Hold>,
        now_ms: i64,
    ) -> Option<(BreakerId, u64, Breaker, Option<Publish>)> {
        let declaration = self.declarations.iter().find(|declaration| declaration.name == id.name())?;
        let (policy, stored) = (&declaration.policy, self.store.stored(id));
        let before = stored.map_or_else(|| Breaker::new(now_ms), |stored| stored.value.clone());
        let mut after = before.clone();
        let mut order = order.clone();
        if let (Some(Plant::OverrideForEver), Act::Force { until_ms, .. }) = (self.plant, &mut order.act) {
            *until_ms = None;
        }
        let transitions = after.obey(policy, &order, hold, now_ms);
        let revision = stored.map_or(0, |stored| stored.revision);
        self.to_write(id, policy, revision, &before, after, !transitions.is_empty(), hold)
    }

    /// What is to be written of a decision, by the service's own rules; none: nothing.
    #[allow(clippy::too_many_arguments)]
    fn to_write(
        &self,
        id: &BreakerId,
        policy: &Policy,
        revision: u64,
        before: &Breaker,
        after: Breaker,
        moved: bool,
        hold: Option<Hold>,
    ) -> Option<(BreakerId, u64, Breaker, Option<Publish>)> {
        let (flag, old) = (after.flag(policy, hold), before.flag(policy, hold));
        if self.plant == Some(Plant::PublishesAlways) {
            return Some((id.clone(), revision, after, Some(Publish::Change(flag))));
        }
        if !moved && !after.is_worth_writing(before, policy) {
            return None;
        }
        let publish = match revision {
            1.. if flag == old => None,
            1.. if flag.is_refresh_of(&old) => Some(Publish::Refresh(flag)),
            _ => Some(Publish::Change(flag)),
        };
        Some((id.clone(), revision, after, publish))
    }

    /// Makes every flag say what its record means now.
    pub(crate) fn sweep(&mut self) {
        let now_ms = self.store_ms();
        let hold = self.hold(now_ms);
        let flags: Vec<(BreakerId, Flag)> =
            self.store.flags().iter().map(|(id, published)| (id.clone(), published.flag.clone())).collect();
        let Some(policy) = self.declarations.first().map(|declaration| declaration.policy.clone()) else {
            return;
        };
        let mut writes = Vec::new();
        for (id, shown) in flags {
            let Some(stored) = self.store.stored(&id) else { continue };
            let mut after = stored.value.clone();
            after.advance(&policy, hold, now_ms);
            let flag = after.flag(&policy, hold);
            if flag != shown && !flag.is_refresh_of(&shown) {
                writes.push((id, stored.revision, after, Some(Publish::Change(flag))));
            }
        }
        let epoch = self.store.epoch().cloned();
        let decided = Decided { epoch, writes, hold, read_ms: now_ms, ..Decided::default() };
        let job = Job::new(What::Timer, Origin::Nobody);
        self.plan(self.now_ms, Event::Commit(Box::new(job), Box::new(decided)));
    }

    fn plan_of(&self, job: &Job) -> Option<OwnedPlan> {
        let (monitor_id, stored) = match &job.what {
            What::Callback(callback) => (callback.monitor_id, self.store.monitor(callback.monitor_id)),
            What::Gone { monitor_id, .. } => (*monitor_id, self.store.monitor(*monitor_id)),
            What::Timer | What::Order(..) | What::Inventory { .. } => return None,
        };
        let seen = stored.map(|stored| &stored.value);
        let plan: Plan<'_> = match &job.what {
            What::Callback(callback) => plan(&self.declarations, callback, seen).ok()?,
            What::Gone { as_of_ms, .. } => plan_gone(&self.declarations, monitor_id, *as_of_ms, seen?),
            What::Timer | What::Order(..) | What::Inventory { .. } => return None,
        };
        let revision = stored.map_or(0, |stored| stored.revision);
        let news = plan.seen.filter(|now| now.differs_from(seen)).map(|now| (monitor_id, revision, now));
        let targets = plan
            .targets
            .into_iter()
            .map(|(id, (declaration, evidence))| (id, (declaration.policy.clone(), evidence)));
        Some(OwnedPlan { targets: targets.collect(), seen: news })
    }

    /// Writes what nobody else wrote between. False: some of it was refused.
    pub(crate) fn write(&mut self, job: &Job, decided: Decided) -> Result<(bool, Decided), Violation> {
        let Decided { epoch, writes, monitor, evidence, read_ms, hold } = decided;
        if self.store.epoch() != epoch.as_ref() {
            return Ok((false, Decided::default()));
        }
        let mut refused = Vec::new();
        for (id, expected, breaker, flag) in writes {
            if self.write_one(&id, expected, breaker, flag, hold, read_ms)? {
                self.trace(|| format!("service: writes {id} after {job}"));
                match &job.what {
                    What::Timer => self.judge(&id, hold, read_ms)?,
                    What::Order(id, order) => {
                        self.note_order(id, order, read_ms);
                        self.judge(id, hold, read_ms)?;
                    }
                    What::Callback(_) | What::Gone { .. } | What::Inventory { .. } => {}
                }
            } else {
                refused.push(id);
            }
        }
        for (id, evidence) in evidence.iter().filter(|(id, _)| !refused.contains(id)) {
            self.take(id, evidence, hold, read_ms)?;
        }
        let known = monitor.is_none_or(|(id, expected, seen)| self.store.write_monitor(id, expected, seen));
        let rest = Decided { evidence, ..Decided::default() };
        Ok((refused.is_empty() && known, rest))
    }

    pub(crate) fn write_one(
        &mut self,
        id: &BreakerId,
        expected: u64,
        breaker: Breaker,
        flag: Option<Publish>,
        hold: Option<Hold>,
        read_ms: i64,
    ) -> Result<bool, Violation> {
        let before = self.store.flags().get(id).map(|published| published.flag.clone());
        if !self.store.write(id, expected, breaker, flag.clone()) {
            return Ok(false);
        }
        self.tally.writes += 1;
        let (Some(publish), Some(stored)) = (flag, self.store.stored(id)) else { return Ok(true) };
        let (Publish::Change(flag) | Publish::Refresh(flag)) = &publish;
        let paused = match &self.rig {
            Some(rig) => rig.saw_pause,
            None => self.store.is_paused_at(read_ms),
        };
        let people = match paused {
            true => People::PausedNow,
            false if !self.history.orders.is_empty() => People::Before,
            false => People::Never,
        };
        if !self.wiring.has_other_rules() {
            let policy = self.history.policy();
            checker::published(
                policy,
                id,
                [before.as_ref(), Some(flag)],
                &stored.value,
                hold,
                people,
                read_ms,
            )?;
        }
        if let Some(at_ms) = flag.next_change_ms() {
            self.plan_timer(id.clone(), at_ms);
        }
        if let Publish::Change(_) = publish {
            self.plan_poll();
        }
        self.trace(|| format!("store: {id} is {flag:?}"));
        Ok(true)
    }

    /// Brings back an override that the store has lost.
    pub(crate) fn restore(&mut self, id: &BreakerId, ordered: Ordered) -> Verdict {
        let now_ms = self.store_ms();
        let Ordered { state, since_ms, until_ms } = ordered;
        let act = Act::Restore { since_ms, state, until_ms };
        let order = Order { by: "somebody".to_owned(), why: "a test".to_owned(), act };
        let hold = self.hold(now_ms);
        if let Some((id, revision, breaker, flag)) = self.obey(id, &order, hold, now_ms) {
            self.trace(|| format!("service: restores {ordered:?} of {id}"));
            self.write_one(&id, revision, breaker, flag, hold, now_ms)?;
        }
        Ok(())
    }

    /// Notes what a person has ordered.
    pub(crate) fn note_order(&mut self, id: &BreakerId, order: &Order, now_ms: i64) {
        let ordered = match order.act {
            Act::Force { state, until_ms } => Some(Ordered { state, since_ms: now_ms, until_ms }),
            Act::Clear => None,
            Act::Inject(_) | Act::EndFault | Act::Release | Act::Restore { .. } => return,
        };
        self.store.shadow(id).ordered = ordered;
        match ordered {
            Some(ordered) => self.ordered.insert(id.clone(), ordered),
            None => self.ordered.remove(id),
        };
    }

    /// Notes what is now in the store, and judges the record.
    pub(crate) fn take(
        &mut self,
        id: &BreakerId,
        evidence: &Evidence,
        hold: Option<Hold>,
        now_ms: i64,
    ) -> Verdict {
        if self.store.stored(id).is_some() {
            self.store.shadow(id).take(self.history.policy(), evidence, now_ms);
        }
        self.judge(id, hold, now_ms)
    }

    /// Judges a record after a write.
    pub(crate) fn judge(&mut self, id: &BreakerId, hold: Option<Hold>, now_ms: i64) -> Verdict {
        let Some(record) = self.store.record(id) else { return Ok(()) };
        if let Some(stored) = &record.stored {
            self.tally.hints_taken += u64::from(!stored.value.hints().is_empty());
            self.tally.vanished += u64::from(stored.value.signals().values().any(|signal| signal.vanished));
            self.tally.forced += u64::from(stored.value.forced().is_some());
            self.tally.held += u64::from(stored.value.held().is_some());
        }
        if self.wiring.has_other_rules() {
            return Ok(());
        }
        checker::record(self.history.policy(), id, record, hold, now_ms)
    }

    /// Looks at a breaker to which time has brought something.
    pub(crate) fn timer(&mut self, id: BreakerId) {
        if self.history.store_is_away(self.now_ms) {
            let again_ms = self.now_ms + 1_000;
            return self.plan(again_ms, Event::Timer(id));
        }
        let now_ms = self.store_ms();
        let Some(declaration) = self.declarations.iter().find(|declaration| declaration.name == id.name())
        else {
            return;
        };
        let (policy, Some(stored)) = (&declaration.policy, self.store.stored(&id)) else { return };
        let (before, mut after, revision) = (&stored.value, stored.value.clone(), stored.revision);
        let hold = self.hold(now_ms);
        let transitions = after.advance(policy, hold, now_ms);
        let Some(write) = self.to_write(&id, policy, revision, before, after, !transitions.is_empty(), hold)
        else {
            return;
        };
        let epoch = self.store.epoch().cloned();
        let decided = Decided { epoch, writes: vec![write], hold, read_ms: now_ms, ..Decided::default() };
        self.plan(
            self.now_ms + 1,
            Event::Commit(Box::new(Job::new(What::Timer, Origin::Nobody)), Box::new(decided)),
        );
        self.plan(self.now_ms + 200, Event::Timer(id));
    }

    /// Whether what is stored of a group fires.
    pub(crate) fn fires(&self, group: &Group) -> bool {
        let policy = self.history.policy();
        let Some(record) = self.store.record(&group.breaker) else { return false };
        let hinted = record.stored.as_ref().is_some_and(|stored| {
            stored.value.hints().get(&group.signal).is_some_and(|hint| hint.until_ms > self.store_ms())
        });
        hinted || record.shadow.signal(&group.signal).is_some_and(|signal| signal.fires(policy))
    }
}

struct OwnedPlan {
    targets: Vec<(BreakerId, (Policy, Evidence))>,
    seen: Option<(u64, u64, MonitorSeen)>,
}
