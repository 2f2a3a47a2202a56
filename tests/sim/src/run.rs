//! Many histories on all cores. A history depends on its seed alone, so the cores share nothing but a counter.

use crate::checker::Violation;
use crate::handlers;
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

/// Which code lives the histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Core's decisions and the follower's table, with the service in between as a model.
    Model,
    /// The service's real handlers and timers, the real followers and the real client.
    Handlers,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Model => "model",
            Level::Handlers => "handlers",
        }
    }
}

/// Which histories, and how they are lived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) level: Level,
    pub(crate) profile: Profile,
    /// The first seed.
    pub(crate) first: u64,
    pub(crate) histories: u64,
    pub(crate) wiring: Wiring,
    pub(crate) plant: Option<Plant>,
    pub(crate) score: bool,
}

impl Run {
    pub(crate) fn new(level: Level, profile: Profile, first: u64, histories: u64) -> Run {
        Run { level, profile, first, histories, wiring: WHOLE, plant: None, score: false }
    }

    /// Lives the histories and prints what came out. True: no rule was broken.
    pub(crate) fn tell(&self) -> bool {
        let started = Instant::now();
        let sum = self.sum();
        if let Some((seed, violation)) = sum.violation {
            self.tell_violation(seed, &violation);
            return false;
        }
        let (level, profile, secs) = (self.level.name(), self.profile.name, started.elapsed().as_secs_f64());
        println!(
            "{level}: {} histories ({profile}), 0 violations, {secs:.1} s; {:?}",
            sum.histories, sum.tally
        );
        true
    }

    /// Prints everything that happens in the first history.
    pub(crate) fn tell_timeline(&self) {
        let lived = self.live(self.first, Wanted { score: true, trace: true });
        lived.trace.iter().for_each(|line| println!("{line}"));
    }

    fn live(&self, seed: u64, wanted: Wanted) -> Lived {
        let mut history = History::draw(seed, self.profile);
        match self.level {
            Level::Model => world::live(&history, self.wiring, self.plant, wanted),
            Level::Handlers => handlers::live(&mut history, self.plant, wanted),
        }
    }

    /// Lives the histories on all cores; ends early when a rule is broken.
    pub(crate) fn sum(&self) -> Sum {
        let next = AtomicU64::new(0);
        // The lowest seed that broke a rule: what comes after it need not be lived.
        let broken = AtomicU64::new(u64::MAX);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.work(&next, &broken))).collect();
            let sums = workers.into_iter().filter_map(|worker| worker.join().ok());
            sums.fold(Sum::default(), Sum::with)
        })
    }

    /// One core's share.
    fn work(&self, next: &AtomicU64, broken: &AtomicU64) -> Sum {
        let mut sum = Sum::default();
        loop {
            let from = next.fetch_add(BATCH, Ordering::Relaxed);
            for nth in from..(from + BATCH).min(self.histories) {
                let seed = self.first.wrapping_add(nth);
                if nth >= broken.load(Ordering::Relaxed) {
                    break;
                }
                let wanted = Wanted { score: self.score, trace: false };
                let lived = panic::catch_unwind(|| self.live(seed, wanted));
                if sum.take(seed, lived.unwrap_or_else(|_| Lived::panicked())) {
                    broken.fetch_min(nth, Ordering::Relaxed);
                }
            }
            if from + BATCH >= self.histories || from >= broken.load(Ordering::Relaxed) {
                return sum;
            }
        }
    }

    /// Prints a broken rule, the command that replays it, and the end of the history.
    fn tell_violation(&self, seed: u64, violation: &Violation) {
        let (level, profile) = (self.level.name(), self.profile.name);
        let planted = self.plant.map(|plant| format!(" --plant {}", plant.name())).unwrap_or_default();
        println!("VIOLATION of {:?} in history {seed} ({level}, {profile})", violation.rule);
        println!("  {}", violation.what);
        println!("  again: tests/simulate --seed {seed} --level {level} --profile {profile}{planted}");
        let history = History::draw(seed, self.profile);
        println!("  policy: {:?}", history.policy());
        let lived = self.live(seed, Wanted { score: false, trace: true });
        let skipped = lived.trace.len().saturating_sub(LINES_MAX);
        println!("  its last {} of {} events:", lived.trace.len() - skipped, lived.trace.len());
        lived.trace.iter().skip(skipped).for_each(|line| println!("  {line}"));
    }
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
