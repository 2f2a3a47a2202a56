//! The fake client that users test their own programs with: without a store, without a runtime.

use cutout::{FakeClient, Reason, State};

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
    tokio::time::advance(std::time::Duration::from_secs(3_600)).await;
    assert_eq!(client.health().age, Some(std::time::Duration::ZERO), "it answers all the time");
    fake.lose_store();
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    let health = client.health();
    assert_eq!((health.connected, health.age), (false, Some(std::time::Duration::from_secs(60))));
    fake.regain_store();
    assert!(client.health().connected);
}
