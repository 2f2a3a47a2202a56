//! `tests/forgeries`: changes signed messages in every way that an attacker may, by the million, and posts them to the
//! service's own router. None may be believed.
//!
//! What was signed is known, so the rule that judges them computes nothing: a message is the same as a signed one, or it is
//! forged (`judge`). Sockets are left out: `cargo test -p cutout-tests --test trust` has those.
//! Exit code 1: a forged message was believed, a signed one was not, or a replay changed something; the seed that repeats it
//! is printed.

#![allow(clippy::print_stdout)]

mod batch;
mod corpus;
mod forge;
mod judge;
mod message;

use batch::{BATCH, Tally, Wrong};
use clap::Parser;
use forge::Kind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

/// Changes signed messages in every way that an attacker may, and posts them to the service's own router.
#[derive(Parser)]
#[command(name = "tests/forgeries")]
struct Args {
    /// How many messages
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// The first batch's seed; a batch is 10,000 messages [default: drawn]
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (first, started) = (args.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000_000)), Instant::now());
    match all(first, args.messages) {
        Ok(tally) => {
            tell(&tally);
            println!(
                "{} messages, seed {first}: {} forged, none believed; {} the same as a signed one, all believed, no replay \
                 changed anything; {:.1} s",
                tally.posted,
                tally.posted - tally.same,
                tally.same,
                started.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err((seed, wrong)) => {
            println!("{wrong}\nagain: tests/forgeries --messages {BATCH} --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn tell(tally: &Tally) {
    let row = |what: &str, posted: u64, same: u64| println!("{what:42} {posted:>9} {same:>18}");
    println!("{:42} {:>9} {:>18}", "what was done to a message", "messages", "of these the same");
    let (mut posted_once, mut same_once) = (0, 0);
    for kind in Kind::ALL {
        let (posted, same) = tally.kinds.get(&kind).copied().unwrap_or_default();
        row(kind.text(), posted, same);
        (posted_once, same_once) = (posted_once + posted, same_once + same);
    }
    row("two or three of these", tally.posted - posted_once, tally.same - same_once);
}

/// Posts so many messages, on all cores; the first wrong verdict ends it, with the seed of its batch.
fn all(first: u64, messages: u64) -> Result<Tally, (u64, Wrong)> {
    let (next, cores) = (AtomicU64::new(0), thread::available_parallelism().map_or(1, usize::from));
    let work = || {
        let mut sum = Tally::default();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let count = BATCH.min(messages.saturating_sub(nth.saturating_mul(BATCH)));
            if count == 0 {
                return Ok(sum);
            }
            let seed = first.wrapping_add(nth);
            let done = batch::post(seed, count).map_err(|wrong| {
                next.store(u64::MAX / BATCH, Ordering::Relaxed);
                (seed, wrong)
            });
            sum.add(&done?);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut sum = Tally::default();
        for worker in workers {
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sum.add(&done?);
        }
        Ok(sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_forgery_is_tried_and_the_rule_says_yes_and_no() {
        let tally = all(1, 2 * BATCH).map_err(|(seed, wrong)| format!("seed {seed}: {wrong}")).unwrap();
        assert_eq!(tally.posted, 2 * BATCH);
        for kind in Kind::ALL {
            let (posted, same) = tally.kinds[&kind];
            assert!(posted > 100, "{kind:?} only {posted} times");
            assert_eq!(same > 0, kind.may_be_harmless(), "{kind:?}: {same} of {posted} the same");
        }
    }
}
