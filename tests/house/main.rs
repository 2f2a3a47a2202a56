//! The house rules that can be read off the tree, so that nobody has to remember them.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod docs;
mod examples;
mod files;
mod lints;
mod rooms;
mod supply;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files of the tree whose names end so, relative to its root: what is committed, or would be.
fn files(ending: &str) -> Vec<PathBuf> {
    // Asked once: it is the slowest part of most of these tests.
    static TREE: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let tree = TREE.get_or_init(|| {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root())
            .output()
            .expect("git lists the tree");
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        let names = String::from_utf8(listed.stdout).unwrap();
        names.split('\0').map(PathBuf::from).filter(|file| root().join(file).is_file()).collect()
    });
    let ends_so = |file: &&PathBuf| file.to_str().unwrap().ends_with(ending);
    let files: Vec<PathBuf> = tree.iter().filter(ends_so).cloned().collect();
    assert!(!files.is_empty(), "no file ends in {ending}");
    files
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn toml(path: &Path) -> toml::Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The folders of the workspace's members.
fn members() -> Vec<PathBuf> {
    let manifest = toml(&root().join("Cargo.toml"));
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| root().join(member.as_str().unwrap())).collect()
}
