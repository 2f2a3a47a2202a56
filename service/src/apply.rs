//! A callback's way into the store: read, decide, write what nobody else wrote between, and again what was refused.
//!
//! Several instances and callbacks work at once without a lock: each write names the revision that it was decided
//! on, and only what lost that race is read and decided again. The result does not depend on who came first.
//!
//! Left out: whether the callback may be believed (`callback`), and what one script can hold (the store).

use crate::decision::{Decision, decide};
use cutout_core::plan::Undeclared;
use cutout_core::report::Inventory;
use cutout_core::{Breaker, BreakerId, Callback, Declaration, Declared, MonitorSeen, Plan, plan, plan_gone};
use cutout_flags::{Committed, Epoch, Read, Store, StoreError, Stored, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often one callback is read and decided before its sender is asked to come again.
pub(crate) const ROUNDS_MAX: usize = 16;
/// The longest wait before what lost a race is decided again; the wait is drawn evenly below it.
const RACE_PAUSE_MAX_MS: u64 = 10;

/// What became of a callback.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// How many breakers it was for.
    pub(crate) applied: usize,
    /// How many flags it changed.
    pub(crate) changed: usize,
    /// Groups that touch no breaker, each with the reason.
    pub(crate) unkeyed: Vec<String>,
}

/// Why a callback was not applied. What was written of it stays: it holds, and the callback will come again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// Nobody listens to its monitor.
    #[error(transparent)]
    Undeclared(#[from] Undeclared),
    /// The store failed.
    #[error("the store of breakers failed")]
    Store(#[from] StoreError),
    /// Others kept writing the same breakers.
    #[error("others wrote the same breakers in each of {ROUNDS_MAX} rounds")]
    Contended,
}

/// What is to be applied.
#[derive(Clone, Copy)]
enum Subject<'a> {
    /// A callback.
    Callback(&'a Callback),
    /// An inventory lacks this monitor.
    Gone { monitor_id: u64, as_of_ms: i64 },
}

impl Subject<'_> {
    fn monitor_id(&self) -> u64 {
        match self {
            Subject::Callback(callback) => callback.monitor_id,
            Subject::Gone { monitor_id, .. } => *monitor_id,
        }
    }

    fn plan<'d>(
        &self,
        declarations: &'d [Declaration],
        stored: Option<&MonitorSeen>,
    ) -> Result<Plan<'d>, Undeclared> {
        match self {
            Subject::Callback(callback) => plan(declarations, callback, stored),
            Subject::Gone { monitor_id, as_of_ms } => {
                let nothing = MonitorSeen::default();
                Ok(plan_gone(declarations, *monitor_id, *as_of_ms, stored.unwrap_or(&nothing)))
            }
        }
    }
}

/// Applies `callback`. When this returns, everything that follows from it is committed.
pub(crate) async fn apply(
    store: &dyn Store,
    declarations: &[Declaration],
    callback: &Callback,
) -> Result<Applied, ApplyError> {
    apply_one(store, declarations, Subject::Callback(callback)).await
}

/// Applies `inventory`: lets the breakers know which monitors it lacks. Only what a scheduled run brought before can be
/// missed by one.
pub(crate) async fn apply_inventory(
    store: &dyn Store,
    declarations: &[Declaration],
    inventory: &Inventory,
) -> Result<Applied, ApplyError> {
    let known: BTreeSet<u64> = inventory.monitor_ids.iter().copied().collect();
    let as_of_ms = inventory.as_of.as_millisecond();
    let mut all = Applied::default();
    for (monitor_id, _) in
        store.monitors().await?.into_iter().filter(|(id, stored)| stored.value.managed && !known.contains(id))
    {
        let applied = apply_one(store, declarations, Subject::Gone { monitor_id, as_of_ms }).await?;
        all.applied += applied.applied;
        all.changed += applied.changed;
    }
    Ok(all)
}

async fn apply_one(
    store: &dyn Store,
    declarations: &[Declaration],
    subject: Subject<'_>,
) -> Result<Applied, ApplyError> {
    let mut rounds = Rounds { wanted: first_guess(declarations, subject), ..Rounds::default() };
    for _ in 0..ROUNDS_MAX {
        let read = store.read(&rounds.wanted, Some(subject.monitor_id())).await?;
        let Some(epoch) = read.epoch.clone() else {
            store.declare(&Declared::from_iter(declarations)).await?;
            continue;
        };
        rounds.enter(&epoch);
        let plan = subject.plan(declarations, read.monitor.as_ref().map(|stored| &stored.value))?;
        if !rounds.has_read(&plan) {
            continue;
        }
        let decisions = rounds.decide(&plan, &read);
        let monitor = monitor_write(subject.monitor_id(), &plan, &read);
        if rounds.commit(store, &epoch, decisions, monitor).await? {
            let applied = plan.targets.len();
            return Ok(Applied { applied, changed: rounds.changed, unkeyed: plan.unkeyed });
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..RACE_PAUSE_MAX_MS))).await;
    }
    Err(ApplyError::Contended)
}

/// The breakers that the subject is for as far as it tells by itself: one round trip is then enough. What the store
/// remembers of the monitor may add to them.
fn first_guess(declarations: &[Declaration], subject: Subject<'_>) -> Vec<BreakerId> {
    subject.plan(declarations, None).map(|plan| plan.targets.into_keys().collect()).unwrap_or_default()
}

/// What is known from one round to the next.
#[derive(Default)]
struct Rounds {
    /// The breakers to read.
    wanted: Vec<BreakerId>,
    /// Those that need no more: written, or unchanged.
    settled: BTreeSet<BreakerId>,
    /// How many flags were changed.
    changed: usize,
    /// The epoch of the last read.
    epoch: Option<Epoch>,
}

impl Rounds {
    /// Under another epoch nothing is left of what was written before.
    fn enter(&mut self, epoch: &Epoch) {
        if self.epoch.as_ref() != Some(epoch) {
            self.settled.clear();
            self.changed = 0;
            self.epoch = Some(epoch.clone());
        }
    }

    /// Whether all breakers that are still to be decided were read; if not, the next round reads them.
    fn has_read(&mut self, plan: &Plan<'_>) -> bool {
        let read: BTreeSet<&BreakerId> = self.wanted.iter().chain(&self.settled).collect();
        let complete = plan.targets.keys().all(|id| read.contains(id));
        if !complete {
            self.wanted = plan.targets.keys().filter(|id| !self.settled.contains(*id)).cloned().collect();
        }
        complete
    }

    /// Decides each breaker of the plan that is not settled yet.
    fn decide(&mut self, plan: &Plan<'_>, read: &Read) -> Vec<Decision> {
        let stored: BTreeMap<&BreakerId, Option<&Stored<Breaker>>> =
            self.wanted.iter().zip(read.breakers.iter().map(Option::as_ref)).collect();
        let open = plan.targets.iter().filter(|(id, _)| !self.settled.contains(*id));
        let decisions = open.filter_map(|(id, (declaration, evidence))| {
            let (policy, stored) = (&declaration.policy, stored.get(id).copied().flatten());
            decide(id, policy, stored, read.now_ms, |breaker| breaker.apply(policy, evidence, read.now_ms))
        });
        decisions.collect()
    }

    /// Writes. True: all of it was taken. False: what was refused is wanted in the next round.
    async fn commit(
        &mut self,
        store: &dyn Store,
        epoch: &Epoch,
        decisions: Vec<Decision>,
        monitor: Option<Write>,
    ) -> Result<bool, StoreError> {
        let writes: Vec<Write> =
            decisions.iter().map(|decision| decision.write.clone()).chain(monitor).collect();
        if writes.is_empty() {
            return Ok(true);
        }
        // Another epoch shows in the next read as well, which then starts over.
        let Committed::Taken(taken) = store.commit(epoch, &writes).await? else { return Ok(false) };
        let refused = decisions.iter().zip(&taken).filter(|(_, taken)| !**taken);
        let refused: BTreeSet<BreakerId> = refused.map(|(decision, _)| decision.id.clone()).collect();
        for decision in decisions.iter().filter(|decision| !refused.contains(&decision.id)) {
            decision.log();
            self.changed += usize::from(decision.publishes);
        }
        self.settled.extend(self.wanted.drain(..).filter(|id| !refused.contains(id)));
        self.wanted.extend(refused);
        Ok(taken.iter().all(|taken| *taken))
    }
}

/// What is to be remembered of the monitor, if that is news.
fn monitor_write(monitor_id: u64, plan: &Plan<'_>, read: &Read) -> Option<Write> {
    let stored = read.monitor.as_ref();
    let seen: &MonitorSeen = plan.seen.as_ref()?;
    seen.differs_from(stored.map(|stored| &stored.value)).then(|| Write::Monitor {
        monitor_id,
        expected: stored.map_or(0, |stored| stored.revision),
        seen: seen.clone(),
    })
}
