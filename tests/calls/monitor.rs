//! The ready monitor in infra/datadog: it says what the function understands, and watches what the client tells.

use crate::counted::Counted;
use crate::vendor::{BAD, GOOD, Vendor, force_open, upstream};
use crate::world::World;
use cutout_core::Policy;
use cutout_core::directive::callback_urls;
use cutout_tests::process::PATIENCE;
use metrics::Label;
use metrics_exporter_dogstatsd::DogStatsDBuilder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

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
        (Vendor::new([GOOD]), Vendor::new([BAD]), Vendor::new([(Duration::from_secs(60), Ok(1))]));
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

/// The counts of a metric that an agent was sent, by their tags; until so many calls are told.
fn sent_to(agent: &UdpSocket, calls: u64) -> BTreeMap<BTreeSet<String>, u64> {
    let (mut sent, mut datagram) = (BTreeMap::new(), [0; 65_536]);
    while sent.values().sum::<u64>() < calls {
        let length = agent.recv(&mut datagram).expect("a datagram in time");
        for line in std::str::from_utf8(&datagram[..length]).unwrap().lines() {
            let Some((count, rest)) =
                line.strip_prefix(METRIC).and_then(|rest| rest.strip_prefix(':')?.split_once('|'))
            else {
                continue;
            };
            let tags = rest.strip_prefix("c|#").expect("a counter with tags");
            let tags = tags.split('|').next().unwrap().split(',').map(str::to_owned).collect();
            *sent.entry(tags).or_default() += count.parse::<u64>().unwrap();
        }
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn dogstatsd_sends_what_it_watches() {
    let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
    agent.set_read_timeout(Some(PATIENCE)).unwrap();
    let exporter = DogStatsDBuilder::default()
        .with_remote_address(agent.local_addr().unwrap().to_string())
        .unwrap()
        .with_flush_interval(Duration::from_millis(50))
        .with_global_labels(vec![Label::new("service", "payments"), Label::new("env", "prod")])
        .build()
        .unwrap();
    let _telling = metrics::set_default_local_recorder(&exporter);
    let mut world = World::new(Policy::default()).await;
    let bank = upstream(&world, |it| it.class("charge").key_tags(["bank_code"])).lane(&["0001"]);
    let vendor = Vendor::new([GOOD, BAD, BAD, (Duration::from_secs(60), Ok(1))]);
    for _ in 0..4 {
        let _ = bank.call(|| vendor.ask()).await;
    }
    force_open(&mut world).await;
    assert!(bank.call(|| vendor.ask()).await.is_err());
    world.until(30).await;

    let sent = sent_to(&agent, 5);
    let monitor = monitor();
    let query = monitor["query"].as_str().unwrap();
    let (_, filter) = query.split_once(&format!("{METRIC}{{")).unwrap();
    let wanted: BTreeSet<_> = filter.split_once(",outcome IN").unwrap().0.split(',').collect();
    let counted = |outcomes: &BTreeSet<&str>| {
        let matches = |tags: &BTreeSet<String>| {
            wanted.iter().all(|tag| tags.contains(*tag))
                && outcomes.iter().any(|outcome| tags.contains(&format!("outcome:{outcome}")))
                && tags.contains("bank_code:0001")
        };
        sent.iter().filter(|(tags, _)| matches(tags)).map(|(_, count)| count).sum::<u64>()
    };
    let sums: Vec<_> = outcomes(query).iter().map(counted).collect();
    assert_eq!(sums, [3, 4], "failed, of all that were sent: {sent:?}");
}
