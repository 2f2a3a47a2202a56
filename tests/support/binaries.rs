//! The workspace's own binaries, built as the test is, for tests that start them as processes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

static BUILT: LazyLock<Mutex<HashMap<(String, String), PathBuf>>> = LazyLock::new(Mutex::default);

/// The path of a package's binary, built once a test process, in the profile and folder of the test itself.
///
/// # Panics
/// If it cannot be built.
pub fn binary(package: &str, name: &str) -> PathBuf {
    let mut built = BUILT.lock().unwrap();
    built.entry((package.to_owned(), name.to_owned())).or_insert_with(|| build(package, name)).clone()
}

fn build(package: &str, name: &str) -> PathBuf {
    // <target>/<profile>/deps/<this test>
    let test = std::env::current_exe().unwrap();
    let profile_dir = test.ancestors().nth(2).expect("a test stands in <target>/<profile>/deps");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        other => other.expect("a profile's folder has a name"),
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--bin", name, "--profile", profile, "--target-dir"])
        .arg(profile_dir.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "{package} builds its binary {name}");
    profile_dir.join(name)
}
