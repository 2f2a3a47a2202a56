//! The `cutout` command as a library, so that its parts can be tested and reused.

pub mod fake_datadog;
