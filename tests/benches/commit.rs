//! What the script of a commit costs alone: round trips on one quiet connection, and Redis's own count, beside a bare `XADD` and a
//! script that does nothing. In turns, with pauses: a flip comes when nobody is warm. `tests/bench commit`; `--short` for fewer.
//!
//! Left out: the program around it, which `tests/bench flip` has.

// A figure that cannot be had ends the bench, and says so.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

use cutout_tests::figures::{figure, percentile, short};
use cutout_tests::flips::{Flipper, ID, NAME};
use cutout_tests::redis::RedisServer;
use redis::{Cmd, Connection, InfoDict, cmd};
use std::time::{Duration, Instant};

const COMMIT: &str = include_str!("../../flags/src/redis/commit.lua");
/// Turns, and turns of the short form.
const TURNS: [usize; 2] = [1_000, 200];
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// As long as a record and an entry of the audit stream are.
const RECORD_BYTES: usize = 700;
const AUDIT_BYTES: usize = 400;
/// A flag before and after its number.
const FLAG: [&str; 2] = [
    r#"{"v":1,"epoch":"9f3a6c0d5e1b7a42","rev":"#,
    r#","state":"open","since_ms":1795223705000,"mode":"enforce","refuse":[],"probe_ppm":10000,"ramp":null,"next":null,"stale_at_ms":null,"on_stale":"half-open","override":null,"would":null,"fault":null}"#,
];

struct Bench {
    connection: Connection,
    epoch: String,
    /// How many commits were taken.
    revision: u64,
}

fn main() {
    let redis = RedisServer::start();
    // Whoever commits has declared before.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _ = runtime.block_on(Flipper::new(&redis.url()));
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let epoch = cmd("HGET").arg(key("meta")).arg("epoch").query(&mut connection).unwrap();
    let shas = ["return {1}", COMMIT]
        .map(|script| -> String { cmd("SCRIPT").arg("LOAD").arg(script).query(&mut connection).unwrap() });
    let mut bench = Bench { connection, epoch, revision: 0 };
    let mut taken: [Vec<(f64, f64)>; 3] = Default::default();
    for turn in 0..TURNS[usize::from(short())] {
        for place in 0..taken.len() {
            let kind = (place + turn) % taken.len();
            let request = match kind {
                0 => xadd(),
                1 => bench.commit(&shas[0]),
                _ => bench.commit(&shas[1]),
            };
            taken[kind].push(bench.time(&request, if kind == 0 { "xadd" } else { "evalsha" }));
            bench.revision += u64::from(kind == 2);
        }
    }
    println!("{:<26} {:>16} {:>12}", "microseconds, p50", "round trip", "in Redis");
    let kinds =
        [("XADD", "xadd"), ("a script that does nothing", "nothing"), ("the commit's script", "script")];
    for ((line, name), taken) in kinds.into_iter().zip(taken) {
        let (trips, inside): (Vec<f64>, Vec<f64>) = taken.into_iter().unzip();
        let (trip, inside) = (percentile(&trips, 50), percentile(&inside, 50));
        println!("{line:<26} {trip:>16.0} {inside:>12.0}");
        figure(&format!("commit.{name}"), trip, "us");
        figure(&format!("commit.{name}.in_redis"), inside, "us");
    }
}

impl Bench {
    /// One request after a pause: its round trip and Redis's own count, microseconds.
    fn time(&mut self, request: &Cmd, counted_as: &str) -> (f64, f64) {
        let before = self.counted(counted_as);
        std::thread::sleep(PAUSE);
        let started = Instant::now();
        let answer: redis::Value = request.query(&mut self.connection).unwrap();
        let trip = started.elapsed().as_secs_f64() * 1e6;
        assert_ne!(answer, redis::Value::Array(vec![redis::Value::Int(0)]), "somebody else wrote");
        (trip, self.counted(counted_as) - before)
    }

    fn counted(&mut self, command: &str) -> f64 {
        let stats: InfoDict = cmd("INFO").arg("commandstats").query(&mut self.connection).unwrap();
        let line: String = stats.get(&format!("cmdstat_{command}")).unwrap_or_default();
        line.split(',').find_map(|part| part.strip_prefix("usec=")).map_or(0.0, |usec| usec.parse().unwrap())
    }

    /// What a service sends when one breaker opens: a record, a flag, a count, an entry of the audit stream.
    fn commit(&self, sha: &str) -> Cmd {
        let keys = ["meta", "flags", "changes", "breakers", "monitors", "families", "audit"].map(key);
        let record = format!("{} {}", self.revision + 1, "x".repeat(RECORD_BYTES));
        let mut request = cmd("EVALSHA");
        request.arg(sha).arg(keys.len()).arg(&keys).arg(&self.epoch).arg(0).arg(10_000).arg(100_000).arg(1);
        request.arg(4).arg(ID).arg(self.revision).arg(record).arg(&FLAG).arg(0).arg(NAME).arg(1);
        request.arg(1).arg("y".repeat(AUDIT_BYTES));
        request
    }
}

fn xadd() -> Cmd {
    let mut request = cmd("XADD");
    request.arg("bare").arg("*").arg("breaker").arg(ID).arg("rev").arg(17).arg("flag").arg(FLAG.join("17"));
    request
}

fn key(name: &str) -> String {
    format!("cutout:{{default}}:{name}")
}
