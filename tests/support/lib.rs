//! What the tests share. Every server is started for one test, on a free port, in a folder of its own.

pub mod namespace;
