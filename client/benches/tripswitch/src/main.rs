//! What a call that succeeds costs through Cutout and through tripswitch 0.1, in one run: `tests/bench peers`.
//!
//! The two take turns, a short batch each, as in the bench `admit`; a ratio is the median of the ratios within the turns. tripswitch follows a hosted
//! service by server-sent events: here a server on loopback tells it that every breaker is closed. It is asked as it must be, with new options for each
//! call, and reports no samples, which is the least that it can do; Cutout counts its calls.
//!
//! Left out: the other peers, which stand in `admit`.

use cutout::{Breaker, FakeClient};
use std::future::Future;
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SIZES: [usize; 3] = [1, 1_000, 100_000];
const THREADS: [usize; 2] = [1, 2];
/// Turns of each contestant; odd, so that there is a median.
const TURNS: usize = 151;
/// Calls of one batch, spread over all keys.
const BATCH: usize = 1_024;
/// How long tripswitch may take to hear of all its breakers.
const PATIENCE: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // On one thread: tripswitch says once that it is ready, to whoever waits for it then, and a second thread can be too early.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("nanoseconds for a call that succeeds; medians of {TURNS} turns\n");
    println!("{:>8} {:>8} {:>12} {:>12} {:>8}", "keys", "threads", "cutout", "tripswitch", "ratio");
    for size in SIZES {
        let names: Vec<String> = (0..size).map(|key| format!("bank-charge/{key:04}")).collect();
        let theirs = runtime.block_on(told(names.clone()))?;
        let fake = FakeClient::new(["bank-charge"]);
        let breaker = |key| fake.client().breaker("bank-charge", &[format!("{key:04}")]);
        let ours: Vec<Breaker> = (0..size).map(breaker).collect::<Result<_, _>>()?;
        for threads in THREADS {
            race(size, threads, &ours, &names, &theirs);
        }
        runtime.block_on(theirs.close());
    }
    Ok(())
}

/// A tripswitch client that has been told of all breakers.
async fn told(names: Vec<String>) -> Result<tripswitch::Client, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let last = names.last().cloned().unwrap_or_default();
    tokio::spawn(serve(listener, names));
    let client = tripswitch::Client::builder("bench")
        .base_url(url)
        .api_key("eb_pk_bench")
        .metadata_sync_disabled(true)
        .init_timeout(PATIENCE)
        .build()
        .await?;
    let started = Instant::now();
    while client.get_state(&last).await.is_none() {
        if started.elapsed() > PATIENCE {
            return Err("tripswitch did not hear of all its breakers".into());
        }
        tokio::task::yield_now().await;
    }
    Ok(client)
}

/// Tells whoever asks that every breaker is closed, and keeps the stream open.
async fn serve(listener: TcpListener, names: Vec<String>) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut asked = [0; 4_096];
        let _ = stream.read(&mut asked).await?;
        let mut answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_owned();
        for name in &names {
            answer +=
                &format!("data: {{\"breaker\":\"{name}\",\"state\":\"closed\",\"allow_rate\":null}}\n\n");
        }
        tokio::spawn(async move {
            stream.write_all(answer.as_bytes()).await?;
            // Until the client goes away.
            while stream.read(&mut asked).await? > 0 {}
            Ok::<(), io::Error>(())
        });
    }
}

fn race(size: usize, threads: usize, ours: &[Breaker], names: &[String], theirs: &tripswitch::Client) {
    let work = |key: usize| async move { Ok::<usize, io::Error>(black_box(key)) };
    let by_ours = |key: usize| match ours.get(key) {
        Some(breaker) => now(breaker.call(|| work(key))).is_ok(),
        None => false,
    };
    let by_theirs = |key: usize| match names.get(key) {
        Some(name) => {
            let options = tripswitch::ExecuteOptions::new().breakers(&[name.as_str()]);
            now(theirs.execute(|| work(key), options)).is_ok()
        }
        None => false,
    };
    let orders: Vec<Vec<usize>> = (0..threads).map(|thread| order(size, thread as u64 + 7)).collect();
    let mut turns = Vec::with_capacity(TURNS);
    for turn in 0..TURNS {
        let first = if turn % 2 == 0 { Some(time(&orders, &by_ours)) } else { None };
        let their_time = time(&orders, &by_theirs);
        turns.push((first.unwrap_or_else(|| time(&orders, &by_ours)), their_time));
    }
    let middle = |of: fn(&(f64, f64)) -> f64| median(turns.iter().map(of).collect());
    let (our_ns, their_ns) = (middle(|turn| turn.0), middle(|turn| turn.1));
    let ratio = middle(|turn| turn.1 / turn.0);
    println!("{size:>8} {threads:>8} {our_ns:>12.1} {their_ns:>12.1} {ratio:>8.1}");
    println!("figure peers.{size}.{threads}.tripswitch {ratio:.2} times");
}

/// An order that prefetching does not guess.
fn order(size: usize, seed: u64) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..BATCH).map(|_| random.usize(..size)).collect()
}

/// Nanoseconds a call, of the slowest thread.
fn time(orders: &[Vec<usize>], ask: &(impl Fn(usize) -> bool + Sync)) -> f64 {
    let start = Barrier::new(orders.len());
    let run = |order: &Vec<usize>| {
        start.wait();
        let started = Instant::now();
        assert!(order.iter().all(|key| black_box(ask(*key))), "every call succeeds");
        started.elapsed()
    };
    let took = match orders {
        [alone] => run(alone),
        _ => std::thread::scope(|scope| {
            let running: Vec<_> = orders.iter().map(|order| scope.spawn(|| run(order))).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
        }),
    };
    took.as_secs_f64() * 1e9 / BATCH as f64
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
