//! Two operators and a storm of callbacks at once, over two instances: nothing lost, nobody undone unseen.

use cutout_tests::rig::{Instance, Kept, MONITOR, Rig, Who, answer, callback_at, with_body};
use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many callbacks each of the two senders sends.
const CALLBACKS: i64 = 150;
/// How many decisions each of the two operators tries.
const DECISIONS: usize = 60;
const BANKS: [&str; 4] = ["0001", "0002", "0003", "0004"];

/// An operator who decides, looks first where somebody else has decided, and counts what was accepted, by why.
async fn decide(instance: &Instance, who: Who) -> Vec<String> {
    let mut accepted = Vec::new();
    for round in 0..DECISIONS {
        let path = format!("bank-charge/{}", BANKS[round % 2]);
        let state = if round % 3 == 0 { "open" } else { "closed" };
        let why = format!("{who:?} {round}");
        let body = json!({"state": state, "why": why, "until": "never"});
        let put = || with_body(instance.request(who, Method::PUT, &format!("/v1/overrides/{path}")), &body);
        let mut answered = answer(put()).await;
        if answered.status == 428 {
            let seen = instance.get(who, &format!("/v1/breakers/{path}")).await;
            answered = answer(put().header("if-match", seen.header("etag"))).await;
        }
        match answered.status {
            200 => accepted.push(why),
            412 => {}
            other => panic!("{other}: {answered:?}"),
        }
    }
    accepted
}

/// Callbacks that end with `last` for all banks.
async fn storm(instance: &Instance, start: Timestamp, offset_ms: i64, last: &str) {
    for round in 0..CALLBACKS {
        let status =
            if round + 1 == CALLBACKS { last } else { ["Alert", "OK"][usize::try_from(round % 2).unwrap()] };
        let groups = BANKS.map(|bank| (bank, status));
        let at = start + (round * 100 + offset_ms).milliseconds();
        instance.callback(&callback_at(MONITOR, &groups, at)).await;
    }
}

#[tokio::test]
async fn two_operators_and_a_storm_lose_nothing() {
    let rig = Rig::start(Kept::Redis).await;
    let other = rig.another().await;
    let start = Timestamp::now() - 30.seconds();
    let (ann, bob, (), ()) = tokio::join!(
        decide(&rig, Who::Ann),
        decide(&other, Who::Bob),
        storm(&rig, start, 0, "OK"),
        storm(&other, start, 50, "Alert"),
    );
    assert!(!ann.is_empty() && !bob.is_empty(), "both had a turn: {} {}", ann.len(), bob.len());

    // Every decision that was accepted is told once, and no other.
    let exported = rig.get(Who::Vic, "/v1/history/export").await.text;
    let entries: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let forced = entries.iter().filter(|entry| entry["cause"]["act"] == "force");
    let mut told: Vec<&str> = forced.clone().map(|entry| entry["cause"]["why"].as_str().unwrap()).collect();
    let mut accepted: Vec<&str> = ann.iter().chain(&bob).map(String::as_str).collect();
    told.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(told, accepted);

    // What was decided last is in force, and no signal has undone it; where nobody decided, the newest report rules.
    let mut last = BTreeMap::new();
    for entry in forced {
        last.insert(entry["breaker"].as_str().unwrap().to_owned(), entry["cause"]["why"].clone());
    }
    assert_eq!(last.len(), 2);
    for bank in BANKS {
        let shown = rig.get(Who::Vic, &format!("/v1/breakers/bank-charge/{bank}")).await.body;
        assert_eq!(shown["signals"][0]["status"], "Alert", "the newest report of all: {shown}");
        match last.get(&format!("bank-charge/{bank}")) {
            Some(why) => {
                assert_eq!(shown["forced_by"]["why"], *why);
                assert_eq!(shown["state"], shown["forced_by"]["state"]);
            }
            None => assert_eq!(shown["state"], "open", "{shown}"),
        }
    }
    // Nobody's transition is missing: each begins where the one before ended.
    let mut state: BTreeMap<&str, &Value> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["breaker"].is_string()) {
        let breaker = entry["breaker"].as_str().unwrap();
        let before = state.insert(breaker, &entry["to"]);
        assert!(before.is_none_or(|before| *before == entry["from"]), "a hole before {entry}");
    }
}
