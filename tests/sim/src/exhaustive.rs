//! Every order, doubling and loss of up to six messages: reports that lag up to the design's limit, and hints, of a few
//! true changes.
//!
//! All words of up to six letters over six messages are told to core, and after each one the breakers must say what the
//! *set* of messages says, whatever their order and number: the newest of the set, and the hints that no report of the
//! set has seen past. Time stands still, so that only order is at work.

use crate::dice::{Dice, Stream};
use crate::function::{at, callback, read_of};
use crate::history::{History, READ_LAG_MAX_MS, START_MS};
use crate::profile::{HARSH, Profile};
use crate::shadow::Shadow;
use cutout_core::hint;
use cutout_core::report::{Notified, NotifiedTransition, Reason};
use cutout_core::{Breaker, BreakerId, Callback, Evidence, MonitorSeen, Report, plan};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// How many messages there are, and how many are told at the most.
const MESSAGES: usize = 6;
/// How many sequences that makes: 6^0 + 6^1 + ... + 6^6.
const WORDS: u64 = 55_987;
/// Farther behind than reads are seen to be, and within what the design allows.
const LAG_MAX_MS: i64 = 119_000;

/// Lives worlds of six messages each, on all cores. True: order never mattered.
pub(crate) fn all(first: u64, worlds: u64) -> bool {
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (words, broken) = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| work(first, worlds, &next))).collect();
        let shares = workers.into_iter().filter_map(|worker| worker.join().ok());
        shares.fold((0, None), |(words, broken), share| (words + share.0, broken.or(share.1)))
    });
    if let Some((seed, what)) = broken {
        let world = World::draw(seed);
        println!("VIOLATION of \"1 order does not matter\" in world {seed}: {what}");
        println!("  again: tests/simulate --level exhaustive --seed {seed}");
        println!("  policy: {:?}", world.history.policy());
        let messages = world.messages.iter().enumerate();
        messages.for_each(|(nth, message)| println!("  message {nth}: {message:?}"));
        return false;
    }
    let secs = started.elapsed().as_secs_f64();
    println!(
        "exhaustive: {words} sequences of up to {MESSAGES} messages of {worlds} worlds, order never mattered, {secs:.1} s"
    );
    // Each world has the same number of them: all words of up to six letters over six.
    words == worlds * WORDS
}

/// One core's share: how many sequences it told, and the first that broke the rule.
fn work(first: u64, worlds: u64, next: &AtomicU64) -> (u64, Option<(u64, String)>) {
    let mut words = 0;
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= worlds {
            return (words, None);
        }
        let seed = first.wrapping_add(nth);
        if let Err(what) = World::draw(seed).extend(&Told::default(), &mut words) {
            return (words, Some((seed, what)));
        }
    }
}

struct World {
    history: History,
    messages: Vec<Callback>,
    now_ms: i64,
}

/// What was told, and what came of it.
#[derive(Clone, Default)]
struct Told {
    word: Vec<usize>,
    breakers: BTreeMap<BreakerId, Breaker>,
    seen: BTreeMap<u64, MonitorSeen>,
}

impl World {
    fn draw(seed: u64) -> World {
        let profile = Profile { store_faults: false, ..HARSH };
        let mut history = History::draw(seed, profile);
        for monitor in &mut history.monitors {
            // What is gone is seen by two reports: that is another rule.
            monitor.gone_ms = None;
            monitor.groups.iter_mut().for_each(|group| group.levels.retain(|level| level.shows.is_some()));
        }
        let mut dice = Dice::new(seed, Stream::Way);
        let changes = history.groups().flat_map(|group| &group.levels).map(|level| level.at_ms);
        let last_ms = changes.filter(|at_ms| *at_ms > START_MS).max().unwrap_or(START_MS);
        let now_ms = last_ms + 30_000;
        let lag_max_ms = dice.pick(&[READ_LAG_MAX_MS, LAG_MAX_MS]);
        let messages =
            (0..MESSAGES).map(|nth| message(&history, &mut dice, nth, now_ms, lag_max_ms)).collect();
        World { history, messages, now_ms }
    }

    /// Tells each message once more, and so on up to the length of a word.
    fn extend(&self, told: &Told, words: &mut u64) -> Result<(), String> {
        *words += 1;
        self.judge(told).map_err(|what| format!("after messages {:?}: {what}", told.word))?;
        if told.word.len() == MESSAGES {
            return Ok(());
        }
        for nth in 0..MESSAGES {
            let mut longer = told.clone();
            longer.word.push(nth);
            self.tell(&mut longer, &self.messages[nth]);
            self.extend(&longer, words)?;
        }
        Ok(())
    }

    fn tell(&self, told: &mut Told, message: &Callback) {
        let Ok(plan) = plan(&self.history.declarations, message, told.seen.get(&message.monitor_id)) else {
            return;
        };
        for (id, (declaration, evidence)) in plan.targets {
            let breaker = told.breakers.entry(id).or_insert_with(|| Breaker::new(self.now_ms));
            breaker.apply(&declaration.policy, &evidence, None, self.now_ms);
        }
        if let Some(seen) = plan.seen {
            told.seen.insert(message.monitor_id, seen);
        }
    }

    /// Compares the breakers with what the set of messages says.
    fn judge(&self, told: &Told) -> Result<(), String> {
        let policy = self.history.policy();
        let mut shadows: BTreeMap<BreakerId, Shadow> = BTreeMap::new();
        let mut latest_ms: BTreeMap<u64, i64> = BTreeMap::new();
        let of_set = (0..MESSAGES).filter(|nth| told.word.contains(nth)).map(|nth| &self.messages[nth]);
        for message in of_set {
            let Ok(plan) = plan(&self.history.declarations, message, None) else { continue };
            if let Some(change_ms) = message.report.as_ref().and_then(Report::latest_change_ms) {
                let latest = latest_ms.entry(message.monitor_id).or_insert(change_ms);
                *latest = change_ms.max(*latest);
            }
            for (id, (_, evidence)) in plan.targets {
                let evidence = Evidence { complete_as_of_ms: None, ..evidence };
                shadows.entry(id).or_default().take(policy, &evidence, self.now_ms);
            }
        }
        for (id, breaker) in &told.breakers {
            let shadow = shadows.entry(id.clone()).or_default();
            self.judge_one(id, breaker, shadow, &latest_ms)?;
        }
        Ok(())
    }

    fn judge_one(
        &self,
        id: &BreakerId,
        breaker: &Breaker,
        shadow: &Shadow,
        latest_ms: &BTreeMap<u64, i64>,
    ) -> Result<(), String> {
        for must in &shadow.signals {
            let signal = breaker.signals().get(&must.id);
            let is = signal.map(|signal| (&signal.latest, &signal.decided));
            if is != Some((&must.latest, &must.decided)) {
                return Err(format!("{id} holds {is:?} of {:?}, the newest of the set is {must:?}", must.id));
            }
        }
        let mut hints = BTreeMap::new();
        for told in &shadow.told {
            let latest = latest_ms.get(&told.id.monitor_id).copied();
            if hint::usable(told.at_ms, self.now_ms, latest).is_ok() {
                let at_ms = hints.entry(told.id.clone()).or_insert(told.at_ms);
                *at_ms = told.at_ms.max(*at_ms);
            }
        }
        let held: BTreeMap<_, _> =
            breaker.hints().iter().map(|(id, hint)| (id.clone(), hint.at_ms)).collect();
        if held != hints {
            return Err(format!("{id} goes by the hints {held:?}, the set by {hints:?}"));
        }
        Ok(())
    }
}

/// A report of some monitor, or a hint alone, or both.
fn message(history: &History, dice: &mut Dice, nth: usize, now_ms: i64, lag_max_ms: i64) -> Callback {
    let monitor = &history.monitors[dice.below(history.monitors.len())];
    let group = &monitor.groups[dice.below(monitor.groups.len())];
    let changes: Vec<i64> =
        group.levels.iter().map(|level| level.at_ms).filter(|at_ms| *at_ms > START_MS).collect();
    let about_ms = if changes.is_empty() { now_ms } else { dice.pick(&changes) };
    let read_ms = (about_ms + dice.ms(-2_000..=40_000)).min(now_ms);
    let lag_ms = if dice.permille(500) { dice.ms(0..=lag_max_ms) } else { 0 };
    let report = read_of(monitor, read_ms, read_ms - lag_ms);
    // Only alerts hint, whatever the policy.
    let at_ms = now_ms - dice.ms(0..=58_000);
    let (transition, tags) = (NotifiedTransition::Alert, Some(group.tags.clone()));
    let notified = Notified { at: at(at_ms), transition, tags };
    match nth {
        0..=2 => callback(Reason::Notification, monitor.id, None, report),
        3 => callback(Reason::Notification, monitor.id, Some(notified), report),
        _ => callback(Reason::Notification, monitor.id, Some(notified), None),
    }
}
