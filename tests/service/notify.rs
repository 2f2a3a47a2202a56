//! Who is told of transitions, and that nothing waits for them.

use crate::process::ServiceProcess;
use crate::wire::{callback, read, send, until, with};
use cutout_core::webhook;
use cutout_tests::canary;
use cutout_tests::doubles::{Answer, Asked, Double};
use cutout_tests::redis::RedisServer;
use jiff::Timestamp;
use serde_json::Value;

const HOOK: &str = "/services/canary-secret-hook";
const SLACK_URL: &str = "CUTOUT_NOTIFY_OPS_SLACK_URL";
const WEBHOOK_URL: &str = "CUTOUT_NOTIFY_BOT_WEBHOOK_URL";
/// The monitor of `watched`.
const WATCHED: u64 = 5_200_003;
const WEBHOOK_SECRETS: &str = "CUTOUT_NOTIFY_BOT_WEBHOOK_SECRETS";

/// A receiver of notifications that answers like this.
async fn receiver(answers: impl IntoIterator<Item = Answer>) -> (Double, String) {
    let double = Double::start("127.0.0.1").await;
    double.answer(HOOK, answers);
    let url = format!("{}{HOOK}", double.url());
    (double, url)
}

fn ok() -> Answer {
    Answer::new(200, "ok")
}

/// Starts an instance and waits until its readers are there: they begin with what is written after them.
async fn started(redis: &RedisServer, more: &[(&str, &str)], readers: usize) -> ServiceProcess {
    let service = ServiceProcess::start_with(&redis.url(), more);
    until("its readers are there", async || {
        let groups: Result<Vec<redis::Value>, _> =
            redis.try_ask(&["XINFO", "GROUPS", "cutout:{default}:audit"]);
        groups.is_ok_and(|groups| groups.len() == readers)
    })
    .await;
    service
}

/// A signed notification, if its signature is one.
fn verified(asked: &Asked) -> Value {
    let secret = canary::SIGNING_SECRET.parse().unwrap();
    let [id, timestamp, signature] =
        [webhook::ID_HEADER, webhook::TIMESTAMP_HEADER, webhook::SIGNATURE_HEADER]
            .map(|name| asked.header(name));
    let now_secs = Timestamp::now().as_second();
    webhook::verify(&[secret], id, timestamp, signature, &asked.body, now_secs).expect("it is signed");
    let body: Value = serde_json::from_slice(&asked.body).expect("it is JSON");
    assert_eq!(body["id"], id, "the id is that of the history");
    body
}

#[tokio::test]
async fn slack_and_a_signed_webhook_are_told_once_and_the_url_stands_nowhere() {
    let redis = RedisServer::start();
    let ((slack, slack_url), (bot, bot_url)) = (receiver([ok()]).await, receiver([ok()]).await);
    let more = [
        (SLACK_URL, &*slack_url),
        (WEBHOOK_URL, &*bot_url),
        (WEBHOOK_SECRETS, canary::SIGNING_SECRET),
        ("CUTOUT_METRICS_LISTEN", "127.0.0.1:0"),
    ];
    // Two instances share the work.
    let services = [started(&redis, &more, 2).await, started(&redis, &more, 2).await];
    for bank in ["0001", "0002", "0003"] {
        assert_eq!(send(services[0].at(), &callback(bank, "Alert", 5)).await.status, 200);
    }
    until("both are told", async || slack.asked().len() >= 3 && bot.asked().len() >= 3).await;
    let mut told: Vec<String> =
        bot.asked().iter().map(|asked| verified(asked)["breaker"].as_str().unwrap().to_owned()).collect();
    told.sort();
    assert_eq!(told, ["bank-charge/0001", "bank-charge/0002", "bank-charge/0003"], "each once");
    let body = verified(&bot.asked()[0]);
    assert_eq!((&body["schema"], &body["to"]), (&"cutout.transition/1".into(), &"open".into()));
    let text: Value = serde_json::from_slice(&slack.asked()[0].body).unwrap();
    assert!(text["text"].as_str().unwrap().starts_with(":red_circle: *bank-charge/000"), "{text}");
    let mut delivered = 0.0;
    for service in &services {
        let text = read(service.metrics_at(), "/metrics").await.1;
        let series = r#"cutout_service_notifications_total{to="ops",result="delivered"} "#;
        delivered +=
            text.lines().find_map(|line| line.strip_prefix(series)?.parse::<f64>().ok()).unwrap_or(0.0);
        assert!(!service.log().contains("canary-secret-hook"), "{}", service.log());
    }
    assert_eq!((delivered, slack.asked().len()), (3.0, 3));
}

#[tokio::test]
async fn what_a_breaker_in_watch_mode_decides_is_told_as_what_it_would_do() {
    let redis = RedisServer::start();
    let ((slack, slack_url), (bot, bot_url)) = (receiver([ok()]).await, receiver([ok()]).await);
    let more =
        [(SLACK_URL, &*slack_url), (WEBHOOK_URL, &*bot_url), (WEBHOOK_SECRETS, canary::SIGNING_SECRET)];
    let service = started(&redis, &more, 2).await;
    let alert = with(callback("0001", "Alert", 5), "monitor_id", WATCHED.into());
    assert_eq!(send(service.at(), &alert).await.status, 200);
    until("both are told", async || slack.asked().len() == 1 && bot.asked().len() == 1).await;
    let body = verified(&bot.asked()[0]);
    assert_eq!(
        (&body["breaker"], &body["to"], &body["mode"]),
        (&"watched".into(), &"open".into(), &"watch".into())
    );
    let text: Value = serde_json::from_slice(&slack.asked()[0].body).unwrap();
    let text = text["text"].as_str().unwrap();
    assert!(
        text.starts_with(":eyes: *watched* would be open") && text.contains("nobody is refused"),
        "{text}"
    );
}

#[tokio::test]
async fn a_hanging_slack_delays_no_callback_and_no_other_destination() {
    let redis = RedisServer::start();
    let ((slack, slack_url), (bot, bot_url)) = (receiver([Answer::hang()]).await, receiver([ok()]).await);
    let more =
        [(SLACK_URL, &*slack_url), (WEBHOOK_URL, &*bot_url), (WEBHOOK_SECRETS, canary::SIGNING_SECRET)];
    let service = started(&redis, &more, 2).await;
    assert_eq!(send(service.at(), &callback("0000", "Alert", 5)).await.status, 200);
    until("Slack hangs", async || slack.asked().len() == 1).await;
    for bank in 1..20 {
        assert_eq!(send(service.at(), &callback(&format!("{bank:04}"), "Alert", 5)).await.status, 200);
    }
    until("the other is told of all", async || bot.asked().len() == 20).await;
    // One at a time: the nineteen others wait for the first, and nobody waits for them.
    assert!(slack.asked().len() < 20, "{}", slack.asked().len());
}

#[tokio::test]
async fn what_a_killed_instance_was_about_to_deliver_another_one_delivers() {
    let redis = RedisServer::start();
    let (bot, url) = receiver([Answer::hang(), ok()]).await;
    let more = [(WEBHOOK_URL, &*url), (WEBHOOK_SECRETS, canary::SIGNING_SECRET)];
    let first = started(&redis, &more, 1).await;
    assert_eq!(send(first.at(), &callback("0001", "Alert", 5)).await.status, 200);
    until("the first is at work on it", async || bot.asked().len() == 1).await;
    drop(first);
    let _second = started(&redis, &more, 1).await;
    until("the second delivers it", async || bot.asked().len() == 2).await;
    let [lost, delivered] = [0, 1].map(|place| verified(&bot.asked()[place]));
    assert_eq!(lost, delivered, "the same with the same id");
    until("nothing is left to deliver", async || {
        let pending: (u64, redis::Value, redis::Value, redis::Value) =
            redis.ask(&["XPENDING", "cutout:{default}:audit", "notify-bot"]);
        pending.0 == 0
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_tried_again_and_a_refusal_is_given_up_and_told() {
    let redis = RedisServer::start();
    let busy = || Answer::new(503, "").header("retry-after", "0");
    let (bot, url) = receiver([busy(), busy(), ok(), Answer::new(400, "")]).await;
    let more = [(WEBHOOK_URL, &*url), (WEBHOOK_SECRETS, canary::SIGNING_SECRET)];
    let service = started(&redis, &more, 1).await;
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    until("it is delivered", async || bot.asked().len() == 3).await;
    assert_eq!(verified(&bot.asked()[0]), verified(&bot.asked()[2]));
    assert_eq!(send(service.at(), &callback("0002", "Alert", 5)).await.status, 200);
    // The receiver runs on this thread, so it must not wait.
    until("it is given up", async || !service.lines("a notification is given up").is_empty()).await;
    let given_up = service.lines("a notification is given up");
    assert_eq!((&given_up[0]["to"], &given_up[0]["tries"]), (&"bot".into(), &1.into()));
    assert_eq!(given_up[0]["breaker"], "bank-charge/0002");
    assert_eq!(bot.asked().len(), 4);
    assert!(!service.log().contains("canary-secret-hook"), "{}", service.log());
}

#[tokio::test]
async fn in_memory_it_is_the_same() {
    let (slack, url) = receiver([Answer::new(500, ""), ok()]).await;
    let service = ServiceProcess::start_with("memory:", &[(SLACK_URL, &url)]);
    // The reader begins before anything can be sent: the listener is told of after it.
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    until("it is told in the end", async || slack.asked().len() == 2).await;
    assert_eq!(slack.asked()[0].body, slack.asked()[1].body);
}
