//! Files: each says at its head what it is for, fits a reader's patience, and belongs to a module. How long a function may be is
//! clippy's (`too-many-lines-threshold`).

use crate::{files, text};
use std::path::{Path, PathBuf};

/// How many lines a file of Rust may have.
const LINES_MAX: usize = 500;
/// Files that may be longer, how long they may get, and why.
const LONGER: [(&str, usize, &str); 5] = [
    ("service/src/api/model.rs", 600, "the API's bodies side by side, each field with its description"),
    ("service/src/tests.rs", 700, "cases, one after the other"),
    ("tests/stores/conformance.rs", 650, "one list of what every store must do"),
    ("tests/sim/src/world.rs", 650, "one world"),
    ("tests/wire/reconcile.rs", 600, "cases, one after the other"),
];
/// The core of it all: a state machine that is read as one.
const BREAKER: (&str, usize) = ("core/src/breaker.rs", 600);
/// How long the words at a module's head may get. A crate's root and a program may tell more.
const HEADER_LINES_MAX: usize = 10;
/// Its head is the rule that a security review reads.
const LONGER_HEADER: &str = "lambda/src/guard.rs";

fn rust() -> Vec<PathBuf> {
    files(".rs")
}

fn header(source: &str) -> usize {
    source
        .lines()
        .skip_while(|line| line.starts_with("#!["))
        .take_while(|line| line.starts_with("//!"))
        .count()
}

fn is_root(file: &Path) -> bool {
    file.ends_with("lib.rs")
        || file.ends_with("main.rs")
        || file.components().any(|part| part.as_os_str() == "benches")
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in rust() {
        let lines = header(&text(&file));
        assert!(lines > 0, "{}: begins without //! lines that say what it is for", file.display());
        assert!(
            lines <= HEADER_LINES_MAX || is_root(&file) || file.ends_with(LONGER_HEADER),
            "{}: {lines} lines at its head: tell it in docs/",
            file.display()
        );
    }
}

#[test]
fn no_file_outgrows_a_readers_patience() {
    for file in rust() {
        let name = file.to_str().unwrap();
        let limit = LONGER.iter().find(|(longer, ..)| *longer == name).map(|(_, limit, _)| *limit);
        let limit = limit.or((BREAKER.0 == name).then_some(BREAKER.1)).unwrap_or(LINES_MAX);
        let lines = text(&file).lines().count();
        assert!(lines <= limit, "{name}: {lines} lines, more than {limit}: part it, or say here why not");
    }
}

/// A file that no module names is never compiled, and nobody notices.
#[test]
fn no_file_is_forgotten() {
    let manifests: String = files("Cargo.toml").iter().map(|file| text(file)).collect();
    for file in rust() {
        let (folder, stem) = (file.parent().unwrap(), file.file_stem().unwrap().to_str().unwrap());
        let is_program = ["lib", "main", "build"].contains(&stem)
            || folder.ends_with("src/bin")
            || folder.ends_with("benches") && file.components().count() == 3
            || manifests.contains(&format!("\"{}\"", within_package(&file)));
        if is_program {
            continue;
        }
        let parents = [
            folder.with_extension("rs"),
            folder.join("mod.rs"),
            folder.join("lib.rs"),
            folder.join("main.rs"),
        ];
        let own = [format!("mod {stem};"), format!("{stem}.rs\"]")];
        let known = rust()
            .into_iter()
            .filter(|other| parents.contains(other) || (other != &file && other.parent() == Some(folder)));
        let is_named =
            known.map(|parent| text(&parent)).any(|source| own.iter().any(|name| source.contains(name)));
        assert!(is_named, "{}: no module names it", file.display());
    }
}

/// The file's path as its package's manifest would spell it.
fn within_package(file: &Path) -> String {
    let package =
        file.ancestors().skip(1).find(|folder| crate::root().join(folder).join("Cargo.toml").is_file());
    file.strip_prefix(package.unwrap_or(Path::new(""))).unwrap().to_str().unwrap().to_owned()
}
