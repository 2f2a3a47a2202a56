//! The operators' commands: what there is, what people decide, who did what, and changes as they happen.
//!
//! Each is a few requests to the operators' API (docs/api.md) and a page of plain text, or with `--json` the API's own
//! JSON. Nothing is decided here: the service says what may be, and its problems are passed on in one line.

mod decide;
mod history;
mod status;
mod watch;

use crate::api::{Api, Caution, Place, Request};
use crate::ended::Failed;
use crate::terminal::Terminal;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;

/// The longest spelling of a breaker that is sent, bytes.
const BREAKER_MAX_BYTES: usize = 1_024;

/// What operators do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show all breakers, or everything about one.
    Status(StatusArguments),
    /// Force a breaker open: calls are refused, whatever its monitors say.
    Open(ForceArguments),
    /// Force a breaker closed: calls flow, whatever its monitors say.
    Close(ForceArguments),
    /// End what open or close has forced: the monitors decide again.
    Clear(EndArguments),
    /// Let a breaker open that `max_open` holds back.
    Release(EndArguments),
    /// Let no signal open any breaker of the scope, until the end that is given.
    Pause(PauseArguments),
    /// End the pause: what fires opens at once.
    Resume(Decision),
    /// Inject a fault into a breaker's calls, or end one.
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Show who did what, and what changed by itself, the newest first.
    History(HistoryArguments),
    /// Show each change as it happens, until Ctrl-C.
    Watch(WatchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// One breaker, such as bank-charge/0001; without it, all.
    #[arg(value_parser = breaker)]
    breaker: Option<String>,
    /// Only those in this state.
    #[arg(long, conflicts_with = "breaker")]
    state: Option<StateName>,
    /// Only those of this name.
    #[arg(long, conflicts_with = "breaker")]
    name: Option<String>,
    /// Only those that a person forces.
    #[arg(long, conflicts_with = "breaker")]
    overridden: bool,
    /// Only those that are not open although a signal fires: held by a pause or by `max_open`.
    #[arg(long, conflicts_with_all = ["breaker", "state", "name", "overridden"])]
    held: bool,
    /// End with 1 if any breaker that is shown is open.
    #[arg(long)]
    fail_if_open: bool,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct ForceArguments {
    /// The breaker, such as bank-charge/0001.
    #[arg(value_parser = breaker)]
    breaker: String,
    /// When it ends: how long from now (30m, 12h), a time (2026-11-21T06:00:00Z), or never.
    #[arg(long, value_name = "END")]
    until: String,
    #[command(flatten)]
    decision: Decision,
}

#[derive(Debug, Args)]
pub(crate) struct EndArguments {
    /// The breaker, such as bank-charge/0001.
    #[arg(value_parser = breaker)]
    breaker: String,
    #[command(flatten)]
    decision: Decision,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArguments {
    /// When it ends: how long from now (30m, 12h), a time (2026-11-21T06:00:00Z), or never.
    #[arg(long, value_name = "END")]
    until: String,
    #[command(flatten)]
    decision: Decision,
}

/// Faults in a breaker's calls, to see what callers do.
#[derive(Debug, Subcommand)]
pub(crate) enum FaultCommand {
    /// Inject a fault into the calls that a breaker admits, in the place of the one before.
    Set(FaultArguments),
    /// End a fault, whoever has set it.
    Clear(EndArguments),
}

#[derive(Debug, Args)]
pub(crate) struct FaultArguments {
    /// The breaker, such as bank-charge/0001.
    #[arg(value_parser = breaker)]
    breaker: String,
    /// The share of calls that end unsent: 50% at the most, and 100% with --header.
    #[arg(long, value_name = "SHARE", value_parser = share_ppm, required_unless_present = "delay")]
    abort: Option<u32>,
    /// How long calls wait before they are sent, such as 300ms: 30s at the most.
    #[arg(long, value_name = "TIME", value_parser = cutout_service::duration::parse_ms, requires = "delay_share")]
    delay: Option<i64>,
    /// The share of calls that wait so long: 50% at the most, and 100% with --header.
    #[arg(long, value_name = "SHARE", value_parser = share_ppm, requires = "delay")]
    delay_share: Option<u32>,
    /// Only HTTP requests that bear this header, with any value, or with this one: x-drill, or x-drill:yes.
    #[arg(long, value_name = "NAME[:VALUE]")]
    header: Option<String>,
    /// When it ends: how long from now (10m), or a time (2026-11-21T06:00:00Z); one hour from now at the latest.
    #[arg(long, value_name = "END")]
    until: String,
    #[command(flatten)]
    decision: Decision,
}

/// What each decision needs.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// Why: it stands in the history.
    #[arg(long, value_name = "REASON")]
    why: String,
    #[command(flatten)]
    seen: Seen,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Only of this breaker.
    #[arg(value_parser = breaker)]
    breaker: Option<String>,
    /// How many entries.
    #[arg(long, value_name = "NUMBER", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// All of it as JSON Lines, the oldest first.
    #[arg(long, conflicts_with = "limit")]
    export: bool,
    /// With --export: only what came after this entry, the `id` of the last line that is there already.
    #[arg(long, value_name = "ID", requires = "export")]
    after: Option<String>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Only these breakers, or all of a name; without any, all.
    #[arg(value_parser = breaker)]
    breakers: Vec<String>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    place: Place,
}

/// What was seen before deciding.
#[derive(Debug, Args)]
pub(crate) struct Seen {
    /// Decide only if this is still its version, as `cutout status` shows it. Needed to replace or end what somebody else decided.
    #[arg(long, value_name = "VERSION", conflicts_with = "force")]
    expect: Option<String>,
    /// Decide whatever its version is, also over somebody else's decision.
    #[arg(long)]
    force: bool,
}

impl Decision {
    /// A request that carries it out.
    fn request(&self, method: Method, words: &[&str], breaker: Option<&str>) -> Result<Request, Failed> {
        Ok(Api::open(&self.place)?.request(method, words, breaker).caution(&self.seen.caution()))
    }
}

impl Seen {
    fn caution(&self) -> Caution {
        match (&self.expect, self.force) {
            (Some(version), _) => Caution::Seen(version.clone()),
            (None, true) => Caution::Any,
            (None, false) => Caution::Unseen,
        }
    }
}

/// In which form.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Form {
    /// JSON, as the API gives it, instead of text.
    #[arg(long)]
    json: bool,
}

/// A breaker's state.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StateName {
    Closed,
    Open,
    HalfOpen,
}

impl StateName {
    fn as_str(self) -> &'static str {
        match self {
            StateName::Closed => "closed",
            StateName::Open => "open",
            StateName::HalfOpen => "half-open",
        }
    }
}

/// A breaker as it is typed. What a URL would resolve away would name another one.
fn breaker(text: &str) -> Result<String, String> {
    let resolves =
        |part: &str| matches!(part.to_ascii_lowercase().as_str(), "" | "." | ".." | "%2e" | "%2e%2e");
    if text.len() > BREAKER_MAX_BYTES || text.split('/').any(resolves) {
        return Err(
            "a breaker is its name, and a slash before each value of its key: bank-charge/0001".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// A share as it is typed, in parts per million.
fn share_ppm(text: &str) -> Result<u32, String> {
    let wrong = || "a share is from 0% to 100%, such as 10% or 0.5%".to_owned();
    cutout_service::share::parse_ppm(text).ok_or_else(wrong)
}

/// Runs one of them.
///
/// # Errors
/// What the service refused, or why it was not reached.
pub(crate) async fn run(command: Command) -> Result<(), Failed> {
    let terminal = Terminal::of_environment();
    match command {
        Command::Status(asked) => status::run(&Api::open(&asked.place)?, terminal, &asked).await,
        Command::Open(asked) => decide::force(terminal, "open", &asked).await,
        Command::Close(asked) => decide::force(terminal, "closed", &asked).await,
        Command::Clear(asked) => decide::end(terminal, "overrides", &asked).await,
        Command::Release(asked) => decide::end(terminal, "held", &asked).await,
        Command::Pause(asked) => decide::pause(terminal, &asked).await,
        Command::Resume(asked) => decide::resume(terminal, &asked).await,
        Command::Fault(FaultCommand::Set(asked)) => decide::inject(terminal, &asked).await,
        Command::Fault(FaultCommand::Clear(asked)) => decide::end(terminal, "faults", &asked).await,
        Command::History(asked) => history::run(&Api::open(&asked.place)?, terminal, &asked).await,
        Command::Watch(asked) => watch::run(&Api::open(&asked.place)?, terminal, &asked).await,
    }
}

#[cfg(test)]
mod tests {
    use super::breaker;

    #[test]
    fn a_breaker_that_a_url_would_turn_into_another_is_refused() {
        for text in ["", "/", "a/", "a/..", "a/./b", "a/%2E", "a//b"] {
            assert!(breaker(text).is_err(), "{text}");
        }
        for text in ["fleet", "bank-charge/0001", "bank-charge/a%2Fb", "card/visa/jp", "a/..."] {
            assert_eq!(breaker(text).as_deref(), Ok(text));
        }
    }
}
