//! How many callbacks a second one instance commits over 32 connections, and how long each takes: beside a yardstick that checks the same
//! signature, parses the same JSON and issues one EVALSHA. Or, with `--million`, whether memory stays flat over 1,000,000 of them.
//!
//! `tests/bench callbacks [--short | --million [callbacks]]`. Both are processes of their own, each on a real Redis, and loaded in turns, because neighbours come
//! and go: a ratio is the median of the ratios within the turns. The sender shares the two cores with them.
//!
//! Left out: the network, which is loopback here, and TLS.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

mod load;
mod served;

use cutout_tests::figures::{figure, short};
use load::{Kind, Load, Turn};
use served::{Contestant, Server};
use std::process::ExitCode;

/// Both have the allocator of the service's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Loaded turns of each contestant for each kind of load, after one that warms up; and of the short form.
const TURNS: [u32; 2] = [9, 5];
/// How many callbacks memory is watched over.
const CALLBACKS_DEFAULT: u32 = 1_000_000;
/// How many looks at memory that takes.
const STEPS: u32 = 10;
/// The step from which on memory must not grow any more: until then caches and pools fill.
const SETTLED_STEP: usize = 3;
/// How much more memory than at that step a later one may show, per cent.
const GROWTH_MAX_PERCENT: u64 = 5;
const KIB_PER_MIB: f64 = 1_024.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Cargo itself adds `--bench`.
    let asked: Vec<&str> = arguments.into_iter().filter(|argument| *argument != "--bench").collect();
    match asked[..] {
        [served::SERVE, name, redis] => served::serve(name, redis),
        ["--million"] => memory(CALLBACKS_DEFAULT),
        ["--million", callbacks] => memory(callbacks.parse().expect("--million takes a number")),
        [] | ["--short"] => throughput(TURNS[usize::from(short())]),
        _ => panic!("usage: tests/bench callbacks [--short | --million [callbacks]]"),
    }
}

fn throughput(turns: u32) -> ExitCode {
    let (service, yardstick) = (Server::start(Contestant::Service), Server::start(Contestant::Yardstick));
    println!(
        "{} connections, {turns} turns of {} callbacks for each line, in turns; ratio: of the yardstick's callbacks a second, median of the turns",
        load::CONNECTIONS,
        load::OF_A_TURN
    );
    println!(
        "{:<40} {:<10} {:>12} {:>8} {:>8} {:>9} {:>9} {:>8} {:>7}",
        "", "", "callbacks/s", "p50 ms", "p99 ms", "its µs", "Redis µs", "not 200", "ratio"
    );
    for kind in Kind::ALL {
        let mut load = Load::new(kind);
        let (mut ours, mut its, mut ratios, mut p99s) = (Turn::default(), Turn::default(), vec![], vec![]);
        for turn in 0..=turns {
            let requests = load.requests();
            // Each is the first one in every other turn.
            let first = (turn % 2 == 0).then(|| yardstick.send(&requests));
            let our = service.send(&requests);
            let its_turn = first.unwrap_or_else(|| yardstick.send(&requests));
            // The first turn makes the breakers.
            if turn > 0 {
                ratios.push(its_turn.took.as_secs_f64() / our.took.as_secs_f64());
                p99s.push(our.at(0.99) / its_turn.at(0.99));
                ours.add(our);
                its.add(its_turn);
            }
        }
        let (ratio, p99) = (median(ratios), median(p99s));
        ours.print(kind.name(), "service", &format!("{ratio:.2}"));
        its.print(&format!("    p99: {p99:.2} times the yardstick's"), "yardstick", "");
        let told =
            |what: &str, value, unit| figure(&format!("callbacks.{}.{what}", kind.breaker()), value, unit);
        told("rate", ours.rate(), "1/s");
        told("p99", ours.at(0.99), "ms");
        told("ratio", ratio, "times");
        told("p99_ratio", p99, "times");
    }
    ExitCode::SUCCESS
}

/// Looks at the service's resident memory over many callbacks, after every turn, and judges the medians of some steps.
fn memory(callbacks: u32) -> ExitCode {
    let service = Server::start(Contestant::Service);
    let step = callbacks.div_ceil(STEPS);
    println!("resident memory of the service while it takes {callbacks} callbacks ({})", Kind::Mix.name());
    println!("{:>12} {:>10} {:>12}", "callbacks", "MiB", "callbacks/s");
    let (mut load, mut seen, mut sent) = (Load::new(Kind::Mix), Vec::new(), 0_u32);
    while sent < callbacks {
        let (mut of_step, mut looks) = (Turn::default(), Vec::new());
        while sent < callbacks && (of_step.each.len() as u64) < u64::from(step) {
            let turn = service.send(&load.requests());
            assert_eq!(turn.not_taken, 0, "each callback is committed");
            sent += u32::try_from(turn.each.len()).expect("a turn has some thousands");
            of_step.add(turn);
            looks.push(service.resident_kib());
        }
        // The allocator gives pages back when it comes to that, so that one look tells more of it than of the service.
        looks.sort_unstable();
        seen.push(looks[looks.len() / 2]);
        let (mib, rate) = (seen.last().map_or(0.0, |kib| *kib as f64 / KIB_PER_MIB), of_step.rate());
        println!("{sent:>12} {mib:>10.1} {rate:>12.0}");
    }
    let settled = seen.get(SETTLED_STEP - 1).copied().expect("several steps");
    let most = seen.iter().skip(SETTLED_STEP).max().copied().expect("steps after it");
    let is_flat = most * 100 <= settled * (100 + GROWTH_MAX_PERCENT);
    let verdict = if is_flat { "flat" } else { "NOT FLAT" };
    println!(
        "{verdict}: after step {SETTLED_STEP} at most {:.1} % more than there; {GROWTH_MAX_PERCENT} % are allowed",
        (most as f64 / settled as f64 - 1.0) * 100.0
    );
    if is_flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
