//! Faults that a person injects into the calls of one breaker, to see what the callers do: a delay, or an end before anything is sent.
//!
//! None is left on. A fault has an end, and hard limits hold for its share, its delay and its time. They are checked when it is
//! ordered, and hold once more wherever it is read: a fault that somebody writes into the store by hand is bounded too.
//!
//! Left out: who may order one (`service`), and carrying it out (`client`).

use crate::flag::ALL_PPM;
use serde::{Deserialize, Deserializer, Serialize};

/// The largest share of calls that one fault touches, parts per million: half, so that whoever calls still sees the vendor.
pub const FAULT_SHARE_MAX_PPM: u32 = 500_000;
/// The largest share of calls that bear a mark: all, since nobody bears it by accident.
pub const FAULT_MARKED_SHARE_MAX_PPM: u32 = ALL_PPM;
/// The longest delay, milliseconds.
pub const FAULT_DELAY_MAX_MS: i64 = 30_000;
/// How long a fault lasts at the most, milliseconds: one hour.
pub const FAULT_TIME_MAX_MS: i64 = 3_600_000;
/// The longest name or value of a mark, bytes.
pub const MARK_MAX_BYTES: usize = 128;

/// What a request bears that a fault is for: a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The header's name, lower-case.
    pub name: String,
    /// Its value; none: any.
    pub value: Option<String>,
}

/// A fault as callers see it: neither who nor why.
///
/// ```
/// use cutout_core::fault::{Beyond, FAULT_TIME_MAX_MS, Fault};
///
/// let a_tenth = Fault { since_ms: 0, until_ms: 60_000, abort_ppm: 100_000, delay_ppm: 0, delay_ms: 0, only: None };
/// assert_eq!(a_tenth.check(), Ok(()));
/// assert_eq!(Fault { until_ms: FAULT_TIME_MAX_MS + 1, ..a_tenth }.check(), Err(Beyond::Time));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// Since when, Unix milliseconds of the store's clock.
    pub since_ms: i64,
    /// When it ends, Unix milliseconds of the store's clock; [`FAULT_TIME_MAX_MS`] after `since_ms` at the latest.
    pub until_ms: i64,
    /// The share of calls that end at once, with nothing sent; parts per million.
    #[serde(default)]
    pub abort_ppm: u32,
    /// The share of calls that wait before they are sent; parts per million.
    #[serde(default)]
    pub delay_ppm: u32,
    /// How long they wait, milliseconds.
    #[serde(default)]
    pub delay_ms: i64,
    /// Only requests that bear this; none: any call.
    #[serde(default)]
    pub only: Option<Mark>,
}

/// What a fault does to one call. The delay comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injection {
    /// How long the call waits, milliseconds; 0: not at all.
    pub delay_ms: i64,
    /// Whether it then ends without being sent.
    pub aborts: bool,
}

/// Why a fault may not be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// It ends when it begins, or before.
    #[error("the end of the fault is over already")]
    Over,
    /// It lasts too long.
    #[error("a fault lasts at most {FAULT_TIME_MAX_MS} ms")]
    Time,
    /// A share is too large.
    #[error("a fault touches at most {max_ppm} of a million calls")]
    Share {
        /// The largest share, parts per million.
        max_ppm: u32,
    },
    /// The delay is too long, or below nothing.
    #[error("a fault delays calls by at most {FAULT_DELAY_MAX_MS} ms")]
    Delay,
    /// It does nothing: no share, or a delay without length, or one without share.
    #[error("a fault ends a share of the calls, or delays a share of them by some time")]
    Nothing,
    /// A header that no request can bear.
    #[error(
        "a fault's header has a lower-case name, and at most {MARK_MAX_BYTES} bytes in its name and in its value"
    )]
    Mark,
}

impl Mark {
    fn can_be(&self) -> bool {
        let in_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let value = self.value.as_deref().unwrap_or_default();
        (1..=MARK_MAX_BYTES).contains(&self.name.len())
            && self.name.bytes().all(in_name)
            && value.len() <= MARK_MAX_BYTES
            && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    }
}

impl Fault {
    /// Whether it keeps all limits, when it is ordered.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn check(&self) -> Result<(), Beyond> {
        let max_ppm = self.share_max_ppm();
        match self {
            fault if fault.until_ms <= fault.since_ms => Err(Beyond::Over),
            fault if fault.until_ms > fault.ends_ms() => Err(Beyond::Time),
            fault if fault.abort_ppm > max_ppm || fault.delay_ppm > max_ppm => Err(Beyond::Share { max_ppm }),
            fault if !(0..=FAULT_DELAY_MAX_MS).contains(&fault.delay_ms) => Err(Beyond::Delay),
            fault if (fault.delay_ppm == 0) != (fault.delay_ms == 0) => Err(Beyond::Nothing),
            fault if fault.delay_ppm == 0 && fault.abort_ppm == 0 => Err(Beyond::Nothing),
            fault if fault.only.as_ref().is_some_and(|mark| !mark.can_be()) => Err(Beyond::Mark),
            _ => Ok(()),
        }
    }

    /// When it ends, whatever it says itself; Unix milliseconds.
    #[must_use]
    pub fn ends_ms(&self) -> i64 {
        self.until_ms.min(self.since_ms.saturating_add(FAULT_TIME_MAX_MS))
    }

    /// Whether it is in force at `now_ms`.
    #[must_use]
    pub fn holds_at(&self, now_ms: i64) -> bool {
        (self.since_ms..self.ends_ms()).contains(&now_ms)
    }

    /// What it does at `now_ms` to a call that drew twice evenly from 0 to 999,999: for its delay, and for its end. Whether the call
    /// bears the mark is for the caller to see.
    #[must_use]
    pub fn strikes(&self, now_ms: i64, delay_draw_ppm: u32, abort_draw_ppm: u32) -> Option<Injection> {
        if !self.holds_at(now_ms) {
            return None;
        }
        let hits = |draw_ppm: u32, ppm: u32| draw_ppm < ppm.min(self.share_max_ppm());
        let delays = hits(delay_draw_ppm, self.delay_ppm);
        let delay_ms = if delays { self.delay_ms.clamp(0, FAULT_DELAY_MAX_MS) } else { 0 };
        let injection = Injection { delay_ms, aborts: hits(abort_draw_ppm, self.abort_ppm) };
        (injection != Injection::default()).then_some(injection)
    }

    fn share_max_ppm(&self) -> u32 {
        if self.only.is_some() { FAULT_MARKED_SHARE_MAX_PPM } else { FAULT_SHARE_MAX_PPM }
    }
}

/// A fault of a flag. One that this version cannot read is none: whatever else, calls must flow by the rest of the flag.
pub(crate) fn readable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Fault>>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault {
            since_ms: 1_000,
            until_ms: 61_000,
            abort_ppm: 100_000,
            delay_ppm: 200_000,
            delay_ms: 50,
            only: None,
        }
    }

    #[test]
    fn it_strikes_its_shares_from_its_beginning_to_its_end() {
        let both = Some(Injection { delay_ms: 50, aborts: true });
        assert_eq!(
            [999, 1_000, 60_999, 61_000].map(|now_ms| fault().strikes(now_ms, 0, 0)),
            [None, both, both, None]
        );
        let strikes = |delay_draw, abort_draw| fault().strikes(1_000, delay_draw, abort_draw);
        assert_eq!(strikes(199_999, 100_000), Some(Injection { delay_ms: 50, aborts: false }));
        assert_eq!(strikes(200_000, 99_999), Some(Injection { delay_ms: 0, aborts: true }));
        assert_eq!(strikes(200_000, 100_000), None);
    }

    #[test]
    fn the_limits_hold_when_it_is_ordered() {
        let mark = |name: &str, value: &str| Some(Mark { name: name.into(), value: Some(value.into()) });
        let longest = Fault { until_ms: 1_000 + FAULT_TIME_MAX_MS, ..fault() };
        let marked = Fault { abort_ppm: ALL_PPM, only: mark("x-fault", "yes"), ..fault() };
        let half = Fault { abort_ppm: FAULT_SHARE_MAX_PPM, delay_ms: FAULT_DELAY_MAX_MS, ..fault() };
        for fine in [fault(), longest.clone(), marked.clone(), half.clone()] {
            assert_eq!(fine.check(), Ok(()), "{fine:?}");
        }
        let share = Beyond::Share { max_ppm: FAULT_SHARE_MAX_PPM };
        for (fault, beyond) in [
            (Fault { until_ms: 1_000, ..fault() }, Beyond::Over),
            (Fault { until_ms: longest.until_ms + 1, ..fault() }, Beyond::Time),
            (Fault { until_ms: i64::MAX, since_ms: 0, ..fault() }, Beyond::Time),
            (Fault { abort_ppm: FAULT_SHARE_MAX_PPM + 1, ..fault() }, share),
            (Fault { delay_ppm: FAULT_SHARE_MAX_PPM + 1, ..fault() }, share),
            (Fault { abort_ppm: ALL_PPM + 1, ..marked }, Beyond::Share { max_ppm: ALL_PPM }),
            (Fault { delay_ms: FAULT_DELAY_MAX_MS + 1, ..half }, Beyond::Delay),
            (Fault { delay_ms: -1, ..fault() }, Beyond::Delay),
            (Fault { delay_ms: 0, ..fault() }, Beyond::Nothing),
            (Fault { delay_ppm: 0, ..fault() }, Beyond::Nothing),
            (Fault { delay_ppm: 0, delay_ms: 0, abort_ppm: 0, ..fault() }, Beyond::Nothing),
            (Fault { only: mark("X-Fault", "yes"), ..fault() }, Beyond::Mark),
            (Fault { only: mark("", "yes"), ..fault() }, Beyond::Mark),
            (Fault { only: mark("x-fault", "a\nb"), ..fault() }, Beyond::Mark),
        ] {
            assert_eq!(fault.check(), Err(beyond), "{fault:?}");
        }
    }

    #[test]
    fn the_limits_hold_for_what_was_written_by_hand() {
        let wild = Fault {
            since_ms: 0,
            until_ms: i64::MAX,
            abort_ppm: u32::MAX,
            delay_ppm: u32::MAX,
            delay_ms: i64::MAX,
            only: None,
        };
        let strikes = |now_ms, draw_ppm| wild.strikes(now_ms, draw_ppm, draw_ppm);
        let most = Some(Injection { delay_ms: FAULT_DELAY_MAX_MS, aborts: true });
        assert_eq!(strikes(0, FAULT_SHARE_MAX_PPM - 1), most);
        assert_eq!(strikes(0, FAULT_SHARE_MAX_PPM), None);
        assert_eq!([FAULT_TIME_MAX_MS - 1, FAULT_TIME_MAX_MS].map(|now_ms| strikes(now_ms, 0)), [most, None]);
        let backwards = Fault { delay_ms: i64::MIN, abort_ppm: 0, ..wild };
        assert_eq!(backwards.strikes(0, 0, 0), None);
        let endless = Fault { since_ms: i64::MAX, ..fault() };
        assert!(!endless.holds_at(i64::MAX) && !endless.holds_at(0));
    }

    #[test]
    fn a_mark_is_a_header_that_a_request_can_bear() {
        let can_be = |name: &str, value: Option<&str>| {
            let only = Some(Mark { name: name.into(), value: value.map(Into::into) });
            Fault { only, ..fault() }.check() == Ok(())
        };
        let (longest, too_long) = ("a".repeat(MARK_MAX_BYTES), "a".repeat(MARK_MAX_BYTES + 1));
        for (name, value) in [
            ("x-fault_2", None),
            ("2", Some("")),
            ("x-fault", Some("two words: ~!")),
            (longest.as_str(), Some(longest.as_str())),
        ] {
            assert!(can_be(name, value), "{name}: {value:?}");
        }
        for (name, value) in [
            (too_long.as_str(), None),
            ("x-fault", Some(too_long.as_str())),
            ("x fault", None),
            ("x:fault", Some("yes")),
            ("\u{e9}", None),
            ("x-fault", Some("caf\u{e9}")),
            ("x-fault", Some("a\tb")),
        ] {
            assert!(!can_be(name, value), "{name}: {value:?}");
        }
    }

    #[test]
    fn the_greatest_share_of_either_kind_may_be_ordered() {
        let most = Fault { abort_ppm: FAULT_SHARE_MAX_PPM, delay_ppm: FAULT_SHARE_MAX_PPM, ..fault() };
        assert_eq!(most.check(), Ok(()));
        let delay_only = Fault { abort_ppm: 0, ..fault() };
        let abort_only = Fault { delay_ppm: 0, delay_ms: 0, ..fault() };
        assert_eq!((delay_only.check(), abort_only.check()), (Ok(()), Ok(())));
        let marked =
            Fault { only: Some(Mark { name: "x".into(), value: None }), abort_ppm: ALL_PPM, ..fault() };
        assert!(
            marked.strikes(1_000, ALL_PPM - 1, ALL_PPM - 1).is_some_and(|hit| hit.aborts),
            "all that bear it"
        );
    }
}
