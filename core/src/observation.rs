//! What one report says of one group, and which of two observations is the newer.
//!
//! Messages come late, twice and out of order, so nothing is decided by arrival. Both times are Datadog's own:
//! when the group changed and when Datadog answered. A receiver's clock never orders anything.

use crate::report::Status;
use serde::{Deserialize, Serialize};

/// How far Datadog's read side may lag behind. Within it, the same observations give the same result in any order.
/// Beyond it the later answer wins whatever its `changed_at`, so that a clock that went back (a group created
/// again, a monitor cloned) heals.
pub const READ_LAG_LIMIT_SECS: i64 = 120;

/// One group as one report showed it.
///
/// ```
/// use cutout_core::{observation::Observation, report::Status};
///
/// let seen = |status, changed_at_ms, as_of_ms| Observation { status, changed_at_ms: Some(changed_at_ms), as_of_ms, muted: false };
/// let alert = seen(Status::Alert, 2_000, 3_000);
/// let lagging = seen(Status::Ok, 1_000, 4_000); // answered later, of an older change
/// assert!(!lagging.supersedes(&alert, |seen| seen.status == Status::Alert));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Its status.
    pub status: Status,
    /// When it changed to it, Unix milliseconds; none if Datadog does not tell.
    pub changed_at_ms: Option<i64>,
    /// When Datadog answered, Unix milliseconds.
    pub as_of_ms: i64,
    /// Whether a downtime silenced it then.
    #[serde(default)]
    pub muted: bool,
}

impl Observation {
    /// Whether this one replaces `stored`: by `changed_at`, then `as_of`; equal in both, by `weight`, in which the
    /// caller lets what fires outweigh what does not. Without a `changed_at` the group has not changed yet, which was
    /// before any change; without one on both sides `as_of` decides.
    #[must_use]
    pub fn supersedes<W: Ord>(&self, stored: &Observation, weight: impl Fn(&Observation) -> W) -> bool {
        let later_by_ms = self.as_of_ms.saturating_sub(stored.as_of_ms);
        if later_by_ms.saturating_abs() > READ_LAG_LIMIT_SECS * 1000 {
            return later_by_ms > 0;
        }
        let own = (self.changed_at_ms, self.as_of_ms, weight(self), &self.status);
        own > (stored.changed_at_ms, stored.as_of_ms, weight(stored), &stored.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Alert, Ok};

    fn seen(status: Status, changed_s: Option<i64>, as_of_s: i64) -> Observation {
        Observation {
            status,
            changed_at_ms: changed_s.map(|s| s * 1000),
            as_of_ms: as_of_s * 1000,
            muted: false,
        }
    }

    fn supersedes(new: &Observation, stored: &Observation) -> bool {
        new.supersedes(stored, |seen| seen.status == Alert)
    }

    #[test]
    fn the_later_change_wins_even_when_it_was_read_earlier() {
        let recovered = seen(Ok, Some(90), 95);
        let lagging = seen(Alert, Some(50), 100);
        assert!(supersedes(&recovered, &lagging) && !supersedes(&lagging, &recovered));
    }

    #[test]
    fn of_the_same_change_the_later_answer_wins_and_then_the_one_that_fires() {
        assert!(supersedes(&seen(Ok, Some(50), 61), &seen(Ok, Some(50), 60)));
        assert!(supersedes(&seen(Alert, Some(50), 60), &seen(Ok, Some(50), 60)));
        assert!(!supersedes(&seen(Ok, Some(50), 60), &seen(Alert, Some(50), 60)));
        assert!(
            !supersedes(&seen(Ok, Some(50), 60), &seen(Ok, Some(50), 60)),
            "a doubled report changes nothing"
        );
    }

    #[test]
    fn a_group_without_a_change_time_has_not_changed_yet() {
        let (lagging, first) = (seen(Ok, None, 70), seen(Alert, Some(63), 68));
        assert!(supersedes(&first, &lagging) && !supersedes(&lagging, &first));
        assert!(
            supersedes(&seen(Ok, None, 61), &seen(Alert, None, 60)),
            "a composite monitor tells no time ever"
        );
        assert!(supersedes(&seen(Ok, None, 189), &first), "beyond the read lag it was created again");
    }

    #[test]
    fn within_the_read_lag_the_newest_of_three_is_the_same_in_every_order() {
        // Read at 70 and 75 with lags of 25 s and 20 s, and at 65 with none: the first change at 50, the second at 60.
        let all = [seen(Ok, None, 70), seen(Alert, Some(50), 75), seen(Ok, Some(60), 65)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut stored = all[order[0]].clone();
            for nth in order {
                if supersedes(&all[nth], &stored) {
                    stored = all[nth].clone();
                }
            }
            assert_eq!(stored, all[2], "{order:?}");
        }
    }

    #[test]
    fn beyond_the_read_lag_the_later_answer_wins_whatever_changed_when() {
        let stored = seen(Alert, Some(1000), 1000);
        assert!(
            !supersedes(&seen(Ok, Some(10), 1120), &stored),
            "within the limit a clock that went back loses"
        );
        assert!(supersedes(&seen(Ok, Some(10), 1121), &stored));
        assert!(!supersedes(&stored, &seen(Ok, Some(10), 1121)), "and the other way round it stays so");
    }
}
