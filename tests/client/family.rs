//! Keys that come with the call: a family answers as the handles do, and keeps nothing of what it is asked for.

use crate::world::World;
use cutout::{FakeClient, MaxStaleness, Reason, State};
use cutout_core::{Mode, Policy};
use std::time::Duration;

type Put = fn(&FakeClient) -> Result<(), cutout::UnknownBreaker>;

#[test]
fn it_answers_as_the_handle_does_in_every_state_and_for_every_class() {
    let key = &["0001"];
    let states: [(&str, Put); 8] = [
        ("never seen", |_| Ok(())),
        ("open", |fake| fake.open("bank-charge", &["0001"])),
        ("open for charges", |fake| fake.open_for("bank-charge", &["0001"], &["charge"])),
        ("forced open", |fake| fake.force_open("bank-charge", &["0001"])),
        ("half-open, none", |fake| fake.half_open("bank-charge", &["0001"], 0)),
        ("half-open, all", |fake| fake.half_open("bank-charge", &["0001"], 100)),
        ("watch", |fake| fake.watch("bank-charge", &["0001"])),
        ("closed", |fake| fake.close("bank-charge", &["0001"])),
    ];
    let fake = FakeClient::new(["bank-charge", "card-network"]);
    let (banks, bank) =
        (fake.client().family("bank-charge").unwrap(), fake.client().breaker("bank-charge", key).unwrap());
    for (state, put) in states {
        put(&fake).unwrap();
        for class in ["charge", "refund"] {
            let by_handle = bank.for_class(class).admit().map(|permit| permit.would_refuse());
            let by_key = banks.for_class(class).admit(key).map(|permit| permit.would_refuse());
            let told = |answer: &Result<bool, cutout::Refused>| {
                answer.as_ref().map_err(ToString::to_string).cloned()
            };
            assert_eq!(told(&by_key), told(&by_handle), "{class} while {state}");
            assert_eq!(banks.for_class(class).breaker(key).admit().is_ok(), by_handle.is_ok(), "{state}");
        }
        assert!(banks.admit(&["0002"]).is_ok(), "another key while {state}");
        assert!(banks.admit::<&str>(&[]).is_ok(), "no key while {state}");
    }
    assert!(fake.client().family("bank-chrage").is_err());
}

#[test]
fn keys_are_spelled_as_the_service_spells_them() {
    let fake = FakeClient::new(["bank-charge"]);
    let banks = fake.client().family("bank-charge").unwrap();
    fake.open("bank-charge", &["Ä/b", "C"]).unwrap();
    assert!(banks.admit(&["ä/B", "c"]).is_err());
    assert!(banks.admit(&["ä", "b", "c"]).is_ok());
    assert_eq!(banks.admit(&["Ä/B", "C"]).unwrap_err().breaker().as_str(), "bank-charge/%C3%A4%2Fb/c");
}

#[test]
fn every_thread_sees_every_change_and_clients_do_not_mix() {
    let (one, other) = (FakeClient::new(["bank-charge"]), FakeClient::new(["bank-charge"]));
    let [banks, others] = [&one, &other].map(|fake| fake.client().family("bank-charge").unwrap());
    other.open("bank-charge", &["9999"]).unwrap();
    for round in 0..50 {
        let key = [format!("{round:04}")];
        one.open("bank-charge", &key).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..2 {
                        assert!(banks.admit(&key).is_err() && others.admit(&key).is_ok());
                        assert!(others.admit(&["9999"]).is_err() && banks.admit(&["9999"]).is_ok());
                    }
                });
            }
        });
        assert!(banks.admit(&key).is_err());
        one.close("bank-charge", &key).unwrap();
        assert!(banks.admit(&key).is_ok());
    }
}

#[tokio::test]
async fn what_it_is_asked_for_leaves_nothing_behind() {
    let fake = FakeClient::new(["bank-charge"]);
    let banks = fake.client().family("bank-charge").unwrap();
    fake.open("bank-charge", &["0001"]).unwrap();
    let asked = |keys: std::ops::Range<u32>| {
        let ask = || keys.clone().for_each(|key| assert!(banks.admit(&[key.to_string()]).is_ok()));
        allocation_counter::measure(ask).bytes_current
    };
    asked(10_000..10_001);
    assert_eq!(asked(20_000..30_000), 0, "bytes");
    assert_eq!(fake.client().breakers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn beyond_max_staleness_keys_that_nobody_has_heard_of_are_refused_too() {
    let limit = MaxStaleness::OpenAfter(Duration::from_secs(600));
    let mut world =
        World::with(Policy { mode: Mode::Watch, ..Policy::default() }, |set| set.max_staleness(limit)).await;
    let banks = world.client.family("bank-charge").unwrap();
    world.reported("Alert").await;
    world.cut();
    world.until(599).await;
    assert!(banks.admit(&["0001"]).is_ok() && banks.admit(&["0002"]).is_ok());
    world.until(610).await;
    let refused = banks.admit(&["0002"]).unwrap_err();
    assert_eq!((refused.reason(), refused.state()), (Reason::Staleness, State::Open));
    assert_eq!(refused.breaker().as_str(), "bank-charge/0002");
    assert!(banks.admit(&["0001"]).is_ok_and(|permit| permit.would_refuse()), "watch mode refuses nobody");
    world.mend().await;
    assert!(banks.admit(&["0002"]).is_ok());
}
