//! What the whole stack costs around a reqwest GET on loopback: breaker, bulkhead, time-outs, retries, local breaker and counts, beside bare
//! reqwest. `cargo bench -p cutout-tests --bench stack`, or `tests/bench stack`.
//!
//! The two take turns in rounds of some milliseconds, so that what else the machine does meets both; the median of the rounds' ratios counts. The server
//! runs in a thread of its own. Beside requests per second stands the processor time of the client's own thread, which a busy machine disturbs less.
//! Twice: four requests at a time on one thread, where nothing but work counts, and one at a time on the runtime that `#[tokio::main]` makes.
//! Prints also what the plain doors cost without a network. Left out: TLS, which is the same for both.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use axum::Router;
use axum::routing::get;
use cutout::reqwest::Outgoing;
use cutout::{Bulkhead, FakeClient, LocalBreaker, Protection, REQUEST_TIMEOUT, Retries, Upstream, Window};
use cutout_tests::figures::{figure, percentile, short};
use http::HeaderName;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The header that tells the key.
const BANK: HeaderName = HeaderName::from_static("x-bank-code");
/// Pairs of rounds of many at a time, and of the short form. Of one at a time [`MANY`] times as many: how the system places two threads that wake each
/// other changes the figure for as long as it does, so its rounds are short and many.
const PAIRS: [u32; 2] = [250, 60];
/// After so many pairs both clients are made anew: where one's connections and memory lie is worth a percent or two, for as long as it lives.
const PAIRS_OF_ONE: u32 = 10;
/// Requests of one round, one after the other.
const REQUESTS: u32 = 100;
/// How many are under way at once where one thread has as much to do as it can.
const MANY: u32 = 4;
/// Calls of one round without a network: so few that hardly any round is interrupted.
const CALLS: u32 = 2_000;
const ROUNDS: usize = 501;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(requests(&url, MANY));
    let threads = tokio::runtime::Runtime::new().expect("a runtime of several threads");
    threads.block_on(requests(&url, 1));
    runtime.block_on(calls());
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

async fn requests(url: &str, lanes: u32) {
    let upstream = upstream();
    let builder = || reqwest::Client::builder().no_proxy();
    let bare = || builder().build().expect("a client");
    let whole = cutout::reqwest::protect(&upstream).key(|asked| asked.header(&BANK));
    let once = whole.clone().retry_with(|_| None);
    let many = pairs_of(lanes);
    let (runtime, name) = if lanes == MANY {
        ("one thread", "stack")
    } else {
        ("the runtime of #[tokio::main]", "stack.one_at_a_time")
    };
    println!(
        "a GET on loopback, {lanes} at a time on {runtime}, {many} pairs of rounds of {} for each line",
        REQUESTS * lanes
    );
    let to = (url, lanes);
    println!("{:<34} {:>12} {:>12} {:>8} {:>22}", "", "bare, 1/s", "with it, 1/s", "cost", "processor time");
    let times = || cutout::reqwest::client_builder(&upstream).timeout(REQUEST_TIMEOUT).no_proxy();
    pairs("bare again", bare, bare, to).await;
    pairs("bare, with the same times", bare, || times().build().expect("a client"), to).await;
    pairs("reqwest-middleware, none in it", bare, || ClientBuilder::new(bare()).build(), to).await;
    let stack = |protection: &Protected| protection.clone().client(builder()).expect("a client");
    pairs("the stack, no copy for retries", bare, || stack(&once), to).await;
    let (cost, more_us) = pairs("the whole stack", bare, || stack(&whole), to).await;
    figure(&format!("{name}.cost"), cost, "%");
    // Of one thread alone the processor is told.
    if lanes == MANY {
        figure(&format!("{name}.processor"), more_us, "us");
    }
    println!("cost: median of the pairs' ratios; <= 5 % is wanted of the whole stack\n");
}

type Protected = Protection<Outgoing, reqwest::Response, reqwest_middleware::Error>;

/// What sends requests.
trait Sender {
    async fn get(&self, url: &str);
}

impl Sender for reqwest::Client {
    async fn get(&self, url: &str) {
        let answer = self.get(url).header(BANK, "0001").send().await.expect("an answer");
        black_box(answer.bytes().await.expect("a body"));
    }
}

impl Sender for ClientWithMiddleware {
    async fn get(&self, url: &str) {
        let answer = self.get(url).header(BANK, "0001").send().await.expect("an answer");
        black_box(answer.bytes().await.expect("a body"));
    }
}

fn pairs_of(lanes: u32) -> u32 {
    PAIRS[usize::from(short())] * MANY / lanes
}

/// What one request took, seconds.
#[derive(Clone, Copy)]
struct Took {
    time: f64,
    /// Of the processor, in this thread.
    processor: f64,
}

/// Yields what it costs of the requests per second, per cent, and of the processor's time, microseconds a request.
async fn pairs<B: Sender, S: Sender>(
    what: &str,
    bare: impl Fn() -> B,
    with: impl Fn() -> S,
    to: (&str, u32),
) -> (f64, f64) {
    let mut all = Vec::new();
    for _ in 0..pairs_of(to.1) / PAIRS_OF_ONE {
        let (bare, with) = (bare(), with());
        for pair in 0..=PAIRS_OF_ONE {
            // Each is the first one in every other pair.
            let first = if pair % 2 == 0 { Some(round(&bare, to).await) } else { None };
            let with = round(&with, to).await;
            let bare = match first {
                Some(first) => first,
                None => round(&bare, to).await,
            };
            // The first pair opens the connections.
            if pair > 0 {
                all.push((bare, with));
            }
        }
    }
    let middle = |of: fn(&(Took, Took)) -> f64| median(&mut all.iter().map(of).collect::<Vec<_>>());
    let (bare, with) = (middle(|(bare, _)| bare.time), middle(|(_, with)| with.time));
    let cost = (1.0 - middle(|(bare, with)| bare.time / with.time)) * 100.0;
    let (used, more) =
        (middle(|(bare, _)| bare.processor), middle(|(bare, with)| with.processor - bare.processor));
    println!(
        "{what:<34} {:>12.0} {:>12.0} {cost:>6.1} % {:>9.1} + {:>5.2} us",
        1.0 / bare,
        1.0 / with,
        used * 1e6,
        more * 1e6
    );
    (cost, more * 1e6)
}

async fn round(client: &impl Sender, (url, lanes): (&str, u32)) -> Took {
    let (started, used) = (Instant::now(), processor_s());
    let lane = async || {
        for _ in 0..REQUESTS {
            client.get(url).await;
        }
    };
    if lanes == MANY {
        tokio::join!(lane(), lane(), lane(), lane());
    } else {
        lane().await;
    }
    let of_one = |seconds: f64| seconds / f64::from(REQUESTS * lanes);
    Took { time: of_one(started.elapsed().as_secs_f64()), processor: of_one(processor_s() - used) }
}

/// How long this thread has had the processor, seconds.
fn processor_s() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.expect("nanoseconds") * 1e-9
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
    let told = |what: &str, name: &str, rounds: Vec<f64>| {
        let nanos = percentile(&rounds, 50) * 1e9;
        println!("{what:<34} {nanos:>10.1}");
        figure(&format!("stack.call.{name}"), nanos, "ns");
    };
    let ok = async || Ok::<u32, std::fmt::Error>(1);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..CALLS {
            let _ = black_box(breaker.call_blocking(|| Ok::<u32, std::fmt::Error>(black_box(1))));
        }
        rounds.push(started.elapsed().as_secs_f64() / f64::from(CALLS));
    }
    told("breaker.call_blocking", "blocking", rounds);
    told("breaker.call", "plain", timed(async || drop(black_box(breaker.call(ok).await))).await);
    told("lane.call, default settings", "lane", timed(async || drop(black_box(simple.call(ok).await))).await);
    told(
        "lane.call, everything set",
        "lane_whole",
        timed(async || drop(black_box(lane.call(ok).await))).await,
    );
    told(
        "lane.call_idempotent, same",
        "idempotent",
        timed(async || drop(black_box(lane.call_idempotent(ok).await))).await,
    );
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
