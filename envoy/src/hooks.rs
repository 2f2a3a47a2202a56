//! The user's file of hooks: which breaker Envoy asks about, and where a request's key stands.
//!
//! One hook is one breaker's name and one HTTP filter in the user's Envoy. All mistakes are told at once.
//! Left out: what is served for a hook (`picture`, `resources`).

use crate::known::FROZEN_AFTER_MS;
use cutout_core::Problems;
use cutout_core::reference::{Setting, limits};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How many hooks one file may hold.
pub const HOOKS_IN_FILE: RangeInclusive<usize> = 1..=200;
/// Which staleness can be told to act, seconds: before it breakers' own timers still run, and a day at the most.
pub const MAX_STALENESS_SECS: RangeInclusive<u64> = (FROZEN_AFTER_MS.unsigned_abs() / 1_000)..=86_400;
/// What the name of a header may be.
const HEADER_LIMITS: &str = "lower-case letters, digits, - and _";
/// What stands for the key in a path.
const KEY_MARK: &str = "{}";

/// Where a part of the key stands in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The value of this header, lower-case name.
    Header(String),
    /// The segment of the path behind this prefix, which ends with a slash.
    Path(String),
}

/// What a hook does when nothing was heard of the store for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stale {
    /// It goes on by what it knew last.
    #[default]
    LastKnown,
    /// After so long all calls flow.
    ClosedAfter(Duration),
    /// After so long all calls are refused.
    OpenAfter(Duration),
}

impl Stale {
    /// After what silence it acts; none: never.
    #[must_use]
    pub fn after(self) -> Option<Duration> {
        match self {
            Stale::LastKnown => None,
            Stale::ClosedAfter(after) | Stale::OpenAfter(after) => Some(after),
        }
    }
}

/// What Envoy asks about one breaker's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The breaker's declared name.
    pub breaker: String,
    /// Where the key's parts stand, in the order of the breaker's key tags; empty: the breaker has no key.
    pub key: Vec<Source>,
    /// The header that names the operation's class.
    pub class_header: Option<String>,
    /// Only requests whose path begins so; none: all.
    pub path_prefix: Option<String>,
    /// What it does when nothing was heard for too long.
    pub stale: Stale,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    hook: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    breaker: String,
    #[serde(default)]
    key: Vec<KeyEntry>,
    class_header: Option<String>,
    path_prefix: Option<String>,
    max_staleness_secs: Option<u64>,
    then: Option<Then>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum KeyEntry {
    Header(String),
    Path(String),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Then {
    Closed,
    Open,
}

/// What the file may say, in the order of the reference.
#[must_use]
pub fn reference() -> Vec<Setting> {
    const NONE: &str = "none";
    vec![
        Setting::new(
            "hook",
            "required",
            limits(&HOOKS_IN_FILE),
            "`[[hook]]`: one breaker's name, and one filter in your Envoy",
        ),
        Setting::new("breaker", "required", "no `/`; each once", "the declared name, without a key"),
        Setting::new(
            "key",
            NONE,
            "any number of the next two",
            "where the key's parts stand, in the order of the breaker's key tags. Absent: the breaker has no key",
        ),
        Setting::new(
            "header",
            NONE,
            HEADER_LIMITS,
            "in `key`: `{ header = \"x-bank-code\" }`, this header's value",
        ),
        Setting::new(
            "path",
            NONE,
            format!("`{KEY_MARK}` once, as the last segment"),
            "in `key`: `{ path = \"/banks/{}\" }`, the segment behind a prefix",
        ),
        Setting::new(
            "class_header",
            NONE,
            HEADER_LIMITS,
            "the header that names the operation's class; without it every call counts as one without a class",
        ),
        Setting::new("path_prefix", "all requests", "begins with `/`", "only requests whose path begins so"),
        Setting::new(
            "max_staleness_secs",
            "never",
            limits(&MAX_STALENESS_SECS),
            "after how much silence `then` acts: [below](#when-something-is-gone)",
        ),
        Setting::new(
            "then",
            NONE,
            "`closed`, `open`",
            "what it does then; together with `max_staleness_secs`, or neither",
        ),
    ]
}

/// Reads the file's text.
///
/// # Errors
/// All mistakes; those of TOML itself alone.
pub fn read(text: &str) -> Result<Vec<Hook>, Problems> {
    let mut problems = Problems::default();
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            problems.note(error.to_string());
            return Err(problems);
        }
    };
    if file.hook.is_empty() {
        problems.note("there is no [[hook]]: Envoy would be told nothing".to_owned());
    }
    if file.hook.len() > *HOOKS_IN_FILE.end() {
        problems.note(format!("at most {} hooks, not {}", HOOKS_IN_FILE.end(), file.hook.len()));
    }
    let mut seen = BTreeSet::new();
    let mut hooks = Vec::with_capacity(file.hook.len());
    for entry in file.hook {
        if !seen.insert(entry.breaker.clone()) {
            problems.note(format!("hook {:?} stands twice: one hook a breaker", entry.breaker));
        }
        hooks.push(entry.read(&mut problems));
    }
    problems.or(hooks)
}

impl Entry {
    fn read(self, problems: &mut Problems) -> Hook {
        let named = format!("hook {:?}", self.breaker);
        let mut note = |text: &dyn Display| problems.note(format!("{named}: {text}"));
        if self.breaker.is_empty() || self.breaker.contains('/') {
            note(&"breaker is the declared name, without a key");
        }
        for header in self.class_header.iter().chain(self.key.iter().filter_map(KeyEntry::header)) {
            if !is_header(header) {
                note(&format_args!("a header's name is {HEADER_LIMITS}"));
            }
        }
        if self.path_prefix.as_ref().is_some_and(|prefix| !prefix.starts_with('/')) {
            note(&"path_prefix begins with /");
        }
        let key = self.key.into_iter().filter_map(|entry| {
            let source = entry.source();
            if source.is_none() {
                note(&"a path names the key's place by {}, once, as a whole segment and the last one, such as \"/banks/{}\"");
            }
            source
        });
        let key = key.collect();
        let stale = match (self.max_staleness_secs, self.then) {
            (None, None) => Stale::LastKnown,
            (Some(secs), _) if !MAX_STALENESS_SECS.contains(&secs) => {
                note(&format_args!("max_staleness_secs is {}", limits(&MAX_STALENESS_SECS)));
                Stale::LastKnown
            }
            (Some(secs), Some(Then::Closed)) => Stale::ClosedAfter(Duration::from_secs(secs)),
            (Some(secs), Some(Then::Open)) => Stale::OpenAfter(Duration::from_secs(secs)),
            _ => {
                note(&"max_staleness_secs and then = \"closed\" or \"open\" belong together");
                Stale::LastKnown
            }
        };
        let (class_header, path_prefix) = (self.class_header, self.path_prefix);
        Hook { breaker: self.breaker, key, class_header, path_prefix, stale }
    }
}

impl KeyEntry {
    fn header(&self) -> Option<&String> {
        match self {
            KeyEntry::Header(name) => Some(name),
            KeyEntry::Path(_) => None,
        }
    }

    fn source(self) -> Option<Source> {
        match self {
            KeyEntry::Header(name) => Some(Source::Header(name)),
            KeyEntry::Path(path) => {
                let prefix = path.strip_suffix(KEY_MARK)?;
                let is_whole = prefix.starts_with('/') && prefix.ends_with('/') && !prefix.contains(KEY_MARK);
                is_whole.then(|| Source::Path(prefix.to_owned()))
            }
        }
    }
}

fn is_header(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_says_where_its_key_stands_and_what_it_does_in_silence() {
        let hooks = read(
            "[[hook]]\nbreaker = \"bank-charge\"\nkey = [{ header = \"x-bank-code\" }, { path = \"/networks/{}\" }]\n\
             class_header = \"x-operation\"\npath_prefix = \"/v1/\"\nmax_staleness_secs = 600\nthen = \"closed\"\n\
             [[hook]]\nbreaker = \"mail\"\n",
        )
        .unwrap();
        let key = vec![Source::Header("x-bank-code".into()), Source::Path("/networks/".into())];
        assert_eq!((&hooks[0].key, hooks[0].stale.after()), (&key, Some(Duration::from_secs(600))));
        assert_eq!((hooks[1].key.len(), hooks[1].stale), (0, Stale::LastKnown));
    }

    /// What the reader would have taken instead of `other`.
    fn taken(file: &str) -> BTreeSet<String> {
        let told = read(file).unwrap_err().to_string();
        let (_, expected) = told.split_once("expected ").unwrap();
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_reference_tells_every_setting_and_no_other() {
        let told: BTreeSet<String> = reference().iter().map(|setting| setting.name.to_owned()).collect();
        let in_hook = "[[hook]]\nbreaker = \"b\"\n";
        let mut found = taken("other = 1");
        found.extend(taken(&format!("{in_hook}other = 1")));
        found.extend(taken(&format!("{in_hook}key = [{{ other = \"x\" }}]")));
        assert_eq!(told, found);
        let then = reference().into_iter().find(|setting| setting.name == "then").unwrap();
        let words: BTreeSet<String> = then.limits.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(words, taken(&format!("{in_hook}then = \"other\"")));
    }

    #[test]
    fn told_defaults_and_limits_hold() {
        let bare = read("[[hook]]\nbreaker = \"b\"\n").unwrap();
        let (key, class_header, path_prefix) = (Vec::new(), None, None);
        let told = Hook { breaker: "b".into(), key, class_header, path_prefix, stale: Stale::LastKnown };
        assert_eq!(bare, [told]);
        assert!(read("[[hook]]\n").unwrap_err().to_string().contains("missing field `breaker`"));
        let hooks = |count: usize| {
            let file: String = (0..count).map(|nth| format!("[[hook]]\nbreaker = \"b{nth}\"\n")).collect();
            read(&file).is_ok()
        };
        let (least, most) = HOOKS_IN_FILE.into_inner();
        assert_eq!([least - 1, least, most, most + 1].map(hooks), [false, true, true, false]);
        let stale = |secs: u64| {
            read(&format!("[[hook]]\nbreaker = \"b\"\nthen = \"open\"\nmax_staleness_secs = {secs}\n"))
                .is_ok()
        };
        let (least, most) = MAX_STALENESS_SECS.into_inner();
        assert_eq!([least - 1, least, most, most + 1].map(stale), [false, true, true, false]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let told = read(
            "[[hook]]\nbreaker = \"a/1\"\nkey = [{ header = \"X-Bank\" }, { path = \"/banks/{}/x\" }]\n\
             path_prefix = \"v1\"\nmax_staleness_secs = 5\nthen = \"open\"\n\
             [[hook]]\nbreaker = \"b\"\nthen = \"open\"\n[[hook]]\nbreaker = \"b\"\n",
        )
        .unwrap_err()
        .to_string();
        for expected in [
            "without a key",
            "lower-case",
            "whole segment",
            "begins with /",
            "90 to 86400",
            "belong",
            "twice",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
        for (text, expected) in [("", "there is no [[hook]]"), ("[[hook]]\nbraker = 1", "unknown field")] {
            assert!(read(text).unwrap_err().to_string().contains(expected), "{text}");
        }
    }
}
