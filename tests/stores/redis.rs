//! What only a Redis shows: readers that are not ours, silence, restarts, passwords, foreign data.

use crate::subject::{
    DEADLINE, Following, Seen, Subject, WAIT, Watcher, bank, commit, declare, flag, plain, write,
};
use cutout_core::flag::State::{Closed, Open};
use cutout_core::{Breaker, BreakerId, Cause, Declared, Mode, Transition};
use cutout_flags::{AuditEntry, Committed, Epoch, Follower, RedisStore, Store, StoreError, Term, Write};
use cutout_tests::canary::REDIS_PASSWORD;
use cutout_tests::redis::RedisServer;
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use serde_json::json;
use std::collections::HashMap;
use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::time::timeout;

const FLAGS: &str = "cutout:{default}:flags";
const META: &str = "cutout:{default}:meta";
const CHANGES: &str = "cutout:{default}:changes";
const FAMILIES: &str = "cutout:{default}:families";
const AUDIT: &str = "cutout:{default}:audit";
const BREAKERS: &str = "cutout:{default}:breakers";

/// A Redis, the store in it, its term, and another program's connection.
async fn scene(server: RedisServer) -> (Subject, Arc<dyn Store>, Term, MultiplexedConnection) {
    let plain = plain(&server).await;
    let subject = Subject::on(server);
    let store = subject.store();
    let term = declare(&*store).await;
    (subject, store, term, plain)
}

/// A term of no store.
fn term_of_another() -> Term {
    Term { epoch: Epoch::random(), revision: 0 }
}

/// What each request of a store ends in, by its name.
async fn each_request(store: &dyn Store, term: &Term) -> Vec<(&'static str, StoreError)> {
    // A place in a stream is had from a snapshot alone, so one of another store serves.
    let mut position = Subject::memory().store().snapshot().await.unwrap().position;
    let writes = [write(&bank(1), 0, 1, Some(flag(Open)))];
    let all = async {
        vec![
            ("declare", store.declare(&Declared::default()).await.err()),
            ("read", store.read(&[bank(1)], Some(1)).await.err()),
            ("commit", store.commit(term, &writes).await.err()),
            ("snapshot", store.snapshot().await.err()),
            ("tail", store.tail(&mut position, WAIT).await.err()),
            ("ping", store.ping().await.err()),
        ]
    };
    let errors = timeout(DEADLINE, all).await.expect("every request is bounded");
    let is_error =
        |(request, error): (_, Option<_>)| (request, error.unwrap_or_else(|| panic!("{request}: an answer")));
    errors.into_iter().map(is_error).collect()
}

/// An error and what it came from.
fn chain(error: &dyn Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error} ({error:?}){}", source.unwrap_or_default())
}

#[tokio::test]
async fn any_program_reads_flags_and_changes_with_plain_commands() {
    let (_subject, store, term, mut plain) = scene(RedisServer::start()).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;

    let polled: String =
        cmd("HGET").arg(FLAGS).arg("bank-charge/00001").query_async(&mut plain).await.unwrap();
    let expected = format!(
        r#"{{"v":1,"epoch":"{}","rev":1,"state":"open","since_ms":1795223705000,"mode":"enforce","refuse":[],"probe_ppm":0,"ramp":null,"next":null,"stale_at_ms":null,"on_stale":"half-open","override":null,"would":null,"fault":null}}"#,
        term.epoch.as_str()
    );
    assert_eq!(polled, expected);
    let meta: HashMap<String, String> = cmd("HGETALL").arg(META).query_async(&mut plain).await.unwrap();
    let channel = format!("{CHANGES}:{}", term.epoch.as_str());
    let expected = [
        ("epoch", term.epoch.as_str()),
        ("rev", "1"),
        ("channel", &channel),
        ("revision", "0"),
        ("declared", r#"{"revision":0,"breakers":{}}"#),
    ];
    assert_eq!(meta, expected.map(|(field, text)| (field.to_owned(), text.to_owned())).into());
    let changes: Vec<(String, Vec<String>)> =
        cmd("XRANGE").arg(CHANGES).arg("-").arg("+").query_async(&mut plain).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].1, ["breaker", "bank-charge/00001", "rev", "1", "flag", &polled]);
    let record: String =
        cmd("HGET").arg(BREAKERS).arg("bank-charge/00001").query_async(&mut plain).await.unwrap();
    assert!(record.starts_with("1 {"), "{record}");
}

#[tokio::test]
async fn what_changed_and_who_paused_stands_in_the_audit_stream() {
    let (_subject, store, term, mut plain) = scene(RedisServer::start()).await;
    let cause = Cause::Person { by: "ann".into(), why: "a \"drill\"".into(), act: "force" };
    let opened = Transition { from: Closed, to: Open, at_ms: 5, cause: cause.clone(), fault: None };
    let (id, record) = (bank(1), Breaker::new(1));
    let closed = Transition { from: Open, to: Closed, at_ms: 6, cause: Cause::Stale, fault: None };
    let audit = vec![AuditEntry::new(opened.clone(), Mode::Enforce), AuditEntry::new(closed, Mode::Watch)];
    let write = Write::Breaker { id, expected: 0, record, flag: None, not_closed_by: 0, audit };
    commit(&*store, &term, write.clone()).await;
    assert_eq!(store.commit(&term, &[write]).await.unwrap(), Committed::Taken(vec![false]));
    store.set_pause(None, &cause, 7).await.unwrap();
    let entries: Vec<(String, Vec<String>)> =
        cmd("XRANGE").arg(AUDIT).arg("-").arg("+").query_async(&mut plain).await.unwrap();
    let read = |(_, fields): (String, Vec<String>)| {
        assert_eq!((&*fields[0], &*fields[2]), ("breaker", "entry"));
        (fields[1].clone(), serde_json::from_str(&fields[3]).unwrap())
    };
    let entries: Vec<(String, serde_json::Value)> = entries.into_iter().map(read).collect();
    let person = json!({"kind": "person", "by": "ann", "why": "a \"drill\"", "act": "force"});
    let expected = [
        (
            "bank-charge/00001",
            json!({"from": "closed", "to": "open", "mode": "enforce", "at_ms": 5, "cause": person}),
        ),
        (
            "bank-charge/00001",
            json!({"from": "open", "to": "closed", "mode": "watch", "at_ms": 6, "cause": {"kind": "stale"}}),
        ),
        ("", json!({"at_ms": 7, "cause": person})),
    ];
    assert_eq!(entries, expected.map(|(breaker, entry)| (breaker.to_owned(), entry)));
}

#[tokio::test]
async fn two_scopes_in_one_redis_do_not_meet() {
    let server = RedisServer::start();
    let [one, other] = ["one", "other"].map(|scope| RedisStore::new(&server.url(), scope).unwrap());
    let term = declare(&one).await;
    commit(&one, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    assert_eq!(other.snapshot().await.unwrap().meta, None);
    assert_ne!(declare(&other).await, term);
    assert_eq!(other.snapshot().await.unwrap().flags, []);
}

#[tokio::test]
async fn a_rev_beyond_what_lua_prints_plainly_keeps_all_its_digits() {
    let (_subject, store, term, mut plain) = scene(RedisServer::start()).await;
    let large = 123_456_789_012_345_u64;
    let () = cmd("HSET").arg(META).arg("rev").arg(large - 1).query_async(&mut plain).await.unwrap();
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    assert_eq!(store.snapshot().await.unwrap().flags[0].1.rev, large);
}

#[tokio::test]
async fn a_redis_that_is_gone_is_an_error_and_never_an_empty_answer() {
    let mut server = RedisServer::start();
    let store = RedisStore::new(&server.url(), "default").unwrap();
    let term = declare(&store).await;
    server.kill();
    for (request, error) in each_request(&store, &term).await {
        assert!(error.is_retryable(), "{request}: {}", chain(&error));
    }
    server.restart();
    store.ping().await.expect("it connects again by itself");
}

#[tokio::test]
async fn a_redis_that_says_nothing_is_an_error_within_bounds() {
    // Takes connections and never answers, as a stopped process or a lost machine does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = RedisStore::new(&format!("redis://{}", silent.local_addr().unwrap()), "default").unwrap();
    for (request, error) in each_request(&store, &term_of_another()).await {
        assert!(error.is_retryable(), "{request}: {}", chain(&error));
    }
    let many = (0..50).map(|_| store.ping());
    let answers = timeout(DEADLINE, futures_util::future::join_all(many)).await;
    let answers = answers.expect("those who wait for one connection are bounded as well");
    assert!(answers.iter().all(Result::is_err));
}

#[tokio::test]
async fn a_redis_that_falls_silent_under_a_blocking_read_is_an_error_within_bounds() {
    let server = RedisServer::start();
    let store = RedisStore::new(&server.url(), "default").unwrap();
    declare(&store).await;
    let mut position = store.snapshot().await.unwrap().position;
    assert_eq!(store.tail(&mut position, WAIT).await.unwrap(), [], "the connection is open");
    server.pause();
    let error = timeout(DEADLINE, store.tail(&mut position, WAIT)).await.expect("bounded").unwrap_err();
    assert!(error.is_retryable(), "{}", chain(&error));
    server.resume();
    assert_eq!(store.tail(&mut position, WAIT).await.unwrap(), []);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_told() {
    let server = RedisServer::start_with_password(REDIS_PASSWORD);
    let wrong = "canary-secret-wrong-redis-password";
    let cases = [
        ("wrong", format!("redis://:{wrong}@127.0.0.1:{}", server.port())),
        ("wrong user", format!("redis://app:{wrong}@127.0.0.1:{}", server.port())),
        ("none", format!("redis://127.0.0.1:{}", server.port())),
    ];
    for (case, url) in cases {
        let store = RedisStore::new(&url, "default").unwrap();
        for (request, error) in each_request(&store, &term_of_another()).await {
            let told = chain(&error);
            assert!(matches!(error, StoreError::Refused { .. }), "{case}, {request}: {told}");
            assert!(!told.contains("canary"), "{case}, {request}: {told}");
        }
    }
    RedisStore::new(&server.url(), "default").unwrap().ping().await.expect("the right one is let in");
}

#[tokio::test]
async fn a_key_of_a_foreign_type_is_refused_and_nothing_is_half_written() {
    for foreign in [META, FLAGS, CHANGES, BREAKERS, "cutout:{default}:monitors", FAMILIES, AUDIT] {
        let (_subject, store, term, mut plain) = scene(RedisServer::start()).await;
        let () = cmd("SET").arg(foreign).arg("not ours").query_async(&mut plain).await.unwrap();
        let before = dump(&mut plain).await;
        let writes = [write(&bank(1), 0, 1, None), write(&bank(2), 0, 1, Some(flag(Open)))];
        let error = store.commit(&term, &writes).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{foreign}: {}", chain(&error));
        let read = if [META, FLAGS, CHANGES].contains(&foreign) {
            store.snapshot().await.map(drop)
        } else {
            store.read(&[bank(1)], Some(1)).await.map(drop)
        };
        // Nothing reads the audit stream back.
        if foreign != AUDIT {
            let error = read.expect_err("what cannot be read is not empty");
            assert!(matches!(error, StoreError::Refused { .. }), "{foreign}: {}", chain(&error));
        }
        assert_eq!(dump(&mut plain).await, before, "{foreign}");
    }
}

#[tokio::test]
async fn a_rev_that_is_no_number_is_refused_and_nothing_is_half_written() {
    let (_subject, store, term, mut plain) = scene(RedisServer::start()).await;
    let () = cmd("HSET").arg(META).arg("rev").arg("x").query_async(&mut plain).await.unwrap();
    let before = dump(&mut plain).await;
    let writes = [write(&bank(1), 0, 1, None), write(&bank(2), 0, 1, Some(flag(Open)))];
    assert!(matches!(store.commit(&term, &writes).await.unwrap_err(), StoreError::Refused { .. }));
    assert_eq!(dump(&mut plain).await, before);
    let error = store.snapshot().await.unwrap_err();
    assert_eq!(error.to_string(), "cutout:{default}:meta rev holds a value that is not readable as a number");
}

/// Everything that stands in a Redis.
async fn dump(plain: &mut MultiplexedConnection) -> HashMap<String, Value> {
    let keys: Vec<String> = cmd("KEYS").arg("*").query_async(plain).await.unwrap();
    let mut all = HashMap::new();
    for key in keys {
        let value = cmd("DUMP").arg(&key).query_async(plain).await.unwrap();
        all.insert(key, value);
    }
    all
}

#[tokio::test]
async fn a_record_that_is_not_ours_is_not_absent_and_holds_up_no_other() {
    let (_subject, store, term, mut plain) = scene(RedisServer::start()).await;
    commit(&*store, &term, write(&bank(2), 0, 1, None)).await;
    let () =
        cmd("HSET").arg(BREAKERS).arg("bank-charge/00001").arg("1 {}").query_async(&mut plain).await.unwrap();
    let read = store.read(&[bank(1), bank(2)], None).await.unwrap();
    assert_eq!((read.breakers[0].is_none(), read.breakers[1].is_some()), (true, true));
    assert_eq!(read.unreadable, [bank(1)].into());
    let () = cmd("HSET")
        .arg("cutout:{default}:monitors")
        .arg(7)
        .arg("1 {}")
        .query_async(&mut plain)
        .await
        .unwrap();
    let error = store.read(&[], Some(7)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cutout:{default}:monitors 7 holds a value that is not readable as a monitor"
    );
    assert!(error.source().is_some() && !error.is_retryable());
}

/// Writes a flag as a later version may.
async fn publish_of_tomorrow(plain: &mut MultiplexedConnection, id: &BreakerId) {
    let rev: u64 = cmd("HINCRBY").arg(META).arg("rev").arg(1).query_async(plain).await.unwrap();
    let flag = format!(r#"{{"v":2,"rev":{rev},"state":{{"name":"ajar"}}}}"#);
    let () = cmd("HSET").arg(FLAGS).arg(id.as_str()).arg(&flag).query_async(plain).await.unwrap();
    let fields = [("breaker", id.as_str()), ("rev", &rev.to_string()), ("flag", &flag)];
    let _: String = cmd("XADD").arg(CHANGES).arg("*").arg(&fields).query_async(plain).await.unwrap();
}

#[tokio::test]
async fn a_flag_that_this_version_cannot_read_stays_as_it_was_known() {
    let (subject, store, term, mut plain) = scene(RedisServer::start()).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let following = Following::start(subject.store()).await;
    following.watcher.until("open", |seen| seen.state(&bank(1)) == Some(Open)).await;
    publish_of_tomorrow(&mut plain, &bank(1)).await;
    publish_of_tomorrow(&mut plain, &bank(2)).await;
    commit(&*store, &term, write(&bank(3), 0, 1, Some(flag(Open)))).await;
    following.watcher.until("what comes after", |seen| seen.state(&bank(3)) == Some(Open)).await;
    let known = following.watcher.now(|seen| [1, 2].map(|number| seen.state(&bank(number))));
    assert_eq!(known, [Some(Open), None]);
    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    following.watcher.until("readable again", |seen| seen.state(&bank(1)) == Some(Closed)).await;
    assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
}

#[tokio::test]
async fn a_follower_outlives_a_restart_of_a_redis_that_kept_its_data() {
    let mut server = RedisServer::start_durable();
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(&server.url(), "default").unwrap());
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let following = Following::start(Arc::clone(&store)).await;
    following.watcher.until("open", |seen| seen.state(&bank(1)) == Some(Open)).await;

    server.kill();
    following.watcher.until("the failure", |seen| !seen.connected && seen.failures > 0).await;
    assert_eq!(following.watcher.now(|seen| seen.state(&bank(1))), Some(Open), "unreachable is not absent");
    server.restart();
    following.watcher.until("the return", |seen| seen.connected).await;
    // The store's own connection may have died unused.
    let again = RedisStore::new(&server.url(), "default").unwrap();
    assert_eq!(declare(&again).await, term);
    commit(&again, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    following.watcher.until("the change after it", |seen| seen.state(&bank(1)) == Some(Closed)).await;
    assert_eq!(following.watcher.now(Seen::losses), 0);
}

#[tokio::test]
async fn a_follower_keeps_its_flags_when_redis_comes_back_empty() {
    let mut server = RedisServer::start();
    let store: Arc<dyn Store> = Arc::new(RedisStore::new(&server.url(), "default").unwrap());
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let following = Following::start(Arc::clone(&store)).await;
    following.watcher.until("open", |seen| seen.state(&bank(1)) == Some(Open)).await;

    server.restart();
    following.watcher.until("the loss", |seen| seen.losses() == 1).await;
    assert_eq!(following.watcher.now(|seen| seen.state(&bank(1))), Some(Open), "lost is not closed");
    let again = RedisStore::new(&server.url(), "default").unwrap();
    let term = declare(&again).await;
    commit(&again, &term, write(&bank(2), 0, 1, Some(flag(Open)))).await;
    following.watcher.until("what is new", |seen| seen.state(&bank(2)) == Some(Open)).await;
    assert_eq!(following.watcher.now(|seen| (seen.state(&bank(1)), seen.losses())), (Some(Open), 1));
}

#[tokio::test]
async fn a_follower_that_starts_before_its_redis_begins_when_it_comes() {
    let mut server = RedisServer::start_durable();
    let store = RedisStore::new(&server.url(), "default").unwrap();
    let term = declare(&store).await;
    commit(&store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    server.kill();
    let starting = Following::start(Arc::new(RedisStore::new(&server.url(), "default").unwrap()));
    let coming = async {
        tokio::task::yield_now().await;
        server.restart();
    };
    let (following, ()) = tokio::join!(starting, coming);
    assert_eq!(
        following.watcher.now(|seen| seen.state(&bank(1))),
        Some(Open),
        "flags come before the first synced"
    );
}

#[tokio::test]
async fn a_follower_heals_when_the_whole_stream_was_trimmed_away_before_it_read_it() {
    let (subject, store, term, mut plain) = scene(RedisServer::start()).await;
    let watcher = Arc::new(Watcher::default());
    let mut follower = std::pin::pin!(Follower::new(subject.store(), Arc::clone(&watcher) as _).run());
    tokio::select! {
        () = &mut follower => panic!("a follower never ends"),
        () = watcher.until("the first snapshot", |seen| seen.synced.is_some()) => {}
    }
    // Nobody polls the follower meanwhile, as on a machine that is suspended.
    for number in [1, 2] {
        commit(&*store, &term, write(&bank(number), 0, 1, Some(flag(Open)))).await;
    }
    let trimmed: u64 = cmd("XTRIM").arg(CHANGES).arg("MAXLEN").arg(0).query_async(&mut plain).await.unwrap();
    assert_eq!(trimmed, 2);
    commit(&*store, &term, write(&bank(3), 0, 1, Some(flag(Open)))).await;
    tokio::select! {
        () = &mut follower => panic!("a follower never ends"),
        () = watcher.until("what was trimmed away", |seen| seen.flags.len() == 3) => {}
    }
    assert_eq!(watcher.now(|seen| (seen.failures, seen.losses())), (0, 0), "a gap is no error and no loss");
}

#[tokio::test]
async fn connections_that_are_closed_in_a_long_silence_cost_no_change_and_no_write() {
    let (subject, store, term, mut plain) = scene(RedisServer::start()).await;
    let following = Following::start(subject.store()).await;
    // As a server with an idle time-out, or a balancer between, does with all of them.
    let mut kill = cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal");
    let closed: u64 = kill.query_async(&mut plain).await.unwrap();
    assert!(closed >= 1, "the store's own connection was open");
    following.watcher.until("the failure", |seen| seen.failures > 0).await;
    following.watcher.until("the return", |seen| seen.connected).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    following.watcher.until("the change", |seen| seen.state(&bank(1)) == Some(Open)).await;
    assert_eq!(following.watcher.now(Seen::losses), 0);
}
