//! Which node is asked: the primary alone, behind a name that changes hands and behind sentinels.

use crate::channel::{subscribed, until};
use crate::subject::{DEADLINE, Following, Seen, bank, commit, declare, flag, write};
use cutout_core::Declared;
use cutout_core::flag::State::{Closed, Open};
use cutout_flags::{RedisStore, Store, StoreError};
use cutout_tests::canary::REDIS_PASSWORD;
use cutout_tests::forward::Forwarder;
use cutout_tests::redis::{RedisServer, free_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

fn store_at(url: &str) -> Arc<dyn Store> {
    Arc::new(RedisStore::new(url, "default").unwrap())
}

/// A primary that holds an open breaker, and a replica of it that has it, too.
async fn primary_and_replica() -> (RedisServer, RedisServer) {
    let primary = RedisServer::start();
    let replica = RedisServer::start_replica_of(&primary);
    let store = store_at(&primary.url());
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let has_it =
        || replica.ask::<Option<String>>(&["HGET", "cutout:{default}:flags", bank(1).as_str()]).is_some();
    let deadline = Instant::now() + DEADLINE;
    while !has_it() {
        assert!(Instant::now() < deadline, "the replica does not copy");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (primary, replica)
}

#[tokio::test]
async fn what_a_replica_answers_does_not_count() {
    let (primary, replica) = primary_and_replica().await;
    let store = store_at(&replica.url());
    let mut position = store_at(&primary.url()).snapshot().await.unwrap().position;
    let errors = [
        store.snapshot().await.err(),
        store.read(&[bank(1)], None).await.err(),
        store.tail(&mut position, Duration::ZERO).await.err(),
        store.declare(&Declared::default()).await.err(),
        store.ping().await.err(),
    ];
    for error in errors {
        assert!(error.expect("it is no primary").is_retryable());
    }
    replica.promote();
    assert_eq!(store.snapshot().await.unwrap().flags.len(), 1, "and now it is");
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_role_reads_what_the_address_gives() {
    let server = RedisServer::start();
    let user = format!(">{REDIS_PASSWORD}");
    let () = server.ask(&["ACL", "SETUSER", "app", "on", &user, "~cutout:*", "+@all", "-role"]);
    let url = format!("redis://app:{REDIS_PASSWORD}@127.0.0.1:{}", server.port());
    let store = store_at(&url);
    let term = declare(&*store).await;
    for revision in 0..5 {
        commit(&*store, &term, write(&bank(1), revision, 1, Some(flag(Open)))).await;
    }
    assert_eq!(store.snapshot().await.unwrap().flags.len(), 1);
    let commands: String = server.ask(&["INFO", "commandstats"]);
    let role = commands.lines().find(|line| line.starts_with("cmdstat_role:")).expect("it was asked");
    assert!(role.contains("rejected_calls=1,"), "once a connection: {role}");
}

#[tokio::test]
async fn a_follower_ends_on_the_primary_when_a_name_is_given_to_a_promoted_replica() {
    let (primary, replica) = primary_and_replica().await;
    let name = Forwarder::start(primary.port()).await;
    let store = store_at(&name.url());
    let following = Following::start(Arc::clone(&store)).await;
    let snapshot_ms = following.watcher.now(|seen| seen.synced.as_ref().unwrap().local_ms);
    let tails = |seen: &Seen| seen.synced.as_ref().is_some_and(|synced| synced.local_ms > snapshot_ms);
    following.watcher.until("the first answer of the stream", tails).await;

    // The old primary lives on as a replica of a server that is away, so whoever stays there learns nothing more.
    replica.promote();
    name.point_at(replica.port());
    primary.demote(free_port());
    let promoted = store_at(&replica.url());
    let term = declare(&*promoted).await;
    commit(&*promoted, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    following
        .watcher
        .until("the change on the new primary", |seen| seen.state(&bank(1)) == Some(Closed))
        .await;
    assert_eq!(following.watcher.now(Seen::losses), 0, "the replica had everything");
    assert_eq!(store.declare(&Declared::default()).await.unwrap(), term);
    commit(&*store, &term, write(&bank(1), 2, 3, Some(flag(Open)))).await;
    following.watcher.until("a change through the name", |seen| seen.state(&bank(1)) == Some(Open)).await;
}

#[tokio::test]
async fn writes_through_a_primary_that_became_a_replica_are_errors_and_the_next_goes_to_the_new_one() {
    let (primary, replica) = primary_and_replica().await;
    let name = Forwarder::start(primary.port()).await;
    let store = store_at(&name.url());
    let term = declare(&*store).await;
    replica.promote();
    primary.demote(replica.port());
    let refused = store.commit(&term, &[write(&bank(2), 0, 1, Some(flag(Open)))]).await.unwrap_err();
    assert!(refused.is_retryable(), "{refused}");
    name.point_at(replica.port());
    commit(&*store, &term, write(&bank(2), 0, 1, Some(flag(Open)))).await;
    assert_eq!(store_at(&replica.url()).snapshot().await.unwrap().flags.len(), 2);
}

#[tokio::test]
async fn a_name_that_was_given_to_another_server_is_followed_though_the_old_one_lives_on() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let name = Forwarder::start(servers[0].port()).await;
    let store = store_at(&name.url());
    let terms = [declare(&*store).await, declare(&*store_at(&servers[1].url())).await];
    name.point_at(servers[1].port());
    assert_eq!(declare(&*store).await, terms[0], "the connection is open and good");
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(6)).await;
    tokio::time::resume();
    assert_eq!(declare(&*store).await, terms[1], "but not for ever");
}

/// A stand-in for a sentinel that names whom it was told to, and may ask for a password.
struct Named {
    port: u16,
}

impl Named {
    /// One that names the server at this port; none: it knows no such primary.
    fn start(primary_port: Option<u16>, password: Option<&'static str>) -> Named {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || answer(&stream, primary_port, password));
            }
        });
        Named { port }
    }
}

/// Answers each command of a connection until it ends.
fn answer(stream: &TcpStream, primary_port: Option<u16>, password: Option<&'static str>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut logged_in = password.is_none();
    loop {
        let command = read_command(&mut reader)?;
        let answer = match command[0].to_uppercase().as_str() {
            "AUTH" if command.last().map(String::as_str) == password => {
                logged_in = true;
                "+OK\r\n".to_owned()
            }
            _ if !logged_in => "-NOAUTH Authentication required.\r\n".to_owned(),
            "SENTINEL" => {
                assert_eq!(&command[1..], ["get-master-addr-by-name", "bank"]);
                let port = primary_port.map(|port| port.to_string());
                port.map_or("*-1\r\n".to_owned(), |port| {
                    format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
                })
            }
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

fn read_command(reader: &mut BufReader<&TcpStream>) -> Option<Vec<String>> {
    let number = |mark: char, reader: &mut BufReader<&TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim().strip_prefix(mark)?.parse::<usize>().ok()
    };
    let count = number('*', reader)?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let mut part = vec![0; number('$', reader)? + 2];
        reader.read_exact(&mut part).ok()?;
        parts.push(String::from_utf8(part).ok()?.trim().to_owned());
    }
    Some(parts)
}

fn url_of(sentinels: &[u16], options: &str) -> String {
    let hosts: Vec<String> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis+sentinel://{}/bank{options}", hosts.join(","))
}

#[tokio::test]
async fn one_sentinel_that_knows_the_primary_is_enough_whatever_the_others_do() {
    let (primary, replica) = primary_and_replica().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let others = [
        ("away", free_port()),
        ("silent", silent.local_addr().unwrap().port()),
        ("names a replica", Named::start(Some(replica.port()), None).port),
        ("names a server that is away", Named::start(Some(free_port()), None).port),
        ("does not know it", Named::start(None, None).port),
    ];
    let good = Named::start(Some(primary.port()), None);
    let all: Vec<u16> = others.iter().map(|(_, port)| *port).chain([good.port]).collect();
    // The order in which they are asked is drawn each time.
    for _ in 0..10 {
        let store = store_at(&url_of(&all, ""));
        let asked = Instant::now();
        assert_eq!(store.snapshot().await.unwrap().flags.len(), 1);
        assert!(asked.elapsed() < Duration::from_secs(2), "the silent one held it up: {:?}", asked.elapsed());
    }
    for (which, port) in others {
        let error =
            timeout(DEADLINE, store_at(&url_of(&[port], "")).ping()).await.expect("bounded").unwrap_err();
        let passes = which != "does not know it";
        assert_eq!(error.is_retryable(), passes, "{which}: {error:?}");
    }
    let error =
        store_at(&url_of(&[free_port(), Named::start(None, None).port], "")).ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "that one is away says less: {error:?}");
}

#[tokio::test]
async fn sentinels_and_primary_have_logins_of_their_own() {
    let server = RedisServer::start_with_password(REDIS_PASSWORD);
    let own = "canary-secret-sentinel-password";
    let sentinel = Named::start(Some(server.port()), Some(own)).port;
    let with = |primary: &str, sentinels: &str| {
        store_at(&format!(
            "redis+sentinel://:{primary}@127.0.0.1:{sentinel}/bank?sentinel_password={sentinels}"
        ))
    };
    with(REDIS_PASSWORD, own).ping().await.unwrap();
    for store in [with("canary-secret-wrong", own), with(REDIS_PASSWORD, "canary-secret-wrong")] {
        let error = store.ping().await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(matches!(error, StoreError::Refused { .. }) && !told.contains("canary"), "{told}");
    }
}

#[tokio::test]
async fn a_follower_behind_sentinels_goes_where_they_point_after_the_old_primary_died() {
    let (mut primary, replica) = primary_and_replica().await;
    // Two that disagree while a fail-over is on the way.
    let sentinels = [primary.port(), replica.port()].map(|port| Named::start(Some(port), None).port);
    let store = store_at(&url_of(&sentinels, ""));
    let following = Following::start(Arc::clone(&store)).await;
    following.watcher.until("open", |seen| seen.state(&bank(1)) == Some(Open)).await;
    primary.kill();
    following.watcher.until("the failure", |seen| !seen.connected).await;
    replica.promote();
    following.watcher.until("the return", |seen| seen.connected).await;
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    following.watcher.until("a change on the new primary", |seen| seen.state(&bank(1)) == Some(Closed)).await;
    assert_eq!(following.watcher.now(Seen::losses), 0);
    until(&replica, "the subscription there", |replica| subscribed(replica, &term) == 1).await;
}
