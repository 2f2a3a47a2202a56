//! `cutout lint`: each rule on a monitor that breaks it and on one that does not, on the tree's own monitors, and as a command.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod command;
mod own;
mod property;
mod table;

use cutout_cli::lint::{Accepted, Context, Declared, Handles, Judged, Monitor, judge, read};
use serde_json::{Value, json};

pub(crate) const URL: &str = "https://service-a.example.internal/dd_circuit_breaker/callback";
pub(crate) const HANDLE: &str = "@sns-dd-circuit-breaker";

/// What lint is given.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) monitor: Value,
    pub(crate) breakers: String,
    pub(crate) accepted: String,
    pub(crate) allow: String,
    pub(crate) handles: Vec<String>,
}

impl Given {
    /// A monitor and a breaker with which nothing is wrong.
    pub(crate) fn right() -> Given {
        let block = |name: &str| format!("{{{{#{name}}}}}circuit-breaker-callback: {URL} {{{{/{name}}}}}\n");
        let message: String = ["is_alert", "is_warning", "is_recovery"].map(block).concat() + HANDLE;
        Given {
            monitor: json!({
                "id": 5_200_001, "type": "query alert", "name": "Bank API error rate", "message": message,
                "query": "avg(last_5m):sum:vendor.errors{env:prod} by {bank_code,env} > 0.5", "multi": true,
                "tags": ["cutout", "cutout:bank-charge"],
                "options": {
                    "thresholds": {"critical": 0.5, "warning": 0.2}, "include_tags": true, "renotify_interval": 0,
                    "on_missing_data": "show_no_data",
                },
            }),
            breakers:
                "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmonitors = { ids = [5200001] }\n"
                    .to_owned(),
            accepted: String::new(),
            allow: "*.example.internal".to_owned(),
            handles: Vec::new(),
        }
    }

    pub(crate) fn message(mut self, change: impl FnOnce(String) -> String) -> Given {
        let message = self.monitor["message"].as_str().unwrap().to_owned();
        self.monitor["message"] = json!(change(message));
        self
    }

    pub(crate) fn with(mut self, setting: &str, value: Value) -> Given {
        self.monitor[setting] = value;
        self
    }

    pub(crate) fn option(mut self, name: &str, value: Value) -> Given {
        self.monitor["options"][name] = value;
        self
    }

    pub(crate) fn breaker(mut self, lines: &str) -> Given {
        self.breakers.push_str(lines);
        self.breakers.push('\n');
        self
    }

    pub(crate) fn monitors(&self) -> Vec<Monitor> {
        read("monitors.json", &format!("{:#}", self.monitor), true).unwrap()
    }

    pub(crate) fn context(&self) -> Context {
        let variables = [("CUTOUT_CALLBACK_ALLOW".to_owned(), self.allow.clone())];
        let guard = cutout_lambda::settings::guard(variables).unwrap();
        let mut declared = Declared::default();
        if !self.breakers.is_empty() {
            declared.add("breakers.toml", &self.breakers).unwrap();
        }
        let accepted = Accepted::read("accepted.toml", &self.accepted).unwrap();
        Context::new(guard, Handles::of(&self.handles), "cutout".to_owned(), declared, accepted)
    }

    pub(crate) fn judged(&self) -> Judged {
        judge(&self.monitors(), &self.context(), true)
    }

    /// The names of the rules that find something that nobody accepted.
    pub(crate) fn found(&self) -> Vec<&'static str> {
        let judged = self.judged();
        let open = judged.findings.iter().filter(|finding| finding.accepted.is_none());
        open.map(|finding| finding.rule.name()).collect()
    }
}

/// The text with one block only.
pub(crate) fn block(name: &str) -> String {
    format!("{{{{#{name}}}}}circuit-breaker-callback: {URL} {{{{/{name}}}}}\n")
}

/// The text with these blocks and the handle.
pub(crate) fn blocks(names: &[&str]) -> String {
    names.iter().map(|name| block(name)).collect::<String>() + HANDLE
}
