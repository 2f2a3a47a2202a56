//! `cutout drill`: the path practised on a live installation, with the time that each hop takes.
//!
//! The function is asked to send a signed step to the service, which forces a breaker of `drill = true` open; then the flag
//! is awaited in the store and a refusal at a client of this process; then the way back. Whatever happens here, the
//! drill ends by itself (core's `drill`): at the end that was asked for, five minutes away at the most.
//!
//! Not practised: Datadog, SNS and the queue, for no monitor fires.

mod way;

use crate::ended::Failed;
use crate::terminal::{Terminal, plain};
use clap::Args;
use cutout::{Breaker, Client, State};
use cutout_core::{BreakerId, Mode};
use cutout_flags::{Published, Store};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use way::Way;

/// How long each hop is waited for.
const HOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the flag is read.
const FLAG_EVERY: Duration = Duration::from_millis(10);
/// How often the client is asked, which costs no network.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// How long a whole way back may take beyond what the flag says.
const BACK_MARGIN: Duration = Duration::from_secs(30);

const REDIS_VARIABLE: &str = "CUTOUT_REDIS_URL";
const SCOPE_VARIABLE: &str = "CUTOUT_SCOPE";
const SCOPE_DEFAULT: &str = "default";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The breaker to practise with, such as drill/0001; its declaration says `drill = true`.
    breaker: String,
    /// The service's callback URL, as monitors name it.
    #[arg(long, value_name = "URL")]
    callback: String,
    /// The function's name at AWS.
    #[arg(long, value_name = "NAME", required_unless_present = "in_process", conflicts_with = "in_process")]
    function: Option<String>,
    /// Run the function in this process instead, with its settings from the environment: for installations without AWS.
    #[arg(long)]
    in_process: bool,
    /// After how many seconds it ends in any case.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(10..=300))]
    for_secs: u32,
    /// Wait until all calls flow again, which takes as long as the breaker's ramp; without it, until the first ones do.
    #[arg(long)]
    whole: bool,
    /// Who drills: it stands in the history. Without it USER.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why: it stands in the history.
    #[arg(long, value_name = "REASON", default_value = "a drill")]
    why: String,
    /// AWS's region; without it AWS_REGION.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// Drills, and tells each hop.
///
/// # Errors
/// What did not come about. The drill is ended then too.
pub(crate) async fn run(asked: &Arguments) -> Result<(), Failed> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let terminal = Terminal::of_environment();
    let seen = Seen::open(&asked.breaker).await?;
    let way = Way::open(asked).await?;
    seen.may_begin().await?;
    let practised = tokio::select! {
        practised = practise(&way, &seen, terminal, asked.whole) => practised,
        _ = interrupt.recv() => Err(Failed::refused("interrupted")),
        _ = terminate.recv() => Err(Failed::refused("interrupted")),
    };
    let Err(failed) = practised else { return Ok(()) };
    // Whatever has come of it, nothing is to be left open. What was never opened is nothing to end.
    let ended = match way.step(false).await {
        Ok(()) => "the drill is ended".to_owned(),
        Err(_) => format!("should it have begun, it ends by itself within {} s", asked.for_secs),
    };
    Err(failed.and(&ended))
}

/// There and back.
async fn practise(way: &Way, seen: &Seen, terminal: Terminal, whole: bool) -> Result<(), Failed> {
    let begun = Instant::now();
    terminal.line(&format!("{} is to open", seen.id.as_str()))?;
    let (answered, flag, refused) = tokio::try_join!(
        timed(begun, way.step(true)),
        timed(begun, seen.flag(true)),
        timed(begun, seen.refusal()),
    )?;
    hop(terminal, "the function has signed and posted, the service committed", answered)?;
    hop(terminal, "the flag in the store is open", flag)?;
    hop(terminal, "a client refuses", refused)?;

    let ending = Instant::now();
    terminal.line("and back")?;
    let (answered, flag, admitted) = tokio::try_join!(
        timed(ending, way.step(false)),
        timed(ending, seen.flag(false)),
        timed(ending, seen.admission()),
    )?;
    hop(terminal, "the function has signed and posted, the service committed", answered)?;
    hop(terminal, "the flag in the store is open no more", flag)?;
    hop(terminal, "a client admits a call", admitted)?;
    if whole {
        let closed = timed(ending, seen.closed()).await?;
        hop(terminal, "all calls flow", closed)?;
    }
    Ok(terminal.line("the path works; the history shows it")?)
}

fn hop(terminal: Terminal, what: &str, took: Duration) -> std::io::Result<()> {
    terminal.line(&format!("  {what:<60} {:>8} ms", took.as_millis()))
}

/// How long after `begun` something was done.
async fn timed(begun: Instant, done: impl Future<Output = Result<(), Failed>>) -> Result<Duration, Failed> {
    done.await.map(|()| begun.elapsed())
}

/// The breaker as it is seen: in the store, and by a client.
struct Seen {
    id: BreakerId,
    store: Arc<dyn Store>,
    breaker: Breaker,
    /// It follows the store as long as it is there.
    _client: Client,
}

impl Seen {
    async fn open(breaker: &str) -> Result<Seen, Failed> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let url = variable(REDIS_VARIABLE).ok_or_else(|| {
            Failed::usage(format!(
                "{REDIS_VARIABLE} is not set: where the flags are kept, as clients name it"
            ))
        })?;
        let scope = variable(SCOPE_VARIABLE).unwrap_or_else(|| SCOPE_DEFAULT.to_owned());
        let store =
            cutout_flags::open(&url, &scope).map_err(|error| Failed::new(crate::ended::USAGE, error))?;
        let id = BreakerId::typed(breaker);
        let client = Client::builder_on(Arc::clone(&store)).breaker(id.name()).require_store().connect();
        let client = client.await.map_err(|error| Failed::new(crate::ended::UNREACHABLE, error))?;
        let values: Vec<&str> = breaker.split('/').skip(1).collect();
        let breaker = client.breaker(id.name(), &values)?;
        if *breaker.id() != id {
            return Err(Failed::usage("drill with a key whose values hold neither / nor %"));
        }
        Ok(Seen { id, store, breaker, _client: client })
    }

    /// A drill begins where calls flow, so that it takes nothing from anybody and what it shows is its own doing.
    async fn may_begin(&self) -> Result<(), Failed> {
        let is = |what: &str| Failed::refused(format!("{} {what}: no drill now", self.id.as_str()));
        let Some(published) = self.published().await? else { return Ok(()) };
        match published.flag.mode {
            Mode::Watch => return Err(is("is in watch mode, so no client would refuse")),
            Mode::Enforce => {}
        }
        if published.flag.forced.is_some() || self.breaker.state() != State::Closed {
            return Err(is("is not closed, or somebody forces it"));
        }
        Ok(())
    }

    async fn published(&self) -> Result<Option<Published>, Failed> {
        let flags = self.store.flags(std::slice::from_ref(&self.id)).await;
        let flags = flags.map_err(|error| Failed::new(crate::ended::UNREACHABLE, error))?;
        Ok(flags.into_iter().next().flatten())
    }

    /// Waits until the flag in the store is open, or is open no more.
    async fn flag(&self, open: bool) -> Result<(), Failed> {
        let reached = async {
            loop {
                let state = self.published().await?.map_or(State::Closed, |published| published.flag.state);
                if (state == State::Open) == open {
                    return Ok(());
                }
                sleep(FLAG_EVERY).await;
            }
        };
        let what =
            if open { "the flag in the store did not open" } else { "the flag in the store stayed open" };
        within(HOP_TIMEOUT, reached, what).await
    }

    /// Waits until the client refuses a call because the breaker is open.
    async fn refusal(&self) -> Result<(), Failed> {
        let reached = async {
            while self.breaker.state() != State::Open || self.breaker.admit().is_ok() {
                sleep(ASK_EVERY).await;
            }
            Ok(())
        };
        within(HOP_TIMEOUT, reached, "the client did not refuse").await
    }

    /// Waits until the client admits a call because the breaker is open no more: at first a share of them.
    async fn admission(&self) -> Result<(), Failed> {
        let reached = async {
            while self.breaker.state() == State::Open || self.breaker.admit().is_err() {
                sleep(ASK_EVERY).await;
            }
            Ok(())
        };
        within(HOP_TIMEOUT, reached, "the client went on refusing").await
    }

    /// Waits until it is closed, for as long as the flag says that this takes.
    async fn closed(&self) -> Result<(), Failed> {
        let next = self.published().await?.and_then(|published| published.flag.next);
        let left_ms = next.map_or(0, |next| next.at_ms.saturating_sub(Timestamp::now().as_millisecond()));
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        let reached = async {
            while self.breaker.state() != State::Closed {
                sleep(FLAG_EVERY).await;
            }
            Ok(())
        };
        within(left + BACK_MARGIN, reached, "the breaker did not close").await
    }
}

async fn within(
    limit: Duration,
    reached: impl Future<Output = Result<(), Failed>>,
    otherwise: &str,
) -> Result<(), Failed> {
    let late = |_| Failed::refused(format!("{} within {} s", plain(otherwise), limit.as_secs()));
    timeout(limit, reached).await.map_err(late)?
}
