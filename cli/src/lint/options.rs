//! The rules about a monitor's settings beside its text.

use super::finding::Findings;
use super::monitor::Monitor;
use super::rules::Rule;
use cutout_lambda::datadog::bears;

/// The presets that drop the footer, and with it the links that name monitor and event.
const HIDING_PRESETS: [&str; 3] = ["hide_all", "hide_handles_and_footer", "show_only_snapshot"];

/// Judges a monitor's settings; `tag` is the bare tag of managed monitors.
pub(super) fn judge(monitor: &Monitor, tag: &str, found: &mut Findings<'_>) {
    if let Some(preset) = monitor.preset.as_deref().filter(|preset| HIDING_PRESETS.contains(preset)) {
        found.note_of(
            "options",
            Rule::PresetHidesFooter,
            format!(
                "with {preset} a notification does not say which monitor it is from, and cannot be delivered"
            ),
            "set notification_preset_name to show_all, hide_query or hide_handles",
        );
    }
    let managed = bears(&monitor.tags, tag);
    if !managed {
        found.note_of(
            "tags",
            Rule::TagMissing,
            format!("the scheduled run reads only monitors with the tag {tag}, so what a lost message left wrong stays wrong"),
            "add the bare tag, besides any other such as cutout:<name>",
        );
    }
    if !managed && monitor.renotify_minutes == 0 {
        found.note_of(
            "options",
            Rule::RenotifyOff,
            "the monitor reminds nobody, and the scheduled run does not read it".to_owned(),
            "add the tag, which repeats the truth each minute; or set renotify_interval",
        );
    }
    if !monitor.include_tags {
        found.note_of(
            "options",
            Rule::TagsHidden,
            "without include_tags the group is known from the link alone; an alert may then wait for Datadog's answer"
                .to_owned(),
            "set include_tags to true",
        );
    }
    if monitor.draft {
        found.note_of(
            "options",
            Rule::Draft,
            "its groups are read by the scheduled run, and it sends no notification".to_owned(),
            "publish it, or take the directive out until then",
        );
    }
}
