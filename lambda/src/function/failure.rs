//! What can fail in one invocation, and how it is told: one log line each, and all of them to AWS.
//!
//! Texts hold hosts and numbers, never a message, a URL's path or query, or a secret.

use crate::callbacks::{CallbacksError, DeliverError};
use crate::datadog::ReadError;
use crate::guard::Refused;
use crate::notification::{Notification, Unreadable};
use crate::secrets::SecretError;
use crate::trust::TrustError;
use cutout_core::Chain;
use serde::Serialize;
use std::error::Error;
use std::fmt;

/// How much of an invocation's failures is told to AWS, in characters. The log has them whole.
const MESSAGE_LEN_MAX: usize = 8_000;

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The way out for callbacks cannot be set up.
    #[error("setting up callbacks failed")]
    Callbacks(#[from] CallbacksError),
    /// Nobody is trusted.
    #[error("setting up the CA certificates failed")]
    Trust(#[source] TrustError),
    /// The way to the secrets that AWS keeps cannot be set up.
    #[error("setting up the way to the secrets extension failed")]
    Extension(#[source] reqwest::Error),
    /// The reader of Datadog cannot be set up.
    #[error("setting up the reader of Datadog failed")]
    Datadog(#[source] reqwest::Error),
}

/// One thing that failed, and what it was about.
#[derive(Debug)]
pub struct Failure {
    /// The monitor, where the message names one.
    pub monitor_id: Option<u64>,
    /// The event, where the message names one.
    pub event_id: Option<u64>,
    /// The host of the callback, where it failed for one.
    pub callback_host: Option<String>,
    /// Why.
    pub cause: FailureCause,
}

/// Why something failed.
#[derive(Debug, thiserror::Error)]
pub enum FailureCause {
    /// A record of the event cannot be read.
    #[error("reading the notification failed")]
    Notification(#[source] Unreadable),
    /// The guard refuses a URL.
    #[error("the callback URL is refused")]
    Refused(#[source] Refused),
    /// A directive, and no monitor to report on.
    #[error(
        "the message has a directive but no monitor id: do not set the monitor's notification_preset_name to \
         hide_all, hide_handles_and_footer or show_only_snapshot, which drop the links that hold it"
    )]
    NoMonitorId,
    /// More distinct URLs than one message may have.
    #[error(
        "the message has {urls} callback URLs, more than {}: those beyond are not called",
        super::CALLBACKS_PER_MESSAGE_MAX
    )]
    TooManyUrls {
        /// How many.
        urls: usize,
    },
    /// Datadog cannot be read.
    #[error("reading the monitor failed")]
    Read(#[source] ReadError),
    /// The list of managed monitors cannot be read to its end.
    #[error("reading the managed monitors failed; those that were read are served")]
    List(#[source] ReadError),
    /// What signs callbacks cannot be had.
    #[error("no callback can be signed")]
    Signing(#[source] SecretError),
    /// The report does not fit into a callback.
    #[error(
        "the callback would have {bytes} bytes, more than {}, and is not sent with the report: give the monitor fewer groups",
        super::CALLBACK_BYTES_MAX
    )]
    ReportTooLarge {
        /// The size with the report.
        bytes: usize,
    },
    /// The callback cannot be written as JSON.
    #[error("writing the callback failed")]
    Encode(#[source] serde_json::Error),
    /// What a drill is to do cannot be read.
    #[error("the drill cannot be read: give `to`, `breaker`, `opens` and `for_secs`")]
    Drill(#[source] serde_json::Error),
    /// The callback is not known to be committed.
    #[error("delivering the callback failed")]
    Deliver(#[source] DeliverError),
    /// The invocation's time is over before the callback was answered.
    #[error("the invocation's time is over before the callback was answered: raise the function's timeout")]
    Deadline,
    /// The invocation's time was over before a scheduled run had sent everything.
    #[error(
        "the invocation's time is over with {unsent} callbacks of the scheduled run not sent: raise the function's timeout"
    )]
    Incomplete {
        /// How many.
        unsent: usize,
    },
}

impl Failure {
    /// The stage that failed: one word of a fixed set.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self.cause {
            FailureCause::Notification(_) => "notification",
            FailureCause::Refused(_) | FailureCause::TooManyUrls { .. } => "guard",
            FailureCause::NoMonitorId => "ids",
            FailureCause::Read(_) => "monitor",
            FailureCause::List(_) => "list",
            FailureCause::Signing(_) => "secret",
            FailureCause::Drill(_) => "drill",
            FailureCause::ReportTooLarge { .. } | FailureCause::Encode(_) => "body",
            FailureCause::Deliver(_) | FailureCause::Deadline | FailureCause::Incomplete { .. } => "deliver",
        }
    }

    /// Whether invoking the function again with the same event may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.cause {
            FailureCause::Read(error) | FailureCause::List(error) => error.is_retryable(),
            FailureCause::Signing(error) => error.is_retryable(),
            FailureCause::Deliver(error) => error.is_retryable(),
            FailureCause::Deadline | FailureCause::Incomplete { .. } => true,
            FailureCause::Notification(_)
            | FailureCause::Drill(_)
            | FailureCause::Refused(_)
            | FailureCause::NoMonitorId
            | FailureCause::TooManyUrls { .. }
            | FailureCause::ReportTooLarge { .. }
            | FailureCause::Encode(_) => false,
        }
    }

    fn log(&self) {
        tracing::error!(
            step = self.step(),
            monitor_id = self.monitor_id,
            event_id = self.event_id.map(|id| id.to_string()),
            callback_host = self.callback_host.as_deref(),
            retryable = self.is_retryable(),
            error = %Chain(&self.cause),
            "not delivered"
        );
    }

    /// Logs what does not fail a scheduled run, for the next one does the same again.
    fn log_until_next_run(&self) {
        tracing::warn!(
            step = self.step(),
            monitor_id = self.monitor_id,
            callback_host = self.callback_host.as_deref(),
            retryable = self.is_retryable(),
            error = %Chain(&self.cause),
            reason = "reconcile",
            "not delivered by this run"
        );
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.monitor_id {
            write!(f, "monitor {id}: ")?;
        }
        if let Some(host) = &self.callback_host {
            write!(f, "{host}: ")?;
        }
        write!(f, "{}", Chain(&self.cause))
    }
}

/// The failures of one record, or of a scheduled run, while it is handled.
#[derive(Default)]
pub(super) struct Failures {
    monitor_id: Option<u64>,
    event_id: Option<u64>,
    noted: Vec<Failure>,
}

impl Failures {
    pub(super) fn about(notification: &Notification) -> Failures {
        let Notification { monitor_id, event_id, .. } = *notification;
        Failures { monitor_id, event_id, noted: Vec::new() }
    }

    pub(super) fn about_monitor(id: u64) -> Failures {
        Failures { monitor_id: Some(id), ..Failures::default() }
    }

    pub(super) fn of_record(unreadable: Unreadable) -> Failures {
        let mut failures = Failures::default();
        failures.note(FailureCause::Notification(unreadable));
        failures
    }

    pub(super) fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    pub(super) fn note(&mut self, cause: FailureCause) {
        self.note_at(None, cause);
    }

    pub(super) fn note_at(&mut self, callback_host: Option<String>, cause: FailureCause) {
        let (monitor_id, event_id) = (self.monitor_id, self.event_id);
        self.noted.push(Failure { monitor_id, event_id, callback_host, cause });
    }

    /// Logs each one.
    pub(super) fn told(self) -> Vec<Failure> {
        self.noted.iter().for_each(Failure::log);
        self.noted
    }

    /// Logs each one as what the next scheduled run tries again, and tells how many there are.
    pub(super) fn told_until_next_run(self) -> usize {
        self.noted.iter().for_each(Failure::log_until_next_run);
        self.noted.len()
    }
}

/// An invocation that did not do all it was asked for.
#[derive(Debug)]
pub struct InvocationError {
    failures: Vec<Failure>,
    batch_answer: Option<BatchAnswer>,
}

/// What SQS is answered when only some messages of a batch failed: these come again, the others are done. SQS reads it
/// where the function's mapping has `ReportBatchItemFailures`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    batch_item_failures: Vec<BatchItemFailure>,
}

/// One message that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: String,
}

impl InvocationError {
    pub(super) fn of(failures: Vec<Failure>) -> Result<(), InvocationError> {
        if failures.is_empty() { Ok(()) } else { Err(InvocationError { failures, batch_answer: None }) }
    }

    /// Of the records of one event: the number that SQS gave each, and what failed of it.
    pub(super) fn of_records(records: Vec<(Option<String>, Vec<Failure>)>) -> Result<(), InvocationError> {
        let batch_answer = BatchAnswer::of(&records);
        let failures: Vec<_> = records.into_iter().flat_map(|(_, failures)| failures).collect();
        if failures.is_empty() { Ok(()) } else { Err(InvocationError { failures, batch_answer }) }
    }

    /// What to answer instead of an error: only where a part of a batch of SQS is done. A batch that failed as a whole
    /// is an error, which AWS counts and tries again whatever the mapping says.
    #[must_use]
    pub fn batch_answer(&self) -> Option<&BatchAnswer> {
        self.batch_answer.as_ref()
    }

    /// Everything that failed; never empty.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// A name for AWS: the stage that failed first.
    #[must_use]
    pub fn kind(&self) -> String {
        format!("Cutout.{}", self.failures.first().map_or("unknown", Failure::step))
    }

    /// Whether invoking the function again with the same event may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.failures.iter().any(Failure::is_retryable)
    }
}

impl BatchAnswer {
    /// None if not all records are of SQS, or none of them is done.
    fn of(records: &[(Option<String>, Vec<Failure>)]) -> Option<BatchAnswer> {
        let done = records.iter().any(|(_, failures)| failures.is_empty());
        let all_of_sqs = records.iter().all(|(sqs_id, _)| sqs_id.is_some());
        let failed = records.iter().filter(|(_, failures)| !failures.is_empty());
        let ids = failed.filter_map(|(sqs_id, _)| sqs_id.clone());
        (done && all_of_sqs).then(|| BatchAnswer {
            batch_item_failures: ids.map(|item_identifier| BatchItemFailure { item_identifier }).collect(),
        })
    }
}

impl fmt::Display for InvocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        let text = failures.join("; ");
        f.write_str(
            text.char_indices().nth(MESSAGE_LEN_MAX).and_then(|(end, _)| text.get(..end)).unwrap_or(&text),
        )
    }
}

impl Error for InvocationError {}
