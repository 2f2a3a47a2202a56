//! Notifications in every shape that they arrive in.

use super::*;
use cutout_core::report::NotifiedTransition;
use serde_json::json;

/// The one notification of an SNS event.
fn sns(subject: &str, message: &str) -> Notification {
    let event = json!({"Records": [{"Sns": {"Subject": subject, "Message": message, "Timestamp": "2025-06-01T00:00:10.123Z"}}]});
    let mut all = notifications(event);
    assert_eq!(all.len(), 1);
    all.remove(0).unwrap()
}

fn ids(text: &str) -> (Option<u64>, Option<u64>) {
    let notification = sns("", text);
    (notification.monitor_id, notification.event_id)
}

fn hint(subject: &str, text: &str) -> (NotifiedTransition, Option<String>) {
    let notified = sns(subject, text).notified.unwrap();
    (notified.transition, notified.tags.map(|tags| tags.to_string()))
}

#[test]
fn every_known_form_of_link_names_its_ids() {
    let event = 7_700_000_000_000_000_001;
    for (text, expected) in [
        ("https://app.datadoghq.com/monitors#7300001", (Some(7_300_001), None)),
        ("https://app.datadoghq.com/monitors#7300001/edit", (Some(7_300_001), None)),
        ("https://app.datadoghq.com/monitors#7300001?", (Some(7_300_001), None)),
        ("https://app.datadoghq.com/monitors#7300001?group=a%3Ab", (Some(7_300_001), None)),
        (
            "https://us5.datadoghq.com/monitors/7300001/edit?link_source=monitor_notif",
            (Some(7_300_001), None),
        ),
        (
            "https://own.datadoghq.eu/monitors/7300001?a=b&event_id=7700000000000000001",
            (Some(7_300_001), Some(event)),
        ),
        (
            "https://app.datadoghq.com/monitors/7300001?a=b&amp;event_id=7700000000000000001",
            (Some(7_300_001), Some(event)),
        ),
        ("https://app.datadoghq.com/event/event?id=7700000000000000001", (None, Some(event))),
        ("https://app.datadoghq.com/event/event?event_id=7700000000000000001", (None, Some(event))),
        ("https://app.datadoghq.com/event/jump_to?event_id=7700000000000000001", (None, Some(event))),
        ("[[Monitor Status](https://app.datadoghq.com/monitors#7300001?)]", (Some(7_300_001), None)),
        ("https://app.datadoghq.com/monitors/manage", (None, None)),
        ("https://app.datadoghq.com/logs?query=/monitors/7300001", (None, None)),
        ("https://app.datadoghq.com/monitors/73000x1", (None, None)),
        ("/monitors/7300001 and 7300001", (None, None)),
        ("https://app.datadoghq.com/monitors/99999999999999999999999", (None, None)),
        ("http", (None, None)),
    ] {
        assert_eq!(ids(text), expected, "{text}");
    }
}

#[test]
fn a_labelled_link_counts_more_than_a_later_one_and_a_later_one_more_than_an_earlier() {
    let link = |id: u64| format!("https://app.datadoghq.com/monitors/{id}");
    assert_eq!(ids(&format!("{} {}", link(1), link(2))).0, Some(2));
    assert_eq!(ids(&format!("Monitor Status: {} {}", link(1), link(2))).0, Some(1));
    assert_eq!(ids(&format!("[[Monitor Status]({})] {}", link(1), link(2))).0, Some(1));
    let event = |id: u64| format!("https://app.datadoghq.com/event/event?id={id}");
    assert_eq!(ids(&format!("Event URL: {} {}", event(1), event(2))).1, Some(1));
}

#[test]
fn a_long_text_of_links_is_read_in_bounded_time() {
    assert_eq!(ids(&"https://".repeat(32_000)), (None, None));
}

#[test]
fn titles_tell_the_transition() {
    use NotifiedTransition::{Alert, NoData, Recovery, Renotify, Unknown, Warn};
    for (title, transition) in [
        ("[Triggered] Bank", Alert),
        ("[Triggered on {bank_code:0001}] Bank", Alert),
        ("[P1] [Triggered] Bank", Alert),
        ("[Warn on {bank_code:0001}] Bank", Warn),
        ("[P5] [Recovered] Bank", Recovery),
        ("[No data] Bank", NoData),
        ("[No Data on {bank_code:0001}] Bank", NoData),
        ("[Re-Triggered] Bank", Renotify),
        ("[Re-No Data] Bank", Renotify),
        ("[Triggered] [TEST] Bank", Unknown),
        ("[P1] [Triggered on {bank_code:0001}] [TEST] Bank", Unknown),
        ("[Muted] Bank", Unknown),
        ("Triggered", Unknown),
        ("[Triggered", Unknown),
        ("[P1] ", Unknown),
        ("", Unknown),
    ] {
        assert_eq!(hint(title, "text").0, transition, "{title}");
    }
}

#[test]
fn a_test_notification_is_known_by_its_text_too() {
    let text = "Test notification triggered by user@example.com.";
    assert_eq!(hint("[Triggered] Bank", text).0, NotifiedTransition::Unknown);
}

#[test]
fn the_group_is_what_title_and_link_agree_on() {
    let link = |group: &str| format!("Monitor Status: https://app.datadoghq.com/monitors#7?group={group}");
    for (title, link, group) in [
        ("[Triggered on {b:1,env:prod}] x", link("env%3Aprod%2Cb%3A1"), Some("b:1,env:prod")),
        ("[Triggered] x", link("b%3A1"), Some("b:1")),
        ("[Triggered on {b:1}] x", link(""), Some("b:1")),
        // The fuller one of two that do not contradict each other.
        ("[Triggered on {b:1}] x", link("b%3A1%2Cenv%3Aprod"), Some("b:1,env:prod")),
        ("[Triggered on {b:1,env:prod}] x", link("b%3A1"), Some("b:1,env:prod")),
        ("[Triggered on {b:1}] x", link("b%3A2"), None),
        // No one group.
        ("[Triggered] x", link(""), None),
        ("[Triggered on {*}] x", link("*"), None),
        ("[Triggered] x", link("total"), None),
        // Cut off inside the group.
        ("[Triggered on {b:1,env:pr", String::new(), None),
        // A tag's value may hold a closing bracket.
        ("[Triggered on {b:[1]}] x", String::new(), Some("b:[1]")),
    ] {
        assert_eq!(hint(title, &link).1.as_deref(), group, "{title} {link}");
    }
}

#[test]
fn a_group_of_another_monitor_is_not_this_ones() {
    let text = "https://app.datadoghq.com/monitors/1?group=b%3A9 Monitor Status: https://app.datadoghq.com/monitors/7";
    assert_eq!(hint("[Triggered] x", text).1, None);
}

#[test]
fn a_json_message_may_name_its_ids_in_fields_of_its_own() {
    for (message, expected) in [
        (json!({"event_id": "11", "monitor_id": 7}), (Some(7), Some(11))),
        (json!({"alert": {"alert_id": "7"}, "event": {"event_id": "ID"}, "id": "11"}), (Some(7), Some(11))),
        (json!({"alertid": "7", "id": 11}), (Some(7), Some(11))),
        // Explicit fields before links, links before a bare `id`.
        (json!({"monitor_id": 7, "body": "https://app.datadoghq.com/monitors/8"}), (Some(7), None)),
        (json!({"id": "7", "link": "https://app.datadoghq.com/event/event?id=11"}), (None, Some(11))),
        // Floats have lost digits already.
        (json!({"monitor_id": 7.0, "event_id": 7.7e18}), (None, None)),
        (json!({"org": {"id": "100001"}}), (None, None)),
    ] {
        assert_eq!(ids(&message.to_string()), expected, "{message}");
    }
}

#[test]
fn a_json_message_without_title_may_tell_transition_and_group_in_fields() {
    let message = json!({"alert_transition": "Triggered", "scopes": "bank_code:0001,env:prod"});
    let expected = (NotifiedTransition::Alert, Some("bank_code:0001,env:prod".to_owned()));
    assert_eq!(hint("datadog", &message.to_string()), expected);
    let test = json!({"alert_transition": "Triggered", "title": "[Triggered] [TEST] x"});
    assert_eq!(hint("datadog", &test.to_string()).0, NotifiedTransition::Unknown);
}

#[test]
fn what_looks_like_json_and_is_not_is_text() {
    let url = "https://service-a.example.internal/cb";
    for text in
        [format!("{{{{x}} circuit-breaker-callback: {url}"), format!("[1] circuit-breaker-callback: {url}")]
    {
        assert_eq!(sns("", &text).callback_urls, [url], "{text}");
    }
}

#[test]
fn sqs_brings_the_same_wrapped_or_raw() {
    let message = "circuit-breaker-callback: https://a.example/cb Monitor Status: https://app.datadoghq.com/monitors#7?group=b%3A1";
    let sns = json!({"Type": "Notification", "TopicArn": "arn:aws:sns:…", "Subject": "[Warn] x", "Message": message, "Timestamp": "2025-06-01T00:00:10.123Z"});
    let event = json!({"Records": [
        {"body": sns.to_string(), "attributes": {"SentTimestamp": "1"}},
        {"body": message, "attributes": {"SentTimestamp": "1748736010123"}},
        {"body": message}
    ]});
    let read: Vec<_> = notifications(event).into_iter().map(Result::unwrap).collect();
    assert!(
        read.iter().all(|each| each.monitor_id == Some(7) && each.callback_urls == ["https://a.example/cb"])
    );
    let notified = |each: &Notification| each.notified.as_ref().map(|n| (n.at.to_string(), n.transition));
    let at = "2025-06-01T00:00:10.123Z".to_owned();
    assert_eq!(notified(&read[0]), Some((at.clone(), NotifiedTransition::Warn)));
    assert_eq!(notified(&read[1]), Some((at, NotifiedTransition::Unknown)));
    assert_eq!(notified(&read[2]), None);
}

#[test]
fn what_cannot_be_read_is_told_one_record_at_a_time() {
    assert!(matches!(notifications(json!({}))[..], [Err(Unreadable::NoRecords)]));
    assert!(matches!(notifications(json!("x"))[..], [Err(Unreadable::NoRecords)]));
    assert!(notifications(json!({"Records": []})).is_empty());
    let mixed = json!({"Records": [{"Sns": {"Message": "x"}}, {"Sns": {}}, {"s3": {}}, {"Sns": 1}, 7]});
    let read = notifications(mixed);
    assert!(matches!(
        read[..],
        [
            Ok(_),
            Err(Unreadable::NoMessage),
            Err(Unreadable::NoMessage),
            Err(Unreadable::Record(_)),
            Err(Unreadable::Record(_))
        ]
    ));
}
