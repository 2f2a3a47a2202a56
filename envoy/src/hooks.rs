//! The user's file of hooks: which breaker Envoy asks about, and where a request's key stands.
//!
//! One hook is one breaker's name and one HTTP filter in the user's Envoy. All mistakes are told at once.
//! Left out: what is served for a hook (`picture`, `resources`).

use cutout_core::Problems;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// How many hooks one file may hold.
pub const HOOKS_MAX: usize = 200;
/// The shortest staleness that can be told to act, seconds: before it breakers' own timers still run.
pub const MAX_STALENESS_MIN_SECS: u64 = 90;
/// The longest, seconds: a day.
pub const MAX_STALENESS_MAX_SECS: u64 = 86_400;
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
    if file.hook.len() > HOOKS_MAX {
        problems.note(format!("at most {HOOKS_MAX} hooks, not {}", file.hook.len()));
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
        let mut note = |text: &str| problems.note(format!("{named}: {text}"));
        if self.breaker.is_empty() || self.breaker.contains('/') {
            note("breaker is the declared name, without a key");
        }
        for header in self.class_header.iter().chain(self.key.iter().filter_map(KeyEntry::header)) {
            if !is_header(header) {
                note("a header's name is lower-case letters, digits, - and _");
            }
        }
        if self.path_prefix.as_ref().is_some_and(|prefix| !prefix.starts_with('/')) {
            note("path_prefix begins with /");
        }
        let key = self.key.into_iter().filter_map(|entry| {
            let source = entry.source();
            if source.is_none() {
                note("a path names the key's place by {}, once, as a whole segment and the last one, such as \"/banks/{}\"");
            }
            source
        });
        let key = key.collect();
        let stale = match (self.max_staleness_secs, self.then) {
            (None, None) => Stale::LastKnown,
            (Some(secs), _) if !(MAX_STALENESS_MIN_SECS..=MAX_STALENESS_MAX_SECS).contains(&secs) => {
                note("max_staleness_secs is from 90 to 86400");
                Stale::LastKnown
            }
            (Some(secs), Some(Then::Closed)) => Stale::ClosedAfter(Duration::from_secs(secs)),
            (Some(secs), Some(Then::Open)) => Stale::OpenAfter(Duration::from_secs(secs)),
            _ => {
                note("max_staleness_secs and then = \"closed\" or \"open\" belong together");
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
