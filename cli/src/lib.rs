//! The `cutout` command as a library: thin commands over the real rooms, and the fake Datadog that tests use too.

pub mod fake_datadog;
pub mod lint;

mod api;
mod aws;
mod banks;
mod demo;
mod dev;
mod dispatch;
mod drill;
mod ended;
mod event;
mod operate;
mod private_redis;
mod redrive;
mod reference;
mod send;
pub mod stack;
mod terminal;

pub use reference::{Part, parts, reference};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use dev::RedisChoice;
use ended::Failed;
use stack::Keep;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
    /// Say what is wrong with monitors and breakers before it is live.
    Lint(lint::Arguments),
    #[command(flatten)]
    Operate(operate::Command),
    /// Send one message, to see whether an installation takes it.
    #[command(subcommand)]
    Send(send::Command),
    /// Run the function without AWS: a door for Datadog's webhook, and scheduled runs. Its settings are environment variables.
    Dispatch,
    /// Show what stands in the dead-letter queue on AWS, and with --go send it again.
    Redrive(redrive::Arguments),
    /// Practise the path on a live installation, and measure each hop.
    Drill(drill::Arguments),
    /// Print what lets a shell complete this command's words.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the reference part of docs/cli.md.
    #[command(hide = true)]
    Reference {
        /// Put every part that is made into its page of this folder instead.
        #[arg(long, value_name = "DOCS")]
        write: Option<PathBuf>,
    },
}

/// Runs the command that the process's arguments name.
pub async fn main() -> ExitCode {
    // Before anything may use TLS. An error means that there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let command = Arguments::parse().command;
    match command {
        Command::Dispatch => log_to_stdout(),
        _ => log_if_asked(),
    }
    match run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) if failed.is_unread() => ExitCode::SUCCESS,
        Err(failed) => {
            // If standard error is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "cutout: {}", failed.told());
            failed.exit_code()
        }
    }
}

async fn run(command: Command) -> Result<(), Failed> {
    match command {
        Command::Demo { redis, event } => {
            let keep = redis.map_or(Keep::Memory, Keep::Redis);
            match event {
                None => demo::run(&keep).await?,
                Some(file) => event::run(&keep, &file).await?,
            }
        }
        Command::Dev { redis, breakers } => {
            let redis = match redis.as_deref() {
                None => RedisChoice::None,
                Some("auto") => RedisChoice::Auto,
                Some(url) => RedisChoice::Url(url.to_owned()),
            };
            dev::run(redis, breakers).await?;
        }
        Command::Lint(asked) => lint::run(&asked).await?,
        Command::Operate(command) => operate::run(command).await?,
        Command::Send(command) => send::run(command).await?,
        Command::Dispatch => dispatch::run().await?,
        Command::Redrive(asked) => redrive::run(&asked).await?,
        Command::Drill(asked) => drill::run(&asked).await?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "cutout", &mut script);
            std::io::stdout().write_all(&script)?;
        }
        Command::Reference { write: None } => std::io::stdout().write_all(reference().as_bytes())?,
        Command::Reference { write: Some(docs) } => reference::write(&docs)?,
    }
    Ok(())
}

/// What serves tells what it does, as the function and the service do: one JSON object a line. The level is fixed: below
/// it, libraries log requests and payloads.
fn log_to_stdout() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_max_level(LevelFilter::INFO)
        .init();
}

/// The process's variables. A value that is not Unicode is read as good as it goes, and then refused by its setting's own rule.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |value: OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
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
