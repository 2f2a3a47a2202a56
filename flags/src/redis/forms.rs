//! How things are spelled in Redis: keys, records, flags, changes. `docs/redis.md` is the reference.
//!
//! A record is `<revision> <json>`, so that the script compares a word and parses nothing. A flag's JSON holds its
//! `rev`, which only the script knows, so it goes there in two parts. Pure.

use crate::audit::Audited;
use crate::store::{Change, Epoch, PUBLISHED_VERSION, Published, StoreError, Stored};
use cutout_core::{BreakerId, Chain, Flag, Pause};
use redis::streams::StreamId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The keys of one scope. The braces put them in one cluster slot.
pub(super) struct Keys {
    pub(super) meta: String,
    pub(super) flags: String,
    pub(super) changes: String,
    pub(super) breakers: String,
    pub(super) monitors: String,
    pub(super) families: String,
    pub(super) audit: String,
}

impl Keys {
    pub(super) fn new(scope: &str) -> Keys {
        let key = |name: &str| format!("cutout:{{{scope}}}:{name}");
        Keys {
            meta: key("meta"),
            flags: key("flags"),
            changes: key("changes"),
            breakers: key("breakers"),
            monitors: key("monitors"),
            families: key("families"),
            audit: key("audit"),
        }
    }
}

/// JSON of a value that always has one.
pub(super) fn json<T: Serialize>(place: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| foreign(place, "JSON", Some(error)))
}

/// A record as it is stored under `revision`.
pub(super) fn record<T: Serialize>(place: &str, revision: u64, value: &T) -> Result<String, StoreError> {
    Ok(format!("{revision} {}", json(place, value)?))
}

/// A record as it was stored.
pub(super) fn parse_record<T: DeserializeOwned>(
    (key, field): (&str, &str),
    wanted: &'static str,
    text: &str,
) -> Result<Stored<T>, StoreError> {
    let refuse = |error| foreign(&format!("{key} {field}"), wanted, error);
    let (revision, json) = text.split_once(' ').ok_or_else(|| refuse(None))?;
    let revision = revision.parse().map_err(|_| refuse(None))?;
    let value = serde_json::from_str(json).map_err(|error| refuse(Some(error)))?;
    Ok(Stored { revision, value })
}

/// A pause as it stands in `meta`.
pub(super) fn parse_pause(meta: &str, pause: Option<&str>) -> Result<Option<Pause>, StoreError> {
    let wrong = |error| foreign(&format!("{meta} pause"), "a pause", Some(error));
    pause.map(|pause| serde_json::from_str(pause).map_err(wrong)).transpose()
}

/// The JSON of a [`Published`] before and after its `rev`.
pub(super) fn published_parts(
    place: &str,
    epoch: &Epoch,
    flag: &Flag,
) -> Result<(String, String), StoreError> {
    let before = format!(r#"{{"v":{PUBLISHED_VERSION},"epoch":{},"rev":"#, json(place, epoch)?);
    let flag = json(place, flag)?;
    let after = format!(",{}", flag.strip_prefix('{').unwrap_or(&flag));
    Ok((before, after))
}

/// A flag as it stands in Redis; none if this version cannot read it.
pub(super) fn parse_published(id: &BreakerId, json: &[u8]) -> Option<Published> {
    let read = Published::read(json);
    if let Err(error) = &read {
        tracing::warn!(breaker = %id, error = %Chain(error), "a flag that cannot be read: what was known of it stays");
    }
    read.ok()
}

/// A change as it stands in the stream; none if this version cannot read it, which leaves a gap for the follower.
pub(super) fn parse_change(entry: &StreamId) -> Option<Change> {
    let id = BreakerId::from_stored(entry.get("breaker")?);
    let flag: Vec<u8> = entry.get("flag")?;
    Some(Change { published: parse_published(&id, &flag)?, id })
}

/// Where in a stream an entry stands: ids of entries in their order.
pub(super) type Place = (u64, u64);

/// The place that an id tells; what is none stands before all others.
pub(super) fn place(id: &str) -> Place {
    let (at_ms, number) = id.split_once('-').unwrap_or((id, "0"));
    (at_ms.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

/// A message of the channel, in three lines: the id of the stream's entry, the breaker, the flag. Gives the id, and the change, which
/// is none as in [`parse_change`]. None if it is another kind of message.
pub(super) fn parse_message(message: &[u8]) -> Option<(&str, impl FnOnce() -> Option<Change>)> {
    let mut lines = std::str::from_utf8(message).ok()?.splitn(3, '\n');
    let (id, breaker, flag) = (lines.next()?, lines.next()?, lines.next()?);
    let change = move || {
        let id = BreakerId::from_stored(breaker.to_owned());
        Some(Change { published: parse_published(&id, flag.as_bytes())?, id })
    };
    Some((id, change))
}

impl Change {
    /// The change that a message of Redis's channel tells. None if it is another kind of message, or of a flag that this version
    /// cannot read.
    #[must_use]
    pub fn of_message(message: &[u8]) -> Option<Change> {
        let (_, change) = parse_message(message)?;
        change()
    }
}

/// An entry of the stream as the script publishes it; none if it is not a change.
pub(super) fn message_of(entry: &StreamId) -> Option<Vec<u8>> {
    let (breaker, flag): (Vec<u8>, Vec<u8>) = (entry.get("breaker")?, entry.get("flag")?);
    Some([entry.id.as_bytes(), &breaker, &flag].join(&b'\n'))
}

/// An entry of the audit stream; none if it is not one, which is told and passed over.
pub(super) fn parse_audited(entry: &StreamId) -> Option<Audited> {
    let parse = || {
        let breaker: String = entry.get("breaker")?;
        let text: String = entry.get("entry")?;
        Some(Audited {
            id: entry.id.parse().ok()?,
            breaker: Some(breaker).filter(|id| !id.is_empty()).map(BreakerId::from_stored),
            entry: serde_json::from_str(&text).ok()?,
        })
    };
    let audited = parse();
    if audited.is_none() {
        tracing::warn!(id = entry.id, "an entry of the audit stream cannot be read: it is left out");
    }
    audited
}

pub(super) fn foreign(place: &str, wanted: &'static str, source: Option<serde_json::Error>) -> StoreError {
    StoreError::Foreign { place: place.to_owned(), wanted, source: source.map(Arc::new) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::State;
    use cutout_core::flag::{Next, Ramp};

    #[test]
    fn the_script_and_serde_write_the_same_flag() {
        let ramp = Some(Ramp { from_ms: 1, to_ms: 2, from_ppm: 100_000 });
        let next = Some(Next { at_ms: 2, state: State::Closed });
        let flags = [
            Flag::default(),
            Flag { state: State::Open, since_ms: -5, ..Flag::default() },
            Flag { state: State::HalfOpen, since_ms: 1_795_223_705_000, ramp, next, ..Flag::default() },
        ];
        for flag in flags {
            let epoch = Epoch::from_stored(r#"with "quotes" and \"#.into());
            let (before, after) = published_parts("here", &epoch, &flag).unwrap();
            let published = Published { v: PUBLISHED_VERSION, epoch, rev: 9_007_199_254_740_993, flag };
            assert_eq!(
                format!("{before}9007199254740993{after}"),
                serde_json::to_string(&published).unwrap()
            );
        }
    }

    #[test]
    fn a_published_flag_reads_as_the_document_says() {
        let documented =
            br#"{"v":1,"epoch":"9f3a6c0d5e1b7a42","rev":17,"state":"half-open","since_ms":1795223705000,"mode":"enforce","refuse":[],"probe_ppm":10000,
            "ramp":{"from_ms":1795223705000,"to_ms":1795224005000,"from_ppm":100000},"next":{"at_ms":1795224005000,"state":"closed"},
            "stale_at_ms":null,"on_stale":"half-open","override":null,"would":null,"of_tomorrow":{"x":[1]}}"#;
        let id = BreakerId::new("bank-charge", &["0001"]);
        let published = parse_published(&id, documented).unwrap();
        assert_eq!((published.rev, published.flag.state), (17, State::HalfOpen));
        assert_eq!(published.flag.next, Some(Next { at_ms: 1_795_224_005_000, state: State::Closed }));
        for unreadable in [
            &b"{\"v\":2,\"epoch\":\"a\",\"rev\":1,\"state\":\"open\",\"since_ms\":1}"[..],
            b"",
            b"\xff",
            b"{}",
        ] {
            assert_eq!(parse_published(&id, unreadable), None);
        }
    }

    #[test]
    fn a_message_holds_a_place_a_breaker_and_a_flag_in_three_lines() {
        let flag = r#"{"v":1,"epoch":"e","rev":7,"state":"open","since_ms":1}"#;
        let message = format!("1795223705000-2\nbank-charge/a b\n{flag}");
        let (id, change) = parse_message(message.as_bytes()).unwrap();
        let change = change().unwrap();
        assert_eq!((id, place(id)), ("1795223705000-2", (1_795_223_705_000, 2)));
        assert_eq!((change.id, change.published.rev), (BreakerId::new("bank-charge", &["a b"]), 7));
        assert!(place("9-10") > place("9-9") && place("10-0") > place("9-9") && place("0-0") == place("x"));
        for other in ["", "1-1", "1-1\nbank"] {
            assert!(parse_message(other.as_bytes()).is_none(), "{other}");
        }
        let (id, unreadable) = parse_message(b"1-1\nbank\n{\"v\":2}").unwrap();
        assert_eq!((id, unreadable()), ("1-1", None), "it is passed over, and leaves a gap");
    }

    #[test]
    fn a_record_is_a_revision_and_json() {
        let text = record("here", 3, &["a b"]).unwrap();
        assert_eq!(text, r#"3 ["a b"]"#);
        let stored: Stored<Vec<String>> = parse_record(("key", "field"), "a list", &text).unwrap();
        assert_eq!((stored.revision, stored.value), (3, vec!["a b".to_owned()]));
        for bad in ["", "3", "x []", "3 {"] {
            let error = parse_record::<Vec<String>>(("key", "field"), "a list", bad).unwrap_err();
            assert_eq!(error.to_string(), "key field holds a value that is not readable as a list", "{bad}");
        }
    }
}
