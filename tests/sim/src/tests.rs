//! The simulation itself: a seed replays a history exactly, and whoever plants a bug is told.

use crate::history::History;
use crate::plants::{self, Plant};
use crate::profile::{DELIVERY, HARSH};
use crate::run::{Level, Run};
use crate::wiring::WHOLE;
use crate::world::{Lived, Wanted};
use crate::{handlers, world};
use std::collections::BTreeSet;

const TRACED: Wanted = Wanted { score: true, trace: true };

fn live(level: Level, seed: u64) -> Lived {
    let mut history = History::draw(seed, HARSH);
    match level {
        Level::Model => world::live(&history, WHOLE, None, TRACED),
        Level::Handlers => handlers::live(&mut history, None, TRACED),
    }
}

#[test]
fn a_seed_replays_a_history_exactly() {
    for level in [Level::Model, Level::Handlers] {
        for seed in 1..=20 {
            let (once, again) = (live(level, seed), live(level, seed));
            assert_eq!(once.trace, again.trace, "{level:?} {seed}");
            assert!(once.trace.len() > 10, "{level:?} {seed}: {} events", once.trace.len());
        }
    }
}

#[test]
fn two_seeds_give_two_histories() {
    assert_ne!(live(Level::Model, 1).trace, live(Level::Model, 2).trace);
}

// That every planted bug is caught is shown in release, with the real handlers too: `tests/simulate --plant all`.

/// Publishing what changes nothing wakes whoever publishes, and so on for ever.
#[test]
fn a_history_that_does_not_end_is_a_finding() {
    let run = Run { plant: Some(Plant::PublishesAlways), ..Run::new(Level::Model, HARSH, 7, 1) };
    let violation = run.sum().violation.map(|(_, violation)| violation.rule);
    assert_eq!(violation, Some("11 what happens has an end"));
}

#[test]
fn every_bug_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = plants::ALL.iter().map(|(_, name, _)| *name).collect();
    assert_eq!(names.len(), plants::ALL.len());
    assert!(plants::ALL.iter().all(|(plant, name, _)| Plant::by_name(name) == Some(*plant)));
}

#[test]
fn faults_really_happen() {
    let tally = Run::new(Level::Handlers, HARSH, 1, 200).sum().tally;
    let seen = [tally.conflicts, tally.crashes, tally.failed_attempts, tally.hints_taken, tally.vanished];
    assert!(seen.iter().all(|count| *count > 0), "{tally:?}");
    assert!(
        [tally.losses, tally.snapshots, tally.redriven, tally.forced].iter().all(|count| *count > 0),
        "{tally:?}"
    );
}

#[test]
fn the_design_is_wrong_for_a_shorter_time_than_the_plain_one() {
    let mean_ms = |wiring| {
        let run = Run { wiring, score: true, ..Run::new(Level::Model, DELIVERY, 1, 300) };
        run.sum().wrong_ms / 300
    };
    let plain = crate::wiring::Wiring {
        plain: Some(crate::wiring::Plain::Edge),
        hint: false,
        report: false,
        rereads: 0,
        ..WHOLE
    };
    let plain = crate::wiring::Wiring { period_ms: None, ..plain };
    assert!(mean_ms(WHOLE) * 2 < mean_ms(plain));
}
