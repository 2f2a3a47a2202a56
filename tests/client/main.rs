//! The client against real stores: how it starts when something is wrong, what it goes on with, and what it makes of flags
//! when time passes.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod classes;
mod counted;
mod fake;
mod family;
mod flips;
mod keys;
mod listeners;
mod silence;
mod start;
mod time;
mod world;

use cutout::{Client, ConnectError, State};
use cutout_core::declaration::DeclaredBreaker;
use cutout_core::{Breaker, BreakerId, Declared, Flag};
use cutout_flags::follower::LOSSES_METRIC;
use cutout_flags::{MemoryStore, Publish, Store, Term, Write};
use cutout_tests::canary;
use cutout_tests::metrics::Counters;
use cutout_tests::process::PATIENCE;
use cutout_tests::redis::RedisServer;
use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far below a test's patience, far above what an answering store needs.
const SHORT: Duration = Duration::from_millis(200);

async fn declare(store: &dyn Store) -> Term {
    let bank = DeclaredBreaker { key: vec!["bank_code".to_owned()] };
    store
        .declare(&Declared { revision: 0, breakers: [("bank-charge".to_owned(), bank)].into() })
        .await
        .unwrap()
}

async fn open(store: &dyn Store, key: &str) {
    let id = BreakerId::new("bank-charge", &[key]);
    let flag = Flag { state: State::Open, since_ms: 1, ..Flag::default() };
    let term = declare(store).await;
    let write = Write::Breaker {
        id,
        expected: 0,
        record: Breaker::new(1),
        flag: Some(Publish::Change(flag)),
        not_closed_by: 0,
        audit: Vec::new(),
    };
    store.commit(&term, &[write]).await.unwrap();
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_open_at_the_start_is_known_when_connect_returns() {
    let redis = RedisServer::start();
    open(&*cutout_flags::open(&redis.url(), "default").unwrap(), "0001").await;
    let client = Client::builder(redis.url()).breaker("bank-charge").connect().await.unwrap();
    let refused = client.breaker("bank-charge", &["0001"]).unwrap().admit().unwrap_err();
    assert_eq!((refused.breaker().as_str(), refused.state()), ("bank-charge/0001", State::Open));
    assert!(client.breaker("bank-charge", &["0002"]).unwrap().admit().is_ok());
    let health = client.health();
    assert!(health.connected && health.age.is_some() && health.losses == 0, "{health:?}");
}

#[tokio::test]
async fn a_name_that_nobody_declares_is_an_error_with_the_nearest_ones() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    declare(&*store).await;
    let connecting = Client::builder_on(Arc::clone(&store)).breaker("bank-chrage").connect();
    let Err(ConnectError::Unknown(unknown)) = connecting.await else { panic!("it connects") };
    assert_eq!((unknown.name(), unknown.nearest()), ("bank-chrage", &["bank-charge".to_owned()][..]));

    let client = Client::builder_on(Arc::clone(&store)).connect().await.unwrap();
    assert!(client.breaker("other", &["0001"]).is_err(), "names are checked where they are used, too");
    let lenient = Client::builder_on(store).breaker("other").allow_undeclared().connect().await.unwrap();
    assert!(lenient.breaker("other", &["0001"]).unwrap().admit().is_ok());
}

#[tokio::test]
async fn a_store_that_does_not_answer_delays_the_start_by_its_bound_and_calls_flow() {
    // One that refuses connections, and one that takes them and says nothing.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [closed, silent.local_addr().unwrap().port()] {
        let builder =
            Client::builder(format!("redis://127.0.0.1:{port}")).breaker("bank-charge").start_timeout(SHORT);
        let client =
            tokio::time::timeout(PATIENCE, builder.connect()).await.expect("the start is bounded").unwrap();
        assert!(client.breaker("bank-charge", &["0001"]).unwrap().admit().is_ok());
        let health = client.health();
        assert!(!health.connected && health.age.is_none(), "{health:?}");
    }
}

#[tokio::test]
async fn a_refused_password_is_a_start_without_the_store_and_never_shown() {
    let redis = RedisServer::start_with_password(canary::REDIS_PASSWORD);
    let wrong = format!("redis://:{}-wrong@127.0.0.1:{}", canary::REDIS_PASSWORD, redis.port());
    let builder = Client::builder(wrong).start_timeout(SHORT);
    let client = builder.connect().await.unwrap();
    assert!(!client.health().connected);
    assert!(client.breaker("bank-charge", &["0001"]).unwrap().admit().is_ok());
    let right = Client::builder(redis.url()).connect().await.unwrap();
    assert!(right.health().connected);
}

#[tokio::test]
async fn a_url_or_scope_that_cannot_be_used_is_an_error_that_says_what_to_do() {
    let cases = [
        ("http://h", "default", "redis://"),
        ("redis+sentinel://h", "default", "the primary's name"),
        ("redis://h", "a b", "scope"),
    ];
    for (url, scope, told) in cases {
        let error = Client::builder(url).scope(scope).connect().await.unwrap_err();
        let chain = format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default());
        assert!(chain.contains(told), "{chain}");
    }
}

#[tokio::test]
async fn a_store_that_comes_later_is_followed_and_one_that_goes_leaves_the_last_known() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    redis.kill();
    let client = Client::builder(&url).breaker("bank-charge").start_timeout(SHORT).connect().await.unwrap();
    let bank = client.breaker("bank-charge", &["0001"]).unwrap();
    assert!(bank.admit().is_ok());

    redis.restart();
    open(&*cutout_flags::open(&url, "default").unwrap(), "0001").await;
    until("the open breaker refuses", || bank.admit().is_err()).await;
    redis.kill();
    until("the client tells that the store is gone", || !client.health().connected).await;
    assert_eq!(bank.admit().unwrap_err().state(), State::Open, "unreachable is not closed");
    let age = client.health().age.unwrap();
    until("the age of what is known grows", || client.health().age.unwrap() > age).await;
}

#[tokio::test]
async fn a_store_that_lost_its_data_is_counted_and_leaves_the_last_known() {
    let counters = Counters::default();
    let _counting = counters.count_on_this_thread();
    let redis = RedisServer::start();
    open(&*cutout_flags::open(&redis.url(), "default").unwrap(), "0001").await;
    let client = Client::builder(redis.url()).connect().await.unwrap();
    let bank = client.breaker("bank-charge", &["0001"]).unwrap();
    assert_eq!(counters.value(LOSSES_METRIC), 0);
    let () = redis.ask(&["FLUSHALL"]);
    // Nothing tells of an empty store until its service writes again.
    open(&*cutout_flags::open(&redis.url(), "default").unwrap(), "0002").await;
    until("the client tells the loss", || client.health().losses == 1).await;
    assert_eq!(counters.value(LOSSES_METRIC), 1);
    assert_eq!(bank.admit().unwrap_err().state(), State::Open, "lost is not closed");
}

#[tokio::test]
async fn a_dropped_client_follows_no_more_and_its_handles_go_on_by_what_they_know() {
    let store = MemoryStore::new();
    open(&store, "0001").await;
    let client = Client::builder_on(Arc::new(store.clone())).connect().await.unwrap();
    let bank = client.breaker("bank-charge", &["0001"]).unwrap();
    drop(client);
    assert!(bank.admit().is_err());
}
