//! Operation classes, watch mode and held openings: who is refused, and what is counted of the others.

use crate::counted::Counted;
use crate::world::{World, percent};
use cutout::{Breaker, State};
use cutout_core::{Hold, Mode, Policy};

const COUNT: &str = "cutout_client_would_refuse_total";

fn would_refuse(breaker: &Breaker) -> f64 {
    percent(|| breaker.admit().unwrap().would_refuse())
}

fn only_charges() -> Policy {
    Policy { refuse: ["charge".to_owned()].into(), ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn only_listed_classes_and_calls_without_one_are_refused() {
    let mut world = World::new(only_charges()).await;
    let [charge, refund] = ["charge", "refund"].map(|class| world.bank.for_class(class));
    assert_eq!((refund.class(), refund.id(), world.bank.class()), (Some("refund"), world.bank.id(), None));
    world.reported("Alert").await;
    let admitted = [&charge, &refund, &world.bank].map(|breaker| percent(|| breaker.admit().is_ok()));
    assert!(admitted[0] < 2.0 && admitted[1] >= 100.0 && admitted[2] < 2.0, "{admitted:?}");
    assert_eq!(refund.state(), State::Open, "the breaker is open for whoever asks");

    let mut world = World::new(Policy::default()).await;
    let refund = world.bank.for_class("refund");
    world.reported("Alert").await;
    assert!(percent(|| refund.admit().is_ok()) < 2.0, "no list: every class is refused");
}

#[tokio::test(start_paused = true)]
async fn watch_mode_refuses_nobody_and_counts_by_name_and_class() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy { mode: Mode::Watch, ..only_charges() }).await;
    let [charge, refund] = ["charge", "refund"].map(|class| world.bank.for_class(class));
    assert!(would_refuse(&charge) <= 0.0);
    world.reported("Alert").await;
    assert_eq!(charge.state(), State::Closed);
    let shares = [&charge, &refund, &world.bank].map(would_refuse);
    assert!(shares[0] > 98.0 && shares[1] <= 0.0 && shares[2] > 98.0, "{shares:?}");
    world.until(2).await;
    let told = |class: &str| counted.get(&format!("{COUNT}{{breaker=bank-charge,class={class},why=watch}}"));
    assert!((told("charge") - shares[0] * 100.0).abs() < 0.5, "{} for {}", told("charge"), shares[0]);
    assert!((told("none") - shares[2] * 100.0).abs() < 0.5);
    assert_eq!(
        counted.all(COUNT).len(),
        2,
        "no key is a label, no class that passes: {:?}",
        counted.all(COUNT)
    );

    // What would be refused follows time, as what is refused does.
    world.until(5).await;
    world.reported("OK").await;
    world.until(180).await;
    assert!((40.0..=50.0).contains(&would_refuse(&charge)), "half-way on the ramp");
    world.until(331).await;
    assert!(would_refuse(&charge) <= 0.0);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_is_held_back_shows_and_refuses_nobody() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    world.hold = Some(Hold::Paused);
    world.reported("Alert").await;
    assert!(would_refuse(&world.bank) > 98.0);
    assert_eq!(world.bank.state(), State::Closed);
    // The last counts are told when the client goes.
    let World { client, .. } = world;
    drop(client);
    assert!(counted.get(&format!("{COUNT}{{breaker=bank-charge,class=none,why=held}}")) > 9_800.0);
}
