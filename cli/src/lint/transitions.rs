//! The ways a group's status can go, which conditions Datadog then holds true, and which of them a breaker needs to hear of.
//!
//! The table is what Datadog documents of its template conditionals. A warning that becomes an alert is `is_alert`; an
//! alert that becomes a warning is no recovery.

use super::monitor::{MissingData, Monitor};
use super::rules::Rule;
use cutout_core::Policy;
use cutout_core::breaker::OpenOn;
use cutout_core::report::Status;

/// A group's status goes from one to another.
pub(super) struct Transition {
    /// As people say it.
    pub(super) words: &'static str,
    from: Status,
    to: Status,
    /// The conditions that hold.
    holding: &'static [&'static str],
    /// The rule that finds it without a directive.
    pub(super) rule: Rule,
}

const fn goes(
    words: &'static str,
    from: Status,
    to: Status,
    holding: &'static [&'static str],
    rule: Rule,
) -> Transition {
    Transition { words, from, to, holding, rule }
}

static TRANSITIONS: [Transition; 10] = [
    goes("OK to ALERT", Status::Ok, Status::Alert, &["is_alert"], Rule::NoDirectiveOnAlert),
    goes("WARN to ALERT", Status::Warn, Status::Alert, &["is_alert"], Rule::NoDirectiveOnAlert),
    goes("NO DATA to ALERT", Status::NoData, Status::Alert, &["is_alert"], Rule::NoDirectiveOnAlert),
    goes("OK to WARN", Status::Ok, Status::Warn, &["is_warning"], Rule::NoDirectiveOnWarning),
    goes(
        "ALERT to WARN",
        Status::Alert,
        Status::Warn,
        &["is_warning", "is_alert_to_warning"],
        Rule::NoDirectiveOnWarning,
    ),
    goes(
        "ALERT to OK",
        Status::Alert,
        Status::Ok,
        &["is_recovery", "is_alert_recovery"],
        Rule::NoDirectiveOnRecovery,
    ),
    goes(
        "WARN to OK",
        Status::Warn,
        Status::Ok,
        &["is_recovery", "is_warning_recovery"],
        Rule::NoDirectiveOnRecovery,
    ),
    goes(
        "NO DATA to OK",
        Status::NoData,
        Status::Ok,
        &["is_recovery", "is_no_data_recovery"],
        Rule::NoDirectiveOnRecovery,
    ),
    goes("OK to NO DATA", Status::Ok, Status::NoData, &["is_no_data"], Rule::NoDirectiveOnNoData),
    goes("ALERT to NO DATA", Status::Alert, Status::NoData, &["is_no_data"], Rule::NoDirectiveOnNoData),
];

/// The conditions that say how the status went.
const OF_STATUS: [&str; 10] = [
    "is_alert",
    "is_alert_recovery",
    "is_alert_to_warning",
    "is_no_data",
    "is_no_data_recovery",
    "is_recovery",
    "is_renotify",
    "is_unknown",
    "is_warning",
    "is_warning_recovery",
];

/// The conditions that say which group, or which monitor.
const OF_GROUP: [&str; 3] = ["is_exact_match", "is_match", "is_priority"];

/// Whether Datadog documents a condition.
pub(super) fn is_documented(condition: &str) -> bool {
    OF_STATUS.contains(&condition) || OF_GROUP.contains(&condition)
}

impl Transition {
    /// Whether a condition holds in it; `matching` says whether those hold that depend on the group. One that nobody
    /// documents never holds.
    pub(super) fn holds(&self, condition: &str, matching: bool) -> bool {
        self.holding.contains(&condition) || matching && OF_GROUP.contains(&condition)
    }

    /// Whether the monitor ever tells it.
    fn is_told_by(&self, monitor: &Monitor) -> bool {
        let involves = |status: Status| self.from == status || self.to == status;
        (monitor.warns || !involves(Status::Warn))
            && (monitor.missing_data == MissingData::Told || !involves(Status::NoData))
    }

    /// Whether it changes what a signal says.
    fn moves(&self, policy: &Policy) -> bool {
        match (policy.fires_at(&self.from), policy.fires_at(&self.to)) {
            (_, None) => false,
            // Held: it may still fire, or not.
            (None, Some(_)) => true,
            (Some(before), Some(after)) => before != after,
        }
    }
}

/// The transitions of a monitor that breakers of these policies must hear of. Without any policy it is for breakers as
/// they are unless set otherwise, and for such that open on warnings.
pub(super) fn needed(monitor: &Monitor, policies: &[&Policy]) -> Vec<&'static Transition> {
    let either = [OpenOn::Alert, OpenOn::Warn].map(|open_on| Policy { open_on, ..Policy::default() });
    let usual: Vec<&Policy> = either.iter().collect();
    let policies = if policies.is_empty() { &usual } else { policies };
    let moving = |transition: &&Transition| policies.iter().any(|policy| transition.moves(policy));
    TRANSITIONS.iter().filter(|transition| transition.is_told_by(monitor)).filter(moving).collect()
}
