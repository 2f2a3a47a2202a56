//! Every known notification: what is read from it, and what becomes of it.

use crate::fixtures::{self, assert_every_fixture_has_a_row, constructed, recorded};
use crate::world::{AS_OF, MONITOR_ID, World, ok, steps};
use cutout_core::Tags;
use cutout_core::report::NotifiedTransition::{Alert, NoData, Recovery, Renotify, Unknown, Warn};
use cutout_core::report::{Callback, Notified, NotifiedTransition, Reason};
use cutout_lambda::guard::{Guard, GuardSettings};
use cutout_lambda::notification::{Notification, notifications};
use serde_json::{Value, json};

const A: &str = "https://service-a.example.internal/dd_circuit_breaker/callback";
const B: &str = "https://service-b.example.internal/dd_circuit_breaker/callback";
const GROUP: Option<&str> = Some("bank_code:0001,env:prod");

/// What becomes of a record.
enum Outcome {
    /// Success, and nobody is asked or told anything.
    Ignored,
    /// Each of its URLs gets a callback.
    Delivered,
    /// It fails in these steps, and nobody is asked or told anything.
    Fails(&'static [&'static str]),
}
use Outcome::{Delivered, Fails, Ignored};

/// One record of a fixture: file, URLs, monitor, event, transition, group, outcome.
type Row = (
    &'static str,
    &'static [&'static str],
    Option<u64>,
    Option<u64>,
    NotifiedTransition,
    Option<&'static str>,
    Outcome,
);

/// The event of the constructed fixtures with this number at its end.
const fn event(number: u64) -> Option<u64> {
    Some(7_700_000_000_000_000_000 + number)
}

const ID: Option<u64> = Some(MONITOR_ID);

#[rustfmt::skip]
const CONSTRUCTED: [Row; 32] = [
    ("empty_message", &[], None, None, Alert, None, Ignored),
    ("foreign_cloudwatch_alarm", &[], None, None, Unknown, None, Ignored),
    ("json_default_webhook_shape", &[A], ID, event(24), Alert, GROUP, Delivered),
    ("json_relay_explicit_ids", &[A], ID, event(25), Alert, GROUP, Delivered),
    ("same_message_redelivered", &[A], ID, event(1), Alert, GROUP, Delivered),
    ("subject_absent_capital_urls", &[A], ID, event(27), Unknown, GROUP, Delivered),
    ("subject_null", &[A], ID, event(26), Unknown, GROUP, Delivered),
    ("text_aggregated_groups", &[A], ID, event(23), Alert, None, Delivered),
    ("text_alert", &[A], ID, event(1), Alert, GROUP, Delivered),
    ("text_alert_2025_links", &[A], ID, event(6), Alert, GROUP, Delivered),
    ("text_callback_angle_brackets", &[A], ID, event(10), Alert, GROUP, Delivered),
    ("text_callback_html_escaped", &["https://service-a.example.internal/dd_circuit_breaker/callback?bank=0001&env=prod&q=a=b"], ID, event(8), Alert, GROUP, Delivered),
    ("text_callback_markdown_link", &[A], ID, event(9), Alert, GROUP, Delivered),
    ("text_callback_trailing_punctuation", &[A], ID, event(11), Alert, GROUP, Delivered),
    ("text_eu_site", &[A], ID, event(16), Alert, GROUP, Delivered),
    ("text_gov_site_2025_links", &[A], ID, event(17), Alert, GROUP, Delivered),
    ("text_group_order_differs", &[A], ID, event(19), Alert, GROUP, Delivered),
    ("text_hide_all_no_ids", &[A], None, None, Alert, GROUP, Fails(&["ids"])),
    ("text_japanese_crlf", &[A], ID, event(21), Alert, GROUP, Delivered),
    ("text_no_callback", &[], ID, event(7), Alert, GROUP, Ignored),
    ("text_no_data", &[A], ID, event(4), NoData, GROUP, Delivered),
    ("text_other_ids_in_body", &[A], ID, event(20), Alert, GROUP, Delivered),
    ("text_priority_and_test_title", &[A], ID, event(15), Unknown, GROUP, Delivered),
    ("text_recovered", &[A], ID, event(3), Recovery, GROUP, Delivered),
    ("text_retriggered", &[A], ID, event(5), Renotify, GROUP, Delivered),
    ("text_same_callback_twice", &[A], ID, event(13), Recovery, GROUP, Delivered),
    ("text_simple_alert_no_group", &[A], ID, event(18), Alert, None, Delivered),
    ("text_truncated", &["https://servic"], None, None, Alert, GROUP, Fails(&["guard", "ids"])),
    ("text_two_callbacks", &[A, B], ID, event(12), Recovery, GROUP, Delivered),
    ("text_warn", &[A], ID, event(2), Warn, GROUP, Delivered),
    ("two_records", &[A], ID, event(28), Alert, GROUP, Delivered),
    ("two_records", &[A], ID, event(29), Alert, Some("bank_code:0002,env:prod"), Delivered),
];

#[rustfmt::skip]
const RECORDED_SNS: [Row; 10] = [
    ("aws_docs_lambda_sns_event", &[], None, None, Unknown, None, Ignored),
    ("crate_example-sns-event", &[], None, None, Unknown, None, Ignored),
    ("crate_example-sns-event-obj", &[], None, None, Unknown, None, Ignored),
    ("crate_example-sns-event-pascal-case", &[], None, None, Unknown, None, Ignored),
    ("http_notification", &[], None, None, Unknown, None, Ignored),
    ("http_subscription_confirmation", &[], None, None, Unknown, None, Ignored),
    ("lambda_datadog_text_2018_recovered", &[], Some(5_200_001), Some(4_437_030_580_600_000_001), Recovery, Some("docker_image:nginx"), Ignored),
    ("lambda_datadog_text_2018_triggered", &[], Some(5_200_001), Some(4_437_030_580_600_000_001), Alert, Some("docker_image:nginx"), Ignored),
    ("lambda_datadog_text_2018_warn", &[], Some(5_200_001), Some(4_437_030_580_600_000_001), Warn, Some("docker_image:nginx"), Ignored),
    ("sqs_wrapped_notification", &[], None, None, Unknown, None, Ignored),
];

#[rustfmt::skip]
const RECORDED_WEBHOOKS: [Row; 11] = [
    ("2015_custom_recovered", &[], Some(309_001), Some(3_089_903_685_600_000_001), Recovery, Some("host:i-00000001"), Ignored),
    ("2015_custom_triggered", &[], Some(309_001), Some(3_089_904_566_700_000_001), Alert, Some("host:i-00000001"), Ignored),
    ("2020_custom_metric_alert_test", &[], Some(25_560_001), Some(5_717_804_682_300_000_001), Unknown, Some("host:web-1"), Ignored),
    ("2020_default_service_check_test", &[], Some(18_690_001), Some(5_485_379_890_800_000_001), Unknown, None, Ignored),
    ("2021_custom_log_alert_four_tag_group", &[], Some(3_280_001), Some(6_268_218_125_600_000_001), Alert, Some("@blockchainid:0021,@servicedomain:example.io,region:eu-south-1,service:eu-south-1/ecs/gateway"), Ignored),
    ("2025_default_error_tracking_recovered_html_escaped", &[], Some(8_240_055), Some(8_169_025_783_700_000_001), Recovery, Some("issue.id:655bd304-5322-11f0-80d4-000000000000"), Ignored),
    ("2025_default_error_tracking_triggered_html_escaped", &[], Some(8_240_055), Some(8_179_565_223_000_000_001), Alert, Some("issue.id:2df20914-58c8-11f0-b092-000000000000"), Ignored),
    ("2025_default_query_alert_triggered", &[], Some(8_240_001), Some(8_166_212_983_400_000_001), Alert, Some("host:k3s-node-1"), Ignored),
    ("2026_custom_query_alert_warn", &[], Some(266_150_001), Some(8_546_376_597_500_000_001), Warn, None, Ignored),
    ("2026_custom_synthetics_retriggered", &[], Some(166_180_001), Some(8_549_000_000_000_000_001), Renotify, None, Ignored),
    ("2026_custom_synthetics_triggered_no_links", &[], Some(166_180_001), Some(8_543_404_741_700_000_001), Alert, None, Ignored),
];

/// The rows of one fixture with the records that they are about.
fn check_reading(fixture: &str, event: &Value, rows: &[&Row]) -> Vec<Notification> {
    let read: Vec<_> =
        notifications(event.clone()).into_iter().map(|record| record.expect(fixture)).collect();
    assert_eq!(read.len(), rows.len(), "{fixture}: records");
    for (notification, (_, urls, monitor_id, event_id, transition, group, _)) in read.iter().zip(rows) {
        assert_eq!(notification.callback_urls, *urls, "{fixture}: URLs");
        assert_eq!(
            (notification.monitor_id, notification.event_id),
            (*monitor_id, *event_id),
            "{fixture}: ids"
        );
        let notified = notification.notified.as_ref().unwrap_or_else(|| panic!("{fixture}: a hint"));
        assert_eq!(
            (notified.transition, &notified.tags),
            (*transition, &group.map(Tags::parse)),
            "{fixture}: hint"
        );
    }
    read
}

/// Handles a fixture in a world of its own.
async fn check_outcome(fixture: &str, event: &Value, rows: &[&Row], read: &[Notification]) {
    let world = World::start().await;
    let outcome = world.handle(event).await;
    let callbacks = world.callbacks();
    match &rows[0].6 {
        Ignored => {
            assert!(outcome.is_ok(), "{fixture}: {outcome:?}");
            assert_eq!((world.reads(), callbacks.len()), (0, 0), "{fixture}: reads, callbacks");
        }
        Fails(expected) => {
            assert_eq!(steps(outcome), *expected, "{fixture}");
            assert_eq!((world.reads(), callbacks.len()), (0, 0), "{fixture}: reads, callbacks");
        }
        Delivered => {
            assert!(outcome.is_ok(), "{fixture}: {outcome:?}");
            // A message is one read of the monitor, however many URLs it has.
            assert_eq!(world.monitor_reads(), read.len(), "{fixture}: reads");
            check_callbacks(fixture, &world, &callbacks, read);
        }
    }
}

fn check_callbacks(fixture: &str, world: &World, callbacks: &[Callback], read: &[Notification]) {
    let expected = read
        .iter()
        .flat_map(|notification| notification.callback_urls.iter().map(move |url| (notification, url)));
    let expected: Vec<_> = expected.collect();
    assert_eq!(callbacks.len(), expected.len(), "{fixture}: callbacks");
    for (notification, url) in expected {
        let to = world.here(&json!(url));
        let event_id = notification.event_id.map(|id| id.to_string());
        let about = |callback: &&Callback| callback.to == to && callback.event_id == event_id;
        let callback =
            callbacks.iter().find(about).unwrap_or_else(|| panic!("{fixture}: a callback to {to}"));
        assert_eq!(
            (callback.schema.as_str(), callback.source.as_str()),
            ("cutout.callback/1", "datadog"),
            "{fixture}"
        );
        assert_eq!((callback.reason, callback.monitor_id), (Reason::Notification, MONITOR_ID), "{fixture}");
        assert_eq!(callback.notified, notification.notified, "{fixture}: hint");
        let report = callback.report.as_ref().unwrap_or_else(|| panic!("{fixture}: a report"));
        assert_eq!((report.as_of.to_string().as_str(), report.groups.len()), (AS_OF, 7), "{fixture}: report");
    }
}

#[tokio::test]
async fn every_constructed_notification_ends_as_it_should() {
    let folder = constructed("sns");
    assert_every_fixture_has_a_row(&folder, CONSTRUCTED.iter().map(|row| row.0));
    for fixture in fixtures::names(&folder) {
        let event = fixtures::read(&folder, &fixture);
        let rows: Vec<_> = CONSTRUCTED.iter().filter(|row| row.0 == fixture).collect();
        let read = check_reading(&fixture, &event, &rows);
        for Notification { notified, .. } in &read {
            assert_eq!(notified.as_ref().unwrap().at.to_string(), "2025-06-01T00:00:10.123Z", "{fixture}");
        }
        check_outcome(&fixture, &event, &rows, &read).await;
    }
}

#[test]
fn the_guard_lets_pass_what_the_constructed_notifications_ask_for() {
    let allow = vec!["*.example.internal".parse().unwrap()];
    let guard = Guard::new(GuardSettings { allow, ..GuardSettings::default() });
    for (fixture, urls, .., outcome) in &CONSTRUCTED {
        for url in *urls {
            let passes = guard.check(url).is_ok();
            assert_eq!(passes, !matches!(outcome, Fails(["guard", ..])), "{fixture}: {url}");
        }
    }
}

/// A function event of what was recorded: the event itself, or one record of SQS with what was delivered by HTTP.
fn recorded_event(fixture: &Value) -> Value {
    let Some(body) = fixture.get("body") else { return fixture["event"].clone() };
    json!({"Records": [{"body": body.to_string()}]})
}

#[tokio::test]
async fn every_recorded_sns_message_is_read_and_without_directive_ignored() {
    let Some(folder) = recorded("sns") else { return };
    assert_every_fixture_has_a_row(&folder, RECORDED_SNS.iter().map(|row| row.0));
    for row in &RECORDED_SNS {
        let event = recorded_event(&fixtures::read(&folder, row.0));
        let read = check_reading(row.0, &event, &[row]);
        check_outcome(row.0, &event, &[row], &read).await;
    }
}

#[tokio::test]
async fn every_recorded_webhook_body_is_read_as_a_json_message() {
    let Some(folder) = recorded("webhook") else { return };
    assert_every_fixture_has_a_row(&folder, RECORDED_WEBHOOKS.iter().map(|row| row.0));
    for row in &RECORDED_WEBHOOKS {
        let mut body = fixtures::read(&folder, row.0)["body"].take();
        let sns = |body: &Value| json!({"Records": [{"Sns": {"Subject": "datadog", "Message": body.to_string(), "Timestamp": "2025-06-01T00:00:10.123Z"}}]});
        let read = check_reading(row.0, &sns(&body), &[row]);
        check_outcome(row.0, &sns(&body), &[row], &read).await;
        // The same with a directive, as its author would have written it.
        body["with"] = json!(format!("circuit-breaker-callback: {A}"));
        let world = World::start().await;
        let monitor = fixtures::text(&constructed("api"), "monitor_v1_simple");
        world.monitor_answers(row.2.unwrap(), [ok(monitor)]);
        world.handle(&sns(&body)).await.unwrap_or_else(|error| panic!("{}: {error}", row.0));
        let callbacks = world.callbacks();
        let [Callback { monitor_id, event_id, notified: Some(Notified { transition, .. }), .. }] =
            &callbacks[..]
        else {
            panic!("{}: {callbacks:?}", row.0)
        };
        assert_eq!(
            (Some(*monitor_id), event_id.clone()),
            (row.2, row.3.map(|id| id.to_string())),
            "{}",
            row.0
        );
        assert_eq!(*transition, row.4, "{}", row.0);
    }
}
