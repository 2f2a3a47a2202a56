//! Who did what, and what changed by itself: pages, one breaker's, all as JSON Lines, and how long it is kept.

use cutout_tests::rig::{EVENT_URL, Kept, MONITOR, MONITOR_URL, Rig, Who, on_each_store};
use serde_json::{Value, json};

on_each_store!(
    every_act_and_every_transition_is_told_with_who_why_and_links,
    what_watch_mode_decides_is_told_to_be_that,
    the_history_is_exported_as_it_is_shown
);

/// The monitor of `fleet`, which is in watch mode.
const WATCHED: u64 = 5_200_003;

/// A story: an alert, a pause and its end, two overrides, one of which is ended.
async fn story(rig: &Rig) {
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    let body = |why: &str| json!({"state": "closed", "why": why, "until": "never"});
    assert_eq!(
        rig.put(Who::Ann, "/v1/pause", &json!({"why": "a \"drill\"", "until": "1h"})).await.status,
        200
    );
    assert_eq!(rig.delete(Who::Ann, "/v1/pause?why=over").await.status, 204);
    assert_eq!(rig.put(Who::Bob, "/v1/overrides/bank-charge/0001", &body("it works")).await.status, 200);
    assert_eq!(rig.put(Who::Ann, "/v1/overrides/bank-charge/0002", &body("also this")).await.status, 200);
    assert_eq!(rig.delete(Who::Bob, "/v1/overrides/bank-charge/0001?why=%C3%A9t%C3%A9").await.status, 200);
}

/// Breaker, from, to, kind, act, by, why of an item.
fn told(item: &Value) -> Value {
    let cause = &item["cause"];
    json!([item["breaker"], item["from"], item["to"], cause["kind"], cause["act"], cause["by"], cause["why"]])
}

fn expected() -> Vec<Value> {
    let (one, two) = ("bank-charge/0001", "bank-charge/0002");
    vec![
        json!([one, "closed", "open", "report", null, null, null]),
        json!([null, null, null, "person", "pause", "ann", "a \"drill\""]),
        json!([null, null, null, "person", "resume", "ann", "over"]),
        json!([one, "open", "closed", "person", "force", "bob", "it works"]),
        json!([two, "closed", "closed", "person", "force", "ann", "also this"]),
        json!([one, "closed", "open", "person", "clear", "bob", "été"]),
    ]
}

async fn every_act_and_every_transition_is_told_with_who_why_and_links(kept: Kept) {
    let rig = Rig::start(kept).await;
    story(&rig).await;
    let history = rig.get(Who::Vic, "/v1/history").await.body;
    let items = history["items"].as_array().unwrap();
    let newest_first: Vec<Value> = items.iter().map(told).collect();
    assert_eq!(newest_first, expected().into_iter().rev().collect::<Vec<_>>());
    assert_eq!(history["next"], Value::Null);
    let alert = &items[5];
    assert_eq!(alert["cause"]["monitor_id"], MONITOR);
    assert_eq!(alert["links"], json!({"monitor": MONITOR_URL, "event": EVENT_URL}));
    assert_eq!(items[0]["links"], json!({"monitor": null, "event": null}));
    assert!(items.iter().all(|item| item["at"].is_string()), "{history}");

    // Page by page the same.
    let (mut paged, mut before) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = rig.get(Who::Vic, &format!("/v1/history?limit=2{before}")).await.body;
        paged.extend(page["items"].as_array().unwrap().clone());
        before = page["next"].as_str().map(|next| format!("&before={next}")).unwrap_or_default();
    }
    assert_eq!((&paged, &*before), (items, ""));
    let of_two = rig.get(Who::Vic, "/v1/history?breaker=bank-charge/0002").await.body;
    assert_eq!(of_two["items"], json!([items[1]]));
    let of_none = rig.get(Who::Vic, "/v1/history?breaker=bank-charge/0009").await.body;
    assert_eq!(of_none, json!({"items": [], "next": null}));
    for wrong in ["?before=x", "?limit=0", "?befor=1-0"] {
        assert_eq!(rig.get(Who::Vic, &format!("/v1/history{wrong}")).await.problem(), (400, "malformed"));
    }

    // The log tells the same.
    let logged = rig.lines("transition");
    let alert = logged.iter().find(|line| line["cause"] == "report").expect("the alert is in the log");
    assert_eq!((&alert["monitor"], &alert["event"]), (&json!(MONITOR_URL), &json!(EVENT_URL)));
    let acts = logged.iter().chain(&rig.lines("scope")).filter(|line| line["cause"] == "person").count();
    assert_eq!(acts, 5, "{logged:?}");
}

async fn what_watch_mode_decides_is_told_to_be_that(kept: Kept) {
    let rig = Rig::start(kept).await;
    rig.say(WATCHED, &[("0001", "Alert")]).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    if let Some(redis) = &rig.redis {
        // As a version wrote it that did not tell the mode.
        let old = r#"{"from":"closed","to":"open","at_ms":1,"cause":{"kind":"stale"}}"#;
        let key = "cutout:{default}:audit";
        redis.ask::<String>(&["XADD", key, "*", "breaker", "bank-charge/0002", "entry", old]);
    }
    let history = rig.get(Who::Vic, "/v1/history").await.body;
    let items = history["items"].as_array().unwrap();
    let modes: Vec<Value> =
        items.iter().rev().map(|item| json!([item["breaker"], item["to"], item["mode"]])).collect();
    let expected = [
        json!(["fleet", "open", "watch"]),
        json!(["bank-charge/0001", "open", "enforce"]),
        json!(["bank-charge/0002", "open", null]),
    ];
    assert_eq!(modes, expected[..if rig.redis.is_some() { 3 } else { 2 }]);
    let logged: Vec<Value> = rig.lines("transition").iter().map(|line| line["mode"].clone()).collect();
    assert_eq!(logged, ["watch", "enforce"]);
}

async fn the_history_is_exported_as_it_is_shown(kept: Kept) {
    let rig = Rig::start(kept).await;
    let empty = rig.get(Who::Vic, "/v1/history/export").await;
    assert_eq!((empty.status, &*empty.text), (200, ""));
    story(&rig).await;
    let export = async |query: &str| {
        let answered = rig.get(Who::Vic, &format!("/v1/history/export{query}")).await;
        assert_eq!((answered.status, answered.header("content-type")), (200, "application/x-ndjson"));
        assert!(answered.text.is_empty() || answered.text.ends_with('\n'));
        answered.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = export("").await;
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), expected(), "the oldest first");
    let shown = rig.get(Who::Vic, "/v1/history").await.body;
    let shown: Vec<Value> = shown["items"].as_array().unwrap().iter().rev().cloned().collect();
    assert_eq!(all, shown);
    let after = all[3]["id"].as_str().unwrap();
    assert_eq!(export(&format!("?after={after}")).await, all[4..]);
    assert_eq!(export("?breaker=bank-charge/0002").await, all[4..5]);
    let wrong = rig.get(Who::Vic, "/v1/history/export?after=x").await;
    assert_eq!(wrong.problem(), (400, "malformed"));
}

#[tokio::test]
async fn a_long_history_of_one_breaker_is_found_among_many_entries() {
    let rig = Rig::start(Kept::Redis).await;
    let banks: Vec<String> = (0..2_500).map(|bank| format!("{bank:05}")).collect();
    let say =
        |status: &'static str| banks.iter().map(move |bank| (bank.as_str(), status)).collect::<Vec<_>>();
    rig.say(MONITOR, &[("x", "Alert")]).await;
    rig.say(MONITOR, &say("Alert")).await;
    let found = rig.get(Who::Vic, "/v1/history?breaker=bank-charge/x").await.body;
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    let exported = rig.get(Who::Vic, "/v1/history/export").await.text;
    assert_eq!(exported.lines().count(), 2_501);
    let newest = rig.get(Who::Vic, "/v1/history?limit=1000").await.body;
    assert_eq!(newest["items"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_not_shown() {
    let rig = Rig::start_with(Kept::Redis, &[("CUTOUT_AUDIT_AGE", "1h")]).await;
    let client = ::redis::Client::open(rig.redis.as_ref().unwrap().url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let entry = r#"{"from":"closed","to":"open","at_ms":1,"cause":{"kind":"of_tomorrow","x":1}}"#;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for age_ms in [3_700_000, 3_500_000] {
        let mut add = ::redis::cmd("XADD");
        add.arg("cutout:{default}:audit").arg(format!("{}-0", now_ms - age_ms));
        let (): () = add
            .arg("breaker")
            .arg("fleet")
            .arg("entry")
            .arg(entry)
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    let shown = rig.get(Who::Vic, "/v1/history").await.body;
    assert_eq!(shown["items"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown["items"][0]["cause"]["kind"], "of_tomorrow", "what a newer version wrote is shown");
    assert_eq!(rig.get(Who::Vic, "/v1/history/export").await.text.lines().count(), 1);
}
