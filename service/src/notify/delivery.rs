//! One POST to one destination, and one clear answer whether it took it.
//!
//! No redirect, one total time, nothing kept of the answer but its status: a body is not even read. Errors never name the URL, which is a secret.

use super::destination::{Destination, Form};
use super::message;
use cutout_core::webhook;
use cutout_flags::Audited;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};
use std::time::Duration;

/// How long one try may take: name, connection, request and status.
pub(crate) const TRY_TIMEOUT: Duration = Duration::from_secs(5);

const USER_AGENT: &str = concat!("cutout/", env!("CARGO_PKG_VERSION"));

/// A destination with a client of its own.
pub(super) struct Delivery {
    destination: Destination,
    client: Client,
}

/// A message to one destination: the same at every try.
pub(super) struct Message {
    id: String,
    body: Vec<u8>,
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TryError {
    /// Nobody answered, or not in time.
    #[error("the destination cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It answered something else than that it took it.
    #[error("the destination answered {status}")]
    Status {
        /// What it answered.
        status: StatusCode,
        /// When it wants the next try.
        retry_after: Option<Duration>,
    },
}

impl TryError {
    /// Whether the same may be taken later. A redirect, an unknown address or a refused body stay what they are.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            TryError::Unreachable(_) => true,
            TryError::Status { status, .. } => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
                    )
            }
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            TryError::Status { retry_after, .. } => *retry_after,
            TryError::Unreachable(_) => None,
        }
    }
}

impl Delivery {
    pub(super) fn new(destination: Destination) -> Result<Delivery, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(USER_AGENT)
            .timeout(TRY_TIMEOUT)
            .build()?;
        Ok(Delivery { destination, client })
    }

    /// The destination's name.
    pub(super) fn to(&self) -> &str {
        &self.destination.name
    }

    /// What is to be sent of an entry; none: nothing.
    pub(super) fn message(&self, entry: &Audited) -> Option<Message> {
        Some(Message { id: entry.id.to_string(), body: message::body(&self.destination, entry)? })
    }

    /// Sends a message once.
    pub(super) async fn send(&self, message: &Message) -> Result<(), TryError> {
        let Message { id, body } = message;
        let mut request = self.client.post(self.destination.url.clone());
        if let Form::Webhook(secrets) = &self.destination.form {
            let now_secs = Timestamp::now().as_second();
            let signature = webhook::sign(secrets, id, now_secs, body);
            request = request.header(webhook::ID_HEADER, id).header(webhook::TIMESTAMP_HEADER, now_secs);
            request = request.header(webhook::SIGNATURE_HEADER, signature);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        let answer = request.send().await.map_err(|error| TryError::Unreachable(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(TryError::Status { status, retry_after: asked.map(Duration::from_secs) })
    }
}
