//! A recorder of metrics that a test can read, for its own thread.

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What was told, by `name{label=value,…}`.
#[derive(Default)]
pub(crate) struct Counted(Arc<Mutex<BTreeMap<String, f64>>>);

/// One metric.
struct One {
    name: String,
    all: Arc<Mutex<BTreeMap<String, f64>>>,
}

impl Counted {
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// Everything whose name starts so.
    pub(crate) fn all(&self, start: &str) -> Vec<String> {
        self.0.lock().unwrap().keys().filter(|name| name.starts_with(start)).cloned().collect()
    }

    fn one(&self, key: &Key) -> Arc<One> {
        let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
        let name = format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","));
        Arc::new(One { name, all: Arc::clone(&self.0) })
    }
}

impl One {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(self.all.lock().unwrap().entry(self.name.clone()).or_default());
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.change(|count| *count += f64::from(u32::try_from(value).unwrap()));
    }

    fn absolute(&self, value: u64) {
        self.change(|count| *count = f64::from(u32::try_from(value).unwrap()));
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.change(|level| *level += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|level| *level -= value);
    }

    fn set(&self, value: f64) {
        self.change(|level| *level = value);
    }
}

/// How many values there were; their sum stands under `name.sum{…}`.
impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.change(|count| *count += 1.0);
        let sum = self.name.replacen('{', ".sum{", 1);
        *self.all.lock().unwrap().entry(sum).or_default() += value;
    }
}

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}
