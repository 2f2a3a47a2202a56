//! An instance of the service: reads, lets core decide, writes by compare-and-set, and again what was refused.
//!
//! What is decided is core's; here is only the way there, as in the service itself. The handlers themselves run at the
//! other level. Planted bugs sit here, in what core is told.

use crate::checker::{self, Verdict, Violation};
use crate::history::{Group, History};
use crate::plants::Plant;
use crate::world::{Event, World};
use cutout_core::hint::HINT_AGE_LIMIT_MS;
use cutout_core::observation::Observation;
use cutout_core::report::{NotifiedTransition, Status};
use cutout_core::{
    Breaker, BreakerId, Callback, Declaration, Evidence, Flag, MonitorSeen, Plan, Tags, plan, plan_gone,
};
use cutout_flags::Epoch;
use std::fmt;

/// What an instance works on.
pub(crate) enum What {
    Callback(Callback),
    Gone { monitor_id: u64, as_of_ms: i64 },
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
                        write!(f, " [{tags} {status} since {changed:?}{}]", if muted { " muted" } else { "" })?;
                    }
                }
                Ok(())
            }
            What::Gone { monitor_id, as_of_ms } => write!(f, "that monitor {monitor_id} is gone as of {as_of_ms}"),
            What::Timer => f.write_str("what time has brought"),
        }
    }
}

/// What was decided, to be written.
#[derive(Default)]
pub(crate) struct Decided {
    epoch: Option<Epoch>,
    writes: Vec<(BreakerId, u64, Breaker, Option<Flag>)>,
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

/// The declarations as the service uses them.
pub(crate) fn declarations(history: &History, plant: Option<Plant>) -> Vec<Declaration> {
    let mut declarations = history.declarations.clone();
    for declaration in &mut declarations {
        match plant {
            Some(Plant::FullClose) => declaration.policy.ramp_ms = 0,
            Some(Plant::NoMinOpen) => declaration.policy.min_open_ms = 0,
            Some(Plant::NoKey) => declaration.key.clear(),
            _ => {}
        }
    }
    declarations
}

impl World<'_> {
    /// Reads and decides. None: there is nothing to do.
    pub(crate) fn decide(&mut self, job: &Job) -> Result<Option<Decided>, Violation> {
        self.store.declare();
        let now_ms = self.store_ms();
        let Some(plan) = self.plan_of(job) else { return Ok(None) };
        let mut decided = Decided { epoch: self.store.epoch().cloned(), read_ms: now_ms, ..Decided::default() };
        for (id, (declaration, evidence)) in plan.targets {
            let stored = self.store.stored(&id);
            let revision = stored.map_or(0, |stored| stored.revision);
            let before = stored.map_or_else(|| Breaker::new(now_ms), |stored| stored.value.clone());
            let policy = &declaration.policy;
            let mut after = self.forget(before.clone(), &evidence, job);
            let told = self.told(&evidence, &before, now_ms);
            after.apply(policy, &told, now_ms);
            if self.plant == Some(Plant::VanishedAtOnce) {
                let twice = told.complete_as_of_ms.map(|as_of_ms| as_of_ms + 60_000);
                after.apply(policy, &Evidence { complete_as_of_ms: twice, ..told }, now_ms);
            }
            if after != before || self.plant == Some(Plant::PublishesAlways) {
                let flag = after.flag(policy);
                let publishes = revision == 0
                    || flag != before.flag(policy)
                    || self.plant == Some(Plant::PublishesAlways);
                decided.writes.push((id.clone(), revision, after, publishes.then_some(flag)));
                decided.evidence.push((id, evidence));
            } else {
                // What needs no write is in the store as of now.
                self.take(&id, &evidence, now_ms, false)?;
                checker::answered(&self.store, &id, &evidence)?;
            }
        }
        decided.monitor = plan.seen;
        Ok(Some(decided))
    }

    fn plan_of(&self, job: &Job) -> Option<OwnedPlan> {
        let (monitor_id, stored) = match &job.what {
            What::Callback(callback) => (callback.monitor_id, self.store.monitor(callback.monitor_id)),
            What::Gone { monitor_id, .. } => (*monitor_id, self.store.monitor(*monitor_id)),
            What::Timer => return None,
        };
        let seen = stored.map(|stored| &stored.value);
        let plan: Plan<'_> = match &job.what {
            What::Callback(callback) => plan(&self.declarations, callback, seen).ok()?,
            What::Gone { as_of_ms, .. } => plan_gone(&self.declarations, monitor_id, *as_of_ms, seen?),
            What::Timer => return None,
        };
        let revision = stored.map_or(0, |stored| stored.revision);
        let news = plan.seen.filter(|now| now.differs_from(seen)).map(|now| (monitor_id, revision, now));
        let targets = plan.targets.into_iter().map(|(id, (declaration, evidence))| (id, (declaration.clone(), evidence)));
        Some(OwnedPlan { targets: targets.collect(), seen: news })
    }

    /// Writes what nobody else wrote between. False: some of it was refused.
    pub(crate) fn write(&mut self, job: &Job, decided: Decided) -> Result<(bool, Decided), Violation> {
        let Decided { epoch, writes, monitor, evidence, read_ms } = decided;
        if self.store.epoch() != epoch.as_ref() {
            return Ok((false, Decided::default()));
        }
        let mut refused = Vec::new();
        for (id, expected, breaker, flag) in writes {
            if self.write_one(&id, expected, breaker, flag, read_ms)? {
                self.trace(|| format!("service: writes {id} after {job}"));
                if let What::Timer = job.what {
                    self.judge(&id, read_ms)?;
                }
            } else {
                refused.push(id);
            }
        }
        for (id, evidence) in evidence.iter().filter(|(id, _)| !refused.contains(id)) {
            self.take(id, evidence, read_ms, true)?;
        }
        let known = monitor.is_none_or(|(id, expected, seen)| self.store.write_monitor(id, expected, seen));
        let rest = Decided { evidence, ..Decided::default() };
        Ok((refused.is_empty() && known, rest))
    }

    fn write_one(
        &mut self,
        id: &BreakerId,
        expected: u64,
        breaker: Breaker,
        flag: Option<Flag>,
        read_ms: i64,
    ) -> Result<bool, Violation> {
        let before = self.store.flags().get(id).map(|published| published.flag);
        if !self.store.write(id, expected, breaker, flag) {
            return Ok(false);
        }
        self.tally.writes += 1;
        if let (Some(flag), Some(stored)) = (flag, self.store.stored(id)) {
            let policy = self.history.policy();
            checker::published(policy, id, before.as_ref(), &flag, &stored.value, read_ms)?;
            self.plan_poll();
            if let Some(next) = flag.next {
                self.plan_timer(id.clone(), next.at_ms);
            }
            self.trace(|| format!("store: {id} is {:?}", flag));
        }
        Ok(true)
    }

    /// Notes what is now in the store, and judges the record.
    fn take(&mut self, id: &BreakerId, evidence: &Evidence, now_ms: i64, written: bool) -> Verdict {
        if self.store.stored(id).is_some() {
            self.store.shadow(id).take(self.history.policy(), evidence, now_ms, written);
        }
        self.judge(id, now_ms)
    }

    /// Judges a record after a write.
    fn judge(&mut self, id: &BreakerId, now_ms: i64) -> Verdict {
        let Some(record) = self.store.record(id) else { return Ok(()) };
        if let Some(stored) = &record.stored {
            self.tally.hints_taken += u64::from(!stored.value.hints().is_empty());
            self.tally.vanished += u64::from(stored.value.signals().values().any(|signal| signal.vanished));
        }
        if self.wiring.has_other_rules() {
            return Ok(());
        }
        checker::record(self.history.policy(), id, record, now_ms)
    }

    /// Looks at a breaker to which time has brought something.
    pub(crate) fn timer(&mut self, id: BreakerId) {
        if self.history.store_is_away(self.now_ms) {
            let again_ms = self.now_ms + 1_000;
            return self.plan(again_ms, Event::Timer(id));
        }
        let now_ms = self.store_ms();
        let Some(declaration) = self.declarations.iter().find(|declaration| declaration.name == id.name()) else {
            return;
        };
        let (policy, Some(stored)) = (&declaration.policy, self.store.stored(&id)) else { return };
        let (before, mut after, revision) = (&stored.value, stored.value.clone(), stored.revision);
        after.advance(policy, now_ms);
        if after == *before {
            return;
        }
        let flag = Some(after.flag(policy)).filter(|flag| *flag != before.flag(policy));
        let writes = vec![(id.clone(), revision, after, flag)];
        let epoch = self.store.epoch().cloned();
        let decided = Decided { epoch, writes, read_ms: now_ms, ..Decided::default() };
        self.plan(self.now_ms + 1, Event::Commit(Box::new(Job::new(What::Timer, Origin::Nobody)), Box::new(decided)));
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

    /// The evidence as core is told it: the same, unless a bug is planted.
    fn told(&self, evidence: &Evidence, before: &Breaker, now_ms: i64) -> Evidence {
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
                    told.groups.push((claim.group, Observation { status, changed_at_ms, as_of_ms, muted: false }));
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
            if let Some(claim) = told.claim.as_mut().filter(|claim| seen.is_none_or(|seen| seen < claim.at_ms)) {
                claim.at_ms = claim.at_ms.max(now_ms - HINT_AGE_LIMIT_MS);
            }
        }
        if let (Some(past_ms), Some(as_of_ms)) = (self.wiring.seen_past_ms, told.complete_as_of_ms) {
            told.latest_change_ms = told.latest_change_ms.max(Some(as_of_ms - past_ms));
        }
    }

    /// The record without what a scheduled run overwrites, where that bug is planted.
    fn forget(&self, breaker: Breaker, evidence: &Evidence, job: &Job) -> Breaker {
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

struct OwnedPlan {
    targets: Vec<(BreakerId, (Declaration, Evidence))>,
    seen: Option<(u64, u64, MonitorSeen)>,
}

/// Lets arrival decide between two reads that are equally new.
fn break_ties(plant: Plant, told: &mut Evidence, before: &Breaker) {
    let monitor_id = told.monitor_id;
    let ties = |tags: &Tags, seen: &Observation| {
        let stored = before.signals().iter().find(|(id, _)| id.monitor_id == monitor_id && id.group == tags.to_string());
        stored.is_some_and(|(_, signal)| {
            let latest = &signal.latest;
            latest.changed_at_ms == seen.changed_at_ms && latest.as_of_ms == seen.as_of_ms && latest.status != seen.status
        })
    };
    match plant {
        Plant::TiesByArrival => {
            told.groups.iter_mut().filter(|(tags, seen)| ties(tags, seen)).for_each(|(_, seen)| seen.as_of_ms += 1);
        }
        _ => told.groups.retain(|(tags, seen)| !ties(tags, seen)),
    }
}
