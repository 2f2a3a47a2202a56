//! One history, lived: the function, the instances of the service, the store and a caller, in virtual time.
//!
//! Everything that happens is an event with a time; equal times go in the order in which they were planned. What chance
//! does on the way comes from the history's own seed, so that a seed replays it exactly.

use crate::caller::Caller;
use crate::checker::{self, Verdict, broken};
use crate::dice::{Dice, Stream};
use crate::history::{self, History, Ordering as Ordered, READ_LAG_MAX_MS, START_MS, StoreFault, whole_secs};
use crate::plants::Plant;
use crate::score::Score;
use crate::service::{Decided, Job, Origin, What};
use crate::shadow;
use crate::store::ModelStore;
use crate::wiring::{Plain, Wiring};
use cutout_core::report::{CALLBACK_SCHEMA, Group, Monitor, Notified, Reason, Report};
use cutout_core::{Act, BreakerId, Callback, Declaration, Declared, Order, Pause};
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// When AWS invokes the function again after a failure, after the first and the second.
const RETRY_AFTER_MS: [i64; 2] = [60_000, 120_000];
/// The period that convergence is measured by where there is no scheduled run.
pub(crate) const PERIOD_MS: i64 = 60_000;
/// How long the last report may take on its way.
const SLACK_MS: i64 = 8_000;
/// How long the function waits before it reads again what did not agree.
const REREAD_EVERY_MS: i64 = 5_000;
/// How often an instance reads and decides one callback.
const ROUNDS_MAX: u8 = 16;

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
    caller: Option<Caller>,
    /// What people ordered that is in force, as every instance remembers it.
    pub(crate) ordered: BTreeMap<BreakerId, shadow::Ordered>,
    pause: Option<Pause>,
    pub(crate) score: Option<Score>,
    trace: Option<Vec<String>>,
    /// Until when ticks and polls go on.
    until_ms: i64,
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
    let declarations = crate::service::declarations(history, plant);
    let kept = history.caller.as_ref().map_or(10_000, |caller| caller.kept);
    let Some(store) = ModelStore::new(Declared::new(0, &declarations), kept) else {
        let verdict = broken("setup", "a memory store gives no snapshot");
        return Lived { verdict, tally: Tally::default(), wrong_ms: 0, trace: Vec::new() };
    };
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
    };
    world.store.compares = plant != Some(Plant::NoCompareAndSet);
    world.plan_history();
    let verdict = world.run();
    world.tally.snapshots += world.caller.as_ref().map_or(0, |caller| caller.snapshots);
    let wrong_ms = world.score.as_mut().map_or(0, |score| score.end(world.now_ms));
    Lived { verdict, tally: world.tally, wrong_ms, trace: world.trace.unwrap_or_default() }
}

impl World<'_> {
    fn plan_history(&mut self) {
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

    fn run(&mut self) -> Verdict {
        while let Some(Planned { at_ms, event, .. }) = self.queue.pop() {
            self.now_ms = self.now_ms.max(at_ms);
            self.handle(event)?;
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
            Event::Inventory { monitor_ids, as_of_ms } => self.inventory(&monitor_ids, as_of_ms),
            Event::Read(job) => return self.read(job),
            Event::Commit(job, decided) => return self.commit(job, *decided),
            Event::Timer(id) => self.timer(id),
            Event::Sweep => self.sweep(),
            Event::Poll { own } => return self.poll(own),
            Event::Order(order) => return self.order(order),
            Event::ReplicaFallsBehind => self.store.mark_replica(),
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

    fn attempt(&mut self, nth_note: usize, nth: usize) {
        let history = self.history;
        let note = &history.notes[nth_note];
        if self.fails(history.profile.attempt_fails) {
            self.trace(|| format!("function: invocation {nth} for message {nth_note} fails"));
            return self.fail(Origin::Note { note: nth_note, nth, whole: true });
        }
        let took_ms = self.dice.ms(50..=1_500);
        let read_fails = self.fails(history.profile.read_fails);
        let report = match self.wiring.report && !read_fails {
            true => self.report(note.monitor, self.now_ms + took_ms),
            false => None,
        };
        let gone = history.monitors[note.monitor].gone_ms.is_some_and(|gone_ms| self.now_ms >= gone_ms);
        let told = self.wiring.hint || self.wiring.plain.is_some();
        let origin = Origin::Note { note: nth_note, nth, whole: report.is_some() || !self.wiring.report };
        if (gone && self.wiring.report) || (report.is_none() && !told) {
            return self.fail(origin);
        }
        let tags = note.group.map(|group| history.monitors[note.monitor].groups[group].tags.clone());
        let notified = told.then(|| Notified { at: at(note.at_ms), transition: note.transition, tags });
        let callback = callback(Reason::Notification, history.monitors[note.monitor].id, notified, report);
        let arrives_ms = self.now_ms + took_ms + self.way_ms();
        let agrees = callback.shows_what_was_told();
        self.plan(arrives_ms, Event::Read(Box::new(Job::new(What::Callback(callback), origin))));
        if !agrees && self.wiring.rereads > 0 {
            self.plan(
                self.now_ms + REREAD_EVERY_MS,
                Event::Reread { note: nth_note, left: self.wiring.rereads },
            );
        }
    }

    /// The function looks again whether the report shows by now what the message tells, and sends it then.
    fn reread(&mut self, nth_note: usize, left: usize) {
        let note = &self.history.notes[nth_note];
        let took_ms = self.dice.ms(50..=1_500);
        let Some(report) = self.report(note.monitor, self.now_ms + took_ms) else { return };
        let monitor = &self.history.monitors[note.monitor];
        let tags = note.group.map(|group| monitor.groups[group].tags.clone());
        let notified = Some(Notified { at: at(note.at_ms), transition: note.transition, tags });
        let callback = callback(Reason::Notification, monitor.id, notified, Some(report));
        if callback.shows_what_was_told() {
            let arrives_ms = self.now_ms + took_ms + self.way_ms();
            self.plan(arrives_ms, Event::Read(Box::new(Job::new(What::Callback(callback), Origin::Nobody))));
        } else if left > 1 {
            self.plan(self.now_ms + REREAD_EVERY_MS, Event::Reread { note: nth_note, left: left - 1 });
        }
    }

    /// How long a callback takes from the function into the service's hands.
    fn way_ms(&mut self) -> i64 {
        let slow = self.fails(self.history.profile.slow_write);
        if slow { self.dice.ms(300..=33_000) } else { self.dice.ms(10..=300) }
    }

    /// The monitor as Datadog answers at `at_ms`; none if it is gone.
    fn report(&mut self, monitor: usize, at_ms: i64) -> Option<Report> {
        let lags = self.dice.permille(self.history.profile.read_lags);
        let lag_ms = if lags { self.dice.ms(0..=READ_LAG_MAX_MS) } else { 0 };
        self.report_as_of(monitor, at_ms, at_ms - lag_ms)
    }

    fn report_as_of(&self, monitor: usize, at_ms: i64, shows_ms: i64) -> Option<Report> {
        read_of(&self.history.monitors[monitor], at_ms, shows_ms)
    }

    /// A scheduled run.
    fn tick(&mut self) {
        let Some(period_ms) = self.wiring.period_ms.filter(|_| self.plant != Some(Plant::ReconcileOff))
        else {
            return;
        };
        if self.now_ms + period_ms <= self.until_ms {
            self.plan(self.now_ms + period_ms, Event::Tick);
        }
        if self.fails(self.history.profile.attempt_fails) {
            self.trace(|| "function: the scheduled run fails".to_owned());
            return;
        }
        let listed_ms = self.now_ms + self.dice.ms(100..=1_500);
        let lags = self.dice.permille(self.history.profile.read_lags);
        let shows_ms = listed_ms - if lags { self.dice.ms(0..=READ_LAG_MAX_MS) } else { 0 };
        let cut_short = self.fails(self.history.profile.read_fails);
        let mut monitor_ids = Vec::new();
        for (nth, monitor) in self.history.monitors.iter().enumerate() {
            if cut_short && nth == 1 {
                break;
            }
            let Some(report) = self.report_as_of(nth, listed_ms, shows_ms) else { continue };
            monitor_ids.push(monitor.id);
            let arrives_ms = listed_ms + self.way_ms();
            let what = What::Callback(callback(Reason::Reconcile, monitor.id, None, Some(report)));
            self.plan(arrives_ms, Event::Read(Box::new(Job::new(what, Origin::Tick))));
        }
        if !cut_short && self.history.profile.rich {
            let as_of_ms = whole_secs(self.now_ms);
            self.plan(listed_ms + 400, Event::Inventory { monitor_ids, as_of_ms });
        }
    }

    fn inventory(&mut self, monitor_ids: &[u64], as_of_ms: i64) {
        if self.history.in_outage(self.now_ms) || self.history.store_is_away(self.now_ms) {
            return;
        }
        let missing = self.store.monitors().filter(|(id, seen)| seen.managed && !monitor_ids.contains(id));
        for monitor_id in missing.map(|(id, _)| id).collect::<Vec<_>>() {
            let job = Job::new(What::Gone { monitor_id, as_of_ms }, Origin::Tick);
            self.plan(self.now_ms, Event::Read(Box::new(job)));
        }
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
            self.fail(job.origin);
            return Ok(());
        }
        let (whole, decided) = self.write(&job, decided)?;
        if !whole {
            self.tally.conflicts += 1;
            job.rounds += 1;
            self.trace(|| format!("service: another was first, again: {job}"));
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

    /// The attempt is an error: AWS tries again, three times in all. A scheduled run does not.
    fn fail(&mut self, origin: Origin) {
        let Origin::Note { note, nth, .. } = origin else { return };
        self.tally.failed_attempts += 1;
        if let Some(wait_ms) = RETRY_AFTER_MS.get(nth) {
            self.plan(self.now_ms + wait_ms, Event::Attempt { note, nth: nth + 1 });
        }
    }

    fn store_fault(&mut self, fault: StoreFault) {
        self.tally.losses += 1;
        self.trace(|| format!("store: {fault:?}"));
        match fault {
            StoreFault::Lost => self.store.lose(),
            StoreFault::Failover { .. } => {
                self.store.fail_over();
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
        if self.plant != Some(Plant::NoTimers) {
            let true_ms = at_ms - self.history.store_skew_ms;
            let at_ms = true_ms.max(self.now_ms) + self.dice.ms(0..=500);
            self.plan(at_ms, Event::Timer(id));
        }
    }

    /// Lets the caller see what was published.
    pub(crate) fn plan_poll(&mut self) {
        if let Some(plan) = &self.history.caller {
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

/// What a read that is answered at `at_ms` shows of a monitor, if it shows how it was at `shows_ms`; none: it is gone.
pub(crate) fn read_of(truth: &history::Monitor, at_ms: i64, shows_ms: i64) -> Option<Report> {
    if truth.gone_ms.is_some_and(|gone_ms| shows_ms >= gone_ms) {
        return None;
    }
    let groups = truth.groups.iter().filter_map(|group| {
        let shows = group.at(shows_ms)?;
        Some(Group {
            name: String::new(),
            tags: group.tags.clone(),
            status: shows.status.clone(),
            changed_at: shows.changed_ms.map(at),
            muted: shows.muted,
        })
    });
    let groups = groups.collect();
    Some(Report { as_of: at(whole_secs(at_ms)), monitor: Monitor::default(), groups })
}

pub(crate) fn callback(
    reason: Reason,
    monitor_id: u64,
    notified: Option<Notified>,
    report: Option<Report>,
) -> Callback {
    Callback {
        schema: CALLBACK_SCHEMA.to_owned(),
        source: String::new(),
        reason,
        to: String::new(),
        event_id: None,
        monitor_id,
        notified,
        report,
        event: None,
    }
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

impl World<'_> {
    fn set_plainly(&mut self, plain: Plain, job: &Job) {
        if let Some(mut score) = self.score.take() {
            score.set_plainly(plain, job, self.history);
            self.score = Some(score);
        }
    }
}
