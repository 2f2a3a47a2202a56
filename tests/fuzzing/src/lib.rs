//! The judges that `cargo test -p cutout-tests --test fuzzed` replays the corpus with, for libFuzzer.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../../fuzzed"]
mod fuzzed {
    pub(crate) mod judges;
}

/// Asks the judge of a target.
///
/// # Panics
/// If a rule is broken.
pub fn judge(target: &str, input: &[u8]) {
    fuzzed::judges::judge(target, input);
}
