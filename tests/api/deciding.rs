//! What people decide: overrides with a reason and an end, and that two operators do not undo each other unseen.

use cutout_tests::rig::{Answer, Kept, MONITOR, Rig, Who, answer, on_each_store, until, with_body};
use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/v1/overrides/bank-charge/0001";

on_each_store!(
    an_override_is_in_force_until_it_is_ended,
    an_override_ends_by_itself,
    somebody_elses_decision_is_replaced_only_by_who_has_seen_it,
    a_pause_is_a_decision_like_the_others,
);

async fn send(rig: &Rig, who: Who, method: Method, path: &str, seen: &str, body: Option<&Value>) -> Answer {
    let request = rig.request(who, method, path).header("if-match", seen);
    answer(match body {
        Some(body) => with_body(request, body),
        None => request,
    })
    .await
}

async fn an_override_is_in_force_until_it_is_ended(kept: Kept) {
    let rig = Rig::start(kept).await;
    let body = json!({"state": "open", "why": "the bank has maintenance", "until": "never"});
    let forced = rig.put(Who::Ann, PATH, &body).await;
    assert_eq!(forced.status, 200, "a breaker that no group has touched yet: {forced:?}");
    assert_eq!((&forced.body["state"], &forced.body["share_ppm"]), (&json!("open"), &json!(0)));
    let by = &forced.body["forced_by"];
    assert_eq!((&by["by"], &by["why"], &by["until"]), (&json!("ann"), &body["why"], &Value::Null));
    assert_eq!(forced.header("etag"), format!("\"{}\"", forced.body["version"].as_str().unwrap()));

    // No signal undoes it.
    rig.say(MONITOR, &[("0001", "OK")]).await;
    assert_eq!(rig.until_state("bank-charge/0001", "open").await["override"]["state"], "open");
    let listed = rig.get(Who::Vic, "/v1/breakers?overridden=true").await;
    assert_eq!(listed.body["total"], 1);

    let closed = rig.put(Who::Ann, PATH, &json!({"state": "closed", "why": "x", "until": "1h"})).await;
    assert_eq!((&closed.body["state"], &closed.body["share_ppm"]), (&json!("closed"), &json!(1_000_000)));
    let until: Timestamp = closed.body["forced_by"]["until"].as_str().unwrap().parse().unwrap();
    let left_s = until.as_second() - Timestamp::now().as_second();
    assert!((3_590..=3_600).contains(&left_s), "{left_s}");

    assert_eq!(rig.delete(Who::Ann, PATH).await.problem(), (400, "malformed"), "without a reason");
    let ended = rig.delete(Who::Ann, &format!("{PATH}?why=done")).await;
    assert_eq!((ended.status, &ended.body["forced_by"]), (200, &Value::Null), "{ended:?}");
    assert_eq!(rig.delete(Who::Ann, &format!("{PATH}?why=done")).await.problem(), (404, "no-override"));
}

async fn an_override_ends_by_itself(kept: Kept) {
    let rig = Rig::start(kept).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    let at = Timestamp::now() + 1.second();
    let forced = rig.put(Who::Ann, PATH, &json!({"state": "closed", "why": "x", "until": at})).await;
    assert_eq!((forced.status, &forced.body["next"]["state"]), (200, &json!("open")), "{forced:?}");
    until("the signal decides again", async || {
        let shown = rig.get(Who::Vic, "/v1/breakers/bank-charge/0001").await.body;
        shown["state"] == "open" && shown["forced_by"].is_null()
    })
    .await;
}

async fn somebody_elses_decision_is_replaced_only_by_who_has_seen_it(kept: Kept) {
    let rig = Rig::start(kept).await;
    let body = |why: &str| json!({"state": "open", "why": why, "until": "never"});
    let of_ann = rig.put(Who::Ann, PATH, &body("maintenance")).await;
    let seen = of_ann.header("etag").to_owned();

    let unseen = rig.put(Who::Bob, PATH, &body("other")).await;
    assert_eq!(unseen.problem(), (428, "others"), "{unseen:?}");
    assert!(unseen.body["detail"].as_str().unwrap().starts_with("ann "), "it says who: {unseen:?}");
    assert_eq!(rig.delete(Who::Bob, &format!("{PATH}?why=x")).await.problem(), (428, "others"));
    for wrong in ["\"x-1\"", "no tag", "", &format!("W/{seen}")] {
        let answered = send(&rig, Who::Bob, Method::PUT, PATH, wrong, Some(&body("other"))).await;
        assert_eq!(answered.problem(), (412, "changed"), "{wrong}");
    }

    // Ann gives another reason for the same state: what bob saw is not what is there, though callers see no change.
    let again = rig.put(Who::Ann, PATH, &body("the bank has called")).await;
    assert_eq!(again.status, 200, "her own decision she may replace");
    assert_ne!(again.header("etag"), seen);
    let late = send(&rig, Who::Bob, Method::PUT, PATH, &seen, Some(&body("other"))).await;
    assert_eq!(late.problem(), (412, "changed"));
    let kept_why = rig.get(Who::Vic, "/v1/breakers/bank-charge/0001").await;
    assert_eq!(kept_why.body["forced_by"]["why"], "the bank has called");

    let seen = format!("\"x-1\", {}", again.header("etag"));
    let replaced = send(&rig, Who::Bob, Method::PUT, PATH, &seen, Some(&body("other"))).await;
    assert_eq!((replaced.status, &replaced.body["forced_by"]["by"]), (200, &json!("bob")), "{replaced:?}");
    let ended = send(&rig, Who::Ann, Method::DELETE, &format!("{PATH}?why=x"), "*", None).await;
    assert_eq!(ended.status, 200, "whatever it is: {ended:?}");
}

async fn a_pause_is_a_decision_like_the_others(kept: Kept) {
    let rig = Rig::start(kept).await;
    let none = rig.get(Who::Vic, "/v1/pause").await;
    assert_eq!((&none.body, none.header("etag")), (&json!({"pause": null}), "\"no-pause\""));
    assert_eq!(rig.delete(Who::Ann, "/v1/pause?why=x").await.problem(), (404, "no-pause"));
    let body = json!({"why": "Datadog is wrong", "until": "2h"});
    let paused = rig.put(Who::Ann, "/v1/pause", &body).await;
    assert_eq!((paused.status, &paused.body["pause"]["by"]), (200, &json!("ann")), "{paused:?}");

    rig.say(MONITOR, &[("0001", "Alert")]).await;
    let shown = rig.get(Who::Vic, "/v1/breakers/bank-charge/0001").await.body;
    assert_eq!((&shown["state"], &shown["held"]), (&json!("closed"), &json!("paused")), "{shown}");

    assert_eq!(rig.put(Who::Bob, "/v1/pause", &body).await.problem(), (428, "others"));
    assert_eq!(rig.delete(Who::Bob, "/v1/pause?why=x").await.problem(), (428, "others"));
    let wrong = send(&rig, Who::Bob, Method::PUT, "/v1/pause", "\"no-pause\"", Some(&body)).await;
    assert_eq!(wrong.problem(), (412, "changed"));
    let longer = send(&rig, Who::Bob, Method::PUT, "/v1/pause", paused.header("etag"), Some(&body)).await;
    assert_eq!((longer.status, &longer.body["pause"]["by"]), (200, &json!("bob")), "{longer:?}");
    let late = send(&rig, Who::Ann, Method::DELETE, "/v1/pause?why=x", paused.header("etag"), None).await;
    assert_eq!(late.problem(), (412, "changed"));
    let ended =
        send(&rig, Who::Ann, Method::DELETE, "/v1/pause?why=it%20works", longer.header("etag"), None).await;
    assert_eq!((ended.status, &*ended.text), (204, ""), "{ended:?}");
    let shown = rig.get(Who::Vic, "/v1/breakers/bank-charge/0001").await.body;
    assert_eq!((&shown["state"], &shown["held"]), (&json!("open"), &Value::Null), "{shown}");
}

#[tokio::test]
async fn a_decision_lacks_neither_a_reason_nor_an_end_nor_a_breaker() {
    let rig = Rig::start(Kept::Memory).await;
    let whole = json!({"state": "open", "why": "drill", "until": "never"});
    let without = |field: &str| {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let with = |field: &str, value: Value| {
        let mut body = whole.clone();
        body[field] = value;
        body
    };
    for (case, body) in [
        ("no reason", without("why")),
        ("an empty reason", with("why", json!(" "))),
        ("a long reason", with("why", json!("x".repeat(501)))),
        ("no end", without("until")),
        ("null is not never", with("until", Value::Null)),
        ("an end without a unit", with("until", json!("30"))),
        ("an end that is over", with("until", json!("2026-01-01T00:00:00Z"))),
        ("an end that is now", with("until", json!("0s"))),
        ("no state", without("state")),
        ("a state that nobody can force", with("state", json!("half-open"))),
        ("a field that nobody knows", with("untill", json!("never"))),
    ] {
        let answered = rig.put(Who::Ann, PATH, &body).await;
        assert_eq!(answered.problem(), (422, "invalid"), "{case}: {answered:?}");
        let mut body = body;
        if body.as_object_mut().unwrap().remove("state") == Some(json!("open")) {
            let pause = rig.put(Who::Ann, "/v1/pause", &body).await;
            assert_eq!(pause.problem(), (422, "invalid"), "{case}: {pause:?}");
        }
    }
    for (path, code) in
        [("bank-charge", "undeclared"), ("bank-chrage/0001", "undeclared"), ("fleet/1", "undeclared")]
    {
        let answered = rig.put(Who::Ann, &format!("/v1/overrides/{path}"), &whole).await;
        assert_eq!(answered.problem(), (404, code), "{path}: {answered:?}");
    }
    let put = |kind: &str, body: String| {
        rig.request(Who::Ann, Method::PUT, PATH).header("content-type", kind).body(body)
    };
    let json_kind = "application/json";
    assert_eq!(answer(put("text/plain", whole.to_string())).await.problem(), (415, "media-type"));
    assert_eq!(answer(put(json_kind, "{".to_owned())).await.problem(), (400, "malformed"));
    assert_eq!(answer(put(json_kind, " ".repeat(20_000))).await.problem(), (413, "too-large"));
    let posted = answer(rig.request(Who::Ann, Method::POST, PATH)).await;
    assert_eq!((posted.problem(), posted.header("allow")), ((405, "method"), "PUT,DELETE"));
    assert_eq!(rig.get(Who::Ann, "/v1/history").await.body["items"], json!([]), "nothing was done");
}
