//! What Datadog would know: monitors, their groups, and what was reported of them.
//!
//! Each monitor also keeps the books: which reports were acknowledged, and so must be found in the store whatever happened to it.

use crate::store::Found;
use crate::wire::URL;
use cutout_core::BreakerId;
use cutout_core::report::{
    CALLBACK_SCHEMA, Callback, Group, INVENTORY_SCHEMA, Inventory, Monitor as About, Reason, Report,
};
use cutout_core::tags::Tags;
use cutout_service::Breakers;
use fastrand::Rng;
use jiff::Timestamp;
use std::time::Instant;

/// The breaker that all groups open, each with a key of its own.
pub(crate) const BREAKER: &str = "bank-charge";
/// The monitors' numbers start here.
const FIRST_MONITOR: u64 = 5_200_001;
/// How many old reports a monitor keeps, to send them late and twice.
const OLD_REPORTS_MAX: usize = 32;
/// Out of a hundred callbacks of a storm, how many have an old one at their side.
const OLD_PERCENT: u32 = 25;

/// The text of a breakers' file for so many monitors.
pub(crate) fn breakers(monitors: usize, ramp: &str) -> String {
    let ids: Vec<u64> = (FIRST_MONITOR..).take(monitors).collect();
    format!(
        "[[breaker]]\nname = \"{BREAKER}\"\nkey = [\"bank_code\"]\nmonitors = {{ ids = {ids:?} }}\nmin_open = \"0s\"\nramp = \"{ramp}\"\n"
    )
}

/// The same text as the service reads it.
pub(crate) fn parsed_breakers(text: &str) -> Breakers {
    cutout_service::breakers::parse("breakers.toml", text).unwrap()
}

/// So many monitors of so many groups each, all well.
pub(crate) fn monitors(rng: &mut Rng, count: usize, groups: usize) -> Vec<Monitor> {
    (0..count).map(|index| Monitor::new(rng.fork(), index, groups)).collect()
}

/// What ends a scheduled run.
pub(crate) fn inventory(monitors: &[Monitor]) -> String {
    let monitor_ids = monitors.iter().map(|monitor| monitor.id).collect();
    let inventory =
        Inventory { schema: INVENTORY_SCHEMA.into(), as_of: Timestamp::now(), to: URL.into(), monitor_ids };
    serde_json::to_string(&inventory).unwrap()
}

/// A monitor, and the books of its reports.
pub(crate) struct Monitor {
    id: u64,
    /// Draws what happens to it, whatever the others do meanwhile.
    rng: Rng,
    groups: Vec<Watched>,
    /// The last time given, Unix milliseconds: no two are the same.
    last_ms: i64,
    old: Vec<Sent>,
    acknowledged: Vec<Acknowledged>,
}

/// One group: every change it ever made, as time and whether it alerts then.
struct Watched {
    bank: String,
    changes: Vec<(i64, bool)>,
    /// The newest change that was found in the store: it may never be older again.
    found_ms: i64,
    /// Whether a person forces its breaker open or closed.
    forced_open: Option<bool>,
}

/// A report as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) body: String,
    /// When each group had changed, as it says.
    changed_ms: Vec<i64>,
}

/// A report that was answered 200.
#[derive(Debug)]
struct Acknowledged {
    changed_ms: Vec<i64>,
    asked: Instant,
}

/// What the books say of the store.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Callbacks that were answered 200.
    pub(crate) acknowledged: u64,
    /// Of these, those of which anything is missing, asked before the moment given.
    pub(crate) lost_before: u64,
    /// The same, asked after it.
    pub(crate) lost_after: u64,
    /// Groups that stand at an older change than was found before.
    pub(crate) older_over_newer: u64,
    /// Groups that stand at a change that they never made, or at another status than it had.
    pub(crate) invented: u64,
    /// Flags that do not say what their group does.
    pub(crate) wrong_flags: u64,
    /// Groups that stand at a change that nobody was told is kept.
    pub(crate) kept_without_answer: u64,
}

impl std::ops::AddAssign for Audit {
    fn add_assign(&mut self, other: Audit) {
        self.acknowledged += other.acknowledged;
        self.lost_before += other.lost_before;
        self.lost_after += other.lost_after;
        self.older_over_newer += other.older_over_newer;
        self.invented += other.invented;
        self.wrong_flags += other.wrong_flags;
        self.kept_without_answer += other.kept_without_answer;
    }
}

impl Monitor {
    fn new(rng: Rng, index: usize, groups: usize) -> Monitor {
        let id = FIRST_MONITOR + index as u64;
        let last_ms = Timestamp::now().as_millisecond();
        let watched = |group| Watched {
            bank: format!("{index:02}-{group:02}"),
            changes: vec![(last_ms, false)],
            found_ms: i64::MIN,
            forced_open: None,
        };
        let groups = (0..groups).map(watched).collect();
        Monitor { id, rng, groups, last_ms, old: Vec::new(), acknowledged: Vec::new() }
    }

    /// The breakers of all groups, and whether each must be open.
    pub(crate) fn must_be_open(&self) -> impl Iterator<Item = (BreakerId, bool)> {
        self.groups.iter().map(|group| (group.breaker(), group.must_be_open(group.alerts())))
    }

    /// Lets some groups, drawn by chance, change between well and alert.
    pub(crate) fn change_some(&mut self) {
        for _ in 0..self.rng.usize(1..=3) {
            let group = self.rng.usize(..self.groups.len());
            self.change(group);
        }
    }

    /// Lets one group change between well and alert.
    pub(crate) fn change(&mut self, group: usize) {
        let (at_ms, group) = (self.next_ms(), &mut self.groups[group]);
        group.changes.push((at_ms, !group.alerts()));
    }

    /// Lets one group be well or alert.
    pub(crate) fn set(&mut self, group: usize, alerts: bool) {
        if self.groups[group].alerts() != alerts {
            self.change(group);
        }
    }

    /// A person forces the breaker of one group open or closed.
    pub(crate) fn force(&mut self, group: usize, open: bool) {
        self.groups[group].forced_open = Some(open);
    }

    /// A report of all groups as they are now.
    pub(crate) fn report(&mut self, reason: Reason) -> Sent {
        let as_of = at(self.next_ms());
        let groups = self.groups.iter().map(|group| Group {
            name: format!("bank_code:{}", group.bank),
            tags: Tags::parse(&format!("bank_code:{}", group.bank)),
            status: serde_json::from_value(if group.alerts() { "Alert" } else { "OK" }.into()).unwrap(),
            changed_at: Some(at(group.changed_ms())),
            muted: false,
        });
        let callback = Callback {
            schema: CALLBACK_SCHEMA.into(),
            source: "datadog".into(),
            reason,
            to: URL.into(),
            event_id: None,
            monitor_id: self.id,
            notified: None,
            report: Some(Report { as_of, monitor: About::default(), groups: groups.collect() }),
            event: None,
        };
        let body = serde_json::to_string(&callback).unwrap();
        let sent = Sent { body, changed_ms: self.groups.iter().map(Watched::changed_ms).collect() };
        if self.old.len() == OLD_REPORTS_MAX {
            self.old.remove(0);
        }
        self.old.push(sent.clone());
        sent
    }

    /// A report that was sent before, to be sent late and twice beside the next one; mostly none.
    pub(crate) fn old_report(&mut self) -> Option<Sent> {
        let wanted = self.rng.u32(..100) < OLD_PERCENT;
        self.rng.choice(&self.old).filter(|_| wanted).cloned()
    }

    /// Notes that a report was answered 200.
    pub(crate) fn acknowledge(&mut self, sent: Sent, asked: Instant) {
        self.acknowledged.push(Acknowledged { changed_ms: sent.changed_ms, asked });
    }

    /// Compares the books with what is found in the store, and closes them: what was lost is forgotten.
    pub(crate) fn audit(&mut self, found: &Found, moment: Instant) -> Audit {
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let mut audit = Audit { acknowledged: acknowledged.len() as u64, ..Audit::default() };
        let stands: Vec<Option<(i64, bool)>> =
            self.groups.iter().map(|group| found.signal(self.id, &group.bank)).collect();
        let stands_at = |place: usize| stands[place].map_or(i64::MIN, |(at_ms, _)| at_ms);
        for report in &acknowledged {
            let lost = report.changed_ms.iter().enumerate().any(|(place, at_ms)| stands_at(place) < *at_ms);
            *(if report.asked < moment { &mut audit.lost_before } else { &mut audit.lost_after }) +=
                u64::from(lost);
        }
        for (place, (group, stands)) in self.groups.iter_mut().zip(&stands).enumerate() {
            let (at_ms, alerts) = stands.unwrap_or((i64::MIN, false));
            audit.older_over_newer += u64::from(at_ms < group.found_ms);
            audit.invented += u64::from(stands.is_some() && !group.changes.contains(&(at_ms, alerts)));
            audit.wrong_flags += u64::from(
                stands.is_some() && found.is_open(&group.breaker()) != Some(group.must_be_open(alerts)),
            );
            let answered = acknowledged.iter().any(|report| report.changed_ms[place] >= at_ms);
            audit.kept_without_answer += u64::from(at_ms > group.found_ms && !answered);
            group.found_ms = at_ms;
        }
        audit
    }

    /// How many groups do not stand in the store as they are now, or have a flag that says otherwise.
    pub(crate) fn wrong(&self, found: &Found) -> usize {
        let is_wrong = |group: &&Watched| {
            found.signal(self.id, &group.bank) != group.changes.last().copied()
                || found.is_open(&group.breaker()) != Some(group.must_be_open(group.alerts()))
        };
        self.groups.iter().filter(is_wrong).count()
    }

    fn next_ms(&mut self) -> i64 {
        self.last_ms = Timestamp::now().as_millisecond().max(self.last_ms + 1);
        self.last_ms
    }
}

impl Watched {
    fn breaker(&self) -> BreakerId {
        BreakerId::new(BREAKER, &[&self.bank])
    }

    /// Whether its breaker must be open if it alerts, or does not.
    fn must_be_open(&self, alerts: bool) -> bool {
        self.forced_open.unwrap_or(alerts)
    }

    fn alerts(&self) -> bool {
        self.changes.last().is_some_and(|(_, alerts)| *alerts)
    }

    fn changed_ms(&self) -> i64 {
        self.changes.last().map_or(0, |(at_ms, _)| *at_ms)
    }
}

fn at(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap()
}
