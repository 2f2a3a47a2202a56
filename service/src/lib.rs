//! Callback in, flag out.

pub mod breakers;
pub mod duration;
mod nearest;
