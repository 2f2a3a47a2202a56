//! Under way.

pub mod callbacks;
pub mod guard;
