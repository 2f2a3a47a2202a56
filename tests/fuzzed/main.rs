//! Everything that fuzzing has found, in every run of the tests: each input of `tests/corpus` goes to its judge.
//!
//! `tests/fuzz` drives the same judges with libFuzzer, and leaves what is worth keeping in the corpus: inputs that reach something
//! that no other reaches, and each one that ever broke a rule.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod judges;

use judges::JUDGES;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The corpus stays small enough to be read, and to be replayed in seconds.
const FILES_MAX: usize = 400;
const BYTES_MAX: usize = 600_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus().join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// One test a target, so that the name of the test says whose rule is broken, and the last line which input broke it.
macro_rules! replay {
    ($($target:ident),+ $(,)?) => {$(
        #[test]
        fn $target() {
            let inputs = inputs(stringify!($target));
            assert!(!inputs.is_empty(), "a corpus without inputs judges nothing");
            for (file, input) in inputs {
                println!("{}", file.display());
                judges::judge(stringify!($target), &input);
            }
        }
    )+
        const REPLAYED: [&str; JUDGES.len()] = [$(stringify!($target)),+];
    };
}

replay! {
    sns_event, message_text, directive, url_guard, webhook_headers, datadog_answers, callback_body, redis_flags, breakers_toml,
}

#[test]
fn every_judge_has_a_corpus_a_replay_and_a_fuzz_target() {
    let judges: BTreeSet<&str> = JUDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(judges, REPLAYED.into());
    let folders =
        std::fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let folders: BTreeSet<String> = folders.collect();
    assert!(folders.iter().map(String::as_str).eq(judges.iter().copied()), "{folders:?}");
    let manifest = std::fs::read_to_string(corpus().join("../fuzzing/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap());
    assert_eq!(targets.collect::<BTreeSet<_>>(), judges);
}

#[test]
fn the_corpus_is_small() {
    let sizes = JUDGES.iter().flat_map(|(target, _)| inputs(target)).map(|(_, input)| input.len());
    let sizes: Vec<usize> = sizes.collect();
    let bytes: usize = sizes.iter().sum();
    assert!(sizes.len() <= FILES_MAX && bytes <= BYTES_MAX, "{} files, {bytes} bytes", sizes.len());
}
