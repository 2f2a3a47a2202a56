//! Keeps flags and follows them.
pub mod store;
pub use store::*;
