//! Tells people and programs of transitions: Slack-compatible incoming webhooks, and signed generic ones.
//!
//! Each destination is a group of readers of the audit stream: of all instances one delivers an entry, and if it dies another one
//! takes over. So each entry arrives at least once, with the stream's id; nothing of it stands in a callback's way. One destination
//! never waits for another.
//!
//! The destinations are set by whoever runs the service and not by the text of a monitor, so no guard stands before them; time, redirects and bodies are
//! bounded all the same. Left out: what is written to the audit stream (`decision`, `order`).

mod delivery;
pub(crate) mod destination;
mod message;

pub use destination::{DESTINATIONS_MAX, Destination};

use crate::Shared;
use crate::backoff::Backoff;
use crate::metrics;
use cutout_core::BreakerId;
use cutout_core::Chain;
use cutout_flags::{AuditId, Audited, StoreError, TakenOver};
use delivery::{Delivery, TryError};
use futures_util::future::join_all;
use std::time::Duration;

/// How long one wait for an entry lasts. Between two waits what others have left is looked at.
const WAIT: Duration = Duration::from_secs(5);
/// An entry that its reader has not kept for so long is taken over: he is gone.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How often a reader at work says so.
const KEEP_EVERY: Duration = Duration::from_secs(3);
/// How often an entry is tried.
const TRIES_MAX: u32 = 8;
/// The wait after the first failure; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest wait, also where the destination asks for a longer one.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// An entry older than this is tried once: while a destination is away for long, the newest matters most.
const OLD_AFTER_MS: u64 = 3_600_000;

/// Delivers to every destination. Never returns.
pub(crate) async fn run(shared: &Shared, destinations: Vec<Destination>) {
    shared.in_use.asked_by(destinations.iter().map(Destination::wanted).collect());
    let reader = format!("{:016x}", fastrand::u64(..));
    let deliveries = destinations.into_iter().filter_map(|destination| match Delivery::new(destination) {
        Ok(delivery) => Some(delivery),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a destination of notifications cannot be used");
            None
        }
    });
    let each = deliveries.map(|delivery| follow(shared, &reader, delivery));
    join_all(each.collect::<Vec<_>>()).await;
    std::future::pending::<()>().await;
}

/// One destination.
struct Reader<'a> {
    shared: &'a Shared,
    name: &'a str,
    group: String,
    delivery: Delivery,
}

async fn follow(shared: &Shared, name: &str, delivery: Delivery) {
    let group = format!("notify-{}", delivery.to());
    let reader = Reader { shared, name, group, delivery };
    let mut backoff = Backoff::default();
    let mut was_there = false;
    loop {
        let Err(error) = reader.read(&mut was_there).await;
        tracing::warn!(to = reader.delivery.to(), error = %Chain(&error), "notifications: the store failed, trying again");
        backoff.wait().await;
    }
}

impl Reader<'_> {
    /// Reads and delivers until the store fails. A group that was there and is gone was lost with the store's data: then everything that is there now is
    /// news. Otherwise it begins with what is written from now on.
    async fn read(&self, was_there: &mut bool) -> Result<std::convert::Infallible, StoreError> {
        let store = &*self.shared.parts.store;
        store.audit_group(&self.group, *was_there).await?;
        *was_there = true;
        loop {
            let TakenOver { entry, trimmed, unread } =
                store.audit_take_over(&self.group, self.name, IDLE_MAX).await?;
            if trimmed + unread > 0 {
                let to = self.delivery.to();
                tracing::error!(
                    to,
                    trimmed,
                    unread,
                    "notifications are lost: the audit stream does not keep them any more"
                );
                metrics::notified(to, "trimmed", trimmed);
                metrics::notified(to, "unread", unread);
            }
            let entry = match entry {
                Some(entry) => Some(entry),
                None => store.audit_next(&self.group, self.name, WAIT).await?,
            };
            if let Some(entry) = entry {
                let id = entry.id;
                tokio::select! {
                    () = self.deliver(&entry) => {}
                    error = self.keep(id) => return Err(error),
                }
                store.audit_done(&self.group, id).await?;
            }
        }
    }

    /// Says again and again that this reader is at work on an entry.
    async fn keep(&self, id: AuditId) -> StoreError {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            if let Err(error) = self.shared.parts.store.audit_keep(&self.group, self.name, id).await {
                return error;
            }
        }
    }

    /// Delivers an entry, or gives it up: that is a line in the log, and counted.
    async fn deliver(&self, entry: &Audited) {
        let to = self.delivery.to();
        let Some(message) = self.delivery.message(entry) else { return };
        let mut pause = PAUSE_FIRST;
        let is_old = self.shared.clock.now_ms().unsigned_abs().saturating_sub(entry.id.at_ms) > OLD_AFTER_MS;
        let tries_max = if is_old { 1 } else { TRIES_MAX };
        for tries in 1.. {
            let error = match self.delivery.send(&message).await {
                Ok(()) => return metrics::notified(to, "delivered", 1),
                Err(error) => error,
            };
            if tries >= tries_max || !error.is_retryable() {
                metrics::notified(to, "given_up", 1);
                let (id, breaker) = (entry.id.to_string(), entry.breaker.as_ref().map(BreakerId::as_str));
                tracing::error!(to, id, breaker, tries, error = %Chain(&error), "a notification is given up");
                return;
            }
            metrics::notified(to, "failed", 1);
            tracing::warn!(to, id = %entry.id, tries, error = %Chain(&error), "a notification failed: trying again");
            tokio::time::sleep(wait(pause, &error)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The wait before the next try: what was asked for, or half to the whole of `pause`.
fn wait(pause: Duration, error: &TryError) -> Duration {
    match error.retry_after() {
        Some(asked) => asked.min(PAUSE_MAX),
        None => pause.mul_f64(0.5 + fastrand::f64() / 2.0),
    }
}
