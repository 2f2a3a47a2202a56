//! Tags of a monitor group, as a set.
//!
//! Datadog writes one group in several orders and cases (`bank_code:0001,env:prod`, `env:prod,bank_code:0001`),
//! and one key may stand twice (`host:a,host:b`), so groups are compared as sets of lower-case pairs.
//! `*`, the one group of an ungrouped monitor, is the empty set.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The name of the only group of an ungrouped monitor.
pub const UNGROUPED: &str = "*";

/// A set of `key:value` pairs; keys and values are lower-case.
///
/// On the wire: `{"bank_code": ["0001"], "env": ["prod"]}`.
///
/// ```
/// use cutout_core::Tags;
///
/// let group = Tags::parse("Env:prod, bank_code:0001");
/// assert_eq!(group, Tags::parse("bank_code:0001,env:prod"));
/// assert_eq!(group.values("bank_code").collect::<Vec<_>>(), ["0001"]);
/// assert!(group.includes(&Tags::parse("env:prod")) && Tags::parse("*").is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Vec<String>>")]
pub struct Tags(BTreeMap<String, BTreeSet<String>>);

impl Tags {
    /// Reads a group name such as `bank_code:0001,env:prod`. `*` and the empty text give no tags.
    /// A part without a colon is a key with an empty value; blanks around parts are dropped.
    #[must_use]
    pub fn parse(group_name: &str) -> Tags {
        let parts =
            group_name.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != UNGROUPED);
        parts.map(|part| part.split_once(':').unwrap_or((part, ""))).collect()
    }

    /// The values of one key (given in lower case), in order; none if the key is not there.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether every pair of `other` is among these.
    #[must_use]
    pub fn includes(&self, other: &Tags) -> bool {
        let has = |key: &String, values: &BTreeSet<String>| {
            self.0.get(key).is_some_and(|own| own.is_superset(values))
        };
        other.0.iter().all(|(key, values)| has(key, values))
    }

    /// Whether there is no tag at all (an ungrouped monitor).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Tags {
        let mut tags = BTreeMap::<String, BTreeSet<String>>::new();
        for (key, value) in pairs {
            tags.entry(key.as_ref().to_lowercase()).or_default().insert(value.as_ref().to_lowercase());
        }
        Tags(tags)
    }
}

impl From<BTreeMap<String, Vec<String>>> for Tags {
    fn from(map: BTreeMap<String, Vec<String>>) -> Tags {
        map.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))).collect()
    }
}

/// The canonical name: pairs in order, joined by commas; `*` when empty. Equal sets have equal names.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(UNGROUPED);
        }
        let mut separator = "";
        for (key, values) in &self.0 {
            for value in values {
                write!(f, "{separator}{key}:{value}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_equal_as_sets_whatever_their_order_and_case() {
        assert_eq!(Tags::parse("bank_code:0001,env:prod"), Tags::parse("Env:prod, bank_code:0001"));
        assert_ne!(Tags::parse("bank_code:0001,env:prod"), Tags::parse("bank_code:0001"));
        assert_eq!(Tags::parse("env:prod,bank_code:0001").to_string(), "bank_code:0001,env:prod");
    }

    #[test]
    fn a_key_may_have_several_values_and_a_value_may_hold_colons() {
        let tags = Tags::parse("host:b,host:a,url:https://x");
        assert_eq!(tags.values("host").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tags.values("url").collect::<Vec<_>>(), ["https://x"]);
        assert_eq!(tags.to_string(), "host:a,host:b,url:https://x");
    }

    #[test]
    fn the_ungrouped_monitor_has_no_tags_and_its_name_comes_back() {
        assert!(Tags::parse("*").is_empty());
        assert_eq!(Tags::parse("*").to_string(), "*");
    }

    #[test]
    fn a_set_includes_its_parts() {
        let group = Tags::parse("bank_code:0001,env:prod");
        assert!(group.includes(&Tags::parse("bank_code:0001")));
        assert!(group.includes(&Tags::default()));
        assert!(!group.includes(&Tags::parse("bank_code:0002")));
    }

    #[test]
    fn the_wire_form_is_a_map_of_lists_and_is_normalised_on_the_way_in() {
        let tags: Tags = serde_json::from_str(r#"{"Bank_Code":["0001","0001"],"env":["PROD"]}"#).unwrap();
        assert_eq!(serde_json::to_string(&tags).unwrap(), r#"{"bank_code":["0001"],"env":["prod"]}"#);
    }

    #[test]
    fn blank_parts_are_no_tags_and_a_key_may_stand_alone() {
        let tags = Tags::parse(" env:prod ,, bank_code,*");
        assert_eq!(tags.keys().collect::<Vec<_>>(), ["bank_code", "env"]);
        assert_eq!(tags.values("bank_code").collect::<Vec<_>>(), [""]);
        assert_eq!(tags.to_string(), "bank_code:,env:prod");
        assert!(!tags.is_empty() && Tags::parse(" , ").is_empty());
        assert_eq!(tags.values("other").count(), 0);
    }

    #[test]
    fn a_set_that_lacks_one_of_several_values_does_not_include_it() {
        let one = Tags::parse("host:a");
        let both = Tags::parse("host:a,host:b");
        assert!(both.includes(&one) && !one.includes(&both));
    }
}
