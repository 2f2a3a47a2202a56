//! Who did what, and what changed by itself: the entries of the audit stream, and a place in it.
//!
//! An entry is written in the same script as the change that it tells, so that neither is there without the other. It is
//! read back as JSON: an older version may have written it, or a newer one. Pure.

use crate::store::StoreError;
use cutout_core::{BreakerId, Mode, Transition};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// About how many entries are kept unless told otherwise.
pub const AUDIT_KEPT: usize = 100_000;
/// How long they are kept unless told otherwise, milliseconds: 90 days.
pub const AUDIT_KEPT_MS: i64 = 90 * 86_400_000;
/// How many entries one read brings.
pub const AUDIT_PER_READ_MAX: usize = 1_000;

/// How much of the audit stream is kept: what exceeds either limit goes with the next entry that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditKept {
    /// About how many entries.
    pub entries: usize,
    /// How long, milliseconds.
    pub age_ms: i64,
}

impl Default for AuditKept {
    fn default() -> AuditKept {
        AuditKept { entries: AUDIT_KEPT, age_ms: AUDIT_KEPT_MS }
    }
}

/// Where a person sees what brought a transition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Links {
    /// The monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// The event behind the notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// One entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// What changed, and why.
    #[serde(flatten)]
    pub transition: Transition,
    /// Whether it was carried out: what a breaker in watch mode decides refuses nobody.
    pub mode: Mode,
    /// Where a person sees more; none: there is nothing to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
}

impl AuditEntry {
    /// What changed, before anything is known of where a person sees more.
    #[must_use]
    pub fn new(transition: Transition, mode: Mode) -> AuditEntry {
        AuditEntry { transition, mode, links: None }
    }
}

/// The place of an entry: when it was written (Unix milliseconds of the store's clock), and which of that millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId {
    /// When it was written, Unix milliseconds of the store's clock.
    pub at_ms: u64,
    /// Which of that millisecond.
    pub number: u64,
}

impl AuditId {
    /// The first place that there can be.
    pub const FIRST: AuditId = AuditId { at_ms: 0, number: 0 };
    /// The last place that there can be.
    pub const LAST: AuditId = AuditId { at_ms: u64::MAX, number: u64::MAX };
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at_ms, self.number)
    }
}

/// A text that is no place in the audit stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in the audit stream is <milliseconds>-<number>")]
pub struct AuditIdError;

impl FromStr for AuditId {
    type Err = AuditIdError;

    fn from_str(text: &str) -> Result<AuditId, AuditIdError> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok()).flatten().ok_or(AuditIdError)
        };
        let (at_ms, of_it) = text.split_once('-').ok_or(AuditIdError)?;
        Ok(AuditId { at_ms: number(at_ms)?, number: number(of_it)? })
    }
}

/// One entry as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// Its place.
    pub id: AuditId,
    /// Which breaker; none: the whole scope.
    pub breaker: Option<BreakerId>,
    /// What was written.
    pub entry: serde_json::Value,
}

/// From where to read, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFrom {
    /// The newest first, those before this place; none: from the end.
    Before(Option<AuditId>),
    /// The oldest first, those after this place.
    After(AuditId),
}

/// What a reader of a group took over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TakenOver {
    /// An entry that another reader has not finished; none: there is none.
    pub entry: Option<Audited>,
    /// How many entries nobody has finished and nobody can any more: the stream does not keep them.
    pub trimmed: usize,
    /// How many entries the stream let go before any reader of the group came to them, since that was last asked. A store that cannot count
    /// them says 0.
    pub unread: usize,
}

/// What a store answers that keeps no audit stream.
pub(crate) fn keeps_none() -> StoreError {
    StoreError::refused("reading the audit stream", "this store keeps none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_spelled_as_redis_spells_it_and_nothing_else_is_one() {
        for text in ["0-0", "1795223705000-7", "18446744073709551615-18446744073709551615"] {
            assert_eq!(text.parse::<AuditId>().unwrap().to_string(), text);
        }
        for text in ["", "-", "1", "1-", "-1", "+1-0", "1-0-0", "18446744073709551616-0", "(1-0", "1 -0"] {
            assert_eq!(text.parse::<AuditId>(), Err(AuditIdError), "{text}");
        }
        assert!("9-10".parse::<AuditId>().unwrap() > "9-9".parse().unwrap(), "by number and not by text");
    }
}
