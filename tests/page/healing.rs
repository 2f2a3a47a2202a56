//! A page that stays open while what stands behind it fails: it says so, and is live again when that is over, by itself.

use crate::access::SECRET;
use crate::browser::Browser;
use cutout_tests::canary;
use cutout_tests::rig::{DEADLINE, Kept, MONITOR, Rig};
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIVE: &str = "document.getElementById('live').dataset.how === 'live'";
const BROKEN: &str = "document.getElementById('live').dataset.how === 'broken'";
const STREAM_ASKED: &[u8] = b"GET /v1/changes";
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A proxy whose service is away: answers 502 until the stream of changes was asked for `times` times.
async fn bad_gateway(at: SocketAddr, times: usize) {
    let listener = TcpListener::bind(at).await.expect("the place is free");
    let answering = async {
        let mut asked = 0;
        while asked < times {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 16 * 1024];
            let length = stream.read(&mut request).await.unwrap_or_default();
            asked += usize::from(request[..length].starts_with(STREAM_ASKED));
            // Who has left does not hear it.
            let _ = stream.write_all(BAD_GATEWAY).await;
        }
    };
    tokio::time::timeout(DEADLINE, answering).await.expect("the stream is asked for again and again");
}

#[tokio::test]
async fn a_page_is_live_again_after_a_restart_behind_a_proxy() {
    // Sessions outlive the process.
    let mut rig = Rig::start_with(Kept::Redis, &[("CUTOUT_SESSION_SECRETS", SECRET)]).await;
    rig.say(MONITOR, &[("0001", "OK")]).await;
    rig.until_state("bank-charge/0001", "closed").await;
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.sign_in(&format!("http://{}", rig.operators_at()), canary::OPERATOR_TOKEN);
    browser.until(LIVE);
    browser.value("window.notLoadedAgain = true");

    rig.kill();
    // Two answers that are none: it must not give up after the first.
    bad_gateway(rig.operators_at(), 2).await;
    browser.until(BROKEN);
    rig.restart().await;
    browser.until(LIVE);
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    browser.seen("#attention [data-breaker='bank-charge/0001'][data-state='open']");
    browser.until("document.getElementById('news').textContent === 'bank-charge/0001 is now: Open'");
    assert_eq!(browser.value("window.notLoadedAgain"), true);
}

#[tokio::test]
async fn a_page_that_cannot_be_fetched_again_says_so_although_changes_are_followed() {
    let mut rig = Rig::start(Kept::Redis).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    let base = format!("http://{}", rig.operators_at());
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    browser.open(&format!("{base}/breakers/bank-charge/0001"));
    browser.until(LIVE);

    // The stream comes from the service's memory and goes on; the page needs the store.
    rig.redis.as_mut().unwrap().kill();
    browser.value("document.dispatchEvent(new Event('visibilitychange'))");
    browser.until(BROKEN);
    assert!(browser.text("#live").contains("What you see may be old"));
    assert!(browser.text("#known").contains("bank-charge/0001"), "what was there stays");
    rig.redis.as_mut().unwrap().restart();
    browser.until(LIVE);
}
