//! `cutout send`: one message, to see whether an installation takes it.
//!
//! A notification goes in where Datadog's would, a callback where the function's would. Neither can change more than a
//! real hint may: without `--transition` it opens nothing, and with `alert` and a group it opens that group's breaker for
//! five minutes at the most, unless Datadog's own answer agrees. A made-up report is never sent: it would be believed until the
//! next scheduled run.

mod callback;
mod notification;

use crate::api::{client, is_loopback, read, secret_of, unreached};
use crate::ended::{Failed, NOT_ALLOWED, REFUSED, UNREACHABLE};
use crate::terminal::plain;
use clap::{Args, Subcommand, ValueEnum};
use cutout_core::report::NotifiedTransition;
use reqwest::{Response, StatusCode, Url};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How much of an answer is shown.
const ANSWER_MAX_BYTES: usize = 2_000;

/// What to send.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Post what Datadog would send, to `cutout dispatch`, `cutout dev` or a local Lambda runtime.
    Notification(NotificationArguments),
    /// Post a signed callback with a hint and no report, straight to a service.
    Callback(CallbackArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NotificationArguments {
    /// Where to: the door of `cutout dispatch` (…/notify), or whatever takes an event of Lambda.
    #[arg(long, value_name = "URL", required_unless_present = "print", conflicts_with = "print")]
    to: Option<String>,
    /// Print the message instead, for `aws lambda invoke --payload` and the like.
    #[arg(long)]
    print: bool,
    /// As Datadog's webhook, or as an event of Lambda with one SNS record.
    #[arg(long = "as", value_enum, default_value_t = Shape::Webhook)]
    shape: Shape,
    /// The service's callback URL: what stands behind the directive in the monitor's text.
    #[arg(long, value_name = "URL")]
    callback: String,
    #[command(flatten)]
    what: What,
    /// A file that holds the secret of the door; without it CUTOUT_DISPATCH_SECRET.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CallbackArguments {
    /// The service's callback URL.
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    what: What,
    /// A file that holds the signing secret (whsec_…); without it CUTOUT_SIGNING_SECRET.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// What the message tells.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// The monitor's number. The function reads this monitor in Datadog.
    #[arg(long, value_name = "NUMBER")]
    monitor: u64,
    /// The group that it is about, such as bank_code:0001,env:prod.
    #[arg(long, value_name = "TAGS")]
    group: Option<String>,
    /// What it claims has happened. Without it, nothing: a test that opens no breaker.
    #[arg(long, value_enum)]
    transition: Option<Transition>,
}

/// The form of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    Webhook,
    Event,
}

/// What a message may claim.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Transition {
    Alert,
    Warn,
    Recovery,
    NoData,
}

impl Transition {
    /// The word that stands in Datadog's titles.
    fn word(self) -> &'static str {
        match self {
            Transition::Alert => "Triggered",
            Transition::Warn => "Warn",
            Transition::Recovery => "Recovered",
            Transition::NoData => "No data",
        }
    }
}

impl From<Transition> for NotifiedTransition {
    fn from(transition: Transition) -> NotifiedTransition {
        match transition {
            Transition::Alert => NotifiedTransition::Alert,
            Transition::Warn => NotifiedTransition::Warn,
            Transition::Recovery => NotifiedTransition::Recovery,
            Transition::NoData => NotifiedTransition::NoData,
        }
    }
}

/// Sends it, and tells what was answered.
///
/// # Errors
/// What was refused, or why nobody was reached.
pub(crate) async fn run(command: Command) -> Result<(), Failed> {
    match command {
        Command::Notification(asked) => notification::run(&asked).await,
        Command::Callback(asked) => callback::run(&asked).await,
    }
}

/// Where a message goes. Unlike a service's address it has a path.
fn target(text: &str) -> Result<Url, Failed> {
    let url = crate::api::base(text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        // If standard error is closed there is nobody to warn.
        let _ = writeln!(std::io::stderr(), "cutout: warning: plain http to another machine");
    }
    Ok(url)
}

/// A secret out of a file or a variable; none if neither is given.
fn secret(file: Option<&Path>, variable: &str) -> Result<Option<String>, Failed> {
    match file {
        Some(file) => secret_of(file).map(Some),
        None => Ok(std::env::var(variable)
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())),
    }
}

/// Posts a body, and tells the answer. Only 200 means that all was done.
async fn post(url: &Url, body: Vec<u8>, headers: &[(&str, String)]) -> Result<(), Failed> {
    let mut request = client(url)?.post(url.clone()).header("content-type", "application/json").body(body);
    for (name, value) in headers {
        let mut value = reqwest::header::HeaderValue::try_from(value)
            .map_err(|_| Failed::usage(format!("{name} holds a character that no header has")))?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    let answer = request.send().await.map_err(|error| unreached(&shown(url), error))?;
    told(url, answer).await
}

async fn told(url: &Url, answer: Response) -> Result<(), Failed> {
    let status = answer.status();
    let body = read(answer, ANSWER_MAX_BYTES).await.unwrap_or_default();
    let body = plain(String::from_utf8_lossy(&body).trim());
    let told = format!("{} answers {status} {body}", shown(url));
    let code = match status {
        StatusCode::OK | StatusCode::ACCEPTED => return Ok(writeln!(std::io::stdout(), "{told}")?),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NOT_ALLOWED,
        status if status.is_server_error() => UNREACHABLE,
        _ => REFUSED,
    };
    Err(Failed::new(code, told))
}

/// The address as it may be shown.
fn shown(url: &Url) -> String {
    plain(url.as_str())
}
