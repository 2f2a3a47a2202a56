//! A callback's way into the store: read, decide, write what nobody else wrote between, and again what was refused.
//!
//! Several instances and callbacks work at once: each write names the revision that it was decided on, and only what lost
//! that race is read and decided again. The result does not depend on who came first. Those of one monitor stand in line here
//! (`queue`), so that they do not race each other.
//!
//! Left out: whether the callback may be believed (`callback`), and what one script can hold (the store).

use crate::Shared;
use crate::decision::{Before, Decision, decide};
use crate::term::{StandsBack, TermError, in_force, pause_of};
use cutout_core::plan::Undeclared;
use cutout_core::report::Inventory;
use cutout_core::{
    Breaker, BreakerId, Callback, Declaration, Family, MonitorSeen, Plan, State, plan, plan_gone,
};
use cutout_flags::{Committed, Links, Read, StoreError, Stored, Term, Write};
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
    /// New keys beyond `max_keys`: they were not taken in.
    pub(crate) refused: BTreeSet<BreakerId>,
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
    /// Records stand in the store that cannot be read. All others of the callback are committed.
    #[error("the records of {count} breakers cannot be read, {first} is the first: all others are committed")]
    Unreadable {
        /// The first of them.
        first: BreakerId,
        /// How many there are.
        count: usize,
    },
    /// Another instance has a newer breakers' file.
    #[error(transparent)]
    StandsBack(#[from] StandsBack),
    /// Others kept writing the same breakers.
    #[error("others wrote the same breakers in each of {ROUNDS_MAX} rounds")]
    Contended,
}

impl From<TermError> for ApplyError {
    fn from(error: TermError) -> ApplyError {
        match error {
            TermError::StandsBack(stands_back) => stands_back.into(),
            TermError::Store(error) => error.into(),
        }
    }
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

    /// Where a person sees what brought it; none: nowhere that is known.
    fn links(&self, stored: Option<&MonitorSeen>) -> Option<Links> {
        let (told, event) = match self {
            Subject::Callback(Callback { report, event, .. }) => {
                (report.as_ref().map(|report| &report.monitor.url), event.as_ref().map(|event| &event.url))
            }
            Subject::Gone { .. } => (None, None),
        };
        let monitor = told.or_else(|| stored.map(|stored| &stored.url));
        let links = Links {
            monitor: monitor.and_then(|url| web_link(url)),
            event: event.and_then(|url| web_link(url)),
        };
        (links != Links::default()).then_some(links)
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

/// A URL that may become a link on a page: who signs callbacks need not be trusted with a script.
pub(crate) fn web_link(url: &str) -> Option<String> {
    (url.starts_with("https://") || url.starts_with("http://")).then(|| url.to_owned())
}

/// Applies `callback`. When this returns, everything that follows from it is committed.
pub(crate) async fn apply(shared: &Shared, callback: &Callback) -> Result<Applied, ApplyError> {
    apply_one(shared, Subject::Callback(callback)).await
}

/// Applies `inventory`: lets the breakers know which monitors it lacks. Only what a scheduled run brought before can be
/// missed by one.
pub(crate) async fn apply_inventory(shared: &Shared, inventory: &Inventory) -> Result<Applied, ApplyError> {
    let known: BTreeSet<u64> = inventory.monitor_ids.iter().copied().collect();
    let as_of_ms = inventory.as_of.as_millisecond();
    let mut all = Applied::default();
    let monitors = shared.parts.store.monitors().await?;
    for (monitor_id, _) in
        monitors.into_iter().filter(|(id, stored)| stored.value.managed && !known.contains(id))
    {
        let applied = apply_one(shared, Subject::Gone { monitor_id, as_of_ms }).await?;
        all.applied += applied.applied;
        all.changed += applied.changed;
    }
    Ok(all)
}

async fn apply_one(shared: &Shared, subject: Subject<'_>) -> Result<Applied, ApplyError> {
    let store = &*shared.parts.store;
    let _turn = shared.queues.turn(subject.monitor_id()).await;
    let wanted = first_guess(&shared.breakers().declarations, subject);
    let mut rounds = Rounds { wanted, ..Rounds::default() };
    for _ in 0..ROUNDS_MAX {
        let breakers = shared.breakers();
        let read = store.read(&rounds.wanted, Some(subject.monitor_id())).await?;
        let Some(term) = in_force(shared, &read).await? else { continue };
        rounds.enter(&term);
        let plan = subject.plan(&breakers.declarations, read.monitor.as_ref().map(|stored| &stored.value))?;
        if !rounds.has_read(&plan) {
            continue;
        }
        let links = subject.links(read.monitor.as_ref().map(|stored| &stored.value));
        let decisions = rounds.decide(&plan, &read, links.as_ref());
        let monitor = monitor_write(subject.monitor_id(), &plan, &read);
        if rounds.commit(shared, &term, decisions, monitor).await? {
            let Rounds { changed, refused, unreadable, .. } = rounds;
            if let Some(first) = unreadable.first().cloned() {
                return Err(ApplyError::Unreadable { first, count: unreadable.len() });
            }
            let applied = plan.targets.len() - refused.len();
            return Ok(Applied { applied, changed, unkeyed: plan.unkeyed, refused });
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
    /// New keys that `max_keys` refuses.
    refused: BTreeSet<BreakerId>,
    /// Those whose records cannot be read.
    unreadable: BTreeSet<BreakerId>,
    /// The term of the last read.
    term: Option<Term>,
}

impl Rounds {
    /// Under another term nothing need be left of what was written before.
    fn enter(&mut self, term: &Term) {
        if self.term.as_ref() != Some(term) {
            self.settled.clear();
            self.changed = 0;
            self.term = Some(term.clone());
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
    fn decide(&mut self, plan: &Plan<'_>, read: &Read, links: Option<&Links>) -> Vec<Decision> {
        let stored: BTreeMap<&BreakerId, Option<&Stored<Breaker>>> =
            self.wanted.iter().zip(read.breakers.iter().map(Option::as_ref)).collect();
        let stored = |id: &BreakerId| stored.get(id).copied().flatten();
        let mut families = read.families.clone();
        self.refused = beyond_max_keys(
            plan,
            |id| stored(id).is_none() && !read.unreadable.contains(id),
            &self.settled,
            &mut families,
        );
        let (pause, now_ms) = (pause_of(read), read.now_ms);
        let mut decisions = Vec::new();
        self.unreadable.extend(read.unreadable.iter().cloned());
        let open = |id: &BreakerId| {
            !self.settled.contains(id) && !self.refused.contains(id) && !self.unreadable.contains(id)
        };
        for (id, (declaration, evidence)) in plan.targets.iter().filter(|(id, _)| open(id)) {
            let policy = &declaration.policy;
            let family = families.entry(id.name().to_owned()).or_default();
            let stored = stored(id);
            let is_closed = stored.is_none_or(|stored| stored.value.state() == State::Closed);
            let hold = pause.or_else(|| family.without(is_closed).hold(policy));
            let before = Before { stored, shown: None, hold, now_ms };
            let decision =
                decide(id, policy, &before, |breaker| breaker.apply(policy, evidence, hold, now_ms));
            if let Some(mut decision) = decision {
                links.into_iter().for_each(|links| decision.link(links));
                family.count(decision.closed.0, decision.closed.1);
                decisions.push(decision);
            }
        }
        decisions
    }

    /// Writes. True: all of it was taken. False: what was refused is wanted in the next round.
    async fn commit(
        &mut self,
        shared: &Shared,
        term: &Term,
        decisions: Vec<Decision>,
        monitor: Option<Write>,
    ) -> Result<bool, StoreError> {
        let writes: Vec<Write> =
            decisions.iter().map(|decision| decision.write.clone()).chain(monitor).collect();
        if writes.is_empty() {
            return Ok(true);
        }
        // Another term shows in the next read as well, which then starts over.
        let committed = shared.parts.store.commit(term, &writes).await?;
        let Committed::Taken(taken) = committed else { return Ok(false) };
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

/// Counts the plan's new keys into their families. Yields those that `max_keys` refuses.
fn beyond_max_keys(
    plan: &Plan<'_>,
    is_new: impl Fn(&BreakerId) -> bool,
    settled: &BTreeSet<BreakerId>,
    families: &mut BTreeMap<String, Family>,
) -> BTreeSet<BreakerId> {
    let news = plan.targets.iter().filter(|(id, (_, evidence))| {
        is_new(id) && !settled.contains(*id) && (!evidence.groups.is_empty() || evidence.claim.is_some())
    });
    let refused = news.filter(|(id, (declaration, _))| {
        let family = families.entry(id.name().to_owned()).or_default();
        family.grow(&declaration.policy, 1) > 0
    });
    refused.map(|(id, _)| id.clone()).collect()
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
