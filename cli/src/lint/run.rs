//! The command: what it is asked, what it reads, how it ends.

use super::output::{Format, shown};
use super::{
    Accepted, Context, Declared, Handles, Judged, Monitor, Named, Severity, fixed_text, judge, read,
};
use crate::stack::BoxError;
use cutout_core::Problems;
use cutout_lambda::datadog::Datadog;
use cutout_lambda::settings::{self, CALLBACK_ALLOW, CALLBACK_ALLOW_CIDR};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long all reads of Datadog may take.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What stands for a file's name where monitors come from Datadog.
const DATADOG: &str = "Datadog";
/// Nothing is wrong, or nothing that counts.
const CLEAN: u8 = 0;
/// Something is wrong.
const FOUND: u8 = 1;

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

/// Lints. Ends with 0 if nothing is wrong, 1 if something is.
///
/// # Errors
/// If something cannot be read or asked.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, BoxError> {
    if arguments.files.is_empty() && !arguments.datadog {
        return Err("no monitors to read: name files, or say --datadog".into());
    }
    let context = context(&arguments)?;
    let monitors = monitors(&arguments, &context.tag).await?;
    let mut out = std::io::stdout().lock();
    if arguments.fix_text {
        let fixed = fix(&monitors, arguments.url.as_deref(), &context)?;
        out.write_all(fixed.as_bytes())?;
        return Ok(ExitCode::from(CLEAN));
    }
    let judged = judge(&monitors, &context, arguments.monitor.is_empty());
    out.write_all(shown(&judged, arguments.format).as_bytes())?;
    Ok(ExitCode::from(if is_wrong(&judged, arguments.strict) { FOUND } else { CLEAN }))
}

fn is_wrong(judged: &Judged, strict: bool) -> bool {
    judged.count(Severity::Error) > 0 || strict && judged.count(Severity::Warning) > 0
}

/// The text for the one monitor that is asked for.
fn fix(monitors: &[Monitor], url: Option<&str>, context: &Context) -> Result<String, BoxError> {
    let [monitor] = monitors else {
        return Err(format!("there are {} monitors: name one by --monitor", monitors.len()).into());
    };
    let fixed = fixed_text(monitor, url, context)?;
    if fixed.words_lost {
        writeln!(
            std::io::stderr(),
            "cutout: the rest of the message is left out, for with it the text would not be clean: put it back by hand, \
             below the handle, and lint again"
        )?;
    }
    Ok(fixed.text + "\n")
}

fn context(arguments: &Arguments) -> Result<Context, BoxError> {
    let mut variables = environment();
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
    problems.or(())?;
    let accepted = match &arguments.accept {
        Some(path) => Accepted::read(&path.display().to_string(), &text_of(path)?)?,
        None => Accepted::default(),
    };
    Ok(Context::new(guard, Handles::of(&arguments.handle), tag, declared, accepted))
}

/// The environment's variables that are text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// All monitors that are asked for.
async fn monitors(arguments: &Arguments, tag: &str) -> Result<Vec<Monitor>, BoxError> {
    let mut monitors = Vec::new();
    for path in &arguments.files {
        let name = path.display().to_string();
        monitors.extend(read(&name, &text_of(path)?, true)?);
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
            return Err(format!("no monitor that was read is called {name}").into());
        }
    }
    Ok(monitors)
}

/// By their numbers where only numbers are asked for, else all that bear the tag.
async fn from_datadog(wanted: &[String], tag: &str) -> Result<Vec<Monitor>, BoxError> {
    let datadog = Datadog::new(settings::datadog(environment())?, None)?;
    let until = Instant::now() + READ_TIMEOUT;
    let ids: Option<Vec<u64>> = wanted.iter().map(|name| name.parse().ok()).collect();
    let mut texts = Vec::new();
    match ids.filter(|ids| !ids.is_empty()) {
        Some(ids) => {
            for id in ids {
                texts.push(datadog.definition(id, until).await?);
            }
        }
        None => texts = datadog.definitions(tag, until).await?,
    }
    // One that two pages show counts once, as the later one shows it.
    let mut monitors = BTreeMap::new();
    for text in texts {
        monitors.extend(read(DATADOG, &text, false)?.into_iter().map(|monitor| (monitor.id, monitor)));
    }
    Ok(monitors.into_values().collect())
}

fn text_of(path: &Path) -> Result<String, BoxError> {
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
    read().map_err(|error| format!("reading {}: {error}", path.display()).into())
}
