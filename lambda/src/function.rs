//! The function: from a notification to a committed callback.
//!
//! [`Function::handle`] takes one event of SNS or SQS, or of a schedule. Nothing here retries: an invocation that ends in
//! an error is invoked again by AWS, and sending a callback twice changes nothing. So every record and every URL is served
//! before the errors are told, and a message without a directive costs no read of Datadog. What a report did not show yet
//! is read again (`reread`).
//!
//! Left out: whether the hint is believed and what the report means; the service decides both.

mod drill;
mod failure;
mod reconcile;
mod reread;

pub use failure::{BatchAnswer, Failure, FailureCause, InvocationError, SetupError};
pub use reconcile::{CALLS_AT_ONCE_MAX, CALLS_PER_HOST_MAX, HOST_FAILURES_MAX, START_MARGIN};
pub use reread::{REREAD_AGE_LIMIT_SECS, REREAD_MARGIN, REREADS_MAX};

use crate::callbacks::Callbacks;
use crate::datadog::{Datadog, ReadError, bears};
use crate::guard::{CallbackUrl, Guard};
use crate::notification::{Notification, Record, Unreadable, records};
use crate::secrets::{Extension, SecretSetting};
use crate::settings::{SIGNING_SECRETS, Settings, SigningSecrets};
use cutout_core::Chain;
use cutout_core::report::{CALLBACK_SCHEMA, Callback, Event, Reason, Report};
use failure::Failures;
use futures_util::future::{Either, join_all, select};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use reqwest::dns::Resolve;
use serde::Serialize;
use serde_json::Value;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many records of one event are handled at a time.
pub const RECORDS_AT_ONCE_MAX: usize = 8;
/// How many distinct URLs of one message are called. More is an error; the first ones are called all the same.
pub const CALLBACKS_PER_MESSAGE_MAX: usize = 16;
/// The largest body of a callback. What exceeds it is sent without report and event.
pub const CALLBACK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the event may still be awaited once the monitor is read. It only enriches.
pub const EVENT_GRACE: Duration = Duration::from_millis(100);
/// Reading may take this part of the time left, so that what is known can be delivered where Datadog does not answer.
const READ_TIME_DIVISOR: u32 = 2;

const SOURCE: &str = "datadog";

/// The function with its settings and connections. Keep it across invocations.
#[derive(Debug)]
pub struct Function {
    datadog: Datadog,
    guard: Arc<Guard>,
    callbacks: Callbacks,
    signing: SecretSetting<SigningSecrets>,
    managed_tag: String,
    reread_after: Duration,
}

impl Function {
    /// A function that looks callback hosts up with `resolver`. The process must have installed its rustls crypto
    /// provider.
    ///
    /// # Errors
    /// [`SetupError`] if the HTTP clients cannot be set up.
    pub fn new(settings: Settings, resolver: Arc<dyn Resolve>) -> Result<Function, SetupError> {
        let guard = Arc::new(Guard::new(settings.guard));
        let callbacks = Callbacks::new(guard.clone(), resolver, settings.callback_timeout)?;
        let extension = settings.extension.map(Extension::new).transpose()?;
        let extension = extension.map(Arc::new);
        let datadog = Datadog::new(settings.datadog, extension.clone())?;
        let signing = SecretSetting::new(SIGNING_SECRETS, settings.signing, extension);
        let (managed_tag, reread_after) = (settings.reconcile_tag, settings.reread_after);
        Ok(Function { datadog, guard, callbacks, signing, managed_tag, reread_after })
    }

    /// Handles one event: records of SNS or SQS, a scheduled run, a drill. `Ok`: every callback it asks for is committed, or it asks for none; a scheduled run was complete.
    ///
    /// # Errors
    /// Everything that failed, after all else was done. Each failure has been logged.
    pub async fn handle(&self, event: Value, deadline: Instant) -> Result<(), InvocationError> {
        if reconcile::is_asked_by(&event) {
            return self.reconcile(deadline).await;
        }
        if drill::is_asked_by(&event) {
            return self.drill(event, deadline).await;
        }
        let records = records(event).into_iter().map(|Record { sqs_id, notification }| async move {
            (sqs_id, self.handle_record(notification, deadline).await)
        });
        InvocationError::of_records(
            stream::iter(records).buffer_unordered(RECORDS_AT_ONCE_MAX).collect().await,
        )
    }

    async fn handle_record(
        &self,
        record: Result<Notification, Unreadable>,
        deadline: Instant,
    ) -> Vec<Failure> {
        let notification = match record {
            Ok(notification) => notification,
            Err(unreadable) => return Failures::of_record(unreadable).told(),
        };
        let mut failures = Failures::about(&notification);
        if notification.callback_urls.is_empty() {
            tracing::info!(monitor_id = notification.monitor_id, "no directive: nothing to do");
            return failures.told();
        }
        let urls = self.guarded(&notification.callback_urls, &mut failures);
        let Some(monitor_id) = notification.monitor_id else {
            failures.note(FailureCause::NoMonitorId);
            return failures.told();
        };
        if urls.is_empty() {
            return failures.told();
        }
        let (report, event) = self.read(monitor_id, notification.event_id, deadline).await;
        match report {
            Err(error) if error.is_not_found() => failures.note(FailureCause::Read(error)),
            report => {
                let report = report.map_err(|error| failures.note(FailureCause::Read(error))).ok();
                self.note_unmanaged(monitor_id, report.as_ref());
                let mut callback = callback(monitor_id, notification, report, event);
                self.deliver(&urls, &mut callback, deadline, &mut failures).await;
                self.read_again(&urls, callback, deadline, &mut failures).await;
            }
        }
        failures.told()
    }

    /// The URLs that may be called, each once.
    fn guarded(&self, texts: &[String], failures: &mut Failures) -> Vec<CallbackUrl> {
        if texts.len() > CALLBACKS_PER_MESSAGE_MAX {
            failures.note(FailureCause::TooManyUrls { urls: texts.len() });
        }
        let mut urls = Vec::new();
        for text in texts.iter().take(CALLBACKS_PER_MESSAGE_MAX) {
            match self.guard.check(text) {
                Ok(url) if urls.contains(&url) => {}
                Ok(url) => urls.push(url),
                Err(refused) => failures.note_at(host_of(text), FailureCause::Refused(refused)),
            }
        }
        urls
    }

    /// Reads the monitor and its event side by side. An event that cannot be read costs nothing but itself.
    async fn read(
        &self,
        monitor_id: u64,
        event_id: Option<u64>,
        deadline: Instant,
    ) -> (Result<Report, ReadError>, Option<Event>) {
        let until = read_until(deadline);
        let event = async {
            let read = self.datadog.event(event_id?, until).await;
            read.inspect_err(|error| {
                tracing::info!(
                    step = "event",
                    monitor_id,
                    event_id = event_id.map(|id| id.to_string()),
                    error = %Chain(error),
                    "the event cannot be read: going on without"
                );
            })
            .ok()
        };
        match select(pin!(self.datadog.monitor(monitor_id, until)), pin!(event)).await {
            Either::Left((report, event)) => {
                (report, tokio::time::timeout(EVENT_GRACE, event).await.ok().flatten())
            }
            Either::Right((event, report)) => (report.await, event),
        }
    }

    /// A monitor without the tag is served, but no scheduled run will ever correct what it says.
    fn note_unmanaged(&self, monitor_id: u64, report: Option<&Report>) {
        let tags = report.map(|report| &report.monitor.tags);
        if tags.is_some_and(|tags| !bears(tags, &self.managed_tag)) {
            let tag = &self.managed_tag;
            tracing::warn!(monitor_id, unmanaged = true, "unmanaged monitor: give it the bare tag `{tag}`");
        }
    }

    /// Sends a callback to each of the URLs. Report and event are taken out of it where they exceed what a service reads.
    async fn deliver(
        &self,
        urls: &[CallbackUrl],
        callback: &mut Callback,
        deadline: Instant,
        failures: &mut Failures,
    ) {
        let signing = match self.signing.current(Instant::now(), deadline).await {
            Ok(known) => known.value,
            Err(error) => return failures.note(FailureCause::Signing(error)),
        };
        let bodies: Vec<_> = urls.iter().map(|url| addressed(callback, url, failures)).collect();
        let signing = &signing;
        let deliveries = urls.iter().zip(bodies).map(|(url, body)| async move {
            let started = Instant::now();
            self.post(url, &body?, signing, deadline).await.map(|()| started.elapsed())
        });
        for (url, delivered) in urls.iter().zip(join_all(deliveries).await) {
            match delivered {
                Ok(took) => log_delivered(url, callback, took),
                Err(cause) => failures.note_at(Some(url.host().to_owned()), cause),
            }
        }
    }

    /// Signs a body for the host of a URL, and posts it there.
    async fn post(
        &self,
        url: &CallbackUrl,
        body: &[u8],
        signing: &SigningSecrets,
        deadline: Instant,
    ) -> Result<(), FailureCause> {
        let now_secs = Timestamp::now().as_second();
        let delivery = self.callbacks.deliver(url, signing.of(url.host()), body, now_secs);
        match tokio::time::timeout_at(deadline.into(), delivery).await {
            Ok(delivered) => delivered.map_err(FailureCause::Deliver),
            Err(_) => Err(FailureCause::Deadline),
        }
    }
}

fn callback(
    monitor_id: u64,
    notification: Notification,
    report: Option<Report>,
    event: Option<Event>,
) -> Callback {
    Callback {
        schema: CALLBACK_SCHEMA.to_owned(),
        source: SOURCE.to_owned(),
        reason: Reason::Notification,
        to: String::new(),
        event_id: notification.event_id.map(|id| id.to_string()),
        monitor_id,
        notified: notification.notified,
        report,
        event,
    }
}

/// The body for one URL, encoded once: without report and event where it would exceed what a service reads, which is noted.
fn addressed(
    callback: &mut Callback,
    url: &CallbackUrl,
    failures: &mut Failures,
) -> Result<Vec<u8>, FailureCause> {
    url.as_str().clone_into(&mut callback.to);
    let body = encode(callback)?;
    let is_least = callback.report.is_none() && callback.event.is_none();
    if body.len() <= CALLBACK_BYTES_MAX || is_least {
        return Ok(body);
    }
    failures.note(FailureCause::ReportTooLarge { bytes: body.len() });
    (callback.report, callback.event) = (None, None);
    encode(callback)
}

fn encode(message: &impl Serialize) -> Result<Vec<u8>, FailureCause> {
    serde_json::to_vec(message).map_err(FailureCause::Encode)
}

/// When to have read Datadog, so that time is left to tell what was read.
fn read_until(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / READ_TIME_DIVISOR
}

/// The host of a URL that the guard refused, if it can be told.
fn host_of(text: &str) -> Option<String> {
    url::Url::parse(text).ok()?.host_str().map(str::to_owned)
}

fn log_delivered(url: &CallbackUrl, callback: &Callback, took: Duration) {
    tracing::info!(
        step = "deliver",
        monitor_id = callback.monitor_id,
        event_id = callback.event_id.as_deref(),
        callback_host = url.host(),
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        groups = callback.report.as_ref().map(|report| report.groups.len()),
        reason = "notification",
        "callback committed"
    );
}
