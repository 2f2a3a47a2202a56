//! What a question costs, beside the least that it could cost and beside other breakers, all in one run:
//! `tests/bench admit`, or `cargo bench -p cutout`; `--short` for half the turns.
//!
//! Machines are shared and noisy, so contestants run in turns, a short batch each, and a ratio is the median of the ratios within
//! the turns; that is also why no bench framework is used, which would run one contestant after the other.
//! Peers do what they do by default on a call that succeeds. Left out: tripswitch 0.1, which brings a second TLS stack with it
//! and so has a package of its own (`tests/bench peers`).

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]
#![allow(missing_docs, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use cutout::{Breaker, FakeClient, Family};
use failsafe::CircuitBreaker as _;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower::{Layer, Service, ServiceExt};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

const SIZES: [usize; 3] = [1, 1_000, 100_000];
const THREADS: [usize; 2] = [1, 2];
/// Turns of each contestant, and turns of the short form; odd, so that there is a median.
const TURNS: [usize; 2] = [301, 151];
/// About how long a batch of a contestant is: far shorter than a time slice, so that who else is on the machine spoils few.
const BATCH: Duration = Duration::from_micros(300);
/// Batches are a multiple of so many questions, or of one for each key.
const ROUND: usize = 1_024;
/// Keys for the figure of bytes.
const KEPT: usize = 100_000;
/// How many of them are open for the figure of those.
const OPENED: usize = 5_000;

/// Asks once, for the key of this number.
type Ask<'a> = Box<dyn Fn(&[u32]) + Send + Sync + 'a>;
type Contestant<'a> = (&'static str, Ask<'a>);

/// A contestant whose loop is compiled around its question.
fn contestant<'a>(name: &'static str, ask: impl Fn(usize) -> bool + Send + Sync + 'a) -> Contestant<'a> {
    (
        name,
        Box::new(move |order| {
            order.iter().for_each(|key| {
                black_box(ask(*key as usize));
            });
        }),
    )
}

fn main() {
    bytes();
    println!(
        "\nnanoseconds a question, and the ratio to the first line of its block; medians of {} turns",
        turns()
    );
    counting();
    for threads in THREADS {
        for size in SIZES {
            held(size, threads);
            by_name(size, threads);
            call(size, threads);
        }
    }
}

fn turns() -> usize {
    TURNS[usize::from(std::env::args().any(|argument| argument == "--short"))]
}

/// One line for the table of docs/benchmarks.md.
fn figure(name: &str, value: f64, unit: &str) {
    println!("figure admit.{name} {value:.2} {unit}");
}

/// Keys as a bank's: four digits and more.
fn keys(size: usize) -> Vec<String> {
    (0..size).map(|key| format!("{key:04}")).collect()
}

/// An order that prefetching does not guess, in which each key comes as often as any other.
fn order(size: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(size).unwrap()).cycle().take(size.max(ROUND)).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order
}

fn handles(fake: &FakeClient, keys: &[String]) -> Vec<Breaker> {
    keys.iter().map(|key| fake.client().breaker("bank-charge", &[key]).unwrap()).collect()
}

/// The closed path on a handle that is held.
fn held(size: usize, threads: usize) {
    let fake = FakeClient::new(["bank-charge"]);
    let breakers = handles(&fake, &keys(size));
    let loads: Vec<Arc<AtomicBool>> = (0..size).map(|_| Arc::new(AtomicBool::new(true))).collect();
    let classed: Vec<Breaker> = breakers.iter().map(|breaker| breaker.for_class("charge")).collect();
    race(
        &format!("held.{size}.{threads}"),
        &format!("a held handle, {size} keys, {threads} threads"),
        size,
        threads,
        &[
            contestant("one relaxed load behind an Arc", |key| loads[key].load(Ordering::Relaxed)),
            contestant("admit()", |key| breakers[key].admit().is_ok()),
            contestant("admit() of a class", |key| classed[key].admit().is_ok()),
        ],
    );
}

/// What two threads cost each other that count calls of the same breaker, beside one number that they share.
fn counting() {
    let fake = FakeClient::new(["bank-charge"]);
    let breaker = fake.client().breaker("bank-charge", &["0001"]).unwrap();
    let shared = std::sync::atomic::AtomicU64::new(0);
    let contestants = [
        contestant("cutout, call_blocking", |key| {
            breaker.call_blocking(|| Ok::<usize, Infallible>(black_box(key))).is_ok()
        }),
        contestant("one shared AtomicU64", |_| shared.fetch_add(1, Ordering::Relaxed) > 0),
    ];
    println!(
        "\none breaker, counted by 1 and by 2 threads\n{:<36} {:>8} {:>8} {:>8}",
        "", "ns, 1", "ns, 2", "ratio"
    );
    let both = [order(1, 7), order(1, 8)];
    for (name, ask) in &contestants {
        let rounds = rounds_for(&both[..1], ask);
        let nanos = |orders: &[Vec<u32>]| {
            time(orders, rounds, ask).as_secs_f64() * 1e9 / (rounds * orders[0].len()) as f64
        };
        let turns: Vec<_> = (0..turns()).map(|_| (nanos(&both[..1]), nanos(&both))).collect();
        let middle = |of: fn(&(f64, f64)) -> f64| median(turns.iter().map(of).collect());
        let (one, two, ratio) =
            (middle(|turn| turn.0), middle(|turn| turn.1), middle(|turn| turn.1 / turn.0));
        println!("{name:<36} {one:>8.2} {two:>8.2} {ratio:>8.2}");
        figure(&format!("counting.{}", dashed(name)), ratio, "times");
    }
}

/// From a name to an answer.
fn by_name(size: usize, threads: usize) {
    type Map = HashMap<Box<str>, Arc<AtomicBool>, foldhash::fast::RandomState>;
    type Seen = arc_swap::Cache<Arc<ArcSwap<Map>>, Arc<Map>>;
    thread_local! {
        static CACHE: RefCell<Option<Seen>> = const { RefCell::new(None) };
    }
    let keys = keys(size);
    let names: Vec<String> = keys.iter().map(|key| format!("bank-charge/{key}")).collect();
    let map: Map = names.iter().map(|name| (name.as_str().into(), Arc::new(AtomicBool::new(true)))).collect();
    let map = Arc::new(ArcSwap::from_pointee(map));
    let cached = |key: usize| {
        CACHE.with_borrow_mut(|cache| {
            let cache = cache.get_or_insert_with(|| arc_swap::Cache::new(Arc::clone(&map)));
            cache.load().get(names[key].as_str()).is_some_and(|flag| flag.load(Ordering::Relaxed))
        })
    };
    let (quiet, one_open, tenth_open) = (
        FakeClient::new(["bank-charge"]),
        FakeClient::new(["bank-charge"]),
        FakeClient::new(["bank-charge"]),
    );
    one_open.open("bank-charge", &["other"]).unwrap();
    (0..size.div_ceil(10)).for_each(|key| tenth_open.open("bank-charge", &[format!("other-{key}")]).unwrap());
    let family = |fake: &FakeClient| -> Family { fake.client().family("bank-charge").unwrap() };
    let (quiet, one, tenth) = (family(&quiet), family(&one_open), family(&tenth_open));
    let _held = handles(&tenth_open, &keys);
    race(
        &format!("named.{size}.{threads}"),
        &format!("by name, {size} keys, {threads} threads"),
        size,
        threads,
        &[
            contestant("foldhash in a cached ArcSwap map", cached),
            contestant("family.admit(key), nothing open", |key| quiet.admit(&[&keys[key]]).is_ok()),
            contestant("  one other key open", |key| one.admit(&[&keys[key]]).is_ok()),
            contestant("  a tenth as many others open", |key| tenth.admit(&[&keys[key]]).is_ok()),
            contestant("family.breaker(key), a handle", |key| tenth.breaker(&[&keys[key]]).admit().is_ok()),
        ],
    );
    // The next size has a map of its own.
    CACHE.with_borrow_mut(|cache| *cache = None);
}

/// A call that succeeds.
fn call(size: usize, threads: usize) {
    let fake = FakeClient::new(["bank-charge"]);
    let breakers = handles(&fake, &keys(size));
    let reclosers: Vec<_> = (0..size).map(|_| recloser::Recloser::custom().build()).collect();
    let consecutive: Vec<_> = (0..size)
        .map(|_| {
            let backoff = failsafe::backoff::constant(Duration::from_secs(1));
            let policy = failsafe::failure_policy::consecutive_failures(3, backoff);
            failsafe::Config::new().failure_policy(policy).build()
        })
        .collect();
    let by_default: Vec<_> = (0..size).map(|_| failsafe::Config::new().build()).collect();
    let circuitbreakers: Vec<_> = (0..size)
        .map(|_| {
            circuitbreaker_rs::CircuitBreaker::<circuitbreaker_rs::DefaultPolicy, std::io::Error>::builder()
                .build()
        })
        .collect();
    let layer = CircuitBreakerLayer::builder().build().unwrap();
    let layered = |_| {
        layer.layer(tower::service_fn(|key: usize| {
            std::future::ready(Ok::<usize, Infallible>(black_box(key)))
        }))
    };
    let services: Vec<_> = (0..size).map(layered).collect();
    let work = |key: usize| -> Result<usize, std::io::Error> { Ok(black_box(key)) };
    let called = |breaker: &Breaker, key: usize| match breaker.admit() {
        Ok(_permit) => work(key).is_ok(),
        Err(_refused) => false,
    };
    let mut contestants = vec![
        contestant("the work alone", |key| work(key).is_ok()),
        contestant("cutout, call_blocking", |key| breakers[key].call_blocking(|| work(key)).is_ok()),
        contestant("cutout, admit() and the work", |key| called(&breakers[key], key)),
        contestant("failsafe 1.3, consecutive", |key| consecutive[key].call(|| work(key)).is_ok()),
        contestant("failsafe 1.3, by default", |key| by_default[key].call(|| work(key)).is_ok()),
        contestant("recloser 1.4", |key| reclosers[key].call(|| work(key)).is_ok()),
        contestant("circuitbreaker-rs 0.1", |key| circuitbreakers[key].call(|| work(key)).is_ok()),
    ];
    contestants.push(contestant("tower-resilience 0.14", |key| {
        // Services are cloned for each call, as servers do.
        let mut service = services[key].clone();
        let called = async { service.ready().await.is_ok() && service.call(key).await.is_ok() };
        now(called)
    }));
    let title = format!("a call that succeeds, {size} keys, {threads} threads");
    race(&format!("call.{size}.{threads}"), &title, size, threads, &contestants);
}

/// What a future gives that waits at most for another thread to let go of a lock.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => return ready,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

/// Runs contestants in turns, and prints a line for each.
fn race(name: &str, title: &str, size: usize, threads: usize, contestants: &[Contestant<'_>]) {
    let orders: Vec<Vec<u32>> = (0..threads).map(|thread| order(size, thread as u64 + 7)).collect();
    let rounds: Vec<usize> = contestants.iter().map(|(_, ask)| rounds_for(&orders, ask)).collect();
    let mut taken = vec![Vec::with_capacity(turns()); contestants.len()];
    for turn in 0..turns() {
        for place in 0..contestants.len() {
            let which = (place + turn) % contestants.len();
            let took = time(&orders, rounds[which], &contestants[which].1);
            taken[which].push(took.as_secs_f64() * 1e9 / (rounds[which] * orders[0].len()) as f64);
        }
    }
    println!("\n{title}\n{:<36} {:>8} {:>8}", "", "ns", "ratio");
    for ((line, _), nanos) in contestants.iter().zip(&taken) {
        let ratios = nanos.iter().zip(&taken[0]).map(|(nanos, first)| nanos / first).collect();
        let (nanos, ratio) = (median(nanos.clone()), median(ratios));
        println!("{line:<36} {nanos:>8.2} {ratio:>8.2}");
        figure(&format!("{name}.{}", dashed(line)), nanos, "ns");
        figure(&format!("{name}.{}.ratio", dashed(line)), ratio, "times");
    }
}

/// A contestant's name as it stands in a figure's.
fn dashed(line: &str) -> String {
    let words = line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// How many rounds make a batch. Not judged by the first one, in which the caches are filled.
fn rounds_for(orders: &[Vec<u32>], ask: &Ask<'_>) -> usize {
    time(orders, 1, ask);
    let mut rounds = 1;
    loop {
        let took = time(orders, rounds, ask);
        if took >= BATCH / 2 || rounds >= 1 << 16 {
            return rounds;
        }
        rounds *= 2;
    }
}

/// How long the slowest thread takes.
fn time(orders: &[Vec<u32>], rounds: usize, ask: &Ask<'_>) -> Duration {
    let run = |order: &[u32]| {
        let started = Instant::now();
        (0..rounds).for_each(|_| ask(order));
        started.elapsed()
    };
    if let [alone] = orders {
        return run(alone);
    }
    let start = Barrier::new(orders.len());
    std::thread::scope(|scope| {
        let run = |order| {
            start.wait();
            run(order)
        };
        let running: Vec<_> = orders.iter().map(|order| scope.spawn(move || run(order))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap_or_default()
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the process grows by for each key: resident memory, so what the allocator adds is in it.
fn bytes() {
    println!("bytes a breaker at {KEPT} keys (growth of resident memory)\n");
    let keys = keys(KEPT);
    let fake = FakeClient::new(["bank-charge"]);
    let client = fake.client();
    let mut breakers = Vec::with_capacity(KEPT);
    let before = resident();
    breakers.extend(keys.iter().map(|key| client.breaker("bank-charge", &[key]).unwrap()));
    let held = resident() - before;
    let of = |bytes: usize| bytes as f64 / KEPT as f64;
    println!("{:<36} {:>8.0}", "what a client keeps for a handle", of(held) - size_of::<Breaker>() as f64);
    println!("{:<36} {:>8.0}", "with the handle itself", of(held));
    figure("bytes", of(held), "bytes");
    let before = resident();
    keys.iter().take(OPENED).for_each(|key| fake.open("bank-charge", &[key]).unwrap());
    let opened = (resident() - before) as f64 / OPENED as f64;
    println!("{:<36} {opened:>8.0}", "on top for each that is open");
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    const PAGE: usize = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
}
