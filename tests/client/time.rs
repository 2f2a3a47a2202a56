//! What time alone changes, as the client finds it in the flag: no message comes between one line and the next.

use crate::counted::Counted;
use crate::world::World;
use cutout::{Reason, State};
use cutout_core::{Act, Forced, OnStale, Policy};
use cutout_flags::Store;
use std::ops::RangeInclusive;

/// Half-open's first share, as drawn, in percent.
const FIRST: RangeInclusive<f64> = 8.0..=12.0;
const HALF_WAY: RangeInclusive<f64> = 52.0..=58.0;
/// The default probe share, as drawn, in percent.
const PROBES: RangeInclusive<f64> = 0.5..=1.6;

async fn sees(world: &World, seconds: u64, state: State, share: RangeInclusive<f64>) {
    world.until(seconds).await;
    let (seen, admitted) = (world.bank.state(), world.share());
    assert_eq!(seen, state, "after {seconds} s");
    assert!(share.contains(&admitted), "{admitted} % admitted after {seconds} s, {share:?} expected");
}

fn all() -> RangeInclusive<f64> {
    100.0..=100.0
}

#[tokio::test(start_paused = true)]
async fn after_the_least_time_open_the_ramp_runs_to_closed() {
    let mut world = World::new(Policy::default()).await;
    world.reported("Alert").await;
    sees(&world, 3, State::Open, PROBES).await;
    world.until(5).await;
    world.reported("OK").await;
    sees(&world, 29, State::Open, PROBES).await;
    let refused = (0..1_000).find_map(|_| world.ask().err()).unwrap();
    assert_eq!((refused.state(), refused.reason()), (State::Open, Reason::Signals));
    assert_eq!((refused.since(), refused.until()), (world.at(0), Some(world.at(30))));

    sees(&world, 31, State::HalfOpen, FIRST).await;
    let refused = (0..1_000).find_map(|_| world.ask().err()).unwrap();
    assert_eq!((refused.state(), refused.reason()), (State::HalfOpen, Reason::Share));
    assert_eq!(refused.until(), Some(world.at(330)));
    assert!(
        refused.to_string().contains("half-open and this call is not in the admitted share"),
        "{refused}"
    );
    sees(&world, 180, State::HalfOpen, HALF_WAY).await;
    sees(&world, 331, State::Closed, all()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_no_report_agrees_with_lapses_into_the_ramp() {
    let mut world = World::new(Policy::default()).await;
    world.hinted().await;
    sees(&world, 299, State::Open, PROBES).await;
    sees(&world, 301, State::HalfOpen, FIRST).await;
    sees(&world, 601, State::Closed, all()).await;
}

#[tokio::test(start_paused = true)]
async fn a_forced_open_admits_no_probe_and_ends_in_the_ramp() {
    let mut world = World::new(Policy::default()).await;
    let until_ms = Some(world.now_ms() + 60_000);
    world.ordered(Act::Force { state: Forced::Open, until_ms }).await;
    // Two minutes' worth of due probes in 59 seconds, were they not a person's to forbid.
    for seconds in [1, 31, 59] {
        sees(&world, seconds, State::Open, 0.0..=0.0).await;
    }
    let refused = world.ask().unwrap_err();
    assert_eq!((refused.reason(), refused.until()), (Reason::Override, Some(world.at(60))));
    sees(&world, 61, State::HalfOpen, FIRST).await;
    sees(&world, 361, State::Closed, all()).await;
}

#[tokio::test(start_paused = true)]
async fn a_forced_close_ends_in_what_the_signals_say() {
    let mut world = World::new(Policy::default()).await;
    world.reported("Alert").await;
    let until_ms = Some(world.now_ms() + 60_000);
    world.ordered(Act::Force { state: Forced::Closed, until_ms }).await;
    sees(&world, 59, State::Closed, all()).await;
    sees(&world, 61, State::Open, PROBES).await;
    let refused = (0..1_000).find_map(|_| world.ask().err()).unwrap();
    let since_s = refused.since().duration_since(world.at(0)).unwrap().as_secs();
    assert_eq!((refused.reason(), since_s), (Reason::Signals, 60), "it is open since the override's end");
}

#[tokio::test(start_paused = true)]
async fn what_no_report_confirms_goes_stale_as_its_policy_says() {
    let policies = [
        (OnStale::HalfOpen, [(State::HalfOpen, FIRST), (State::HalfOpen, FIRST)]),
        (OnStale::Hold, [(State::Open, PROBES), (State::Open, PROBES)]),
        (OnStale::Close, [(State::HalfOpen, FIRST), (State::Closed, all())]),
    ];
    for (on_stale, [then, at_last]) in policies {
        let mut world = World::new(Policy { on_stale, ..Policy::default() }).await;
        world.reported("Alert").await;
        sees(&world, 899, State::Open, PROBES).await;
        sees(&world, 901, then.0, then.1).await;
        sees(&world, 1_202, at_last.0, at_last.1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_that_only_a_snapshot_shows_is_taken() {
    let mut world = World::new(Policy::default()).await;
    world.reported("Alert").await;
    world.until(800).await;
    let rev = world.store.snapshot().await.unwrap().flags[0].1.rev;
    world.confirmed("Alert").await;
    let stored = world.store.snapshot().await.unwrap().flags.remove(0).1;
    assert_eq!(stored.rev, rev, "it is no change");
    sees(&world, 901, State::Open, PROBES).await;
    sees(&world, 1_699, State::Open, PROBES).await;
    sees(&world, 1_701, State::HalfOpen, FIRST).await;
}

#[tokio::test(start_paused = true)]
async fn while_open_each_30_s_bring_one_probe_although_no_draw_admits() {
    let mut world = World::new(Policy { probe_ppm: 1, ..Policy::default() }).await;
    world.reported("Alert").await;
    let start_s = 1;
    let mut probes = Vec::new();
    for seconds in start_s..300 {
        world.until(seconds).await;
        // Many callers ask, and one of them at the most is the probe.
        let admitted = (0..20).filter(|_| world.ask().is_ok()).count();
        assert!(admitted <= 1, "{admitted} at once after {seconds} s");
        probes.extend((admitted == 1).then_some(seconds));
    }
    assert!((9..=10).contains(&probes.len()), "{probes:?}");
    assert!(probes[0] <= 31 && probes.windows(2).all(|pair| pair[1] - pair[0] == 30), "{probes:?}");
}

#[tokio::test(start_paused = true)]
async fn data_that_the_store_lost_are_counted_and_what_was_known_is_held() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    world.reported("Alert").await;
    world.store.lose_everything();
    sees(&world, 40, State::Open, PROBES).await;
    assert_eq!(world.client.health().losses, 1);
    assert_eq!(counted.get("cutout_client_store_losses_total{}"), 1.0);
    sees(&world, 200, State::Closed, all()).await;
}
