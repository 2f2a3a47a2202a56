//! What a title claims: `[P1] [Triggered on {bank_code:0001,env:prod}] Bank API error rate`.
//!
//! The priority is there if the monitor has one, the group unless `include_tags` is off. The casing of
//! `[No data]` is not settled, so case never counts.

use super::named_group;
use cutout_core::Tags;
use cutout_core::report::NotifiedTransition;

/// What one title claims; nothing for a title of another kind.
#[derive(Default)]
pub(super) struct Claim {
    pub(super) transition: Option<NotifiedTransition>,
    pub(super) group: Option<Tags>,
}

pub(super) fn claim(title: &str) -> Claim {
    let Some(bracket) = after_priority(title.trim_start()).strip_prefix('[') else { return Claim::default() };
    let (words, group) = match bracket.split_once(" on {") {
        Some((words, rest)) if !words.contains(']') => {
            (words, rest.split_once("}]").and_then(|(group, _)| named_group(group)))
        }
        _ => (bracket.split_once(']').map_or("", |(words, _)| words), None),
    };
    Claim { transition: transition(words), group }
}

/// The transition that Datadog's words stand for, in a title or in `$ALERT_TRANSITION`.
pub(super) fn transition(words: &str) -> Option<NotifiedTransition> {
    match words.to_ascii_lowercase().as_str() {
        "triggered" => Some(NotifiedTransition::Alert),
        "warn" | "warning" => Some(NotifiedTransition::Warn),
        "recovered" => Some(NotifiedTransition::Recovery),
        "no data" => Some(NotifiedTransition::NoData),
        "renotify" | "re-triggered" | "re-warn" | "re-no data" => Some(NotifiedTransition::Renotify),
        _ => None,
    }
}

/// Whether it is the title of a test notification.
pub(super) fn is_test(title: &str) -> bool {
    title.contains("[TEST]")
}

/// The title without `[P1] ` … `[P5] `.
fn after_priority(title: &str) -> &str {
    let rest = title.strip_prefix("[P").and_then(|rest| rest.strip_prefix(|c: char| c.is_ascii_digit()));
    rest.and_then(|rest| rest.strip_prefix("] ")).unwrap_or(title)
}
