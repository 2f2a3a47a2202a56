//! A function between a Datadog and two owning services, all on loopback.

use cutout_core::report::Callback;
use cutout_core::webhook;
use cutout_lambda::function::{Failure, InvocationError};
use cutout_lambda::guard::SystemResolver;
use cutout_lambda::{Function, Settings};
use cutout_tests::canary;
use cutout_tests::doubles::{Answer, Asked, Double};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The monitor of the constructed fixtures.
pub(crate) const MONITOR_ID: u64 = 7_300_001;
/// The clock of [`World`]'s Datadog, 13 s after the alert of the constructed monitors.
pub(crate) const DATE: &str = "Sun, 01 Jun 2025 00:00:18 GMT";
/// The same in a report.
pub(crate) const AS_OF: &str = "2025-06-01T00:00:18Z";
/// The service's path, as the fixtures write it.
pub(crate) const CALLBACK_PATH: &str = "/dd_circuit_breaker/callback";
/// An invocation's time, where a test does not depend on it: much more than it needs.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) datadog: Double,
    /// `service-a.example.internal` and `service-b.example.internal`.
    pub(crate) services: [Double; 2],
}

impl World {
    /// Monitor and event are readable, and both services commit.
    pub(crate) async fn start() -> World {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let services = [Double::start("127.0.0.1").await, Double::start("127.0.0.2").await];
        let world = World { datadog: Double::start("127.0.0.1").await, services };
        let api = crate::fixtures::constructed("api");
        world.monitor_answers(MONITOR_ID, [ok(crate::fixtures::text(&api, "monitor_v1_groups_all"))]);
        world.services.iter().for_each(|service| service.answer(CALLBACK_PATH, [Answer::new(200, "")]));
        world
    }

    pub(crate) fn monitor_answers(&self, id: u64, answers: impl IntoIterator<Item = Answer>) {
        self.datadog.answer(&format!("/api/v1/monitor/{id}"), answers);
    }

    pub(crate) fn event_answers(&self, id: u64, answers: impl IntoIterator<Item = Answer>) {
        self.datadog.answer(&format!("/api/v1/events/{id}"), answers);
    }

    /// The environment of a function of this world.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let variables = [
            ("DD_API_KEY", canary::DD_API_KEY),
            ("DD_APP_KEY", canary::DD_APP_KEY),
            ("CUTOUT_DATADOG_URL", &self.datadog.url()),
            ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
            ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
            ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
            // The fixtures' monitor never shows what most of them tell; what then follows is a test of its own.
            ("CUTOUT_REREAD_AFTER", "0s"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    pub(crate) fn function(&self) -> Function {
        Function::new(Settings::read(self.variables()).unwrap(), Arc::new(SystemResolver)).unwrap()
    }

    pub(crate) async fn handle(&self, event: &Value) -> Result<(), InvocationError> {
        self.function().handle(self.here(event), Instant::now() + AMPLE).await
    }

    /// The event with the fixtures' hosts replaced by those of this world.
    pub(crate) fn here(&self, event: &Value) -> Value {
        let text = event
            .to_string()
            .replace("https://service-a.example.internal", &self.services[0].url())
            .replace("https://service-b.example.internal", &self.services[1].url());
        serde_json::from_str(&text).unwrap()
    }

    /// How often Datadog was read.
    pub(crate) fn reads(&self) -> usize {
        self.datadog.asked().len()
    }

    /// How often a monitor was read.
    pub(crate) fn monitor_reads(&self) -> usize {
        self.datadog.asked().iter().filter(|asked| asked.path.starts_with("/api/v1/monitor/")).count()
    }

    /// The callbacks that arrived at both services, verified as a service does.
    pub(crate) fn callbacks(&self) -> Vec<Callback> {
        let asked = self.services.iter().flat_map(Double::asked);
        asked.map(|asked| verified(&asked)).collect()
    }
}

/// A good answer of Datadog.
pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::new(200, body).header("date", DATE)
}

/// The steps that failed, in order of their names.
pub(crate) fn steps(outcome: Result<(), InvocationError>) -> Vec<&'static str> {
    let mut steps: Vec<_> = outcome.expect_err("it fails").failures().iter().map(Failure::step).collect();
    steps.sort_unstable();
    steps
}

/// What a service reads of a request, verified as it does.
pub(crate) fn verified<T: DeserializeOwned>(asked: &Asked) -> T {
    assert_eq!((asked.method.as_str(), asked.header("content-type")), ("POST", "application/json"));
    let secrets = [canary::SIGNING_SECRET.parse().unwrap()];
    let timestamp = asked.header(webhook::TIMESTAMP_HEADER);
    let now_secs = timestamp.parse().unwrap();
    let signatures = asked.header(webhook::SIGNATURE_HEADER);
    webhook::verify(&secrets, asked.header(webhook::ID_HEADER), timestamp, signatures, &asked.body, now_secs)
        .unwrap();
    serde_json::from_slice(&asked.body).unwrap()
}
