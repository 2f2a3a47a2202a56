//! The breakers of one declaration, counted: how many keys are known, and how many of them may be open.
//!
//! A monitor that suddenly says that everything fails is more often wrong itself than right, and closing a whole
//! business is worse than a failing vendor. So beyond a declared share further openings are held back until a
//! person decides. And keys come from monitor tags, so their number has a limit.
//!
//! Left out: where the counts come from (`flags`).

use crate::breaker::{Hold, Policy};
use crate::flag::ALL_PPM;

/// From how many known keys on the share counts: of two banks, one that fails is half of them.
pub const MAX_OPEN_FROM_KEYS: u64 = 3;

/// The counts of one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Family {
    /// How many keys are known.
    pub known: u64,
    /// How many of them are not closed.
    pub not_closed: u64,
}

impl Family {
    /// Takes in keys that are new. Yields how many of them the limit refuses.
    pub fn grow(&mut self, policy: &Policy, new: u64) -> u64 {
        let taken = new.min(policy.max_keys.saturating_sub(self.known));
        self.known += taken;
        new - taken
    }

    /// The same without one of its breakers, for a decision on that one: while it is not closed it has a place already, even
    /// if it closes on its way to opening again.
    #[must_use]
    pub fn without(self, is_closed: bool) -> Family {
        Family { not_closed: self.not_closed.saturating_sub(u64::from(!is_closed)), ..self }
    }

    /// What keeps one more of its breakers from being opened by a signal; none: nothing.
    #[must_use]
    pub fn hold(&self, policy: &Policy) -> Option<Hold> {
        let open = u128::from(self.not_closed) + 1;
        let beyond = open * u128::from(ALL_PPM) > u128::from(self.known) * u128::from(policy.max_open_ppm);
        (self.known >= MAX_OPEN_FROM_KEYS && beyond).then_some(Hold::MaxOpen)
    }

    /// Counts what became of one of its breakers.
    pub fn count(&mut self, was_closed: bool, is_closed: bool) {
        match (was_closed, is_closed) {
            (true, false) => self.not_closed += 1,
            (false, true) => self.not_closed = self.not_closed.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(max_open_ppm: u32, max_keys: u64) -> Policy {
        Policy { max_open_ppm, max_keys, ..Policy::default() }
    }

    #[test]
    fn no_more_than_the_share_may_open_and_two_keys_are_no_share() {
        let half = policy(500_000, 100);
        let opened_of = |known| {
            let mut family = Family { known, not_closed: 0 };
            while family.not_closed < known && family.hold(&half).is_none() {
                family.count(true, false);
            }
            family.not_closed
        };
        assert_eq!([1, 2, 3, 4, 10].map(opened_of), [1, 2, 1, 2, 5]);
        assert_eq!(Family { known: 10, not_closed: 9 }.hold(&policy(ALL_PPM, 100)), None);
        assert_eq!(Family { known: 3, not_closed: 0 }.hold(&policy(0, 100)), Some(Hold::MaxOpen));
        let full = Family { known: 4, not_closed: 4 };
        assert_eq!(full.without(false).hold(&policy(ALL_PPM, 100)), None, "it has a place");
        assert_eq!(full.without(true), full);
    }

    #[test]
    fn keys_beyond_the_limit_are_refused() {
        let mut family = Family { known: 8, not_closed: 0 };
        assert_eq!((family.grow(&policy(0, 10), 5), family.known), (3, 10));
        assert_eq!((family.grow(&policy(0, 10), 1), family.known), (1, 10));
        assert_eq!(
            Family { known: 12, not_closed: 0 }.grow(&policy(0, 10), 1),
            1,
            "a limit that was lowered"
        );
    }

    #[test]
    fn what_closes_makes_room_and_what_stays_changes_nothing() {
        let mut family = Family { known: 10, not_closed: 2 };
        family.count(false, true);
        assert_eq!(family.not_closed, 1);
        for stays in [true, false] {
            family.count(stays, stays);
            assert_eq!(family.not_closed, 1);
        }
        family.count(true, false);
        assert_eq!(family.not_closed, 2);
        let mut empty = Family::default();
        empty.count(false, true);
        assert_eq!(empty.not_closed, 0, "a count that was wrong does not wrap");
    }

    #[test]
    fn the_share_is_reckoned_of_the_keys_that_are_known() {
        // A tenth of 30 keys: the third may open, the fourth not.
        let tenth = policy(100_000, 100);
        let hold = |not_closed| Family { known: 30, not_closed }.hold(&tenth);
        assert_eq!([0, 2, 3, 4].map(hold), [None, None, Some(Hold::MaxOpen), Some(Hold::MaxOpen)]);
        let last = Family { known: u64::MAX, not_closed: u64::MAX };
        assert_eq!(last.hold(&policy(ALL_PPM, 0)), Some(Hold::MaxOpen), "nothing overflows");
    }
}
