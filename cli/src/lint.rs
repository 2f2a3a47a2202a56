//! `cutout lint`: says what is wrong with monitors and breakers before it is live.
//!
//! Monitors come from files (Datadog's JSON, Terraform's plan) or from Datadog itself; breakers from their file. What the
//! function and the service would make of them is asked of their own code: the template reader, the search for directives,
//! the guard, the declarations. The rules only say which answers are wrong.
//!
//! Left out: whether a query is right, and whether the topic hears Datadog. Nothing is changed anywhere.

mod accept;
mod declared;
mod finding;
mod fix;
mod grouping;
mod handle;
mod monitor;
mod options;
mod output;
mod rules;
mod run;
mod source;
mod text;
mod transitions;

pub use accept::{AcceptError, Accepted};
pub use declared::Declared;
pub use finding::{Finding, Named};
pub use fix::{FixError, Fixed, text as fixed_text};
pub use handle::Handles;
pub use monitor::{MissingData, Monitor};
pub use output::{Format, shown};
pub use rules::{Rule, Severity, Subject};
pub use source::{Place, SourceError, read};
pub use text::TEXT_LEN_MAX;

pub(crate) use run::{Arguments, run};

use cutout_lambda::datadog::bears;
use cutout_lambda::guard::{Guard, GuardSettings};
use finding::Findings;

/// What monitors are judged by.
#[derive(Debug)]
pub struct Context {
    guard: Guard,
    knows_hosts: bool,
    handles: Handles,
    tag: String,
    declared: Declared,
    accepted: Accepted,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Judged {
    /// What was found, by file and line.
    pub findings: Vec<Finding>,
    /// How many monitors were judged.
    pub monitors: usize,
    /// How many were passed over, for nothing in them is about Cutout.
    pub others: usize,
    /// How many breakers were judged.
    pub breakers: usize,
    /// Whether the hosts of callbacks were judged.
    pub knows_hosts: bool,
}

impl Judged {
    /// How many findings of this severity nobody accepted.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let open = self.findings.iter().filter(|finding| finding.accepted.is_none());
        open.filter(|finding| finding.rule.severity() == severity).count()
    }
}

impl Context {
    /// `guard` says where callbacks may go; without it hosts are not judged. `tag` is the bare tag of managed monitors.
    #[must_use]
    pub fn new(
        guard: Option<GuardSettings>,
        handles: Handles,
        tag: String,
        declared: Declared,
        accepted: Accepted,
    ) -> Context {
        let knows_hosts = guard.is_some();
        let guard = Guard::new(guard.unwrap_or_default());
        Context { guard, knows_hosts, handles, tag, declared, accepted }
    }

    /// Whether anything in a monitor is about Cutout.
    fn concerns(&self, monitor: &Monitor) -> bool {
        let of_ours = |tag: &String| {
            tag.to_lowercase().strip_prefix(&self.tag).is_some_and(|rest| rest.starts_with(':'))
        };
        text::speaks_of_us(&monitor.message)
            || bears(&monitor.tags, &self.tag)
            || monitor.tags.iter().any(of_ours)
            || self.declared.listens_to(monitor)
    }
}

/// Judges monitors. `whole` says that these are all there are, so that the breakers can be judged by them.
#[must_use]
pub fn judge(monitors: &[Monitor], context: &Context, whole: bool) -> Judged {
    let Context { guard, knows_hosts, handles, declared, .. } = context;
    let judge = text::Judge { guard, knows_hosts: *knows_hosts, handles };
    let mut findings = Vec::new();
    let mut others = 0;
    for monitor in monitors {
        if !context.concerns(monitor) {
            others += 1;
            continue;
        }
        let needed = transitions::needed(monitor, &declared.policies(monitor));
        let mut found = Findings::about(monitor, &mut findings);
        judge.text(monitor, &needed, &mut found);
        options::judge(monitor, &context.tag, &mut found);
        declared.judge(monitor, &mut found);
    }
    if whole {
        declared.judge_breakers(monitors, &mut findings);
        context.accepted.apply(&mut findings);
    }
    findings.sort_by(|a, b| (&a.file, a.line, a.message_line).cmp(&(&b.file, b.line, b.message_line)));
    Judged {
        findings,
        monitors: monitors.len() - others,
        others,
        breakers: declared.len(),
        knows_hosts: *knows_hosts,
    }
}
