//! Faults that a person injects: how they meet calls, what they never count as, and that they end.

use crate::counted::Counted;
use crate::vendor::{BAD, GOOD, Vendor, lane, ms, upstream};
use crate::world::World;
use cutout::{CallError, Failover, Lane, LocalBreaker, Retries, State, Window};
use cutout_core::{Act, Fault, Mark, Policy};
use std::time::Duration;
use tokio::time::Instant;
use tower::{BoxError, Layer, ServiceExt, service_fn};

const COUNT: &str = "cutout_client_calls_total";
/// How many calls show a share: half of them, within six standard deviations.
const CALLS: usize = 1_000;
const ABOUT_HALF: std::ops::Range<usize> = 405..595;

type Request = http::Request<String>;

/// Ends half of the calls: the most without a mark.
fn aborts() -> Fault {
    Fault { since_ms: 0, until_ms: 0, abort_ppm: 500_000, delay_ppm: 0, delay_ms: 0, only: None }
}

fn delays(delay_ms: i64) -> Fault {
    Fault { abort_ppm: 0, delay_ppm: 500_000, delay_ms, ..aborts() }
}

/// Injects it for so many seconds from now.
async fn inject(world: &mut World, fault: Fault, seconds: i64) {
    let until_ms = world.now_ms() + seconds * 1_000;
    world.ordered(Act::Inject(Fault { until_ms, ..fault })).await;
}

/// How many of the calls were ended by the fault.
async fn injected(lane: &Lane, vendor: &Vendor) -> usize {
    let mut count = 0;
    for _ in 0..CALLS {
        match lane.call(|| vendor.ask()).await {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, CallError::Injected(_)) && error.is_not_sent(), "{error:?}");
                count += 1;
            }
        }
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_share_of_the_calls_ends_unsent_and_is_no_failure_of_the_vendor() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let local = LocalBreaker::over(Window::Time(Duration::from_secs(10))).failure_percent(1).min_calls(1);
    let lane = lane(&world, |it| it.local_breaker(local.consecutive_failures(1)).retries(Retries::up_to(2)));
    let vendor = Vendor::new([GOOD]);
    assert_eq!(injected(&lane, &vendor).await, 0, "off by default");
    inject(&mut world, aborts(), 60).await;
    let ended = injected(&lane, &vendor).await;
    assert!(ABOUT_HALF.contains(&ended), "{ended} of {CALLS}");
    assert_eq!(vendor.count(), 2 * CALLS - ended, "what the fault ends is not sent");
    let mut repeated = 0;
    for _ in 0..CALLS {
        repeated += usize::from(lane.call_idempotent(|| vendor.ask()).await.is_err());
    }
    assert!(ABOUT_HALF.contains(&repeated), "a call meets the fault once, and is not retried: {repeated}");
    world.until(10).await;
    let told =
        |outcome: &str| counted.get(&format!("{COUNT}{{breaker=bank-charge,class=none,outcome={outcome}}}"));
    let (ended, sent) = (u32::try_from(ended + repeated).unwrap(), u32::try_from(vendor.count()).unwrap());
    assert_eq!((told("injected"), told("success")), (f64::from(ended), f64::from(sent)));
    assert_eq!(counted.all(COUNT).len(), 2, "neither failures nor trips: {:?}", counted.all(COUNT));
    assert!(
        counted.all("cutout_client_retries").is_empty()
            && counted.all("cutout_client_local_trips").is_empty()
    );
    assert_eq!(counted.get("cutout_client_calls_in_flight{breaker=bank-charge,class=none}"), 0.0);
    assert_eq!((world.bank.state(), world.ask().is_ok()), (State::Closed, true), "who only asks is admitted");
}

#[tokio::test(start_paused = true)]
async fn a_fault_ends_at_its_time_or_by_a_person() {
    let mut world = World::new(Policy::default()).await;
    let (lane, vendor) = (lane(&world, |it| it), Vendor::new([GOOD]));
    inject(&mut world, aborts(), 60).await;
    world.until(59).await;
    assert!(injected(&lane, &vendor).await > 0);
    // Nobody writes another flag.
    world.until(61).await;
    assert_eq!(injected(&lane, &vendor).await, 0);
    inject(&mut world, aborts(), 60).await;
    assert!(injected(&lane, &vendor).await > 0);
    world.ordered(Act::EndFault).await;
    assert_eq!(injected(&lane, &vendor).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_nobody_reaches_injects_nothing() {
    let mut world = World::new(Policy::default()).await;
    let (lane, vendor) = (lane(&world, |it| it), Vendor::new([GOOD]));
    inject(&mut world, aborts(), 3_000).await;
    world.cut();
    world.until(60).await;
    assert!(injected(&lane, &vendor).await > 0, "the last known flag goes on");
    world.until(200).await;
    assert_eq!(injected(&lane, &vendor).await, 0, "nobody could end it");
    world.mend().await;
    assert!(injected(&lane, &vendor).await > 0);
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_time_within_the_calls_own_and_is_not_the_vendors() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let slow = LocalBreaker::over(Window::Time(Duration::from_secs(600))).slow_calls(ms(100), 1).min_calls(1);
    let lane = lane(&world, |it| it.request_timeout(ms(3_000)).local_breaker(slow.consecutive_failures(1)));
    let vendor = Vendor::new([GOOD]);
    inject(&mut world, delays(200), 3_600).await;
    let mut delayed = 0;
    for _ in 0..100 {
        let started = Instant::now();
        lane.call(|| vendor.ask()).await.unwrap();
        let took = started.elapsed();
        assert!(took <= ms(1) || (ms(200)..=ms(202)).contains(&took), "{took:?}");
        delayed += u32::from(took > ms(1));
    }
    assert!((20..80).contains(&delayed), "{delayed} of 100");
    world.until(100).await;
    let metric = "cutout_client_injected_delays_total{breaker=bank-charge,class=none}";
    assert_eq!(counted.get(metric), f64::from(delayed));
    let seconds =
        counted.get("cutout_client_call_seconds.sum{breaker=bank-charge,class=none,outcome=success}");
    assert!(seconds < 1.0, "the vendor's latency is without the delay: {seconds} s");

    // Longer than the call's time: it ends with that, and nothing was sent.
    inject(&mut world, delays(30_000), 3_600).await;
    let before = vendor.count();
    let (error, took) = loop {
        let started = Instant::now();
        if let Err(error) = lane.call(|| vendor.ask()).await {
            break (error, started.elapsed());
        }
    };
    let CallError::Injected(told) = &error else { panic!("{error:?}") };
    assert!((ms(3_000)..=ms(3_002)).contains(&took) && told.after() == took, "{took:?}, {told:?}");
    assert!(vendor.count() - before < 100 && error.is_not_sent());
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_a_delay_left_too_little_time_is_not_blamed() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let local =
        LocalBreaker::over(Window::Time(Duration::from_secs(600))).consecutive_failures(1).min_calls(1);
    let lane =
        lane(&world, |it| it.request_timeout(ms(3_000)).local_breaker(local).retries(Retries::up_to(2)));
    let vendor = Vendor::new([(ms(1_000), Ok(1))]);
    inject(&mut world, delays(2_500), 3_600).await;
    let mut cut_off = 0;
    for _ in 0..50 {
        match lane.call_idempotent(|| vendor.ask()).await {
            Ok(_) => {}
            Err(CallError::TimedOut(told)) => {
                assert_eq!(told.after(), ms(500), "it was sent, so what became of it is not known");
                cut_off += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(cut_off > 0 && vendor.count() == 50, "{cut_off} of 50, asked {} times", vendor.count());
    world.until(300).await;
    let told =
        |outcome: &str| counted.get(&format!("{COUNT}{{breaker=bank-charge,class=none,outcome={outcome}}}"));
    assert_eq!(
        (told("injected"), told("timeout"), told("success")),
        (f64::from(cut_off), 0.0, f64::from(50 - cut_off))
    );
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_fails_under_a_fault_still_fails_and_a_fault_goes_to_no_other_vendor() {
    let mut world = World::new(Policy::default()).await;
    let first = upstream(&world, |it| it);
    let vendors = Failover::new(first.lane(&["0001"]), first.lane(&["0002"]));
    inject(&mut world, aborts(), 60).await;
    let vendor = Vendor::new([BAD]);
    let (mut failed, mut injected) = (0, 0);
    for _ in 0..CALLS {
        match vendors
            .call(|lane| {
                assert_eq!(lane.breaker().id().key(), "0001");
                vendor.ask()
            })
            .await
        {
            Err(CallError::Failed(_)) => failed += 1,
            Err(CallError::Injected(_)) => injected += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(failed + injected == CALLS && ABOUT_HALF.contains(&injected), "{failed} and {injected}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_for_a_header_meets_requests_that_bear_it_and_no_others() {
    let mut world = World::new(Policy::default()).await;
    let protection = cutout::tower::protect_http(&upstream(&world, |it| it)).key(|_: &Request| Some("0001"));
    let service = protection.layer(service_fn(async |_: Request| Ok::<_, BoxError>(http::Response::new(()))));
    let ask = async |headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(http::Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let answer = service.clone().oneshot(request.body(String::new()).unwrap()).await;
        match answer.as_ref().err().map(|error| cutout::tower::told(error)) {
            None => "answered",
            Some(Some(CallError::Injected(_))) => "injected",
            other => panic!("{other:?}"),
        }
    };
    let all = |value: Option<&str>| {
        let only = Some(Mark { name: "x-drill".to_owned(), value: value.map(str::to_owned) });
        Fault { abort_ppm: 1_000_000, only, ..aborts() }
    };
    inject(&mut world, all(Some("bank down")), 60).await;
    for _ in 0..20 {
        assert_eq!(ask(&[]).await, "answered");
        assert_eq!(ask(&[("x-drill", "bank up")]).await, "answered");
        assert_eq!(ask(&[("X-Drill", "bank down")]).await, "injected");
        assert_eq!(ask(&[("x-drill", "bank up"), ("x-drill", "bank down")]).await, "injected");
    }
    inject(&mut world, all(None), 60).await;
    assert_eq!((ask(&[("x-drill", "")]).await, ask(&[("x-other", "")]).await), ("injected", "answered"));
    // A call that is no request bears nothing.
    let vendor = Vendor::new([GOOD]);
    assert_eq!(injected(&lane(&world, |it| it), &vendor).await, 0);
}

#[tokio::test(start_paused = true)]
async fn classes_that_are_never_refused_meet_no_fault() {
    let refuse = ["charge".to_owned()].into();
    let mut world = World::new(Policy { refuse, ..Policy::default() }).await;
    let vendor = Vendor::new([GOOD]);
    inject(&mut world, aborts(), 60).await;
    let [refund, charge] = ["refund", "charge"].map(|class| lane(&world, |it| it.class(class)));
    assert_eq!(injected(&refund, &vendor).await, 0);
    assert!(injected(&charge, &vendor).await > 0);
}
