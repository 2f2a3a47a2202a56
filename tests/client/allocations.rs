//! Asking a breaker allocates nothing, whatever its state. Counted for the asking thread alone: the follower may allocate.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with the tests of the client")]
mod world;

use cutout_core::{Act, Forced, Hold, Mode, Policy};
use world::World;

const ASKED: u64 = 1_000;

/// Allocations of [`ASKED`] questions on `breaker`. The first one on a thread may set up the thread's own state.
fn allocations(breaker: &cutout::Breaker) -> u64 {
    let _ = breaker.admit();
    let counted = allocation_counter::measure(|| {
        for _ in 0..ASKED {
            let _ = std::hint::black_box(breaker.admit());
        }
    });
    counted.count_total
}

/// The same for calls that do nothing.
fn called(breaker: &cutout::Breaker) -> u64 {
    let call = || drop(std::hint::black_box(breaker.call_blocking(|| Ok::<_, std::fmt::Error>(()))));
    call();
    allocation_counter::measure(|| (0..ASKED).for_each(|_| call())).count_total
}

#[tokio::test]
async fn no_answer_allocates() {
    // The counter counts at all.
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);

    let mut world = World::new(Policy::default()).await;
    let [charge, unknown] =
        [world.bank.for_class("charge"), world.client.breaker("bank-charge", &["0002"]).unwrap()];
    assert_eq!((allocations(&charge), allocations(&unknown)), (0, 0), "no flag");
    assert_eq!(called(&charge), 0, "a call, with its counts");
    world.reported("Alert").await;
    assert_eq!(charge.state(), cutout::State::Open);
    assert_eq!(called(&charge), 0, "a call that is refused");
    assert_eq!((allocations(&charge), allocations(&unknown)), (0, 0), "open");
    world.reported("OK").await;
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
    assert_eq!(allocations(&charge), 0, "forced");
    world.ordered(Act::Clear).await;
    assert_eq!(charge.state(), cutout::State::HalfOpen);
    assert_eq!(allocations(&charge), 0, "half-open");

    let policy = Policy { mode: Mode::Watch, refuse: ["charge".to_owned()].into(), ..Policy::default() };
    let mut watched = World::new(policy).await;
    watched.reported("Alert").await;
    let classes = ["charge", "refund"].map(|class| allocations(&watched.bank.for_class(class)));
    assert_eq!(classes, [0, 0], "watch mode");

    let banks = world.client.family("bank-charge").unwrap();
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
    let by_key = |key: &str| {
        assert_eq!(banks.admit(&[key]).is_err(), key == "0001");
        allocation_counter::measure(|| (0..ASKED).for_each(|_| drop(banks.admit(&[key])))).count_total
    };
    assert_eq!((by_key("0001"), by_key("0002")), (0, 0), "keys that come with the call");

    let mut held = World::new(Policy::default()).await;
    held.hold = Some(Hold::Paused);
    held.reported("Alert").await;
    assert_eq!(allocations(&held.bank), 0, "held");
}
