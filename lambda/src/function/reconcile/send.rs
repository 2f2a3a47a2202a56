//! Sending what a run has to say: many callbacks at a time, few of them to one host, none to a host that is down.
//!
//! Each host has a queue of its own, so that a slow one keeps no other waiting. A host counts as down after a few
//! callbacks that it did not answer, or answered with "later"; one that answers "not this one" is up. Each call ends in
//! exactly one [`Outcome`].

use super::super::{CALLBACK_BYTES_MAX, Function, SOURCE, encode};
use super::{FailureCause, Failures};
use crate::callbacks::DeliverError;
use crate::guard::CallbackUrl;
use crate::settings::SigningSecrets;
use cutout_core::report::{CALLBACK_SCHEMA, Callback, Inventory, Reason, Report};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How many callbacks of a scheduled run are under way at a time.
pub const CALLS_AT_ONCE_MAX: usize = 32;
/// How many of them go to one host.
pub const CALLS_PER_HOST_MAX: usize = 4;
/// After so many failures a host gets nothing more in this run.
pub const HOST_FAILURES_MAX: usize = 3;
/// What must be left of the time to start another callback.
pub const START_MARGIN: Duration = Duration::from_secs(1);

/// The service declares no breaker for this monitor (DESIGN §4.4).
const UNDECLARED_STATUS: u16 = 422;

/// One POST.
pub(super) struct Call<'a> {
    pub(super) url: &'a CallbackUrl,
    pub(super) body: Body<'a>,
}

/// What it says.
pub(super) enum Body<'a> {
    /// The report of a monitor.
    Report(u64, &'a Report),
    /// All monitors that there are.
    Inventory(&'a Inventory),
}

/// What goes to one host.
#[derive(Default)]
struct Queue<'a> {
    calls: Vec<Call<'a>>,
    taken: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn take(&self) -> Option<&Call<'a>> {
        self.calls.get(self.taken.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    /// Committed.
    Sent,
    /// The service knows no breaker for the monitor.
    Refused,
    /// Not committed, for any other reason.
    Failed,
    /// Not tried, for its host is down.
    Skipped,
    /// Not tried, or not waited for, because the time is over.
    Unsent,
}

/// How many calls ended how.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) sent: usize,
    pub(super) refused: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    pub(super) unsent: usize,
}

/// The way out for one run.
pub(super) struct Sender<'a> {
    function: &'a Function,
    signing: &'a SigningSecrets,
    slots: Semaphore,
    /// How often each host failed.
    failures: BTreeMap<&'a str, AtomicUsize>,
    deadline: Instant,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        function: &'a Function,
        signing: &'a SigningSecrets,
        hosts: impl Iterator<Item = &'a str>,
        deadline: Instant,
    ) -> Sender<'a> {
        let failures = hosts.map(|host| (host, AtomicUsize::new(0))).collect();
        Sender { function, signing, slots: Semaphore::new(CALLS_AT_ONCE_MAX), failures, deadline }
    }

    /// Sends all of it, in order for each host.
    pub(super) async fn send(&self, calls: impl Iterator<Item = Call<'_>>) -> Tally {
        let mut queues = BTreeMap::<&str, Queue<'_>>::new();
        for call in calls {
            queues.entry(call.url.host()).or_default().calls.push(call);
        }
        let workers = queues.values().flat_map(|queue| std::iter::repeat_n(queue, CALLS_PER_HOST_MAX));
        join_all(workers.map(|queue| self.work(queue))).await.into_iter().flatten().collect()
    }

    /// Makes calls of one queue until none is left.
    async fn work(&self, queue: &Queue<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some(call) = queue.take() {
            outcomes.push(self.outcome(call).await);
        }
        outcomes
    }

    /// How many hosts were found to be down.
    pub(super) fn skipped_hosts(&self) -> usize {
        self.failures.keys().filter(|host| self.is_down(host)).count()
    }

    async fn outcome(&self, call: &Call<'_>) -> Outcome {
        let start_until = self.deadline.checked_sub(START_MARGIN).unwrap_or(self.deadline);
        let slot = tokio::time::timeout_at(start_until.into(), self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else { return Outcome::Unsent };
        if Instant::now() >= start_until {
            return Outcome::Unsent;
        }
        if self.is_down(call.url.host()) {
            return Outcome::Skipped;
        }
        let posted = match call.body() {
            Ok(body) => self.function.post(call.url, &body, self.signing, self.deadline).await,
            Err(cause) => Err(cause),
        };
        posted.map_or_else(|cause| self.failed(call, cause), |()| Outcome::Sent)
    }

    /// Tells a failure, and counts it against the host if it is the host's.
    fn failed(&self, call: &Call<'_>, cause: FailureCause) -> Outcome {
        let host = call.url.host();
        let outcome = match &cause {
            FailureCause::Deliver(DeliverError::Status { status: UNDECLARED_STATUS, .. }) => Outcome::Refused,
            FailureCause::Deadline => Outcome::Unsent,
            _ => Outcome::Failed,
        };
        let by_host = is_by_host(&cause);
        let mut failures = call.body.monitor_id().map_or_else(Failures::default, Failures::about_monitor);
        failures.note_at(Some(host.to_owned()), cause);
        failures.told_until_next_run();
        let before =
            self.failures.get(host).filter(|_| by_host).map(|count| count.fetch_add(1, Ordering::Relaxed));
        if before == Some(HOST_FAILURES_MAX - 1) {
            tracing::warn!(
                callback_host = host,
                failures = HOST_FAILURES_MAX,
                "the callback host failed too often: it gets nothing more in this run"
            );
        }
        outcome
    }

    fn is_down(&self, host: &str) -> bool {
        self.failures.get(host).is_some_and(|count| count.load(Ordering::Relaxed) >= HOST_FAILURES_MAX)
    }
}

/// Whether the next callback to the same host would fail too: it did not answer, or said "later". Several services may
/// stand behind one host, so that what one of them refuses says nothing about the others.
fn is_by_host(cause: &FailureCause) -> bool {
    match cause {
        FailureCause::Deliver(error @ DeliverError::Status { .. }) => error.is_retryable(),
        FailureCause::Deliver(_) => true,
        _ => false,
    }
}

impl Call<'_> {
    fn body(&self) -> Result<Vec<u8>, FailureCause> {
        let to = self.url.as_str().to_owned();
        let body = match self.body {
            Body::Inventory(inventory) => encode(&Inventory { to, ..inventory.clone() }),
            Body::Report(monitor_id, report) => encode(&Callback {
                schema: CALLBACK_SCHEMA.to_owned(),
                source: SOURCE.to_owned(),
                reason: Reason::Reconcile,
                to,
                event_id: None,
                monitor_id,
                notified: None,
                report: Some(report.clone()),
                event: None,
            }),
        }?;
        if body.len() > CALLBACK_BYTES_MAX {
            return Err(FailureCause::ReportTooLarge { bytes: body.len() });
        }
        Ok(body)
    }
}

impl Body<'_> {
    fn monitor_id(&self) -> Option<u64> {
        match self {
            Body::Report(monitor_id, _) => Some(*monitor_id),
            Body::Inventory(_) => None,
        }
    }
}

impl FromIterator<Outcome> for Tally {
    fn from_iter<I: IntoIterator<Item = Outcome>>(outcomes: I) -> Tally {
        let mut tally = Tally::default();
        for outcome in outcomes {
            *match outcome {
                Outcome::Sent => &mut tally.sent,
                Outcome::Refused => &mut tally.refused,
                Outcome::Failed => &mut tally.failed,
                Outcome::Skipped => &mut tally.skipped,
                Outcome::Unsent => &mut tally.unsent,
            } += 1;
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use crate::guard::SystemResolver;
    use jiff::Timestamp;
    use std::sync::Arc;

    #[tokio::test]
    async fn nothing_is_started_when_the_deadline_is_near() {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variables = [
            ("DD_API_KEY", "key"),
            ("DD_APP_KEY", "key"),
            ("CUTOUT_SIGNING_SECRETS", "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"),
            ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
            ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let function = Function::new(Settings::read(variables).unwrap(), Arc::new(SystemResolver)).unwrap();
        // Nobody listens there.
        let url = function.guard.check("http://127.0.0.1:1/").unwrap();
        let (schema, to) = (String::new(), String::new());
        let inventory = Inventory { schema, as_of: Timestamp::UNIX_EPOCH, to, monitor_ids: vec![] };
        let calls = || (0..5).map(|_| Call { url: &url, body: Body::Inventory(&inventory) });
        let now = Instant::now();
        let signing = function.signing.current(now, now).await.unwrap().value;
        let near = now + START_MARGIN;
        let tally = Sender::new(&function, &signing, [url.host()].into_iter(), near).send(calls()).await;
        assert_eq!((tally.unsent, tally.failed), (5, 0));
        let far = near + Duration::from_secs(60);
        let tally = Sender::new(&function, &signing, [url.host()].into_iter(), far).send(calls()).await;
        assert_eq!((tally.unsent, tally.failed + tally.skipped), (0, 5));
    }
}
