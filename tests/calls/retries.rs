//! Retries: what is tried again, how often, how soon, and what never is.

use crate::counted::Counted;
use crate::vendor::{BAD, GOOD, Vendor, force_open, lane, ms};
use crate::world::World;
use cutout::{Bulkhead, CallError, Retries};
use cutout_core::Policy;

const LABELS: &str = "{breaker=bank-charge,class=none}";

fn two() -> Retries {
    Retries::up_to(2).backoff(ms(100), ms(1_000))
}

#[tokio::test(start_paused = true)]
async fn what_fails_or_times_out_is_tried_again_after_growing_waits_if_it_may_be_done_twice() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let bank = lane(&world, |it| it.retries(two()).try_timeout(ms(500)));
    let vendor = Vendor::new([BAD, (ms(60_000), Ok(1)), GOOD]);
    assert_eq!(bank.call_idempotent(|| vendor.ask()).await.unwrap(), 1);
    let at = vendor.asked();
    let waits = [at[1] - at[0], at[2] - at[1] - ms(500)];
    for (wait, base) in waits.iter().zip([100, 200]) {
        assert!(*wait >= ms(base) && *wait <= ms(2 * base + 3), "{waits:?}");
    }

    let failing = Vendor::new([BAD]);
    assert!(matches!(bank.call_idempotent(|| failing.ask()).await, Err(CallError::Failed(_))));
    assert_eq!(failing.count(), 3, "and no more");
    let once = Vendor::new([BAD]);
    assert!(bank.call(|| once.ask()).await.is_err());
    assert_eq!(once.count(), 1, "what is not known to be idempotent is never done twice");
    let unset = lane(&world, |it| it);
    assert!(unset.call_idempotent(|| once.ask()).await.is_err());
    assert_eq!(once.count(), 2, "nor is anything retried that was not asked for");
    world.until(10).await;
    assert_eq!(counted.get(&format!("cutout_client_retries_total{LABELS}")), 4.0);
    let count = |outcome: &str| {
        counted.get(&format!("cutout_client_calls_total{{breaker=bank-charge,class=none,outcome={outcome}}}"))
    };
    assert_eq!((count("success"), count("failure"), count("timeout")), (1.0, 6.0, 1.0), "every try counts");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_is_down_is_spared_by_the_budget() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let bank = lane(&world, |it| it.retries(two().budget(20, 0).backoff(ms(1), ms(1))));
    let vendor = Vendor::new([BAD]);
    for _ in 0..200 {
        assert!(bank.call_idempotent(|| vendor.ask()).await.is_err());
    }
    assert!((230..=240).contains(&vendor.count()), "{} for 200 calls", vendor.count());
    world.until(20).await;
    assert!(counted.get(&format!("cutout_client_retries_withheld_total{LABELS}")) >= 160.0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_never_retried_and_earns_the_budget_nothing() {
    let mut world = World::new(Policy::default()).await;
    let bank = lane(&world, |it| it.retries(two().budget(100, 0)));
    force_open(&mut world).await;
    let vendor = Vendor::new([BAD]);
    for _ in 0..50 {
        assert!(matches!(bank.call_idempotent(|| vendor.ask()).await, Err(CallError::Refused(_))));
    }
    assert_eq!(vendor.count(), 0);
    world.ordered(cutout_core::Act::Force { state: cutout_core::Forced::Closed, until_ms: None }).await;
    assert!(bank.call_idempotent(|| vendor.ask()).await.is_err());
    assert_eq!(vendor.count(), 2, "one call has earned one retry; fifty refusals none");

    let full = lane(&world, |it| it.retries(two()).bulkhead(Bulkhead { max_concurrent: 1, max_waiting: 0 }));
    let slow = Vendor::new([(ms(1_000), Ok(1))]);
    let (_, second) = tokio::join!(full.call(|| slow.ask()), full.call_idempotent(|| slow.ask()));
    assert!(matches!(second, Err(CallError::Overflow(_))) && slow.count() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_refused_leaves_the_answer_of_the_try_that_was_made() {
    let mut world = World::new(Policy::default()).await;
    let bank = lane(&world, |it| it.retries(two()));
    let vendor = Vendor::new([BAD]);
    let (result, ()) = tokio::join!(bank.call_idempotent(|| vendor.ask()), async {
        tokio::time::sleep(ms(50)).await;
        force_open(&mut world).await;
    });
    assert!(
        matches!(result, Err(CallError::Failed(_))),
        "it was sent, so it must not say that it was not: {result:?}"
    );
    assert_eq!(vendor.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_retry_begins_that_the_calls_time_has_no_room_for() {
    let world = World::new(Policy::default()).await;
    let bank = lane(&world, |it| it.retries(two()).request_timeout(ms(1_000)));
    let vendor = Vendor::new([(ms(950), Err(crate::vendor::Down))]);
    let started = tokio::time::Instant::now();
    assert!(matches!(bank.call_idempotent(|| vendor.ask()).await, Err(CallError::Failed(_))));
    assert!(vendor.count() == 1 && started.elapsed() < ms(960), "{:?}", started.elapsed());
}
