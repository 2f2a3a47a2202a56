//! The fake client that users test their own programs with: without a store, without a runtime.

use crate::counted::Counted;
use cutout::{CallError, FakeClient, FakeFault, Reason, State, Upstream};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

#[test]
fn a_test_puts_breakers_into_every_state_at_once_and_without_luck() {
    let fake = FakeClient::new(["bank-charge"]);
    let client = fake.client();
    let bank = client.breaker("bank-charge", &["0001"]).unwrap();
    let (charge, refund) = (bank.for_class("charge"), bank.for_class("refund"));
    let refused = |reason| (0..1_000).all(|_| bank.admit().is_err_and(|error| error.reason() == reason));
    let admitted = || (0..1_000).all(|_| bank.admit().is_ok_and(|permit| !permit.would_refuse()));
    assert!(admitted());
    fake.open("bank-charge", &["0001"]).unwrap();
    assert!(refused(Reason::Signals), "no probe passes");
    fake.force_open("bank-charge", &["0001"]).unwrap();
    assert!(refused(Reason::Override));
    fake.open_for("bank-charge", &["0001"], &["charge"]).unwrap();
    assert!(charge.admit().is_err() && refund.admit().is_ok() && refused(Reason::Signals));
    fake.half_open("bank-charge", &["0001"], 0).unwrap();
    assert!(bank.state() == State::HalfOpen && refused(Reason::Share));
    fake.half_open("bank-charge", &["0001"], 100).unwrap();
    assert!(bank.state() == State::HalfOpen && admitted());
    fake.half_open("bank-charge", &["0001"], 30).unwrap();
    let share = (0..10_000).filter(|_| bank.admit().is_ok()).count();
    assert!((2_600..=3_400).contains(&share), "{share} of 10,000 at 30 %");
    fake.watch("bank-charge", &["0001"]).unwrap();
    assert!(bank.admit().unwrap().would_refuse() && bank.state() == State::Closed);
    fake.close("bank-charge", &["0001"]).unwrap();
    assert!(admitted());
}

#[test]
fn names_that_were_not_given_are_unknown_to_the_program_and_to_the_test() {
    let fake = FakeClient::new(["bank-charge", "card-network"]);
    let client = fake.client();
    assert_eq!(client.breaker("bank-chrage", &["0001"]).unwrap_err().nearest()[0], "bank-charge");
    assert!(fake.open("bank-chrage", &["0001"]).is_err());
    fake.open::<&str>("card-network", &[]).unwrap();
    assert!(client.breaker::<&str>("card-network", &[]).unwrap().admit().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_test_takes_the_store_away_and_time_passes_as_the_runtime_lets_it() {
    let fake = FakeClient::new(["bank-charge"]);
    let client = fake.client();
    assert!(client.health().connected);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(client.health().age, Some(Duration::ZERO), "it answers all the time");
    fake.lose_store();
    tokio::time::advance(Duration::from_secs(60)).await;
    let health = client.health();
    assert_eq!((health.connected, health.age), (false, Some(Duration::from_secs(60))));
    fake.regain_store();
    assert!(client.health().connected);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_a_test_injects_meets_every_call_beside_the_state_until_it_ends() {
    let fake = FakeClient::new(["bank-charge"]);
    let client = fake.client();
    let bank = Upstream::builder("bank-charge").build(&client).unwrap().lane(&["0001"]);
    let charge = async || bank.call(async || Ok::<_, io::Error>("charged")).await;
    let fault = || client.breakers().into_iter().find_map(|known| known.fault);
    assert!(charge().await.is_ok() && fault().is_none());

    fake.inject("bank-charge", &["0001"], FakeFault::abort()).unwrap();
    for _ in 0..100 {
        assert!(matches!(charge().await, Err(CallError::Injected(_))), "no luck is needed");
    }
    fake.inject("bank-charge", &["0001"], FakeFault::delay(Duration::from_millis(300)).then_abort()).unwrap();
    let started = Instant::now();
    let Err(CallError::Injected(injected)) = charge().await else { panic!("it was not injected") };
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300) && injected.after() == took, "{took:?}");
    let known = fault().unwrap();
    assert_eq!((known.abort_ppm, known.delay_ppm, known.delay_ms), (500_000, 500_000, 300));
    let json = client.snapshot().to_string();
    let shown = format!(
        r#""fault":{{"until_ms":{},"abort_ppm":500000,"delay_ppm":500000,"delay_ms":300,"header":null}}"#,
        known.until_ms
    );
    assert!(json.contains(&shown), "{json}");

    fake.open("bank-charge", &["0001"]).unwrap();
    assert!(matches!(charge().await, Err(CallError::Refused(_))), "a fault is only for what is admitted");
    fake.close("bank-charge", &["0001"]).unwrap();
    assert!(
        matches!(charge().await, Err(CallError::Injected(_))),
        "the state and the fault stand side by side"
    );
    fake.inject("bank-charge", &["0001"], FakeFault::abort().for_header("X-Drill", Some("yes"))).unwrap();
    assert!(charge().await.is_ok(), "a call that is no request bears no header");
    let header = fault().unwrap().header.unwrap();
    assert_eq!((header.name.as_str(), header.value.as_deref()), ("x-drill", Some("yes")));

    fake.inject("bank-charge", &["0001"], FakeFault::abort()).unwrap();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert!(charge().await.is_ok() && fault().is_none(), "no fault is without an end");
    fake.inject("bank-charge", &["0001"], FakeFault::abort()).unwrap();
    fake.end_fault("bank-charge", &["0001"]).unwrap();
    assert!(charge().await.is_ok() && fault().is_none());
    assert!(fake.inject("bank-chrage", &["0001"], FakeFault::abort()).is_err());
}

#[test]
fn counts_are_told_when_the_test_asks_for_them() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let fake = FakeClient::new(["bank-charge"]);
    let bank = fake.client().breaker("bank-charge", &["0001"]).unwrap();
    bank.call_blocking(|| Ok::<_, ()>(())).unwrap();
    fake.open("bank-charge", &["0001"]).unwrap();
    let calls = || counted.get("cutout_client_calls_total{breaker=bank-charge,class=none,outcome=success}");
    let open = || counted.get("cutout_client_breakers{breaker=bank-charge,state=open}");
    assert_eq!((calls(), open()), (0.0, 0.0), "nothing runs by itself");
    fake.tell_metrics();
    assert_eq!((calls(), open()), (1.0, 1.0));
}
