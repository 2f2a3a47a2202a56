//! What the whole stack costs around a reqwest GET on loopback: breaker, bulkhead, time-outs, retries, local breaker and counts, beside bare
//! reqwest. `cargo bench -p cutout-tests --bench stack`, or `tests/bench stack`.
//!
//! The two take turns in short rounds, so that what else the machine does meets both; the median of the rounds' ratios counts. The server runs in a
//! thread of its own. Prints also what the plain doors cost without a network. Left out: TLS, which is the same for both.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use axum::Router;
use axum::routing::get;
use cutout::{Bulkhead, FakeClient, LocalBreaker, Retries, Upstream, Window};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Pairs of rounds.
const PAIRS: usize = 60;
/// Requests of one round.
const REQUESTS: u32 = 1_500;
/// How many are under way at once.
const LANES: u32 = 4;
/// Calls of one round without a network: so few that hardly any round is interrupted.
const CALLS: u32 = 2_000;
const ROUNDS: usize = 501;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        requests(&url).await;
        calls().await;
    });
}

/// A server in a thread of its own. Yields its URL.
fn serve() -> String {
    let (told, url) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            told.send(format!("http://{}/", listener.local_addr().expect("its address"))).expect("told");
            axum::serve(listener, Router::new().route("/", get(|| async { "paid" })))
                .await
                .expect("it serves");
        });
    });
    url.recv().expect("the server's URL")
}

/// Everything that can be set, is.
fn upstream() -> Upstream {
    let fake = FakeClient::new(["bank-charge"]);
    let rules = LocalBreaker::over(Window::Time(Duration::from_secs(10)))
        .failure_percent(50)
        .slow_calls(Duration::from_secs(1), 80)
        .consecutive_failures(50);
    Upstream::builder("bank-charge")
        .class("charge")
        .try_timeout(Duration::from_secs(2))
        .bulkhead(Bulkhead { max_concurrent: 100, max_waiting: 10 })
        .retries(Retries::up_to(2))
        .local_breaker(rules)
        .key_tags(["bank_code"])
        .build(&fake.client())
        .expect("an upstream")
}

async fn requests(url: &str) {
    let upstream = upstream();
    let plain = || cutout::reqwest::client_builder(&upstream).no_proxy().build().expect("a client");
    let by_header = |asked: &cutout::reqwest::Outgoing| {
        let bank = asked.request().headers().get("x-bank-code").and_then(|value| value.to_str().ok());
        bank.map(str::to_owned).into_iter().collect()
    };
    let whole = ClientBuilder::new(plain()).with(cutout::reqwest::protect(&upstream).key(by_header)).build();
    let bare = plain();
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for pair in 0..=PAIRS {
        // Each is the first one in every other pair.
        let first = if pair % 2 == 0 { Some(round_bare(&bare, url).await) } else { None };
        let stack = round_whole(&whole, url).await;
        let bare = match first {
            Some(first) => first,
            None => round_bare(&bare, url).await,
        };
        // The first pair opens the connections.
        if pair > 0 {
            ratios.push(bare / stack);
            rates.push((1.0 / bare, 1.0 / stack));
        }
    }
    rates.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (bare, stack) = rates[PAIRS / 2];
    let median = median(&mut ratios);
    println!("a GET on loopback, {LANES} at a time, {PAIRS} pairs of rounds of {REQUESTS}");
    println!("{:<34} {bare:>10.0} requests/s", "bare reqwest");
    println!("{:<34} {stack:>10.0} requests/s", "the whole stack, in the same pair");
    println!(
        "{:<34} {:>10.1} % (median of the pairs' ratios; <= 5 % is wanted)\n",
        "cost",
        (1.0 - median) * 100.0
    );
}

/// Seconds for one request.
async fn round_bare(client: &reqwest::Client, url: &str) -> f64 {
    let started = Instant::now();
    let lane = async || {
        for _ in 0..REQUESTS / LANES {
            let answer = client.get(url).header("x-bank-code", "0001").send().await.expect("an answer");
            black_box(answer.bytes().await.expect("a body"));
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    started.elapsed().as_secs_f64() / f64::from(REQUESTS)
}

async fn round_whole(client: &ClientWithMiddleware, url: &str) -> f64 {
    let started = Instant::now();
    let lane = async || {
        for _ in 0..REQUESTS / LANES {
            let answer = client.get(url).header("x-bank-code", "0001").send().await.expect("an answer");
            black_box(answer.bytes().await.expect("a body"));
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    started.elapsed().as_secs_f64() / f64::from(REQUESTS)
}

async fn calls() {
    let upstream = upstream();
    let lane = upstream.lane(&["0001"]);
    let simple = Upstream::builder("bank-charge")
        .build(&FakeClient::new(["bank-charge"]).client())
        .expect("an upstream");
    let simple = simple.lane(&["0001"]);
    let breaker = lane.breaker();
    println!("a call that does nothing, ns, median of {ROUNDS} rounds of {CALLS}");
    let told = |what: &str, mut rounds: Vec<f64>| println!("{what:<34} {:>10.1}", median(&mut rounds) * 1e9);
    let ok = async || Ok::<u32, std::fmt::Error>(1);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..CALLS {
            let _ = black_box(breaker.call_blocking(|| Ok::<u32, std::fmt::Error>(black_box(1))));
        }
        rounds.push(started.elapsed().as_secs_f64() / f64::from(CALLS));
    }
    told("breaker.call_blocking", rounds);
    told("breaker.call", timed(async || drop(black_box(breaker.call(ok).await))).await);
    told("lane.call, default settings", timed(async || drop(black_box(simple.call(ok).await))).await);
    told("lane.call, everything set", timed(async || drop(black_box(lane.call(ok).await))).await);
    told("lane.call_idempotent, same", timed(async || drop(black_box(lane.call_idempotent(ok).await))).await);
}

/// Seconds for one, by rounds.
async fn timed(one: impl AsyncFn()) -> Vec<f64> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..CALLS {
            one().await;
        }
        rounds.push(started.elapsed().as_secs_f64() / f64::from(CALLS));
    }
    rounds
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
