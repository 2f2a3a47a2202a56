//! What the service counts, through the `metrics` facade: whatever recorder the process has, the binary's or a team's own.
//!
//! Labels are names that somebody declared (breakers, causes, results), never a breaker's key: there may be ten thousand of them. What is
//! counted stands in one table, which describes it to the recorder and which the tests hold the documentation and the dashboards to.
//!
//! [`Exposition`] is the binary's recorder, with `/metrics` on it. Left out: what the store and its follower count (`cutout-flags`).

use crate::limits::{Of, catching};
use crate::pulse::Kind as Heard;
use crate::{Shared, answer};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cutout_core::flag::Forced;
use cutout_core::reference::{Kind, Metric};
use cutout_core::{Cause, Flag, Mode, State as BreakerState};
use http::header;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often gauges are measured, for recorders that nobody scrapes.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// The upper ends of the buckets that times are counted in, seconds.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// The media type of Prometheus's text.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Where the system tells a process's memory.
const PROCESS_STATUS: &str = "/proc/self/status";

const CALLBACKS: &str = "cutout_service_callbacks_total";
const APPLY_SECONDS: &str = "cutout_service_apply_seconds";
const UNKEYED: &str = "cutout_service_unkeyed_groups_total";
const KEYS_REFUSED: &str = "cutout_service_keys_refused_total";
const SHED: &str = "cutout_service_requests_refused_total";
const TRANSITIONS: &str = "cutout_service_transitions_total";
const ORDERS: &str = "cutout_service_orders_total";
const BREAKERS: &str = "cutout_service_breakers";
const OVERRIDES: &str = "cutout_service_overrides";
const HELD: &str = "cutout_service_held";
const WATCHED_OPEN: &str = "cutout_service_watched_open";
const FAULTS: &str = "cutout_service_faults";
const PAUSED: &str = "cutout_service_paused";
const RECONCILE_AGE: &str = "cutout_service_reconcile_age_seconds";
const STORE_AGE: &str = "cutout_service_store_age_seconds";
const READY: &str = "cutout_service_declared";
const STREAMS: &str = "cutout_service_streams";
const REVISION: &str = "cutout_service_settings_revision";
const RELOADS: &str = "cutout_service_settings_reloads_total";
const MISTAKES: &str = "cutout_service_settings_mistakes";
const NOTIFICATIONS: &str = "cutout_service_notifications_total";
const RESIDENT: &str = "process_resident_memory_bytes";

/// Every metric of the service, in the order of the reference.
pub const METRICS: [Metric; 22] = [
    Metric {
        name: CALLBACKS,
        kind: Kind::Counter,
        labels: "`kind`: `callback`, `inventory`, `drill`, `unknown` (not believed); `result`: `committed`, `too_large`, `slow`, `cut`, `unauthentic`, `malformed`, `elsewhere`, `undeclared`, `stands_back`, `store`, `unreadable`, `contended`; of drills also `over`, `others`, `refused`",
        what: "what was posted, and what became of it",
    },
    Metric {
        name: APPLY_SECONDS,
        kind: Kind::Histogram,
        labels: "`kind`, `result`",
        what: "from an authentic message to its commit",
    },
    Metric {
        name: SHED,
        kind: Kind::Counter,
        labels: "`of`: `callbacks`, `operators`, `readiness`; `why`: `busy`, `slow`, `panic`",
        what: "requests that were turned away unanswered: too many at once, or longer than they may take; and those that met a defect. Alarm on it",
    },
    Metric {
        name: UNKEYED,
        kind: Kind::Counter,
        labels: "",
        what: "groups without the tags of the key: nothing protects them",
    },
    Metric {
        name: KEYS_REFUSED,
        kind: Kind::Counter,
        labels: "`breaker`",
        what: "new keys beyond max_keys: nothing protects them. Alarm on it",
    },
    Metric {
        name: TRANSITIONS,
        kind: Kind::Counter,
        labels: "`breaker`, `to`, `cause` as in the history",
        what: "changes of state. Each is counted by the instance that committed it",
    },
    Metric {
        name: ORDERS,
        kind: Kind::Counter,
        labels: "`act` as in the history",
        what: "what people ordered",
    },
    Metric {
        name: BREAKERS,
        kind: Kind::Gauge,
        labels: "`breaker`, `state`",
        what: "breakers as callers see them now",
    },
    Metric {
        name: OVERRIDES,
        kind: Kind::Gauge,
        labels: "`breaker`, `state`: `open`, `closed`",
        what: "those that people force",
    },
    Metric {
        name: HELD,
        kind: Kind::Gauge,
        labels: "`breaker`",
        what: "those that a signal would open, and a pause or max_open does not let. Alarm on it",
    },
    Metric {
        name: WATCHED_OPEN,
        kind: Kind::Gauge,
        labels: "`breaker`",
        what: "those in watch mode that would be open",
    },
    Metric {
        name: FAULTS,
        kind: Kind::Gauge,
        labels: "`breaker`",
        what: "those into whose calls a fault is injected",
    },
    Metric { name: PAUSED, kind: Kind::Gauge, labels: "", what: "1 while the scope is paused" },
    Metric {
        name: RECONCILE_AGE,
        kind: Kind::Gauge,
        labels: "",
        what: "since this instance last took something of a scheduled run, or since its start. The load balancer chooses the instance: take the minimum, and alarm beyond 5 minutes",
    },
    Metric {
        name: STORE_AGE,
        kind: Kind::Gauge,
        labels: "",
        what: "since the store last answered the follower, which asks every second",
    },
    Metric {
        name: READY,
        kind: Kind::Gauge,
        labels: "",
        what: "1 once the breakers were declared in the store",
    },
    Metric {
        name: STREAMS,
        kind: Kind::Gauge,
        labels: "",
        what: "streams and exports of the operators' API that are open",
    },
    Metric {
        name: REVISION,
        kind: Kind::Gauge,
        labels: "",
        what: "the revision of the breakers' file in use",
    },
    Metric {
        name: RELOADS,
        kind: Kind::Counter,
        labels: "`result`: `taken`, `refused`",
        what: "breakers' files that came while it ran",
    },
    Metric {
        name: MISTAKES,
        kind: Kind::Gauge,
        labels: "",
        what: "mistakes of a newer breakers' file, which was not taken. Alarm on it",
    },
    Metric {
        name: NOTIFICATIONS,
        kind: Kind::Counter,
        labels: "`to`: the destination; `result`: `delivered`, `failed` (will be tried again), `given_up`; and entries of the audit stream, wanted or not, that it does not keep any more: `trimmed` (begun and not finished), `unread` (nobody came to them; needs Redis 7)",
        what: "notifications. Alarm on given_up, trimmed and unread",
    },
    Metric {
        name: RESIDENT,
        kind: Kind::Gauge,
        labels: "",
        what: "resident memory of this process; Linux alone",
    },
];

/// What was counted in this process, for `/metrics`.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

/// Why nothing can be counted here.
#[derive(Debug, thiserror::Error)]
pub enum ExpositionError {
    /// The buckets are unusable.
    #[error("the recorder of metrics cannot be built")]
    Build(#[from] BuildError),
    /// The process counts elsewhere already.
    #[error("the process has another recorder of metrics")]
    Taken,
}

impl Exposition {
    /// Makes this the recorder of the process. A process that has one already keeps it: what the service counts goes there.
    ///
    /// # Errors
    /// [`ExpositionError`]
    pub fn install() -> Result<Exposition, ExpositionError> {
        let builder = PrometheusBuilder::new();
        let recorder =
            builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?;
        let recorder = recorder.build_recorder();
        let exposition = Exposition(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|_| ExpositionError::Taken)?;
        describe();
        Ok(exposition)
    }

    /// Everything that was counted, in Prometheus's text form.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Puts noted times into their buckets, now and then for ever: without it a process that nobody scrapes would keep each of them.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(MEASURE_EVERY).await;
            self.0.run_upkeep();
        }
    }
}

fn describe() {
    for Metric { name, kind, what, .. } in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, what),
            Kind::Gauge => metrics::describe_gauge!(name, what),
            Kind::Histogram => metrics::describe_histogram!(name, metrics::Unit::Seconds, what),
        }
    }
}

/// `/metrics`.
pub(crate) fn router(shared: Arc<Shared>, exposition: Exposition) -> Router {
    let router = Router::new().route("/metrics", get(metrics_text)).with_state((shared, exposition));
    catching(router, Of::Readiness, answer::error)
}

async fn metrics_text(State((shared, exposition)): State<(Arc<Shared>, Exposition)>) -> Response {
    measure(&shared);
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], exposition.render()).into_response()
}

/// Measures what is not counted as it happens, now and then. Never returns.
pub(crate) async fn run(shared: &Shared) {
    loop {
        measure(shared);
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}

/// A callback, or what else came on its road, was answered.
pub(crate) fn callback(kind: &'static str, result: &'static str) {
    counter!(CALLBACKS, "kind" => kind, "result" => result).increment(1);
}

/// An authentic message was applied, or was not.
pub(crate) fn applied(kind: &'static str, result: &'static str, took: Duration) {
    histogram!(APPLY_SECONDS, "kind" => kind, "result" => result).record(took.as_secs_f64());
}

/// Groups that touch no breaker.
pub(crate) fn unkeyed(groups: usize) {
    if groups > 0 {
        counter!(UNKEYED).increment(groups as u64);
    }
}

/// A new key beyond `max_keys`.
pub(crate) fn key_refused(name: &str) {
    counter!(KEYS_REFUSED, "breaker" => name.to_owned()).increment(1);
}

/// A request beyond a limit.
pub(crate) fn refused(of: Of, why: &'static str) {
    counter!(SHED, "of" => of.name(), "why" => why).increment(1);
}

/// These may come: told as none from the beginning, since an alert sees no first one that comes out of nothing.
pub(crate) fn refuses(of: Of, whys: &[&'static str]) {
    whys.iter().for_each(|why| counter!(SHED, "of" => of.name(), "why" => *why).increment(0));
}

/// A transition was committed.
pub(crate) fn transition(name: &str, from: BreakerState, to: BreakerState, cause: &Cause) {
    if from != to {
        let labels =
            [("breaker", name.to_owned()), ("to", to.to_string()), ("cause", cause_name(cause).to_owned())];
        counter!(TRANSITIONS, &labels).increment(1);
    }
    if let Cause::Person { act, .. } = cause {
        ordered(act);
    }
}

/// A person's order was carried out.
pub(crate) fn ordered(act: &'static str) {
    counter!(ORDERS, "act" => act).increment(1);
}

/// Another breakers' file came.
pub(crate) fn reloaded(result: &'static str) {
    counter!(RELOADS, "result" => result).increment(1);
}

/// What became of notifications, or of a try.
pub(crate) fn notified(to: &str, result: &'static str, count: usize) {
    if count > 0 {
        counter!(NOTIFICATIONS, "to" => to.to_owned(), "result" => result).increment(count as u64);
    }
}

/// How a cause is named in logs and labels.
pub(crate) fn cause_name(cause: &Cause) -> &'static str {
    match cause {
        Cause::Report { .. } => "report",
        Cause::Hint { .. } => "hint",
        Cause::HintLapsed => "hint_lapsed",
        Cause::RampEnded => "ramp_ended",
        Cause::MinOpenEnded => "min_open_ended",
        Cause::Stale => "stale",
        Cause::OverrideEnded => "override_ended",
        Cause::FaultEnded => "fault_ended",
        Cause::Person { .. } => "person",
    }
}

/// How the breakers of one name are.
#[derive(Default)]
struct Name {
    closed: u32,
    open: u32,
    half_open: u32,
    forced_open: u32,
    forced_closed: u32,
    held: u32,
    watched_open: u32,
    faults: u32,
}

impl Name {
    fn count(&mut self, flag: &Flag, now_ms: i64) {
        match flag.state_at(now_ms) {
            BreakerState::Closed => self.closed += 1,
            BreakerState::Open => self.open += 1,
            BreakerState::HalfOpen => self.half_open += 1,
        }
        match flag.forced_at(now_ms) {
            Some(forced) if forced.state == Forced::Open => self.forced_open += 1,
            Some(_) => self.forced_closed += 1,
            None => {}
        }
        match (flag.mode, flag.would) {
            (Mode::Enforce, Some(BreakerState::Open)) => self.held += 1,
            (Mode::Watch, Some(BreakerState::Open)) => self.watched_open += 1,
            _ => {}
        }
        self.faults += u32::from(flag.fault.as_deref().is_some_and(|fault| fault.holds_at(now_ms)));
    }

    fn tell(&self, name: &str) {
        let of_state = |metric: &'static str, state: &'static str, count: u32| {
            gauge!(metric, "breaker" => name.to_owned(), "state" => state).set(f64::from(count));
        };
        of_state(BREAKERS, "closed", self.closed);
        of_state(BREAKERS, "open", self.open);
        of_state(BREAKERS, "half-open", self.half_open);
        of_state(OVERRIDES, "open", self.forced_open);
        of_state(OVERRIDES, "closed", self.forced_closed);
        let of_name = |metric: &'static str, count: u32| {
            gauge!(metric, "breaker" => name.to_owned()).set(f64::from(count));
        };
        of_name(HELD, self.held);
        of_name(WATCHED_OPEN, self.watched_open);
        of_name(FAULTS, self.faults);
    }
}

/// Measures what is not counted as it happens. Names that are not declared are left out: labels are declared names.
pub(crate) fn measure(shared: &Shared) {
    let now_ms = shared.clock.now_ms();
    gauge!(RECONCILE_AGE).set(seconds(shared.pulse.silent_ms(Heard::Reconcile, now_ms)));
    gauge!(READY).set(f64::from(u8::from(shared.declared.load(Relaxed))));
    gauge!(STREAMS).set(shared.streams_open() as f64);
    let breakers = shared.breakers();
    gauge!(MISTAKES).set(shared.in_use.since_and_mistakes().1 as f64);
    gauge!(REVISION).set(breakers.revision as f64);
    if let Some(bytes) = resident_bytes() {
        gauge!(RESIDENT).set(bytes as f64);
    }
    let Some(scope) = shared.board.scope() else { return };
    gauge!(STORE_AGE).set(seconds(scope.age_ms()));
    gauge!(PAUSED).set(f64::from(u8::from(scope.pause().is_some())));
    let names = breakers.declarations.iter().map(|declaration| (&*declaration.name, Name::default()));
    let mut names: BTreeMap<&str, Name> = names.collect();
    shared.board.each(|id, published| {
        if let Some(name) = names.get_mut(id.name()) {
            name.count(&published.flag, scope.now_ms);
        }
    });
    names.iter().for_each(|(name, counts)| counts.tell(name));
}

fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1_000.0
}

/// How much memory of this process is resident; none: the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string(PROCESS_STATUS).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_some_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1_000_000), "{:?}", resident_bytes());
    }
}
