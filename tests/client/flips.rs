//! No flip is lost while connections are cut again and again: every client ends where the store stands.

use crate::until;
use cutout::{Client, State};
use cutout_tests::flips::{Flipper, KEY, NAME};
use cutout_tests::redis::RedisServer;

const CLIENTS: usize = 10;
const FLIPS: usize = 6;

/// Cuts every connection but its own.
fn cut_all(redis: &RedisServer) -> usize {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut kill = |kind: &str| -> usize {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes").query(&mut connection).unwrap()
    };
    kill("normal") + kill("pubsub")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_ends_where_the_store_stands_though_connections_are_cut() {
    let redis = RedisServer::start();
    let mut flipper = Flipper::new(&redis.url()).await;
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        let client = Client::builder(redis.url()).breaker(NAME).require_store().connect().await.unwrap();
        let bank = client.breaker(NAME, &[KEY]).unwrap();
        clients.push((client, bank));
    }
    let mut cut = 0;
    for flip in 0..FLIPS {
        let state = if flip % 2 == 0 { State::Open } else { State::Closed };
        cut += cut_all(&redis);
        flipper.set(state).await;
        cut += cut_all(&redis);
        until("every client is where the store stands", || {
            clients
                .iter()
                .all(|(_, bank)| bank.state() == state && bank.admit().is_err() == (state == State::Open))
        })
        .await;
    }
    assert!(cut >= CLIENTS * FLIPS, "only {cut} connections were cut");
}
