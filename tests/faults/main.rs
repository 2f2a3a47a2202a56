//! Kills, fail-overs and partitions of real processes: the compiled service against real Redis servers, and clients.
//!
//! Usage: failover [--kills N] [--seed S] [--files DIR]
//!
//! N: how often a Redis is killed that writes to its disk before it answers, and as often one that does so once a second; the
//! other scenes grow with it. DIR: where that second one keeps its file, in memory unless given. On a disk it may lose what it
//! acknowledged while an fsync was on the way.
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
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use table::Table;

const KILLS: usize = 200;
/// Fewer make no two halves.
const KILLS_MIN: usize = 2;
/// A folder in memory, where there is one.
const IN_MEMORY: &str = "/dev/shm";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(Wanted { kills, seed, files }) = Wanted::read(&std::env::args().skip(1).collect::<Vec<_>>())
    else {
        println!("usage: failover [--kills N] [--seed S] [--files DIR]     N is {KILLS_MIN} or more");
        return ExitCode::from(2);
    };
    println!("seed {seed}");
    // The HTTP client wants a provider, though nothing here uses TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let counters = Counters::default();
    counters.count_everywhere();
    let (mut table, mut rng, started) = (Table::default(), Rng::with_seed(seed), Instant::now());
    for fsync in [Fsync::Always, Fsync::EverySecond(&files)] {
        kills::of_redis(&mut table, &mut rng, kills - kills / 2, 1, fsync).await;
        kills::of_redis(&mut table, &mut rng, kills / 2, 2, fsync).await;
    }
    kills::of_service(&mut table, &mut rng, kills.div_ceil(4)).await;
    losses::of_all_data(&mut table, &mut rng, kills.div_ceil(10).max(2), &counters).await;
    failovers::by_promotion(&mut table, &mut rng, kills.div_ceil(10)).await;
    failovers::by_sentinels(&mut table, &mut rng, kills.div_ceil(40)).await;
    partitions::of_a_client_and_an_instance(&mut table, &mut rng, kills.div_ceil(10)).await;
    table.figure("all", "seconds", started.elapsed().as_secs());
    if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the command line asks for.
struct Wanted {
    kills: usize,
    seed: u64,
    files: PathBuf,
}

impl Wanted {
    /// None: the arguments are not understood.
    fn read(arguments: &[String]) -> Option<Wanted> {
        let in_memory = Some(PathBuf::from(IN_MEMORY)).filter(|folder| folder.is_dir());
        let files = in_memory.unwrap_or_else(std::env::temp_dir);
        let mut wanted = Wanted { kills: KILLS, seed: Rng::new().u64(..), files };
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if name == "--kills" => wanted.kills = value.parse().ok()?,
                [name, value] if name == "--seed" => wanted.seed = value.parse().ok()?,
                [name, value] if name == "--files" => wanted.files = value.into(),
                _ => return None,
            }
        }
        (wanted.kills >= KILLS_MIN).then_some(wanted)
    }
}
