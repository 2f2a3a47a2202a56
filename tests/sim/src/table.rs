//! The score of every way of serving the same histories, as a table.

use crate::profile::Profile;
use crate::run;
use crate::wiring::{Plain, WHOLE, Wiring};

/// Lives the same histories in each way, and prints for how long signals were wrong.
pub(crate) fn print(profile: Profile, first: u64, histories: u64) {
    println!(
        "Seconds in which signal and group differ, per history: profile {}, {histories} histories",
        profile.name
    );
    println!("| way | no reconcile | 60 s | 30 s | 10 s |");
    println!("|---|---|---|---|---|");
    for (name, wiring) in ways() {
        let periods = [None, Some(60_000), Some(30_000), Some(10_000)];
        let cells = periods.map(|period_ms| {
            let sum = run::sum(profile, first, histories, Wiring { period_ms, ..wiring }, None, true);
            let mean_s = sum.wrong_ms as f64 / 1000.0 / sum.histories as f64;
            match sum.violation {
                Some((seed, violation)) => format!("{mean_s:.1} (seed {seed}: {})", violation.rule),
                None => format!("{mean_s:.1}"),
            }
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn ways() -> Vec<(&'static str, Wiring)> {
    let plain = |plain| Wiring { plain: Some(plain), hint: false, ..WHOLE };
    vec![
        ("plain: message's text, last writer wins", Wiring { report: false, ..plain(Plain::Edge) }),
        ("plain: monitor read at delivery, last writer wins", plain(Plain::Fetch)),
        (
            "message's text, newest wins by its time",
            Wiring { plain: Some(Plain::Newest), report: false, ..WHOLE },
        ),
        ("hint only", Wiring { report: false, ..WHOLE }),
        ("report only", Wiring { hint: false, ..WHOLE }),
        ("hint and report (the design)", WHOLE),
        ("... the function reads again once, after 5 s", Wiring { rereads: 1, ..WHOLE }),
        ("... the function reads again up to 2 times, every 5 s", Wiring { rereads: 2, ..WHOLE }),
        ("... the function reads again up to 6 times, every 5 s", Wiring { rereads: 6, ..WHOLE }),
        ("... a report read 30 s after it ends a hint", Wiring { seen_past_ms: Some(30_000), ..WHOLE }),
        ("... a report read 60 s after it ends a hint", Wiring { seen_past_ms: Some(60_000), ..WHOLE }),
    ]
}
