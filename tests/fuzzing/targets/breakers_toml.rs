//! The breakers' file: its judge, asked by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cutout_fuzzing::judge("breakers_toml", input));
