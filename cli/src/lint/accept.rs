//! Findings that somebody accepted, each with the reason: a TOML file.
//!
//! What is accepted is still told in JSON, with its reason. An entry that finds nothing any more is a finding itself, so that
//! the list does not outlive what it was for.

use super::finding::{Finding, Named};
use super::rules::Rule;
use serde::Deserialize;
use toml::Spanned;

/// The file.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    file: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    line: usize,
    rule: Rule,
    monitor: Option<String>,
    breaker: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accept: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: Spanned<String>,
    monitor: Option<Called>,
    breaker: Option<String>,
    reason: String,
}

/// A monitor's number, or its name or address.
#[derive(Deserialize)]
#[serde(untagged)]
enum Called {
    Number(u64),
    Text(String),
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It is not in the form.
    #[error("{file} does not list accepted findings ([[accept]] with rule, reason, and monitor or breaker)")]
    Form {
        /// The file's name.
        file: String,
        /// What is wrong.
        #[source]
        cause: toml::de::Error,
    },
    /// It names a rule that there is not.
    #[error("{file}, line {line}: {rule:?} is no rule: docs/lint.md lists them")]
    Rule {
        /// The file's name.
        file: String,
        /// Where.
        line: usize,
        /// The name.
        rule: String,
    },
    /// It gives no reason.
    #[error("{file}, line {line}: the reason is empty: say why this is accepted")]
    Reason {
        /// The file's name.
        file: String,
        /// Where.
        line: usize,
    },
}

impl Accepted {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// [`AcceptError`]
    pub fn read(file: &str, text: &str) -> Result<Accepted, AcceptError> {
        let form = |cause| AcceptError::Form { file: file.to_owned(), cause };
        let written: File = toml::from_str(text).map_err(form)?;
        let entry = |written: Written| {
            let before = text.as_bytes().iter().take(written.rule.span().start);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            let name = written.rule.into_inner();
            let rule = Rule::ALL.iter().copied().find(|rule| rule.name() == name);
            let rule = rule.ok_or(AcceptError::Rule { file: file.to_owned(), line, rule: name })?;
            if written.reason.trim().is_empty() {
                return Err(AcceptError::Reason { file: file.to_owned(), line });
            }
            let monitor = written.monitor.map(|monitor| match monitor {
                Called::Number(id) => id.to_string(),
                Called::Text(text) => text,
            });
            Ok(Entry { line, rule, monitor, breaker: written.breaker, reason: written.reason })
        };
        let entries = written.accept.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Accepted { file: file.to_owned(), entries })
    }

    /// Gives each accepted finding its reason, and adds what is accepted in vain.
    pub(super) fn apply(&self, findings: &mut Vec<Finding>) {
        let mut unused = Vec::new();
        for entry in &self.entries {
            let mut used = false;
            for finding in findings.iter_mut().filter(|finding| entry.is_about(finding)) {
                finding.accepted.get_or_insert_with(|| entry.reason.clone());
                used = true;
            }
            if !used {
                unused.push(self.unused(entry));
            }
        }
        findings.extend(unused);
    }

    fn unused(&self, entry: &Entry) -> Finding {
        Finding {
            rule: Rule::AcceptanceUnused,
            file: self.file.clone(),
            line: Some(entry.line),
            message_line: None,
            monitor: None,
            breaker: entry.breaker.clone(),
            reason: format!("{} finds nothing here", entry.rule.name()),
            mend: "delete the entry, or correct its monitor or breaker".to_owned(),
            accepted: None,
        }
    }
}

impl Entry {
    fn is_about(&self, finding: &Finding) -> bool {
        let called = |name: &String| finding.monitor.as_ref().is_some_and(|it: &Named| it.is_called(name));
        self.rule == finding.rule
            && self.monitor.as_ref().is_none_or(called)
            && self.breaker.as_ref().is_none_or(|name| finding.breaker.as_ref() == Some(name))
    }
}
