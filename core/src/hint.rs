//! When a notification alone may open a breaker.
//!
//! A notification is fast but may be old, doubled, redriven or a test, and Datadog's read side may lag behind it or
//! not answer at all. So a hint may do one thing only: make a signal fire that does not fire yet, for a short while,
//! when it is fresh and no report has seen past it. It never moves the order of what reports said.

/// The greatest age of a notification that may still open, by the store's clock.
pub const HINT_AGE_LIMIT_MS: i64 = 60_000;
/// How far ahead of the store's clock a notification may be dated: the two clocks' allowed difference.
pub const HINT_AHEAD_LIMIT_MS: i64 = 60_000;
/// How long a hint holds a breaker open unless a report agrees.
pub const HINT_HOLD_MS: i64 = 300_000;

/// Why a hint changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Older than [`HINT_AGE_LIMIT_MS`]: redriven or retried.
    #[error("the notification is too old to act on")]
    Old,
    /// Dated later than [`HINT_AHEAD_LIMIT_MS`] from now.
    #[error("the notification is dated in the future")]
    Ahead,
    /// A report of its monitor holds a change at or after it, so reports know better.
    #[error("a report has already seen past the notification")]
    Superseded,
}

/// Whether a notification of `at_ms` may act at `now_ms`, when the newest change that any report of its monitor
/// showed is `latest_change_ms`. All in Unix milliseconds.
///
/// # Errors
/// [`Unusable`], the reason why not.
pub fn usable(at_ms: i64, now_ms: i64, latest_change_ms: Option<i64>) -> Result<(), Unusable> {
    if now_ms.saturating_sub(at_ms) > HINT_AGE_LIMIT_MS {
        Err(Unusable::Old)
    } else if at_ms.saturating_sub(now_ms) > HINT_AHEAD_LIMIT_MS {
        Err(Unusable::Ahead)
    } else if superseded(at_ms, latest_change_ms) {
        Err(Unusable::Superseded)
    } else {
        Ok(())
    }
}

/// Whether a report that shows a change at `latest_change_ms` has seen past a notification of `at_ms`.
#[must_use]
pub fn superseded(at_ms: i64, latest_change_ms: Option<i64>) -> bool {
    latest_change_ms.is_some_and(|change_ms| change_ms >= at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_usable_only_while_fresh_and_unknown_to_reports() {
        assert_eq!(usable(100_000, 160_000, None), Ok(()));
        assert_eq!(usable(100_000, 160_001, None), Err(Unusable::Old));
        assert_eq!(usable(100_000, 40_000, None), Ok(()));
        assert_eq!(usable(100_000, 39_999, None), Err(Unusable::Ahead));
        assert_eq!(usable(100_000, 101_000, Some(99_999)), Ok(()));
        assert_eq!(usable(100_000, 101_000, Some(100_000)), Err(Unusable::Superseded));
        assert_eq!(usable(i64::MIN, i64::MAX, None), Err(Unusable::Old));
    }
}
