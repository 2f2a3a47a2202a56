//! Examples: every public item of the client is shown in an example of its documentation, and an example says what must come out.
//!
//! An item is shown by an example that names it in the lines that a reader sees: its own, or another of the same file. A method's
//! example belongs to its type or names it, since several types have a `breaker()`. Fields and variants count with their type.
//! Left out: whether examples compile, which `cargo test --doc` knows.

use crate::{files, text};
use std::path::PathBuf;

/// What a program may want to open: at least so many are found, or this test reads the source wrongly.
const ITEMS_MIN: usize = 150;
/// Why an example may be compiled only.
const NEEDS_A_STORE: &str = "redis://";

/// A piece of code between ``` and ``` in a comment for readers.
#[derive(Debug)]
struct Example {
    /// The type that it documents, itself or by a method.
    owner: Option<String>,
    /// The item that it documents.
    item: Option<String>,
    /// What stands behind the first ```.
    kind: String,
    /// Without the lines that are hidden, and without comments.
    shown: String,
    line: usize,
}

#[derive(Debug)]
struct Item {
    /// The type whose method it is.
    owner: Option<String>,
    name: String,
    line: usize,
}

/// One file as this test reads it.
#[derive(Debug, Default)]
struct Source {
    items: Vec<Item>,
    examples: Vec<Example>,
}

fn client() -> Vec<PathBuf> {
    files(".rs").into_iter().filter(|file| file.starts_with("client/src")).collect()
}

/// The word behind `keyword`, in what a line declares.
fn declared(line: &str, keywords: &[&str]) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| ["pub", "const", "async"].contains(word));
    let is_const = line.trim_start().starts_with("pub const ") && !line.contains(" fn ");
    let name = match words.next()? {
        name if is_const => name,
        keyword if keywords.contains(&keyword) => words.next()?,
        _ => return None,
    };
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().map(str::to_owned)
}

/// The type that an `impl` at the margin is of.
fn implemented(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    let rest = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    // Past the generic parameters, which are not nested in this package.
    let rest = rest.strip_prefix('<').and_then(|rest| rest.split_once("> ")).map_or(rest, |(_, of)| of);
    rest.trim().split(|letter: char| !letter.is_alphanumeric()).next().map(str::to_owned)
}

fn read(source: &str) -> Source {
    let mut read = Source::default();
    let (mut within, mut is_trait) = (None, false);
    let mut documentation: Vec<(usize, &str)> = Vec::new();
    for (nth, line) in source.lines().enumerate().take_while(|(_, line)| *line != "mod tests {") {
        let code = line.trim_start();
        if let Some(told) = code.strip_prefix("///").or_else(|| code.strip_prefix("//!")) {
            documentation.push((nth + 1, told.strip_prefix(' ').unwrap_or(told)));
            continue;
        }
        if code.starts_with('#') {
            continue;
        }
        let is_indented = code.len() < line.len();
        let is_public = code.starts_with("pub ") || is_indented && is_trait;
        let name = declared(code, &["fn", "struct", "enum", "trait", "type"]).filter(|_| is_public);
        if !is_indented && !code.is_empty() {
            within = implemented(line).or_else(|| name.clone());
            is_trait = line.starts_with("pub trait ");
        }
        let owner = within.clone().filter(|_| is_indented);
        for (first, kind, shown) in examples(&documentation) {
            let (owner, item) = (owner.clone(), name.clone());
            read.examples.push(Example { owner, item, kind, shown, line: first });
        }
        documentation.clear();
        read.items.extend(name.map(|name| Item { owner, name, line: nth + 1 }));
    }
    read
}

/// The examples of one comment: where each begins, of what kind it is, and what a reader sees of its code.
fn examples(documentation: &[(usize, &str)]) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (line, told) in documentation {
        match (told.trim_start().strip_prefix("```"), &mut open) {
            (Some(kind), None) => open = Some((*line, kind.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((.., shown))) if *told != "#" && !told.starts_with("# ") => {
                // Not the slashes of an address.
                let told = format!(" {told}");
                shown.push_str(told.split(" //").next().unwrap_or_default());
                shown.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

/// Whether the code has this word; of a method: behind a dot or its type.
fn names(code: &str, word: &str, is_method: bool) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + word.len()..].chars().next());
        let is_whole = !before.is_some_and(is_letter) && !after.is_some_and(is_letter);
        is_whole && (!is_method || matches!(before, Some('.' | ':')))
    })
}

fn shows(example: &Example, item: &Item) -> bool {
    let is_rust = example.kind.is_empty() || example.kind == "no_run";
    let is_named = match &item.owner {
        Some(owner) => {
            let is_theirs = example.owner.as_ref() == Some(owner) || example.item.as_ref() == Some(owner);
            (is_theirs || names(&example.shown, owner, false)) && names(&example.shown, &item.name, true)
        }
        None => {
            let is_its_own = example.owner.is_none() && example.item.as_ref() == Some(&item.name);
            is_its_own || names(&example.shown, &item.name, false)
        }
    };
    is_rust && is_named
}

#[test]
fn every_public_item_of_the_client_is_shown_in_an_example() {
    let (mut seen, mut missing) = (0, Vec::new());
    for file in client() {
        let source = read(&text(&file));
        seen += source.items.len();
        for item in &source.items {
            if !source.examples.iter().any(|example| shows(example, item)) {
                let owner = item.owner.as_ref().map_or(String::new(), |owner| format!("{owner}::"));
                missing.push(format!("{}:{}: {owner}{}", file.display(), item.line, item.name));
            }
        }
    }
    assert!(seen >= ITEMS_MIN, "only {seen} items were seen");
    assert!(missing.is_empty(), "no example in the same file names:\n{}", missing.join("\n"));
}

#[test]
fn examples_of_the_client_run_and_assert() {
    let mut wrong = Vec::new();
    for file in client() {
        for Example { kind, shown, line, .. } in read(&text(&file)).examples {
            let why = match kind.as_str() {
                "" if !shown.contains("assert") => "asserts nothing",
                "no_run" if !shown.contains(NEEDS_A_STORE) => "needs no store, so it could run",
                "" | "no_run" => continue,
                _ => "is neither run nor compiled",
            };
            wrong.push(format!("{}:{line}: {why}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "examples:\n{}", wrong.join("\n"));
}

#[test]
fn what_counts_as_shown() {
    let source = read(
        "/// ```\n/// # let hidden = wait();\n/// let room = Room::new(3); // not leave()\n/// ```\npub struct Room {\n    pub size: u32,\n}\n\
         impl<T> Room {\n    pub fn new() {}\n    pub fn leave() {}\n    pub(crate) fn own() {}\n}\npub const fn wait() {}\n\
         /// ```text\n/// LIMIT\n/// ```\npub const LIMIT: u32 = 1;\n",
    );
    let shown = |item: &&Item| source.examples.iter().any(|example| shows(example, item));
    let (shown, missing): (Vec<&Item>, Vec<&Item>) = source.items.iter().partition(shown);
    let name = |items: Vec<&Item>| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    assert_eq!(name(shown), ["Room", "new"]);
    assert_eq!(name(missing), ["leave", "wait", "LIMIT"]);
}
