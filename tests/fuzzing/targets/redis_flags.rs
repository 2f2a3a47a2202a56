//! Flags and changes as they stand in Redis: its judge, asked by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cutout_fuzzing::judge("redis_flags", input));
