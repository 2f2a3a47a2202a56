//! Kills, fail-overs and partitions of real processes: the compiled service against real Redis servers, and a client.
//!
//! Usage: failover [--kills N]     200 unless given; the other scenes grow with it
//!
//! Ends with a table of figures, and with an exit code other than 0 if anything happened that must not.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod kills;
mod scene;
mod store;
mod wire;
mod world;

use scene::Table;
use std::process::ExitCode;
use std::time::Instant;

const KILLS: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(kills) = kills_wanted(std::env::args().skip(1)) else {
        println!("usage: failover [--kills N]");
        return ExitCode::from(2);
    };
    // The HTTP client wants a provider, though nothing here uses TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (mut table, started) = (Table::default(), Instant::now());
    kills::of_service(&mut table, kills.div_ceil(4)).await;
    table.figure("all", "seconds", started.elapsed().as_secs());
    if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kills_wanted(mut arguments: impl Iterator<Item = String>) -> Option<usize> {
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Some(KILLS),
        (Some("--kills"), Some(kills), None) => kills.parse().ok().filter(|kills| *kills > 1),
        _ => None,
    }
}
