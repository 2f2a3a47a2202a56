//! Core's rules, kept against both stores: whatever the order, doubling and lateness of callbacks, the service commits
//! to memory and to Redis what core alone decides, and that is what the freshest report and a usable hint say.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use cutout_core::webhook::{self, Secret};
use cutout_core::{BreakerId, State};
use cutout_flags::{MemoryStore, Store};
use cutout_service::callback::CALLBACK_PATH;
use cutout_service::{Parts, Service, breakers};
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use tower::ServiceExt;

/// How many histories each store sees.
const HISTORIES: u32 = 48;
const BREAKERS: &str = "[[breaker]]\nname = \"bank\"\nkey = [\"bank_code\"]\nmonitors = { ids = [1, 2] }\nmin_open = \"0s\"\nramp = \"24h\"\n";

/// One read of a monitor: when Datadog answered, and how far its read side lagged; seconds.
type ReadAt = (i64, i64);

/// What happened to bank 0001 as each of two monitors sees it, and what was read and sent of it. Seconds before now.
#[derive(Debug, Clone)]
struct History {
    /// For each monitor: the seconds at which it changed between Alert and OK, alert first.
    changes: [Vec<i64>; 2],
    reads: [Vec<ReadAt>; 2],
    /// When a message of monitor 1 was taken by SNS that tells an alert.
    hint_at: Option<i64>,
    order: Vec<Index>,
}

/// One callback to send: a report of a monitor, or the hint alone.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Report(usize, ReadAt),
    Hint(i64),
}

impl History {
    fn strategy() -> impl Strategy<Value = History> {
        let changes =
            || prop::collection::btree_set(200i64..600, 0..5).prop_map(|set| set.into_iter().rev().collect());
        let reads = || prop::collection::vec((100i64..200, 0i64..100), 1..4);
        // Clearly fresh or clearly old: the limit's edge is core's own test.
        let hint = prop::option::of(prop_oneof![0i64..40, 80i64..190]);
        let order = prop::collection::vec(any::<Index>(), 0..8);
        ([changes(), changes()], [reads(), reads()], hint, order)
            .prop_map(|(changes, reads, hint_at, order)| History { changes, reads, hint_at, order })
    }

    /// How a monitor's group stood so many seconds ago: when it changed to that, and whether it alerts.
    fn shown(&self, monitor: usize, ago: i64) -> (i64, bool) {
        let mut before = self.changes[monitor].iter().enumerate().filter(|(_, changed)| **changed >= ago);
        before.next_back().map_or((1_000, false), |(nth, changed)| (*changed, nth % 2 == 0))
    }

    /// All callbacks, some of them twice, in an arbitrary order.
    fn sent(&self) -> Vec<Sent> {
        let reports = (0..2)
            .flat_map(|monitor| self.reads[monitor].iter().map(move |read| Sent::Report(monitor, *read)));
        let mut all: Vec<Sent> = reports.chain(self.hint_at.map(Sent::Hint)).collect();
        for (place, index) in self.order.iter().enumerate() {
            let doubled = *index.get(&all);
            all.push(doubled);
            let (one, other) = (place % all.len(), index.index(all.len()));
            all.swap(one, other);
        }
        all
    }

    /// Whether the breaker must be open in the end: any monitor's freshest report alerts, or a fresh hint that no report
    /// has seen past.
    fn must_be_open(&self) -> bool {
        let freshest = |monitor: usize| {
            let ago = self.reads[monitor].iter().map(|(at, lag)| at + lag).min();
            ago.is_some_and(|ago| self.shown(monitor, ago).1)
        };
        // No report shows a change younger than 200 s, so none has seen past a hint of less than that.
        freshest(0) || freshest(1) || self.hint_at.is_some_and(|ago| ago < 60)
    }
}

fn callback(history: &History, sent: Sent, now: Timestamp) -> Value {
    let at = |ago: i64| (now - jiff::SignedDuration::from_secs(ago)).to_string();
    let monitor_id = match sent {
        Sent::Report(monitor, _) => monitor + 1,
        Sent::Hint(_) => 1,
    };
    let report = match sent {
        Sent::Report(monitor, (read, lag)) => {
            let (changed, alerts) = history.shown(monitor, read + lag);
            let status = if alerts { "Alert" } else { "OK" };
            json!({"as_of": at(read), "monitor": {}, "groups": [
                {"name": "bank_code:0001", "tags": {"bank_code": ["0001"]}, "status": status, "changed_at": at(changed)}]})
        }
        Sent::Hint(_) => Value::Null,
    };
    let notified = match sent {
        Sent::Hint(ago) => json!({"at": at(ago), "transition": "alert", "tags": {"bank_code": ["0001"]}}),
        Sent::Report(..) => Value::Null,
    };
    json!({"schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": "x", "event_id": null,
           "monitor_id": monitor_id, "notified": notified, "report": report, "event": null})
}

/// Sends a history's callbacks to a service on `store`, and gives the state that it committed.
async fn committed(store: Arc<dyn Store>, history: &History) -> State {
    let secret: Secret = canary::SIGNING_SECRET.parse().unwrap();
    let breakers = breakers::parse("breakers", BREAKERS).unwrap();
    let parts =
        Parts { store: Arc::clone(&store), breakers, secrets: vec![secret.clone()], public_url: None };
    let router = Service::new(parts).router();
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    for sent in history.sent() {
        let body = callback(history, sent, now).to_string();
        let (id, secs) = (webhook::message_id("x", body.as_bytes()), Timestamp::now().as_second());
        let signature = webhook::sign(std::slice::from_ref(&secret), &id, secs, body.as_bytes());
        let request = Request::post(CALLBACK_PATH)
            .header(webhook::ID_HEADER, id)
            .header(webhook::TIMESTAMP_HEADER, secs)
            .header(webhook::SIGNATURE_HEADER, signature)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let flags: BTreeMap<_, _> = store.snapshot().await.unwrap().flags.into_iter().collect();
    flags.get(&BreakerId::new("bank", &["0001"])).map_or(State::Closed, |published| published.flag.state)
}

fn check_all(stores: impl Fn() -> Arc<dyn Store>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = Cell::new(0);
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&History::strategy(), |history| {
        let state = runtime.block_on(committed(stores(), &history));
        opened.set(opened.get() + u32::from(state == State::Open));
        prop_assert_eq!(state == State::Open, history.must_be_open());
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        (1..HISTORIES).contains(&opened.get()),
        "both ends must have been seen, and {} opened",
        opened.get()
    );
}

#[test]
fn newer_wins_any_fires_and_the_hints_rule_hold_in_memory() {
    check_all(|| Arc::new(MemoryStore::new()));
}

#[test]
fn newer_wins_any_fires_and_the_hints_rule_hold_in_redis() {
    let server = RedisServer::start();
    let scopes = Cell::new(0);
    check_all(|| {
        scopes.set(scopes.get() + 1);
        cutout_flags::open(&server.url(), &format!("history-{}", scopes.get())).unwrap()
    });
}
