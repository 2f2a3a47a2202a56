//! What the operators' page costs with 10,000 breakers, every tenth of them open: over HTTP, and in a real browser.
//!
//! Prints for each page the time until the first byte and until the last, and its size; and for the browser the time until
//! it is loaded, and how many elements it holds. `tests/bench page`; `--short` for fewer rounds, without the browser, which `tests/run` installs.
//! Left out: the network, which is loopback here.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../page/browser.rs"]
mod browser;

use browser::Browser;
use cutout_core::webhook::{self, Secret};
use cutout_service::callback::CALLBACK_PATH;
use cutout_service::{Limits, Operators, Page, Parts, Service, breakers, serve};
use cutout_tests::canary;
use cutout_tests::figures::{figure, short};
use cutout_tests::redis::RedisServer;
use jiff::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const MONITORS: u64 = 10;
const GROUPS: u64 = 1_000;
const FIRST_MONITOR: u64 = 5_200_001;
/// Every so many groups one is in alert.
const ALERT_EVERY: u64 = 10;
/// How often each page is measured, and how often in the short form, which leaves the browser out.
const ROUNDS: [usize; 2] = [51, 21];
const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let redis = RedisServer::start();
    let service = service(&redis);
    let base = listen(&service).await;
    let _running = tokio::spawn(service.run());
    fill(&base).await;
    let cookie = sign_in(&base).await;
    println!(
        "{} breakers, every {ALERT_EVERY}th open; median and 90th percentile of {}\n",
        MONITORS * GROUPS,
        rounds()
    );
    println!("{:<34} {:>16} {:>16} {:>10}", "page", "first byte ms", "all of it ms", "bytes");
    for (name, path) in [
        ("the list, first page", "/"),
        ("the last page", "/?after=bank-charge/9-0899"),
        ("only what is open", "/?state=open"),
        ("pages of 1,000", "/?limit=1000"),
        ("one breaker", "/breakers/bank-charge/3-0010"),
        ("the history", "/history"),
    ] {
        let p50_ms = over_http(name, &format!("{base}{path}"), &cookie).await;
        if path == "/" {
            figure("page.list", p50_ms, "ms");
        }
    }
    if !short() {
        in_browser(&base);
    }
}

fn rounds() -> usize {
    ROUNDS[usize::from(short())]
}

fn service(redis: &RedisServer) -> Service {
    let ids: Vec<u64> = (0..MONITORS).map(|monitor| FIRST_MONITOR + monitor).collect();
    let text = format!(
        "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmonitors = {{ ids = {ids:?} }}\n"
    );
    let breakers = breakers::parse("breakers.toml", &text).unwrap();
    let store = cutout_flags::open(&redis.url(), "default").unwrap();
    let secrets = vec![canary::SIGNING_SECRET.parse().unwrap()];
    Service::new(Parts { store, breakers, secrets, public_url: None })
}

/// Serves callbacks and page on one address.
async fn listen(service: &Service) -> String {
    let operators = Operators::parse("OPERATORS", &canary::operators()).unwrap();
    let router = service.router().merge(service.page(operators, Page::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, router, Limits::default(), std::future::pending()));
    base
}

/// Reports of all groups, and waits until the page shows them.
async fn fill(base: &str) {
    let secret: Secret = canary::SIGNING_SECRET.parse().unwrap();
    let at = Timestamp::now();
    for monitor in 0..MONITORS {
        let groups = (0..GROUPS).map(|group| {
            let bank = format!("{monitor}-{group:04}");
            let status = if group % ALERT_EVERY == 0 { "Alert" } else { "OK" };
            json!({"name": format!("bank_code:{bank}"), "tags": {"bank_code": [bank]}, "status": status,
                   "changed_at": at, "muted": false})
        });
        let report = json!({"as_of": at, "groups": groups.collect::<Vec<_>>(), "monitor":
            {"name": "Bank API", "type": "query alert", "tags": [], "url": "https://app.datadoghq.example/monitors/1"}});
        let callback = json!({"schema": "cutout.callback/1", "source": "datadog", "reason": "reconcile", "to": URL,
            "event_id": null, "monitor_id": FIRST_MONITOR + monitor, "notified": null, "event": null, "report": report});
        let body = callback.to_string().into_bytes();
        let (id, now_secs) = (webhook::message_id(URL, &body), Timestamp::now().as_second());
        let signature = webhook::sign(std::slice::from_ref(&secret), &id, now_secs, &body);
        let request = Client::new().post(format!("{base}{CALLBACK_PATH}")).header(webhook::ID_HEADER, id);
        let request = request.header(webhook::TIMESTAMP_HEADER, now_secs.to_string());
        let answered = request.header(webhook::SIGNATURE_HEADER, signature).body(body).send().await.unwrap();
        assert_eq!(answered.status(), 200);
    }
    let started = Instant::now();
    let all = json!(MONITORS * GROUPS);
    while Client::new()
        .get(format!("{base}/v1/breakers?limit=1"))
        .bearer_auth(canary::VIEWER_TOKEN)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .map(|text| serde_json::from_str::<Value>(&text).unwrap_or_default()["total"] != all)
        .unwrap()
    {
        assert!(started.elapsed() < Duration::from_secs(60), "not all breakers are shown");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn sign_in(base: &str) -> String {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let login = client.post(format!("{base}/login")).header("origin", base);
    let login = login.header("content-type", "application/x-www-form-urlencoded");
    let answered = login.body(format!("token={}", canary::OPERATOR_TOKEN)).send().await.unwrap();
    let cookie = answered.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Yields the median until the last byte, milliseconds.
async fn over_http(name: &str, url: &str, cookie: &str) -> f64 {
    let client = Client::new();
    let (mut first, mut all, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds() {
        let started = Instant::now();
        let answered = client.get(url).header("cookie", cookie).send().await.unwrap();
        assert_eq!(answered.status(), 200, "{url}");
        first.push(started.elapsed());
        bytes = answered.bytes().await.unwrap().len();
        all.push(started.elapsed());
    }
    println!("{name:<34} {:>16} {:>16} {bytes:>10}", told(&mut first), told(&mut all));
    all[all.len() / 2].as_secs_f64() * 1e3
}

/// Median and 90th percentile, milliseconds.
fn told(times: &mut [Duration]) -> String {
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    format!("{:.1} / {:.1}", at(50), at(90))
}

fn in_browser(base: &str) {
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.sign_in(base, canary::OPERATOR_TOKEN);
    println!("\n{:<34} {:>16} {:>16} {:>10}", "in the browser", "loaded ms", "laid out ms", "elements");
    for (name, path) in [
        ("the list, first page", "/"),
        ("pages of 1,000", "/?limit=1000"),
        ("one breaker", "/breakers/bank-charge/3-0010"),
    ] {
        browser.open(&format!("{base}{path}"));
        let loaded = browser.value("performance.getEntriesByType('navigation')[0].loadEventEnd");
        let laid_out = "(() => { const from = performance.now(); document.body.style.width = '900px'; \
                        document.body.offsetHeight; return performance.now() - from; })()";
        let laid_out = browser.value(laid_out);
        let elements = browser.count("*");
        let [loaded, laid_out] = [loaded, laid_out].map(|ms| ms.as_f64().unwrap_or(f64::NAN));
        println!("{name:<34} {loaded:>16.0} {laid_out:>16.0} {elements:>10}");
    }
}
