//! The plain door: a call through a breaker, and what is counted of it.

use crate::counted::Counted;
use crate::vendor::{BAD, Down, GOOD, Vendor, force_open, ms, upstream};
use crate::world::World;
use cutout::{CallError, Outcome};
use cutout_core::Policy;

const COUNT: &str = "cutout_client_calls_total";

fn count(counted: &Counted, class: &str, outcome: &str) -> f64 {
    counted.get(&format!("{COUNT}{{breaker=bank-charge,class={class},outcome={outcome}}}"))
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_outcome_and_class_and_a_refusal_is_no_failure() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let charge = world.bank.for_class("charge");
    let vendor = Vendor::new([GOOD, GOOD, BAD]);
    for expected in [Some(1), Some(1), None] {
        assert_eq!(charge.call(|| vendor.ask()).await.ok(), expected);
    }
    assert!(matches!(charge.call_blocking(|| Err::<(), _>(Down)), Err(CallError::Failed(Down))));
    world.bank.call_blocking(|| Ok::<_, Down>(())).unwrap();
    force_open(&mut world).await;
    for _ in 0..3 {
        let refused = charge.call(|| vendor.ask()).await.unwrap_err();
        assert!(refused.is_not_sent() && matches!(refused, CallError::Refused(_)));
    }
    assert!(charge.admit().is_err(), "who only asks is counted too");
    assert_eq!(vendor.count(), 3, "nothing was sent while it was open");
    world.until(5).await;
    let charges = ["success", "failure", "refused"].map(|outcome| count(&counted, "charge", outcome));
    assert_eq!(charges, [2.0, 2.0, 4.0]);
    assert_eq!(count(&counted, "none", "success"), 1.0);
    assert_eq!(counted.all(COUNT).len(), 4, "no key is a label: {:?}", counted.all(COUNT));
}

#[tokio::test(start_paused = true)]
async fn the_caller_tells_what_is_a_failure() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let vendor = Vendor::new([BAD]);
    let declined = |_: &Result<u32, Down>| Outcome::Success;
    let result = world.bank.call_by(declined, || vendor.ask()).await;
    assert_eq!(result.unwrap_err().into_failed(), Some(Down), "the caller gets it as it is");
    world.until(2).await;
    assert_eq!((count(&counted, "none", "success"), count(&counted, "none", "failure")), (1.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_under_way_shows_and_one_that_is_dropped_is_cancelled() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let vendor = Vendor::new([(ms(10_000), Ok(1))]);
    let in_flight = || counted.get("cutout_client_calls_in_flight{breaker=bank-charge,class=none}");
    {
        let mut calls = Box::pin(async {
            tokio::join!(world.bank.call(|| vendor.ask()), world.bank.call(|| vendor.ask()))
        });
        tokio::select! {
            _ = &mut calls => panic!("they take longer"),
            () = world.until(5) => {}
        }
        assert_eq!(in_flight(), 2.0);
    }
    world.until(7).await;
    assert_eq!((in_flight(), count(&counted, "none", "cancelled")), (0.0, 2.0));
    assert_eq!(counted.all(COUNT).len(), 1, "it says nothing about the vendor: {:?}", counted.all(COUNT));
}

#[tokio::test(start_paused = true)]
async fn gauges_tell_how_many_keys_are_not_closed_and_for_how_long() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let breakers =
        |state: &str| counted.get(&format!("cutout_client_breakers{{breaker=bank-charge,state={state}}}"));
    let age = || counted.get("cutout_client_state_age_seconds{breaker=bank-charge}");
    world.reported("Alert").await;
    world.until(42).await;
    assert_eq!((breakers("open"), breakers("half-open")), (1.0, 0.0));
    assert!((40.0..=42.1).contains(&age()), "{}", age());
    world.reported("OK").await;
    world.until(62).await;
    assert_eq!((breakers("open"), breakers("half-open")), (0.0, 1.0));
    assert!((18.0..=20.1).contains(&age()), "{}", age());
    world.until(600).await;
    assert_eq!((breakers("open"), breakers("half-open"), age()), (0.0, 0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_may_be_counted_by_its_key_so_that_a_monitor_sees_each_bank() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let banks = upstream(&world, |it| it.class("charge").key_tags(["bank_code"]));
    let (good, bad) = (Vendor::new([GOOD]), Vendor::new([BAD]));
    banks.lane(&["0001"]).call(|| good.ask()).await.unwrap();
    assert!(banks.lane(&["0002"]).call(|| bad.ask()).await.is_err());
    world.until(2).await;
    let of = |bank: &str, outcome: &str| {
        let labels = format!("breaker=bank-charge,class=charge,bank_code={bank},outcome={outcome}");
        counted.get(&format!("{COUNT}{{{labels}}}"))
    };
    assert_eq!((of("0001", "success"), of("0002", "failure")), (1.0, 1.0));
    assert_eq!(counted.all(COUNT).len(), 2, "{:?}", counted.all(COUNT));
}
