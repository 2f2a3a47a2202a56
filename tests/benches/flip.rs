//! From the service's commit to the last of N processes refusing, beside bare followers that only note what arrives:
//! `XREAD BLOCK` on a stream, and pub/sub. All on one private Redis, in turns. `tests/bench flip`; `--short` for fewer.
//!
//! From the moment before `Store::commit` is called: what the service reads and decides before that is not in it. A client
//! counts as refusing when its listener is told, at which moment `admit()` refuses; that is a task more than the bare
//! followers have. Bare followers are measured twice: of the service's own commit, which is what the ways of following differ by, and of
//! a single `XADD` or `PUBLISH`, which is what the commit costs more. Prints also what forced reconnects do: every connection is cut again
//! and again while flags flip. Left out: the network, which is loopback here, and other processes: all share one runtime on this machine.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use cutout::{Breaker, Client, State};
use cutout_tests::figures::{figure, percentile, short};
use cutout_tests::flips::{Flipper, KEY, NAME};
use cutout_tests::redis::RedisServer;
use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// N, how many flips a block has, and how many blocks of each kind: in turns, so that what else the machine does meets all.
const SIZES: [(usize, usize, usize); 3] = [(1, 60, 5), (100, 40, 5), (1_000, 20, 5)];
/// The same in the short form, which leaves the reconnects out too.
const SHORT_SIZES: [(usize, usize, usize); 2] = [(1, 40, 3), (100, 30, 3)];
/// Between two flips: nobody is busy with the last one any more.
const PAUSE: Duration = Duration::from_millis(20);
/// A flip that takes longer to reach somebody is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// What the bare followers are sent: as long as a flag.
const PAYLOAD: &str = r#"{"v":1,"epoch":"9f3a6c0d5e1b7a42","rev":17,"state":"open","since_ms":1795223705000,"mode":"enforce","refuse":[],"probe_ppm":10000,"ramp":null,"next":null,"stale_at_ms":null,"on_stale":"half-open","override":null,"would":null}"#;
/// Where a commit tells its changes.
const CHANGES: &str = "cutout:{default}:changes";
/// How long a bare read of the stream waits, milliseconds: as the follower's.
const BLOCK_MS: usize = 1_000;

const RECONNECTING: usize = 100;
const RECONNECT_FLIPS: usize = 100;

/// The kinds in the order of the lines, each with its name among the figures. The second and third follow the same commit as the first.
const KINDS: [(&str, &str); 5] = [
    ("cutout", ""),
    ("the commit, XREAD BLOCK", "to_stream"),
    ("the commit, pub/sub", "to_pubsub"),
    ("an XADD, XREAD BLOCK", "to_xadd"),
    ("a PUBLISH, pub/sub", "to_publish"),
];

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    println!("from the commit to the last of N, milliseconds; pooled over blocks in turns\n");
    println!("{:>6} {:<24} {:>8} {:>8} {:>12} {:>12}", "N", "", "p50", "p99", "p50 ratio", "p99 ratio");
    let redis = RedisServer::start();
    let sizes: &[_] = if short() { &SHORT_SIZES } else { &SIZES };
    for &(size, flips, blocks) in sizes {
        let mut taken: [Vec<f64>; KINDS.len()] = Default::default();
        for block in 0..blocks {
            for place in 0..KINDS.len() {
                let kind = (place + block) % KINDS.len();
                taken[kind].extend(match kind {
                    0 => cutout_block(&redis, size, flips).await,
                    1 => commit_block(&redis, size, flips, Bare::Stream).await,
                    2 => commit_block(&redis, size, flips, Bare::PubSub).await,
                    3 => bare_block(&redis, size, flips, Bare::Stream).await,
                    _ => bare_block(&redis, size, flips, Bare::PubSub).await,
                });
            }
        }
        let [p50, p99] = [50, 99].map(|percent| taken.each_ref().map(|taken| percentile(taken, percent)));
        for (kind, (name, _)) in KINDS.iter().enumerate() {
            let (by_p50, by_p99) = (p50[0] / p50[kind], p99[0] / p99[kind]);
            println!(
                "{size:>6} {name:<24} {:>8.2} {:>8.2} {by_p50:>12.2} {by_p99:>12.2}",
                p50[kind], p99[kind]
            );
        }
        figure(&format!("flip.{size}.p50"), p50[0], "ms");
        figure(&format!("flip.{size}.p99"), p99[0], "ms");
        for (kind, (_, name)) in KINDS.iter().enumerate().skip(1) {
            figure(&format!("flip.{size}.{name}"), p50[0] / p50[kind], "times");
        }
    }
    if !short() {
        reconnects().await;
    }
}

/// Clients, each with a connection and a follower of its own, and a handle whose refusals count.
async fn clients(redis: &RedisServer, size: usize) -> Vec<(Client, Breaker)> {
    let connect = |_| async {
        let client =
            Client::builder(redis.url()).breaker(NAME).start_timeout(LOST_AFTER).connect().await.unwrap();
        let bank = client.breaker(NAME, &[KEY]).unwrap();
        (client, bank)
    };
    join_all((0..size).map(connect)).await
}

async fn cutout_block(redis: &RedisServer, size: usize, flips: usize) -> Vec<f64> {
    flush(redis).await;
    let mut flipper = Flipper::new(&redis.url()).await;
    let (seen, mut last_seen) = Seen::by(size);
    let mut listening = JoinSet::new();
    let clients = clients(redis, size).await;
    for (client, bank) in &clients {
        let (mut transitions, bank, seen) = (client.transitions(), bank.clone(), seen.clone());
        listening.spawn(async move {
            while let Some(Ok(told)) = transitions.next().await {
                assert_eq!(bank.admit().is_err(), told.to == State::Open);
                seen.note();
            }
        });
    }
    let mut taken = Vec::with_capacity(flips);
    for flip in 0..flips {
        sleep(PAUSE).await;
        let started = Instant::now();
        assert!(flipper.try_set(to(flip)).await.unwrap());
        taken.push(until(&mut last_seen, started).await);
    }
    taken
}

fn to(flip: usize) -> State {
    if flip.is_multiple_of(2) { State::Open } else { State::Closed }
}

#[derive(Clone, Copy)]
enum Bare {
    Stream,
    PubSub,
}

async fn bare_block(redis: &RedisServer, size: usize, flips: usize, kind: Bare) -> Vec<f64> {
    flush(redis).await;
    let (seen, mut last_seen) = Seen::by(size);
    let mut following = JoinSet::new();
    let followers = (0..size).map(|_| async {
        match kind {
            Bare::Stream => Follower::Stream(connection(redis).await, "bare"),
            Bare::PubSub => subscriber(redis, "bare").await,
        }
    });
    for follower in join_all(followers).await {
        following.spawn(follow(follower, seen.clone()));
    }
    let mut writer = connection(redis).await;
    let mut taken = Vec::with_capacity(flips);
    for flip in 0..flips {
        sleep(PAUSE).await;
        let started = Instant::now();
        let fields = [("breaker", "bank-charge/0001"), ("rev", "17"), ("flag", PAYLOAD)];
        match kind {
            Bare::Stream => {
                let _: String = writer.xadd("bare", format!("{}-1", flip + 1), &fields).await.unwrap();
            }
            Bare::PubSub => {
                let _: usize = writer.publish("bare", PAYLOAD).await.unwrap();
            }
        }
        taken.push(until(&mut last_seen, started).await);
    }
    taken
}

/// The service's commit, followed barely.
async fn commit_block(redis: &RedisServer, size: usize, flips: usize, kind: Bare) -> Vec<f64> {
    flush(redis).await;
    let mut flipper = Flipper::new(&redis.url()).await;
    let channel: String = connection(redis).await.hget("cutout:{default}:meta", "channel").await.unwrap();
    let (seen, mut last_seen) = Seen::by(size);
    let mut following = JoinSet::new();
    let followers = (0..size).map(|_| async {
        match kind {
            Bare::Stream => Follower::Stream(connection(redis).await, CHANGES),
            Bare::PubSub => subscriber(redis, &channel).await,
        }
    });
    for follower in join_all(followers).await {
        following.spawn(follow(follower, seen.clone()));
    }
    let mut taken = Vec::with_capacity(flips);
    for flip in 0..flips {
        sleep(PAUSE).await;
        let started = Instant::now();
        assert!(flipper.try_set(to(flip)).await.unwrap());
        taken.push(until(&mut last_seen, started).await);
    }
    taken
}

async fn subscriber(redis: &RedisServer, channel: &str) -> Follower {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe(channel).await.unwrap();
    Follower::PubSub(pubsub)
}

enum Follower {
    Stream(MultiplexedConnection, &'static str),
    PubSub(redis::aio::PubSub),
}

async fn follow(follower: Follower, seen: Seen) {
    match follower {
        Follower::Stream(mut connection, stream) => {
            let options = StreamReadOptions::default().block(BLOCK_MS).count(1_000);
            let mut position = "0-0".to_owned();
            loop {
                let reply: Option<StreamReadReply> =
                    connection.xread_options(&[stream], &[&position], &options).await.unwrap();
                for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids) {
                    position = entry.id;
                    seen.note();
                }
            }
        }
        Follower::PubSub(pubsub) => {
            let mut messages = pubsub.into_on_message();
            while messages.next().await.is_some() {
                seen.note();
            }
        }
    }
}

/// Who has seen a flip. Only the last of them tells it: a message of each would wake the measuring thread a thousand times a flip.
#[derive(Clone)]
struct Seen {
    left: Arc<AtomicUsize>,
    size: usize,
    last: mpsc::UnboundedSender<Instant>,
}

impl Seen {
    /// What `size` followers share, and where the moment arrives at which the last of them had a flip.
    fn by(size: usize) -> (Seen, mpsc::UnboundedReceiver<Instant>) {
        let (last, last_seen) = mpsc::unbounded_channel();
        (Seen { left: Arc::new(AtomicUsize::new(size)), size, last }, last_seen)
    }

    fn note(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Before the next flip, which waits for this.
            self.left.store(self.size, Ordering::Release);
            // An error: the block has ended.
            let _ = self.last.send(Instant::now());
        }
    }
}

/// How long it took until the last had it, milliseconds.
async fn until(last_seen: &mut mpsc::UnboundedReceiver<Instant>, started: Instant) -> f64 {
    let last = timeout(LOST_AFTER, last_seen.recv()).await.expect("a flip is lost").unwrap();
    (last - started).as_secs_f64() * 1e3
}

async fn connection(redis: &RedisServer) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

async fn flush(redis: &RedisServer) {
    let mut connection = connection(redis).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
}

/// Flips while every connection is cut again and again: who is not in the right state in time has lost one.
async fn reconnects() {
    let redis = RedisServer::start();
    let mut flipper = Flipper::new(&redis.url()).await;
    let clients = clients(&redis, RECONNECTING).await;
    let (mut taken, mut lost, mut cut) = (Vec::with_capacity(RECONNECT_FLIPS), 0, 0);
    for flip in 0..RECONNECT_FLIPS {
        // Before, and while the flip is on its way.
        let cutting = async {
            let mut cutter = connection(&redis).await;
            let mut count = 0;
            for _ in 0..3 {
                for kind in ["normal", "pubsub"] {
                    let mut kill = redis::cmd("CLIENT");
                    kill.arg("KILL").arg("TYPE").arg(kind).arg("SKIPME").arg("yes");
                    count += kill.query_async::<usize>(&mut cutter).await.unwrap();
                }
                sleep(Duration::from_millis(fastrand_ms())).await;
            }
            count
        };
        let started = Instant::now();
        let ((), count) = tokio::join!(flipper.set(to(flip)), cutting);
        cut += count;
        let deadline = started + LOST_AFTER;
        for (_, bank) in &clients {
            while bank.admit().is_err() != (to(flip) == State::Open) && Instant::now() < deadline {
                sleep(Duration::from_millis(1)).await;
            }
            lost += u32::from(bank.admit().is_err() != (to(flip) == State::Open));
        }
        taken.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "\n{RECONNECT_FLIPS} flips to {RECONNECTING} clients while {cut} connections were cut: {lost} lost; \
         until the last of them, p50 {:.0} ms, p99 {:.0} ms",
        percentile(&taken, 50),
        percentile(&taken, 99)
    );
    figure("flip.lost", f64::from(lost), "flips");
}

/// A few milliseconds, so that cuts meet every phase of a flip.
fn fastrand_ms() -> u64 {
    u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos()) / 1_000 % 7)
}
