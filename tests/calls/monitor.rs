//! The ready monitor in infra/datadog: it says what the function understands, and watches what the client tells.

use crate::counted::Counted;
use crate::vendor::{BAD, GOOD, Vendor, upstream};
use crate::world::World;
use cutout_core::Policy;
use cutout_core::directive::callback_urls;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

const METRIC: &str = "cutout_client_calls_total";

fn monitor() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("infra/datadog/monitor.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn each_block_of_its_text_has_the_directive_and_it_is_managed() {
    let monitor = monitor();
    let message = monitor["message"].as_str().unwrap();
    for block in ["is_alert", "is_warning", "is_recovery"] {
        let (open, close) = (format!("{{{{#{block}}}}}"), format!("{{{{/{block}}}}}"));
        let text = message.split_once(&open).unwrap().1.split_once(&close).unwrap().0;
        let urls = callback_urls(text);
        assert_eq!(urls, ["https://service-a.example.internal/dd_circuit_breaker/callback"], "{block}");
    }
    assert!(
        message.lines().any(|line| line == "@sns-dd-circuit-breaker"),
        "the handle is outside the blocks"
    );
    assert!(message.starts_with("{{#is_alert}}circuit-breaker-callback:"), "the directive comes first");
    let tags: Vec<_> = monitor["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(tags.contains(&"cutout"), "the scheduled run reads it: {tags:?}");
    let at = |name: &str| monitor["options"]["thresholds"][name].as_f64().unwrap();
    assert!(at("critical_recovery") < at("critical") && at("warning_recovery") < at("warning"));
    assert!(monitor["query"].as_str().unwrap().ends_with(&format!("> {}", at("critical"))));
}

/// Everything between `outcome IN (` and `)` in the query, once for each side of the division.
fn outcomes(query: &str) -> Vec<BTreeSet<&str>> {
    let lists = query.split("outcome IN (").skip(1);
    lists.map(|rest| rest.split_once(')').unwrap().0.split(',').collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn it_watches_what_the_client_tells_and_no_refusal() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let bank = upstream(&world, |it| it.class("charge").key_tags(["bank_code"])).lane(&["0001"]);
    let (good, bad, hangs) =
        (Vendor::new([GOOD]), Vendor::new([BAD]), Vendor::new([(std::time::Duration::from_secs(60), Ok(1))]));
    for vendor in [&good, &bad, &hangs] {
        let _ = bank.call(|| vendor.ask()).await;
    }
    world.until(30).await;

    let monitor = monitor();
    let query = monitor["query"].as_str().unwrap();
    let [failed, all] = &outcomes(query)[..] else { panic!("two lists of outcomes: {query}") };
    assert_eq!(*failed, BTreeSet::from(["failure", "timeout"]));
    assert_eq!(*all, BTreeSet::from(["failure", "success", "timeout"]));
    let told = all.iter().map(|outcome| {
        counted.get(&format!("{METRIC}{{breaker=bank-charge,class=charge,bank_code=0001,outcome={outcome}}}"))
    });
    assert_eq!(told.sum::<f64>(), 3.0, "{:?}", counted.all(METRIC));
    assert_eq!(
        query.matches(&format!("sum:{METRIC}{{breaker:bank-charge,class:charge,env:prod,")).count(),
        2
    );
    assert_eq!(query.matches("by {bank_code,env}.as_count()").count(), 2, "by the tag that keys the breaker");
}
