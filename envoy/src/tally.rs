//! What is counted, and its text for Prometheus. One place, so that the page and the counters cannot part.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters since the start, and gauges.
#[derive(Debug, Default)]
pub struct Tally {
    /// Envoys connected now.
    pub streams: AtomicU64,
    /// Streams that were refused: no token, or too many.
    pub streams_refused: AtomicU64,
    /// Streams that were cut because nothing could be sent for too long.
    pub streams_cut: AtomicU64,
    /// Responses sent.
    pub pushes: AtomicU64,
    /// Responses that Envoy took.
    pub acks: AtomicU64,
    /// Responses that Envoy rejected.
    pub nacks: AtomicU64,
    /// Pictures computed that differed from the one before.
    pub pictures: AtomicU64,
    /// Changes that a picture could not show.
    pub unusable: AtomicU64,
    /// Failed reads of the store.
    pub store_failures: AtomicU64,
    /// Keys refused, in part or whole, in the picture of now.
    pub refused_keys: AtomicU64,
    /// Keys with a fault in the picture of now.
    pub fault_keys: AtomicU64,
}

impl Tally {
    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self, silence_secs: u64) -> String {
        let counters = [
            ("streams_refused", "Streams without a valid token, or too many.", &self.streams_refused),
            ("streams_cut", "Streams cut because nothing could be sent for too long.", &self.streams_cut),
            ("pushes", "Responses sent.", &self.pushes),
            ("acks", "Responses that Envoy took.", &self.acks),
            ("nacks", "Responses that Envoy rejected: the last good one stays. Alert on it.", &self.nacks),
            ("pictures", "Changes of what is served.", &self.pictures),
            ("unusable_keys", "Flags whose key has not as many parts as the hook.", &self.unusable),
            ("store_failures", "Failed reads of the store.", &self.store_failures),
        ];
        let gauges = [
            (
                "streams",
                "Streams open; an Envoy has one, and one more for each layer of its own.",
                self.streams.load(Relaxed),
            ),
            ("refused_keys", "Keys refused, in part or whole.", self.refused_keys.load(Relaxed)),
            ("fault_keys", "Keys with an injected fault.", self.fault_keys.load(Relaxed)),
            ("store_silence_seconds", "How long the store has been silent.", silence_secs),
        ];
        let mut text = String::new();
        for (name, help, counter) in counters {
            line(&mut text, &format!("cutout_envoy_{name}_total"), help, "counter", counter.load(Relaxed));
        }
        for (name, help, value) in gauges {
            line(&mut text, &format!("cutout_envoy_{name}"), help, "gauge", value);
        }
        text
    }
}

fn line(text: &mut String, name: &str, help: &str, kind: &str, value: u64) {
    // Writing into a text cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}
