//! What the tests share. Every server is started for one test, on a free port, in a folder of its own.

pub mod binaries;
pub mod canary;
pub mod doubles;
pub mod namespace;
pub mod process;
pub mod redis;
pub mod runtime_api;
