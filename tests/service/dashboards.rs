//! Dashboards and alerts ask for metrics that there are, and every metric is on each dashboard.

use cutout_service::metrics::METRICS;
use serde_json::Value;
use std::collections::BTreeSet;

const GRAFANA: &str = include_str!("../../infra/grafana/cutout.json");
const DATADOG: &str = include_str!("../../infra/datadog/dashboard.json");
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
    METRICS.iter().map(|metric| metric.name).chain(store).collect()
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

/// What the agent's OpenMetrics check makes of a metric's name, with infra/datadog/openmetrics.yaml: the prefix parted by a
/// point; a counter without `_total`, and with `.count`; of a histogram sum and count.
/// <https://docs.datadoghq.com/integrations/guide/prometheus-metrics/>
fn in_datadog(name: &str) -> Vec<String> {
    let short = name.strip_prefix("cutout_").unwrap_or(name);
    let parts: &[&str] = match short.strip_suffix("_total") {
        Some(_) => &[".count"],
        None if short.ends_with("_age_seconds") || !short.ends_with("_seconds") => &[""],
        None => &[".count", ".sum"],
    };
    let short = short.trim_end_matches("_total");
    parts.iter().map(|part| format!("cutout.{short}{part}")).collect()
}

#[test]
fn datadogs_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(DATADOG).expect("a dashboard is JSON");
    let widgets = dashboard["widgets"].as_array().expect("it has widgets");
    let requests = widgets.iter().flat_map(|widget| widget["definition"]["requests"].as_array().unwrap());
    let queries = requests.flat_map(|request| request["queries"].as_array().unwrap());
    let shown: BTreeSet<String> = queries
        .map(|query| {
            let (_, asked) = query["query"].as_str().unwrap().split_once(':').expect("an aggregation");
            asked.split_once('{').expect("a scope").0.to_owned()
        })
        .collect();
    let known: BTreeSet<String> = known().into_iter().flat_map(in_datadog).collect();
    assert_eq!(shown, known);
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
