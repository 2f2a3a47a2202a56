//! The span of a call: one for each try, with what it was and how it ended.

use crate::vendor::{BAD, GOOD, Vendor, force_open, ms, upstream};
use crate::world::World;
use cutout::Retries;
use cutout_core::Policy;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// What was logged, to be read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The spans that were closed since the last time.
    fn spans(&self) -> Vec<Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut closed: Vec<_> = lines.filter(|line| line["fields"]["message"] == "close").collect();
        closed
            .iter_mut()
            .map(|line| line["span"].take())
            .filter(|span| span["name"] == "cutout_call")
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_try_has_a_span_with_its_breaker_its_class_and_its_end() {
    let lines = Lines::default();
    let writer = lines.clone();
    let logging =
        tracing_subscriber::fmt().json().with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG);
    let logging = logging.with_span_events(FmtSpan::CLOSE).with_writer(move || writer.clone());
    let _logging = logging.finish().set_default();
    let mut world = World::new(Policy::default()).await;
    let two = Retries::up_to(2).budget(100, 10).backoff(ms(1), ms(1));
    let bank = upstream(&world, |it| it.class("charge").retries(two).try_timeout(ms(100))).lane(&["0001"]);
    let vendor = Vendor::new([BAD, (ms(60_000), Ok(1)), GOOD]);
    bank.call_idempotent(|| vendor.ask()).await.unwrap();
    let span = |outcome: &str| json!({"name": "cutout_call", "breaker": "bank-charge/0001", "class": "charge", "outcome": outcome});
    assert_eq!(lines.spans(), ["failure", "timeout", "success"].map(span));
    let plain = upstream(&world, |it| it).lane(&["0001"]);
    plain.call(|| vendor.ask()).await.unwrap();
    let expected = json!({"name": "cutout_call", "breaker": "bank-charge/0001", "outcome": "success"});
    assert_eq!(lines.spans(), [expected], "without a class there is none to tell");
    force_open(&mut world).await;
    assert!(bank.call(|| vendor.ask()).await.is_err());
    assert_eq!(lines.spans(), [Value::Null; 0], "what is refused is no call");
}
