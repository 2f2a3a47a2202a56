//! The rules about monitors and breakers together: does each monitor find its breaker, and each of its groups a key?
//!
//! Who listens to whom, and which key a group makes, is asked of the declarations themselves.

use super::finding::{Finding, Findings};
use super::grouping;
use super::monitor::{MissingData, Monitor};
use super::rules::Rule;
use cutout_core::breaker::{NoData, OpenOn};
use cutout_core::declaration::Touched;
use cutout_core::{Declaration, Policy};
use std::collections::BTreeMap;

/// No monitor has this number: it stands for one that is not made yet.
const NO_ID: u64 = 0;

/// What the breakers' files declare.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    breakers: Vec<Listener>,
}

/// A breaker, and where it stands.
#[derive(Debug, Clone)]
struct Listener {
    declaration: Declaration,
    file: String,
    line: Option<usize>,
}

impl Declared {
    /// Adds what a breakers' file declares. `file` is its name.
    ///
    /// # Errors
    /// All mistakes in it, each with its line.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), cutout_core::Problems> {
        let breakers = cutout_service::breakers::parse(file, text)?;
        let lines: BTreeMap<String, usize> = cutout_service::breakers::lines(text);
        self.breakers.extend(breakers.declarations.into_iter().map(|declaration| Listener {
            line: lines.get(&declaration.name).copied(),
            file: file.to_owned(),
            declaration,
        }));
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.breakers.len()
    }

    /// Whether no file was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.breakers.is_empty()
    }

    fn listeners<'a>(&'a self, monitor: &Monitor) -> impl Iterator<Item = &'a Listener> {
        let (id, tags) = (monitor.id.unwrap_or(NO_ID), monitor.lower_case_tags());
        self.breakers.iter().filter(move |listener| listener.declaration.listens_to(id, &tags))
    }

    /// Whether a breaker listens to it.
    pub(super) fn listens_to(&self, monitor: &Monitor) -> bool {
        self.listeners(monitor).next().is_some()
    }

    /// How those decide that listen to it.
    pub(super) fn policies(&self, monitor: &Monitor) -> Vec<&Policy> {
        self.listeners(monitor).map(|listener| &listener.declaration.policy).collect()
    }

    /// Judges a monitor by the breakers that listen to it.
    pub(super) fn judge(&self, monitor: &Monitor, found: &mut Findings<'_>) {
        if self.is_empty() {
            return;
        }
        if !self.listens_to(monitor) {
            unheard(monitor, found);
        }
        for Listener { declaration, .. } in self.listeners(monitor) {
            let mut found = found.with(&declaration.name);
            keyed(monitor, declaration, &mut found);
            missing_data(monitor, declaration.policy.no_data, &mut found);
            if declaration.policy.open_on == OpenOn::Warn && !monitor.warns {
                found.note_of(
                    "options",
                    Rule::WarningThresholdMissing,
                    "open_on is warn, and the monitor has no warning threshold".to_owned(),
                    "give it a warning threshold, or the breaker open_on = \"alert\"",
                );
            }
        }
    }

    /// Judges the breakers by all monitors that were read.
    pub(super) fn judge_breakers(&self, monitors: &[Monitor], all: &mut Vec<Finding>) {
        for listener in &self.breakers {
            let declaration = &listener.declaration;
            for id in &declaration.monitor_ids {
                if !monitors.iter().any(|monitor| monitor.id == Some(*id)) {
                    listener.note(
                        all,
                        Rule::BreakerWithoutMonitor,
                        format!("monitor {id} is not among those read: it is gone, lacks the tag, or was not given"),
                        "correct the number, or give lint that monitor too",
                    );
                }
            }
            if declaration.monitor_ids.is_empty() {
                listener.note(
                    all,
                    Rule::DeclaredByTags,
                    "whoever may edit monitors can give one these tags, and move the breaker".to_owned(),
                    "list the monitors' numbers: monitors = { ids = [...] }",
                );
                let heard = |monitor: &Monitor| {
                    declaration.listens_to(monitor.id.unwrap_or(NO_ID), &monitor.lower_case_tags())
                };
                if !monitors.iter().any(heard) {
                    listener.note(
                        all,
                        Rule::BreakerWithoutMonitor,
                        "no monitor that was read bears all of its tags".to_owned(),
                        "correct the tags of the breaker or of the monitor, or give lint that monitor too",
                    );
                }
            }
        }
        self.twice(all);
    }

    fn twice(&self, all: &mut Vec<Finding>) {
        for (at, later) in self.breakers.iter().enumerate() {
            for earlier in self.breakers.iter().take(at) {
                let (a, b) = (&earlier.declaration, &later.declaration);
                let both = a.monitor_ids.intersection(&b.monitor_ids).next();
                if let Some(id) = both.filter(|_| !keep_apart(a, b)) {
                    later.note(
                        all,
                        Rule::DeclaredTwice,
                        format!(
                            "monitor {id} is listed by {} too, and no where keeps their groups apart",
                            a.name
                        ),
                        "list it once, part the groups by where, or accept this if one group is to move both",
                    );
                }
            }
        }
    }
}

/// Whether no group is for both: a tag of which they let in different values.
fn keep_apart(a: &Declaration, b: &Declaration) -> bool {
    a.only.iter().any(|(tag, values)| b.only.get(tag).is_some_and(|others| values.is_disjoint(others)))
}

impl Listener {
    fn note(&self, all: &mut Vec<Finding>, rule: Rule, reason: String, mend: &str) {
        all.push(Finding {
            rule,
            file: self.file.clone(),
            line: self.line,
            message_line: None,
            monitor: None,
            breaker: Some(self.declaration.name.clone()),
            reason,
            mend: mend.to_owned(),
            accepted: None,
        });
    }
}

/// No breaker listens to the monitor.
fn unheard(monitor: &Monitor, found: &mut Findings<'_>) {
    match monitor.id {
        Some(id) => found.note_of(
            "tags",
            Rule::MonitorUndeclared,
            "the service will answer 422 to its callbacks".to_owned(),
            &format!("declare a breaker for it: monitors = {{ ids = [{id}] }}"),
        ),
        None => found.note_of(
            "tags",
            Rule::MonitorNumberUnknown,
            "Datadog gives the number when the monitor is made".to_owned(),
            "put the number into the breakers' file then: monitors = { ids = [...] }",
        ),
    }
}

/// Do its groups make a key?
fn keyed(monitor: &Monitor, declaration: &Declaration, found: &mut Findings<'_>) {
    if let Some(tags) = grouping::tags(monitor) {
        let grouped = if tags.is_empty() { "nothing".to_owned() } else { tags.join(", ") };
        match declaration.touched_by(&grouping::example(&tags, declaration)) {
            Touched::KeyTagMissing(tag) => found.note_of(
                "query",
                Rule::KeyTagMissing,
                format!("its groups have no {tag}, so they touch no breaker; it is grouped by {grouped}"),
                "group the query by the tags of the breaker's key",
            ),
            Touched::Elsewhere => found.note_of(
                "query",
                Rule::WhereTagMissing,
                format!("where asks for a tag that its groups do not have; it is grouped by {grouped}"),
                "group the query by that tag too; a filter in the query's scope gives groups no tag",
            ),
            Touched::Breakers(_) | Touched::TooManyKeys => {}
        }
    }
    let coarse = |tag: &&String| !monitor.notify_by.iter().any(|by| by.to_lowercase() == **tag);
    if let Some(tag) = declaration.key.iter().find(coarse).filter(|_| !monitor.notify_by.is_empty()) {
        found.note_of(
            "options",
            Rule::NotifyByCoarser,
            format!("one notification stands for all values of {tag}: the second that fails waits for the scheduled run"),
            "put the tags of the breaker's key into notify_by, or leave it out",
        );
    }
}

fn missing_data(monitor: &Monitor, policy: NoData, found: &mut Findings<'_>) {
    let (reason, mend) = match (monitor.missing_data, policy) {
        (MissingData::Resolved, NoData::Hold | NoData::Open) => (
            "missing data count as recovered, so the breaker never sees No Data and closes when calls stop",
            "set on_missing_data to show_no_data, or the breaker's no_data to close",
        ),
        (MissingData::Shown, NoData::Open | NoData::Close) => (
            "nobody is told of missing data, so the breaker hears of them by the scheduled run alone",
            "set on_missing_data to show_and_notify_no_data, or the breaker's no_data to hold",
        ),
        (MissingData::Told, NoData::Hold) => (
            "notifications of missing data go out, and the breaker does nothing with them",
            "set on_missing_data to show_no_data, or the breaker's no_data to open or close",
        ),
        (MissingData::Told, NoData::Open | NoData::Close)
        | (MissingData::Shown, NoData::Hold)
        | (MissingData::Resolved, NoData::Close) => return,
    };
    found.note_of("options", Rule::NoDataPolicy, reason.to_owned(), mend);
}
