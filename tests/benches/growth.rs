//! How costs grow: from 10 to 100,000 breakers, and from 1 to 1,000 clients. `tests/bench growth`; `--short` for fewer rounds.
//!
//! By breakers: the memory of a process that follows all of them and holds a handle on each; a page of the operators' list; a callback, from its arrival to its answer; a
//! scheduled run over all of them in which nothing has changed. By clients: from the commit to the last one's refusal, and what Redis works for it. The parts are those of
//! `tests/bench path`; each monitor has 20 groups. `tests/bench` makes docs/plots of the figures.
//! Left out: the first run over unknown breakers, which `tests/bench reconcile` has.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

// `path` uses more of them.
#[allow(dead_code)]
#[path = "path/rig.rs"]
mod rig;
#[allow(dead_code)]
#[path = "path/wire.rs"]
mod wire;

use cutout_tests::canary;
use cutout_tests::crowd;
use cutout_tests::figures::{figure, percentile, short};
use cutout_tests::process::{PATIENCE, Program};
use cutout_tests::redis::RedisServer;
use rig::{NAME, Rig, Size, key};
use serde_json::{Value, json};
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

const BREAKERS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const CLIENTS: [usize; 4] = [1, 10, 100, 1_000];
/// Events that are not counted.
const WARM_UP: usize = 2;
/// Between two events.
const PAUSE: Duration = Duration::from_millis(20);
/// How long Redis is watched while nothing changes.
const IDLE: Duration = Duration::from_secs(4);
/// Entries of a page of the operators' list.
const PAGE_URL: &str = "/v1/breakers?limit=100";
/// The argument that makes this program the process whose memory is measured.
const HOLDER: &str = "holder";

fn main() {
    crowd::become_one_if_asked();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, url, count] = arguments.as_slice()
        && word == HOLDER
    {
        return runtime.block_on(hold(url, count.parse().expect("a number")));
    }
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    runtime.block_on(async {
        println!(
            "{:>9} {:>14} {:>12} {:>12} {:>14}",
            "breakers", "client, MiB", "list, ms", "callback, ms", "reconcile, ms"
        );
        for breakers in BREAKERS {
            by_breakers(breakers).await;
        }
        println!(
            "\n{:>9} {:>18} {:>18} {:>20} {:>22}",
            "clients", "last refuses, p50", "p99, ms", "Redis, us an event", "Redis when idle, %"
        );
        for clients in CLIENTS {
            by_clients(clients).await;
        }
    });
}

/// As many rounds as the form of the bench has.
fn rounds(many: usize) -> usize {
    if short() { many / 3 } else { many }
}

async fn by_breakers(breakers: usize) {
    let mut rig = Rig::start(Size { clients: 1, breakers, tls: false }).await;
    let memory = memory_mib(&rig.redis, breakers);
    let list = list_ms(&rig, breakers).await;
    let mut runs = Vec::new();
    for _ in 0..rounds(9) {
        runs.push(rig.reconcile().await);
    }
    let mut answers = Vec::new();
    for nth in 0..breakers.min(WARM_UP + rounds(60)) {
        tokio::time::sleep(PAUSE).await;
        let hops = rig.event().await;
        answers.extend((nth >= WARM_UP).then_some(hops.answer));
    }
    let [answer, run] = [answers, runs].map(|taken| percentile(&taken, 50));
    println!("{breakers:>9} {memory:>14.1} {list:>12.2} {answer:>12.2} {run:>14.1}");
    for (name, value, unit) in [
        ("memory", memory, "MiB"),
        ("list", list, "ms"),
        ("callback", answer, "ms"),
        ("reconcile", run, "ms"),
    ] {
        figure(&format!("growth.breakers.{breakers}.{name}"), value, unit);
    }
}

/// The memory of a process that follows, and holds a handle on every breaker.
fn memory_mib(redis: &RedisServer, breakers: usize) -> f64 {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env_clear().args([HOLDER, &redis.url(), &breakers.to_string()]);
    let bytes = Program::start(command).wait_for("its memory", 0, |line| line["resident_bytes"].as_u64());
    bytes as f64 / f64::from(1 << 20)
}

/// That process: tells its memory, and ends with its standard input.
async fn hold(url: &str, count: usize) {
    let client = cutout::Client::builder(url).breaker(NAME).connect().await.expect("it follows");
    let handles: Vec<_> =
        (0..count).map(|nth| client.breaker(NAME, &[key(nth)]).expect("a declared name")).collect();
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("{}", json!({"resident_bytes": kib * 1_024, "handles": handles.len()}));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// The first page of the operators' list, once the service shows all breakers.
async fn list_ms(rig: &Rig, breakers: usize) -> f64 {
    let url = format!("http://{}{PAGE_URL}", rig.service.operators_at());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let page = async || {
        let started = Instant::now();
        let answered = client.get(&url).bearer_auth(canary::VIEWER_TOKEN).send().await.expect("an answer");
        assert_eq!(answered.status(), 200);
        let body = answered.bytes().await.expect("a body");
        let took = started.elapsed();
        let page: Value = serde_json::from_slice(&body).expect("JSON");
        (took.as_secs_f64() * 1e3, page["total"].as_u64().expect("how many there are"))
    };
    let deadline = Instant::now() + PATIENCE;
    while page().await.1 < breakers as u64 {
        assert!(Instant::now() < deadline, "the service does not show all breakers");
        tokio::time::sleep(PAUSE).await;
    }
    let mut taken = Vec::new();
    for _ in 0..rounds(30) {
        taken.push(page().await.0);
    }
    percentile(&taken, 50)
}

async fn by_clients(clients: usize) {
    let events = rounds(150);
    let mut rig = Rig::start(Size { clients, breakers: WARM_UP + events, tls: false }).await;
    let (idle_from, since) = (processor_secs(&rig.redis), Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle = (processor_secs(&rig.redis) - idle_from) / since.elapsed().as_secs_f64();
    let mut taken = Vec::new();
    let (mut from, mut since) = (0.0, Instant::now());
    for nth in 0..WARM_UP + events {
        if nth == WARM_UP {
            (from, since) = (processor_secs(&rig.redis), Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
        let hops = rig.event().await;
        taken.extend((nth >= WARM_UP).then_some(hops.clients));
    }
    let worked = processor_secs(&rig.redis) - from - idle * since.elapsed().as_secs_f64();
    let event_us = worked.max(0.0) * 1e6 / events as f64;
    let [p50, p99] = [50, 99].map(|percent| percentile(&taken, percent));
    println!("{clients:>9} {p50:>18.2} {p99:>18.2} {event_us:>20.0} {:>22.2}", idle * 100.0);
    for (name, value, unit) in [
        ("p50", p50, "ms"),
        ("p99", p99, "ms"),
        ("redis_event", event_us, "us"),
        ("redis_idle", idle * 100.0, "%"),
    ] {
        figure(&format!("growth.clients.{clients}.{name}"), value, unit);
    }
}

/// How long Redis has had a processor.
fn processor_secs(redis: &RedisServer) -> f64 {
    let told: String = redis.ask(&["INFO", "cpu"]);
    let of = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.expect("a field of INFO cpu").trim().parse::<f64>().expect("seconds")
    };
    of("used_cpu_user_main_thread") + of("used_cpu_sys_main_thread")
}
