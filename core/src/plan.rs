//! Which breakers a callback is for, and what it says to each.
//!
//! The declarations name monitors (by number or by the monitor's own tags) and the group tags that make a key. A
//! callback without a report still names its group, and the monitor's tags are those last seen.

use crate::breaker::{Claim, Evidence, FORGOTTEN_AFTER_MS};
use crate::declaration::{BreakerId, Declaration, Touched};
use crate::observation::Observation;
use crate::report::{Callback, Event, Group, Reason, Report};
use crate::tags::Tags;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How long a monitor remembers a breaker that its reports do not touch any more: a little longer than the breaker
/// remembers the monitor's signals.
const UNTOUCHED_KEPT_MS: i64 = 2 * FORGOTTEN_AFTER_MS;

/// What a store remembers of a monitor between its reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorSeen {
    /// Its own tags, as last read, lower-case.
    pub tags: BTreeSet<String>,
    /// When these were read, Unix milliseconds of Datadog's clock.
    pub as_of_ms: i64,
    /// The newest change that any of its reports showed, Unix milliseconds of Datadog's clock.
    pub latest_change_ms: Option<i64>,
    /// Whether a scheduled run has brought it: then one that does not bring it says that it is gone.
    #[serde(default)]
    pub managed: bool,
    /// Its name, as last read.
    #[serde(default)]
    pub name: String,
    /// Where a person sees it; empty: it was not told.
    #[serde(default)]
    pub url: String,
    /// The newest event behind a notification of it that could be read.
    #[serde(default)]
    pub event: Option<EventSeen>,
    /// The breakers that hold signals of it, with when the first report was read in which no group touched them.
    #[serde(default)]
    pub breakers: BTreeMap<BreakerId, Option<i64>>,
}

/// What a store remembers of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSeen {
    /// When it happened, Unix milliseconds of Datadog's clock.
    pub at_ms: i64,
    /// Where a person sees it.
    pub url: String,
}

impl MonitorSeen {
    /// What is known after `callback`; none if nothing ever was. An older report does not bring older tags back.
    fn after(stored: Option<&MonitorSeen>, callback: &Callback) -> Option<MonitorSeen> {
        let Some(report) = &callback.report else { return stored.cloned() };
        let mut seen = stored.cloned().unwrap_or_default();
        let as_of_ms = report.as_of.as_millisecond();
        if as_of_ms >= seen.as_of_ms {
            seen.as_of_ms = as_of_ms;
            seen.tags = report.monitor.tags.iter().map(|tag| tag.to_lowercase()).collect();
            seen.name.clone_from(&report.monitor.name);
            seen.url.clone_from(&report.monitor.url);
        }
        if let Some(Event { date_happened, url, .. }) = &callback.event {
            let at_ms = date_happened.as_millisecond();
            if !url.is_empty() && seen.event.as_ref().is_none_or(|known| at_ms > known.at_ms) {
                seen.event = Some(EventSeen { at_ms, url: url.clone() });
            }
        }
        seen.latest_change_ms = seen.latest_change_ms.max(report.latest_change_ms());
        seen.managed |= callback.reason == Reason::Reconcile;
        Some(seen)
    }

    /// Remembers which breakers a report of `as_of_ms` touches. The others stay as long as their signals do.
    fn touch<'a>(&mut self, touched: impl Iterator<Item = &'a BreakerId>, as_of_ms: i64) {
        let touched: BTreeSet<&BreakerId> = touched.collect();
        for (id, untouched_ms) in &mut self.breakers {
            *untouched_ms = if touched.contains(id) { None } else { Some(untouched_ms.unwrap_or(as_of_ms)) };
        }
        self.breakers.extend(touched.into_iter().map(|id| (id.clone(), None)));
        // By then the breakers themselves have forgotten what does not count any more.
        let kept = |untouched_ms: &Option<i64>| {
            untouched_ms.is_none_or(|ms| as_of_ms.saturating_sub(ms) < UNTOUCHED_KEPT_MS)
        };
        self.breakers.retain(|_, untouched_ms| kept(untouched_ms));
    }

    /// All but the time of reading, to be compared.
    fn without_time(&self) -> impl PartialEq + '_ {
        let MonitorSeen { tags, as_of_ms: _, latest_change_ms, managed, name, url, event, breakers } = self;
        (tags, latest_change_ms, managed, name, url, event, breakers)
    }

    /// Whether the difference to what is stored is worth a write: the time of reading alone is not.
    #[must_use]
    pub fn differs_from(&self, stored: Option<&MonitorSeen>) -> bool {
        stored.is_none_or(|stored| self.without_time() != stored.without_time())
    }
}

/// What one callback says, by breaker.
#[derive(Debug, PartialEq)]
pub struct Plan<'a> {
    /// Each touched breaker, how it decides, and what is said to it.
    pub targets: BTreeMap<BreakerId, (&'a Declaration, Evidence)>,
    /// What is known of the monitor after this callback; none without a report.
    pub seen: Option<MonitorSeen>,
    /// Groups that touch no breaker because they lack a key tag or make too many keys, with the reason.
    pub unkeyed: Vec<String>,
}

/// No declaration listens to this monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no breaker is declared for monitor {monitor_id}: list its number under `monitors.ids`, or a tag that it bears under `monitors.tags`"
)]
pub struct Undeclared {
    /// The monitor's number.
    pub monitor_id: u64,
}

/// Says which breakers `callback` is for. `stored` is what the store remembers of its monitor.
///
/// # Errors
/// [`Undeclared`] if no declaration listens to the monitor; also if it could only be known by its tags and neither
/// the callback nor the store tells them.
pub fn plan<'a>(
    declarations: &'a [Declaration],
    callback: &Callback,
    stored: Option<&MonitorSeen>,
) -> Result<Plan<'a>, Undeclared> {
    let monitor_id = callback.monitor_id;
    let known = MonitorSeen::after(stored, callback).unwrap_or_default();
    let listening: Vec<_> = declarations.iter().filter(|d| d.listens_to(monitor_id, &known.tags)).collect();
    if listening.is_empty() && known.breakers.is_empty() {
        return Err(Undeclared { monitor_id });
    }
    let complete_as_of_ms = callback.report.as_ref().map(|report| report.as_of.as_millisecond());
    let latest_change_ms = known.latest_change_ms;
    let blank = Evidence { monitor_id, groups: Vec::new(), complete_as_of_ms, latest_change_ms, claim: None };
    let mut plan = Plan { targets: BTreeMap::new(), seen: None, unkeyed: Vec::new() };
    for declaration in listening {
        for (group, seen) in callback.report.iter().flat_map(observations) {
            plan.each(declaration, &blank, &group.tags, |evidence| {
                evidence.groups.push((group.tags.clone(), seen.clone()));
            });
        }
        if let Some(claim) = claim(callback) {
            plan.each(declaration, &blank, &claim.group, |evidence| evidence.claim = Some(claim.clone()));
        }
    }
    plan.miss(declarations, &blank, known);
    Ok(plan)
}

/// Says which breakers must hear that a monitor is gone, as a complete inventory of `as_of_ms` tells.
#[must_use]
pub fn plan_gone<'a>(
    declarations: &'a [Declaration],
    monitor_id: u64,
    as_of_ms: i64,
    stored: &MonitorSeen,
) -> Plan<'a> {
    let (complete_as_of_ms, latest_change_ms) = (Some(as_of_ms), stored.latest_change_ms);
    let blank = Evidence { monitor_id, groups: Vec::new(), complete_as_of_ms, latest_change_ms, claim: None };
    let mut plan = Plan { targets: BTreeMap::new(), seen: None, unkeyed: Vec::new() };
    plan.miss(declarations, &blank, stored.clone());
    plan
}

impl<'a> Plan<'a> {
    /// Lets the breakers that held signals of the monitor know what a complete report lacks, and remembers which are
    /// touched now.
    fn miss(&mut self, declarations: &'a [Declaration], blank: &Evidence, mut known: MonitorSeen) {
        let Some(as_of_ms) = blank.complete_as_of_ms else { return };
        known.touch(self.targets.keys(), as_of_ms);
        for id in
            known.breakers.keys().filter(|id| !self.targets.contains_key(*id)).cloned().collect::<Vec<_>>()
        {
            if let Some(declaration) = declarations.iter().find(|declaration| declaration.name == id.name()) {
                self.targets.insert(id, (declaration, blank.clone()));
            }
        }
        self.seen = Some(known);
    }

    /// Says something to each breaker that a group touches.
    fn each(
        &mut self,
        declaration: &'a Declaration,
        blank: &Evidence,
        group: &Tags,
        say: impl Fn(&mut Evidence),
    ) {
        let name = &declaration.name;
        match declaration.touched_by(group) {
            Touched::Breakers(ids) => {
                for id in ids {
                    let (_, evidence) =
                        self.targets.entry(id).or_insert_with(|| (declaration, blank.clone()));
                    say(evidence);
                }
            }
            Touched::Elsewhere => {}
            Touched::KeyTagMissing(tag) => {
                self.unkeyed.push(format!("group {group} has no tag {tag}, a key of breaker {name}"));
            }
            Touched::TooManyKeys => {
                self.unkeyed.push(format!("group {group} makes too many keys of breaker {name}"));
            }
        }
    }
}

fn observations(report: &Report) -> impl Iterator<Item = (&Group, Observation)> {
    let as_of_ms = report.as_of.as_millisecond();
    report.groups.iter().map(move |group| {
        let changed_at_ms = group.changed_at.map(Timestamp::as_millisecond);
        (group, Observation { status: group.status.clone(), changed_at_ms, as_of_ms, muted: group.muted })
    })
}

fn claim(callback: &Callback) -> Option<Claim> {
    let notified = callback.notified.as_ref()?;
    let group = notified.tags.clone()?;
    Some(Claim { group, at_ms: notified.at.as_millisecond(), transition: notified.transition })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::Policy;

    fn declaration(name: &str, key: &[&str], ids: &[u64], tags: &[&str]) -> Declaration {
        let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        Declaration {
            name: name.into(),
            key: owned(key),
            monitor_ids: ids.iter().copied().collect(),
            monitor_tags: owned(tags).into_iter().collect(),
            only: BTreeMap::new(),
            policy: Policy::default(),
        }
    }

    fn callback(report: &serde_json::Value, notified: &serde_json::Value) -> Callback {
        let body = serde_json::json!({
            "schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": "x",
            "event_id": null, "monitor_id": 7, "notified": notified, "report": report, "event": null
        });
        serde_json::from_value(body).unwrap()
    }

    fn report(as_of: &str, tags: &[&str], groups: &[(&str, &str)]) -> serde_json::Value {
        let groups = groups.iter().map(|(name, status)| {
            serde_json::json!({"name": name, "tags": Tags::parse(name), "status": status, "changed_at": "2026-11-21T01:00:00Z"})
        });
        let groups = groups.collect::<Vec<_>>();
        serde_json::json!({"as_of": as_of, "monitor": {"name": "m", "tags": tags}, "groups": groups})
    }

    fn ids(plan: &Plan<'_>) -> Vec<String> {
        plan.targets.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn every_group_reaches_its_own_breaker_and_the_rest_is_told() {
        let declared =
            [declaration("bank", &["bank_code"], &[7], &[]), declaration("all", &[], &[], &["cutout:x"])];
        let groups = [("bank_code:1,env:p", "Alert"), ("bank_code:2,env:p", "OK"), ("env:p", "OK")];
        let callback =
            callback(&report("2026-11-21T01:00:09Z", &["Cutout:X"], &groups), &serde_json::Value::Null);
        let plan = plan(&declared, &callback, None).unwrap();
        assert_eq!(ids(&plan), ["all", "bank/1", "bank/2"]);
        assert_eq!(plan.targets.values().next().unwrap().1.groups.len(), 3);
        assert_eq!(plan.unkeyed, ["group env:p has no tag bank_code, a key of breaker bank"]);
    }

    #[test]
    fn a_monitor_nobody_listens_to_is_an_error_that_says_what_to_do() {
        let declared = [declaration("bank", &[], &[8], &["cutout:x"])];
        let other = callback(
            &report("2026-11-21T01:00:09Z", &["cutout:y"], &[("*", "Alert")]),
            &serde_json::Value::Null,
        );
        let error = plan(&declared, &other, None).unwrap_err();
        assert!(error.to_string().contains("monitors.ids"), "{error}");
    }

    #[test]
    fn without_a_report_the_tags_last_seen_decide_and_none_seen_is_undeclared() {
        let declared = [declaration("bank", &["bank_code"], &[], &["cutout:x"])];
        let notified = serde_json::json!({"at": "2026-11-21T01:00:10Z", "transition": "alert", "tags": {"bank_code": ["1"]}});
        let hint = callback(&serde_json::Value::Null, &notified);
        assert!(plan(&declared, &hint, None).is_err());
        let tags = ["cutout:x".to_owned()].into();
        let stored = MonitorSeen { tags, as_of_ms: 1, latest_change_ms: Some(5), ..MonitorSeen::default() };
        let plan = plan(&declared, &hint, Some(&stored)).unwrap();
        assert_eq!(ids(&plan), ["bank/1"]);
        let (_, evidence) = plan.targets.values().next().unwrap();
        assert!(
            evidence.groups.is_empty() && evidence.claim.is_some() && evidence.latest_change_ms == Some(5)
        );
        assert_eq!(plan.seen, None);
    }

    #[test]
    fn a_hint_that_names_no_group_claims_nothing() {
        let declared = [declaration("all", &[], &[7], &[])];
        let notified = serde_json::json!({"at": "2026-11-21T01:00:10Z", "transition": "alert", "tags": null});
        let plan = plan(&declared, &callback(&serde_json::Value::Null, &notified), None).unwrap();
        assert!(plan.targets.is_empty());
    }

    #[test]
    fn an_older_report_brings_no_older_tags_back_but_its_changes_count() {
        let declared = [declaration("all", &[], &[7], &[])];
        let sent = |as_of, tag, groups: &[(&str, &str)]| {
            callback(&report(as_of, &[tag], groups), &serde_json::Value::Null)
        };
        let newer = plan(&declared, &sent("2026-11-21T02:00:00Z", "new", &[]), None).unwrap().seen.unwrap();
        let older = sent("2026-11-21T01:30:00Z", "old", &[("*", "OK")]);
        let after = plan(&declared, &older, Some(&newer)).unwrap().seen.unwrap();
        assert_eq!(after.tags, ["new".to_owned()].into());
        assert_eq!(after.latest_change_ms, Some(1_795_222_800_000));
        assert!(after.differs_from(Some(&newer)) && !after.differs_from(Some(&after.clone())));
        assert!(!MonitorSeen { as_of_ms: 9, ..after.clone() }.differs_from(Some(&after)));
    }

    #[test]
    fn the_newest_event_and_where_the_monitor_is_seen_are_remembered() {
        let declared = [declaration("all", &[], &[7], &[])];
        let sent = |as_of, url: &str, event_at: &str| {
            let mut report = report(as_of, &[], &[("*", "OK")]);
            report["monitor"]["url"] = url.into();
            let mut callback = callback(&report, &serde_json::Value::Null);
            callback.event = Some(Event {
                title: String::new(),
                text: String::new(),
                date_happened: event_at.parse().unwrap(),
                tags: Vec::new(),
                url: format!("{url}/event"),
            });
            callback
        };
        let new = sent("2026-11-21T02:00:00Z", "new", "2026-11-21T01:59:00Z");
        let old = sent("2026-11-21T01:00:00Z", "old", "2026-11-21T00:59:00Z");
        let seen = plan(&declared, &new, None).unwrap().seen.unwrap();
        assert_eq!((&*seen.url, &*seen.name, &*seen.event.clone().unwrap().url), ("new", "m", "new/event"));
        let after = plan(&declared, &old, Some(&seen)).unwrap().seen.unwrap();
        assert!(!after.differs_from(Some(&seen)), "what is older brings nothing back");
        let other = sent("2026-11-21T02:00:00Z", "new", "2026-11-21T02:00:01Z");
        assert!(plan(&declared, &other, Some(&seen)).unwrap().seen.unwrap().differs_from(Some(&seen)));
    }

    #[test]
    fn a_report_is_told_to_breakers_whose_groups_it_lacks_until_they_have_forgotten_them() {
        let declared = [declaration("bank", &["bank_code"], &[7], &[])];
        let sent =
            |as_of, groups: &[(&str, &str)]| callback(&report(as_of, &[], groups), &serde_json::Value::Null);
        let both = sent("2026-11-21T02:00:00Z", &[("bank_code:1", "Alert"), ("bank_code:2", "OK")]);
        let seen = plan(&declared, &both, None).unwrap().seen.unwrap();
        let one = sent("2026-11-21T02:01:00Z", &[("bank_code:2", "OK")]);
        let lacking = plan(&declared, &one, Some(&seen)).unwrap();
        assert_eq!(ids(&lacking), ["bank/1", "bank/2"]);
        let (_, evidence) = &lacking.targets[&BreakerId::new("bank", &["1"])];
        assert!(evidence.groups.is_empty() && evidence.complete_as_of_ms.is_some());

        let later = sent("2026-11-21T03:00:00Z", &[("bank_code:2", "OK")]);
        let forgotten = plan(&declared, &later, Some(&lacking.seen.unwrap())).unwrap();
        assert_eq!(ids(&forgotten), ["bank/2"]);
    }

    #[test]
    fn a_monitor_that_is_gone_is_told_to_every_breaker_that_heard_of_it() {
        let declared = [declaration("bank", &["bank_code"], &[7], &[])];
        let groups = [("bank_code:1", "Alert"), ("bank_code:2", "OK")];
        let sent = callback(&report("2026-11-21T02:00:00Z", &[], &groups), &serde_json::Value::Null);
        let seen = plan(&declared, &sent, None).unwrap().seen.unwrap();
        assert!(!seen.managed, "no scheduled run has brought it");
        let gone = plan_gone(&declared, 7, 1_795_226_460_000, &seen);
        assert_eq!(ids(&gone), ["bank/1", "bank/2"]);
        assert!(
            gone.targets.values().all(|(_, evidence)| evidence.complete_as_of_ms == Some(1_795_226_460_000))
        );
    }

    #[test]
    fn a_monitor_remembers_a_breaker_that_it_does_not_touch_for_half_an_hour() {
        let declared = [declaration("bank", &["bank_code"], &[7], &[])];
        let both = report("2026-11-21T02:00:00Z", &[], &[("bank_code:1", "Alert"), ("bank_code:2", "OK")]);
        let seen = plan(&declared, &callback(&both, &serde_json::Value::Null), None).unwrap().seen;
        let at = |as_of, seen: Option<MonitorSeen>| {
            let one = report(as_of, &[], &[("bank_code:2", "OK")]);
            let plan = plan(&declared, &callback(&one, &serde_json::Value::Null), seen.as_ref()).unwrap();
            (ids(&plan).len(), plan.seen)
        };
        let (told, seen) = at("2026-11-21T02:01:00Z", seen);
        assert_eq!(told, 2, "from then on it counts");
        assert_eq!(at("2026-11-21T02:30:59Z", seen.clone()).0, 2);
        assert_eq!(at("2026-11-21T02:31:00Z", seen).0, 1);
    }

    #[test]
    fn a_monitor_that_lost_its_tag_is_told_to_the_breakers_that_heard_of_it() {
        let declared = [declaration("bank", &["bank_code"], &[], &["cutout:x"])];
        let sent = |tag: &str, as_of| {
            callback(&report(as_of, &[tag], &[("bank_code:1", "Alert")]), &serde_json::Value::Null)
        };
        let seen = plan(&declared, &sent("cutout:x", "2026-11-21T02:00:00Z"), None).unwrap().seen.unwrap();
        let without = sent("cutout:y", "2026-11-21T02:01:00Z");
        let lost = plan(&declared, &without, Some(&seen)).unwrap();
        assert_eq!(ids(&lost), ["bank/1"]);
        assert!(lost.targets.values().all(|(_, evidence)| evidence.groups.is_empty()));
    }

    #[test]
    fn once_a_scheduled_run_has_brought_a_monitor_it_is_managed() {
        let declared = [declaration("all", &[], &[7], &[])];
        let sent = |reason| Callback {
            reason,
            ..callback(&report("2026-11-21T02:00:00Z", &[], &[("*", "OK")]), &serde_json::Value::Null)
        };
        let notified = plan(&declared, &sent(Reason::Notification), None).unwrap().seen.unwrap();
        let reconciled = plan(&declared, &sent(Reason::Reconcile), Some(&notified)).unwrap().seen.unwrap();
        let again = plan(&declared, &sent(Reason::Notification), Some(&reconciled)).unwrap().seen.unwrap();
        assert_eq!([notified, reconciled, again].map(|seen| seen.managed), [false, true, true]);
    }

    #[test]
    fn an_event_that_shows_nothing_or_is_of_the_same_second_replaces_none() {
        let declared = [declaration("all", &[], &[7], &[])];
        let sent = |url: &str, event_at: &str| {
            let mut sent =
                callback(&report("2026-11-21T02:00:00Z", &[], &[("*", "OK")]), &serde_json::Value::Null);
            let (title, text, tags) = (String::new(), String::new(), Vec::new());
            sent.event =
                Some(Event { title, text, date_happened: event_at.parse().unwrap(), tags, url: url.into() });
            sent
        };
        let after = |seen: Option<&MonitorSeen>, url: &str, event_at| {
            plan(&declared, &sent(url, event_at), seen).unwrap().seen.unwrap()
        };
        let known = |seen: &MonitorSeen| seen.event.as_ref().map(|event| event.url.clone());
        assert_eq!(known(&after(None, "", "2026-11-21T01:59:00Z")), None);
        let seen = after(None, "first", "2026-11-21T01:59:00Z");
        assert_eq!(known(&after(Some(&seen), "", "2026-11-21T01:59:30Z")).as_deref(), Some("first"));
        assert_eq!(known(&after(Some(&seen), "second", "2026-11-21T01:59:00Z")).as_deref(), Some("first"));
        assert_eq!(known(&after(Some(&seen), "second", "2026-11-21T01:59:01Z")).as_deref(), Some("second"));
    }

    #[test]
    fn a_group_that_makes_too_many_keys_touches_none_and_is_told() {
        let declared = [declaration("bank", &["bank_code"], &[7], &[])];
        let many: Vec<String> = (0..65).map(|n| format!("bank_code:{n}")).collect();
        let sent = callback(
            &report("2026-11-21T02:00:00Z", &[], &[(&many.join(","), "Alert")]),
            &serde_json::Value::Null,
        );
        let plan = plan(&declared, &sent, None).unwrap();
        assert!(plan.targets.is_empty());
        assert!(plan.unkeyed[0].ends_with("makes too many keys of breaker bank"), "{:?}", plan.unkeyed);
        let mut elsewhere = declaration("bank", &["bank_code"], &[7], &[]);
        elsewhere.only = [("env".to_owned(), ["prod".to_owned()].into())].into();
        let declared = [elsewhere];
        let staging = report("2026-11-21T02:00:00Z", &[], &[("bank_code:1,env:stg", "Alert")]);
        let kept_out = super::plan(&declared, &callback(&staging, &serde_json::Value::Null), None).unwrap();
        assert!(kept_out.targets.is_empty() && kept_out.unkeyed.is_empty(), "as declared: nothing to tell");
    }
}
