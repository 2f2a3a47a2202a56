//! Many histories on all cores. A history depends on its seed alone, so the cores share nothing but a counter.

use crate::checker::Violation;
use crate::history::History;
use crate::plants::Plant;
use crate::profile::Profile;
use crate::wiring::{WHOLE, Wiring};
use crate::world::{self, Lived, Tally, Wanted};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// How many histories a core takes at once.
const BATCH: u64 = 64;
/// How many lines of a broken history are shown.
const LINES_MAX: usize = 60;

/// What many histories gave.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) histories: u64,
    pub(crate) tally: Tally,
    pub(crate) wrong_ms: i64,
    pub(crate) violation: Option<(u64, Violation)>,
}

/// Lives histories and prints what came out. True: no rule was broken.
pub(crate) fn many(
    profile: Profile,
    first: u64,
    histories: u64,
    plant: Option<Plant>,
    timeline: bool,
) -> bool {
    let started = Instant::now();
    let sum = sum(profile, first, histories, WHOLE, plant, false);
    if timeline && histories == 1 {
        let trace = Wanted { score: true, trace: true };
        let lived = world::live(&History::draw(first, profile), WHOLE, plant, trace);
        lived.trace.iter().for_each(|line| println!("{line}"));
    }
    if let Some((seed, violation)) = sum.violation {
        tell(profile, seed, &violation, plant);
        return false;
    }
    println!(
        "model: {} histories ({}), 0 violations, {:.1} s; {:?}",
        sum.histories,
        profile.name,
        started.elapsed().as_secs_f64(),
        sum.tally
    );
    true
}

/// The first of these histories in which a rule is broken.
pub(crate) fn first_violation(
    profile: Profile,
    first: u64,
    histories: u64,
    plant: Option<Plant>,
) -> Option<(u64, Violation)> {
    sum(profile, first, histories, WHOLE, plant, false).violation
}

/// Lives histories on all cores; ends early when a rule is broken.
pub(crate) fn sum(
    profile: Profile,
    first: u64,
    histories: u64,
    wiring: Wiring,
    plant: Option<Plant>,
    score: bool,
) -> Sum {
    let next = AtomicU64::new(0);
    // The lowest seed that broke a rule: what comes after it need not be lived.
    let broken = AtomicU64::new(u64::MAX);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            for nth in from..(from + BATCH).min(histories) {
                let seed = first.wrapping_add(nth);
                if nth >= broken.load(Ordering::Relaxed) {
                    break;
                }
                let wanted = Wanted { score, trace: false };
                let lived =
                    panic::catch_unwind(|| world::live(&History::draw(seed, profile), wiring, plant, wanted));
                let lived = lived.unwrap_or_else(|_| Lived::panicked());
                if sum.take(seed, lived) {
                    broken.fetch_min(nth, Ordering::Relaxed);
                }
            }
            if from + BATCH >= histories || from >= broken.load(Ordering::Relaxed) {
                return sum;
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let sums = workers.into_iter().filter_map(|worker| worker.join().ok());
        sums.fold(Sum::default(), Sum::with)
    })
}

impl Sum {
    /// Takes in one history. True: a rule was broken.
    fn take(&mut self, seed: u64, lived: Lived) -> bool {
        self.histories += 1;
        self.wrong_ms += lived.wrong_ms;
        self.tally = self.tally.with(lived.tally);
        let Err(violation) = lived.verdict else { return false };
        if self.violation.as_ref().is_none_or(|(known, _)| seed < *known) {
            self.violation = Some((seed, violation));
        }
        true
    }

    fn with(mut self, other: Sum) -> Sum {
        self.histories += other.histories;
        self.wrong_ms += other.wrong_ms;
        self.tally = self.tally.with(other.tally);
        let both = self.violation.into_iter().chain(other.violation);
        self.violation = both.min_by_key(|(seed, _)| *seed);
        self
    }
}

/// Prints a broken rule, the command that replays it, and the end of the history.
fn tell(profile: Profile, seed: u64, violation: &Violation, plant: Option<Plant>) {
    let planted = plant.map(|plant| format!(" --plant {}", plant.name())).unwrap_or_default();
    println!("VIOLATION of {:?} in history {seed} ({})", violation.rule, profile.name);
    println!("  {}", violation.what);
    println!("  again: tests/simulate --seed {seed} --profile {}{planted}", profile.name);
    let history = History::draw(seed, profile);
    println!("  policy: {:?}", history.policy());
    for monitor in &history.monitors {
        for group in &monitor.groups {
            println!(
                "  {}: {} levels, timeless {}",
                String::from(group.signal.clone()),
                group.levels.len(),
                group.timeless
            );
        }
    }
    let lived = world::live(&history, WHOLE, plant, Wanted { score: true, trace: true });
    let skipped = lived.trace.len().saturating_sub(LINES_MAX);
    println!("  its last {} of {} events:", lived.trace.len() - skipped, lived.trace.len());
    lived.trace.iter().skip(skipped).for_each(|line| println!("  {line}"));
}
