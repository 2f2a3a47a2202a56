//! How much of the history a breaker's page asks the store for.

use crate::access::{page, session};
use cutout_tests::redis::RedisServer;
use cutout_tests::rig::{Kept, MONITOR, Rig, Who};
use jiff::Timestamp;

/// Where the history of these tests stands.
const AUDIT: &str = "cutout:{default}:audit";
/// How many entries of others there are, two days ago: 25 reads.
const OF_OTHERS: i64 = 25_000;
/// Adds them, one each millisecond from ARGV[1] on, and before them one of the breaker itself.
const FILL: &str = r#"
local entry = '{"from":"closed","to":"open","at_ms":' .. ARGV[1] .. ',"cause":{"kind":"stale"}}'
redis.call('XADD', KEYS[1], ARGV[1] .. '-0', 'breaker', 'bank-charge/0001', 'entry', entry)
for i = 1, ARGV[2] do
  redis.call('XADD', KEYS[1], (ARGV[1] + i) .. '-0', 'breaker', 'bank-charge/9999', 'entry', entry)
end
return 'OK'"#;

/// How often entries were read from the end since that was last set to nothing.
fn reads(redis: &RedisServer) -> u64 {
    let told: String = redis.ask(&["INFO", "commandstats"]);
    let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_xrevrange:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_breakers_page_looks_no_further_back_than_its_time_line() {
    let rig = Rig::start(Kept::Redis).await;
    let redis = rig.redis.as_ref().unwrap();
    let two_days_ago_ms = Timestamp::now().as_millisecond() - 2 * 86_400_000;
    let (from, count) = (two_days_ago_ms.to_string(), OF_OTHERS.to_string());
    assert_eq!(redis.ask::<String>(&["EVAL", FILL, "1", AUDIT, &from, &count]), "OK");
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    let cookie = session(&rig, Who::Vic).await;

    redis.ask::<String>(&["CONFIG", "RESETSTAT"]);
    let day = page(&rig, &cookie, "/breakers/bank-charge/0001?span=24h").await;
    assert_eq!(day.status, 200);
    // One for the entry, and what the follower asks now and then.
    assert!(reads(redis) < 5, "{} reads", reads(redis));
    assert!(day.text.contains("report of"), "{}", day.text);
    assert!(!day.text.contains("no report confirmed it any more"), "it is older than the span");
    assert!(
        day.text.contains("href=\"/history?breaker=bank-charge%2F0001\""),
        "what is older is a link away"
    );
    let quiet = page(&rig, &cookie, "/breakers/bank-charge/0002?span=1h").await;
    assert!(quiet.text.contains("Nothing has changed within the span"), "{}", quiet.text);

    let week = page(&rig, &cookie, "/breakers/bank-charge/0001?span=7d").await;
    assert!(week.text.contains("does not reach back all the way"), "it gives up in the end: {}", week.text);
}
