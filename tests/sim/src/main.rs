//! `tests/simulate`: lives histories of the whole path with faults, and judges every step.
//!
//! The model runs the real decisions of `cutout-core` and the real follower's table in virtual time, a million histories in
//! minutes; the handlers' level runs the service's real router, timers and followers and the real client over the memory
//! store, a hundredth of that. Both live the same histories and obey the same checker.
//! Exit code 1: a rule was broken, and the seed that replays it is printed.

#![allow(clippy::print_stdout)]

mod caller;
mod checker;
mod dice;
mod exhaustive;
mod function;
mod handlers;
mod history;
mod planted;
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

use clap::{Parser, ValueEnum};
use plants::Plant;
use profile::{DELIVERY, Profile};
use run::{Level, Run};
use std::process::ExitCode;

/// How many histories of the model come with one of the handlers.
const MODEL_PER_HANDLERS: u64 = 100;
/// How many small worlds the exhaustive run takes; each is 55,987 sequences of messages.
const WORLDS: u64 = 40;
/// How many histories the table takes at the most.
const SCORED_MAX: u64 = 20_000;
/// Within how many histories a planted bug must be caught.
const PLANTED: u64 = 10_000;

/// Lives histories of the whole path with faults, and judges every step.
#[derive(Parser)]
#[command(name = "tests/simulate")]
struct Args {
    /// How many histories of the model, and a hundredth of that with the real handlers [default: 1 with --seed, 10000 with
    /// --plant, 1000000 otherwise]
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
    /// Only this part
    #[arg(long, value_enum)]
    level: Option<Part>,
    /// How hard the world is: harsh, delivery, no-lag, lag-stays or mild
    #[arg(long, default_value = "harsh")]
    profile: String,
    /// Prints everything that happens in the first history
    #[arg(long)]
    timeline: bool,
    /// Also scores what was tried and not taken
    #[arg(long)]
    all_ways: bool,
}

/// A part of the simulation.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every order, doubling and loss of up to six messages, told to core
    Exhaustive,
    /// Core and the follower's table; as many histories as asked for
    Model,
    /// The service's handlers and timers, the followers and the client; a hundredth of them, or all where it is named
    Handlers,
    /// How long signals are wrong, for each way of serving them
    Score,
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
    match args.plant.as_deref() {
        Some("all") => Ok(all_plants(args, profile)),
        Some(name) => {
            let plant = Plant::by_name(name);
            let plant = plant.ok_or_else(|| format!("there is no bug {name:?}: see --list-plants"))?;
            Ok(planted(args, profile, plant))
        }
        None => Ok(parts(args, profile)),
    }
}

/// Runs what is asked for, all of it even where a part fails.
fn parts(args: &Args, profile: Profile) -> bool {
    let (first, is_replay) = (args.seed.unwrap_or(1), args.seed.is_some() && args.histories.is_none());
    let histories = args.histories.unwrap_or(if is_replay { 1 } else { 1_000_000 });
    let wants = |part: Part| {
        args.level.map_or(!is_replay || matches!(part, Part::Model | Part::Handlers), |only| only == part)
    };
    let mut is_well = true;
    if wants(Part::Exhaustive) {
        is_well &= exhaustive::all(first, if is_replay { 1 } else { WORLDS });
    }
    if wants(Part::Model) {
        is_well &= live(args, Run::new(Level::Model, profile, first, histories));
    }
    if wants(Part::Handlers) {
        let share = if args.level.is_some() { histories } else { histories.div_ceil(MODEL_PER_HANDLERS) };
        is_well &= live(args, Run::new(Level::Handlers, profile, first, share));
    }
    if wants(Part::Score) {
        let profile = if profile.name == "harsh" { DELIVERY } else { profile };
        is_well &= table::print(profile, first, histories.min(SCORED_MAX), args.all_ways);
    }
    is_well
}

fn live(args: &Args, run: Run) -> bool {
    if args.timeline {
        run.tell_timeline();
    }
    run.tell()
}

/// Plants one bug at the level asked for, the model's otherwise. True: no rule was broken, so nobody saw it.
fn planted(args: &Args, profile: Profile, plant: Plant) -> bool {
    let level = if args.level == Some(Part::Handlers) { Level::Handlers } else { Level::Model };
    let histories = args.histories.unwrap_or(if args.seed.is_some() { 1 } else { PLANTED });
    let run = Run::new(level, profile, args.seed.unwrap_or(1), histories);
    live(args, Run { plant: Some(plant), ..run })
}

/// Plants every bug in turn, at both levels where it can be. True: each was caught.
fn all_plants(args: &Args, profile: Profile) -> bool {
    let (first, histories) = (args.seed.unwrap_or(1), args.histories.unwrap_or(PLANTED));
    let mut all = true;
    for (plant, name, _) in plants::ALL {
        for level in [Level::Model, Level::Handlers] {
            if level == Level::Handlers && !handlers::PLANTS.contains(&plant) {
                continue;
            }
            let run = Run { plant: Some(plant), ..Run::new(level, profile, first, histories) };
            let level = level.name();
            match run.sum().violation {
                Some((seed, violation)) => {
                    println!(
                        "caught  {name:28} {level:9} history {:>5}: {}",
                        seed - first + 1,
                        violation.rule
                    );
                }
                None => {
                    println!("MISSED  {name:28} {level:9} in {histories} histories");
                    all = false;
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
