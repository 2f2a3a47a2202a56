//! What lint found, and where.

use super::monitor::Monitor;
use super::rules::Rule;
use super::text::first_line;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that found it.
    pub rule: Rule,
    /// The file, or `Datadog`.
    pub file: String,
    /// Its line, counted from 1; none if it has none.
    pub line: Option<usize>,
    /// The line of the monitor's message, counted from 1; none if it is not about a line of it.
    pub message_line: Option<usize>,
    /// The monitor; none if it is not about one.
    pub monitor: Option<Named>,
    /// The breaker; none if it is not about one.
    pub breaker: Option<String>,
    /// Why it is wrong here.
    pub reason: String,
    /// What to do.
    pub mend: String,
    /// Why somebody accepted it; none: nobody did.
    pub accepted: Option<String>,
}

/// What a monitor is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its number.
    pub id: Option<u64>,
    /// Its name.
    pub name: String,
    /// Terraform's address.
    pub address: Option<String>,
}

impl Named {
    /// What a monitor is called.
    #[must_use]
    pub fn of(monitor: &Monitor) -> Named {
        Named { id: monitor.id, name: monitor.name.clone(), address: monitor.place.address.clone() }
    }

    /// Whether `text` is its number, its name or its address.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        self.name == text
            || self.address.as_deref() == Some(text)
            || self.id.is_some_and(|id| id.to_string() == text)
    }
}

/// Takes findings about one monitor.
pub(super) struct Findings<'a> {
    monitor: &'a Monitor,
    breaker: Option<String>,
    all: &'a mut Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) fn about(monitor: &'a Monitor, all: &'a mut Vec<Finding>) -> Findings<'a> {
        Findings { monitor, breaker: None, all }
    }

    /// The same about it and this breaker.
    pub(super) fn with(&mut self, breaker: &str) -> Findings<'_> {
        Findings { monitor: self.monitor, breaker: Some(breaker.to_owned()), all: self.all }
    }

    /// Something about its text: at its first directive.
    pub(super) fn note(&mut self, rule: Rule, reason: String, mend: &str) {
        self.note_at(first_line(&self.monitor.message), rule, reason, mend);
    }

    /// Something about a line of its text.
    pub(super) fn note_at(&mut self, message_line: Option<usize>, rule: Rule, reason: String, mend: &str) {
        self.push("message", message_line, rule, reason, mend);
    }

    /// Something about another of its settings.
    pub(super) fn note_of(&mut self, setting: &str, rule: Rule, reason: String, mend: &str) {
        self.push(setting, None, rule, reason, mend);
    }

    fn push(&mut self, setting: &str, message_line: Option<usize>, rule: Rule, reason: String, mend: &str) {
        self.all.push(Finding {
            rule,
            file: self.monitor.place.file.clone(),
            line: self.monitor.place.line_of(setting),
            message_line,
            monitor: Some(Named::of(self.monitor)),
            breaker: self.breaker.clone(),
            reason,
            mend: mend.to_owned(),
            accepted: None,
        });
    }
}
