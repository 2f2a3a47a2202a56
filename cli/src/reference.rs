//! The reference part of docs/cli.md: every command and flag, as clap knows them. A test compares the two.

use crate::Arguments;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;

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
