//! A store that is silent for long: time stands still for breakers, and `max_staleness` acts beyond its own time alone.

use crate::counted::Counted;
use crate::world::{World, declare, settle, write};
use cutout::{Client, ConnectError, MaxStaleness, Permit, Reason, State};
use cutout_core::{Act, Breaker, Flag, Forced, Mode, Policy};
use cutout_flags::{MemoryStore, Publish, Store};
use cutout_tests::process::PATIENCE;
use cutout_tests::redis::RedisServer;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

const TEN_MINUTES: Duration = Duration::from_secs(600);

async fn world(staleness: MaxStaleness, policy: Policy) -> World {
    World::with(policy, |builder| builder.max_staleness(staleness)).await
}

#[tokio::test(start_paused = true)]
async fn after_90_s_of_silence_time_stands_still_and_then_goes_on_where_it_is() {
    let mut world = World::new(Policy { min_open_ms: 0, ..Policy::default() }).await;
    world.reported("Alert").await;
    world.reported("OK").await;
    world.until(60).await;
    world.cut();
    // The ramp of five minutes is half over, and stays so.
    for seconds in [149, 400, 86_400] {
        world.until(seconds).await;
        let share = world.share();
        assert_eq!(world.bank.state(), State::HalfOpen, "after {seconds} s");
        assert!((50.0..=60.0).contains(&share), "{share} % after {seconds} s");
    }
    let health = world.client.health();
    assert!(!health.connected && health.age.unwrap() > Duration::from_secs(86_000), "{health:?}");
    assert!(!health.over_max_staleness, "nothing was set");
    world.mend().await;
    assert_eq!(world.bank.state(), State::Closed);
    assert!(world.client.health().age.unwrap() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn probes_go_on_while_time_stands_still() {
    // Of 6,000 draws of one in a million one would be a probe besides, in one run of 170.
    fastrand::seed(2026);
    let mut world = World::new(Policy { probe_ppm: 1, ..Policy::default() }).await;
    world.reported("Alert").await;
    world.cut();
    world.until(3_600).await;
    let mut probes = 0;
    for seconds in 3_601..=3_900 {
        world.until(seconds).await;
        probes += (0..20).filter(|_| world.ask().is_ok()).count();
    }
    assert_eq!(probes, 10, "one each 30 s");
}

#[tokio::test(start_paused = true)]
async fn a_closed_breaker_opens_beyond_max_staleness_and_closes_with_the_first_contact() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let count = |change| {
        counted.get(&format!("cutout_client_max_staleness_total{{breaker=*,policy=open,change={change}}}"))
    };
    let mut world = world(MaxStaleness::OpenAfter(TEN_MINUTES), Policy::default()).await;
    world.reported("OK").await;
    let unknown = world.client.breaker("bank-charge", &["0002"]).unwrap();
    world.until(100).await;
    world.cut();
    world.until(695).await;
    assert!(world.ask().is_ok() && unknown.admit().is_ok() && !world.client.health().over_max_staleness);
    assert!(counted.get("cutout_client_store_age_seconds{}") > 590.0);
    world.until(705).await;
    let new = world.client.breaker("bank-charge", &["0003"]).unwrap();
    for breaker in [&world.bank, &unknown, &new] {
        let refused = breaker.admit().unwrap_err();
        assert_eq!(
            (refused.state(), refused.reason(), refused.until()),
            (State::Open, Reason::Staleness, None)
        );
        let silent_since = refused.since().duration_since(world.at(0)).unwrap().as_secs();
        assert!((98..=100).contains(&silent_since), "since the last contact: {silent_since}");
        assert_eq!(breaker.state(), State::Open);
    }
    assert!(world.client.health().over_max_staleness);
    assert_eq!((count("begins"), count("ends")), (1.0, 0.0));
    world.mend().await;
    assert!(world.ask().is_ok() && unknown.admit().is_ok() && new.admit().is_ok());
    assert!(!world.client.health().over_max_staleness);
    assert_eq!((count("begins"), count("ends")), (1.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_closes_beyond_max_staleness_where_that_is_wanted_and_only_there() {
    let set = |builder: cutout::ClientBuilder| {
        builder
            .max_staleness(MaxStaleness::OpenAfter(TEN_MINUTES))
            .max_staleness_of("bank-charge", MaxStaleness::ClosedAfter(TEN_MINUTES))
    };
    let mut world = World::with(Policy::default(), set).await;
    world.reported("Alert").await;
    world.cut();
    world.until(595).await;
    assert_eq!(world.bank.state(), State::Open);
    world.until(605).await;
    assert_eq!((world.bank.state(), world.share()), (State::Closed, 100.0));
    world.mend().await;
    assert_eq!(world.bank.state(), State::Open, "as the flag says");
}

#[tokio::test(start_paused = true)]
async fn what_a_signal_holds_open_keeps_its_probes_and_half_open_opens() {
    let mut open = world(MaxStaleness::OpenAfter(TEN_MINUTES), Policy::default()).await;
    open.reported("Alert").await;
    open.cut();
    let no_min = Policy { min_open_ms: 0, ramp_ms: 3_600_000, ..Policy::default() };
    let mut half_open = world(MaxStaleness::OpenAfter(TEN_MINUTES), no_min).await;
    half_open.reported("Alert").await;
    half_open.reported("OK").await;
    half_open.cut();
    open.until(610).await;
    half_open.until(610).await;
    assert!((0.5..=1.6).contains(&open.share()));
    let refused = (0..1_000).find_map(|_| open.ask().err()).unwrap();
    assert_eq!(refused.reason(), Reason::Signals);
    assert_eq!(half_open.share(), 0.0);
    assert_eq!(half_open.ask().unwrap_err().reason(), Reason::Staleness);
}

#[tokio::test(start_paused = true)]
async fn a_persons_decision_stands_until_its_own_end_and_then_staleness_acts() {
    let cases = [
        (MaxStaleness::ClosedAfter(TEN_MINUTES), Forced::Open, State::Open, State::Closed),
        (MaxStaleness::OpenAfter(TEN_MINUTES), Forced::Closed, State::Closed, State::Open),
    ];
    for (staleness, forced, during, after) in cases {
        let mut world = world(staleness, Policy::default()).await;
        let until_ms = Some(world.now_ms() + 1_200_000);
        world.ordered(Act::Force { state: forced, until_ms }).await;
        world.cut();
        for seconds in [650, 1_199] {
            world.until(seconds).await;
            assert_eq!(world.bank.state(), during, "{staleness:?} after {seconds} s");
            assert_eq!(world.ask().is_ok(), during == State::Closed);
        }
        world.until(1_202).await;
        assert_eq!(
            (world.bank.state(), world.ask().is_ok()),
            (after, after == State::Closed),
            "{staleness:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn classes_that_pass_go_on_to_pass_and_watch_mode_refuses_nobody() {
    let refuse = ["charge".to_owned()].into();
    let mut enforced =
        world(MaxStaleness::OpenAfter(TEN_MINUTES), Policy { refuse, ..Policy::default() }).await;
    enforced.reported("OK").await;
    enforced.cut();
    let mut watched =
        world(MaxStaleness::OpenAfter(TEN_MINUTES), Policy { mode: Mode::Watch, ..Policy::default() }).await;
    watched.reported("OK").await;
    watched.cut();
    watched.until(610).await;
    assert!(enforced.bank.for_class("refund").admit().is_ok());
    assert!(enforced.bank.for_class("charge").admit().is_err());
    assert!(watched.ask().is_ok_and(|permit: Permit| permit.would_refuse()));
    assert_eq!(watched.bank.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answered_is_silent_since_the_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let client =
        Client::builder(url).max_staleness(MaxStaleness::OpenAfter(TEN_MINUTES)).connect().await.unwrap();
    let bank = client.breaker("bank-charge", &["0001"]).unwrap();
    tokio::time::sleep(TEN_MINUTES - Duration::from_secs(10)).await;
    assert!(bank.admit().is_ok() && client.health().age.is_none());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(bank.admit().unwrap_err().reason(), Reason::Staleness);
}

#[tokio::test]
async fn a_staleness_shorter_than_timers_run_is_refused_and_its_name_is_checked() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    declare(&*store).await;
    let connect = |name: &str, seconds| {
        let staleness = MaxStaleness::OpenAfter(Duration::from_secs(seconds));
        Client::builder_on(Arc::clone(&store)).max_staleness_of(name, staleness).connect()
    };
    assert!(connect("bank-charge", 90).await.is_ok());
    let error = connect("bank-charge", 89).await.unwrap_err();
    assert_eq!(error.to_string(), "the max_staleness of `bank-charge` is shorter than 90 s");
    assert!(matches!(connect("bank-chrage", 90).await, Err(ConnectError::Unknown(_))));
    let staleness = MaxStaleness::ClosedAfter(Duration::from_secs(1));
    let error = Client::builder_on(Arc::clone(&store)).max_staleness(staleness).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Staleness(_)), "{error}");
}

/// The same against a real server that is killed. Time is only paused while it is dead.
#[tokio::test]
async fn a_redis_that_is_gone_for_long_and_comes_back_without_its_data() {
    let mut redis = RedisServer::start();
    let store = cutout_flags::open(&redis.url(), "default").unwrap();
    let flag = Flag { refuse: ["charge".to_owned()].into(), ..Flag::default() };
    write(&*store, 0, Breaker::new(1), Some(Publish::Change(flag))).await;
    let staleness = MaxStaleness::OpenAfter(TEN_MINUTES);
    let client = Client::builder(redis.url()).max_staleness(staleness).connect().await.unwrap();
    let bank = client.breaker("bank-charge", &["0001"]).unwrap();
    let (charge, refund) = (bank.for_class("charge"), bank.for_class("refund"));
    assert!(charge.admit().is_ok());

    redis.kill();
    tokio::time::pause();
    tokio::time::sleep(TEN_MINUTES - Duration::from_secs(10)).await;
    assert!(charge.admit().is_ok());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(charge.admit().unwrap_err().reason(), Reason::Staleness);
    assert!(refund.admit().is_ok());
    tokio::time::resume();

    redis.restart();
    tokio::time::timeout(PATIENCE, async {
        while charge.admit().is_err() {
            settle().await;
        }
    })
    .await
    .expect("the first contact ends it");
    assert!(client.health().connected && client.health().losses == 1, "{:?}", client.health());
}
