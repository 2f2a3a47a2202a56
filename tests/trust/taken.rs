//! What the libraries sign, the compiled service takes: it acts on it, once, for as long as the tolerance lasts.

use crate::library::{Language, Library, Message};
use cutout_core::webhook::TOLERANCE_SECS;
use cutout_tests::canary::{OTHER_SIGNING_SECRET, SIGNING_SECRET, THIRD_SIGNING_SECRET};
use cutout_tests::process::PATIENCE;
use cutout_tests::redis::RedisServer;
use cutout_tests::service::ServiceProcess;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const BREAKERS: &str = r#"
[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
"#;
/// Before a rotation.
const OLD: &str = SIGNING_SECRET;
/// And after it.
const NEW: &str = OTHER_SIGNING_SECRET;

/// A compiled service on a Redis of its own.
struct Owner {
    service: ServiceProcess,
    redis: RedisServer,
}

impl Owner {
    fn start(secrets: &[&str]) -> Owner {
        let redis = RedisServer::start();
        let more = [("CUTOUT_SIGNING_SECRETS", &*secrets.join(",")), ("CUTOUT_PUBLIC_URL", URL)];
        let service = ServiceProcess::start(&redis.url(), BREAKERS, &more);
        Owner { service, redis }
    }

    /// Status and body of the answer to a message.
    async fn post(&self, message: &Message) -> (u16, Value) {
        self.post_with(message, None).await
    }

    /// The same with a header more.
    async fn post_with(&self, message: &Message, more: Option<(&str, String)>) -> (u16, Value) {
        // Without TLS no provider is used, but the client wants to have one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}/dd_circuit_breaker/callback", self.service.at());
        let mut request = reqwest::Client::new().post(url).body(message.body.clone());
        for (name, value) in message.headers().into_iter().chain(more) {
            request = request.header(name, value);
        }
        let answer = request.send().await.expect("the service answers");
        let (status, body) = (answer.status().as_u16(), answer.text().await.expect("a body"));
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// The state of a bank's flag, as any client of Redis reads it; none if there is no flag.
    fn state(&self, bank: &str) -> Option<String> {
        let flag: Option<String> =
            self.redis.ask(&["HGET", "cutout:{default}:flags", &format!("bank-charge/{bank}")]);
        let flag: Value = serde_json::from_str(&flag?).expect("a flag is JSON");
        Some(flag["state"].as_str().expect("a state").to_owned())
    }

    /// How many changes and how many acts were written, the scope's revision, and every breaker's record.
    fn written(&self) -> (u64, u64, String, Vec<String>) {
        let length = |stream: &str| self.redis.ask(&["XLEN", &format!("cutout:{{default}}:{stream}")]);
        (
            length("changes"),
            length("audit"),
            self.redis.ask(&["HGET", "cutout:{default}:meta", "rev"]),
            self.redis.ask(&["HGETALL", "cutout:{default}:breakers"]),
        )
    }
}

/// The report of an alert of one bank, with a name that is not ASCII.
fn alert(bank: &str) -> String {
    let at = Timestamp::now() - 5.seconds();
    let callback = json!({
        "schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": URL,
        "event_id": "6618108885455469409", "monitor_id": 5_200_001, "notified": null, "event": null,
        "report": {
            "as_of": at,
            "monitor": {"name": "銀行API 🏦 <&>", "type": "query alert", "tags": [], "url": ""},
            "groups": [{"name": format!("bank_code:{bank}"), "tags": {"bank_code": [bank]},
                        "status": "Alert", "changed_at": at, "muted": false}],
        },
    });
    callback.to_string()
}

/// Each owner knows some of the secrets, each message bears the signatures of some: it is taken where they meet, and only
/// there does it open a breaker.
async fn is_taken_where_a_secret_is_shared(language: Language) {
    let mut library = Library::start(language);
    let owners = [&[OLD][..], &[NEW], &[OLD, NEW]].map(|known| (known, Owner::start(known)));
    let signers: [&[&str]; 6] =
        [&[OLD], &[NEW], &[OLD, NEW], &[NEW, OLD], &[THIRD_SIGNING_SECRET], &[THIRD_SIGNING_SECRET, NEW]];
    for (nth, signing) in signers.into_iter().enumerate() {
        let bank = format!("{nth:04}");
        let now_secs = Timestamp::now().as_second();
        let message = library.sign(signing, &format!("msg_{nth}"), now_secs, &alert(&bank));
        for (known, owner) in &owners {
            let meet = signing.iter().any(|secret| known.contains(secret));
            let case = format!("message {nth} of {language:?} to who knows {} secrets", known.len());
            let (status, answer) = owner.post(&message).await;
            assert_eq!(status, if meet { 200 } else { 401 }, "{case}: {answer}");
            assert_eq!(owner.state(&bank).as_deref(), meet.then_some("open"), "{case}: {answer}");
        }
    }
}

/// The very same bytes again, until their time is over.
async fn changes_nothing_again_and_lapses(language: Language) {
    let mut library = Library::start(language);
    let owner = Owner::start(&[OLD]);
    // So old that its time is over soon, and as young as a slow machine needs to post it first.
    let sent_secs = Timestamp::now().as_second() - TOLERANCE_SECS + 8;
    let message = library.sign(&[OLD], "msg_1", sent_secs, &alert("0001"));
    assert_eq!(owner.post(&message).await, (200, json!({"applied": 1, "changed": 1})));
    assert_eq!(owner.state("0001").as_deref(), Some("open"));
    let written = owner.written();
    let (started, mut replays) = (Instant::now(), 0);
    let (refused, at_secs) = loop {
        match owner.post(&message).await {
            (200, answer) => assert_eq!(answer, json!({"applied": 1, "changed": 0})),
            refused => break (refused, Timestamp::now().as_second()),
        }
        replays += 1;
        assert!(started.elapsed() < PATIENCE, "taken for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(refused.0, 401, "{}", refused.1);
    assert!(at_secs - sent_secs > TOLERANCE_SECS, "refused after {} s", at_secs - sent_secs);
    assert!(replays > 0, "the machine was too slow to replay it in time");
    assert_eq!(owner.written(), written, "after {replays} replays");
    assert!(library.verify(OLD, &message).is_err(), "the library's tolerance is the same");
}

#[tokio::test]
async fn a_message_with_a_header_twice_is_not_believed_even_if_both_are_right() {
    let owner = Owner::start(&[OLD]);
    let message =
        Library::start(Language::Python).sign(&[OLD], "msg_1", Timestamp::now().as_second(), &alert("0001"));
    for (name, value) in message.headers() {
        for value in [value, String::new()] {
            let (status, answer) = owner.post_with(&message, Some((name, value))).await;
            assert_eq!(status, 401, "{name}: {answer}");
            assert!(answer["error"].as_str().is_some_and(|told| told.contains(name)), "{answer}");
        }
    }
    assert_eq!(owner.state("0001"), None);
    assert_eq!(owner.post_with(&message, Some(("x-forwarded-for", "10.0.0.1".to_owned()))).await.0, 200);
}

#[tokio::test]
async fn what_python_signs_is_taken_where_a_secret_is_shared() {
    is_taken_where_a_secret_is_shared(Language::Python).await;
}

#[tokio::test]
async fn what_node_signs_is_taken_where_a_secret_is_shared() {
    is_taken_where_a_secret_is_shared(Language::Node).await;
}

#[tokio::test]
async fn what_python_signed_changes_nothing_again_and_lapses() {
    changes_nothing_again_and_lapses(Language::Python).await;
}

#[tokio::test]
async fn what_node_signed_changes_nothing_again_and_lapses() {
    changes_nothing_again_and_lapses(Language::Node).await;
}
