//! What one scheduled run costs: 500 monitors of 20 groups each, through the real function, service and Redis.
//!
//! Prints for a first run (all is new), for runs over what is known, and for a run in which one group of each monitor
//! changed: how long it took, and what it asked of Redis. `tests/bench reconcile`; `--short` for fewer quiet runs.
//! Left out: the network, which is loopback here, and Datadog's own time to answer.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use async_trait::async_trait;
use cutout_cli::fake_datadog::FakeDatadog;
use cutout_core::{BreakerId, Cause, Declared, MonitorSeen, Pause};
use cutout_flags::{
    Change, Committed, Position, Read, Snapshot, Store, StoreError, Stored, Term, WRITES_PER_SCRIPT_MAX,
    Write,
};
use cutout_lambda::Function;
use cutout_lambda::guard::SystemResolver;
use cutout_service::callback::CALLBACK_PATH;
use cutout_service::{Limits, Parts, Service, breakers, serve};
use cutout_tests::canary;
use cutout_tests::figures::{figure, short};
use cutout_tests::redis::RedisServer;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const MONITORS: u64 = 500;
const GROUPS: u64 = 20;
/// How often the quiet run is measured, and how often in the short form; the median counts.
const QUIET_RUNS: [usize; 2] = [15, 7];
const FIRST_MONITOR: u64 = 5_200_000;
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let rig = Rig::start().await;
    let runs = QUIET_RUNS[usize::from(short())];
    println!("one reconcile of {MONITORS} monitors x {GROUPS} groups, median of {runs} quiet runs\n");
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>12} {:>12}",
        "run", "ms", "reads", "scripts", "commands", "bytes to", "bytes from"
    );
    rig.run().await.print("first, all is new", "first");
    let mut quiet = Vec::with_capacity(runs);
    for _ in 0..runs {
        quiet.push(rig.run().await);
    }
    quiet.sort_by_key(|cost| cost.took);
    assert!(quiet.iter().all(|cost| cost.changes == 0), "a run over what is known changed flags");
    quiet[runs / 2].print("quiet, nothing changed", "quiet");
    for monitor in 0..MONITORS {
        rig.datadog.set(FIRST_MONITOR + monitor, &group(monitor, 1), "Alert");
    }
    let changed = rig.run().await;
    assert_eq!(changed.changes, MONITORS, "one flag of each monitor");
    changed.print("one group of each changed", "changed");
}

fn group(monitor: u64, number: u64) -> String {
    format!("bank_code:{:05},env:prod", monitor * GROUPS + number)
}

struct Rig {
    datadog: FakeDatadog,
    redis: RedisServer,
    store: Arc<Counted>,
    function: Function,
}

impl Rig {
    async fn start() -> Rig {
        rustls::crypto::ring::default_provider().install_default().expect("the first provider");
        let redis = RedisServer::start();
        let store = Arc::new(Counted::new(cutout_flags::open(&redis.url(), "default").unwrap()));
        let text = "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmonitors = { tags = [\"cutout\"] }\n";
        let breakers = breakers::parse("the bench's breakers", text).unwrap();
        let secrets = vec![canary::SIGNING_SECRET.parse().unwrap()];
        let service = Service::new(Parts { store: store.clone(), breakers, secrets, public_url: None });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}{CALLBACK_PATH}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, service.router(), Limits::default(), std::future::pending()));

        let datadog = FakeDatadog::start().await.unwrap();
        for monitor in 0..MONITORS {
            let id = FIRST_MONITOR + monitor;
            datadog.create_monitor(id, &format!("Bank API error rate {monitor}"), &["cutout", "team:pay"]);
            datadog.set_message(id, &format!("{} {url}", cutout_core::directive::KEYWORD));
            for number in 0..GROUPS {
                // One of the twenty fires, so that there is something to confirm.
                datadog.set(id, &group(monitor, number), if number == 0 { "Alert" } else { "OK" });
            }
        }
        let variables = [
            ("DD_API_KEY", canary::DD_API_KEY.to_owned()),
            ("DD_APP_KEY", canary::DD_APP_KEY.to_owned()),
            ("CUTOUT_DATADOG_URL", datadog.url()),
            ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET.to_owned()),
            ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8".to_owned()),
            ("CUTOUT_CALLBACK_ALLOW_HTTP", "true".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let settings = cutout_lambda::Settings::read(variables).unwrap();
        let function = Function::new(settings, Arc::new(SystemResolver)).unwrap();
        Rig { datadog, redis, store, function }
    }

    /// One scheduled run, and what it cost.
    async fn run(&self) -> Cost {
        let (changes, counts, stats) = (self.changes().await, self.store.counts(), self.stats());
        let started = Instant::now();
        let ran = self.function.handle(json!({"cutout": "reconcile"}), started + RUN_TIMEOUT).await;
        let took = started.elapsed();
        ran.expect("the run succeeds");
        let (stats_after, counts_after) = (self.stats(), self.store.counts());
        Cost {
            took,
            reads: counts_after.0 - counts.0,
            scripts: counts_after.1 - counts.1,
            // Looking at the statistics takes one command besides.
            commands: stats_after[0] - stats[0] - 1,
            bytes_to: stats_after[1] - stats[1],
            bytes_from: stats_after[2] - stats[2],
            changes: self.changes().await - changes,
        }
    }

    /// Commands, bytes to and bytes from, since Redis started.
    fn stats(&self) -> [u64; 3] {
        let mut connection = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
        let info: String = redis::cmd("INFO").arg("stats").query(&mut connection).unwrap();
        ["total_commands_processed", "total_net_input_bytes", "total_net_output_bytes"].map(|field| {
            let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            line.expect("a field of INFO stats").trim().parse().unwrap()
        })
    }

    async fn changes(&self) -> u64 {
        self.store.inner.snapshot().await.unwrap().meta.map_or(0, |meta| meta.rev)
    }
}

/// What one run cost.
struct Cost {
    took: Duration,
    reads: u64,
    scripts: u64,
    commands: u64,
    bytes_to: u64,
    bytes_from: u64,
    changes: u64,
}

impl Cost {
    fn print(&self, run: &str, name: &str) {
        let Cost { reads, scripts, commands, bytes_to, bytes_from, .. } = self;
        let ms = self.took.as_millis();
        println!("{run:<28} {ms:>9} {reads:>9} {scripts:>9} {commands:>9} {bytes_to:>12} {bytes_from:>12}");
        figure(&format!("reconcile.{name}"), self.took.as_secs_f64() * 1e3, "ms");
        figure(&format!("reconcile.{name}.round_trips"), (reads + scripts) as f64, "round trips");
    }
}

/// A store that counts its round trips: reads, and scripts that write.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn Store>,
    reads: AtomicU64,
    scripts: AtomicU64,
}

impl Counted {
    fn new(inner: Arc<dyn Store>) -> Counted {
        Counted { inner, reads: AtomicU64::new(0), scripts: AtomicU64::new(0) }
    }

    fn counts(&self) -> (u64, u64) {
        (self.reads.load(Ordering::SeqCst), self.scripts.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Store for Counted {
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError> {
        self.inner.declare(declared).await
    }

    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(ids, monitor_id).await
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.monitors().await
    }

    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError> {
        self.scripts.fetch_add(writes.chunks(WRITES_PER_SCRIPT_MAX).count() as u64, Ordering::SeqCst);
        self.inner.commit(term, writes).await
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        self.inner.set_pause(pause, cause, at_ms).await
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.inner.snapshot().await
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        self.inner.tail(position, wait).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}
