//! Datadog's answers as core's words: a monitor becomes a report, an event enriches.
//!
//! The API's lists grow, recorded answers lack documented keys and hold undocumented ones, and `null` and `0` both
//! stand for "no time". So nothing is required but what decides, and what is not known is kept as it is written.
//! Only `last_notified_ts` is left out on purpose: a renotification is no change.

use super::site::Site;
use cutout_core::report::{Event, Group, Monitor, Report, Status};
use cutout_core::tags::{Tags, UNGROUPED};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// How much of an event's text is handed on, in characters: Datadog's own limit.
const EVENT_TEXT_LEN_MAX: usize = 4_000;
/// A downtime's name for a monitor without groups.
const WHOLE_MONITOR: &str = "total";
/// What stands for a status that the answer does not tell.
const STATUS_UNTOLD: &str = "Unknown";

/// The part of a monitor that a report needs.
#[derive(Deserialize)]
pub(super) struct MonitorAnswer {
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    overall_state: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    multi: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    options: Option<Options>,
    #[serde(default, deserialize_with = "lenient")]
    matching_downtimes: Option<Vec<Downtime>>,
    #[serde(default)]
    state: Option<State>,
}

#[derive(Default, Deserialize)]
struct Options {
    /// Scope to the second when it ends; `null` and `0` mean never.
    #[serde(default)]
    silenced: Option<BTreeMap<String, Option<i64>>>,
}

#[derive(Deserialize)]
struct Downtime {
    #[serde(default, deserialize_with = "lenient")]
    active: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    end: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    scope: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    groups: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    groups: Option<BTreeMap<String, Option<GroupAnswer>>>,
}

#[derive(Default, Deserialize)]
struct GroupAnswer {
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    last_triggered_ts: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    last_nodata_ts: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    last_resolved_ts: Option<i64>,
}

/// A value that is not of the expected type counts as absent: it must not cost the report.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

impl MonitorAnswer {
    /// The report of this answer, given at `as_of`. None if it does not tell the states of the groups.
    ///
    /// An answer without groups tells nothing about a grouped monitor, but about an ungrouped one (a composite, or one
    /// that has just been made) its `overall_state` tells all.
    pub(super) fn report(self, id: u64, as_of: Timestamp, site: Site) -> Option<Report> {
        let muting = Muting::of(&self, as_of);
        let mut states = self.state.and_then(|state| state.groups);
        let ungrouped = self.multi == Some(false);
        if let Some(status) = self.overall_state.clone().filter(|_| ungrouped)
            && states.as_ref().is_none_or(BTreeMap::is_empty)
        {
            let whole = GroupAnswer { status: Some(status), ..GroupAnswer::default() };
            states = Some(BTreeMap::from([(UNGROUPED.to_owned(), Some(whole))]));
        }
        let mut states = states?;
        if states.len() > 1 {
            // Left over from before the monitor was grouped.
            states.remove(UNGROUPED);
        }
        let monitor = Monitor {
            name: self.name.unwrap_or_default(),
            kind: self.kind.unwrap_or_default(),
            overall_state: self.overall_state,
            tags: self.tags.unwrap_or_default(),
            url: site.page_url(&format!("/monitors/{id}")),
        };
        let groups = states.into_iter();
        let groups = groups.map(|(name, state)| state.unwrap_or_default().group(name, &muting)).collect();
        Some(Report { as_of, monitor, groups })
    }
}

impl GroupAnswer {
    fn group(self, name: String, muting: &Muting) -> Group {
        let tags = Tags::parse(&name);
        let muted = muting.covers(&tags);
        let changed_at = self.changed_at();
        let status = Status::from(self.status.unwrap_or_else(|| STATUS_UNTOLD.to_owned()));
        Group { name, tags, status, changed_at, muted }
    }

    fn changed_at(&self) -> Option<Timestamp> {
        let times = [self.last_triggered_ts, self.last_nodata_ts, self.last_resolved_ts];
        let told = times.into_iter().flatten().filter(|second| *second > 0);
        told.filter_map(|second| Timestamp::from_second(second).ok()).max()
    }
}

/// What silences groups of a monitor at one moment.
struct Muting {
    /// Groups that bear all tags of one of these are silenced; `*` is every group.
    scopes: Vec<Tags>,
    /// Groups that are these are silenced.
    groups: Vec<Tags>,
}

impl Muting {
    fn of(answer: &MonitorAnswer, now: Timestamp) -> Muting {
        let lasts = |end: Option<i64>| end.is_none_or(|end| end == 0 || end > now.as_second());
        let silenced = answer.options.iter().filter_map(|options| options.silenced.as_ref()).flatten();
        let scopes = silenced.filter(|(_, end)| lasts(**end)).map(|(scope, _)| Tags::parse(scope));
        let downtimes = answer.matching_downtimes.iter().flatten();
        let active: Vec<_> = downtimes.filter(|each| each.active == Some(true) && lasts(each.end)).collect();
        Muting {
            scopes: scopes.chain(active.iter().filter_map(|downtime| downtime.scope())).collect(),
            groups: active
                .iter()
                .flat_map(|each| each.groups.iter().flatten())
                .map(|n| downtime_group(n))
                .collect(),
        }
    }

    fn covers(&self, group: &Tags) -> bool {
        self.scopes.iter().any(|scope| group.includes(scope)) || self.groups.contains(group)
    }
}

impl Downtime {
    /// The tags that it needs; none if it is not told. An expression that is no list of tags fits no group.
    fn scope(&self) -> Option<Tags> {
        let scope = self.scope.as_ref().filter(|scope| !scope.is_empty())?;
        Some(Tags::parse(&scope.join(",")))
    }
}

fn downtime_group(name: &str) -> Tags {
    if name == WHOLE_MONITOR { Tags::default() } else { Tags::parse(name) }
}

/// The part of an event that is handed on.
#[derive(Deserialize)]
pub(super) struct EventAnswer {
    event: EventBody,
}

#[derive(Deserialize)]
struct EventBody {
    date_happened: Timestamped,
    #[serde(default, deserialize_with = "lenient")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    text: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    url: Option<String>,
}

/// A time in Unix seconds.
struct Timestamped(Timestamp);

impl<'de> Deserialize<'de> for Timestamped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamped, D::Error> {
        let second = i64::deserialize(deserializer)?;
        Timestamp::from_second(second).map(Timestamped).map_err(serde::de::Error::custom)
    }
}

impl EventAnswer {
    pub(super) fn event(self, id: u64, site: Site) -> Event {
        let EventBody { date_happened, title, text, tags, url } = self.event;
        // GET answers a path, the answer to POST a whole URL.
        let path = url.filter(|url| url.starts_with('/')).unwrap_or_else(|| format!("/event/event?id={id}"));
        Event {
            title: title.unwrap_or_default(),
            text: text.unwrap_or_default().chars().take(EVENT_TEXT_LEN_MAX).collect(),
            date_happened: date_happened.0,
            tags: tags.unwrap_or_default(),
            url: site.page_url(&path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2025-06-01T00:00:18Z
    const NOW: i64 = 1_748_736_018;

    fn report(monitor: Value) -> Option<Report> {
        let answer: MonitorAnswer = serde_json::from_value(monitor).unwrap();
        answer.report(7, Timestamp::from_second(NOW).unwrap(), Site::default())
    }

    /// The names of the muted ones of three groups.
    fn muted(silenced: &Value, downtimes: &Value) -> Vec<String> {
        let groups = json!({"b:1,env:prod": {"status": "OK"}, "b:1,env:stg": {"status": "OK"}, "b:2,env:prod": {"status": "OK"}});
        let report = report(json!({
            "multi": true, "options": {"silenced": silenced}, "matching_downtimes": downtimes, "state": {"groups": groups}
        }));
        let groups = report.unwrap().groups.into_iter();
        groups.filter(|group| group.muted).map(|group| group.name).collect()
    }

    #[test]
    fn a_scope_silences_the_groups_that_bear_all_its_tags_until_it_ends() {
        let all = vec!["b:1,env:prod", "b:1,env:stg", "b:2,env:prod"];
        for (silenced, expected) in [
            (json!({}), vec![]),
            (json!(null), vec![]),
            (json!([]), vec![]),
            (json!({"*": null}), all.clone()),
            (json!({"*": 0}), all),
            (json!({"b:1": null}), vec!["b:1,env:prod", "b:1,env:stg"]),
            (json!({"env:prod,b:1": null}), vec!["b:1,env:prod"]),
            (json!({"b:1": NOW}), vec![]),
            (json!({"b:1": NOW + 1, "b:2": NOW - 1}), vec!["b:1,env:prod", "b:1,env:stg"]),
            (json!({"b:3": null, "other:1": null}), vec![]),
        ] {
            assert_eq!(muted(&silenced, &json!([])), expected, "{silenced}");
        }
    }

    #[test]
    fn an_active_downtime_silences_its_scope_and_its_groups() {
        for (downtime, expected) in [
            (json!({"active": true, "scope": ["b:2"], "end": NOW + 1}), vec!["b:2,env:prod"]),
            (json!({"active": true, "scope": ["b:1", "env:stg"], "end": null}), vec!["b:1,env:stg"]),
            (json!({"active": true, "scope": ["team:x"], "groups": ["env:stg,b:1"]}), vec!["b:1,env:stg"]),
            (json!({"active": false, "scope": ["b:2"]}), vec![]),
            (json!({"scope": ["b:2"]}), vec![]),
            (json!({"active": true, "scope": ["b:2"], "end": NOW}), vec![]),
            (json!({"active": true, "scope": []}), vec![]),
            (json!({"active": true}), vec![]),
            (json!({"active": true, "scope": ["env:(prod OR stg)"]}), vec![]),
        ] {
            assert_eq!(muted(&json!({}), &json!([downtime])), expected, "{downtime}");
        }
    }

    #[test]
    fn an_ungrouped_monitor_is_one_group_and_a_downtime_calls_it_total() {
        let downtime = json!({"active": true, "scope": ["env:prod"], "groups": ["total"]});
        for state in
            [json!(null), json!({}), json!({"groups": {}}), json!({"groups": {"*": {"status": "Warn"}}})]
        {
            let monitor = json!({"multi": false, "overall_state": "Warn", "matching_downtimes": [downtime], "state": state});
            let groups = report(monitor).unwrap().groups;
            let told: Vec<_> = groups
                .iter()
                .map(|group| (group.name.as_str(), group.status.as_str(), group.muted))
                .collect();
            assert_eq!(told, [("*", "Warn", true)], "{state}");
        }
    }

    #[test]
    fn what_is_not_told_about_a_grouped_monitor_is_not_taken_for_no_groups() {
        for monitor in [
            json!({"multi": true, "overall_state": "Alert"}),
            json!({"multi": true, "overall_state": "Alert", "state": {"groups": null}}),
            json!({"overall_state": "Alert"}),
            json!({"multi": false}),
        ] {
            assert!(report(monitor.clone()).is_none(), "{monitor}");
        }
        assert_eq!(report(json!({"multi": true, "state": {"groups": {}}})).unwrap().groups, []);
    }

    #[test]
    fn a_change_is_the_newest_of_three_times_and_never_a_notification() {
        let changed_at = |group: Value| {
            let report = report(json!({"multi": true, "state": {"groups": {"b:1": group}}})).unwrap();
            report.groups[0].changed_at.map(Timestamp::as_second)
        };
        for (group, expected) in [
            (
                json!({"last_triggered_ts": 5, "last_resolved_ts": 7, "last_nodata_ts": 6, "last_notified_ts": 9}),
                Some(7),
            ),
            (json!({"last_triggered_ts": 5, "last_resolved_ts": null, "last_nodata_ts": 6}), Some(6)),
            (json!({"last_triggered_ts": 5, "last_resolved_ts": 0, "last_nodata_ts": 0}), Some(5)),
            (json!({"last_triggered_ts": 0, "last_notified_ts": 9}), None),
            (json!({"last_triggered_ts": -1, "last_resolved_ts": "soon", "last_nodata_ts": i64::MAX}), None),
            (json!(null), None),
        ] {
            assert_eq!(changed_at(group.clone()), expected, "{group}");
        }
    }

    #[test]
    fn fields_of_other_types_cost_no_report() {
        let report = report(json!({
            "name": 1, "type": null, "tags": "x", "overall_state": ["Alert"], "multi": "no", "options": 7,
            "matching_downtimes": {}, "state": {"groups": {"b:1": {"status": 3}, "b:2": null}}
        }));
        let told: Vec<_> = report
            .unwrap()
            .groups
            .into_iter()
            .map(|group| (group.name, String::from(group.status)))
            .collect();
        assert_eq!(
            told,
            [("b:1".to_owned(), "Unknown".to_owned()), ("b:2".to_owned(), "Unknown".to_owned())]
        );
    }

    #[test]
    fn a_long_event_text_is_cut_between_characters() {
        let event = json!({"event": {"date_happened": NOW, "text": "銀".repeat(5_000), "url": "https://other.example/"}});
        let answer: EventAnswer = serde_json::from_value(event).unwrap();
        let event = answer.event(9, Site::default());
        assert_eq!(event.text.chars().count(), EVENT_TEXT_LEN_MAX);
        assert_eq!(event.url, "https://app.datadoghq.com/event/event?id=9");
    }
}
