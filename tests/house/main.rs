//! The house rules that can be read off the tree, so that nobody has to remember them.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod docs;
mod examples;
mod files;
mod rooms;
mod supply;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files of the tree whose names end so, relative to its root: what is committed, or would be.
fn files(ending: &str) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git lists the tree");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<PathBuf> =
        names.split('\0').filter(|name| name.ends_with(ending)).map(PathBuf::from).collect();
    let files: Vec<PathBuf> = files.into_iter().filter(|file| root().join(file).is_file()).collect();
    assert!(!files.is_empty(), "no file ends in {ending}");
    files
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
