//! The same over TLS: every connection of a store, also the one that is subscribed, goes the encrypted way.
//!
//! Which authorities are trusted is read from the environment, so the test runs once more in a process of its own, which trusts the
//! server's certificate.

use crate::channel::channel_of;
use crate::subject::{DEADLINE, Following, bank, commit, declare, flag, write};
use cutout_core::flag::State::{Closed, Open};
use cutout_flags::{RedisStore, Store, Term};
use cutout_tests::redis::{RedisServer, free_port};
use rustls::crypto::ring;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::time::timeout;

/// Set in the second process: the port of TLS.
const TLS_PORT: &str = "CUTOUT_TEST_TLS_PORT";
/// Set in the second process: the plain port, by which the test looks at the server.
const PLAIN_PORT: &str = "CUTOUT_TEST_PLAIN_PORT";
const NAME: &str = "tls::over_tls_changes_come_by_the_channel_and_cuts_lose_nothing";

#[tokio::test]
async fn over_tls_changes_come_by_the_channel_and_cuts_lose_nothing() {
    if let Ok(port) = std::env::var(TLS_PORT) {
        return follow_over_tls(&port).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (server, port) = server(&certificate, &key);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([NAME, "--exact", "--nocapture"]).env("SSL_CERT_FILE", &certificate);
    child.env(TLS_PORT, &port).env(PLAIN_PORT, server.port().to_string()).kill_on_drop(true);
    let ran = timeout(2 * DEADLINE, child.output()).await.expect("bounded").unwrap();
    let told = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
}

fn server(certificate: &Path, key: &Path) -> (RedisServer, String) {
    let (port, files) = (free_port().to_string(), [certificate, key].map(|path| path.to_str().unwrap()));
    let settings = ["--tls-port", &port, "--tls-cert-file", files[0], "--tls-key-file", files[1]];
    let trust = ["--tls-ca-cert-file", files[0], "--tls-auth-clients", "no"];
    (RedisServer::start_with(&[&settings[..], &trust].concat()), port)
}

async fn follow_over_tls(port: &str) {
    ring::default_provider().install_default().unwrap();
    let url = format!("rediss://127.0.0.1:{port}");
    let store = || -> Arc<dyn Store> { Arc::new(RedisStore::new(&url, "default").unwrap()) };
    let service = store();
    let term = declare(&*service).await;
    let following = Following::start(store()).await;
    is_subscribed(&term).await;
    for revision in 0..6 {
        let state = if revision % 2 == 0 { Open } else { Closed };
        if revision >= 2 {
            let _: usize = ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
        commit(&*service, &term, write(&bank(1), revision, 1, Some(flag(state)))).await;
        following.watcher.until("the change", |seen| seen.state(&bank(1)) == Some(state)).await;
        let clients: String = ask(&["INFO", "clients"]);
        assert!(revision >= 2 || clients.contains("blocked_clients:0\r"), "it came by the channel");
    }
    is_subscribed(&term).await;
    assert_eq!(following.watcher.now(|seen| (seen.failures, seen.losses())), (0, 0));
}

/// What the server answers at its plain port.
fn ask<T: redis::FromRedisValue>(command: &[&str]) -> T {
    let url = format!("redis://127.0.0.1:{}", std::env::var(PLAIN_PORT).unwrap());
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    redis::cmd(command[0]).arg(&command[1..]).query(&mut connection).unwrap()
}

async fn is_subscribed(term: &Term) {
    let count = || -> usize {
        let (_, count): (String, usize) = ask(&["PUBSUB", "NUMSUB", &channel_of(term)]);
        count
    };
    let deadline = Instant::now() + DEADLINE;
    while count() != 1 {
        assert!(Instant::now() < deadline, "the subscription does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
