//! All chance of a history: one seed, and streams of it that do not disturb each other.
//!
//! The same seed draws the same history whatever else is switched on, so that two ways of serving it can be compared.

use std::ops::RangeInclusive;

/// What a stream of chance is for.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// What is true and what is planned to go wrong.
    History = 1,
    /// What happens on the way.
    Way = 2,
    /// The way to the disk, at the handlers' level.
    Disk = 3,
    /// The machines, at the handlers' level.
    Rig = 4,
    /// How far reads lag, where that stays for a while.
    Lag = 5,
}

#[derive(Debug)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64, stream: Stream) -> Dice {
        // Neighbouring seeds must not give neighbouring draws.
        let mut mixed = seed.wrapping_mul(8).wrapping_add(stream as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 31;
        Dice(fastrand::Rng::with_seed(mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9)))
    }

    /// True in so many of a thousand draws.
    pub(crate) fn permille(&mut self, permille: u32) -> bool {
        self.0.u32(0..1000) < permille
    }

    pub(crate) fn ms(&mut self, range: RangeInclusive<i64>) -> i64 {
        self.0.i64(range)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.usize(0..end)
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}
