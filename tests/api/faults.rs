//! Faults that people inject: with a reason, an end and limits; seen by callers; and gone by themselves.

use cutout::{CallError, Client, Lane, Upstream};
use cutout_tests::rig::{Answer, Kept, Rig, Who, answer, on_each_store, until, with_body};
use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/v1/faults/bank-charge/0001";
const SHOWN: &str = "/v1/breakers/bank-charge/0001";

on_each_store!(
    a_fault_is_shown_and_told_with_who_and_why_until_it_is_ended,
    a_fault_ends_by_itself,
    somebody_elses_fault_is_replaced_only_by_who_has_seen_it_and_ended_by_anybody,
);

fn drill() -> Value {
    json!({"abort_ppm": 100_000, "delay_ppm": 200_000, "delay_ms": 300, "why": "a drill", "until": "10m"})
}

fn with(field: &str, value: Value) -> Value {
    let mut body = drill();
    body[field] = value;
    body
}

async fn a_fault_is_shown_and_told_with_who_and_why_until_it_is_ended(kept: Kept) {
    let rig = Rig::start(kept).await;
    assert_eq!(rig.delete(Who::Ann, &format!("{PATH}?why=x")).await.problem(), (404, "no-fault"));
    let header = json!({"name": "X-Drill", "value": "yes"});
    let set = rig.put(Who::Ann, PATH, &with("header", header)).await;
    assert_eq!(set.status, 200, "a breaker that no group has touched yet: {set:?}");
    let fault = &set.body["fault"];
    assert_eq!(
        (&fault["abort_ppm"], &fault["delay_ppm"], &fault["delay_ms"]),
        (&json!(100_000), &json!(200_000), &json!(300))
    );
    assert_eq!(fault["header"], json!({"name": "x-drill", "value": "yes"}));
    assert_eq!(set.body["fault_by"], json!({"by": "ann", "why": "a drill"}));
    assert_eq!((&set.body["state"], &set.body["share_ppm"]), (&json!("closed"), &json!(1_000_000)));
    let time = |field: &str| fault[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let lasts_ms = time("until").as_millisecond() - time("since").as_millisecond();
    assert!((590_000..=600_000).contains(&lasts_ms), "{lasts_ms}");
    until("the list shows it", async || {
        rig.get(Who::Vic, "/v1/breakers").await.body["items"][0]["fault"] == *fault
    })
    .await;

    let forced = json!({"state": "open", "why": "x", "until": "never"});
    let forced = rig.put(Who::Ann, "/v1/overrides/bank-charge/0001", &forced).await;
    assert_eq!((&forced.body["state"], &forced.body["fault"]), (&json!("open"), fault), "side by side");
    let ended = rig.delete(Who::Ann, &format!("{PATH}?why=done")).await;
    assert_eq!(
        (ended.status, &ended.body["fault"], &ended.body["fault_by"]),
        (200, &Value::Null, &Value::Null)
    );
    assert_eq!((&ended.body["state"], &ended.body["forced_by"]["by"]), (&json!("open"), &json!("ann")));

    let history = rig.get(Who::Vic, "/v1/history").await.body;
    let acts: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| &item["cause"]).collect();
    let told = |act: &str, why: &str| json!({"kind": "person", "monitor_id": null, "by": "ann", "why": why, "act": act});
    assert_eq!(acts, [&told("end_fault", "done"), &told("force", "x"), &told("inject", "a drill")]);
    let much: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| &item["fault"]).collect();
    assert_eq!(much, [&Value::Null, &Value::Null, fault], "how much stays to be read when it is over");
    let logged: Vec<_> = rig.lines("transition").iter().map(|line| line["act"].clone()).collect();
    assert_eq!(logged, ["inject", "force", "end_fault"]);
    let figures =
        ["abort_ppm", "delay_ppm", "delay_ms"].map(|field| rig.lines("transition")[0][field].clone());
    assert_eq!(figures, [json!(100_000), json!(200_000), json!(300)]);
}

async fn a_fault_ends_by_itself(kept: Kept) {
    let rig = Rig::start(kept).await;
    let at = Timestamp::now() + 1.second();
    let set = rig.put(Who::Ann, PATH, &with("until", json!(at))).await;
    assert_eq!((set.status, &set.body["fault_by"]["by"]), (200, &json!("ann")), "{set:?}");
    until("the service has written that it is over", async || {
        let history = rig.get(Who::Vic, "/v1/history").await.body;
        history["items"][0]["cause"]["kind"] == "fault_ended"
    })
    .await;
    let shown = rig.get(Who::Vic, SHOWN).await.body;
    assert_eq!(
        (&shown["fault"], &shown["fault_by"], &shown["state"]),
        (&Value::Null, &Value::Null, &json!("closed"))
    );
}

async fn somebody_elses_fault_is_replaced_only_by_who_has_seen_it_and_ended_by_anybody(kept: Kept) {
    let rig = Rig::start(kept).await;
    let of_ann = rig.put(Who::Ann, PATH, &drill()).await;
    assert_eq!(rig.put(Who::Bob, PATH, &drill()).await.problem(), (428, "others"));
    let send = async |seen: &str, body: &Value| -> Answer {
        let request = rig.request(Who::Bob, Method::PUT, PATH).header("if-match", seen);
        answer(with_body(request, body)).await
    };
    assert_eq!(send("\"x-1\"", &drill()).await.problem(), (412, "changed"));
    let replaced = send(of_ann.header("etag"), &with("abort_ppm", json!(1))).await;
    assert_eq!((replaced.status, &replaced.body["fault_by"]["by"]), (200, &json!("bob")), "{replaced:?}");
    assert_eq!(replaced.body["fault"]["abort_ppm"], 1);
    // Bob's fault is not Ann's business until it hurts.
    assert_eq!(rig.delete(Who::Vic, &format!("{PATH}?why=x")).await.problem(), (403, "role"));
    let ended = rig.delete(Who::Ann, &format!("{PATH}?why=it%20hurts")).await;
    assert_eq!((ended.status, &ended.body["fault"]), (200, &Value::Null), "{ended:?}");
}

#[tokio::test]
async fn no_fault_is_without_an_end_a_reason_and_limits() {
    let rig = Rig::start(Kept::Memory).await;
    let without = |field: &str| {
        let mut body = drill();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    for (case, body) in [
        ("no end", without("until")),
        ("never", with("until", json!("never"))),
        ("an end that is over", with("until", json!("0s"))),
        ("more than an hour", with("until", json!("61m"))),
        ("for ever", with("until", json!("9223372036854775807ms"))),
        ("no reason", without("why")),
        ("an empty reason", with("why", json!(" "))),
        ("more than half of the calls", with("abort_ppm", json!(500_001))),
        ("more than half of the calls", with("delay_ppm", json!(500_001))),
        ("a share below nothing", with("abort_ppm", json!(-1))),
        ("a delay below nothing", with("delay_ms", json!(-1))),
        ("a delay of more than 30 s", with("delay_ms", json!(30_001))),
        ("a delay without a share", without("delay_ppm")),
        ("a share without a delay", without("delay_ms")),
        ("nothing", json!({"why": "x", "until": "1m"})),
        ("a header without a name", with("header", json!({"name": "", "value": "x"}))),
        ("a header that cannot be", with("header", json!({"name": "a b"}))),
        ("a field that nobody knows", with("percent", json!(5))),
    ] {
        let answered = rig.put(Who::Ann, PATH, &body).await;
        assert_eq!(answered.problem(), (422, "invalid"), "{case}: {answered:?}");
    }
    assert_eq!(rig.put(Who::Vic, PATH, &drill()).await.problem(), (403, "role"));
    assert_eq!(rig.put(Who::Ann, "/v1/faults/other", &drill()).await.problem(), (404, "undeclared"));
    assert_eq!(rig.get(Who::Ann, "/v1/history").await.body["items"], json!([]), "nothing was done");
    let mut marked = with("header", json!({"name": "x-drill"}));
    marked["abort_ppm"] = json!(1_000_000);
    assert_eq!(rig.put(Who::Ann, PATH, &marked).await.status, 200, "all calls that bear a header");
    assert_eq!(rig.put(Who::Ann, PATH, &with("until", json!("1h"))).await.status, 200, "the longest");
}

/// How many of 200 calls the fault has ended; the rest have succeeded.
async fn injected(lane: &Lane) -> usize {
    let mut count = 0;
    for _ in 0..200 {
        match lane.call(async || Ok::<_, std::io::Error>(())).await {
            Ok(()) => {}
            Err(CallError::Injected(_)) => count += 1,
            Err(error) => panic!("{error}"),
        }
    }
    count
}

#[tokio::test]
async fn callers_meet_it_until_it_is_ended_and_it_outlives_the_service_with_its_end() {
    let mut rig = Rig::start(Kept::Redis).await;
    let client = Client::builder(rig.redis.as_ref().unwrap().url()).connect().await.unwrap();
    let lane = Upstream::builder("bank-charge").build(&client).unwrap().lane(&["0001"]);
    assert_eq!(injected(&lane).await, 0, "off by default");
    let body = json!({"abort_ppm": 500_000, "why": "a drill", "until": "10m"});
    let set = rig.put(Who::Ann, PATH, &body).await;
    until("a caller meets the fault", async || injected(&lane).await > 0).await;

    rig.terminate();
    rig.ended();
    let next = rig.another().await;
    let shown = next.get(Who::Vic, SHOWN).await.body;
    assert_eq!((&shown["fault"], &shown["fault_by"]), (&set.body["fault"], &set.body["fault_by"]));
    assert!(injected(&lane).await > 0);
    let ended = next.delete(Who::Bob, &format!("{PATH}?why=done")).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    until("no caller meets it any more", async || injected(&lane).await == 0).await;
}
