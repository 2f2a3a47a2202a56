//! Dashboards and alerts ask for metrics that there are, and every metric is on the dashboard.

use cutout_service::metrics::METRICS;
use serde_json::Value;
use std::collections::BTreeSet;

const GRAFANA: &str = include_str!("../../infra/grafana/cutout.json");
const ALERTS: &str = include_str!("../../infra/prometheus/alerts.yaml");

/// The metrics that an expression names.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("cutout_") || word.starts_with("process_"))
}

/// A metric's own name, without what Prometheus adds for the parts of a histogram.
fn own(name: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

fn known() -> BTreeSet<&'static str> {
    let store = [cutout_flags::REQUEST_SECONDS_METRIC, cutout_flags::LOSSES_METRIC];
    METRICS.iter().map(|(name, ..)| *name).chain(store).collect()
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(GRAFANA).expect("a dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let targets =
        panels.iter().flat_map(|panel| panel["targets"].as_array().expect("each asks for something"));
    let expressions: Vec<&str> =
        targets.map(|target| target["expr"].as_str().expect("an expression")).collect();
    let shown: BTreeSet<&str> =
        expressions.iter().flat_map(|expression| named(expression)).map(own).collect();
    assert_eq!(shown, known());
}

#[test]
fn alerts_ask_for_metrics_that_there_are() {
    let expressions = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let asked: Vec<&str> = expressions.flat_map(named).map(own).collect();
    assert!(asked.len() >= 9, "{asked:?}");
    for name in asked {
        assert!(known().contains(name), "{name} is no metric");
    }
}
