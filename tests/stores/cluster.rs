//! What only a cluster shows: a slot that moves, and nodes that are missing.

use crate::channel::{subscribed, until};
use crate::subject::{DEADLINE, Following, Seen, Subject, bank, commit, declare, flag, write};
use cutout_core::Declared;
use cutout_core::flag::State::{Closed, Open};
use cutout_flags::{RedisStore, Store};
use cutout_tests::cluster::RedisCluster;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_scope_whose_slot_moves_to_another_node_is_followed_there() {
    let cluster = Arc::new(RedisCluster::start());
    let subject = Subject::in_cluster(&cluster, "default");
    let store = subject.store();
    let term = declare(&*store).await;
    let following = Following::start(subject.store()).await;
    let other =
        Following::start(Arc::new(RedisStore::new(&cluster.url_beside("default"), "default").unwrap())).await;
    // Twice: away from the node that a redirect led to, and away from the next one.
    for (revision, state) in [(0, Open), (1, Closed), (2, Open)] {
        commit(&*store, &term, write(&bank(1), revision, 1, Some(flag(state)))).await;
        for follower in [&following, &other] {
            follower.watcher.until("the change", |seen| seen.state(&bank(1)) == Some(state)).await;
        }
        let before = cluster.owner("default");
        until(&cluster.nodes[before], "the subscriptions", |owner| subscribed(owner, &term) == 2).await;
        cluster.move_slot("default");
        assert_ne!(cluster.owner("default"), before);
    }
    commit(&*store, &term, write(&bank(1), 3, 1, Some(flag(Closed)))).await;
    for follower in [&following, &other] {
        follower.watcher.until("the last change", |seen| seen.state(&bank(1)) == Some(Closed)).await;
        assert_eq!(follower.watcher.now(Seen::losses), 0);
    }
}

#[tokio::test]
async fn a_cluster_that_lacks_a_node_is_an_error_that_passes() {
    let mut cluster = RedisCluster::start();
    let (owner, url) = (cluster.owner("default"), cluster.url_beside("default"));
    let missing = (owner + 2) % cluster.nodes.len();
    assert!(url != cluster.nodes[missing].url(), "the address is a node that lives");
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(&url, "default").unwrap());
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let following = Following::start(Arc::clone(&store)).await;
    cluster.nodes[missing].kill();
    following.watcher.until("the failure", |seen| !seen.connected).await;
    assert_eq!(following.watcher.now(|seen| seen.state(&bank(1))), Some(Open));
    let error = until_it_fails(&*store).await;
    assert!(error.is_retryable(), "{error}");

    cluster.nodes[missing].restart();
    cluster.wait_until_whole();
    following.watcher.until("the return", |seen| seen.connected).await;
    assert_eq!(declare(&*store).await, term);
    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    following.watcher.until("the change after it", |seen| seen.state(&bank(1)) == Some(Closed)).await;
    assert_eq!(following.watcher.now(Seen::losses), 0);
}

#[tokio::test]
async fn a_redirect_to_a_node_that_died_is_forgotten() {
    let mut cluster = RedisCluster::start();
    let owner = cluster.owner("default");
    let (beside, third) = ((owner + 1) % 3, (owner + 2) % 3);
    let store = RedisStore::new(&cluster.url_beside("default"), "default").unwrap();
    let term = declare(&store).await;
    let slot: u16 = cluster.nodes[beside].ask(&["CLUSTER", "KEYSLOT", "{default}"]);
    let heir: String = cluster.nodes[third].ask(&["CLUSTER", "MYID"]);
    cluster.nodes[owner].kill();
    for node in [beside, third] {
        let node = &cluster.nodes[node];
        let () = node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        let () = node.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &heir]);
    }
    assert!(store.ping().await.unwrap_err().is_retryable(), "its connection is lost");
    assert_ne!(declare(&store).await, term, "the heir has nothing of what the dead node held");
}

/// Asks until the node has noticed that another one is missing.
async fn until_it_fails(store: &dyn Store) -> cutout_flags::StoreError {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match store.declare(&Declared::default()).await {
            Err(error) => return error,
            Ok(_) => assert!(Instant::now() < deadline, "it goes on without the node"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
