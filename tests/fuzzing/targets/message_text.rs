//! The text of a notification: its judge, asked by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cutout_fuzzing::judge("message_text", input));
