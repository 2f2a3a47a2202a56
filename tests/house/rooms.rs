//! Rooms: who may import whom, which crate belongs to whom, what core does without, and one TLS stack with one crypto provider.

use crate::{files, members, root, text, toml};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Rooms, and the rooms that each may import.
const IMPORTS: [(&str, &[&str]); 9] = [
    ("cutout-core", &[]),
    ("cutout-flags", &["cutout-core"]),
    ("cutout-lambda", &["cutout-core"]),
    ("cutout-service", &["cutout-core", "cutout-flags"]),
    ("cutout", &["cutout-core", "cutout-flags"]),
    ("cutout-envoy", &["cutout-core", "cutout-flags"]),
    ("cutout-cli", &["cutout", "cutout-core", "cutout-flags", "cutout-lambda", "cutout-service"]),
    (
        "cutout-tests",
        &["cutout", "cutout-cli", "cutout-core", "cutout-flags", "cutout-lambda", "cutout-service"],
    ),
    ("cutout-sim", &["cutout", "cutout-core", "cutout-flags", "cutout-service"]),
];

/// Packages of the room `tests`, which may use any crate.
const TESTS: [&str; 2] = ["cutout-tests", "cutout-sim"];

/// Crates that belong to named rooms alone.
const OWNERS: [(&str, &[&str]); 8] = [
    ("redis", &["cutout-flags"]),
    ("reqwest", &["cutout-lambda", "cutout-service", "cutout", "cutout-cli"]),
    ("reqwest-middleware", &["cutout"]),
    ("axum", &["cutout-service", "cutout-envoy", "cutout-cli"]),
    ("envoy-types", &["cutout-envoy"]),
    ("tonic", &["cutout-envoy"]),
    ("lambda_runtime", &["cutout-lambda"]),
    ("metrics-exporter-prometheus", &["cutout-service"]),
];

/// What core never asks: it is told the time, and knows neither machine nor environment.
const IMPURE: [&str; 14] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync",
    "std::thread",
    "std::time",
    "Timestamp::now",
    "Zoned::now",
    "thread_local!",
    "static mut",
    "async fn",
];
/// What only those may say who know Datadog.
const DATADOGS: [&str; 3] = ["/api/v1/", "/api/v2/", "datadoghq"];
const KNOW_DATADOG: [&str; 2] = ["lambda/", "cli/"];

/// What would be a second TLS stack or crypto provider.
const BANNED: [&str; 6] = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "boring"];

/// The dependencies that each room declares, by the room's package name: those of its programs, its tests and its build.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let read = |folder: PathBuf| {
        let manifest = toml(&folder.join("Cargo.toml"));
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        let tables = kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_table());
        (name, tables.flat_map(|table| table.keys().cloned()).collect())
    };
    members().into_iter().map(read).collect()
}

#[test]
fn rooms_import_only_what_the_design_lets_them() {
    let dependencies = dependencies();
    assert_eq!(dependencies.len(), IMPORTS.len(), "a room without a rule: {:?}", dependencies.keys());
    let rooms: BTreeSet<&str> = IMPORTS.iter().map(|(room, _)| *room).collect();
    for (room, allowed) in IMPORTS {
        let imported = dependencies[room].iter().map(String::as_str).filter(|name| rooms.contains(name));
        for name in imported {
            assert!(allowed.contains(&name), "{room} imports {name}");
        }
    }
}

#[test]
fn crates_that_belong_to_one_room_are_used_there_alone() {
    for (room, names) in dependencies().iter().filter(|(room, _)| !TESTS.contains(&room.as_str())) {
        for (owned, owners) in OWNERS {
            assert!(!names.contains(owned) || owners.contains(&room.as_str()), "{room} uses {owned}");
        }
    }
}

#[test]
fn there_is_one_tls_stack_with_one_crypto_provider() {
    // The lock file holds what any platform and feature of the workspace would build.
    let lock = toml(&root().join("Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    let of_crate =
        |name: &str| packages.iter().filter(|package| package["name"].as_str() == Some(name)).count();
    assert_eq!((of_crate("rustls"), of_crate("ring")), (1, 1), "rustls with ring, each once");
    for name in BANNED {
        assert_eq!(
            of_crate(name),
            0,
            "{name} is a second TLS stack or crypto provider: cargo tree --target all -i {name}"
        );
    }
}

/// The fuzz targets are a workspace of their own, and would judge other crates than those that are shipped.
#[test]
fn what_is_fuzzed_is_what_is_built() {
    let versions = |lock: &str| -> BTreeMap<String, BTreeSet<String>> {
        let mut versions = BTreeMap::<String, BTreeSet<String>>::new();
        for package in toml(&root().join(lock))["package"].as_array().unwrap() {
            let text = |field: &str| package[field].as_str().unwrap().to_owned();
            versions.entry(text("name")).or_default().insert(text("version"));
        }
        versions
    };
    let (built, fuzzed) = (versions("Cargo.lock"), versions("tests/fuzzing/Cargo.lock"));
    assert!(fuzzed.len() > 100, "only {} packages", fuzzed.len());
    for (name, versions) in fuzzed {
        let others: Vec<_> =
            built.get(&name).map(|built| versions.difference(built).collect()).unwrap_or_default();
        assert!(
            others.is_empty(),
            "{name} {others:?}: cp Cargo.lock tests/fuzzing/ && cargo metadata --manifest-path tests/fuzzing/Cargo.toml"
        );
    }
}

/// The part of a source that is shipped: what comes before its tests.
fn shipped(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .map(|(nth, line)| (nth + 1, line))
}

#[test]
fn core_asks_neither_clock_nor_machine() {
    let is_test = |file: &PathBuf| file.ends_with("tests.rs") || file.to_str().unwrap().contains("/tests/");
    let core: Vec<PathBuf> =
        files(".rs").into_iter().filter(|file| file.starts_with("core/src") && !is_test(file)).collect();
    assert!(core.len() > 15, "only {core:?}");
    for file in core {
        for (nth, line) in shipped(&text(&file)).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let asked = IMPURE.iter().find(|asked| line.contains(*asked));
            assert_eq!(asked, None, "{}:{nth}: is told, and never asks", file.display());
        }
    }
}

#[test]
fn datadogs_api_is_known_to_the_function_and_its_stand_in_alone() {
    let knows = |file: &PathBuf| KNOW_DATADOG.iter().any(|room| file.starts_with(room));
    let is_room = |file: &PathBuf| file.components().nth(1).is_some_and(|part| part.as_os_str() == "src");
    let others = files(".rs").into_iter().filter(|file| is_room(file) && !knows(file));
    for file in others {
        for (nth, line) in shipped(&text(&file)) {
            let said = DATADOGS.iter().find(|said| line.contains(*said));
            assert_eq!(said, None, "{}:{nth}: only {KNOW_DATADOG:?} know Datadog", file.display());
        }
    }
}
