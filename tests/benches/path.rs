//! The whole path, hop by hop: from a notification of SNS in the warm function to the last of 1, 100, 1,000 clients refusing.
//! `tests/bench path`; `--short` for fewer events.
//!
//! Real parts on loopback: the compiled function under a host of the Runtime API, the compiled service, a Redis with an append-only file, clients
//! in one process of their own; Datadog is a fake that answers at once. A moment is noted where it happens, by the one clock of the machine:
//! the event handed to the waiting function; the first bytes of the callback; the commit, when the first of all who hear of it does (a bare
//! subscriber, a client, or who awaits the 200); the last client's refusal. Each event opens a breaker of its own, known and closed before.
//! Left out: SNS, Lambda's own scheduling, and the network.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

// `growth` uses more of it.
#[allow(dead_code)]
#[path = "path/rig.rs"]
mod rig;
#[path = "path/wire.rs"]
mod wire;

use cutout_tests::crowd;
use cutout_tests::figures::{figure, percentile, short};
use rig::{Hops, Rig, Size};
use std::time::Duration;

/// Clients, whether the callback goes through TLS, events, and events of the short form.
const RUNS: [(usize, bool, usize, usize); 4] =
    [(1, false, 1_000, 300), (100, false, 1_000, 500), (100, true, 500, 200), (1_000, false, 300, 100)];
/// Events that are not counted: connections open, and code is read for the first time.
const WARM_UP: usize = 10;
/// Between two events: nobody is busy with the last one any more.
const PAUSE: Duration = Duration::from_millis(20);
/// What is wanted of 100 clients, milliseconds.
const SUM_P99_GOAL_MS: f64 = 15.0;

type Hop = (&'static str, &'static str, fn(&Hops) -> f64);
/// What the lines are called, for people and in figures. The first three add up to the fourth.
const HOPS: [Hop; 6] = [
    ("SNS event in -> callback out", "function", |hops| hops.function),
    ("callback in -> commit", "commit", |hops| hops.commit),
    ("commit -> last client refuses", "clients", |hops| hops.clients),
    ("sum", "sum", |hops| hops.sum),
    ("(callback in -> 200)", "answer", |hops| hops.answer),
    ("(event in -> function done)", "invocation", |hops| hops.invocation),
];

fn main() {
    crowd::become_one_if_asked();
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    println!(
        "from a notification to the last of N clients refusing, milliseconds, {WARM_UP} events before not counted\n"
    );
    println!("{:>6} {:<34} {:>8} {:>8} {:>8}", "N", "hop", "p50", "p99", "max");
    for (clients, tls, events, events_if_short) in RUNS {
        let events = if short() { events_if_short } else { events };
        let mut rig = Rig::start(Size { clients, breakers: WARM_UP + events, tls }).await;
        let mut taken = Vec::with_capacity(events);
        for nth in 0..WARM_UP + events {
            tokio::time::sleep(PAUSE).await;
            let hops = rig.event().await;
            if nth >= WARM_UP {
                taken.push(hops);
            }
        }
        let run = if tls { format!("{clients}.tls") } else { clients.to_string() };
        tell(&run, &taken, rig.connections());
    }
}

/// Prints what the events of one run took, and the figures of it.
fn tell(run: &str, taken: &[Hops], connections: u64) {
    let all = HOPS.map(|(line, name, of)| (line, name, taken.iter().map(of).collect::<Vec<f64>>()));
    for (line, name, taken) in &all {
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(taken, percent));
        println!("{run:>6} {line:<34} {p50:>8.2} {p99:>8.2} {max:>8.2}");
        for (which, value) in [("p50", p50), ("p99", p99), ("max", max)] {
            figure(&format!("path.{run}.{name}.{which}"), value, "ms");
        }
    }
    let largest =
        all.iter().take(3).max_by(|(.., a), (.., b)| percentile(a, 50).total_cmp(&percentile(b, 50)));
    let (largest, ..) = largest.expect("there are hops");
    let p99 = percentile(&all[3].2, 99);
    let judged = if p99 <= SUM_P99_GOAL_MS { "within" } else { "above" };
    println!(
        "{run:>6} {} events over {connections} connections; largest hop: {largest}; p99 of the sum is {judged} {SUM_P99_GOAL_MS} ms\n",
        taken.len()
    );
    figure(&format!("path.{run}.events"), taken.len() as f64, "events");
    figure(&format!("path.{run}.connections"), connections as f64, "connections");
}
