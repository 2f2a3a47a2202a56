//! Dependencies: no feature is on by default unless somebody argued for it, and none asks for a newer Rust than we promise;
//! what pip installs is listed with its hashes; what we rely on inside a crate was looked at in the version we have. Licences, bans and unused ones are `tests/audit`.

use crate::{files, root, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates whose default features stay on, and why. A default of `std` alone needs no word. None so far.
const ARGUED: [(&str, &str); 0] = [];
/// Versions in which somebody looked at what we rely on, and where that is said.
const LOOKED_AT: [(&str, &str, &str); 1] =
    [("reqwest", "0.13.5", "client/src/reqwest.rs: which parts a request has that is to be copied")];

/// What cargo knows of all packages, as the lock file has them.
fn packages() -> Vec<Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(root())
        .output()
        .expect("cargo can be asked");
    assert!(cargo.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&cargo.stderr));
    let mut metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// Ours have no source.
fn is_ours(package: &Value) -> bool {
    package["source"].is_null()
}

/// The crates whose default features a room of ours turns on, with those defaults that are more than `std`.
fn defaults_on(packages: &[Value]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut asked = BTreeSet::new();
    for package in packages.iter().filter(|package| is_ours(package)) {
        for dependency in package["dependencies"].as_array().unwrap() {
            // The feature has a name, too, by which it can be asked for.
            let by_name =
                dependency["features"].as_array().unwrap().iter().any(|feature| feature == "default");
            if by_name || dependency["uses_default_features"] == true {
                asked.insert(dependency["name"].as_str().unwrap());
            }
        }
        // And by a feature of ours.
        let features = package["features"].as_object().unwrap().values();
        let features =
            features.flat_map(|on| on.as_array().unwrap()).map(|feature| feature.as_str().unwrap());
        let through = features.filter_map(|feature| feature.strip_suffix("/default"));
        asked.extend(through.map(|name| name.trim_end_matches('?')));
    }
    assert!(asked.len() > 10, "only of {asked:?}");
    let mut on = BTreeMap::new();
    for package in packages.iter().filter(|package| !is_ours(package)) {
        let (name, default) = (package["name"].as_str().unwrap(), &package["features"]["default"]);
        let default = default.as_array().into_iter().flatten().map(|feature| feature.as_str().unwrap());
        let more: BTreeSet<&str> = default.filter(|feature| *feature != "std").collect();
        if asked.contains(name) && !more.is_empty() {
            on.insert(name, more);
        }
    }
    on
}

#[test]
fn no_feature_is_on_by_default_unless_argued_for() {
    let packages = packages();
    let on = defaults_on(&packages);
    for (name, features) in &on {
        assert!(
            ARGUED.iter().any(|(argued, _)| argued == name),
            "{name}: {features:?} are on by default: default-features = false, or say in ARGUED why"
        );
    }
    for (name, _) in ARGUED {
        assert!(on.contains_key(name), "{name} is argued for in vain");
    }
}

#[test]
fn what_is_relied_on_inside_a_crate_was_looked_at_in_its_version() {
    for package in packages().iter().filter(|package| !is_ours(package)) {
        for (name, version, what) in LOOKED_AT.iter().filter(|(name, ..)| package["name"] == *name) {
            assert_eq!(
                package["version"], *version,
                "look again at {name}, and name the version here ({what})"
            );
        }
    }
}

#[test]
fn no_dependency_asks_for_a_newer_rust_than_is_promised() {
    let packages = packages();
    let version = |package: &Value| -> Option<Vec<u32>> {
        package["rust_version"]
            .as_str()
            .map(|text| text.split('.').map(|part| part.parse().unwrap()).collect())
    };
    let promised: BTreeSet<_> = packages.iter().filter(|package| is_ours(package)).map(version).collect();
    let [Some(promised)] = &Vec::from_iter(promised)[..] else { panic!("one rust-version for all rooms") };
    assert!(packages.iter().filter(|package| version(package).is_some()).count() > 100);
    for package in &packages {
        let asked = version(package).unwrap_or_default();
        assert!(asked <= [&promised[..], &[u32::MAX]].concat(), "{} asks for {asked:?}", package["name"]);
    }
}

/// With these pip takes no other file, and nothing that a list leaves out.
#[test]
fn what_pip_installs_is_listed_with_hashes() {
    let lists = files(".txt").into_iter().filter(|file| file.to_str().unwrap().contains("/requirements"));
    let mut seen = 0;
    for list in lists {
        let entries = text(&list).replace("\\\n", " ");
        for entry in entries.lines().filter(|line| !line.starts_with('#')) {
            let package = entry.split_once(" --hash=sha256:").map(|(package, _)| package);
            let is_pinned = package.is_some_and(|package| package.contains("=="));
            assert!(is_pinned, "{}: no version, or no hash: {entry}", list.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} were seen");
}
