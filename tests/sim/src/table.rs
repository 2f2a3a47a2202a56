//! The score of every way of serving the same histories, as a table.

use crate::profile::Profile;
use crate::run::{Level, Run};
use crate::wiring::{Plain, WHOLE, Wiring};

/// What the design may be wrong with a scheduled run every minute, seconds a history in the profile of plain delivery faults.
const WRONG_SECS_MAX: f64 = 45.0;
/// Of fewer histories the mean says too little to judge it by.
const JUDGED_MIN: u64 = 5_000;

/// Lives the same histories in each way, and prints for how long signals were wrong. True: the design keeps its bound, and no
/// rule was broken.
pub(crate) fn print(profile: Profile, first: u64, histories: u64, all: bool) -> bool {
    let (name, periods) = (profile.name, if all { &PERIODS[..] } else { &PERIODS[..2] });
    println!(
        "Mean seconds in which a signal differs from its monitor, per history: {histories} histories of profile {name}"
    );
    let heads: Vec<&str> = periods.iter().map(|(head, _)| *head).collect();
    println!("| way | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(periods.len()));
    let mut is_well = true;
    for (way, wiring) in ways().into_iter().chain(if all { others() } else { Vec::new() }) {
        let mut cells = Vec::new();
        for (_, period_ms) in periods {
            let run = Run {
                wiring: Wiring { period_ms: *period_ms, ..wiring },
                score: true,
                ..Run::new(Level::Model, profile, first, histories)
            };
            let sum = run.sum();
            let mean_s = sum.wrong_ms as f64 / 1000.0 / sum.histories as f64;
            is_well &= sum.violation.is_none();
            let is_judged = run.wiring == WHOLE && name == "delivery" && histories >= JUDGED_MIN;
            is_well &= !is_judged || mean_s <= WRONG_SECS_MAX;
            cells.push(match sum.violation {
                Some((seed, violation)) => format!("{mean_s:.1} (seed {seed}: {})", violation.rule),
                None => format!("{mean_s:.1}"),
            });
        }
        println!("| {way} | {} |", cells.join(" | "));
    }
    is_well
}

const PERIODS: [(&str, Option<i64>); 4] = [
    ("no reconcile", None),
    ("reconcile every 60 s", Some(60_000)),
    ("30 s", Some(30_000)),
    ("10 s", Some(10_000)),
];

fn ways() -> Vec<(&'static str, Wiring)> {
    let plain = |plain| Wiring { plain: Some(plain), hint: false, rereads: 0, ..WHOLE };
    vec![
        (
            "plain design: the message's text, last writer wins",
            Wiring { report: false, ..plain(Plain::Edge) },
        ),
        ("plain design: the monitor read at delivery, last writer wins", plain(Plain::Fetch)),
        ("hint only", Wiring { report: false, ..WHOLE }),
        ("report only", Wiring { hint: false, rereads: 0, ..WHOLE }),
        ("hint and report, nothing read again", Wiring { rereads: 0, ..WHOLE }),
        ("hint and report, read again twice after 5 s each (what is built)", WHOLE),
    ]
}

/// What was tried and not taken.
fn others() -> Vec<(&'static str, Wiring)> {
    let newest = Wiring { plain: Some(Plain::Newest), hint: false, report: false, rereads: 0, ..WHOLE };
    let once = Wiring { rereads: 0, ..WHOLE };
    vec![
        ("the message's text, the newest by its time wins", newest),
        ("read again once, after 5 s", Wiring { rereads: 1, ..WHOLE }),
        ("read again up to 6 times, every 5 s", Wiring { rereads: 6, ..WHOLE }),
        ("nothing read again, hints up to 15 s old", Wiring { hint_age_ms: Some(15_000), ..once }),
        ("nothing read again, hints up to 130 s old", Wiring { hint_age_ms: Some(130_000), ..once }),
        (
            "nothing read again, a report read 30 s after it ends a hint",
            Wiring { seen_past_ms: Some(30_000), ..once },
        ),
    ]
}
