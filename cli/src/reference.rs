//! The reference parts of the pages in docs/, made of what the programs themselves know: every command and flag (clap), every variable and
//! metric, every setting of a builder (each program's own tables), every call of the operators' API (its description). Tests compare the two.
//!
//! Left out: `cutout-envoy`, which this program does not import. Its tests print its parts.

mod api;

use crate::Arguments;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use cutout_core::reference::{
    METRICS_HEAD, Metric, SETTINGS_HEAD, Setting, VARIABLES_HEAD, Variable, placed,
};
use std::fmt::Write;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// A part of a page that is made.
#[derive(Debug, Clone)]
pub struct Part {
    /// The page, within docs/.
    pub page: &'static str,
    /// How its markers name it.
    pub name: &'static str,
    /// What stands between them.
    pub text: String,
}

/// All parts of pages that this program can make, but for the commands'.
#[must_use]
pub fn parts() -> Vec<Part> {
    let part = |page, name, text| Part { page, name, text };
    vec![
        part("settings.md", "variables of the function", variables(&cutout_lambda::settings::VARIABLES)),
        part("settings.md", "variables of cutout dispatch", variables(&crate::dispatch::VARIABLES)),
        part("settings.md", "variables of the service", variables(&cutout_service::settings::VARIABLES)),
        part("settings.md", "settings of the client", settings(&cutout::ClientBuilder::reference())),
        part("settings.md", "metrics of the client", metrics(&cutout::metrics::METRICS)),
        part("client.md", "settings of upstreams", settings(&cutout::UpstreamBuilder::reference())),
        part("client.md", "metrics of calls", metrics(&cutout::metrics::CALL_METRICS)),
        part("metrics.md", "metrics of the service", metrics(&cutout_service::metrics::METRICS)),
        part("metrics.md", "metrics of the store", metrics(&cutout_flags::METRICS)),
        part("api.md", "operations", api::operations(&cutout_service::api::description())),
        part("api.md", "bodies", api::bodies(&cutout_service::api::description())),
    ]
}

/// Puts every part into its page in `docs`.
///
/// # Errors
/// A page cannot be read or written, or has no place for its part.
pub(crate) fn write(docs: &Path) -> std::io::Result<()> {
    for Part { page, name, text } in parts() {
        let path = docs.join(page);
        let old = std::fs::read_to_string(&path)
            .map_err(|error| Error::new(error.kind(), format!("reading {}: {error}", path.display())))?;
        let new = placed(&old, name, &text).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("{} has no markers for {name}", path.display()))
        })?;
        std::fs::write(&path, new)?;
    }
    let path = docs.join("cli.md");
    let old = std::fs::read_to_string(&path)?;
    let (before, _) = old.split_once(COMMANDS).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("{} has no marker for commands", path.display()))
    })?;
    std::fs::write(&path, format!("{before}{COMMANDS}\n{}\n", reference().trim()))
}

/// What begins the commands' part of docs/cli.md, which goes on to its end.
const COMMANDS: &str = "<!-- reference: made by `cutout reference` -->\n";

fn variables(variables: &[Variable]) -> String {
    variables.iter().fold(VARIABLES_HEAD.to_owned(), |table, variable| table + &variable.to_string())
}

fn settings(settings: &[Setting]) -> String {
    settings.iter().fold(SETTINGS_HEAD.to_owned(), |table, setting| table + &setting.to_string())
}

fn metrics(metrics: &[Metric]) -> String {
    metrics.iter().fold(METRICS_HEAD.to_owned(), |table, metric| table + &metric.to_string())
}

/// All commands with their arguments, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut root = Arguments::command();
    root.build();
    let mut page = String::new();
    for command in
        root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        section(&mut page, command, "cutout");
    }
    page
}

/// One command, and those below it.
fn section(page: &mut String, command: &Command, before: &str) {
    let name = format!("{before} {}", command.get_name());
    // Writing to a String cannot fail.
    let _ = writeln!(page, "### `{name}`\n\n{}\n", sentence(command.get_about()));
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if !arguments.is_empty() {
        page.push_str("| argument | |\n|---|---|\n");
        for argument in arguments {
            let _ =
                writeln!(page, "| `{}` | {} |", spelling(argument).replace('|', "\\|"), meaning(argument));
        }
        page.push('\n');
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        section(page, below, &name);
    }
}

fn spelling(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match argument.get_long() {
        Some(long) if takes => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

/// The help text, the values that there are, and what holds without it.
fn meaning(argument: &Arg) -> String {
    let mut meaning = sentence(argument.get_help());
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && argument.get_action().takes_values())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        let _ = write!(meaning, " One of {}.", values.join(", "));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(meaning, " Default `{}`.", defaults.join(" "));
    }
    if argument.is_required_set() {
        meaning.push_str(" Required.");
    }
    meaning.replace('|', "\\|")
}

fn sentence(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    if text.is_empty() || text.ends_with(['.', ':']) { text } else { format!("{text}.") }
}
