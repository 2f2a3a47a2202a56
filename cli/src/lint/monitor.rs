//! A monitor as lint judges it, out of the JSON of Datadog's API or of Terraform.
//!
//! Both tell the same settings, the API below `options`, Terraform side by side. A setting of an unexpected type counts as
//! not set, as the function treats it.

use super::source::{Object, Place};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// What Datadog does when a group's data are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingData {
    /// The group's status is No Data, and people are told.
    Told,
    /// The group's status is No Data, and nobody is told.
    Shown,
    /// The group counts as recovered.
    Resolved,
}

/// What is judged of a monitor.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Where it was read.
    pub place: Place,
    /// Its number; none if it is not made yet.
    pub id: Option<u64>,
    /// Its name.
    pub name: String,
    /// Its type, such as `query alert`.
    pub kind: String,
    /// Its query.
    pub query: String,
    /// Its message, unrendered.
    pub message: String,
    /// Its own tags.
    pub tags: Vec<String>,
    /// Whether it alerts by group; none if it is not told.
    pub multi: Option<bool>,
    /// Whether it can warn.
    pub warns: bool,
    /// What it does when data are missing.
    pub missing_data: MissingData,
    /// How often it reminds, in minutes; 0: never.
    pub renotify_minutes: u64,
    /// Whether titles name the group.
    pub include_tags: bool,
    /// What its notifications hide.
    pub preset: Option<String>,
    /// The tags by which notifications are grouped; empty: by all.
    pub notify_by: Vec<String>,
    /// Whether it is a draft.
    pub draft: bool,
}

impl Monitor {
    /// The monitor that an object describes; none if it has neither message nor query.
    pub(super) fn read(object: &Object<'_>, place: Place) -> Option<Monitor> {
        if !object.contains_key("message") && !object.contains_key("query") {
            return None;
        }
        let options = options(object);
        let setting = Settings { object, options };
        let kind: String = setting.get("type").unwrap_or_default();
        Some(Monitor {
            id: setting.get::<u64>("id").or_else(|| setting.get::<String>("id")?.parse().ok()),
            name: setting.get("name").unwrap_or_default(),
            query: setting.get("query").unwrap_or_default(),
            message: setting.get("message").unwrap_or_default(),
            tags: setting.get("tags").unwrap_or_default(),
            multi: setting.get("multi"),
            // A check warns by itself.
            warns: kind == "service check" || setting.has_warning_threshold(),
            missing_data: setting.missing_data(),
            renotify_minutes: setting.get("renotify_interval").unwrap_or_default(),
            include_tags: setting.get("include_tags").unwrap_or(true),
            preset: setting.get("notification_preset_name"),
            notify_by: setting.get("notify_by").unwrap_or_default(),
            draft: setting.get::<String>("draft_status").is_some_and(|status| status == "draft"),
            kind,
            place,
        })
    }

    /// Its own tags in lower case, as a breaker's declaration has them.
    #[must_use]
    pub fn lower_case_tags(&self) -> BTreeSet<String> {
        self.tags.iter().map(|tag| tag.to_lowercase()).collect()
    }
}

struct Settings<'a> {
    object: &'a Object<'a>,
    options: Object<'a>,
}

fn options<'a>(object: &Object<'a>) -> Object<'a> {
    object.get("options").and_then(|options| serde_json::from_str(options.get()).ok()).unwrap_or_default()
}

impl Settings<'_> {
    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let raw = self.options.get(name).or_else(|| self.object.get(name))?;
        serde_json::from_str::<Option<T>>(raw.get()).ok().flatten()
    }

    fn has_warning_threshold(&self) -> bool {
        type Thresholds = serde_json::Map<String, serde_json::Value>;
        let of_api = self.get::<Thresholds>("thresholds").into_iter();
        let of_terraform = self.get::<Vec<Thresholds>>("monitor_thresholds").unwrap_or_default();
        of_api.chain(of_terraform).any(|thresholds| {
            thresholds.get("warning").is_some_and(|warning| !warning.is_null() && warning != "")
        })
    }

    /// `on_missing_data` is the newer setting, and rules where it is set.
    fn missing_data(&self) -> MissingData {
        match self.get::<String>("on_missing_data").as_deref() {
            Some("show_and_notify_no_data") => MissingData::Told,
            Some("show_no_data") => MissingData::Shown,
            Some("resolve") => MissingData::Resolved,
            _ if self.get("notify_no_data").unwrap_or(false) => MissingData::Told,
            _ => MissingData::Shown,
        }
    }
}
