//! Another breakers' file while the service runs.

use crate::callbacks::flag;
use crate::wire::{MONITOR, callback, get, read, send, until, with};
use cutout_tests::redis::RedisServer;
use cutout_tests::service::ServiceProcess;
use serde_json::{Value, json};
use std::net::SocketAddr;

const REFUSED: &str = "the breakers' file is not taken: the one before stays at work";

/// The breakers' file under a revision, with more lines in its breaker.
fn file(revision: u64, more: &str) -> String {
    format!(
        "revision = {revision}\n[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmonitors = {{ ids = [{MONITOR}] }}\n{more}\n"
    )
}

async fn settings(at: SocketAddr) -> Value {
    let told: Value = serde_json::from_str(&read(at, "/readyz").await.1).expect("readiness is JSON");
    told["settings"].clone()
}

async fn started(redis: &RedisServer, file: &str) -> ServiceProcess {
    let service = ServiceProcess::start(&redis.url(), file, &[]);
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    service
}

#[tokio::test]
async fn a_signal_makes_every_flag_say_what_the_new_file_means() {
    let redis = RedisServer::start();
    let service = started(&redis, &file(1, "")).await;
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    let other = with(callback("0001", "Alert", 5), "monitor_id", json!(7));
    assert_eq!(send(service.at(), &other).await.status, 422);
    let added = "mode = \"watch\"\n[[breaker]]\nname = \"card\"\nmonitors = { ids = [7] }";
    service.rewrite(file(2, added));
    service.hang_up();
    until("the flag is a watched one", async || {
        let flag = flag(&redis, "bank-charge/0001").await.unwrap();
        (&flag["state"], &flag["would"], &flag["mode"]) == (&json!("closed"), &json!("open"), &json!("watch"))
    })
    .await;
    assert_eq!(send(service.at(), &other).await.status, 200, "the new breaker is declared");
    let told = settings(service.at()).await;
    assert_eq!((&told["revision"], &told["mistakes"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_until_it_is_mended() {
    let redis = RedisServer::start();
    let service = started(&redis, &file(1, "")).await;
    // Nobody signals: the file is looked at now and then.
    service.rewrite(file(2, "mode = \"dry-run\"\nramp = 5"));
    let mistakes = service.lines_at_least(2, REFUSED);
    assert!(
        mistakes[0]["mistake"].as_str().unwrap().contains("mode is one of enforce, watch"),
        "{mistakes:?}"
    );
    assert!(mistakes[1]["mistake"].as_str().unwrap().contains("ramp"), "{mistakes:?}");
    let told = settings(service.at()).await;
    assert_eq!((&told["ok"], &told["revision"], &told["mistakes"]), (&json!(true), &json!(1), &json!(2)));
    assert_eq!(get(service.at(), "/readyz").await, 200);
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    assert_eq!(flag(&redis, "bank-charge/0001").await.unwrap()["state"], "open");
    service.rewrite(file(2, "mode = \"watch\""));
    until("the mended file is at work", async || settings(service.at()).await["revision"] == 2).await;
    assert_eq!(settings(service.at()).await["mistakes"], 0);
}

/// What a destination asks for must be declared, or it hears nothing of it; a file that renames is right all the same.
#[tokio::test]
async fn a_file_that_renames_a_breaker_warns_who_is_told_of_the_old_name() {
    const WARNED: &str = "a destination of notifications is told nothing of what it asks for";
    let redis = RedisServer::start();
    let more = [
        ("CUTOUT_NOTIFY_OPS_SLACK_URL", "http://127.0.0.1:9/canary-secret-hook"),
        ("CUTOUT_NOTIFY_OPS_BREAKERS", "bank-charge"),
    ];
    let service = ServiceProcess::start(&redis.url(), &file(1, ""), &more);
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    assert_eq!(settings(service.at()).await["undeclared"], 0);
    service.rewrite(file(2, "").replace("bank-charge", "bank-charges"));
    service.hang_up();
    let warned = service.lines_at_least(1, WARNED);
    assert_eq!(
        warned[0]["mistake"],
        "CUTOUT_NOTIFY_OPS_BREAKERS: no breaker bank-charge is declared: did you mean bank-charges?"
    );
    until("readiness tells", async || settings(service.at()).await["undeclared"] == 1).await;
    assert_eq!(get(service.at(), "/readyz").await, 200, "callbacks can be committed all the same");
    service.rewrite(file(3, ""));
    service.hang_up();
    until("it is as before", async || settings(service.at()).await["undeclared"] == 0).await;
    assert_eq!(service.lines(WARNED).len(), 1);
}

#[tokio::test]
async fn a_file_that_is_gone_or_no_text_leaves_what_is_at_work() {
    let redis = RedisServer::start();
    let service = started(&redis, &file(1, "")).await;
    service.remove_file();
    service.hang_up();
    let told = service.lines_at_least(1, REFUSED);
    let mistake = told[0]["mistake"].as_str().unwrap();
    assert!(
        mistake.contains("breakers.toml cannot be read") && mistake.contains("No such file"),
        "{mistake}"
    );
    service.rewrite(b"# \xff\xfe");
    service.hang_up();
    let told = service.lines_at_least(2, REFUSED);
    assert!(told[1]["mistake"].as_str().unwrap().contains("cannot be read"), "{told:?}");
    assert_eq!(settings(service.at()).await["mistakes"], 1);
    assert_eq!(get(service.at(), "/readyz").await, 200);
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    service.rewrite(file(2, ""));
    service.hang_up();
    until("the file is at work again", async || settings(service.at()).await["revision"] == 2).await;
    assert_eq!(settings(service.at()).await["mistakes"], 0);
}

#[tokio::test]
async fn a_lower_revision_is_refused_and_a_higher_one_makes_the_others_stand_back() {
    let redis = RedisServer::start();
    let (one, other) = (started(&redis, &file(2, "")).await, started(&redis, &file(2, "")).await);
    one.rewrite(file(1, "mode = \"watch\""));
    one.hang_up();
    let told = one.lines_at_least(1, REFUSED);
    assert!(told[0]["mistake"].as_str().unwrap().starts_with("revision 1 is lower than 2"), "{told:?}");
    assert_eq!(get(one.at(), "/readyz").await, 200);
    one.rewrite(file(3, ""));
    one.hang_up();
    until("the other stands back", async || get(other.at(), "/readyz").await == 503).await;
    assert_eq!(get(one.at(), "/readyz").await, 200);
    assert_eq!(send(other.at(), &callback("0001", "Alert", 5)).await.status, 503);
    other.rewrite(file(3, ""));
    other.hang_up();
    until("the other has followed", async || get(other.at(), "/readyz").await == 200).await;
    assert_eq!(send(other.at(), &callback("0001", "Alert", 5)).await.status, 200);
}
