//! What Datadog would answer if it were asked: the monitors and their groups, now and at any moment before.

use cutout_core::Tags;
use cutout_core::report::{Group, Monitor, Report, Status};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// When every time line starts, Unix milliseconds.
pub(crate) const START_MS: i64 = 1_795_222_800_000;
/// How long before the start a group last changed that the first rows show.
const UNCHANGED_FOR_MS: i64 = 3_600_000;

/// One monitor at one moment.
#[derive(Debug, Clone, Default)]
struct MonitorAt {
    tags: BTreeSet<String>,
    groups: BTreeMap<String, GroupAt>,
}

#[derive(Debug, Clone)]
struct GroupAt {
    status: Status,
    changed_ms: i64,
    muted: bool,
}

type Monitors = BTreeMap<u64, MonitorAt>;

/// All monitors, with their past.
#[derive(Debug, Default)]
pub(crate) struct World {
    past: Vec<(i64, Monitors)>,
}

/// One thing that changes at Datadog.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Status { monitor_id: u64, group: String, status: Status, muted: bool },
    GroupGone { monitor_id: u64, group: String },
    MonitorGone { monitor_id: u64 },
    Tag { monitor_id: u64, tag: String },
}

impl World {
    fn at(&self, at_ms: i64) -> Monitors {
        let before = self.past.iter().rev().find(|(since_ms, _)| *since_ms <= at_ms);
        before.map(|(_, monitors)| monitors.clone()).unwrap_or_default()
    }

    /// Lets something change at `at_ms` of the time line.
    pub(crate) fn change(&mut self, change: Change, at_ms: i64) {
        let mut monitors = self.at(at_ms);
        match change {
            Change::Status { monitor_id, group, status, muted } => {
                let groups = &mut monitors.entry(monitor_id).or_default().groups;
                let changed_ms = match groups.get(&group) {
                    Some(known) if known.status == status => known.changed_ms,
                    None if at_ms == 0 => -UNCHANGED_FOR_MS,
                    _ => at_ms,
                };
                groups.insert(group, GroupAt { status, changed_ms, muted });
            }
            Change::GroupGone { monitor_id, group } => {
                monitors.entry(monitor_id).or_default().groups.remove(&group);
            }
            Change::MonitorGone { monitor_id } => drop(monitors.remove(&monitor_id)),
            Change::Tag { monitor_id, tag } => {
                monitors.entry(monitor_id).or_default().tags.insert(tag);
            }
        }
        self.past.push((at_ms, monitors));
    }

    /// The numbers of all monitors at `at_ms`.
    pub(crate) fn monitor_ids(&self, at_ms: i64) -> Vec<u64> {
        self.at(at_ms).into_keys().collect()
    }

    /// What Datadog answers at `as_of_ms`, when its read side shows what was so at `shows_ms`.
    pub(crate) fn report(&self, monitor_id: u64, as_of_ms: i64, shows_ms: i64) -> Report {
        let state = self.at(shows_ms).remove(&monitor_id).unwrap_or_default();
        let groups = state.groups.into_iter().map(|(name, group)| Group {
            tags: Tags::parse(&name),
            name,
            status: group.status,
            changed_at: Some(moment(group.changed_ms)),
            muted: group.muted,
        });
        let monitor = Monitor { tags: state.tags.into_iter().collect(), ..Monitor::default() };
        Report { as_of: moment(as_of_ms), monitor, groups: groups.collect() }
    }
}

/// A moment of a time line by Datadog's clock, which is the store's too.
pub(crate) fn moment(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(START_MS + at_ms).unwrap()
}
