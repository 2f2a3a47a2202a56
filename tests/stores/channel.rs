//! What the channel beside the stream may do and not do: it is faster, nothing is lost when it is silent, cut, refused or
//! foreign, and what it alone brings does not last.

use crate::subject::{DEADLINE, Following, Seen, bank, commit, declare, flag, write};
use cutout_core::flag::State::{Closed, Open};
use cutout_core::{BreakerId, State};
use cutout_flags::{RedisStore, Store, Term};
use cutout_tests::canary::REDIS_PASSWORD;
use cutout_tests::redis::RedisServer;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const META: &str = "cutout:{default}:meta";
const FLAGS: &str = "cutout:{default}:flags";
const CHANGES: &str = "cutout:{default}:changes";
/// So soon comes what nobody has to look for: less than the time between two looks at the stream.
const AT_ONCE: Duration = Duration::from_millis(700);
/// Within this time what was forged is gone: after a second, and long before the snapshots that would heal it too.
const FORGED_MAX: Duration = Duration::from_secs(5);

fn store_at(url: &str) -> Arc<dyn Store> {
    Arc::new(RedisStore::new(url, "default").unwrap())
}

/// Waits until the server says so.
pub(crate) async fn until(server: &RedisServer, what: &str, holds: impl Fn(&RedisServer) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds(server) {
        assert!(Instant::now() < deadline, "{what}: does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn channel_of(term: &Term) -> String {
    format!("{CHANGES}:{}", term.epoch.as_str())
}

/// How many are subscribed to a scope's channel at this node.
pub(crate) fn subscribed(server: &RedisServer, term: &Term) -> usize {
    let (_, count): (String, usize) = server.ask(&["PUBSUB", "NUMSUB", &channel_of(term)]);
    count
}

/// How many readers wait at the stream.
pub(crate) fn blocked(server: &RedisServer) -> usize {
    let info: String = server.ask(&["INFO", "clients"]);
    let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    line.expect("Redis tells it").trim().parse().unwrap()
}

/// A server, a store in it, and a follower that is subscribed and whose reader waits for messages.
async fn scene() -> (RedisServer, Arc<dyn Store>, Term, Following) {
    let server = RedisServer::start();
    let store = store_at(&server.url());
    let term = declare(&*store).await;
    let following = Following::start(store_at(&server.url())).await;
    until(&server, "the subscription", |server| subscribed(server, &term) == 1).await;
    (server, store, term, following)
}

fn flag_text(term: &Term, rev: u64, state: &str) -> String {
    format!(r#"{{"v":1,"epoch":"{}","rev":{rev},"state":"{state}","since_ms":1}}"#, term.epoch.as_str())
}

/// Puts a change into the store without publishing it, as if its message were lost.
fn change_in_silence(server: &RedisServer, id: &BreakerId, flag: &str, rev: u64) {
    let rev = rev.to_string();
    let _: u64 = server.ask(&["HSET", META, "rev", &rev]);
    let _: u64 = server.ask(&["HSET", FLAGS, id.as_str(), flag]);
    let _: String = server.ask(&["XADD", CHANGES, "*", "breaker", id.as_str(), "rev", &rev, "flag", flag]);
}

async fn sees(following: &Following, id: &BreakerId, state: State) {
    following.watcher.until("the change", |seen| seen.state(id) == Some(state)).await;
}

#[tokio::test]
async fn a_change_comes_by_the_channel_alone() {
    let (server, store, term, following) = scene().await;
    let spaced = BreakerId::new("bank-charge", &["a b"]);
    commit(&*store, &term, write(&spaced, 0, 1, Some(flag(Open)))).await;
    sees(&following, &spaced, Open).await;
    assert_eq!(blocked(&server), 0, "nobody waits at the stream");
}

#[tokio::test]
async fn what_the_channel_alone_brings_is_taken_back_at_the_next_look_at_the_stream() {
    let (server, store, term, following) = scene().await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Closed)))).await;
    sees(&following, &bank(1), Closed).await;
    let forged = Instant::now();
    for (place, breaker, rev) in [("9999999999999-0", bank(1), 2), ("9999999999999-1", bank(2), 3)] {
        let message = format!("{place}\n{}\n{}", breaker.as_str(), flag_text(&term, rev, "open"));
        let heard: usize = server.ask(&["PUBLISH", &channel_of(&term), &message]);
        assert_eq!(heard, 1);
        sees(&following, &breaker, Open).await;
    }
    // True, though its number was forged and the forged places are beyond its own.
    commit(&*store, &term, write(&bank(3), 0, 1, Some(flag(Open)))).await;
    let is_true =
        |seen: &Seen| [1, 2, 3].map(|number| seen.state(&bank(number))) == [Some(Closed), None, Some(Open)];
    following.watcher.until("the truth", is_true).await;
    assert!(forged.elapsed() < FORGED_MAX, "{:?}", forged.elapsed());
    assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
    // Whoever does this is not listened to any more.
    until(&server, "the reader at the stream", |server| blocked(server) == 1).await;
    assert_eq!(subscribed(&server, &term), 0);
    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Open)))).await;
    sees(&following, &bank(1), Open).await;
}

#[tokio::test]
async fn what_the_channel_loses_comes_by_the_stream_and_who_hears_nothing_waits_there() {
    let (server, store, term, following) = scene().await;
    change_in_silence(&server, &bank(1), &flag_text(&term, 1, "open"), 1);
    sees(&following, &bank(1), Open).await;
    until(&server, "the reader at the stream", |server| blocked(server) == 1).await;
    let committed = Instant::now();
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Closed)))).await;
    sees(&following, &bank(1), Closed).await;
    assert!(committed.elapsed() < AT_ONCE, "{:?}", committed.elapsed());
    assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
}

#[tokio::test]
async fn a_message_after_a_lost_one_brings_both_at_once() {
    let (server, store, term, following) = scene().await;
    let changed = Instant::now();
    change_in_silence(&server, &bank(1), &flag_text(&term, 1, "open"), 1);
    commit(&*store, &term, write(&bank(2), 0, 1, Some(flag(Open)))).await;
    sees(&following, &bank(1), Open).await;
    sees(&following, &bank(2), Open).await;
    assert!(changed.elapsed() < AT_ONCE, "{:?}", changed.elapsed());
}

#[tokio::test]
async fn subscriptions_that_are_cut_lose_nothing() {
    let (server, store, term, following) = scene().await;
    for flip in 0..6 {
        let cut: usize = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(flip > 0 || cut == 1, "it was subscribed");
        let state = if flip % 2 == 0 { Open } else { Closed };
        commit(&*store, &term, write(&bank(1), flip, 1, Some(flag(state)))).await;
        sees(&following, &bank(1), state).await;
    }
    assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
    until(&server, "the next subscription", |server| subscribed(server, &term) == 1).await;
}

/// The URL of a user who may do all to a scope's keys, but has no channel.
fn url_without_channels(server: &RedisServer) -> String {
    let user = format!(">{REDIS_PASSWORD}");
    let () = server.ask(&["ACL", "SETUSER", "app", "on", &user, "~cutout:*", "resetchannels", "+@all"]);
    format!("redis://app:{REDIS_PASSWORD}@127.0.0.1:{}", server.port())
}

#[tokio::test]
async fn a_writer_without_rights_on_the_channel_is_followed_by_the_stream() {
    let (server, store, term, following) = scene().await;
    let limited = store_at(&url_without_channels(&server));
    assert_eq!(declare(&*limited).await, term);
    commit(&*limited, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    sees(&following, &bank(1), Open).await;
    let named: Option<String> = server.ask(&["HGET", META, "channel"]);
    assert_eq!(named, None, "it says that it did not publish");

    let later = Following::start(store_at(&server.url())).await;
    until(&server, "the reader at the stream", |server| blocked(server) >= 1).await;
    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    sees(&later, &bank(1), Closed).await;
    let named: String = server.ask(&["HGET", META, "channel"]);
    assert_eq!(named, channel_of(&term), "and who may publish says so again");
}

#[tokio::test]
async fn a_reader_without_rights_on_the_channel_waits_at_the_stream() {
    let server = RedisServer::start();
    let store = store_at(&server.url());
    let term = declare(&*store).await;
    let following = Following::start(store_at(&url_without_channels(&server))).await;
    until(&server, "the reader at the stream", |server| blocked(server) == 1).await;
    let committed = Instant::now();
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    sees(&following, &bank(1), Open).await;
    assert!(committed.elapsed() < AT_ONCE, "{:?}", committed.elapsed());
    assert_eq!(following.watcher.now(Seen::losses), 0);
    assert_eq!(following.watcher.now(|seen| seen.failures), 0, "it is no failure of the store");
}

#[tokio::test]
async fn two_databases_of_one_server_do_not_meet_in_its_channels() {
    let (server, store, own_term, following) = scene().await;
    let other = store_at(&format!("{}/1", server.url()));
    let term = declare(&*other).await;
    let hgetall = |server: &RedisServer| -> String {
        let stats: String = server.ask(&["INFO", "commandstats"]);
        stats.lines().find(|line| line.starts_with("cmdstat_hgetall:")).unwrap_or_default().to_owned()
    };
    let before = hgetall(&server);
    for revision in 0..20 {
        commit(&*other, &term, write(&bank(1), revision, 1, Some(flag(Open)))).await;
    }
    commit(&*store, &own_term, write(&bank(2), 0, 1, Some(flag(Open)))).await;
    sees(&following, &bank(2), Open).await;
    assert_eq!(following.watcher.now(|seen| seen.state(&bank(1))), None);
    assert_eq!(hgetall(&server), before, "nor does it make anybody read all flags again");
}
