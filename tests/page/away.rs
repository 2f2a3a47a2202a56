//! What the page shows of the pipeline itself, and of breakers while the store is away.

use crate::access::{page, session};
use cutout_tests::rig::{Kept, MONITOR, Rig, Who, callback, until};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What stands behind a word of the section on the pipeline.
fn told<'a>(page: &'a str, of: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<dt>{of}</dt>")).unwrap_or_else(|| panic!("no {of}: {page}"));
    rest.split_once("</dd>").expect("an answer to it").0
}

#[tokio::test]
async fn with_the_store_away_the_list_is_there_and_what_is_missing_is_told_to_be() {
    let mut rig = Rig::start(Kept::Redis).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    let cookie = session(&rig, Who::Ann).await;
    let list = page(&rig, &cookie, "/").await;
    assert!(list.text.contains("Bank API"), "what fired stands in the list: {}", list.text);
    rig.redis.as_mut().unwrap().kill();

    let list = page(&rig, &cookie, "/").await;
    assert_eq!(list.status, 200);
    assert!(list.text.contains("data-breaker=\"bank-charge/0001\""), "{}", list.text);
    assert!(!list.text.contains("Bank API"), "that is read from the store");
    let missing = "The store does not answer: what is not shown here is not known now.";
    assert!(list.text.contains(missing), "{}", list.text);
    for path in ["/breakers/bank-charge/0001", "/history"] {
        let failed = page(&rig, &cookie, path).await;
        assert_eq!((failed.status, failed.header("retry-after")), (503, "2"), "{path}");
        assert!(failed.text.contains("The store does not answer"), "{path}: {}", failed.text);
    }
}

#[tokio::test]
async fn the_pipeline_tells_what_it_last_heard_and_what_nobody_confirms() {
    let mut rig = Rig::start_with(Kept::Redis, &[("CUTOUT_SESSION_SECRETS", crate::access::SECRET)]).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    // A breaker of which no report has told for too long; of a name that no file declares any more, so that nobody mends it.
    let redis = rig.redis.as_ref().unwrap();
    let flags = "cutout:{default}:flags";
    let mut flag: Value =
        serde_json::from_str(&redis.ask::<String>(&["HGET", flags, "bank-charge/0001"])).unwrap();
    let over_ms = Timestamp::now().as_millisecond() - 1_000;
    flag["stale_at_ms"] = json!(over_ms);
    flag["override"] = json!({"state": "open", "until_ms": over_ms});
    redis.ask::<u64>(&["HSET", flags, "gone/0001", &flag.to_string()]);
    rig.restart().await;

    let cookie = session(&rig, Who::Vic).await;
    until("the flags are followed", async || page(&rig, &cookie, "/").await.text.contains("gone/0001")).await;
    let list = page(&rig, &cookie, "/").await.text;
    assert!(told(&list, "No report confirms any more").contains("1 breakers"), "{list}");
    // What is over is forced no more, for the number as for the list that it leads to.
    assert!(list.contains("<strong>0</strong> <span>Forced</span>"), "{list}");
    assert_eq!(rig.get(Who::Vic, "/v1/breakers?overridden=true").await.body["total"], 0);
    for heard in ["Last notification", "Last scheduled run"] {
        assert!(told(&list, heard).contains("none since this instance started"), "{list}");
    }
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    let list = page(&rig, &cookie, "/").await.text;
    assert!(told(&list, "Last notification").ends_with(" ago"), "{list}");
    assert!(told(&list, "Last scheduled run").contains("none since"), "one is not the other: {list}");
    let mut scheduled = callback(MONITOR, &[("0001", "Alert")]);
    scheduled["reason"] = json!("reconcile");
    rig.callback(&scheduled).await;
    let list = page(&rig, &cookie, "/").await.text;
    assert!(told(&list, "Last scheduled run").ends_with(" ago"), "{list}");
}
