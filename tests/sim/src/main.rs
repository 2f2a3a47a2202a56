//! `tests/simulate`: lives histories of the whole path with faults, and judges every step.
//!
//! The model level runs the real decisions of `cutout-core` and the real follower's table in virtual time, a million
//! histories in a minute or two. Exit code 1: a rule was broken, and the seed that replays it is printed.

#![allow(clippy::print_stdout)]

mod caller;
mod checker;
mod dice;
mod exhaustive;
mod history;
mod plants;
mod profile;
mod run;
mod score;
mod service;
mod shadow;
mod store;
mod table;
mod wiring;
mod world;

use clap::Parser;
use plants::Plant;
use profile::Profile;
use std::process::ExitCode;

/// Lives histories of the whole path with faults, and judges every step.
#[derive(Parser)]
#[command(name = "tests/simulate")]
struct Args {
    /// How many histories [default: 1 with --seed, 10000 with --plant, 1000000 otherwise]
    #[arg(long)]
    histories: Option<u64>,
    /// The first history's seed; alone, it replays that one
    #[arg(long)]
    seed: Option<u64>,
    /// A bug to plant, or `all`: each must be caught
    #[arg(long)]
    plant: Option<String>,
    /// Names the bugs that can be planted
    #[arg(long)]
    list_plants: bool,
    /// How hard the world is: harsh, delivery, no-lag or mild
    #[arg(long, default_value = "harsh")]
    profile: String,
    /// Every order, doubling and loss of up to 6 messages, of so many small worlds
    #[arg(long)]
    exhaustive: Option<u64>,
    /// Prints how long signals are wrong, for each way of serving them
    #[arg(long)]
    score: bool,
    /// Prints what happens in each history
    #[arg(long)]
    timeline: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list_plants {
        plants::ALL.iter().for_each(|(_, name, what)| println!("{name:28} {what}"));
        return ExitCode::SUCCESS;
    }
    match simulate(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            println!("tests/simulate: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Does what is asked. True: all is well.
fn simulate(args: &Args) -> Result<bool, String> {
    let profile = profile::ALL.iter().find(|profile| profile.name == args.profile);
    let profile = *profile.ok_or_else(|| format!("there is no profile {:?}", args.profile))?;
    let first = args.seed.unwrap_or(1);
    if let Some(worlds) = args.exhaustive {
        return Ok(exhaustive::all(first, worlds));
    }
    if args.score {
        table::print(profile, first, args.histories.unwrap_or(100_000));
        return Ok(true);
    }
    match args.plant.as_deref() {
        Some("all") => Ok(all_plants(profile, first, args.histories.unwrap_or(10_000))),
        Some(name) => {
            let plant =
                Plant::by_name(name).ok_or_else(|| format!("there is no bug {name:?}: --list-plants"))?;
            let default = if args.seed.is_some() { 1 } else { 10_000 };
            Ok(run::many(profile, first, args.histories.unwrap_or(default), Some(plant), args.timeline))
        }
        None => {
            let default = if args.seed.is_some() { 1 } else { 1_000_000 };
            Ok(run::many(profile, first, args.histories.unwrap_or(default), None, args.timeline))
        }
    }
}

/// Plants every bug in turn. True: each was caught.
fn all_plants(profile: Profile, first: u64, histories: u64) -> bool {
    let mut all = true;
    for (plant, name, _) in plants::ALL {
        match run::first_violation(profile, first, histories, Some(plant)) {
            Some((seed, violation)) => {
                println!("caught  {name:28} history {:>5}: {}", seed - first + 1, violation.rule);
            }
            None => {
                println!("MISSED  {name:28} in {histories} histories");
                all = false;
            }
        }
    }
    all
}
