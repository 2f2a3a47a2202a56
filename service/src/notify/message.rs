//! What is said of an entry of the audit stream, or that it is none of a destination's business.

use super::destination::{Destination, Form, On};
use crate::api::HistoryItem;
use cutout_flags::Audited;
use serde_json::{Value, json};

/// The version of the body of signed webhooks.
const SCHEMA: &str = "cutout.transition/1";

/// What stands before a transition that is only watched.
const WATCHED: &str = ":eyes:";

/// What a destination is sent of an entry; none: nothing.
pub(super) fn body(destination: &Destination, entry: &Audited) -> Option<Vec<u8>> {
    let item = serde_json::to_value(HistoryItem::of(entry)).ok()?;
    if !is_wanted(destination, entry, &item) {
        return None;
    }
    let body = match destination.form {
        Form::Slack => json!({ "text": text(&item) }),
        Form::Webhook(_) => {
            let mut body = item;
            body["schema"] = SCHEMA.into();
            body
        }
    };
    Some(body.to_string().into_bytes())
}

fn is_wanted(destination: &Destination, entry: &Audited, item: &Value) -> bool {
    let of_name = |names: &std::collections::BTreeSet<String>| {
        // What is ordered for the whole scope is everybody's business.
        entry.breaker.as_ref().is_none_or(|id| names.contains(id.name()))
    };
    let is_change = item["from"] != item["to"];
    let reached = match item["to"].as_str() {
        Some("open") => Some(On::Open),
        Some("half-open") => Some(On::HalfOpen),
        Some("closed") => Some(On::Closed),
        _ => None,
    };
    let is_person = item["cause"]["kind"] == "person";
    (destination.breakers.is_empty() || of_name(&destination.breakers))
        && (is_person && destination.on.contains(&On::Person)
            || is_change && reached.is_some_and(|reached| destination.on.contains(&reached)))
}

/// One line for people, in Slack's markup.
fn text(item: &Value) -> String {
    let said = |value: &Value| value.as_str().map(escaped).unwrap_or_default();
    let (cause, links) = (&item["cause"], &item["links"]);
    // What is only watched must not wake anybody as if calls were refused.
    let is_watched = item["mode"] == "watch";
    let mut text = match (item["breaker"].as_str(), item["to"].as_str()) {
        (Some(breaker), Some(to)) if item["from"] == item["to"] => {
            let would = if is_watched { "would stay" } else { "stays" };
            format!("*{}* {would} {to}", escaped(breaker))
        }
        (Some(breaker), Some(to)) => {
            let (breaker, from) = (escaped(breaker), said(&item["from"]));
            if is_watched {
                format!("{WATCHED} *{breaker}* would be {to}, it would have been {from}")
            } else {
                format!("{} *{breaker}* is {to}, it was {from}", sign(to))
            }
        }
        (Some(breaker), None) => format!("*{}*", escaped(breaker)),
        (None, _) => "The whole scope".to_owned(),
    };
    if cause["kind"] == "person" {
        let (by, act, why) = (said(&cause["by"]), said(&cause["act"]), said(&cause["why"]));
        text.push_str(&format!(" ({act} by {by}: {why})"));
    } else {
        text.push_str(&format!(" ({})", said(&cause["kind"]).replace('_', " ")));
    }
    if is_watched {
        text.push_str(", watch mode: nobody is refused");
    }
    for (name, link) in [("monitor", &links["monitor"]), ("event", &links["event"])] {
        if let Some(link) = link.as_str() {
            text.push_str(&format!(" <{}|{name}>", escaped(link).replace('|', "%7C")));
        }
    }
    text
}

fn sign(to: &str) -> &'static str {
    match to {
        "open" => ":red_circle:",
        "half-open" => ":large_yellow_circle:",
        _ => ":large_green_circle:",
    }
}

/// What a person wrote is text and never markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::BreakerId;
    use cutout_flags::AuditId;

    fn entry(entry: Value, breaker: Option<&str>) -> Audited {
        let breaker = breaker.map(|key| BreakerId::new("bank-charge", &[key]));
        Audited { id: AuditId { at_ms: 1_795_223_705_000, number: 0 }, breaker, entry }
    }

    fn destination(on: &[On], breakers: &[&str]) -> Destination {
        Destination {
            name: "ops".into(),
            url: "https://hooks.example/x".parse().unwrap(),
            form: Form::Slack,
            breakers: breakers.iter().map(|name| (*name).to_owned()).collect(),
            on: on.iter().copied().collect(),
        }
    }

    fn told(destination: &Destination, entry: &Audited) -> Option<String> {
        let body: Value = serde_json::from_slice(&body(destination, entry)?).unwrap();
        Some(body["text"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_destination_is_told_what_it_asked_for() {
        let opened = entry(
            json!({"from": "closed", "to": "open", "at_ms": 1, "cause": {"kind": "report", "monitor_id": 5},
                   "links": {"monitor": "https://dd.example/monitors/5"}}),
            Some("0001"),
        );
        let text = told(&destination(&[On::Open], &[]), &opened).unwrap();
        assert_eq!(
            text,
            ":red_circle: *bank-charge/0001* is open, it was closed (report) <https://dd.example/monitors/5|monitor>"
        );
        assert_eq!(told(&destination(&[On::Closed, On::Person], &[]), &opened), None);
        assert_eq!(told(&destination(&[On::Open], &["other"]), &opened), None);
        assert!(told(&destination(&[On::Open], &["bank-charge"]), &opened).is_some());
    }

    #[test]
    fn what_is_only_watched_is_not_told_as_if_it_were_done() {
        let watched = |from: &str| {
            json!({"from": from, "to": "open", "at_ms": 1, "mode": "watch",
                   "cause": {"kind": "report", "monitor_id": 5}})
        };
        let text = |from: &str| {
            let destination = destination(&[On::Open, On::Person], &[]);
            told(&destination, &entry(watched(from), Some("0001")))
        };
        let would = ":eyes: *bank-charge/0001* would be open, it would have been closed (report), watch mode: nobody is refused";
        assert_eq!(text("closed").unwrap(), would);
        let cause = json!({"kind": "person", "by": "ann", "why": "drill", "act": "inject"});
        let same = json!({"from": "open", "to": "open", "at_ms": 1, "mode": "watch", "cause": cause});
        let text = told(&destination(&[On::Person], &[]), &entry(same, Some("0001"))).unwrap();
        let would =
            "*bank-charge/0001* would stay open (inject by ann: drill), watch mode: nobody is refused";
        assert_eq!(text, would);
    }

    #[test]
    fn what_a_person_wrote_is_no_markup_and_a_pause_is_told_to_all() {
        let cause = json!({"kind": "person", "by": "ann", "why": "<!channel> & co", "act": "pause"});
        let pause = entry(json!({"at_ms": 1, "cause": cause}), None);
        let text = told(&destination(&[On::Person], &["other"]), &pause).unwrap();
        assert_eq!(text, "The whole scope (pause by ann: &lt;!channel&gt; &amp; co)");
        assert_eq!(told(&destination(&[On::Open], &[]), &pause), None);
    }

    #[test]
    fn a_person_who_leaves_the_state_as_it_is_makes_no_change() {
        let cause = json!({"kind": "person", "by": "ann", "why": "drill", "act": "inject"});
        let same = entry(json!({"from": "open", "to": "open", "at_ms": 1, "cause": cause}), Some("0001"));
        assert_eq!(told(&destination(&[On::Open], &[]), &same), None);
        let text = told(&destination(&[On::Person], &[]), &same).unwrap();
        assert_eq!(text, "*bank-charge/0001* stays open (inject by ann: drill)");
    }
}
