//! The scheduled run: what it reads, what it sends where, and what it does when something on the way fails.

use crate::bootstrap::{killed, line};
use crate::world::{AMPLE, CALLBACK_PATH, World, ok, steps, verified};
use axum::Router;
use axum::extract::State;
use cutout_cli::fake_datadog::{FakeDatadog, Fault, sns_event};
use cutout_core::report::{Callback, Inventory, Reason};
use cutout_lambda::datadog::{PAGE_SIZE, PAGES_MAX};
use cutout_lambda::function::{CALLS_AT_ONCE_MAX, CALLS_PER_HOST_MAX, HOST_FAILURES_MAX, InvocationError};
use cutout_tests::binaries::binary;
use cutout_tests::doubles::{Answer, Asked};
use cutout_tests::runtime_api::RuntimeApi;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

const LIST: &str = "/api/v1/monitor";
/// 42 s after the clock of [`World`]'s Datadog.
const LATER: &str = "Sun, 01 Jun 2025 00:01:00 GMT";

fn asked_for() -> Value {
    json!({"cutout": "reconcile"})
}

/// A managed monitor with one group, as the list shows it. `{a}` and `{b}` in its message stand for the services' URLs.
fn monitor(world: &World, id: u64, message: &str) -> Value {
    let [a, b] = [0, 1].map(|n| format!("{}{CALLBACK_PATH}", world.services[n].url()));
    json!({
        "id": id, "name": format!("monitor {id}"), "type": "query alert", "overall_state": "Alert", "multi": true,
        "message": message.replace("{a}", &a).replace("{b}", &b), "tags": ["team:x", "cutout"],
        "state": {"groups": {"bank_code:0001": {"status": "Alert", "last_triggered_ts": 1_748_736_005}}},
    })
}

fn page(monitors: &[Value]) -> Answer {
    ok(json!(monitors).to_string())
}

fn page_later(monitors: &[Value]) -> Answer {
    Answer::new(200, json!(monitors).to_string()).header("date", LATER)
}

impl World {
    /// The pages of the list; after them every further page is empty, and a little later.
    fn lists(&self, pages: impl IntoIterator<Item = Answer>) {
        self.datadog.answer(LIST, pages.into_iter().chain([page_later(&[])]));
    }

    async fn reconcile(&self) -> Result<(), InvocationError> {
        self.handle(&asked_for()).await
    }

    /// What a service received: callbacks and inventories, each in the order of arrival.
    fn received(&self, service: usize) -> (Vec<Callback>, Vec<Inventory>) {
        let asked = self.services[service].asked();
        let (inventories, callbacks): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_inventory);
        (callbacks.iter().map(verified).collect(), inventories.iter().map(verified).collect())
    }

    /// The monitors that a service was told about, in order of their numbers, and how many inventories it got.
    fn told(&self, service: usize) -> (Vec<u64>, usize) {
        let (callbacks, inventories) = self.received(service);
        let mut ids: Vec<_> = callbacks.iter().map(|callback| callback.monitor_id).collect();
        ids.sort_unstable();
        (ids, inventories.len())
    }
}

fn is_inventory(asked: &Asked) -> bool {
    serde_json::from_slice::<Value>(&asked.body).unwrap()["schema"] == "cutout.inventory/1"
}

const TO_A: &str = "circuit-breaker-callback: {a}";

#[tokio::test]
async fn schedules_and_the_own_word_ask_for_a_run_and_nothing_else_does() {
    for (event, runs) in [
        (asked_for(), true),
        (json!({"cutout": "reconcile", "note": 1}), true),
        (
            json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}),
            true,
        ),
        (
            json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"}),
            true,
        ),
        (json!({"detail-type": "Scheduled Event", "source": "com.example"}), false),
        (json!({"detail-type": "EC2 Instance State-change Notification", "source": "aws.events"}), false),
        (json!({"cutout": "other"}), false),
        (json!({"cutout": null}), false),
        (json!("reconcile"), false),
    ] {
        let world = World::start().await;
        world.lists([page(&[monitor(&world, 1, TO_A)])]);
        assert_eq!(world.handle(&event).await.is_ok(), runs, "{event}");
        assert_eq!(world.told(0), if runs { (vec![1], 1) } else { (vec![], 0) }, "{event}");
    }
}

#[tokio::test]
async fn every_page_is_read_and_each_report_is_as_old_as_its_page() {
    let world = World::start().await;
    let later = page_later(&[monitor(&world, 7, TO_A)]);
    world.lists([page(&[monitor(&world, 9, TO_A), monitor(&world, 8, TO_A)]), later]);
    world.reconcile().await.unwrap();

    let asked: Vec<_> = world.datadog.asked().into_iter().map(|asked| asked.path).collect();
    let path = |page: usize| {
        format!(
            "{LIST}?group_states=all&with_downtimes=true&monitor_tags=cutout&page={page}&page_size={PAGE_SIZE}"
        )
    };
    assert_eq!(asked, [path(0), path(1), path(2)]);
    let (mut callbacks, _) = world.received(0);
    callbacks.sort_by_key(|callback| callback.monitor_id);
    let read: Vec<_> = callbacks
        .iter()
        .map(|callback| (callback.monitor_id, callback.report.as_ref().unwrap().as_of.to_string()))
        .collect();
    let [first, second] = ["2025-06-01T00:00:18Z", "2025-06-01T00:01:00Z"].map(str::to_owned);
    assert_eq!(read, [(7, second), (8, first.clone()), (9, first)]);
}

#[tokio::test]
async fn a_callback_is_that_of_a_notification_without_hint_and_event() {
    let world = World::start().await;
    world.lists([page(&[monitor(&world, 9, TO_A)])]);
    world.reconcile().await.unwrap();
    // The same monitor, read alone after a notification.
    world.monitor_answers(9, [ok(monitor(&world, 9, TO_A).to_string())]);
    let footer = "Monitor Status: https://app.datadoghq.com/monitors/9";
    let message = format!("circuit-breaker-callback: {}{CALLBACK_PATH}\n{footer}", world.services[0].url());
    world.handle(&json!({"Records": [{"Sns": {"Message": message}}]})).await.unwrap();

    let (callbacks, _) = world.received(0);
    let [scheduled, notified] = &callbacks[..] else { panic!("{callbacks:?}") };
    assert_eq!(scheduled, &Callback { reason: Reason::Reconcile, ..notified.clone() });
    assert!(scheduled.report.is_some() && scheduled.notified.is_none() && scheduled.event.is_none());
    let body = serde_json::to_value(scheduled).unwrap();
    assert_eq!([&body["reason"], &body["event_id"]], [&json!("reconcile"), &json!(null)]);
}

#[tokio::test]
async fn only_monitors_that_bear_the_bare_tag_count() {
    let world = World::start().await;
    let tagged = |id: u64, tags: Value| {
        let mut monitor = monitor(&world, id, TO_A);
        monitor["tags"] = tags;
        monitor
    };
    world.lists([page(&[
        tagged(1, json!(["cutout"])),
        tagged(2, json!(["cutout:bank"])),
        tagged(3, json!(["a:b", "CutOut"])),
        tagged(4, json!([])),
        tagged(5, json!(null)),
        tagged(6, json!(["cutout2", "team:cutout"])),
    ])]);
    world.reconcile().await.unwrap();
    assert_eq!(world.told(0), (vec![1, 3], 1));
    assert_eq!(world.received(0).1[0].monitor_ids, [1, 3]);
}

#[tokio::test]
async fn a_monitor_that_two_pages_show_counts_once_as_it_was_read_last() {
    let world = World::start().await;
    let mut again = monitor(&world, 1, TO_A);
    again["overall_state"] = json!("OK");
    let mut untagged = monitor(&world, 2, TO_A);
    untagged["tags"] = json!([]);
    let later = page_later(&[again, untagged]);
    world.lists([page(&[monitor(&world, 1, TO_A), monitor(&world, 2, TO_A)]), later]);
    world.reconcile().await.unwrap();
    let (callbacks, inventories) = world.received(0);
    let [Callback { monitor_id: 1, report: Some(report), .. }] = &callbacks[..] else {
        panic!("{callbacks:?}")
    };
    assert_eq!(report.monitor.overall_state.as_deref(), Some("OK"));
    assert_eq!(inventories[0].monitor_ids, [1]);
}

#[tokio::test]
async fn a_url_is_called_if_it_is_literal_and_allowed() {
    for (message, to_a, to_b) in [
        ("nothing to see", 0, 0),
        ("circuit-breaker-callback: {a} @sns-x", 1, 0),
        (
            "{{#is_alert}}circuit-breaker-callback: {a}{{/is_alert}}{{#is_recovery}}circuit-breaker-callback: {a}{{/is_recovery}}",
            1,
            0,
        ),
        (
            "{{#is_alert}}circuit-breaker-callback: {a}{{else}}circuit-breaker-callback: {b}{{/is_alert}}",
            1,
            1,
        ),
        ("{{!-- circuit-breaker-callback: {a} --}}circuit-breaker-callback: {b}", 0, 1),
        ("circuit-breaker-callback: {a}/{{bank_code.name}}\ncircuit-breaker-callback: {b}", 0, 1),
        ("circuit-breaker-callback: https://evil.example/cb\ncircuit-breaker-callback: {b}", 0, 1),
        (
            "circuit-breaker-callback:\ncircuit-breaker-callback: {b}#twice circuit-breaker-callback: {b}",
            0,
            1,
        ),
    ] {
        let world = World::start().await;
        world.lists([page(&[monitor(&world, 1, message)])]);
        world.reconcile().await.unwrap_or_else(|error| panic!("{message}: {error}"));
        let told = [0, 1].map(|service| world.told(service));
        assert_eq!(told, [to_a, to_b].map(|calls| (vec![1; calls], calls)), "{message}");
    }
}

#[tokio::test]
async fn a_complete_run_ends_with_one_inventory_for_each_url() {
    let world = World::start().await;
    world.services[1].answer("/other", [Answer::new(200, "")]);
    let later = page_later(&[monitor(&world, 3, "no directive")]);
    let two_paths = format!(
        "circuit-breaker-callback: {{b}} circuit-breaker-callback: {}/other",
        world.services[1].url()
    );
    world.lists([
        page(&[monitor(&world, 20, TO_A), monitor(&world, 11, &two_paths), monitor(&world, 5, TO_A)]),
        later,
    ]);
    world.reconcile().await.unwrap();
    for (service, expected) in [(0, vec![CALLBACK_PATH]), (1, vec![CALLBACK_PATH, "/other"])] {
        let mut inventories = world.received(service).1;
        inventories.sort_by(|one, other| one.to.cmp(&other.to));
        let url = world.services[service].url();
        let expected = expected.into_iter().map(|path| Inventory {
            schema: "cutout.inventory/1".to_owned(),
            as_of: "2025-06-01T00:00:18Z".parse().unwrap(),
            to: format!("{url}{path}"),
            monitor_ids: vec![3, 5, 11, 20],
        });
        assert_eq!(inventories, expected.collect::<Vec<_>>());
        let asked = world.services[service].asked();
        let first_inventory = asked.iter().position(is_inventory).unwrap();
        assert!(asked[first_inventory..].iter().all(is_inventory), "inventories come last");
    }
}

#[tokio::test]
async fn a_run_over_nothing_sends_nothing_and_is_well() {
    let world = World::start().await;
    world.lists([]);
    world.reconcile().await.unwrap();
    assert!(world.callbacks().is_empty());
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn the_work_is_the_same_whether_or_not_anything_changed() {
    let world = World::start().await;
    let requests =
        || [&world.datadog, &world.services[0], &world.services[1]].map(|double| double.asked().len());
    let mut before = [0; 3];
    for status in ["Alert", "Alert", "OK"] {
        let mut changed = monitor(&world, 1, "circuit-breaker-callback: {a} circuit-breaker-callback: {b}");
        changed["state"]["groups"]["bank_code:0001"]["status"] = json!(status);
        world.lists([page(&[changed, monitor(&world, 2, TO_A)])]);
        world.reconcile().await.unwrap();
        let after = requests();
        let [datadog, a, b] = [0, 1, 2].map(|n| after[n] - before[n]);
        assert_eq!((datadog, a, b), (2, 3, 2), "{status}");
        before = after;
    }
}

#[tokio::test]
async fn what_a_service_answers_does_not_fail_the_run() {
    for status in [422, 401, 404, 503] {
        let world = World::start().await;
        world.services[0].answer(CALLBACK_PATH, [Answer::new(status, "")]);
        let to_b = TO_A.replace("{a}", "{b}");
        world.lists([page(&[monitor(&world, 1, TO_A), monitor(&world, 2, &to_b), monitor(&world, 3, TO_A)])]);
        world.reconcile().await.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!((world.told(0), world.told(1)), ((vec![1, 3], 1), (vec![2], 1)), "{status}");
    }
}

#[tokio::test]
async fn a_host_that_is_down_is_left_alone_after_three_failures_and_others_are_served() {
    const MONITORS: u64 = 40;
    for (status, left_alone) in [(503, true), (429, true), (422, false), (404, false)] {
        let world = World::start().await;
        world.services[0].answer(CALLBACK_PATH, [Answer::new(status, "")]);
        let both = "circuit-breaker-callback: {a} circuit-breaker-callback: {b}";
        let monitors: Vec<_> = (1..=MONITORS).map(|id| monitor(&world, id, both)).collect();
        world.lists([page(&monitors)]);
        world.reconcile().await.unwrap();
        let (ids, inventories) = world.told(0);
        // Those that were under way already may come too.
        let at_most = if left_alone { HOST_FAILURES_MAX + CALLS_PER_HOST_MAX - 1 } else { 40 };
        let at_least = if left_alone { HOST_FAILURES_MAX } else { 40 };
        assert!((at_least..=at_most).contains(&ids.len()), "{status}: {ids:?}");
        assert_eq!(inventories, usize::from(!left_alone), "{status}");
        assert_eq!(world.told(1), ((1..=MONITORS).collect(), 1), "{status}");
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_read_fails_the_run_after_what_was_read_is_sent() {
    for (fault, retryable) in [
        (Answer::new(403, "{}"), false),
        (Answer::new(404, "{}"), false),
        (Answer::new(429, "{}"), true),
        (Answer::new(502, "<html>"), true),
        (ok("<html>"), true),
        (ok("{}"), true),
        (ok("[{\"name\": \"without a number\", \"tags\": [\"cutout\"]}]"), true),
    ] {
        let world = World::start().await;
        world.datadog.answer(LIST, [page(&[monitor(&world, 1, TO_A)]), fault]);
        let outcome = world.reconcile().await;
        let error = outcome.as_ref().unwrap_err();
        assert!(error.to_string().contains("page 1 of the managed monitors"), "{error}");
        assert_eq!((error.is_retryable(), error.kind().as_str()), (retryable, "Cutout.list"), "{error}");
        assert_eq!(steps(outcome), ["list"]);
        assert_eq!(world.told(0), (vec![1], 0));
    }
}

#[tokio::test]
async fn a_page_that_does_not_come_leaves_time_to_send_what_was_read() {
    let world = World::start().await;
    world.datadog.answer(LIST, [page(&[monitor(&world, 1, TO_A)]), Answer::hang()]);
    let outcome = world.function().handle(asked_for(), Instant::now() + Duration::from_secs(4)).await;
    assert_eq!(steps(outcome), ["list"]);
    assert_eq!(world.told(0), (vec![1], 0));
}

#[tokio::test]
async fn a_list_without_end_is_read_to_a_limit() {
    let world = World::start().await;
    world.datadog.answer(LIST, [page(&[monitor(&world, 1, TO_A)])]);
    let outcome = world.reconcile().await;
    assert!(!outcome.as_ref().unwrap_err().is_retryable());
    assert_eq!(steps(outcome), ["list"]);
    assert_eq!(world.reads(), usize::try_from(PAGES_MAX).unwrap());
    assert_eq!(world.told(0), (vec![1], 0));
}

#[tokio::test]
async fn a_monitor_that_the_list_does_not_tell_costs_no_other_and_is_there() {
    let world = World::start().await;
    let mut untold = monitor(&world, 1, TO_A);
    untold["state"] = json!({});
    let mut odd = monitor(&world, 2, TO_A);
    odd["state"] = json!(["odd"]);
    world.lists([page(&[untold, odd, monitor(&world, 3, TO_A)])]);
    world.reconcile().await.unwrap();
    assert_eq!(world.told(0), (vec![3], 1));
    assert_eq!(world.received(0).1[0].monitor_ids, [1, 2, 3]);
}

#[tokio::test]
async fn a_report_too_large_for_a_callback_is_not_sent_and_costs_no_other() {
    let world = World::start().await;
    let group = |n: usize| (format!("bank_code:{n},note:{}", "x".repeat(200)), json!({"status": "Alert"}));
    let mut large = monitor(&world, 1, TO_A);
    large["state"]["groups"] = Value::Object((0..9_000).map(group).collect());
    world.lists([page(&[large, monitor(&world, 2, TO_A)])]);
    world.reconcile().await.unwrap();
    assert_eq!(world.told(0), (vec![2], 1));
}

#[tokio::test]
async fn rate_limits_are_respected_where_there_is_time() {
    let limited = |secs: &str| Answer::new(429, "{}").header("X-RateLimit-Reset", secs);
    let last_one = |answer: Answer, secs: &str| {
        answer.header("X-Ratelimit-Remaining", "0").header("X-Ratelimit-Reset", secs)
    };
    for (what, reads, complete) in [
        ("429 on the second page", 4, true),
        ("429 twice", 3, false),
        ("429 for an hour", 2, false),
        ("none remaining", 3, true),
        ("none remaining for an hour", 1, false),
    ] {
        let world = World::start().await;
        let [one, two] = [1, 2].map(|id| page(&[monitor(&world, id, TO_A)]));
        world.lists(match what {
            "429 on the second page" => vec![one, limited("1"), two],
            "429 twice" => vec![one, limited("0"), limited("0"), two],
            "429 for an hour" => vec![one, limited("3600"), two],
            "none remaining" => vec![last_one(one, "1"), two],
            _ => vec![last_one(one, "3600"), two],
        });
        let outcome = world.reconcile().await;
        assert_eq!((outcome.is_ok(), world.reads()), (complete, reads), "{what}: {outcome:?}");
        assert_eq!(world.told(0), if complete { (vec![1, 2], 1) } else { (vec![1], 0) }, "{what}");
    }
}

#[tokio::test]
async fn what_is_not_sent_in_time_is_an_error_and_there_is_no_inventory() {
    let world = World::start().await;
    world.services[0].answer(CALLBACK_PATH, [Answer::hang()]);
    let to_b = TO_A.replace("{a}", "{b}");
    let monitors: Vec<_> =
        (1..=10).map(|id| monitor(&world, id, if id > 6 { &to_b } else { TO_A })).collect();
    world.lists([page(&monitors)]);
    let outcome = world.function().handle(asked_for(), Instant::now() + Duration::from_secs(4)).await;
    let error = outcome.unwrap_err();
    // Four hang, and two have never been started.
    assert!(error.to_string().contains("6 callbacks"), "{error}");
    assert!(error.is_retryable());
    assert_eq!(world.services[0].asked().len(), CALLS_PER_HOST_MAX);
    assert_eq!(world.told(1), ((7..=10).collect(), 0));
}

/// Services that keep what comes waiting until so much of it is there, and count the most that ever was.
struct Crowd {
    wanted: usize,
    inside: AtomicUsize,
    most: AtomicUsize,
    /// It has no permit to give; once it is closed, nobody waits for one.
    gate: Semaphore,
}

/// Enough for everything that is under way on this thread to go on.
const TURNS: usize = 1_000;

async fn enter(State(crowd): State<Arc<Crowd>>) {
    let inside = crowd.inside.fetch_add(1, Ordering::SeqCst) + 1;
    crowd.most.fetch_max(inside, Ordering::SeqCst);
    if inside >= crowd.wanted {
        crowd.gate.close();
    }
    let _ = crowd.gate.acquire().await;
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    crowd.inside.fetch_sub(1, Ordering::SeqCst);
}

/// The most callbacks that were under way at a time to so many hosts, and whether the run was well.
async fn most_at_once(hosts: u8, wanted: usize) -> (usize, bool) {
    const MONITORS_PER_HOST: usize = 20;
    let (inside, most, gate) = (AtomicUsize::new(0), AtomicUsize::new(0), Semaphore::new(0));
    let crowd = Arc::new(Crowd { wanted, inside, most, gate });
    let mut urls = Vec::new();
    for host in 1..=hosts {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 1, host), 0)).await.unwrap();
        urls.push(format!("circuit-breaker-callback: http://{}/", listener.local_addr().unwrap()));
        let router = Router::new().fallback(enter).with_state(crowd.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }
    let world = World::start().await;
    let messages = urls.iter().flat_map(|url| std::iter::repeat_n(url, MONITORS_PER_HOST)).zip(1..);
    let monitors: Vec<_> = messages.map(|(message, id)| monitor(&world, id, message)).collect();
    world.lists([page(&monitors)]);
    let well = world.reconcile().await.is_ok();
    (crowd.most.load(Ordering::SeqCst), well)
}

#[tokio::test]
async fn a_host_gets_few_callbacks_at_a_time() {
    assert_eq!(most_at_once(1, CALLS_PER_HOST_MAX).await, (4, true));
}

#[tokio::test]
async fn all_hosts_together_get_many_callbacks_at_a_time() {
    assert_eq!(most_at_once(10, CALLS_AT_ONCE_MAX).await, (32, true));
}

/// What EventBridge sends.
fn schedule() -> Value {
    json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "123456789012", "time": "2025-06-01T00:00:00Z", "region": "ap-northeast-1",
        "resources": ["arn:aws:events:ap-northeast-1:123456789012:rule/cutout-reconcile"], "detail": {}
    })
}

/// A page of managed monitors and one more, of all kinds, and one that is not managed. Returns how many are managed.
fn create_monitors_of_all_kinds(datadog: &FakeDatadog, [a, b]: [&str; 2]) -> u64 {
    let managed = u64::try_from(PAGE_SIZE).unwrap() + 1;
    for id in 1..=managed + 1 {
        datadog.create_monitor(id, "Bank API", if id > managed { &["team:x"] } else { &["cutout"] });
        datadog.set(id, "bank_code:0001", "OK");
        datadog.set_message(
            id,
            &match id {
                1 => format!("{a}/undeclared"),
                2 => format!("{a}/{{{{bank_code.name}}}}"),
                3..=12 => format!("{b}{CALLBACK_PATH}"),
                _ => format!("{a}{CALLBACK_PATH}"),
            },
        );
    }
    managed
}

#[tokio::test]
async fn the_binary_runs_on_a_schedule_and_tells_all_numbers() {
    let world = World::start().await;
    world.services[0].answer("/undeclared", [Answer::new(422, "")]);
    world.services[1].answer(CALLBACK_PATH, [Answer::new(503, "")]);
    let [a, b] = [0, 1].map(|n| format!("circuit-breaker-callback: {}", world.services[n].url()));
    let datadog = FakeDatadog::start().await.unwrap();
    let managed = create_monitors_of_all_kinds(&datadog, [&a, &b]);
    let api = RuntimeApi::start().await;
    let mut command = api.command(&binary("bootstrap"));
    command.envs(world.variables()).env("CUTOUT_DATADOG_URL", datadog.url());
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let schedule = schedule();
    assert_eq!(api.invoke(schedule.clone(), AMPLE).await, Ok(Value::Null));
    assert_eq!((datadog.reads().list, datadog.reads().monitor), (3, 0));
    assert_eq!(world.told(0), (std::iter::once(1).chain(13..=managed).collect(), 2));
    let (tried, inventories) = world.told(1);
    assert!((HOST_FAILURES_MAX..10).contains(&tried.len()) && inventories == 0, "{tried:?}");

    // A notification goes through between two runs.
    let change = datadog.set(20, "bank_code:0001", "Alert");
    let alert = sns_event(&[change], &format!("{a}{CALLBACK_PATH}"));
    assert_eq!(api.invoke(alert, AMPLE).await, Ok(Value::Null));

    datadog.fail_list_page(1, Some(Fault::BadGateway));
    let error = api.invoke(schedule, AMPLE).await.unwrap_err();
    assert_eq!(error["errorType"], "Cutout.list");
    assert_eq!(datadog.reads().list, 5);

    // The process polls for the next invocation again, so it has logged all of the last one.
    assert_eq!(api.invoke(json!({"Records": []}), AMPLE).await, Ok(Value::Null));
    let log = killed(child).await;
    let runs: Vec<_> = log.iter().filter(|line| line["message"] == "reconciled").collect();
    assert_eq!(runs.len(), 2, "{log:?}");
    assert_eq!((&runs[0]["level"], runs[0]["ms"].is_u64()), (&json!("INFO"), true));
    for (number, expected) in [
        ("monitors", managed),
        ("unreadable", 0),
        ("urls", 3),
        ("templates_skipped", 1),
        ("sent", managed - 12),
        ("refused", 2),
        ("failed", tried.len() as u64),
        ("skipped_hosts", 1),
        ("skipped", 11 - tried.len() as u64),
        ("unsent", 0),
        ("inventories", 1),
    ] {
        assert_eq!(runs[0][number], expected, "{number}: {}", runs[0]);
    }
    let warnings =
        |text: &str| log.iter().filter(|line| line["level"] == "WARN" && line["message"] == text).count();
    assert_eq!(warnings("the callback host failed too often: it gets nothing more in this run"), 2);
    assert_eq!(
        warnings("a callback URL with template variables is skipped: write it out in the monitor's message"),
        2
    );
    let failures = |run: &Value| run["refused"].as_u64().unwrap() + run["failed"].as_u64().unwrap();
    let failures: u64 = runs.iter().map(|run| failures(run)).sum();
    assert_eq!(warnings("not delivered by this run") as u64, failures);
    assert_eq!(line(&log, "callback committed")["reason"], "notification");
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.len() == 1 && errors[0]["step"] == "list", "{errors:?}");
    for hidden in ["canary", "undeclared", CALLBACK_PATH] {
        assert!(!format!("{log:?}").contains(hidden), "{hidden}: {log:?}");
    }
}
