//! The workspace's own binaries and examples, built as the test is, for tests that start them as processes.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// Where they stand. All are built in one go: building them one by one would build what they share once for each, since
/// each asks for other features of it.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| build(None));
/// Where the examples stand.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| build(Some(&OF_EXAMPLES)).join("examples"));

/// What tests start.
const EVERYTHING: [&str; 2] = ["--workspace", "--bins"];
/// What benches start. Each of the others takes a minute to link in release, and they need not be there. This package is named so that
/// the two share with the bench itself what they are built of.
const OF_BENCHES: [&str; 10] = [
    "--package",
    "cutout-tests",
    "--package",
    "cutout-lambda",
    "--package",
    "cutout-service",
    "--bin",
    "bootstrap",
    "--bin",
    "cutout-service",
];

const OF_EXAMPLES: [&str; 3] = ["--package", "cutout-tests", "--examples"];

/// The path of an example of this package, built as [`binary`] is.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    EXAMPLES.join(name)
}

/// The path of a binary of the workspace, built once a test process, in the profile and folder of the test itself.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    FOLDER.join(name)
}

/// Builds what is wanted; none: what the profile's programs start.
fn build(wanted: Option<&[&str]>) -> PathBuf {
    // <target>/<profile>/deps/<this test>, or <target>/<profile>/<this program>
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().expect("a program stands in a folder");
    let profile_dir =
        if folder.ends_with("deps") { folder.parent().expect("a profile's folder") } else { folder };
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        other => other.expect("a profile's folder has a name"),
    };
    let usual = if profile == "dev" { &EVERYTHING[..] } else { &OF_BENCHES[..] };
    let wanted = wanted.unwrap_or(usual);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile])
        .args(wanted)
        .arg("--target-dir")
        .arg(profile_dir.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the workspace builds its binaries");
    profile_dir.to_path_buf()
}
