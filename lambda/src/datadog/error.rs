//! Why Datadog could not be read, and whether reading again may help.

use super::list::{PAGE_SIZE, PAGES_MAX};
use crate::secrets::SecretError;
use std::fmt;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A monitor with the states of its groups.
    Monitor(u64),
    /// An event.
    Event(u64),
    /// One page of the list of managed monitors.
    Monitors {
        /// Its number, from 0.
        page: u32,
    },
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Monitor(id) => write!(f, "monitor {id}"),
            Resource::Event(id) => write!(f, "event {id}"),
            Resource::Monitors { page } => write!(f, "page {page} of the managed monitors"),
        }
    }
}

/// A read of Datadog that failed: what was read, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("reading {resource} from Datadog failed")]
pub struct ReadError {
    /// What was read.
    pub resource: Resource,
    /// Why it failed.
    #[source]
    pub cause: ReadFailure,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// The keys cannot be had.
    #[error("Datadog's keys cannot be had")]
    NoKeys(#[source] SecretError),
    /// 401 or 403.
    #[error(
        "Datadog refused the keys (status {status}): check DD_API_KEY and DD_APP_KEY, that both belong to DD_SITE, and that the application key may read monitors and events (monitors_read, events_read)"
    )]
    Forbidden {
        /// The status.
        status: u16,
    },
    /// 404.
    #[error(
        "Datadog does not know it (status 404): it was deleted, it is not readable yet, or DD_SITE and the keys belong to another organisation"
    )]
    NotFound,
    /// 429, or the page before was the last one that the limit allows; and the limit does not reset in time.
    #[error(
        "Datadog's rate limit is reached ({}): ask Datadog to raise it, or let fewer readers share it",
        reset(*reset_secs)
    )]
    RateLimited {
        /// `X-RateLimit-Reset`, if it was told.
        reset_secs: Option<u64>,
    },
    /// Any other status than 200.
    #[error("Datadog answered status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// No whole answer in time.
    #[error("Datadog did not answer in time")]
    Timeout,
    /// No connection, or a broken one.
    #[error("Datadog cannot be reached: check the way out of the function's network")]
    Unreachable(#[source] reqwest::Error),
    /// The answer exceeds the limit for its kind.
    #[error("Datadog's answer exceeds {limit_bytes} bytes: give its monitors fewer groups")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The list of managed monitors does not end.
    #[error(
        "there are more managed monitors than {PAGES_MAX} pages of {PAGE_SIZE} hold: let another function with a tag of its own have some of them"
    )]
    TooManyPages,
    /// The answer is not what Datadog documents.
    #[error("Datadog's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// A grouped monitor without a list of groups. Taking it for "no groups" would make every signal vanish.
    #[error("Datadog's answer does not tell the states of the monitor's groups")]
    GroupsUntold,
}

fn reset(secs: Option<u64>) -> String {
    secs.map_or_else(|| "reset not told".to_owned(), |secs| format!("resets in {secs} s"))
}

impl ReadError {
    /// Whether Datadog says that it does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.cause, ReadFailure::NotFound)
    }

    /// Whether reading again, later and unchanged, may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.cause {
            // An event is readable only seconds after it happened.
            ReadFailure::NotFound => matches!(self.resource, Resource::Event(_)),
            ReadFailure::NoKeys(error) => error.is_retryable(),
            ReadFailure::Forbidden { .. } | ReadFailure::TooLarge { .. } | ReadFailure::TooManyPages => false,
            ReadFailure::Status { status } => *status == 408 || *status >= 500,
            ReadFailure::RateLimited { .. }
            | ReadFailure::Timeout
            | ReadFailure::Unreachable(_)
            | ReadFailure::Unreadable(_)
            | ReadFailure::GroupsUntold => true,
        }
    }
}
