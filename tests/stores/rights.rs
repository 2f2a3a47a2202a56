//! The users of docs/redis.md, as they stand there: each may do all that it needs, and what is not granted is refused.

use crate::channel::{META, blocked, channel_of, subscribed, until};
use crate::subject::{Following, bank, flag, write};
use cutout_core::Declared;
use cutout_core::flag::State::{Closed, Open};
use cutout_core::{Breaker, Cause, Mode, Transition};
use cutout_flags::{AuditEntry, AuditFrom, Committed, RedisStore, Store, Term, Write};
use cutout_tests::redis::{RedisServer, documented_users, url_of};
use std::sync::Arc;

const FLAGS: &str = "cutout:{default}:flags";
const BREAKERS: &str = "cutout:{default}:breakers";
const AUDIT: &str = "cutout:{default}:audit";

fn store_of(server: &RedisServer, user: &str) -> Arc<dyn Store> {
    Arc::new(RedisStore::new(&url_of(server, user), "default").unwrap())
}

/// What the server has refused to users of restricted rights, since it was asked last.
fn refused(server: &RedisServer) -> Vec<String> {
    let log: Vec<Vec<redis::Value>> = server.ask(&["ACL", "LOG"]);
    let () = server.ask(&["ACL", "LOG", "RESET"]);
    log.iter().map(|entry| format!("{entry:?}")).collect()
}

/// What a user is answered to a command.
fn ask_as(server: &RedisServer, user: &str, command: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut connection = redis::Client::open(url_of(server, user)).unwrap().get_connection().unwrap();
    redis::cmd(command[0]).arg(&command[1..]).query(&mut connection)
}

/// Opens a breaker or closes it, with all that a service writes then.
async fn flip(store: &dyn Store, term: &Term, revision: u64) {
    let to = if revision.is_multiple_of(2) { Open } else { Closed };
    let Write::Breaker { id, expected, flag, .. } = write(&bank(1), revision, 1, Some(flag(to))) else {
        unreachable!("it is a breaker's");
    };
    let cause = Cause::Person { by: "ann".into(), why: "a drill".into(), act: "force" };
    let audit =
        vec![AuditEntry::new(Transition { from: Closed, to, at_ms: 5, cause, fault: None }, Mode::Enforce)];
    let not_closed_by = if to == Open { 1 } else { -1 };
    let write = Write::Breaker { id, expected, record: Breaker::new(1), flag, not_closed_by, audit };
    assert_eq!(store.commit(term, &[write]).await.unwrap(), Committed::Taken(vec![true]));
}

#[tokio::test]
async fn the_documented_users_have_the_rights_that_they_need_and_callers_cannot_publish() {
    let server = RedisServer::start();
    documented_users(&server);
    let service = store_of(&server, "cutout-service");
    let term = service.declare(&Declared::default()).await.unwrap();
    let following = Following::start(store_of(&server, "cutout-caller")).await;
    until(&server, "the caller's subscription", |server| subscribed(server, &term) == 1).await;
    flip(&*service, &term, 0).await;
    following.watcher.until("the change", |seen| seen.state(&bank(1)) == Some(Open)).await;
    assert_eq!(blocked(&server), 0, "it came by the channel");

    // What else a service asks, and its own follower.
    let cause = Cause::Person { by: "ann".into(), why: "a drill".into(), act: "pause" };
    service.read(&[bank(1)], Some(7)).await.unwrap();
    service.monitors().await.unwrap();
    service.set_pause(None, &cause, 7).await.unwrap();
    assert!(service.replace_pause(None, None, &cause, 8).await.unwrap());
    assert_eq!(service.audit(AuditFrom::Before(None), 10).await.unwrap().len(), 3);
    assert!(service.flags(&[bank(1)]).await.unwrap()[0].is_some());
    service.ping().await.unwrap();
    assert_eq!(service.is_durable().await.unwrap(), Some(false));
    let _own = Following::start(Arc::clone(&service)).await;
    until(&server, "the service's subscription", |server| subscribed(server, &term) == 2).await;
    assert_eq!(refused(&server), [""; 0], "nothing that is asked is refused");

    let channel = channel_of(&term);
    for user in ["cutout-caller", "cutout-poller"] {
        let forbidden: [&[&str]; 6] = [
            &["PUBLISH", &channel, "x"],
            &["SPUBLISH", &channel, "x"],
            &["HSET", FLAGS, "bank-charge/00001", "{}"],
            &["HGETALL", BREAKERS],
            &["XREVRANGE", AUDIT, "+", "-"],
            &["EVAL", "return redis.call('PUBLISH', ARGV[1], 'x')", "0", &channel],
        ];
        for command in forbidden {
            let error = ask_as(&server, user, command).expect_err(command[0]);
            assert_eq!(error.code(), Some("NOPERM"), "{user} {command:?}: {error}");
        }
    }
    ask_as(&server, "cutout-poller", &["HGETALL", FLAGS]).unwrap();
    let elsewhere = ask_as(&server, "cutout-service", &["PUBLISH", "app:news", "x"]).unwrap_err();
    assert_eq!(elsewhere.code(), Some("NOPERM"), "{elsewhere}");
    assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
}

#[tokio::test]
async fn a_service_that_may_not_publish_commits_and_is_followed_by_the_stream() {
    for less in [&["-publish"][..], &["resetchannels"], &["-publish", "resetchannels"]] {
        let server = RedisServer::start();
        documented_users(&server);
        let () = server.ask(&[&["ACL", "SETUSER", "cutout-service"], less].concat());
        let service = store_of(&server, "cutout-service");
        let term = service.declare(&Declared::default()).await.unwrap();
        let following = Following::start(store_of(&server, "cutout-caller")).await;
        until(&server, "the caller at the stream", |server| blocked(server) == 1).await;
        for (revision, state) in [(0, Open), (1, Closed)] {
            flip(&*service, &term, revision).await;
            following.watcher.until("the change", |seen| seen.state(&bank(1)) == Some(state)).await;
        }
        let named: Option<String> = server.ask(&["HGET", META, "channel"]);
        assert_eq!(named, None, "{less:?}");
        assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
    }
}
