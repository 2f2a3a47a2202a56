//! Files: each says at its head what it is for, fits a reader's patience, and belongs to a module. How long a function may be is
//! clippy's (`too-many-lines-threshold`).

use crate::{files, root, text};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How many lines a program may have, in whatever language.
const LINES_MAX: usize = 500;
/// Files that may be longer, how long they may get, and why.
const LONGER: [(&str, usize, &str); 7] = [
    ("core/src/breaker.rs", 600, "the core of it all: a state machine that is read as one"),
    ("service/src/api/model.rs", 600, "the API's bodies side by side, each field with its description"),
    ("service/src/tests.rs", 700, "cases, one after the other"),
    ("tests/aws/deploy.py", 550, "what an account does, in the order in which it does it"),
    ("tests/stores/conformance.rs", 650, "one list of what every store must do"),
    ("tests/sim/src/world.rs", 650, "one world"),
    ("tests/wire/reconcile.rs", 600, "cases, one after the other"),
];
/// How long the words at a module's head may get. A crate's root and a program may tell more.
const HEADER_LINES_MAX: usize = 10;
/// Its head is the rule that a security review reads.
const LONGER_HEADER: &str = "lambda/src/guard.rs";
/// How long a function may be, as clippy counts: without blank lines and comments.
const FUNCTION_LINES_MAX: i64 = 60;
/// How a comment begins, by a file's extension.
const COMMENTS: [(&str, &[&str]); 6] = [
    ("py", &["#", "\"\"\""]),
    ("lua", &["--"]),
    ("js", &["//"]),
    ("mjs", &["//"]),
    ("css", &["/*"]),
    ("", &["#", "\"\"\""]), // a script
];
/// Files that nobody has to name, by how their path begins or ends, and who finds them.
const FOUND: [(&str, &str); 10] = [
    (".gitignore", "git"),
    ("clippy.toml", "clippy"),
    ("rustfmt.toml", "rustfmt"),
    (".tf", "terraform takes all of a folder"),
    (".tftest.hcl", "terraform takes all of a folder"),
    ("infra/package/python/app.py", "infra/package/measure takes the folder"),
    ("tests/aws/requirements-", "tests/deploy puts the name together"),
    ("tests/corpus/", "a test counts them"),
    ("tests/fuzzing/dictionaries/", "tests/fuzz takes that of its target"),
    ("tests/fixtures/", "a test asks for a row of each"),
];

fn rust() -> Vec<PathBuf> {
    files(".rs")
}

/// The programs that are not Rust, each with how its comments begin.
fn others() -> Vec<(PathBuf, &'static [&'static str])> {
    let language = |file: &PathBuf| {
        let extension = file.extension().map_or("", |extension| extension.to_str().unwrap());
        let (_, begins) = COMMENTS.iter().find(|(known, _)| *known == extension)?;
        let is_script = || std::fs::read(root().join(file)).unwrap().starts_with(b"#!");
        (!extension.is_empty() || is_script()).then_some(*begins)
    };
    let is_ours = |file: &PathBuf| !file.starts_with("tests/corpus");
    let known = |file: PathBuf| language(&file).map(|begins| (file, begins));
    files("").into_iter().filter(is_ours).filter_map(known).collect()
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
fn every_other_program_says_what_it_is_for() {
    let others = others();
    assert!(others.len() > 30, "only {} programs", others.len());
    for (file, begins) in others {
        let source = text(&file);
        let first = source.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        let tells = begins.iter().any(|begin| first.starts_with(begin));
        assert!(tells, "{}: begins without a comment that says what it is for", file.display());
    }
}

#[test]
fn no_file_outgrows_a_readers_patience() {
    let programs = rust().into_iter().chain(others().into_iter().map(|(file, _)| file));
    let mut in_vain: Vec<&str> = LONGER.iter().map(|(longer, ..)| *longer).collect();
    for file in programs {
        let name = file.to_str().unwrap();
        let limit =
            LONGER.iter().find(|(longer, ..)| *longer == name).map_or(LINES_MAX, |(_, limit, _)| *limit);
        let lines = text(&file).lines().count();
        assert!(lines <= limit, "{name}: {lines} lines, more than {limit}: part it, or say here why not");
        in_vain.retain(|longer| *longer != name || lines <= LINES_MAX);
    }
    assert!(in_vain.is_empty(), "need not be longer: {in_vain:?}");
}

/// Functions are clippy's to count, if it is asked to. Which may be longer is said at each, and why (`lints.rs`).
#[test]
fn clippy_is_asked_how_long_functions_are() {
    let [clippy, manifest] =
        ["clippy.toml", "Cargo.toml"].map(|file| text(Path::new(file)).parse::<toml::Table>().unwrap());
    let limit = clippy["too-many-lines-threshold"].as_integer().unwrap();
    assert!(limit <= FUNCTION_LINES_MAX, "a function of {limit} lines fits no screen");
    assert_eq!(manifest["workspace"]["lints"]["clippy"]["too_many_lines"].as_str(), Some("warn"));
    assert_eq!(files("clippy.toml").len(), 1, "a second one would replace the first for its folder");
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
    let package = file.ancestors().skip(1).find(|folder| root().join(folder).join("Cargo.toml").is_file());
    file.strip_prefix(package.unwrap_or(Path::new(""))).unwrap().to_str().unwrap().to_owned()
}

/// What nobody names nobody runs or reads.
#[test]
fn no_other_file_is_forgotten() {
    let is_found = |name: &str| FOUND.iter().any(|(edge, _)| name.starts_with(edge) || name.ends_with(edge));
    let named: Vec<(String, String)> = files("")
        .into_iter()
        .filter_map(|file| {
            Some((file.to_str()?.to_owned(), std::fs::read_to_string(root().join(&file)).ok()?))
        })
        .filter(|(file, _)| !file.starts_with("tests/corpus/") && !file.starts_with("tests/fixtures/"))
        .collect();
    for (file, _) in named.iter().filter(|(file, _)| !file.ends_with(".rs") && !is_found(file)) {
        let path = Path::new(file);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let by_name = match path.extension().and_then(OsStr::to_str) {
            // A script's name alone may be any word.
            None => vec![file.clone()],
            Some("py") => vec![format!("{stem}.py"), format!("import {stem}"), format!("from {stem} import")],
            Some(extension) => vec![format!("{stem}.{extension}")],
        };
        let is_named = |(other, text): &(String, String)| {
            other != file && by_name.iter().any(|name| text.contains(name))
        };
        assert!(named.iter().any(is_named), "{file}: nobody names it");
    }
}
