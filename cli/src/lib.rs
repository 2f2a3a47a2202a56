//! The `cutout` command as a library: thin commands over the real rooms, and the fake Datadog that tests use too.

pub mod fake_datadog;
pub mod lint;

mod banks;
mod demo;
mod dev;
mod event;
mod private_redis;
pub mod stack;

use clap::{Parser, Subcommand};
use dev::RedisChoice;
use stack::Keep;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// A circuit breaker for the whole fleet, driven by Datadog monitors.
#[derive(Debug, Parser)]
#[command(name = "cutout", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the whole path at work on this machine: a bank fails, its breaker opens, and closes again.
    Demo {
        /// Keep the flags in this Redis instead of memory: redis://… or redis+sentinel://…, rediss for TLS
        #[arg(long, value_name = "URL")]
        redis: Option<String>,
        /// Instead of the story, feed one Lambda event (SNS or SQS records, JSON) to the function and tell what came of it.
        #[arg(long, value_name = "FILE")]
        event: Option<PathBuf>,
    },
    /// The same, left running, for messages of your own.
    Dev {
        /// Keep the flags in Redis, so that other processes can follow: a URL, or `auto` for a private server.
        #[arg(long, value_name = "URL|auto")]
        redis: Option<String>,
        /// The breakers' file; without it, bank-charge by bank_code on monitor 5200001.
        #[arg(long, value_name = "FILE")]
        breakers: Option<PathBuf>,
    },
    /// Say what is wrong with monitors and breakers before it is live. Ends with 0: clean, 1: findings, 2: something cannot be read.
    Lint(#[command(flatten)] lint::Arguments),
}

/// How a command ends that was asked what cannot be done, or cannot read what it needs, beside 1 for findings.
const UNREADABLE: u8 = 2;

/// Runs the command that the process's arguments name.
pub async fn main() -> ExitCode {
    // Before anything may use TLS. An error means that there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    log_if_asked();
    let done = match Arguments::parse().command {
        Command::Demo { redis, event } => {
            let keep = redis.map_or(Keep::Memory, Keep::Redis);
            match event {
                None => demo::run(&keep).await,
                Some(file) => event::run(&keep, &file).await,
            }
        }
        Command::Dev { redis, breakers } => {
            let redis = match redis.as_deref() {
                None => RedisChoice::None,
                Some("auto") => RedisChoice::Auto,
                Some(url) => RedisChoice::Url(url.to_owned()),
            };
            dev::run(redis, breakers).await
        }
        Command::Lint(arguments) => {
            return lint::run(arguments).await.unwrap_or_else(|error| {
                tell(error.as_ref());
                ExitCode::from(UNREADABLE)
            });
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Tells an error and its causes.
fn tell(error: &(dyn std::error::Error + 'static)) {
    let chain: Vec<String> = dev::causes(error).collect();
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "cutout: {}", chain.join(": "));
}

/// The parts' own log lines go to standard error when `RUST_LOG` asks for them; the command's own output is standard output.
fn log_if_asked() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .init();
}
