//! Who is told what: the stream of transitions, the list of known breakers, and the snapshot as JSON.

use crate::world::World;
use cutout::{
    FakeClient, MaxStaleness, Missed, Reason, SNAPSHOT_BREAKERS_MAX, State, TRANSITIONS_KEPT, Transition,
    Transitions,
};
use cutout_core::{Act, Forced, Hold, Mode, Policy};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

/// Time is paused, so this is only what runs without the test's help.
const SOON: Duration = Duration::from_secs(2);

async fn told(transitions: &mut Transitions) -> Transition {
    let told = tokio::time::timeout(SOON, transitions.next()).await.expect("nothing is told");
    let told = told.expect("the client is there").expect("nothing is missed");
    assert_eq!(told.breaker.as_str(), "bank-charge/0001");
    told
}

async fn turn(transitions: &mut Transitions) -> (State, State) {
    let told = told(transitions).await;
    (told.from, told.to)
}

#[tokio::test(start_paused = true)]
async fn every_change_is_told_in_order_whether_news_or_time_brings_it() {
    let mut world = World::new(Policy { ramp_ms: 60_000, ..Policy::default() }).await;
    let mut transitions = world.client.transitions();
    world.reported("Alert").await;
    let opened = told(&mut transitions).await;
    assert_eq!((opened.from, opened.to, opened.would), (State::Closed, State::Open, None));
    let since_opened = opened.at.duration_since(world.at(0)).expect("by the store's clock");
    assert!(since_opened < SOON, "{since_opened:?}");
    world.until(5).await;
    world.reported("OK").await;
    // From here on nobody writes: the least time open, and then the ramp, end by themselves.
    world.until(29).await;
    assert_eq!(tokio::time::timeout(Duration::ZERO, transitions.next()).await.ok(), None);
    assert_eq!(turn(&mut transitions).await, (State::Open, State::HalfOpen));
    world.until(89).await;
    assert_eq!(turn(&mut transitions).await, (State::HalfOpen, State::Closed));
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
    assert_eq!(turn(&mut transitions).await, (State::Closed, State::Open));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_carried_out_is_told_as_what_would_be() {
    let mut watched = World::new(Policy { mode: Mode::Watch, ..Policy::default() }).await;
    let mut transitions = watched.client.transitions();
    watched.reported("Alert").await;
    let would_open = told(&mut transitions).await;
    assert_eq!(
        (would_open.from, would_open.to, would_open.would),
        (State::Closed, State::Closed, Some(State::Open))
    );

    let mut held = World::new(Policy::default()).await;
    let mut transitions = held.client.transitions();
    held.hold = Some(Hold::Paused);
    held.reported("Alert").await;
    assert_eq!(told(&mut transitions).await.would, Some(State::Open));
    held.hold = None;
    held.reported("Alert").await;
    let opened = told(&mut transitions).await;
    assert_eq!((opened.from, opened.to, opened.would), (State::Closed, State::Open, None));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_for_too_long_is_told_too() {
    let limit = MaxStaleness::OpenAfter(Duration::from_secs(600));
    let world = World::with(Policy::default(), |builder| builder.max_staleness(limit)).await;
    let mut transitions = world.client.transitions();
    world.cut();
    world.until(602).await;
    assert_eq!(turn(&mut transitions).await, (State::Closed, State::Open));
    assert_eq!(world.client.breakers()[0].reason, Some(Reason::Staleness));
    assert_eq!(world.client.breakers()[0].share_ppm, 0);
    world.mend().await;
    assert_eq!(turn(&mut transitions).await, (State::Open, State::Closed));
}

#[tokio::test]
async fn a_listener_that_does_not_keep_up_is_told_how_many_it_missed_and_holds_up_nobody() {
    let fake = FakeClient::new(["bank-charge"]);
    let mut transitions = fake.client().transitions();
    for _ in 0..TRANSITIONS_KEPT {
        fake.open("bank-charge", &["0001"]).unwrap();
        fake.close("bank-charge", &["0001"]).unwrap();
    }
    let missed = transitions.next().await.unwrap();
    assert_eq!(missed, Err(Missed(TRANSITIONS_KEPT as u64)));
    let kept = transitions.by_ref().take(TRANSITIONS_KEPT).collect::<Vec<_>>().await;
    assert!(kept.iter().all(Result::is_ok) && kept.len() == TRANSITIONS_KEPT);
    fake.close("bank-charge", &["0001"]).unwrap();
    fake.open("bank-charge", &["0001"]).unwrap();
    let next = transitions.next().await.unwrap().unwrap();
    assert_eq!((next.from, next.to), (State::Closed, State::Open), "what changes nothing is not told");
}

#[tokio::test]
async fn the_stream_ends_with_the_client_and_handles_do_not_hold_it() {
    let fake = FakeClient::new(["bank-charge"]);
    let client = fake.client();
    let (bank, mut transitions) = (client.breaker("bank-charge", &["0001"]).unwrap(), client.transitions());
    drop((client, fake));
    assert_eq!(transitions.next().await, None);
    assert!(bank.admit().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_is_json_with_all_that_explains_an_answer() {
    let policy = Policy { refuse: ["charge".to_owned()].into(), ..Policy::default() };
    let mut world = World::new(policy).await;
    let _other = world.client.breaker("bank-charge", &["0002"]).unwrap();
    let until_ms = world.now_ms() + 600_000;
    world.ordered(Act::Force { state: Forced::Open, until_ms: Some(until_ms) }).await;
    let shown: Value = serde_json::from_str(&world.client.snapshot().to_string()).unwrap();
    assert_eq!(
        (&shown["schema"], &shown["scope"], &shown["connected"], &shown["left_out"]),
        (&json!("cutout.client/1"), &json!("default"), &json!(true), &json!(0))
    );
    let forced = &shown["breakers"][0];
    assert_eq!(forced["breaker"], "bank-charge/0001");
    assert_eq!((&forced["state"], &forced["reason"]), (&json!("open"), &json!("override")));
    assert_eq!((&forced["share_ppm"], &forced["refuse"]), (&json!(0), &json!(["charge"])));
    assert_eq!(forced["override"], json!({"state": "open", "until_ms": until_ms}));
    assert_eq!(forced["until_ms"], json!(until_ms));
    assert!(forced["since_ms"].is_number(), "{forced}");
    let unseen = &shown["breakers"][1];
    assert_eq!((&unseen["breaker"], &unseen["state"]), (&json!("bank-charge/0002"), &json!("closed")));
    assert_eq!((&unseen["reason"], &unseen["since_ms"]), (&Value::Null, &Value::Null));
    world.cut();
    world.until(60).await;
    let shown: Value = serde_json::from_str(&world.client.snapshot().to_string()).unwrap();
    assert_eq!(shown["connected"], false);
    assert!(shown["age_ms"].as_u64().unwrap() > 50_000, "{shown}");
}

#[tokio::test]
async fn a_snapshot_of_very_many_breakers_is_bounded_and_shows_those_that_matter() {
    let fake = FakeClient::new(["bank-charge"]);
    let client = fake.client();
    let keys: Vec<String> = (0..SNAPSHOT_BREAKERS_MAX + 7).map(|key| format!("{key:05}")).collect();
    let held: Vec<_> = keys.iter().map(|key| client.breaker("bank-charge", &[key]).unwrap()).collect();
    fake.open("bank-charge", &["zzzz"]).unwrap();
    let snapshot = client.snapshot();
    assert_eq!((snapshot.breakers.len(), snapshot.left_out), (SNAPSHOT_BREAKERS_MAX, 8));
    assert_eq!(snapshot.breakers[0].breaker.as_str(), "bank-charge/zzzz", "the open one comes first");
    assert_eq!(client.breakers().len(), held.len() + 1, "the list is whole");
}
