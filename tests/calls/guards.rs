//! What stands around a call: time-outs, the bulkhead, the local breaker.

use crate::counted::Counted;
use crate::vendor::{BAD, GOOD, Vendor, force_open, lane, ms, upstream};
use crate::world::World;
use cutout::{Bulkhead, CallError, LocalBreaker, State, Timeout, Window};
use cutout_core::Policy;
use std::time::Duration;
use tokio::time::Instant;

const LABELS: &str = "breaker=bank-charge,class=none";

#[tokio::test(start_paused = true)]
async fn a_vendor_that_hangs_costs_a_call_its_time_and_no_more() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let vendor = Vendor::new([(ms(60_000), Ok(1))]);
    for (set, timeout, after) in [(None, Timeout::Request, 3_000), (Some(ms(500)), Timeout::Try, 500)] {
        let lane = lane(&world, |it| {
            let it = it.request_timeout(ms(3_000));
            if let Some(each) = set { it.try_timeout(each) } else { it }
        });
        let started = Instant::now();
        let Err(CallError::TimedOut(told)) = lane.call(|| vendor.ask()).await else { panic!("no time-out") };
        assert_eq!((told.timeout(), told.after()), (timeout, ms(after)));
        // The clock of timers ticks by the millisecond.
        assert!(started.elapsed() - ms(after) <= ms(2), "{:?}", started.elapsed());
    }
    world.until(10).await;
    let told = |name: &str| counted.get(&format!("{name}{{{LABELS},outcome=timeout}}"));
    assert_eq!((told("cutout_client_calls_total"), told("cutout_client_call_seconds")), (2.0, 2.0));
    assert!((told("cutout_client_call_seconds.sum") - 3.5).abs() < 0.22, "seconds within 6 %");
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_waits_in_a_bounded_line_or_is_refused_at_once() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let vendor = Vendor::new([(ms(4_000), Ok(1))]);
    let bulkhead = Bulkhead { max_concurrent: 2, max_waiting: 1 };
    let upstream = upstream(&world, |it| it.bulkhead(bulkhead));
    let (bank, other) = (upstream.lane(&["0001"]), upstream.lane(&["0002"]));
    let started = Instant::now();
    let timed = async || {
        let result = bank.call(|| vendor.ask()).await;
        (result, started.elapsed().as_millis() / 100)
    };
    let look = async {
        world.until(2).await;
        let gauge = |name: &str| counted.get(&format!("cutout_client_calls_{name}{{{LABELS}}}"));
        assert_eq!(
            (gauge("in_flight"), gauge("waiting")),
            (3.0, 1.0),
            "the other key's call is under way too"
        );
    };
    let (one, two, three, four, others, ()) =
        tokio::join!(timed(), timed(), timed(), timed(), other.call(|| vendor.ask()), look);
    assert!(one.0.is_ok() && two.0.is_ok() && others.is_ok());
    assert_eq!((three.0.unwrap(), three.1), (1, 80), "it waited for the first to end");
    let Err(CallError::Overflow(told)) = four.0 else { panic!("the line is longer than set") };
    assert_eq!((four.1, told.max_concurrent(), told.waited()), (0, 2, None), "at once");
    assert_eq!(told.breaker().as_str(), "bank-charge/0001");
    world.until(10).await;
    let count =
        |outcome: &str| counted.get(&format!("cutout_client_calls_total{{{LABELS},outcome={outcome}}}"));
    assert_eq!((count("success"), count("overflow"), count("failure")), (4.0, 1.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_leaves_the_line_and_a_time_out_gives_its_room_back() {
    let world = World::new(Policy::default()).await;
    let vendor = Vendor::new([(ms(60_000), Ok(1))]);
    let bank = lane(&world, |it| {
        it.bulkhead(Bulkhead { max_concurrent: 1, max_waiting: 1 }).request_timeout(ms(2_000))
    });
    let (hanging, waiting) = tokio::join!(bank.call(|| vendor.ask()), async {
        tokio::time::sleep(ms(10)).await;
        tokio::time::timeout(ms(1_000), bank.call(|| vendor.ask())).await
    });
    assert!(matches!(hanging, Err(CallError::TimedOut(_))));
    assert!(waiting.is_err() && vendor.count() == 1, "it never came to its turn");
    let good = Vendor::new([(ms(10), Ok(1))]);
    let (one, two, three) =
        tokio::join!(bank.call(|| good.ask()), bank.call(|| good.ask()), bank.call(|| good.ask()));
    assert!(one.is_ok() && two.is_ok(), "one under way, and one in the line");
    assert!(matches!(three, Err(CallError::Overflow(_))));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_refuses_those_who_wait() {
    let mut world = World::new(Policy::default()).await;
    let vendor = Vendor::new([(ms(5_000), Ok(1))]);
    let bank = lane(&world, |it| it.bulkhead(Bulkhead { max_concurrent: 1, max_waiting: 10 }));
    let waiting = async {
        tokio::time::sleep(ms(1)).await;
        bank.call(|| vendor.ask()).await
    };
    let (first, second, ()) = tokio::join!(bank.call(|| vendor.ask()), waiting, async {
        tokio::time::sleep(ms(1_000)).await;
        force_open(&mut world).await;
        let started = Instant::now();
        assert!(matches!(bank.call(|| vendor.ask()).await, Err(CallError::Refused(_))));
        assert_eq!(started.elapsed(), Duration::ZERO, "a refusal stands in no line");
    });
    assert!(first.is_ok() && matches!(second, Err(CallError::Refused(_))), "{second:?}");
    assert_eq!(vendor.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_local_breaker_stops_this_process_alone_and_tries_again() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let rules = LocalBreaker::over(Window::Time(Duration::from_secs(10))).failure_percent(50);
    let upstream = upstream(&world, |it| it.local_breaker(rules.min_calls(10).open_for(ms(5_000)).trials(2)));
    let (bank, other) = (upstream.lane(&["0001"]), upstream.lane(&["0002"]));
    let bad = Vendor::new([BAD]);
    for _ in 0..10 {
        assert!(matches!(bank.call(|| bad.ask()).await, Err(CallError::Failed(_))));
    }
    let Err(CallError::Tripped(told)) = bank.call(|| bad.ask()).await else { panic!("it goes on calling") };
    assert!(told.retry_after() > ms(4_900) && told.retry_after() <= ms(5_000), "{told:?}");
    assert_eq!(bad.count(), 10);
    assert_eq!(bank.breaker().state(), State::Closed, "the fleet's breaker stays as it is");
    let good = Vendor::new([GOOD]);
    assert!(other.call(|| good.ask()).await.is_ok(), "what one key does stays with it");

    tokio::time::sleep(ms(5_000)).await;
    assert!(matches!(bank.call(|| bad.ask()).await, Err(CallError::Failed(_))), "a trial");
    assert!(matches!(bank.call(|| good.ask()).await, Err(CallError::Tripped(_))), "it failed");
    tokio::time::sleep(ms(5_000)).await;
    for _ in 0..10 {
        assert!(bank.call(|| good.ask()).await.is_ok());
    }
    world.until(20).await;
    let count =
        |outcome: &str| counted.get(&format!("cutout_client_calls_total{{{LABELS},outcome={outcome}}}"));
    assert_eq!((count("success"), count("failure"), count("tripped")), (11.0, 11.0, 2.0));
    assert_eq!(counted.get(&format!("cutout_client_local_trips_total{{{LABELS}}}")), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_local_breaker_that_is_not_closed_shows_in_the_snapshot_and_in_a_gauge() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let rules = LocalBreaker::over(Window::Calls(20)).consecutive_failures(1).open_for(ms(10_000)).trials(1);
    let bank = lane(&world, |it| it.class("charge").local_breaker(rules));
    let shown = |state: &str| {
        counted
            .get(&format!("cutout_client_local_breakers{{breaker=bank-charge,class=charge,state={state}}}"))
    };
    let told = || {
        let local = world.client.snapshot().local;
        local
            .into_iter()
            .map(|one| (one.breaker.to_string(), one.class, one.state, one.retry_after_ms))
            .collect::<Vec<_>>()
    };
    let one = |state, retry_after_ms| {
        vec![("bank-charge/0001".to_owned(), Some("charge".to_owned()), state, retry_after_ms)]
    };
    let vendor = Vendor::new([BAD, GOOD]);
    assert!(bank.call(|| vendor.ask()).await.is_err());
    assert_eq!(told(), one(State::Open, 10_000));
    world.until(2).await;
    assert_eq!((shown("open"), shown("half-open")), (1.0, 0.0));
    world.until(12).await;
    assert_eq!((told(), shown("open"), shown("half-open")), (one(State::HalfOpen, 0), 0.0, 1.0));
    assert!(bank.call(|| vendor.ask()).await.is_ok());
    world.until(14).await;
    assert_eq!((told(), shown("open"), shown("half-open")), (vec![], 0.0, 0.0));
    let json = world.client.snapshot().to_string();
    assert!(json.contains(r#""local":[],"local_left_out":0"#), "{json}");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_trip_it_and_a_trial_that_is_dropped_gives_its_place_back() {
    let world = World::new(Policy::default()).await;
    let rules = LocalBreaker::over(Window::Calls(10)).slow_calls(ms(1_000), 50).min_calls(2).trials(1);
    let bank = lane(&world, |it| it.local_breaker(rules.open_for(ms(1_000))));
    let slow = Vendor::new([(ms(1_500), Ok(1))]);
    for _ in 0..2 {
        assert!(bank.call(|| slow.ask()).await.is_ok(), "slow is not failed");
    }
    assert!(matches!(bank.call(|| slow.ask()).await, Err(CallError::Tripped(_))));
    tokio::time::sleep(ms(1_000)).await;
    let dropped = tokio::time::timeout(ms(100), bank.call(|| slow.ask())).await;
    assert!(dropped.is_err());
    let good = Vendor::new([GOOD]);
    assert!(bank.call(|| good.ask()).await.is_ok(), "the next one is the trial");
}
