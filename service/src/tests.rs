//! The service against the memory store: what a sender is answered and what is then in the store.

use crate::callback::{BODY_MAX_BYTES, CALLBACK_PATH};
use crate::{Breakers, Parts, Service};
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::response::Response;
use cutout_core::webhook::{self, Secret};
use cutout_core::{BreakerId, Cause, Declared, MonitorSeen, Pause, Policy, State};
use cutout_flags::{
    Change, Committed, MemoryStore, Position, Published, Read, Snapshot, Store, StoreError, Stored, Term,
    Write,
};
use http::{Request, StatusCode, header};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicI64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower::ServiceExt;

mod bounds;
mod files;
mod page;
mod people;
mod readiness;
mod staleness;

const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const MONITOR: u64 = 5_200_001;
const DEADLINE: Duration = Duration::from_secs(20);
/// Short enough to wait for in a test.
const RAMP_MS: i64 = 300;

/// `bank-charge` by bank for one monitor and a tag, `fleet` for all monitors from 100 to 131.
fn breakers() -> Breakers {
    let text = format!(
        "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\n\
         monitors = {{ ids = [{MONITOR}], tags = [\"cutout:bank\"] }}\n\
         [[breaker]]\nname = \"fleet\"\nmonitors = {{ ids = {:?} }}\n",
        (100..132).collect::<Vec<u64>>()
    );
    let mut breakers = crate::breakers::parse("b.toml", &text).unwrap();
    for declaration in &mut breakers.declarations {
        (declaration.policy.min_open_ms, declaration.policy.ramp_ms) = (0, RAMP_MS);
    }
    breakers
}

fn secret() -> Secret {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
}

fn service(store: Arc<dyn Store>) -> Service {
    service_of(store, breakers())
}

fn service_of(store: Arc<dyn Store>, breakers: Breakers) -> Service {
    let public_url = Some(URL.parse().unwrap());
    Service::new(Parts { store, breakers, secrets: vec![secret()], public_url })
}

/// The same breakers with other settings.
fn breakers_with(revision: u64, change: impl Fn(&mut Policy)) -> Breakers {
    let mut breakers = Breakers { revision, ..breakers() };
    breakers.declarations.iter_mut().for_each(|declaration| change(&mut declaration.policy));
    breakers
}

/// A running service; it stops when this is dropped.
struct Running(tokio::task::JoinHandle<()>);

impl Running {
    fn start(service: &Service) -> Running {
        Running(tokio::spawn(service.run()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A store whose clock runs ahead of this machine's as far as a test says.
fn shifted_store() -> (MemoryStore, Arc<AtomicI64>) {
    let shift_ms = Arc::new(AtomicI64::new(0));
    let shift = Arc::clone(&shift_ms);
    let clock = move || Timestamp::now().as_millisecond() + shift.load(SeqCst);
    (MemoryStore::with_clock(Arc::new(clock)), shift_ms)
}

/// A callback whose groups all changed `ago_s` seconds before now.
fn callback(monitor_id: u64, groups: &[(&str, &str)], ago_s: i64) -> Value {
    let now = Timestamp::now();
    let tags = |name: &str| serde_json::to_value(cutout_core::tags::Tags::parse(name)).unwrap();
    let groups = groups.iter().map(|(name, status)| {
        json!({"name": name, "tags": tags(name), "status": status, "changed_at": now - ago_s.seconds(), "muted": false})
    });
    json!({
        "schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": URL,
        "event_id": "6618108885455469409", "monitor_id": monitor_id, "notified": null, "event": null,
        "report": {
            "as_of": now - ago_s.seconds(),
            "monitor": {"name": "Bank API", "type": "query alert", "tags": ["cutout:bank"], "url": ""},
            "groups": groups.collect::<Vec<_>>(),
        },
    })
}

/// The same as a notification alone: no report.
fn hint(monitor_id: u64, bank: &str) -> Value {
    let mut callback = callback(monitor_id, &[], 0);
    callback["report"] = Value::Null;
    callback["notified"] =
        json!({"at": Timestamp::now(), "transition": "alert", "tags": {"bank_code": [bank]}});
    callback
}

fn signed(body: impl Into<Vec<u8>>) -> Request<Body> {
    let (body, now_secs) = (body.into(), Timestamp::now().as_second());
    let id = webhook::message_id(URL, &body);
    Request::post(CALLBACK_PATH)
        .header(webhook::TIMESTAMP_HEADER, now_secs.to_string())
        .header(webhook::SIGNATURE_HEADER, webhook::sign(&[secret()], &id, now_secs, &body))
        .header(webhook::ID_HEADER, id)
        .body(Body::from(body))
        .unwrap()
}

async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = to_bytes(response.into_body(), 65_536).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn send(service: &Service, callback: &Value) -> (StatusCode, Value) {
    answer(service.router().oneshot(signed(callback.to_string())).await.unwrap()).await
}

async fn flags(store: &dyn Store) -> BTreeMap<String, Published> {
    let flags = store.snapshot().await.unwrap().flags;
    flags.into_iter().map(|(id, published)| (id.as_str().to_owned(), published)).collect()
}

fn id(name: &str) -> BreakerId {
    BreakerId::from_stored(name.to_owned())
}

#[tokio::test]
async fn a_callback_opens_its_breaker_alone_and_the_same_again_writes_nothing() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    let body = callback(MONITOR, &[("bank_code:0001", "Alert"), ("bank_code:0002", "OK")], 5);
    assert_eq!(send(&service, &body).await, (StatusCode::OK, json!({"applied": 2, "changed": 2})));
    let states = flags(&*store).await;
    assert_eq!(states["bank-charge/0001"].flag.state, State::Open);
    assert_eq!(states["bank-charge/0002"].flag.state, State::Closed);

    let ids = [id("bank-charge/0001"), id("bank-charge/0002")];
    let before = store.read(&ids, Some(MONITOR)).await.unwrap();
    assert_eq!(send(&service, &body).await, (StatusCode::OK, json!({"applied": 2, "changed": 0})));
    let after = store.read(&ids, Some(MONITOR)).await.unwrap();
    assert_eq!((after.breakers, after.monitor), (before.breakers, before.monitor));
}

#[tokio::test]
async fn a_later_report_of_the_same_is_remembered_but_is_no_change_for_callers() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    send(&service, &callback(MONITOR, &[("bank_code:0001", "Alert")], 60)).await;
    let shown = async || {
        let published = flags(&*store).await["bank-charge/0001"].clone();
        (published.rev, published.flag.state, published.flag.since_ms)
    };
    let before = shown().await;
    let later = send(&service, &callback(MONITOR, &[("bank_code:0001", "Alert")], 5)).await;
    assert_eq!(later, (StatusCode::OK, json!({"applied": 1, "changed": 0})));
    assert_eq!(shown().await, before);
    // What was remembered of it makes a report from between the two an old one.
    send(&service, &callback(MONITOR, &[("bank_code:0001", "OK")], 30)).await;
    assert_eq!(shown().await, before);
}

#[tokio::test]
async fn what_is_not_acceptable_is_turned_away_and_reaches_no_store() {
    let body = callback(MONITOR, &[("bank_code:0001", "Alert")], 5);
    let with = |key: &str, value: Value| {
        let mut changed = body.clone();
        changed[key] = value;
        signed(changed.to_string())
    };
    let header = |name: &'static str, value: Option<String>| {
        let mut request = signed(body.to_string());
        request.headers_mut().remove(name);
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    };
    let dated = |shift_s: i64| {
        let (text, sent) = (body.to_string(), Timestamp::now().as_second() + shift_s);
        let mut request = signed(text.clone());
        let signature = webhook::sign(&[secret()], "msg_1", sent, text.as_bytes());
        for (name, value) in [
            (webhook::ID_HEADER, "msg_1".to_owned()),
            (webhook::TIMESTAMP_HEADER, sent.to_string()),
            (webhook::SIGNATURE_HEADER, signature),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    };
    let other = webhook::sign(&["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap()], "m", 0, b"");
    let cases = [
        ("no signature", header(webhook::SIGNATURE_HEADER, None), 401),
        ("no id", header(webhook::ID_HEADER, None), 401),
        ("no timestamp", header(webhook::TIMESTAMP_HEADER, None), 401),
        ("another secret", header(webhook::SIGNATURE_HEADER, Some(other)), 401),
        ("another id than signed", header(webhook::ID_HEADER, Some("msg_2".into())), 401),
        ("old", dated(-310), 401),
        ("of the future", dated(310), 401),
        ("another URL", with("to", json!("https://service-b.example/dd_circuit_breaker/callback")), 401),
        ("no URL", with("to", json!("service-a")), 401),
        ("not JSON", signed("{"), 400),
        ("no monitor", with("monitor_id", Value::Null), 400),
        ("another schema", with("schema", json!("cutout.callback/2")), 400),
        ("a reason of tomorrow", with("reason", json!("whim")), 400),
        ("too large", signed(vec![b' '; BODY_MAX_BYTES + 1]), 413),
    ];
    for (case, request, status) in cases {
        let store = Arc::new(MemoryStore::new());
        let (answered, told) = answer(service(store.clone()).router().oneshot(request).await.unwrap()).await;
        assert_eq!(answered.as_u16(), status, "{case}: {told}");
        assert!(told["error"].is_string(), "{case}: {told}");
        let untouched = store.snapshot().await.unwrap();
        assert!(untouched.meta.is_none() && untouched.flags.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_taken() {
    let mut body = callback(MONITOR, &[("bank_code:0001", "Alert")], 5).to_string().into_bytes();
    body.resize(BODY_MAX_BYTES, b' ');
    let service = service(Arc::new(MemoryStore::new()));
    let (status, told) = answer(service.router().oneshot(signed(body)).await.unwrap()).await;
    assert_eq!((status, told), (StatusCode::OK, json!({"applied": 1, "changed": 1})));
}

#[tokio::test]
async fn an_equal_url_written_otherwise_is_the_same_url() {
    let mut body = callback(MONITOR, &[("bank_code:0001", "Alert")], 5);
    body["to"] = json!("HTTPS://Service-A.example:443/dd_circuit_breaker/callback");
    assert_eq!(send(&service(Arc::new(MemoryStore::new())), &body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_monitor_that_nobody_listens_to_is_422_and_leaves_no_trace() {
    let store = Arc::new(MemoryStore::new());
    let mut body = callback(7, &[("bank_code:0001", "Alert")], 5);
    body["report"]["monitor"]["tags"] = json!([]);
    let (status, told) = send(&service(store.clone()), &body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(told["error"].as_str().unwrap().contains("no breaker is declared for monitor 7"), "{told}");
    assert!(flags(&*store).await.is_empty());
    assert_eq!(store.read(&[], Some(7)).await.unwrap().monitor, None);
}

#[tokio::test]
async fn a_hint_finds_its_breaker_by_the_monitors_tags_once_a_report_told_them() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    assert_eq!(send(&service, &hint(7, "0009")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // The report matches `cutout:bank` by the monitor's own tags.
    assert_eq!(send(&service, &callback(7, &[("bank_code:0001", "OK")], 5)).await.0, StatusCode::OK);
    let answer = send(&service, &hint(7, "0009")).await;
    assert_eq!(answer, (StatusCode::OK, json!({"applied": 1, "changed": 1})));
    assert_eq!(flags(&*store).await["bank-charge/0009"].flag.state, State::Open);
}

#[tokio::test]
async fn a_hint_that_changes_nothing_makes_no_breaker() {
    let store = Arc::new(MemoryStore::new());
    let mut old = hint(MONITOR, "0001");
    old["notified"]["at"] = json!(Timestamp::now() - 2.minutes());
    let answer = send(&service(store.clone()), &old).await;
    assert_eq!(answer, (StatusCode::OK, json!({"applied": 1, "changed": 0})));
    assert!(flags(&*store).await.is_empty());
}

#[tokio::test]
async fn more_groups_than_one_script_holds_are_all_committed() {
    let names: Vec<String> = (0..1200).map(|n| format!("bank_code:{n}")).collect();
    let groups: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "Alert")).collect();
    let store = Arc::new(MemoryStore::new());
    let answer = send(&service(store.clone()), &callback(MONITOR, &groups, 5)).await;
    assert_eq!(answer, (StatusCode::OK, json!({"applied": 1200, "changed": 1200})));
    let flags = flags(&*store).await;
    assert!(flags.len() == 1200 && flags.values().all(|published| published.flag.state == State::Open));
}

/// An inventory that was read `ago_s` seconds before now.
fn inventory(monitor_ids: &[u64], ago_s: i64) -> Value {
    let as_of = Timestamp::now() - ago_s.seconds();
    json!({"schema": "cutout.inventory/1", "as_of": as_of, "to": URL, "monitor_ids": monitor_ids})
}

#[tokio::test]
async fn a_group_that_two_reports_lack_has_vanished_and_no_longer_keeps_its_breaker_open() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    send(&service, &callback(MONITOR, &[("bank_code:0001", "Alert"), ("bank_code:0002", "OK")], 200)).await;
    send(&service, &callback(MONITOR, &[("bank_code:0002", "OK")], 100)).await;
    assert_eq!(flags(&*store).await["bank-charge/0001"].flag.state, State::Open);
    let second = send(&service, &callback(MONITOR, &[("bank_code:0002", "OK")], 40)).await;
    assert_eq!(second, (StatusCode::OK, json!({"applied": 2, "changed": 1})));
    let flag = flags(&*store).await["bank-charge/0001"].flag.clone();
    assert_eq!((flag.state, flag.ramp), (State::HalfOpen, None));
}

#[tokio::test]
async fn a_managed_monitor_that_two_inventories_lack_has_vanished_and_others_have_not() {
    const UNMANAGED: u64 = 5_200_009;
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    let mut managed = callback(MONITOR, &[("bank_code:0001", "Alert")], 200);
    managed["reason"] = json!("reconcile");
    send(&service, &managed).await;
    // By its tag; no scheduled run brings it, so none can miss it.
    send(&service, &callback(UNMANAGED, &[("bank_code:0002", "Alert")], 200)).await;
    for (ago_s, listed) in [(150, &[MONITOR][..]), (100, &[]), (30, &[])] {
        assert_eq!(flags(&*store).await["bank-charge/0001"].flag.state, State::Open, "{ago_s} s ago");
        assert_eq!(send(&service, &inventory(listed, ago_s)).await.0, StatusCode::OK);
    }
    let flags = flags(&*store).await;
    assert_eq!(flags["bank-charge/0001"].flag.state, State::HalfOpen);
    assert_eq!(flags["bank-charge/0002"].flag.state, State::Open);
}

#[tokio::test]
async fn an_inventory_is_judged_like_a_callback() {
    let service = service(Arc::new(MemoryStore::new()));
    let mut elsewhere = inventory(&[], 0);
    elsewhere["to"] = json!("https://other.example/");
    assert_eq!(send(&service, &elsewhere).await.0, StatusCode::UNAUTHORIZED);
    let mut cut = inventory(&[], 0);
    cut["monitor_ids"] = Value::Null;
    assert_eq!(send(&service, &cut).await.0, StatusCode::BAD_REQUEST);
    let known = send(&service, &inventory(&[MONITOR], 0)).await;
    assert_eq!(known, (StatusCode::OK, json!({"applied": 0, "changed": 0})));
}

#[tokio::test]
async fn many_monitors_at_once_on_one_breaker_are_all_heard() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    let mut senders = tokio::task::JoinSet::new();
    for monitor_id in 100..132 {
        let service = service.clone();
        senders.spawn(async move { send(&service, &callback(monitor_id, &[("*", "Alert")], 5)).await.0 });
    }
    assert_eq!(senders.join_all().await, vec![StatusCode::OK; 32]);
    for monitor_id in 100..131 {
        assert_eq!(send(&service, &callback(monitor_id, &[("*", "OK")], 4)).await.0, StatusCode::OK);
    }
    assert_eq!(flags(&*store).await["fleet"].flag.state, State::Open, "one of them still fires");
    assert_eq!(send(&service, &callback(131, &[("*", "OK")], 4)).await.0, StatusCode::OK);
    assert_eq!(flags(&*store).await["fleet"].flag.state, State::HalfOpen);
}

#[tokio::test]
async fn after_a_loss_of_all_data_the_breakers_are_declared_again() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    let body = callback(MONITOR, &[("bank_code:0001", "Alert")], 5);
    send(&service, &body).await;
    store.lose_everything();
    assert_eq!(send(&service, &body).await.1, json!({"applied": 1, "changed": 1}));
    let meta = store.snapshot().await.unwrap().meta.unwrap();
    assert_eq!(meta.declared, breakers().declared());
}

/// What a [`Disturbed`] store does on its way.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    /// Nothing.
    None,
    /// Writes `bank-charge/0001` before the first commit, as another instance would.
    Rival,
    /// The same after the next snapshot, and never again.
    RivalAfterSnapshot,
    /// Loses all data before the first commit.
    Loss,
    /// The rival before the first commit, the loss before the second.
    RivalThenLoss,
    /// Says of every write that somebody else was faster.
    Race,
    /// Does not answer.
    Away,
    /// Cannot read the record of `bank-charge/0002`.
    Foreign,
    /// Panics when it is asked to read.
    Panic,
}

/// A memory store with a disturbance, which notes what it was asked to read.
#[derive(Debug)]
struct Disturbed {
    inner: MemoryStore,
    disturbance: Mutex<Disturbance>,
    commits: AtomicUsize,
    reads: Mutex<Vec<Vec<BreakerId>>>,
}

impl Disturbed {
    fn new(disturbance: Disturbance) -> Arc<Disturbed> {
        let (commits, reads) = (AtomicUsize::new(0), Mutex::default());
        let disturbance = Mutex::new(disturbance);
        Arc::new(Disturbed { inner: MemoryStore::new(), disturbance, commits, reads })
    }

    fn disturbance(&self) -> Disturbance {
        *self.disturbance.lock().unwrap()
    }

    fn disturb(&self, disturbance: Disturbance) {
        *self.disturbance.lock().unwrap() = disturbance;
    }

    fn reads(&self) -> Vec<Vec<BreakerId>> {
        self.reads.lock().unwrap().clone()
    }
}

#[async_trait]
impl Store for Disturbed {
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError> {
        self.inner.declare(declared).await
    }

    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError> {
        self.reads.lock().unwrap().push(ids.to_vec());
        match self.disturbance() {
            Disturbance::Away => Err(StoreError::unreachable("reading", "connection refused")),
            Disturbance::Foreign => {
                let mut read = self.inner.read(ids, monitor_id).await?;
                for (_, stored) in
                    ids.iter().zip(&mut read.breakers).filter(|(one, _)| **one == id("bank-charge/0002"))
                {
                    *stored = None;
                    read.unreadable.insert(id("bank-charge/0002"));
                }
                Ok(read)
            }
            Disturbance::Panic => panic!("a defect of the store"),
            _ => self.inner.read(ids, monitor_id).await,
        }
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        self.inner.monitors().await
    }

    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError> {
        let before = self.commits.fetch_add(1, SeqCst);
        match (self.disturbance(), before) {
            (Disturbance::Rival | Disturbance::RivalThenLoss, 0) => {
                let rival = service(Arc::new(self.inner.clone()));
                send(&rival, &callback(MONITOR, &[("bank_code:0001", "Alert")], 9)).await;
            }
            (Disturbance::Loss, 0) | (Disturbance::RivalThenLoss, 1) => self.inner.lose_everything(),
            (Disturbance::Race, _) => return Ok(Committed::Taken(vec![false; writes.len()])),
            _ => {}
        }
        self.inner.commit(term, writes).await
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        self.inner.set_pause(pause, cause, at_ms).await
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let snapshot = self.inner.snapshot().await;
        if let Disturbance::RivalAfterSnapshot = self.disturbance() {
            self.disturb(Disturbance::None);
            let rival = service(Arc::new(self.inner.clone()));
            send(&rival, &callback(MONITOR, &[("bank_code:0001", "Alert")], 5)).await;
        }
        snapshot
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        self.inner.tail(position, wait).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}

#[tokio::test]
async fn only_what_lost_a_race_is_read_and_decided_again() {
    let store = Disturbed::new(Disturbance::Rival);
    let groups = [("bank_code:0001", "OK"), ("bank_code:0002", "Alert")];
    let mut body = callback(MONITOR, &groups, 5);
    body["report"]["monitor"]["tags"] = json!(["cutout:bank"]);
    let answered = send(&service(store.clone()), &body).await;
    assert_eq!(answered, (StatusCode::OK, json!({"applied": 2, "changed": 2})));
    let both = vec![id("bank-charge/0001"), id("bank-charge/0002")];
    let reads = store.reads();
    assert_eq!(reads.first(), reads.get(1), "the first round declares");
    assert_eq!(reads[1..], [both, vec![id("bank-charge/0001")]]);
    let states = flags(&store.inner).await;
    // The rival's older report opened it; ours is the newer one.
    assert_eq!(states["bank-charge/0001"].flag.state, State::HalfOpen);
    assert_eq!(states["bank-charge/0002"].flag.state, State::Open);
}

#[tokio::test]
async fn data_lost_between_read_and_write_are_written_whole_in_the_next_round() {
    for disturbance in [Disturbance::Loss, Disturbance::RivalThenLoss] {
        let store = Disturbed::new(disturbance);
        let body = callback(MONITOR, &[("bank_code:0001", "Alert"), ("bank_code:0002", "OK")], 5);
        let answered = send(&service(store.clone()), &body).await;
        assert_eq!(answered, (StatusCode::OK, json!({"applied": 2, "changed": 2})), "{disturbance:?}");
        let known: Vec<String> = flags(&store.inner).await.into_keys().collect();
        assert_eq!(known, ["bank-charge/0001", "bank-charge/0002"], "{disturbance:?}");
        assert!(store.read(&[], Some(MONITOR)).await.unwrap().monitor.is_some(), "{disturbance:?}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_take_it_is_503_and_come_again() {
    for disturbance in [Disturbance::Race, Disturbance::Away] {
        let store = Disturbed::new(disturbance);
        let body = callback(MONITOR, &[("bank_code:0001", "Alert")], 5).to_string();
        let response = service(store.clone()).router().oneshot(signed(body)).await.unwrap();
        assert!(response.headers().contains_key(header::RETRY_AFTER), "{disturbance:?}");
        let (status, told) = answer(response).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{disturbance:?}");
        assert!(!told.to_string().contains("refused"), "no internals: {told}");
        assert!(flags(&store.inner).await.is_empty(), "{disturbance:?}");
    }
}

/// Waits until the flag of `bank-charge/0001` has this state in the store.
async fn wait_for(store: &MemoryStore, state: State) {
    let started = Instant::now();
    while flags(store).await.get("bank-charge/0001").is_none_or(|published| published.flag.state != state) {
        assert!(started.elapsed() < DEADLINE, "never {state}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn half_open_ends_in_the_store_by_itself_and_once_with_two_instances() {
    let store = MemoryStore::new();
    let instances = [service(Arc::new(store.clone())), service(Arc::new(store.clone()))];
    let running = instances.clone().map(|instance| tokio::spawn(instance.run()));
    for round in 0..3 {
        let (alert_s, recovery_s) = (60 - 20 * round, 50 - 20 * round);
        send(&instances[0], &callback(MONITOR, &[("bank_code:0001", "Alert")], alert_s)).await;
        send(&instances[1], &callback(MONITOR, &[("bank_code:0001", "OK")], recovery_s)).await;
        wait_for(&store, State::Closed).await;
        // Open, half-open, closed: three changes a round, and none besides.
        assert_eq!(flags(&store).await["bank-charge/0001"].rev, 3 * (round as u64 + 1));
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_the_timers_could_not_write_stays_due_until_they_can() {
    let store = Disturbed::new(Disturbance::None);
    let service = service(store.clone());
    let running = tokio::spawn(service.run());
    for disturbance in [Disturbance::Away, Disturbance::Race] {
        send(&service, &callback(MONITOR, &[("bank_code:0001", "Alert")], 9)).await;
        send(&service, &callback(MONITOR, &[("bank_code:0001", "OK")], 5)).await;
        store.disturb(disturbance);
        let (before, started) = (store.reads().len(), Instant::now());
        while store.reads().len() < before + 3 {
            assert!(started.elapsed() < DEADLINE, "{disturbance:?}: not tried again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(flags(&store.inner).await["bank-charge/0001"].flag.state, State::HalfOpen);
        store.disturb(Disturbance::None);
        wait_for(&store.inner, State::Closed).await;
        store.inner.lose_everything();
    }
    running.abort();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_holds_up_no_other_timer() {
    let store = Disturbed::new(Disturbance::None);
    let service = service(store.clone());
    for (status, ago_s) in [("Alert", 9), ("OK", 5)] {
        let groups = [("bank_code:0001", status), ("bank_code:0002", status)];
        send(&service, &callback(MONITOR, &groups, ago_s)).await;
    }
    store.disturb(Disturbance::Foreign);
    let running = tokio::spawn(service.run());
    wait_for(&store.inner, State::Closed).await;
    assert_eq!(flags(&store.inner).await["bank-charge/0002"].flag.state, State::HalfOpen);
    running.abort();
}

#[tokio::test]
async fn a_record_that_cannot_be_read_holds_up_no_other_and_the_callback_comes_again() {
    let store = Disturbed::new(Disturbance::None);
    let service = service(store.clone());
    let both =
        |status, ago_s| callback(MONITOR, &[("bank_code:0001", status), ("bank_code:0002", status)], ago_s);
    send(&service, &both("OK", 9)).await;
    store.disturb(Disturbance::Foreign);
    assert_eq!(send(&service, &both("Alert", 5)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let states = flags(&store.inner).await;
    let states = ["0001", "0002"].map(|bank| states[&format!("bank-charge/{bank}")].flag.state);
    assert_eq!(states, [State::Open, State::Closed], "what cannot be read is not overwritten");
    store.disturb(Disturbance::None);
    assert_eq!(send(&service, &both("Alert", 5)).await.1, json!({"applied": 2, "changed": 1}));
}

#[tokio::test]
async fn a_hint_that_no_report_agrees_with_lapses_in_the_store() {
    // The timers go by the store's clock.
    let (store, shift_ms) = shifted_store();
    let service = service(Arc::new(store.clone()));
    send(&service, &hint(MONITOR, "0001")).await;
    wait_for(&store, State::Open).await;
    shift_ms.store(cutout_core::hint::HINT_HOLD_MS + RAMP_MS, SeqCst);
    let running = tokio::spawn(service.run());
    wait_for(&store, State::Closed).await;
    running.abort();
}

#[tokio::test]
async fn the_mountable_router_has_the_callback_and_nothing_else() {
    let service = service(Arc::new(MemoryStore::new()));
    for (router, path, status) in [
        (service.router(), "/healthz", 404),
        (service.router(), "/readyz", 404),
        (service.router(), CALLBACK_PATH, 405),
        (service.readiness(), "/healthz", 200),
        (service.readiness(), "/readyz", 503),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let shown = format!("{:?}", service(Arc::new(MemoryStore::new())));
    assert!(shown.contains("bank-charge") && !shown.contains("MfKQ"), "{shown}");
}
