//! What a cell is made of where threads meet. The loom models put their own in its place (`under_loom`).

pub(crate) use arc_swap::ArcSwapOption;
pub(crate) use std::sync::atomic::{AtomicI64, Ordering};
