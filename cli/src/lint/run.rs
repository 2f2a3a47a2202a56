//! The command: what it is asked, what it reads, how it ends.

use super::output::{Format, shown};
use super::{Accepted, Context, Declared, Handles, Monitor, Named, Severity, fixed_text, judge, read};
use crate::ended::{Failed, NOT_ALLOWED, UNREACHABLE, USAGE};
use crate::environment;
use cutout_core::Problems;
use cutout_lambda::datadog::{Datadog, ReadError, ReadFailure};
use cutout_lambda::settings::{self, CALLBACK_ALLOW, CALLBACK_ALLOW_CIDR};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long all reads of Datadog may take.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What stands for a file's name where monitors come from Datadog.
const DATADOG: &str = "Datadog";

/// What it is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// JSON with monitors: one or a list as Datadog's API tells them, or `terraform show -json` of a plan; - reads standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read the monitors from Datadog (DD_API_KEY, DD_APP_KEY, DD_SITE): all that bear the tag, or those of --monitor.
    #[arg(long)]
    datadog: bool,
    /// Only this monitor, by its number, name, or Terraform's address.
    #[arg(long, value_name = "MONITOR")]
    monitor: Vec<String>,
    /// The breakers' file of a service; several of several services.
    #[arg(long, value_name = "FILE")]
    breakers: Vec<PathBuf>,
    /// The hosts that may be called, as in CUTOUT_CALLBACK_ALLOW.
    #[arg(long, value_name = "HOSTS")]
    allow: Option<String>,
    /// Where they may stand, as in CUTOUT_CALLBACK_ALLOW_CIDR.
    #[arg(long, value_name = "RANGES")]
    allow_cidr: Option<String>,
    /// The handle of the topic; without it any @sns-… will do.
    #[arg(long, value_name = "@HANDLE")]
    handle: Vec<String>,
    /// A file of accepted findings, each with its reason.
    #[arg(long, value_name = "FILE")]
    accept: Option<PathBuf>,
    /// How findings are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Warnings end it with 1 too.
    #[arg(long)]
    strict: bool,
    /// Print a right text for the monitor, instead of what is wrong.
    #[arg(long)]
    fix_text: bool,
    /// The callback URL of that text, where the monitor names none.
    #[arg(long, value_name = "URL", requires = "fix_text")]
    url: Option<String>,
}

/// Lints.
///
/// # Errors
/// If something wrong is found; as usage, if something cannot be read.
pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failed> {
    if arguments.files.is_empty() && !arguments.datadog {
        return Err(Failed::usage("no monitors to read: name files, or say --datadog"));
    }
    let context = context(arguments)?;
    let monitors = monitors(arguments, &context.tag).await?;
    let mut out = std::io::stdout().lock();
    if arguments.fix_text {
        let fixed = fix(&monitors, arguments.url.as_deref(), &context)?;
        return Ok(out.write_all(fixed.as_bytes())?);
    }
    let judged = judge(&monitors, &context, arguments.monitor.is_empty());
    out.write_all(shown(&judged, arguments.format).as_bytes())?;
    let (errors, warnings) = (judged.count(Severity::Error), judged.count(Severity::Warning));
    if errors > 0 || arguments.strict && warnings > 0 {
        return Err(Failed::refused(format!("lint found {errors} errors and {warnings} warnings")));
    }
    Ok(())
}

/// The text for the one monitor that is asked for.
fn fix(monitors: &[Monitor], url: Option<&str>, context: &Context) -> Result<String, Failed> {
    let [monitor] = monitors else {
        let many = format!("there are {} monitors: name one by --monitor", monitors.len());
        return Err(Failed::usage(many));
    };
    let fixed = fixed_text(monitor, url, context).map_err(Failed::usage)?;
    if fixed.words_lost {
        writeln!(
            std::io::stderr(),
            "cutout: the rest of the message is left out, for with it the text would not be clean: put it back by hand, \
             below the handle, and lint again"
        )?;
    }
    Ok(fixed.text + "\n")
}

fn context(arguments: &Arguments) -> Result<Context, Failed> {
    let mut variables: BTreeMap<_, _> = environment().collect();
    for (name, value) in [(CALLBACK_ALLOW, &arguments.allow), (CALLBACK_ALLOW_CIDR, &arguments.allow_cidr)] {
        variables.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
    }
    let mut problems = Problems::default();
    let mut noted = |error: Problems| problems.extend(error);
    let guard = settings::guard(variables.clone()).map_err(&mut noted).ok().flatten();
    let tag = settings::managed_tag(variables).map_err(&mut noted).unwrap_or_default();
    let mut declared = Declared::default();
    for path in &arguments.breakers {
        let _ = declared.add(&path.display().to_string(), &text_of(path)?).map_err(&mut noted);
    }
    problems.or(()).map_err(Failed::usage)?;
    let accepted = match &arguments.accept {
        Some(path) => Accepted::read(&path.display().to_string(), &text_of(path)?).map_err(Failed::usage)?,
        None => Accepted::default(),
    };
    Ok(Context::new(guard, Handles::of(&arguments.handle), tag, declared, accepted))
}

/// All monitors that are asked for.
async fn monitors(arguments: &Arguments, tag: &str) -> Result<Vec<Monitor>, Failed> {
    let mut monitors = Vec::new();
    for path in &arguments.files {
        let name = path.display().to_string();
        monitors.extend(read(&name, &text_of(path)?, true).map_err(Failed::usage)?);
    }
    if arguments.datadog {
        monitors.extend(from_datadog(&arguments.monitor, tag).await?);
    }
    let wanted = &arguments.monitor;
    if !wanted.is_empty() {
        let is_wanted = |monitor: &Monitor| wanted.iter().any(|name| Named::of(monitor).is_called(name));
        monitors.retain(is_wanted);
        let lacks = |name: &&String| !monitors.iter().any(|monitor| Named::of(monitor).is_called(name));
        if let Some(name) = wanted.iter().find(lacks) {
            return Err(Failed::usage(format!("no monitor that was read is called {name}")));
        }
    }
    Ok(monitors)
}

/// By their numbers where only numbers are asked for, else all that bear the tag.
async fn from_datadog(wanted: &[String], tag: &str) -> Result<Vec<Monitor>, Failed> {
    let datadog = Datadog::new(settings::datadog(environment()).map_err(Failed::usage)?, None)?;
    let until = Instant::now() + READ_TIMEOUT;
    let ids: Option<Vec<u64>> = wanted.iter().map(|name| name.parse().ok()).collect();
    let mut texts = Vec::new();
    match ids.filter(|ids| !ids.is_empty()) {
        Some(ids) => {
            for id in ids {
                texts.push(datadog.definition(id, until).await.map_err(unread)?);
            }
        }
        None => texts = datadog.definitions(tag, until).await.map_err(unread)?,
    }
    // One that two pages show counts once, as the later one shows it.
    let mut monitors = BTreeMap::new();
    for text in texts {
        monitors.extend(
            read(DATADOG, &text, false)
                .map_err(Failed::usage)?
                .into_iter()
                .map(|monitor| (monitor.id, monitor)),
        );
    }
    Ok(monitors.into_values().collect())
}

/// What Datadog did not tell.
fn unread(error: ReadError) -> Failed {
    let code = match error.cause {
        ReadFailure::Forbidden { .. } => NOT_ALLOWED,
        _ if error.is_retryable() => UNREACHABLE,
        _ => USAGE,
    };
    Failed::new(code, error)
}

fn text_of(path: &Path) -> Result<String, Failed> {
    let read = || {
        let mut text = String::new();
        let bytes = if path == Path::new("-") {
            std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?
        } else {
            std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?
        };
        if bytes as u64 > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(text)
    };
    read().map_err(|error| format!("reading {}: {error}", path.display())).map_err(Failed::usage)
}
