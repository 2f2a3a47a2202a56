//! Kills, fail-overs and partitions of real processes: the compiled service against real Redis servers, and clients.
//!
//! Usage: failover [--kills N] [--seed S]     200 kills unless given; the other scenes grow with them
//!
//! Ends with a table of figures, and with an exit code other than 0 if anything happened that must not. The seed repeats what
//! is drawn (which groups change, who is killed and when), not how the processes meet.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod failovers;
mod kills;
mod losses;
mod partitions;
mod stage;
mod store;
mod table;
mod wire;
mod world;

use cutout_tests::metrics::Counters;
use fastrand::Rng;
use kills::Fsync;
use std::process::ExitCode;
use std::time::Instant;
use table::Table;

const KILLS: usize = 200;
/// Fewer make no two halves.
const KILLS_MIN: usize = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let Some((kills, seed)) = wanted(&std::env::args().skip(1).collect::<Vec<_>>()) else {
        println!("usage: failover [--kills N] [--seed S]     N is {KILLS_MIN} or more");
        return ExitCode::from(2);
    };
    println!("seed {seed}");
    // The HTTP client wants a provider, though nothing here uses TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let counters = Counters::default();
    counters.count_everywhere();
    let (mut table, mut rng, started) = (Table::default(), Rng::with_seed(seed), Instant::now());
    kills::of_redis(&mut table, &mut rng, kills - kills / 2, 1, Fsync::EverySecond).await;
    kills::of_redis(&mut table, &mut rng, kills / 2, 2, Fsync::EverySecond).await;
    kills::of_redis(&mut table, &mut rng, kills.div_ceil(4), 2, Fsync::Always).await;
    kills::of_service(&mut table, &mut rng, kills.div_ceil(4)).await;
    losses::of_all_data(&mut table, &mut rng, kills.div_ceil(10).max(2), &counters).await;
    failovers::by_promotion(&mut table, &mut rng, kills.div_ceil(10)).await;
    failovers::by_sentinels(&mut table, &mut rng, kills.div_ceil(40)).await;
    partitions::of_a_client_and_an_instance(&mut table, &mut rng, kills.div_ceil(10)).await;
    table.figure("all", "seconds", started.elapsed().as_secs());
    if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many kills, and the seed; none: the arguments are not understood.
fn wanted(arguments: &[String]) -> Option<(usize, u64)> {
    let (mut kills, mut seed) = (KILLS, Rng::new().u64(..));
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--kills" => kills = value.parse().ok()?,
            [name, value] if name == "--seed" => seed = value.parse().ok()?,
            _ => return None,
        }
    }
    (kills >= KILLS_MIN).then_some((kills, seed))
}
