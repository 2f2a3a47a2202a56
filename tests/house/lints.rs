//! Lints: every room inherits them, every package that is none is known, and who silences one says why.
//! That no lint warns is clippy's to say, in `tests/run`.

use crate::{files, members, root, text, toml};
use std::path::{Path, PathBuf};

/// Packages outside of the workspace, which inherit nothing, and why they are outside.
const OUTSIDE: [(&str, &str); 2] = [
    ("client/benches/tripswitch/Cargo.toml", "brings a second TLS stack"),
    ("tests/fuzzing/Cargo.toml", "is compiled with what libFuzzer needs"),
];
/// Where a test that cannot go on ends where it stands: who may silence lints without a word.
const TESTS: &str = "tests/";

#[test]
fn every_room_inherits_the_lints() {
    for folder in members() {
        let room = toml(&folder.join("Cargo.toml"));
        let inherits =
            room.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherits, Some(true), "{}: [lints] workspace = true is missing", folder.display());
    }
}

#[test]
fn every_package_is_a_room_or_known_to_be_none() {
    let members: Vec<PathBuf> = members().into_iter().map(|folder| folder.join("Cargo.toml")).collect();
    let outside = |file: &Path| OUTSIDE.iter().any(|(known, _)| Path::new(known) == file);
    for file in files("Cargo.toml").iter().filter(|file| *file != Path::new("Cargo.toml")) {
        let is_member = members.contains(&root().join(file));
        assert!(
            is_member != outside(file),
            "{}: either a member of the workspace, or named here",
            file.display()
        );
    }
}

/// Whether something silences a lint and says nothing: neither its `reason`, nor in a comment beside it or before it.
fn is_silent(lines: &[&str], nth: usize) -> bool {
    let is_silencing = |line: &str| {
        let line = line.trim_start().trim_start_matches("#![").trim_start_matches("#[");
        line.starts_with("allow(") || line.starts_with("expect(")
    };
    let told = |line: &str| line.contains("reason = \"") || line.contains("// ");
    let before = lines[..nth].iter().rev().find(|line| !is_silencing(line)).unwrap_or(&"").trim_start();
    let is_attribute = lines[nth].trim_start().starts_with('#');
    is_attribute && is_silencing(lines[nth]) && !told(lines[nth]) && !before.starts_with("// ")
}

#[test]
fn who_silences_a_lint_says_why() {
    let mut seen = 0;
    for file in files(".rs").iter().filter(|file| !file.starts_with(TESTS)) {
        let source = text(file);
        let lines: Vec<&str> = source.lines().collect();
        seen += source.matches("[allow(").count();
        let silent =
            (0..lines.len()).find(|nth| is_silent(&lines, *nth)).map(|nth| (nth + 1, lines[nth].trim()));
        assert_eq!(silent, None, "{}: say why", file.display());
    }
    assert!(seen > 10, "only {seen} were seen");
}

/// In tests too: a table of cases is long and has no parts, and little else has a reason to be.
#[test]
fn who_writes_a_long_function_says_why() {
    let is_long = |line: &str| line.trim_start().starts_with('#') && line.contains("clippy::too_many_lines");
    for file in files(".rs") {
        for (nth, line) in text(&file).lines().enumerate().filter(|(_, line)| is_long(line)) {
            assert!(line.contains("reason = \""), "{}:{}: say why it is long", file.display(), nth + 1);
        }
    }
}
