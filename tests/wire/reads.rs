//! Every known answer of Datadog, and the report, the event or the error that is read from it.

use crate::fixtures::{self, assert_every_fixture_has_a_row, constructed, recorded};
use crate::world::{AMPLE, AS_OF, DATE, MONITOR_ID, World};
use cutout_core::report::{Event, Report};
use cutout_lambda::Settings;
use cutout_lambda::datadog::{Datadog, ReadError, ReadFailure};
use cutout_tests::canary;
use cutout_tests::doubles::Answer;
use serde_json::Value;
use std::time::Instant;

/// What is read from an answer.
enum Read {
    /// A report with these groups: `name status changed_at`, and `muted` if it is.
    Report(&'static [&'static str]),
    /// A monitor whose groups are not told.
    Untold,
    /// An event: `title | date_happened | tags | url`.
    Event(&'static str),
    /// An error: its name, and whether reading again may help.
    Fails(&'static str, bool),
    /// The answer to another request than this function makes.
    Other,
}
use Read::{Event as AnEvent, Fails, Other, Report as AReport, Untold};

const EVENT_PAGE: &str = "https://app.datadoghq.com/event/event";

#[rustfmt::skip]
const CONSTRUCTED: [(&str, Read); 20] = [
    ("errors", Other), // a list of its own, below
    ("event_v1_alert", AnEvent("[Triggered on {bank_code:0001,env:prod}] Bank API error rate | 2025-06-01T00:00:05Z | bank_code:0001,env:prod,monitor,source:alert | ?event_id=7700000000000000001")),
    ("event_v1_groups_one_string", AnEvent("[Triggered on {bank_code:0001,env:prod}] Bank API error rate | 2025-06-01T00:00:05Z | bank_code:0001,env:prod,monitor,source:alert | ?event_id=7700000000000000004")),
    ("event_v1_not_a_monitor", AnEvent("deploy | 2025-06-01T00:00:05Z | source:my_apps | ?event_id=7700000000000000005")),
    ("event_v1_old_shape", AnEvent("[Triggered on {bank_code:0001,env:prod}] Bank API error rate | 2025-06-01T00:00:05Z | bank_code:0001,env:prod,monitor,source:alert | ?event_id=7700000000000000006")),
    ("event_v1_recovery", AnEvent("[Recovered on {bank_code:0001,env:prod}] Bank API error rate | 2025-06-01T00:00:05Z | bank_code:0001,env:prod,monitor,source:alert | ?event_id=7700000000000000003")),
    ("event_v1_simple", AnEvent("[Triggered] Bank API error rate | 2025-06-01T00:00:05Z | env:prod,monitor,source:alert | ?event_id=7700000000000000018")),
    ("event_v1_warn", AnEvent("[Warn on {bank_code:0001,env:prod}] Bank API error rate | 2025-06-01T00:00:05Z | bank_code:0001,env:prod,monitor,source:alert | ?event_id=7700000000000000002")),
    ("monitor_v1_composite", AReport(&["* Alert -"])),
    ("monitor_v1_groups_alert_warn", AReport(&["bank_code:0001,env:prod Alert 2025-06-01T00:00:05Z", "bank_code:0002,env:prod Warn 2025-05-31T23:58:20Z"])),
    ("monitor_v1_groups_all", AReport(&[
        "bank_code:0001,env:prod Alert 2025-06-01T00:00:05Z",
        "bank_code:0001,env:stg Ignored -",
        "bank_code:0002,env:prod Warn 2025-05-31T23:58:20Z",
        "bank_code:0003,env:prod OK 2025-05-31T15:00:00Z",
        "bank_code:0004,env:prod No Data 2025-05-31T11:13:20Z",
        "bank_code:0005,env:prod Skipped -",
        "env:prod,bank_code:0006 Unknown -",
    ])),
    ("monitor_v1_groups_empty", AReport(&[])),
    ("monitor_v1_muted", Untold),
    ("monitor_v1_no_state_key", Untold),
    ("monitor_v1_overall_state_null", Untold),
    ("monitor_v1_service_check", AReport(&["bank_code:0001 Alert 2025-06-01T00:00:05Z"])),
    ("monitor_v1_simple", AReport(&["* Alert 2025-06-01T00:00:05Z"])),
    ("monitor_v1_sparse_group", AReport(&["bank_code:0001,env:prod Alert -"])),
    ("monitor_v1_stale_star_group", AReport(&["bank_code:0001,env:prod OK 2019-04-07T17:43:43Z"])),
    ("monitor_v1_unknown_type_and_state", AReport(&["bank_code:0001,env:prod Paused -"])),
];

#[rustfmt::skip]
const RECORDED: [(&str, Read); 39] = [
    ("error_403_api_key_required", Fails("Forbidden", false)),
    ("error_403_short", Fails("Forbidden", false)),
    ("error_429_body", Fails("RateLimited 1", true)),
    ("error_429_ratelimit_headers", Fails("RateLimited 1", true)),
    ("error_502", Fails("Status 502", true)),
    ("event_v1_get_200_2020_host_null", AnEvent("test no hostname | 2020-02-03T16:23:09Z |  | ?id=5309722505343306076")),
    ("event_v1_get_200_2020_markdown", AnEvent("Testing events from dogshell | 2020-02-03T16:23:01Z | tag:a,tag:b | ?id=5309722366481886321")),
    ("event_v1_get_200_2020_with_host", AnEvent("test host | 2020-02-03T16:22:48Z | test_tag:3 | ?id=5309722144615820235")),
    ("event_v1_get_200_after_24s", AnEvent("Test-TestEventLifecycle-1658732894 | 2022-07-25T07:08:15Z | client:go,source:my_apps,test | ?event_id=6618108885455469409")),
    ("event_v1_get_200_monitor_alert_2023_partial", AnEvent(" | 2023-03-22T10:32:26Z |  | ?id=6966206777400000001")),
    ("event_v1_get_403", Fails("Forbidden", false)),
    ("event_v1_get_404", Fails("NotFound", true)),
    ("event_v1_get_404_not_yet_1", Fails("NotFound", true)),
    ("event_v1_get_404_not_yet_2", Fails("NotFound", true)),
    ("event_v1_get_404_not_yet_3", Fails("NotFound", true)),
    ("event_v1_get_404_not_yet_4", Fails("NotFound", true)),
    ("event_v1_list_200", Other),
    ("event_v1_list_monitor_alert_aggregate_2021", Other),
    ("event_v1_post_202", Other),
    ("event_v2_list_200", Other),
    ("event_v2_monitor_warning_recovery_2026", Other),
    ("event_v2_post_202", Other),
    ("monitor_groups_search_200", Other),
    ("monitor_v1_get_200_2020", AReport(&["* No Data - muted"])),
    ("monitor_v1_get_200_2023_metric_alert", Untold),
    ("monitor_v1_get_200_after_edit", Untold),
    ("monitor_v1_get_200_group_states_all_2019", AReport(&["host:web-1,host:web-2 Warn 2019-04-07T17:43:43Z"])),
    ("monitor_v1_get_200_group_states_docs_2016", AReport(&["host:host0 Alert 2016-12-16T17:26:00Z"])),
    ("monitor_v1_get_200_log_alert", Untold),
    ("monitor_v1_get_200_synthetics", AReport(&["* No Data -"])),
    ("monitor_v1_get_200_with_downtime", Untold),
    ("monitor_v1_get_400_bad_group_states", Fails("Status 400", false)),
    ("monitor_v1_get_403", Fails("Forbidden", false)),
    ("monitor_v1_get_404", Fails("NotFound", false)),
    ("monitor_v1_get_404_2023", Fails("NotFound", false)),
    ("monitor_v1_get_404_with_ratelimit", Fails("NotFound", false)),
    ("monitor_v1_list_200_page", Other),
    ("monitor_v1_post_200_assets_draft_2025", Other),
    ("monitor_v1_put_200_type_changed", Other),
];

pub(crate) fn datadog(world: &World) -> Datadog {
    Datadog::new(Settings::read(world.variables()).unwrap().datadog, None).unwrap()
}

async fn monitor(world: &World, answer: Answer) -> Result<Report, ReadError> {
    // The last answer stays: a rate limit that is waited for comes back.
    world.monitor_answers(MONITOR_ID, [answer]);
    datadog(world).monitor(MONITOR_ID, Instant::now() + AMPLE).await
}

async fn event(world: &World, id: u64, answer: Answer) -> Result<Event, ReadError> {
    world.event_answers(id, [answer]);
    datadog(world).event(id, Instant::now() + AMPLE).await
}

fn lines(report: &Report) -> Vec<String> {
    let line = |group: &cutout_core::report::Group| {
        assert_eq!(group.tags, cutout_core::Tags::parse(&group.name));
        let changed_at = group.changed_at.map_or("-".to_owned(), |at| at.to_string());
        let muted = if group.muted { " muted" } else { "" };
        format!("{} {} {changed_at}{muted}", group.name, group.status.as_str())
    };
    report.groups.iter().map(line).collect()
}

fn name(error: &ReadError) -> String {
    match &error.cause {
        ReadFailure::Forbidden { .. } => "Forbidden".to_owned(),
        ReadFailure::NotFound => "NotFound".to_owned(),
        ReadFailure::RateLimited { reset_secs } => format!("RateLimited {}", reset_secs.unwrap()),
        ReadFailure::Status { status } => format!("Status {status}"),
        other => panic!("{other}"),
    }
}

/// Reads an answer as the answer to `file`'s request, and compares. `body` is the monitor or event, parsed.
async fn check(file: &str, read: &Read, answer: Answer, body: &Value) {
    let world = World::start().await;
    match read {
        AReport(groups) => {
            let report = monitor(&world, answer).await.unwrap_or_else(|error| panic!("{file}: {error:?}"));
            assert_eq!(lines(&report), *groups, "{file}");
            let told = (
                body["name"].as_str().unwrap(),
                body["type"].as_str().unwrap(),
                body["overall_state"].as_str(),
            );
            assert_eq!(
                (
                    report.monitor.name.as_str(),
                    report.monitor.kind.as_str(),
                    report.monitor.overall_state.as_deref()
                ),
                told,
                "{file}"
            );
            assert_eq!(report.monitor.tags.len(), body["tags"].as_array().map_or(0, Vec::len), "{file}");
            assert_eq!(
                report.monitor.url,
                format!("https://app.datadoghq.com/monitors/{MONITOR_ID}"),
                "{file}"
            );
        }
        Untold => {
            let error = monitor(&world, answer).await.unwrap_err();
            assert!(
                matches!(error.cause, ReadFailure::GroupsUntold) && error.is_retryable(),
                "{file}: {error:?}"
            );
        }
        AnEvent(expected) => {
            let event = event(&world, body["event"]["id"].as_u64().unwrap(), answer).await.unwrap();
            let url = event.url.strip_prefix(EVENT_PAGE).unwrap();
            let told =
                format!("{} | {} | {} | {url}", event.title, event.date_happened, event.tags.join(","));
            assert_eq!(told, *expected, "{file}");
            assert_eq!(event.text, body["event"]["text"].as_str().unwrap_or_default(), "{file}");
        }
        Fails(expected, retryable) => {
            let error = if file.starts_with("event") {
                event(&world, 1, answer).await.unwrap_err()
            } else {
                monitor(&world, answer).await.unwrap_err()
            };
            assert_eq!((name(&error).as_str(), error.is_retryable()), (*expected, *retryable), "{file}");
        }
        Other => {}
    }
}

#[tokio::test]
async fn every_constructed_answer_is_read_as_it_should_be() {
    let folder = constructed("api");
    assert_every_fixture_has_a_row(&folder, CONSTRUCTED.iter().map(|(file, _)| *file));
    for (file, read) in &CONSTRUCTED {
        let answer = crate::world::ok(fixtures::text(&folder, file));
        check(file, read, answer, &fixtures::read(&folder, file)).await;
    }
}

#[tokio::test]
async fn every_recorded_answer_is_read_as_it_should_be() {
    let Some(folder) = recorded("api") else { return };
    assert_every_fixture_has_a_row(&folder, RECORDED.iter().map(|(file, _)| *file));
    for (file, read) in &RECORDED {
        let response = fixtures::read(&folder, file)["response"].take();
        check(file, read, as_recorded(&response), &response["body"]).await;
    }
}

/// The answer with the very bytes and headers that were recorded, where they were.
fn as_recorded(response: &Value) -> Answer {
    let body = response["body_raw"].as_str().map_or_else(|| response["body"].to_string(), str::to_owned);
    let status = u16::try_from(response["status"].as_u64().unwrap_or(200)).unwrap();
    let headers = response["headers"].as_object().into_iter().flatten();
    let headers: Vec<_> = headers.map(|(name, value)| (name, value.as_str().unwrap())).collect();
    let dated = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("date"));
    let answer =
        headers.iter().fold(Answer::new(status, body), |answer, (name, value)| answer.header(name, value));
    if dated { answer } else { answer.header("date", DATE) }
}

#[tokio::test]
async fn every_constructed_error_is_known_for_what_it_is() {
    let errors = fixtures::read(&constructed("api"), "errors");
    let expected = [
        ("Status 400", false),
        ("Forbidden", false),
        ("Forbidden", false),
        ("Forbidden", false),
        ("NotFound", false),
        ("NotFound", false),
        ("RateLimited 3", true),
        ("Status 502", true),
        ("Status 503", true),
    ];
    assert_eq!(errors.as_array().unwrap().len(), expected.len());
    for (response, expected) in errors.as_array().unwrap().iter().zip(expected) {
        let world = World::start().await;
        world.monitor_answers(MONITOR_ID, [as_recorded(response)]);
        // No time to wait for the rate limit.
        let until = Instant::now() + std::time::Duration::from_secs(2);
        let error = datadog(&world).monitor(MONITOR_ID, until).await.unwrap_err();
        assert_eq!((name(&error).as_str(), error.is_retryable()), expected, "{response}");
        assert!(error.to_string().contains("monitor 7300001"), "{error}");
    }
}

#[tokio::test]
async fn a_read_asks_for_all_groups_with_both_keys() {
    let world = World::start().await;
    datadog(&world).monitor(MONITOR_ID, Instant::now() + AMPLE).await.unwrap();
    let asked = world.datadog.asked();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "GET"));
    assert_eq!(asked[0].path, "/api/v1/monitor/7300001?group_states=all&with_downtimes=true");
    let keys = (asked[0].header("dd-api-key"), asked[0].header("dd-application-key"));
    assert_eq!(keys, (canary::DD_API_KEY, canary::DD_APP_KEY));
    assert_eq!(asked[0].header("accept"), "application/json");
}

#[tokio::test]
async fn a_report_is_as_old_as_datadogs_answer_says() {
    let world = World::start().await;
    let body = fixtures::text(&constructed("api"), "monitor_v1_simple");
    let report = monitor(&world, Answer::new(200, body.clone()).header("date", DATE)).await.unwrap();
    assert_eq!(report.as_of.to_string(), AS_OF);
    // A proxy spoilt the header: better this clock than no report.
    let report = monitor(&world, Answer::new(200, body).header("date", "yesterday")).await.unwrap();
    assert!(report.as_of.as_second() > 1_763_000_000, "{}", report.as_of);
}

#[tokio::test]
async fn keys_are_not_carried_to_where_a_redirect_points() {
    let world = World::start().await;
    let elsewhere = format!("{}/x", world.services[0].url());
    let error = monitor(&world, Answer::new(302, "").header("location", &elsewhere)).await.unwrap_err();
    assert_eq!(name(&error), "Status 302");
    assert!(world.services[0].asked().is_empty());
}

#[tokio::test]
async fn an_answer_beyond_the_limit_or_that_is_not_json_is_an_error() {
    let world = World::start().await;
    let limit = cutout_lambda::datadog::MONITOR_BYTES_MAX;
    let error = monitor(&world, Answer::new(200, vec![b' '; limit + 1])).await.unwrap_err();
    assert!(
        matches!(error.cause, ReadFailure::TooLarge { limit_bytes } if limit_bytes == limit),
        "{error:?}"
    );
    assert!(!error.is_retryable());
    let error = monitor(&world, Answer::new(200, "<html>")).await.unwrap_err();
    assert!(matches!(error.cause, ReadFailure::Unreadable(_)), "{error:?}");
}
