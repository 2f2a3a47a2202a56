//! One history, lived: the function, the instances of the service, the store and a caller, in virtual time.
//!
//! Everything that happens is an event with a time; equal times go in the order in which they were planned. What chance
//! does on the way comes from the history's own seed, so that a seed replays it exactly.

use crate::caller::Caller;
use crate::checker::{self, Verdict, broken};
use crate::dice::{Dice, Stream};
use crate::handlers::Rig;
use crate::history::{History, Ordering as Ordered, READ_LAG_MAX_MS, START_MS, StoreFault};
use crate::plants::Plant;
use crate::score::Score;
use crate::service::{Decided, Job, Origin, What};
use crate::shadow;
use crate::store::ModelStore;
use crate::wiring::{Plain, Wiring};
use cutout_core::{Act, BreakerId, Declaration, Declared, Order, Pause};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// The period that convergence is measured by where there is no scheduled run.
pub(crate) const PERIOD_MS: i64 = 60_000;
/// How long the last report may take on its way.
const SLACK_MS: i64 = 8_000;
/// When an instance sweeps again what it could not write.
const SWEEP_AGAIN_MS: i64 = 200;
/// How often an instance reads and decides one callback.
const ROUNDS_MAX: u8 = 16;
/// How many events a history may plan: fifty times what any of them needs. What goes on for ever is a finding too.
const EVENTS_MAX: u64 = 100_000;

/// What was seen to happen, to know that the faults are really there.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) callbacks: u64,
    pub(crate) writes: u64,
    pub(crate) conflicts: u64,
    pub(crate) crashes: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) hints_taken: u64,
    pub(crate) vanished: u64,
    pub(crate) losses: u64,
    pub(crate) snapshots: u64,
    pub(crate) redriven: u64,
    pub(crate) forced: u64,
    pub(crate) held: u64,
}

impl Tally {
    pub(crate) fn with(self, other: Tally) -> Tally {
        Tally {
            callbacks: self.callbacks + other.callbacks,
            writes: self.writes + other.writes,
            conflicts: self.conflicts + other.conflicts,
            crashes: self.crashes + other.crashes,
            failed_attempts: self.failed_attempts + other.failed_attempts,
            hints_taken: self.hints_taken + other.hints_taken,
            vanished: self.vanished + other.vanished,
            losses: self.losses + other.losses,
            snapshots: self.snapshots + other.snapshots,
            redriven: self.redriven + other.redriven,
            forced: self.forced + other.forced,
            held: self.held + other.held,
        }
    }
}

pub(crate) enum Event {
    /// A group changes.
    Change,
    /// The function is invoked with a notification, for the first, second or third time.
    Attempt {
        note: usize,
        nth: usize,
    },
    /// The function reads once more what did not agree.
    Reread {
        note: usize,
        left: usize,
    },
    /// The scheduled run.
    Tick,
    /// The inventory at its end.
    Inventory {
        monitor_ids: Vec<u64>,
        as_of_ms: i64,
    },
    /// An instance reads and decides.
    Read(Box<Job>),
    /// It writes.
    Commit(Box<Job>, Box<Decided>),
    /// Time has brought something to a breaker.
    Timer(BreakerId),
    /// Every flag is made to say what its record means now.
    Sweep,
    /// The caller reads; on its own account or because of a change.
    Poll {
        own: bool,
    },
    /// A person does something.
    Order(Ordered),
    ReplicaFallsBehind,
    StoreFault(StoreFault),
    /// An instance of the service starts again.
    Start(usize),
    /// All must be right.
    Converged,
}

struct Planned {
    at_ms: i64,
    nth: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Planned) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    /// The earliest is the greatest: the heap gives that one first.
    fn cmp(&self, other: &Planned) -> Ordering {
        (other.at_ms, other.nth).cmp(&(self.at_ms, self.nth))
    }
}

pub(crate) struct World<'a> {
    pub(crate) history: &'a History,
    pub(crate) wiring: Wiring,
    pub(crate) plant: Option<Plant>,
    /// As the service uses them: a planted bug may change them.
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) store: ModelStore,
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    /// True time.
    pub(crate) now_ms: i64,
    queue: BinaryHeap<Planned>,
    planned: u64,
    pub(crate) caller: Option<Caller>,
    /// What people ordered that is in force, as every instance remembers it.
    pub(crate) ordered: BTreeMap<BreakerId, shadow::Ordered>,
    pause: Option<Pause>,
    pub(crate) score: Option<Score>,
    trace: Option<Vec<String>>,
    /// Until when ticks and polls go on.
    pub(crate) until_ms: i64,
    /// The real service and followers, where they live this history.
    pub(crate) rig: Option<Box<Rig>>,
}

/// How a history ended.
pub(crate) struct Lived {
    pub(crate) verdict: Verdict,
    pub(crate) tally: Tally,
    /// Milliseconds in which signals and groups differed, where they were counted.
    pub(crate) wrong_ms: i64,
    /// What happened, where it was to be told.
    pub(crate) trace: Vec<String>,
}

impl Lived {
    /// Something in it panicked, which no input may bring about.
    pub(crate) fn panicked() -> Lived {
        Lived {
            verdict: broken("no panic", "it panicked"),
            tally: Tally::default(),
            wrong_ms: 0,
            trace: Vec::new(),
        }
    }
}

/// What of a history is wanted besides its verdict.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    pub(crate) score: bool,
    pub(crate) trace: bool,
}

/// Lives a history.
pub(crate) fn live(history: &History, wiring: Wiring, plant: Option<Plant>, wanted: Wanted) -> Lived {
    let Some(mut world) = World::new(history, wiring, plant, wanted) else {
        let verdict = broken("setup", "a memory store gives no snapshot");
        return Lived { verdict, tally: Tally::default(), wrong_ms: 0, trace: Vec::new() };
    };
    world.plan_history();
    let verdict = world.run();
    world.end(verdict)
}

impl<'a> World<'a> {
    /// A world in which nothing is planned yet.
    pub(crate) fn new(
        history: &'a History,
        wiring: Wiring,
        plant: Option<Plant>,
        wanted: Wanted,
    ) -> Option<World<'a>> {
        let declarations = crate::planted::declarations(history, plant);
        let kept = history.caller.as_ref().map_or(10_000, |caller| caller.kept);
        let store = ModelStore::new(Declared::new(0, &declarations), kept)?;
        let mut world = World {
            history,
            wiring,
            plant,
            declarations,
            store,
            dice: Dice::new(history.seed, Stream::Way),
            tally: Tally::default(),
            now_ms: START_MS,
            queue: BinaryHeap::new(),
            planned: 0,
            caller: history.caller.as_ref().map(|_| Caller::new()),
            ordered: BTreeMap::new(),
            pause: None,
            score: wanted.score.then(|| Score::new(history)),
            trace: wanted.trace.then(Vec::new),
            until_ms: history.quiet_ms
                + READ_LAG_MAX_MS
                + PERIOD_MS
                + history.vanish_ms
                + history.profile.rest_ms
                + SLACK_MS,
            rig: None,
        };
        world.store.compares = plant != Some(Plant::NoCompareAndSet);
        Some(world)
    }

    /// What came of it.
    pub(crate) fn end(mut self, verdict: Verdict) -> Lived {
        self.tally.snapshots += self.caller.as_ref().map_or(0, |caller| caller.snapshots);
        let wrong_ms = self.score.as_mut().map_or(0, |score| score.end(self.now_ms));
        Lived { verdict, tally: self.tally, wrong_ms, trace: self.trace.unwrap_or_default() }
    }
}

impl World<'_> {
    pub(crate) fn plan_history(&mut self) {
        let history = self.history;
        for (nth, note) in history.notes.iter().enumerate() {
            for copy_ms in &note.copies_ms {
                self.plan(*copy_ms, Event::Attempt { note: nth, nth: 0 });
            }
        }
        for (at_ms, fault) in &history.store_faults {
            if let StoreFault::Failover { missing_ms } = fault {
                self.plan(*at_ms - missing_ms, Event::ReplicaFallsBehind);
            }
            self.plan(*at_ms, Event::StoreFault(*fault));
        }
        for (at_ms, order) in &history.orders {
            self.plan(*at_ms, Event::Order(order.clone()));
        }
        if self.score.is_some() || self.trace.is_some() {
            let changes: Vec<i64> =
                history.groups().flat_map(|group| &group.levels).map(|level| level.at_ms).collect();
            changes
                .into_iter()
                .filter(|at_ms| *at_ms >= START_MS)
                .for_each(|at_ms| self.plan(at_ms, Event::Change));
        }
        self.plan(
            START_MS + history.tick_phase_ms.rem_euclid(self.wiring.period_ms.unwrap_or(PERIOD_MS)),
            Event::Tick,
        );
        self.plan(START_MS, Event::Poll { own: true });
        self.plan(self.until_ms, Event::Converged);
        if let Some(redrive_ms) = history.redrive_ms.filter(|_| self.plant != Some(Plant::ReconcileOff)) {
            self.plan_redrive(redrive_ms);
        }
    }

    /// Hours later, after nothing happened, some old messages are sent again.
    fn plan_redrive(&mut self, redrive_ms: i64) {
        self.plan(redrive_ms - 40_000, Event::Tick);
        self.plan(redrive_ms - 50_000, Event::Poll { own: true });
        for note in 0..self.history.notes.len().min(3) {
            self.plan(redrive_ms, Event::Attempt { note, nth: 2 });
            self.tally.redriven += 1;
        }
        self.plan(redrive_ms + READ_LAG_MAX_MS + PERIOD_MS + self.history.vanish_ms, Event::Converged);
    }

    pub(crate) fn plan(&mut self, at_ms: i64, event: Event) {
        self.planned += 1;
        self.queue.push(Planned { at_ms, nth: self.planned, event });
    }

    /// When the next event is due; none: all is done.
    pub(crate) fn next_ms(&self) -> Option<i64> {
        self.queue.peek().map(|planned| planned.at_ms)
    }

    /// Lets the next event happen.
    pub(crate) fn step(&mut self) -> Verdict {
        let Some(Planned { at_ms, event, .. }) = self.queue.pop() else { return Ok(()) };
        self.now_ms = self.now_ms.max(at_ms);
        if self.planned > EVENTS_MAX {
            return broken("11 what happens has an end", format!("{EVENTS_MAX} events and more to come"));
        }
        self.handle(event)
    }

    fn run(&mut self) -> Verdict {
        while self.next_ms().is_some() {
            self.step()?;
            if let Some(mut score) = self.score.take() {
                score.look(self);
                self.score = Some(score);
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Verdict {
        match event {
            Event::Change => self.tell_changes(),
            Event::Attempt { note, nth } => self.attempt(note, nth),
            Event::Reread { note, left } => self.reread(note, left),
            Event::Tick => self.tick(),
            Event::Inventory { monitor_ids, as_of_ms } => self.inventory(monitor_ids, as_of_ms),
            Event::Read(job) if self.rig.is_some() => return self.post(job),
            Event::Read(job) => return self.read(job),
            Event::Commit(job, decided) => return self.commit(job, *decided),
            Event::Timer(id) => self.timer(id),
            Event::Sweep if self.history.store_is_away(self.now_ms) => {
                self.plan(self.now_ms + SWEEP_AGAIN_MS, Event::Sweep);
            }
            Event::Sweep => self.sweep(),
            Event::Poll { own } => return self.poll(own),
            Event::Order(order) if self.rig.is_some() => self.give_order(order),
            Event::Order(order) => return self.order(order),
            Event::Start(instance) => self.start_instance(instance),
            Event::ReplicaFallsBehind => {
                self.store.mark_replica();
                self.rig.iter().for_each(|rig| rig.disk.mark_replica());
            }
            Event::StoreFault(fault) => self.store_fault(fault),
            Event::Converged => return self.converged(),
        }
        Ok(())
    }

    /// Whether something goes wrong now, in so many of a thousand cases. Nothing does once it is quiet.
    pub(crate) fn fails(&mut self, permille: u32) -> bool {
        self.dice.permille(permille) && self.now_ms < self.history.quiet_ms
    }

    /// The store's clock.
    pub(crate) fn store_ms(&self) -> i64 {
        self.now_ms + self.history.store_skew_ms
    }

    fn read(&mut self, job: Box<Job>) -> Verdict {
        let spared = job.origin == Origin::Tick && self.dice.permille(self.history.profile.outage_spares);
        let away = job.rounds == 0 && self.history.in_outage(self.now_ms) && !spared;
        if away || self.history.store_is_away(self.now_ms) {
            self.trace(|| format!("service: does not answer {job}"));
            self.fail(job.origin);
            return Ok(());
        }
        if job.rounds == ROUNDS_MAX {
            self.fail(job.origin);
            return Ok(());
        }
        self.tally.callbacks += u64::from(job.rounds == 0);
        if let Some(plain) = self.wiring.plain {
            self.set_plainly(plain, &job);
            return Ok(());
        }
        let Some(decided) = self.decide(&job)? else { return Ok(()) };
        self.trace(|| format!("service: decided {decided} on {job}"));
        if self.plant == Some(Plant::AnswerBeforeCommit) {
            self.answer(&job, &decided)?;
        }
        if decided.is_empty() {
            return self.answer(&job, &decided);
        }
        let pause_ms = if self.dice.permille(50) { self.dice.ms(20..=2_000) } else { self.dice.ms(1..=20) };
        self.plan(self.now_ms + pause_ms, Event::Commit(job, Box::new(decided)));
        Ok(())
    }

    fn commit(&mut self, mut job: Box<Job>, decided: Decided) -> Verdict {
        if self.fails(self.history.profile.crash) || self.history.store_is_away(self.now_ms) {
            self.tally.crashes += 1;
            self.trace(|| format!("service: crashes before it writes {job}"));
            self.sweep_again(&job);
            self.fail(job.origin);
            return Ok(());
        }
        let (whole, decided) = self.write(&job, decided)?;
        if !whole {
            self.tally.conflicts += 1;
            job.rounds += 1;
            self.trace(|| format!("service: another was first, again: {job}"));
            self.sweep_again(&job);
            let again_ms = self.now_ms + self.dice.ms(0..=10);
            self.plan(again_ms, Event::Read(job));
            return Ok(());
        }
        if self.fails(self.history.profile.crash) {
            self.tally.crashes += 1;
            self.trace(|| format!("service: crashes before it answers {job}"));
            self.fail(job.origin);
            return Ok(());
        }
        self.answer(&job, &decided)
    }

    /// What time has brought and could not be written is looked at again, with all else.
    fn sweep_again(&mut self, job: &Job) {
        if let What::Timer = job.what {
            self.plan(self.now_ms + SWEEP_AGAIN_MS, Event::Sweep);
        }
    }

    /// A person orders something, at one instance; gives up if the store is away.
    fn order(&mut self, order: Ordered) -> Verdict {
        if self.history.store_is_away(self.now_ms) {
            return Ok(());
        }
        self.trace(|| format!("person: {order:?}"));
        let now_ms = self.store_ms();
        let until_ms = |for_ms: Option<i64>| for_ms.map(|for_ms| now_ms + for_ms);
        match order {
            Ordered::Force { breaker, state, for_ms } => {
                self.plan_order(breaker, Act::Force { state, until_ms: until_ms(for_ms) });
            }
            Ordered::Clear { breaker } => self.plan_order(breaker, Act::Clear),
            Ordered::Pause { for_ms } => {
                let (by, why) = ("somebody".to_owned(), "a test".to_owned());
                self.begin_life()?;
                let pause = Pause { by, why, since_ms: now_ms, until_ms: until_ms(for_ms) };
                self.pause = Some(pause.clone());
                self.store.set_pause(Some(pause));
                self.plan(self.now_ms + 5, Event::Sweep);
                if let Some(for_ms) = for_ms {
                    // Instances look at what a pause held back when it ends by its time.
                    let late_ms = self.dice.ms(250..=500);
                    self.plan(self.now_ms + for_ms + late_ms, Event::Sweep);
                }
            }
            Ordered::Resume => {
                self.pause = None;
                self.store.set_pause(None);
                self.plan(self.now_ms + 5, Event::Sweep);
            }
        }
        Ok(())
    }

    fn plan_order(&mut self, id: BreakerId, act: Act) {
        let order = Order { by: "somebody".to_owned(), why: "a test".to_owned(), act };
        let job = Job::new(What::Order(id, order), Origin::Nobody);
        self.plan(self.now_ms, Event::Read(Box::new(job)));
    }

    /// Declares the breakers where that was lost, and brings back what people ordered.
    pub(crate) fn begin_life(&mut self) -> Verdict {
        if !self.store.declare() {
            return Ok(());
        }
        let now_ms = self.store_ms();
        let restores = self.plant != Some(Plant::OverrideNotRestored);
        self.store.set_pause(self.pause.clone().filter(|pause| pause.holds_at(now_ms)));
        for (id, ordered) in self.ordered.clone() {
            if !ordered.holds_at(now_ms) {
                continue;
            }
            self.store.shadow(&id).ordered = Some(ordered);
            if restores {
                self.restore(&id, ordered)?;
            }
        }
        Ok(())
    }

    /// 200. What ended without a report is an error of the function all the same.
    fn answer(&mut self, job: &Job, decided: &Decided) -> Verdict {
        for (id, evidence) in &decided.evidence {
            checker::answered(self.history.policy(), &self.store, id, evidence)?;
        }
        if let Origin::Note { whole: false, .. } = job.origin {
            self.fail(job.origin);
        }
        Ok(())
    }

    fn store_fault(&mut self, fault: StoreFault) {
        self.tally.losses += 1;
        self.trace(|| format!("store: {fault:?}"));
        self.remember_orders(fault);
        match fault {
            StoreFault::Lost => {
                self.store.lose();
                self.rig.iter_mut().for_each(|rig| rig.lose());
            }
            StoreFault::Failover { .. } => {
                self.store.fail_over();
                self.rig.iter_mut().for_each(|rig| rig.fail_over());
                self.caller.iter_mut().for_each(Caller::disconnect);
            }
        }
        let due: Vec<(BreakerId, i64)> = self
            .store
            .flags()
            .iter()
            .filter_map(|(id, published)| Some((id.clone(), published.flag.next_change_ms()?)))
            .collect();
        due.into_iter().for_each(|(id, at_ms)| self.plan_timer(id, at_ms));
        self.plan(self.now_ms + 1, Event::Poll { own: false });
    }

    /// Plans to look at a breaker when time brings something, by the store's clock.
    pub(crate) fn plan_timer(&mut self, id: BreakerId, at_ms: i64) {
        if self.rig.is_none() && self.plant != Some(Plant::NoTimers) {
            let true_ms = at_ms - self.history.store_skew_ms;
            let at_ms = true_ms.max(self.now_ms) + self.dice.ms(0..=500);
            self.plan(at_ms, Event::Timer(id));
        }
    }

    /// Lets the caller see what was published.
    pub(crate) fn plan_poll(&mut self) {
        if let Some(plan) = self.history.caller.as_ref().filter(|_| self.caller.is_some()) {
            let at_ms = self.now_ms + self.dice.ms(5..=plan.slow_ms);
            self.plan(at_ms, Event::Poll { own: false });
        }
    }

    fn poll(&mut self, own: bool) -> Verdict {
        let (Some(caller), Some(plan)) = (&mut self.caller, &self.history.caller) else { return Ok(()) };
        let away = plan.away.iter().chain(&self.history.store_away).find(|window| window.holds(self.now_ms));
        if let Some(away) = away {
            caller.disconnect();
            self.plan(away.to_ms, Event::Poll { own });
            return Ok(());
        }
        let told = caller.read(&self.store, self.now_ms, self.plant);
        let next_ms = caller.snapshot_due_ms;
        if own && next_ms <= self.until_ms {
            self.plan(next_ms.max(self.now_ms + 1), Event::Poll { own });
        }
        told.or_else(|what| broken("9 a caller knows what the store shows", what))
    }

    fn converged(&mut self) -> Verdict {
        if self.rig.is_some() {
            return self.all_is_right();
        }
        if self.wiring.is_whole() {
            checker::converged(self.history, &self.store, self.now_ms)?;
            self.poll(false)?;
        }
        Ok(())
    }

    pub(crate) fn trace(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at_ms = self.now_ms - START_MS;
            trace.push(format!("{:>6}.{:03} s  {}", at_ms / 1000, at_ms % 1000, what()));
        }
    }

    fn tell_changes(&mut self) {
        let history = self.history;
        for group in history.groups() {
            if let Some(level) = group.levels.iter().find(|level| level.at_ms == self.now_ms) {
                let (id, shows) = (String::from(group.signal.clone()), &level.shows);
                self.trace(|| format!("datadog: {id} is now {shows:?}"));
            }
        }
    }
}

impl World<'_> {
    fn set_plainly(&mut self, plain: Plain, job: &Job) {
        if let Some(mut score) = self.score.take() {
            score.set_plainly(plain, job, self.history);
            self.score = Some(score);
        }
    }
}
