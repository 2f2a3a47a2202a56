//! What an owning service declares: its breakers, the monitors they listen to, and how a group's tags become a key.
//!
//! The key's spelling is one function, used by the writer (from a group's tags) and by the caller (from its own
//! values), so that both always mean the same breaker.

use crate::breaker::Policy;
use crate::tags::Tags;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The longest name of a breaker, in bytes.
pub const NAME_LEN_MAX: usize = 100;
/// How many breakers one group may touch, when its key tags bear several values each.
pub const BREAKERS_PER_GROUP_MAX: usize = 64;

/// `%` and `/` would make two keys look alike; control characters would break a log line.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%').add(b'/');

/// Whether a byte of a key is spelled as it is, without a look at what stands around it. A table: callers ask for each byte of each key
/// that comes with a request.
#[inline]
fn stands_for_itself(byte: u8) -> bool {
    #[allow(clippy::indexing_slicing, reason = "reckoned by the compiler, which would refuse it")]
    const SPELLED: [bool; 256] = {
        let mut spelled = [false; 256];
        let mut byte = 0;
        while byte < spelled.len() {
            spelled[byte] = matches!(byte, 0x21..=0x24 | 0x26..=0x2e | 0x30..=0x40 | 0x5b..=0x7e);
            byte += 1;
        }
        spelled
    };
    SPELLED.get(usize::from(byte)).copied().unwrap_or(false)
}

/// A breaker's identity: its name, or name and key such as `bank-charge/0001`.
///
/// ```
/// use cutout_core::BreakerId;
///
/// let id = BreakerId::new("network", &["VISA", "eu/west"]);
/// assert_eq!(id.as_str(), "network/visa/eu%2Fwest");
/// assert_eq!((id.name(), id.key(), id.key_len()), ("network", "visa/eu%2Fwest", 2));
/// assert_eq!(BreakerId::typed("network/VISA/eu%2Fwest"), id, "as a person may write it");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BreakerId(Box<str>);

impl BreakerId {
    /// The identity of `name` for the key's values in declared order: lower-cased, `%` and `/` percent-encoded,
    /// joined by `/`.
    #[must_use]
    pub fn new<V: AsRef<str>>(name: &str, values: &[V]) -> BreakerId {
        let mut id = String::new();
        BreakerId::spell(name, values, &mut id);
        BreakerId(id.into())
    }

    /// Whether a value of a key is spelled as it stands.
    #[must_use]
    #[inline]
    pub fn is_spelled(value: &str) -> bool {
        value.bytes().all(stands_for_itself)
    }

    /// Appends the text of [`BreakerId::new`] to `id`; with values of ASCII nothing is allocated but room in `id`.
    pub fn spell<V: AsRef<str>>(name: &str, values: &[V], id: &mut String) {
        id.push_str(name);
        for value in values {
            let value = value.as_ref();
            id.push('/');
            if BreakerId::is_spelled(value) {
                id.push_str(value);
            } else if value.is_ascii() {
                for byte in value.bytes() {
                    let lower = char::from(byte.to_ascii_lowercase());
                    id.extend(utf8_percent_encode(lower.encode_utf8(&mut [0; 4]), ENCODED));
                }
            } else {
                id.extend(utf8_percent_encode(&value.to_lowercase(), ENCODED));
            }
        }
    }

    /// The identity that a person means by `text`: the name, and the key's values, each as it is or encoded already.
    #[must_use]
    pub fn typed(text: &str) -> BreakerId {
        let mut parts = text.split('/');
        let name = parts.next().unwrap_or_default();
        let values: Vec<_> = parts.map(|value| percent_decode_str(value).decode_utf8_lossy()).collect();
        BreakerId::new(name, &values)
    }

    /// An identity as a store spells it.
    #[must_use]
    pub fn from_stored(id: String) -> BreakerId {
        BreakerId(id.into())
    }

    /// The whole identity.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The declared name, without the key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(name, _)| name)
    }

    /// The key as it is spelled, without the name; empty for a breaker without key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, key)| key)
    }

    /// How many values the key has.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.0.matches('/').count()
    }
}

/// Hashes and compares as its text, so that a map is asked without making one.
impl Borrow<str> for BreakerId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for BreakerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` may name a breaker: 1 to [`NAME_LEN_MAX`] of `a-z 0-9 . _ -`, a letter or digit first.
#[must_use]
pub fn is_breaker_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= NAME_LEN_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// One declared breaker, or family of breakers by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// Its name.
    pub name: String,
    /// The group tags whose values make the key, lower-case; none: one breaker.
    pub key: Vec<String>,
    /// Monitors by number.
    pub monitor_ids: BTreeSet<u64>,
    /// Monitors by their own tags, lower-case: one that bears all of these. None: by number only.
    pub monitor_tags: BTreeSet<String>,
    /// Groups are for this breaker only if, for each of these tags, they bear one of the values (lower-case).
    pub only: BTreeMap<String, BTreeSet<String>>,
    /// How it decides.
    pub policy: Policy,
}

/// Which breakers a group touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These.
    Breakers(Vec<BreakerId>),
    /// None: the group lacks this key tag.
    KeyTagMissing(String),
    /// None: `where` keeps the group out.
    Elsewhere,
    /// None: its tags would make more than [`BREAKERS_PER_GROUP_MAX`] keys.
    TooManyKeys,
}

impl Declaration {
    /// Whether this breaker listens to a monitor of this number and these own tags (lower-case).
    #[must_use]
    pub fn listens_to(&self, monitor_id: u64, monitor_tags: &BTreeSet<String>) -> bool {
        let by_tags = !self.monitor_tags.is_empty() && self.monitor_tags.is_subset(monitor_tags);
        self.monitor_ids.contains(&monitor_id) || by_tags
    }

    /// Which breakers a group with these tags touches: one for each combination of its key tags' values.
    #[must_use]
    pub fn touched_by(&self, group: &Tags) -> Touched {
        let admitted = |(tag, allowed): (&String, &BTreeSet<String>)| {
            group.values(tag).any(|value| allowed.contains(value))
        };
        if !self.only.iter().all(admitted) {
            return Touched::Elsewhere;
        }
        let mut keys: Vec<Vec<&str>> = vec![Vec::new()];
        for tag in &self.key {
            let values: Vec<&str> = group.values(tag).collect();
            if values.is_empty() {
                return Touched::KeyTagMissing(tag.clone());
            }
            if keys.len() * values.len() > BREAKERS_PER_GROUP_MAX {
                return Touched::TooManyKeys;
            }
            let longer = keys.iter().flat_map(|key| {
                values.iter().map(move |value| key.iter().copied().chain([*value]).collect())
            });
            keys = longer.collect();
        }
        Touched::Breakers(keys.iter().map(|values| BreakerId::new(&self.name, values)).collect())
    }
}

/// What a service publishes of its declarations, so that callers can check the names they use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The revision of the breakers' file; 0: it has none. The highest one rules.
    #[serde(default)]
    pub revision: u64,
    /// By name.
    pub breakers: BTreeMap<String, DeclaredBreaker>,
}

/// The client-visible part of one declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredBreaker {
    /// The tags whose values make the key, in order.
    pub key: Vec<String>,
}

impl Declared {
    /// What is published of `declarations` under `revision`.
    #[must_use]
    pub fn new(revision: u64, declarations: &[Declaration]) -> Declared {
        let entry = |d: &Declaration| (d.name.clone(), DeclaredBreaker { key: d.key.clone() });
        Declared { revision, breakers: declarations.iter().map(entry).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_bank() -> Declaration {
        Declaration {
            name: "bank-charge".into(),
            key: vec!["bank_code".into()],
            monitor_ids: [1].into(),
            monitor_tags: ["cutout:bank".into(), "team:pay".into()].into(),
            only: [("env".to_owned(), ["prod".to_owned()].into())].into(),
            policy: Policy::default(),
        }
    }

    fn ids(names: &[&str]) -> Touched {
        Touched::Breakers(names.iter().map(|name| BreakerId((*name).into())).collect())
    }

    #[test]
    fn a_key_is_spelled_the_same_whether_or_not_it_could_stand_as_it_is() {
        let keys = [
            "0001",
            "a~!:\"b",
            "AbC",
            "a/b",
            "50%",
            "a b",
            "\u{7f}\u{1}",
            "\u{c4}\u{3a3}",
            "\u{df}",
            "",
            "\n",
        ];
        for key in keys {
            let wanted = format!("bank/{}", utf8_percent_encode(&key.to_lowercase(), ENCODED));
            assert_eq!(BreakerId::new("bank", &[key]).as_str(), wanted);
        }
        assert_eq!(BreakerId::new("bank", &["A/b", "c"]).as_str(), "bank/a%2Fb/c");
    }

    #[test]
    fn writer_and_caller_spell_a_key_alike() {
        let Touched::Breakers(written) = by_bank().touched_by(&Tags::parse("bank_code:A/b%,env:prod")) else {
            panic!()
        };
        assert_eq!(written, [BreakerId::new("bank-charge", &["a/B%"])]);
        assert_eq!(written[0].as_str(), "bank-charge/a%2Fb%25");
        assert_eq!(written[0].name(), "bank-charge");
    }

    #[test]
    fn what_a_person_types_is_the_identity_that_is_written() {
        for typed in ["bank-charge/0001", "bank-charge/A%2fb%25", "bank-charge/a/É", "fleet", "bank/50%"] {
            let meant = BreakerId::typed(typed);
            assert_eq!(BreakerId::typed(meant.as_str()), meant, "{typed}: spelled out it stays the same");
        }
        assert_eq!(BreakerId::typed("bank-charge/A%2fb%25"), BreakerId::new("bank-charge", &["a/B%"]));
        assert_eq!(BreakerId::typed("bank-charge/É"), BreakerId::new("bank-charge", &["é"]));
        assert_eq!(BreakerId::typed("fleet"), BreakerId::new::<&str>("fleet", &[]));
        let two = BreakerId::typed("route/jp/0001");
        assert_eq!((two.name(), two.key(), two.key_len()), ("route", "jp/0001", 2));
        assert_eq!((BreakerId::typed("fleet").key(), BreakerId::typed("fleet").key_len()), ("", 0));
    }

    #[test]
    fn different_keys_never_meet() {
        assert_ne!(BreakerId::new("x", &["a/b", "c"]), BreakerId::new("x", &["a", "b/c"]));
        assert_ne!(BreakerId::new("x", &["a%2Fb"]), BreakerId::new("x", &["a/b"]));
    }

    #[test]
    fn a_group_touches_one_breaker_for_each_value_of_the_key() {
        let both = Tags::parse("bank_code:0001,bank_code:0002,env:prod");
        assert_eq!(by_bank().touched_by(&both), ids(&["bank-charge/0001", "bank-charge/0002"]));
        let whole = Declaration { key: vec![], only: BTreeMap::new(), ..by_bank() };
        assert_eq!(whole.touched_by(&Tags::parse("*")), ids(&["bank-charge"]));
    }

    #[test]
    fn other_groups_touch_none_and_the_reason_is_told() {
        assert_eq!(by_bank().touched_by(&Tags::parse("bank_code:1,env:stg")), Touched::Elsewhere);
        assert_eq!(by_bank().touched_by(&Tags::parse("bank_code:1")), Touched::Elsewhere);
        assert_eq!(
            by_bank().touched_by(&Tags::parse("env:prod")),
            Touched::KeyTagMissing("bank_code".into())
        );
        let many: String = (0..65).map(|n| format!("bank_code:{n},")).collect();
        assert_eq!(by_bank().touched_by(&Tags::parse(&format!("{many}env:prod"))), Touched::TooManyKeys);
    }

    #[test]
    fn a_monitor_is_meant_by_its_number_or_by_all_of_the_tags() {
        let tags = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect::<BTreeSet<_>>();
        assert!(by_bank().listens_to(1, &tags(&[])));
        assert!(by_bank().listens_to(2, &tags(&["team:pay", "cutout:bank", "x:y"])));
        assert!(!by_bank().listens_to(2, &tags(&["cutout:bank"])));
        let by_number = Declaration { monitor_tags: BTreeSet::new(), ..by_bank() };
        assert!(!by_number.listens_to(2, &tags(&["any"])), "no tags asked for is not all tags borne");
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "bank-charge", "0.x_y"] {
            assert!(is_breaker_name(good), "{good}");
        }
        for bad in ["", "Bank", "-a", "a/b", "a b", "é", &"a".repeat(101)] {
            assert!(!is_breaker_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_value_is_spelled_as_it_stands_if_each_byte_is() {
        for byte in 0..=u8::MAX {
            let value = char::from(byte).to_string();
            let plain = byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"%/".contains(&byte);
            assert_eq!(BreakerId::is_spelled(&value), plain, "{value:?}");
            if plain {
                assert_eq!(BreakerId::new("bank", &[&value]).key(), value);
            }
        }
        assert!(BreakerId::is_spelled("") && BreakerId::is_spelled("0001") && !BreakerId::is_spelled("00 1"));
    }

    #[test]
    fn an_identity_is_found_by_its_text() {
        let stored = BreakerId::from_stored("bank-charge/a%2Fb".to_owned());
        assert_eq!(stored, BreakerId::new("bank-charge", &["a/b"]));
        assert_eq!(stored.to_string(), "bank-charge/a%2Fb");
        let by_tree = BTreeMap::from([(stored.clone(), 1)]);
        let by_hash = std::collections::HashMap::from([(stored, 1)]);
        assert_eq!(
            (by_tree.get("bank-charge/a%2Fb"), by_hash.get("bank-charge/a%2Fb")),
            (Some(&1), Some(&1))
        );
        assert_eq!((by_tree.get("bank-charge"), by_hash.get("bank-charge/b")), (None, None));
    }

    #[test]
    fn a_group_may_touch_64_breakers_and_no_more() {
        let by_two =
            Declaration { key: vec!["bank".into(), "route".into()], only: BTreeMap::new(), ..by_bank() };
        let touched = |banks: u32, routes: u32| {
            let banks: String = (0..banks).map(|n| format!("bank:{n},")).collect();
            let routes: String = (0..routes).map(|n| format!("route:{n},")).collect();
            match by_two.touched_by(&Tags::parse(&format!("{banks}{routes}"))) {
                Touched::Breakers(ids) => Some(ids.len()),
                _ => None,
            }
        };
        assert_eq!((touched(8, 8), touched(2, 3), touched(64, 1)), (Some(64), Some(6), Some(64)));
        assert_eq!((touched(13, 5), touched(1, 65)), (None, None));
    }

    #[test]
    fn what_is_published_of_the_declarations_is_their_names_and_keys() {
        let whole = Declaration { name: "all".into(), key: vec![], ..by_bank() };
        let declared = Declared::new(7, &[by_bank(), whole]);
        assert_eq!(
            serde_json::to_string(&declared).unwrap(),
            r#"{"revision":7,"breakers":{"all":{"key":[]},"bank-charge":{"key":["bank_code"]}}}"#
        );
    }

    #[test]
    fn the_longest_name_is_100_bytes() {
        assert!(
            is_breaker_name(&"a".repeat(NAME_LEN_MAX)) && !is_breaker_name(&"a".repeat(NAME_LEN_MAX + 1))
        );
    }
}
