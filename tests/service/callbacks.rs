//! What a sender is answered, and what any Redis client then reads.

use crate::process::{ServiceProcess, command};
use crate::wire::{MONITOR, Raw, callback, get, head, post, send, signature, until, with};
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The published flag of a breaker, by a plain HGET.
pub(crate) async fn flag(redis: &RedisServer, breaker: &str) -> Option<Value> {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut hget = redis::cmd("HGET");
    hget.arg("cutout:{default}:flags").arg(breaker);
    let text: Option<String> = hget.query_async(&mut connection).await.unwrap();
    text.map(|text| serde_json::from_str(&text).expect("a flag is JSON"))
}

/// The states that the stream of changes shows for a breaker, oldest first.
pub(crate) async fn changes(redis: &RedisServer, breaker: &str) -> Vec<String> {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut xrange = redis::cmd("XRANGE");
    xrange.arg("cutout:{default}:changes").arg("-").arg("+");
    let entries: redis::streams::StreamRangeReply = xrange.query_async(&mut connection).await.unwrap();
    let states =
        entries.ids.iter().filter(|entry| entry.get::<String>("breaker").as_deref() == Some(breaker));
    let state = |entry: &redis::streams::StreamId| {
        let flag: Value = serde_json::from_str(&entry.get::<String>("flag").unwrap()).unwrap();
        flag["state"].as_str().unwrap().to_owned()
    };
    states.map(state).collect()
}

#[tokio::test]
async fn a_signed_callback_opens_the_breaker_for_every_reader_of_redis() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    let alert = callback("0001", "Alert", 5);
    let answer = send(service.at(), &alert).await;
    assert_eq!((answer.status, answer.body), (200, json!({"applied": 1, "changed": 1})));
    let open = flag(&redis, "bank-charge/0001").await.expect("the breaker has a flag");
    assert_eq!((&open["state"], &open["v"]), (&json!("open"), &json!(1)));

    let again = send(service.at(), &alert).await;
    assert_eq!((again.status, again.body), (200, json!({"applied": 1, "changed": 0})));
    assert_eq!(changes(&redis, "bank-charge/0001").await, ["open"]);

    let transition = service.lines_at_least(1, "transition");
    assert_eq!(transition.len(), 1, "{}", service.log());
    assert!(transition[0]["at_ms"].is_i64(), "{}", transition[0]);
    for (field, value) in [
        ("breaker", json!("bank-charge/0001")),
        ("from", json!("closed")),
        ("to", json!("open")),
        ("cause", json!("report")),
        ("monitor_id", json!(MONITOR)),
    ] {
        assert_eq!(transition[0][field], value, "{field}: {}", transition[0]);
    }
    let callbacks = service.lines_at_least(2, "callback");
    assert_eq!(callbacks.len(), 2);
    assert!(callbacks[0]["ms"].is_u64(), "{}", callbacks[0]);
    for (field, value) in
        [("result", json!("committed")), ("groups", json!(1)), ("changed", json!(1)), ("unkeyed", json!(0))]
    {
        assert_eq!(callbacks[0][field], value, "{field}: {}", callbacks[0]);
    }
}

#[tokio::test]
async fn what_is_not_acceptable_is_turned_away_and_nothing_reaches_redis() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    let (good, now_secs) = (callback("0001", "Alert", 5), Timestamp::now().as_second());
    let body = good.to_string().into_bytes();
    let signed = |body: &[u8]| signature(canary::SIGNING_SECRET, body, now_secs).to_vec();
    let send_signed = async |value: Value| {
        let body = value.to_string().into_bytes();
        post(service.at(), &signed(&body), body).await
    };
    let other_secret = signature(canary::OTHER_SIGNING_SECRET, &body, now_secs);
    let old = signature(canary::SIGNING_SECRET, &body, now_secs - 310);
    let answers = [
        ("unsigned", 401, post(service.at(), &[], body.clone()).await),
        ("another secret", 401, post(service.at(), &other_secret, body.clone()).await),
        ("another body than signed", 401, post(service.at(), &signed(&body), b"{}".to_vec()).await),
        ("old", 401, post(service.at(), &old, body.clone()).await),
        (
            "for another service",
            401,
            send_signed(with(good.clone(), "to", json!("https://b.example/"))).await,
        ),
        ("not JSON", 400, post(service.at(), &signed(b"{"), b"{".to_vec()).await),
        ("another schema", 400, send_signed(with(good.clone(), "schema", json!("cutout.callback/9"))).await),
        ("an unknown monitor", 422, send_signed(with(good, "monitor_id", json!(7))).await),
    ];
    for (case, status, answer) in answers {
        assert_eq!(answer.status, status, "{case}: {answer:?}");
        assert!(answer.body["error"].is_string(), "{case}: {answer:?}");
    }
    // Announced as too large: answered without a byte of it.
    let mut raw = Raw::connect(service.at()).await;
    let large = head(service.at(), b"", "").replace("content-length: 0", "content-length: 4194305");
    raw.write(large.as_bytes()).await;
    assert!(raw.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 413 "));
    assert_eq!(flag(&redis, "bank-charge/0001").await, None);
    assert_eq!(changes(&redis, "bank-charge/0001").await, [""; 0]);
    assert_eq!(service.lines_at_least(9, "callback").len(), 9, "one line each");
}

#[tokio::test]
async fn it_is_ready_once_the_breakers_are_declared() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    assert_eq!(get(service.at(), "/healthz").await, 200);
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut hget = redis::cmd("HGET");
    let declared: String =
        hget.arg("cutout:{default}:meta").arg("declared").query_async(&mut connection).await.unwrap();
    let declared: Value = serde_json::from_str(&declared).unwrap();
    let breakers = json!({"bank-charge": {"key": ["bank_code"]}, "watched": {"key": []}});
    assert_eq!(declared, json!({"revision": 0, "breakers": breakers}));
}

#[test]
fn without_settings_it_says_everything_that_is_missing_and_ends() {
    let output = command(&[("CUTOUT_BREAKER", "b.toml")]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    for name in [
        "CUTOUT_REDIS_URL is not set",
        "CUTOUT_BREAKERS is not set",
        "CUTOUT_SIGNING_SECRETS is not set",
        "did you mean CUTOUT_BREAKERS?",
    ] {
        assert!(told.contains(name), "{told}");
    }
}

/// As many at once as one instance works on. Each changes the flag, or comes after one that did.
#[tokio::test]
async fn many_callbacks_of_one_monitor_at_once_are_all_committed() {
    const AT_ONCE: i64 = 60;
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    let at = service.at();
    let mut sending = tokio::task::JoinSet::new();
    for nth in 0..AT_ONCE {
        let status = if nth % 2 == 0 { "Alert" } else { "OK" };
        let callback = callback("0001", status, AT_ONCE - nth);
        sending.spawn(async move { send(at, &callback).await.status });
    }
    let statuses = sending.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let flag = flag(&redis, "bank-charge/0001").await.expect("the breaker has a flag");
    assert_ne!(flag["state"], "open", "the newest wins, whoever came last: {flag}");
}
