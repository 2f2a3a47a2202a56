//! The scheduled run: the same reports as by notification, of all managed monitors, whether or not anything changed.
//!
//! It heals what a lost, late or doubled message left wrong, and does the same work in good times and in bad. There is no
//! notification, so the URLs are those that stand literally in the monitors' own messages. A complete run ends with an
//! inventory for each URL: what two of them lack is gone.
//!
//! A callback that fails does not fail the run, for the next one sends it again: one monitor that nobody declared, or
//! one service that is down, must not hide that all others are well. A list that is cut short does, and so does the
//! end of time; then no inventory is sent, for it would call monitors gone that were not looked at.

mod send;

pub use send::{CALLS_AT_ONCE_MAX, CALLS_PER_HOST_MAX, HOST_FAILURES_MAX, START_MARGIN};

use super::failure::{FailureCause, Failures, InvocationError};
use super::{Function, read_until};
use crate::datadog::{ListedMonitor, Listing};
use crate::guard::CallbackUrl;
use crate::template::Directives;
use cutout_core::Chain;
use cutout_core::report::{INVENTORY_SCHEMA, Inventory, Report};
use send::{Body, Call, Sender, Tally};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;

const SCHEDULED_EVENT: &str = "Scheduled Event";
/// EventBridge's rules and its Scheduler, as they name themselves.
const SCHEDULERS: [&str; 2] = ["aws.events", "aws.scheduler"];

/// Whether an event asks for a scheduled run: a schedule of EventBridge, or any object with `"cutout": "reconcile"`.
pub(super) fn is_asked_by(event: &Value) -> bool {
    let scheduled = || {
        event.get("detail-type").is_some_and(|kind| kind == SCHEDULED_EVENT)
            && event.get("source").is_some_and(|source| SCHEDULERS.iter().any(|known| source == known))
    };
    event.get("cutout").is_some_and(|asked| asked == "reconcile") || scheduled()
}

impl Function {
    /// Sends the report of every managed monitor to every URL that it names.
    ///
    /// # Errors
    /// If the list of monitors or the time ended too early, after all was sent that could be.
    pub(super) async fn reconcile(&self, deadline: Instant) -> Result<(), InvocationError> {
        let started = Instant::now();
        let mut failures = Failures::default();
        let mut listing = self.datadog.monitors(&self.managed_tag, read_until(deadline)).await;
        if let Some(error) = listing.cut_short.take() {
            failures.note(FailureCause::List(error));
        }
        let plan = self.plan(&listing);
        let signing = match self.signing.current(Instant::now(), deadline).await {
            Ok(known) => known.value,
            Err(error) => {
                failures.note(FailureCause::Signing(error));
                return InvocationError::of(failures.told());
            }
        };
        let sender = Sender::new(self, &signing, plan.urls.iter().map(CallbackUrl::host), deadline);
        let callbacks = sender.send(plan.callbacks()).await;
        let inventory = listing.as_of.filter(|_| failures.is_empty() && callbacks.unsent == 0);
        let inventory = inventory.map(|as_of| Inventory {
            schema: INVENTORY_SCHEMA.to_owned(),
            as_of,
            to: String::new(),
            monitor_ids: listing.monitors.keys().copied().collect(),
        });
        let inventories =
            sender.send(inventory.iter().flat_map(|inventory| plan.inventories(inventory))).await;
        let unsent = callbacks.unsent + inventories.unsent;
        if unsent > 0 {
            failures.note(FailureCause::Incomplete { unsent });
        }
        log_run(&listing, &plan, [callbacks, inventories], sender.skipped_hosts(), started);
        InvocationError::of(failures.told())
    }

    /// What to send where.
    fn plan<'a>(&self, listing: &'a Listing) -> Plan<'a> {
        let mut plan = Plan::default();
        for (id, ListedMonitor { message, report, .. }) in &listing.monitors {
            let directives = Directives::read(message);
            if directives.templated > 0 {
                plan.templated += directives.templated;
                tracing::warn!(
                    monitor_id = id,
                    urls = directives.templated,
                    "a callback URL with template variables is skipped: write it out in the monitor's message"
                );
            }
            let mut failures = Failures::about_monitor(*id);
            let urls = self.guarded(&directives.urls, &mut failures);
            match report {
                Ok(report) => plan.reports.extend(urls.iter().map(|url| (url.clone(), *id, report))),
                Err(error) => {
                    plan.unreadable += 1;
                    tracing::warn!(
                        monitor_id = id,
                        error = %Chain(error),
                        "a monitor's report is skipped"
                    );
                }
            }
            plan.urls.extend(urls);
            plan.unsendable += failures.told_until_next_run();
        }
        plan
    }
}

/// What a run has to send, and what it found that it cannot.
#[derive(Default)]
struct Plan<'a> {
    reports: Vec<(CallbackUrl, u64, &'a Report)>,
    /// Every URL that a monitor names.
    urls: BTreeSet<CallbackUrl>,
    /// URLs that depend on what is rendered.
    templated: usize,
    /// URLs that the guard refuses.
    unsendable: usize,
    /// Monitors whose groups the list does not tell.
    unreadable: usize,
}

impl Plan<'_> {
    fn callbacks(&self) -> impl Iterator<Item = Call<'_>> {
        let reports = self.reports.iter();
        reports.map(|(url, monitor_id, report)| Call { url, body: Body::Report(*monitor_id, report) })
    }

    fn inventories<'a>(&'a self, inventory: &'a Inventory) -> impl Iterator<Item = Call<'a>> {
        self.urls.iter().map(|url| Call { url, body: Body::Inventory(inventory) })
    }
}

fn log_run(
    listing: &Listing,
    plan: &Plan<'_>,
    [callbacks, inventories]: [Tally; 2],
    skipped_hosts: usize,
    started: Instant,
) {
    tracing::info!(
        step = "reconcile",
        monitors = listing.monitors.len(),
        unreadable = plan.unreadable,
        urls = plan.urls.len(),
        templates_skipped = plan.templated,
        sent = callbacks.sent,
        refused = callbacks.refused + inventories.refused,
        failed = plan.unsendable + callbacks.failed + inventories.failed,
        skipped = callbacks.skipped + inventories.skipped,
        unsent = callbacks.unsent + inventories.unsent,
        skipped_hosts,
        inventories = inventories.sent,
        ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "reconciled"
    );
}
