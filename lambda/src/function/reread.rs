//! What a message tells and the report does not show yet: read again a little later.
//!
//! Datadog's reads may lag behind its messages by half a minute. An alert acts all the same, by its hint; but a recovery
//! would wait for the next scheduled run, and an alert's hint would not learn of the recovery after it. So, when the first
//! report is delivered, the function looks again a few times and sends the report that agrees. It costs only time of the
//! invocation, and only where they differ; what is not seen so the scheduled run brings.

use super::{Failures, Function, read_until};
use crate::guard::CallbackUrl;
use cutout_core::Chain;
use cutout_core::report::{Callback, Report};
use jiff::SignedDuration;
use std::time::{Duration, Instant};

/// How often a monitor is read again for one message.
pub const REREADS_MAX: usize = 2;
/// A message older than this, by its report's clock, is outdated and not ahead of a lagging read.
pub const REREAD_AGE_LIMIT_SECS: i64 = 120;
/// The time that must be left to the invocation after the wait, to read and to deliver.
pub const REREAD_MARGIN: Duration = Duration::from_secs(2);

impl Function {
    /// Reads again what `sent` did not show, and delivers it when it does. A read that fails is left to the next one: the
    /// message was served with the first report.
    pub(super) async fn read_again(
        &self,
        urls: &[CallbackUrl],
        sent: Callback,
        deadline: Instant,
        failures: &mut Failures,
    ) {
        if self.reread_after.is_zero() || is_outdated(&sent) {
            return;
        }
        let mut callback = sent;
        for nth in 1..=REREADS_MAX {
            let at = Instant::now() + self.reread_after;
            if callback.shows_what_was_told() || at + REREAD_MARGIN > deadline {
                return;
            }
            tokio::time::sleep_until(at.into()).await;
            let Some(report) = self.report_again(callback.monitor_id, nth, deadline).await else { continue };
            callback = Callback { report: Some(report), event: None, ..callback };
            if callback.shows_what_was_told() {
                return self.deliver(urls, &mut callback, deadline, failures).await;
            }
        }
    }

    async fn report_again(&self, monitor_id: u64, nth: usize, deadline: Instant) -> Option<Report> {
        let read = self.datadog.monitor(monitor_id, read_until(deadline)).await;
        match &read {
            Ok(_) => tracing::info!(
                step = "reread",
                monitor_id,
                nth,
                "read again: the report did not show the change"
            ),
            Err(error) => {
                tracing::info!(
                    step = "reread",
                    monitor_id,
                    nth,
                    error = %Chain(error),
                    "the monitor cannot be read again"
                );
            }
        }
        read.ok()
    }
}

/// Whether the message is too old for the report to be behind it.
fn is_outdated(sent: &Callback) -> bool {
    let (Some(told), Some(report)) = (&sent.notified, &sent.report) else { return true };
    report.as_of.duration_since(told.at) > SignedDuration::from_secs(REREAD_AGE_LIMIT_SECS)
}
