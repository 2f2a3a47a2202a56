//! A second vendor while the first one's breaker is open, and fallback.

use crate::counted::Counted;
use crate::vendor::{BAD, GOOD, Vendor, force_open, ms, upstream};
use crate::world::World;
use cutout::{Bulkhead, CallError, Failover, FakeClient, Lane, Retries, Upstream};
use cutout_core::Policy;
use tower::{BoxError, Layer, ServiceExt, service_fn};

const LABELS: &str = "{breaker=bank-charge,class=none}";

#[tokio::test(start_paused = true)]
async fn the_second_is_called_while_the_first_refuses_and_at_no_other_time() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let upstream = upstream(&world, |it| it.bulkhead(Bulkhead { max_concurrent: 1, max_waiting: 0 }));
    let vendors = Failover::new(upstream.lane(&["0001"]), upstream.lane(&["0002"]));
    let (first, second) = (Vendor::new([BAD, (ms(100), Ok(1))]), Vendor::new([GOOD]));
    let ask = async || {
        let on = |lane: &Lane| {
            let is_first = lane.breaker().id().as_str() == "bank-charge/0001";
            if is_first { first.ask() } else { second.ask() }
        };
        vendors.call(on).await
    };
    assert!(matches!(ask().await, Err(CallError::Failed(_))), "a failure may have done something");
    let (one, other) = tokio::join!(ask(), ask());
    assert!(one.is_ok() && matches!(other, Err(CallError::Overflow(_))), "too many is too many there too");
    assert_eq!((first.count(), second.count()), (2, 0));
    force_open(&mut world).await;
    assert!(ask().await.is_ok());
    assert_eq!((first.count(), second.count()), (2, 1));
    world.until(5).await;
    assert_eq!(counted.get(&format!("cutout_client_failovers_total{LABELS}")), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_takes_the_place_of_the_errors_it_wants_and_is_counted() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let bank = upstream(&world, |it| it).lane(&["0001"]);
    let vendor = Vendor::new([BAD, GOOD]);
    let if_not_sent = |error: &CallError<_>| error.is_not_sent().then_some(7);
    let failed = bank.fall_back(bank.call(|| vendor.ask()).await, if_not_sent);
    assert!(matches!(failed, Err(CallError::Failed(_))));
    assert_eq!(bank.fall_back(bank.call(|| vendor.ask()).await, if_not_sent).unwrap(), 1);
    force_open(&mut world).await;
    assert_eq!(bank.fall_back(bank.call(|| vendor.ask()).await, if_not_sent).unwrap(), 7);
    world.until(5).await;
    assert_eq!(counted.get(&format!("cutout_client_fallbacks_total{LABELS}")), 1.0);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_done_twice_is_retried_where_it_went() {
    let mut world = World::new(Policy::default()).await;
    let two = Retries::up_to(2).budget(100, 10).backoff(ms(1), ms(1));
    let upstream = upstream(&world, |it| it.retries(two));
    let vendors = Failover::new(upstream.lane(&["0001"]), upstream.lane(&["0002"]));
    let vendor = Vendor::new([BAD, BAD, GOOD]);
    let asked = std::sync::Mutex::new(Vec::new());
    let ask = async || {
        let on = |lane: &Lane| {
            asked.lock().unwrap().push(lane.breaker().id().key().to_owned());
            vendor.ask()
        };
        (vendors.call_idempotent(on).await.ok(), std::mem::take(&mut *asked.lock().unwrap()))
    };
    assert_eq!(ask().await, (Some(1), vec!["0001".to_owned(); 3]));
    force_open(&mut world).await;
    assert_eq!(ask().await, (Some(1), vec!["0002".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_second_vendor_without_a_key_or_with_another_is_asked_by_its_own() {
    const NO_TAGS: [&str; 0] = [];
    let fake = FakeClient::new(["bank", "aggregator", "network"])
        .keyed("bank", ["bank_code"])
        .keyed("aggregator", NO_TAGS);
    let upstream = |name: &str| Upstream::builder(name).build(&fake.client()).unwrap();
    let by_bank = cutout::tower::protect(&upstream("bank")).key(|bank: &&str| Some(bank));
    let ask = async |protection: &cutout::Protection<&'static str, &'static str, BoxError>| {
        let service = protection.layer(service_fn(async |bank: &'static str| Ok::<_, BoxError>(bank)));
        let error = service.oneshot("0002").await.err()?;
        let Some(CallError::Refused(refused)) = cutout::tower::told(&error) else { panic!("{error}") };
        Some(refused.breaker().to_string())
    };
    let keyless = by_bank.clone().failover(upstream("aggregator"), |bank| bank);
    let to_network = |_: &&str| vec!["visa".to_owned()];
    let by_network = by_bank.failover_by(upstream("network"), to_network, |bank| bank);
    fake.open("bank", &["0002"]).unwrap();
    assert_eq!((ask(&keyless).await, ask(&by_network).await), (None, None));
    fake.open::<&str>("aggregator", &[]).unwrap();
    fake.open("network", &["visa"]).unwrap();
    assert_eq!(ask(&keyless).await.as_deref(), Some("aggregator"));
    assert_eq!(ask(&by_network).await.as_deref(), Some("network/visa"));
}
