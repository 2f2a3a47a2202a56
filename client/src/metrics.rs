//! What the client counts, through the `metrics` facade: what the reference tells of each.
//!
//! The names stand where the counting is done; a test holds these tables to the sources. Left out: what the store and its
//! follower count (`cutout-flags`).

use cutout_core::reference::{Kind, Metric};

/// What is counted of the client itself, in the order of the reference.
///
/// ```
/// // What a dashboard or an exporter's allow-list is made of.
/// let names: Vec<&str> = cutout::metrics::METRICS.iter().map(|metric| metric.name).collect();
/// assert!(names.contains(&"cutout_client_store_age_seconds"));
/// assert!(names.iter().all(|name| name.starts_with("cutout_client_")));
/// ```
pub const METRICS: [Metric; 6] = [
    Metric {
        name: "cutout_client_would_refuse_total",
        kind: Kind::Counter,
        labels: "`breaker` (the name without the key, whose tags an upstream may add), `class` (`none` without), `why`: `watch` or `held`",
        what: "calls admitted only because the decision is not carried out; told once a second. Beyond 1,000 pairs of name and class: other",
    },
    Metric {
        name: "cutout_client_max_staleness_total",
        kind: Kind::Counter,
        labels: "`breaker` (`*`: all without a limit of their own), `policy`, `change`: `begins` or `ends`",
        what: "max_staleness begins or ends to act; also a line in the log",
    },
    Metric {
        name: "cutout_client_store_age_seconds",
        kind: Kind::Gauge,
        labels: "",
        what: "how long the store has been silent",
    },
    Metric {
        name: "cutout_client_store_losses_total",
        kind: Kind::Counter,
        labels: "",
        what: "the store came back without its data; also a line in the log",
    },
    Metric {
        name: "cutout_client_started_without_store_total",
        kind: Kind::Counter,
        labels: "",
        what: "connect went on without an answer",
    },
    Metric {
        name: "cutout_client_undeclared_total",
        kind: Kind::Counter,
        labels: "`breaker`",
        what: "a name in use that nobody declares, seen late; or a key that came with a call and has not as many values as declared, once for each name",
    },
];

/// What is counted of calls, in the order of the reference.
///
/// ```
/// use cutout::metrics::CALL_METRICS;
///
/// let latency = CALL_METRICS.iter().find(|metric| metric.name == "cutout_client_call_seconds");
/// assert!(latency.is_some_and(|metric| metric.labels.contains("`timeout`")));
/// ```
pub const CALL_METRICS: [Metric; 13] = [
    Metric {
        name: "cutout_client_calls_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`, `outcome`: `success`, `failure`, `timeout`, `cancelled`, `refused`, `overflow`, `tripped`, `injected`, `not_sent`",
        what: "calls, each try on its own. refused, overflow, tripped and not_sent were never sent",
    },
    Metric {
        name: "cutout_client_call_seconds",
        kind: Kind::Histogram,
        labels: "the same, for `success`, `failure`, `timeout`",
        what: "how long they took, to 6 %; not of breaker.call, which reads no clock",
    },
    Metric {
        name: "cutout_client_calls_in_flight",
        kind: Kind::Gauge,
        labels: "`breaker`, `class`",
        what: "calls that run now",
    },
    Metric {
        name: "cutout_client_calls_waiting",
        kind: Kind::Gauge,
        labels: "`breaker`, `class`",
        what: "calls that wait for a place now",
    },
    Metric {
        name: "cutout_client_retries_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`",
        what: "retries made",
    },
    Metric {
        name: "cutout_client_retries_withheld_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`",
        what: "retries that the budget had no room for",
    },
    Metric {
        name: "cutout_client_failovers_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`",
        what: "calls that went to the second upstream; counted at the first",
    },
    Metric {
        name: "cutout_client_fallbacks_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`",
        what: "calls that ended in the fallback; counted at the first upstream",
    },
    Metric {
        name: "cutout_client_injected_delays_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`",
        what: "calls that a fault delayed; those that it ended have the outcome injected",
    },
    Metric {
        name: "cutout_client_local_trips_total",
        kind: Kind::Counter,
        labels: "`breaker`, `class`",
        what: "how often the local breaker opened; also a line in the log, with the figures",
    },
    Metric {
        name: "cutout_client_local_breakers",
        kind: Kind::Gauge,
        labels: "`breaker`, `class`, `state`: `open`, `half-open`",
        what: "keys whose local breaker is in that state; only of upstreams that have one",
    },
    Metric {
        name: "cutout_client_breakers",
        kind: Kind::Gauge,
        labels: "`breaker`, `state`: `open`, `half-open`",
        what: "keys in that state, as this process sees it",
    },
    Metric {
        name: "cutout_client_state_age_seconds",
        kind: Kind::Gauge,
        labels: "`breaker`",
        what: "how long the longest of them has been; 0: all are closed",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    const PREFIX: &str = "cutout_client_";

    /// The metrics that the sources of a folder count.
    fn counted(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                counted(&path, found);
            } else if !path.ends_with("metrics.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let words =
                    source.split('"').filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX));
                found.extend(words.map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_tables_hold_what_is_counted_and_nothing_else() {
        let mut found = BTreeSet::new();
        counted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        let told: BTreeSet<String> =
            METRICS.iter().chain(&CALL_METRICS).map(|metric| metric.name.to_owned()).collect();
        assert_eq!(told, found);
    }
}
