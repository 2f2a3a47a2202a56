//! One report of 10,000 groups: what it asks of Redis, and that saying it again asks for nothing but a look.

use crate::process::ServiceProcess;
use crate::wire::{callback, get, send, until};
use cutout_flags::WRITES_PER_SCRIPT_MAX;
use cutout_tests::redis::RedisServer;
use serde_json::{Value, json};

const GROUPS: usize = 10_000;
/// How many hashes one look reads: the meta, the breakers, the monitors, the families.
const HASHES_OF_A_LOOK: u64 = 4;

/// The report of one bank, made one of many; the first of them fires.
fn report(ago_s: i64) -> Value {
    let mut report = callback("00000", "Alert", ago_s);
    let groups = (0..GROUPS).map(|bank| {
        let (name, status) = (format!("{bank:05}"), if bank == 0 { "Alert" } else { "OK" });
        json!({"name": format!("bank_code:{name}"), "tags": {"bank_code": [name]}, "status": status,
               "changed_at": "2026-01-01T00:00:00Z", "muted": false})
    });
    report["report"]["groups"] = groups.collect();
    report
}

/// How often Redis ran each of these commands so far.
fn calls(redis: &RedisServer) -> [u64; 3] {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
    // HMGET stands so often in one look and once in a script, and in nothing else that the service asks for.
    ["hmget", "evalsha", "xadd"].map(|command| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    })
}

#[tokio::test]
async fn one_look_and_scripts_of_500_and_nothing_when_nothing_changed() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    until("it is ready", async || get(service.at(), "/readyz").await == 200).await;
    let before = calls(&redis);
    assert_eq!(send(service.at(), &report(9)).await.body, json!({"applied": GROUPS, "changed": GROUPS}));
    let after = calls(&redis);
    // Every breaker and the monitor. The script itself may have to be loaded once more.
    let scripts = (GROUPS + 1).div_ceil(WRITES_PER_SCRIPT_MAX) as u64;
    assert_eq!(after[0] - before[0], HASHES_OF_A_LOOK + scripts, "one look");
    assert!((scripts..=scripts + 1).contains(&(after[1] - before[1])), "{before:?} {after:?}");

    assert_eq!(send(service.at(), &report(1)).await.body, json!({"applied": GROUPS, "changed": 0}));
    let again = calls(&redis);
    assert_eq!(
        again,
        [after[0] + HASHES_OF_A_LOOK, after[1], after[2]],
        "a look, no script, nothing in a stream"
    );
}
