//! A drill: the path practised on a live installation, without a monitor.
//!
//! It is carried as an order, not as a signal: it forces the breaker open until an end that is never more than
//! [`DRILL_MAX_MS`] away, and then, or when it is ended, calls flow again step by step. So nothing new decides anything, every
//! step stands in the history under a name that no person can have, and what is forgotten ends by itself.
//!
//! Left out: who may ask for one (the function's caller), and which breakers take it (`drill = true`, the service).

use crate::breaker::{Act, Order};
use crate::flag::Forced;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The value of [`Drill::schema`] that this version writes and reads. A schema of its own, so that a service that does not
/// know drills refuses it instead of taking it for a callback.
pub const DRILL_SCHEMA: &str = "cutout.drill/1";
/// The value of [`Drill::source`].
pub const DRILL_SOURCE: &str = "drill";
/// The longest time that a drill holds a breaker open, milliseconds.
pub const DRILL_MAX_MS: i64 = 300_000;
/// What stands before the name of who drills. Names of operators hold no colon.
const BY_PREFIX: &str = "drill:";

/// One step of a drill, signed and sent like a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// [`DRILL_SCHEMA`].
    pub schema: String,
    /// [`DRILL_SOURCE`].
    pub source: String,
    /// The URL it was sent to.
    pub to: String,
    /// The breaker, as a person spells it.
    pub breaker: String,
    /// Whether it opens the breaker, or ends what an earlier step has opened.
    pub opens: bool,
    /// When it ends in any case. It is signed, so a step that is sent again later lasts no longer.
    pub until: Timestamp,
    /// Who drills.
    pub by: String,
    /// Why.
    pub why: String,
}

impl Drill {
    /// What is to be carried out at `now_ms`, Unix milliseconds of the store's clock. None: its time is over.
    #[must_use]
    pub fn order(&self, now_ms: i64) -> Option<Order> {
        let until_ms = self.until.as_millisecond().min(now_ms.saturating_add(DRILL_MAX_MS));
        if until_ms <= now_ms {
            return None;
        }
        let act = match self.opens {
            true => Act::Force { state: Forced::Open, until_ms: Some(until_ms) },
            false => Act::Clear,
        };
        Some(Order { by: format!("{BY_PREFIX}{}", self.by), why: self.why.clone(), act })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(opens: bool, until_ms: i64) -> Drill {
        Drill {
            schema: DRILL_SCHEMA.to_owned(),
            source: DRILL_SOURCE.to_owned(),
            to: "https://a.example/".to_owned(),
            breaker: "drill/1".to_owned(),
            opens,
            until: Timestamp::from_millisecond(until_ms).unwrap(),
            by: "ann".to_owned(),
            why: "practice".to_owned(),
        }
    }

    #[test]
    fn a_drill_ends_by_itself_however_long_it_was_asked_for() {
        let until = |asked_ms: i64| match drill(true, asked_ms).order(1_000).map(|order| order.act) {
            Some(Act::Force { state: Forced::Open, until_ms }) => until_ms,
            _ => None,
        };
        assert_eq!(until(61_000), Some(61_000));
        assert_eq!(until(9_999_999_999), Some(1_000 + DRILL_MAX_MS));
        assert_eq!(until(1_000), None, "sent again when it is over");
    }

    #[test]
    fn its_name_is_nobody_elses() {
        let order = drill(false, 2_000).order(1_000).unwrap();
        assert_eq!((order.by.as_str(), order.act), ("drill:ann", Act::Clear));
    }

    #[test]
    fn what_ends_with_the_moment_or_lasts_one_more_is_told_apart() {
        assert!(drill(false, 1_000).order(1_000).is_none());
        assert!(drill(false, 1_001).order(1_000).is_some());
    }
}
