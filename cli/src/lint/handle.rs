//! The handles that reach the function: `@sns-<topic>`, or the ones that are asked for.

use cutout_lambda::template::UNKNOWN;
use std::fmt;

/// What each handle of a topic begins with.
const SNS: &str = "@sns-";

/// The handles of which one must be in the text; none named: any topic's.
#[derive(Debug, Clone, Default)]
pub struct Handles(Vec<String>);

/// How handles stand in a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// One stands free.
    free: bool,
    /// One is glued to another character.
    pub(super) glued: bool,
}

impl Seen {
    pub(super) fn any(self) -> bool {
        self.free || self.glued
    }
}

impl Handles {
    /// Any of these will do; a missing `@` is added.
    #[must_use]
    pub fn of(handles: &[String]) -> Handles {
        Handles(handles.iter().map(|handle| format!("@{}", handle.trim_start_matches('@'))).collect())
    }

    /// How they stand in a text.
    pub(super) fn seen_in(&self, text: &str) -> Seen {
        let mut seen = Seen::default();
        for (before, _, after) in self.places(text) {
            let free = |neighbour: Option<char>| neighbour.is_none_or(char::is_whitespace);
            if free(before.chars().next_back()) && free(after.chars().next()) {
                seen.free = true;
            } else {
                seen.glued = true;
            }
        }
        seen
    }

    /// The handles that a text names, each distinct one once, in order.
    pub(super) fn named_in(&self, text: &str) -> Vec<String> {
        let mut named: Vec<String> = Vec::new();
        for (_, handle, _) in self.places(text) {
            if handle != SNS && !named.iter().any(|known| known == handle) {
                named.push(handle.to_owned());
            }
        }
        named
    }

    /// The text without them.
    pub(super) fn without(&self, text: &str) -> String {
        let mut words = String::new();
        let mut from = 0;
        for (before, handle, _) in self.places(text) {
            words.push_str(text.get(from..before.len()).unwrap_or_default());
            from = before.len() + handle.len();
        }
        words + text.get(from..).unwrap_or_default()
    }

    /// The handle to write where a text names none.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// What stands before each handle, the handle, and what stands behind it.
    fn places<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        text.match_indices('@').filter_map(move |(at, _)| {
            let (before, rest) = text.split_at_checked(at)?;
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let plain = 1 + rest.get(1..)?.find(|c| !is_part(c)).unwrap_or(rest.len() - 1);
            let (handle, after) = rest.split_at_checked(plain)?;
            let wanted = if self.0.is_empty() {
                handle.len() > SNS.len() && handle.starts_with(SNS)
                    || handle == SNS && after.starts_with(UNKNOWN)
            } else {
                self.0.iter().any(|wanted| wanted == handle)
            };
            wanted.then(|| {
                (before, handle, after.strip_prefix(UNKNOWN).filter(|_| handle == SNS).unwrap_or(after))
            })
        })
    }
}

impl fmt::Display for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { write!(f, "a handle {SNS}<topic>") } else { f.write_str(&self.0.join(" or ")) }
    }
}
