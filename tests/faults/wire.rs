//! Callbacks as the function sends them.

use crate::world::{Monitor, Sent, inventory};
use cutout_core::report::Reason;
use cutout_core::webhook::{self, Secret};
use cutout_tests::canary;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The service's own URL, as monitors name it.
pub(crate) const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const PATH: &str = "/dd_circuit_breaker/callback";
/// How long the function waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sender that was turned away waits before its next callback.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends callbacks to the instances of a service in turn.
#[derive(Clone)]
pub(crate) struct Sender {
    http: reqwest::Client,
    secret: Secret,
    instances: Arc<Vec<SocketAddr>>,
    /// How many callbacks were sent, to take the instances in turn.
    sent: Arc<AtomicUsize>,
}

/// A storm of callbacks that goes on until it is told to end.
pub(crate) struct Storm {
    senders: JoinSet<(usize, Monitor)>,
    end: Arc<AtomicBool>,
    /// When the last callback was asked that was acknowledged.
    last: watch::Sender<Option<Instant>>,
}

impl Sender {
    pub(crate) fn to(instances: impl IntoIterator<Item = SocketAddr>) -> Sender {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build().unwrap();
        let secret = canary::SIGNING_SECRET.parse().unwrap();
        Sender { http, secret, instances: Arc::new(instances.into_iter().collect()), sent: Arc::default() }
    }

    /// Posts a signed body to the next instance. True: it was answered 200.
    pub(crate) async fn post(&self, body: String) -> bool {
        let at = self.instances[self.sent.fetch_add(1, Ordering::Relaxed) % self.instances.len()];
        let (id, secs) = (webhook::message_id(URL, body.as_bytes()), Timestamp::now().as_second());
        let signature = webhook::sign(std::slice::from_ref(&self.secret), &id, secs, body.as_bytes());
        let request = self.http.post(format!("http://{at}{PATH}")).body(body);
        let request = request.header(webhook::ID_HEADER, id).header(webhook::TIMESTAMP_HEADER, secs);
        let answer = request.header(webhook::SIGNATURE_HEADER, signature).send().await;
        answer.is_ok_and(|answer| answer.status() == reqwest::StatusCode::OK)
    }

    async fn post_if(&self, sent: Option<&Sent>) -> bool {
        match sent {
            Some(sent) => self.post(sent.body.clone()).await,
            None => false,
        }
    }

    /// Sends the monitor's present report. True: it was answered 200.
    pub(crate) async fn report(&self, monitor: &mut Monitor, reason: Reason) -> bool {
        let (sent, asked) = (monitor.report(reason), Instant::now());
        let acknowledged = self.post(sent.body.clone()).await;
        if acknowledged {
            monitor.acknowledge(sent, asked);
        }
        acknowledged
    }

    /// What a scheduled run sends: every monitor, then the inventory. Gives how many of these were not answered 200.
    pub(crate) async fn reconcile(&self, monitors: &mut [Monitor]) -> u64 {
        let mut refused = 0;
        for monitor in &mut *monitors {
            refused += u64::from(!self.report(monitor, Reason::Reconcile).await);
        }
        refused + u64::from(!self.post(inventory(monitors)).await)
    }

    /// Lets every monitor change and report all the time, old reports among the new ones.
    pub(crate) fn storm(&self, monitors: Vec<Monitor>) -> Storm {
        let (mut senders, end) = (JoinSet::new(), Arc::<AtomicBool>::default());
        let last = watch::Sender::new(None);
        for (place, monitor) in monitors.into_iter().enumerate() {
            let (sender, end, last) = (self.clone(), Arc::clone(&end), last.clone());
            senders.spawn(async move { (place, sender.send_until(monitor, &end, &last).await) });
        }
        Storm { senders, end, last }
    }

    async fn send_until(
        &self,
        mut monitor: Monitor,
        end: &AtomicBool,
        last: &watch::Sender<Option<Instant>>,
    ) -> Monitor {
        while !end.load(Ordering::Relaxed) {
            let old = monitor.old_report();
            monitor.change_some();
            let (asked, news) = (Instant::now(), monitor.report(Reason::Notification));
            // Side by side, as a retry and what came after it: whoever is last must not win.
            let answers = tokio::join!(self.post_if(old.as_ref()), self.post_if(Some(&news)));
            for (sent, acknowledged) in [(old, answers.0), (Some(news), answers.1)] {
                if let Some(sent) = sent.filter(|_| acknowledged) {
                    monitor.acknowledge(sent, asked);
                }
            }
            if answers.1 {
                last.send_modify(|last| *last = (*last).max(Some(asked)));
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
        monitor
    }
}

impl Storm {
    /// Waits until a callback that was asked after `moment` is acknowledged.
    pub(crate) async fn acknowledged_after(&self, moment: Instant, patience: Duration) -> bool {
        let mut last = self.last.subscribe();
        let reached = last.wait_for(|last| last.is_some_and(|asked| asked > moment));
        tokio::time::timeout(patience, reached).await.is_ok()
    }

    /// Lets nothing more be sent; what is on the way stays so.
    pub(crate) fn stop(&self) {
        self.end.store(true, Ordering::Relaxed);
    }

    /// Ends it, and gives the monitors back in their order.
    pub(crate) async fn end(mut self) -> Vec<Monitor> {
        self.stop();
        let mut monitors = Vec::new();
        while let Some(sender) = self.senders.join_next().await {
            monitors.push(sender.unwrap());
        }
        monitors.sort_by_key(|(place, _)| *place);
        monitors.into_iter().map(|(_, monitor)| monitor).collect()
    }
}
