//! The end of an instance: what comes meanwhile is answered, and nothing that was acknowledged is lost.

use crate::callbacks::flag;
use crate::process::ServiceProcess;
use crate::wire::{PATH, callback, get, read, send, signature, until};
use cutout_tests::canary;
use cutout_tests::redis::RedisServer;
use jiff::Timestamp;
use serde_json::Value;
use std::net::SocketAddr;

const SENDERS: usize = 8;

/// Sends callbacks over a connection that is kept, until the service does not listen any more. Yields the banks whose
/// callbacks were acknowledged, and how many of the answers asked to leave the connection.
async fn send_until_refused(at: SocketAddr, sender: usize) -> (Vec<String>, usize) {
    let (client, mut acknowledged, mut parted) = (reqwest::Client::new(), Vec::new(), 0);
    loop {
        let bank = format!("{sender}-{}", acknowledged.len());
        let body = callback(&bank, "Alert", 5).to_string().into_bytes();
        let headers = signature(canary::SIGNING_SECRET, &body, Timestamp::now().as_second());
        let request = client.post(format!("http://{at}{PATH}")).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        match request.send().await {
            // Too many at once for one monitor: the sender comes again, as the function does.
            Ok(answer) if answer.status() == 503 => {
                assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
            }
            Ok(answer) => {
                assert_eq!(answer.status(), 200, "{answer:?}");
                parted += usize::from(answer.headers().get("connection").is_some());
                acknowledged.push(bank);
            }
            Err(error) if error.is_connect() => return (acknowledged, parted),
            Err(error) => panic!("callback {bank} was cut: {error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_that_come_while_it_ends_are_committed_or_find_nobody() {
    let redis = RedisServer::start();
    let mut service = ServiceProcess::start_with(&redis.url(), &[("CUTOUT_DRAIN", "2s")]);
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    let at = service.at();
    let senders: Vec<_> = (0..SENDERS).map(|sender| tokio::spawn(send_until_refused(at, sender))).collect();
    until("all are at work", async || service.lines("callback").len() >= 4 * SENDERS).await;
    service.terminate();
    for sender in senders {
        let (acknowledged, parted) = sender.await.expect("no callback was cut");
        assert!(parted > 0, "some were sent after the signal");
        for bank in acknowledged {
            let flag = flag(&redis, &format!("bank-charge/{bank}")).await;
            assert_eq!(flag.expect("what was acknowledged is there")["state"], "open");
        }
    }
    assert!(service.ended().success());
}

#[tokio::test]
async fn after_sigterm_it_is_not_ready_but_answers_and_a_second_one_ends_it_at_once() {
    let redis = RedisServer::start();
    let mut service = ServiceProcess::start_with(&redis.url(), &[("CUTOUT_DRAIN", "300s")]);
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    service.terminate();
    until("it says that it ends", async || get(service.at(), "/readyz").await == 503).await;
    let told: Value = serde_json::from_str(&read(service.at(), "/readyz").await.1).unwrap();
    assert_eq!((&told["draining"], &told["store"]["ok"]), (&true.into(), &true.into()));
    assert_eq!(get(service.at(), "/healthz").await, 200);
    assert_eq!(send(service.at(), &callback("0001", "Alert", 5)).await.status, 200);
    service.terminate();
    assert_eq!(service.ended().code(), Some(1));
    assert_eq!(service.lines_at_least(1, "the service ends")[0]["error"], "cut short by a second signal");
}
