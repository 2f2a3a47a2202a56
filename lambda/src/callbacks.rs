//! Callbacks out: one signed POST, and one clear answer whether the owning service committed it.
//!
//! One client is kept as long as the process, so that a warm function reuses its connections. It dials only what the
//! [`guard`](crate::guard) vetted, follows no redirect, knows no proxy and no cookie, and gives up after one total time.
//! What a service answers is read for its status; the body is read up to a limit only to free the connection, and
//! neither kept nor logged.
//!
//! Left out: when to try again. An error says whether that makes sense, the caller knows its deadline.

use crate::guard::{CallbackUrl, Guard, Refused, VettingResolver};
use crate::trust::{self, TrustError};
use cutout_core::webhook::{self, Secret};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, dns::Resolve, redirect};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How much of a response's body is read, in bytes. A longer one costs the connection.
pub const RESPONSE_BODY_LEN_MAX: usize = 64 * 1024;

const USER_AGENT: &str = concat!("cutout/", env!("CARGO_PKG_VERSION"));

/// The way out for callbacks. Make one a process.
#[derive(Debug, Clone)]
pub struct Callbacks {
    client: Client,
    timeout: Duration,
}

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum CallbacksError {
    /// The process has no TLS provider yet.
    #[error("preparing callbacks: no TLS provider; the program must install one before")]
    NoTlsProvider,
    /// Nobody is trusted.
    #[error("preparing callbacks: the CA certificates")]
    Trust(#[from] TrustError),
    /// The HTTP client could not be made.
    #[error("preparing callbacks: the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Why a callback is not committed, as far as the function can know. Names the host and nothing else of the URL.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// No signing secret was given, and an unsigned callback is sent to nobody.
    #[error("no signing secret for the callback host {host}; add {host}=whsec_… to CUTOUT_SIGNING_SECRETS")]
    Unsigned {
        /// The callback host.
        host: String,
    },
    /// The guard refused an address behind the name. Nothing was dialled.
    #[error("the callback is refused")]
    Refused(#[from] Refused),
    /// The host has no address that could be looked up. Nothing was dialled.
    #[error("resolving the callback host {host}")]
    Resolve {
        /// The callback host.
        host: String,
        /// The connector's error; a [`ResolveError`](crate::guard::ResolveError) is in its chain.
        #[source]
        source: reqwest::Error,
    },
    /// No connection, or no TLS on it.
    #[error("connecting to the callback host {host}")]
    Connect {
        /// The callback host.
        host: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("the callback host {host} gave no answer within {timeout_ms} ms (CUTOUT_CALLBACK_TIMEOUT)")]
    Timeout {
        /// The callback host.
        host: String,
        /// The time allowed for all of it: lookup, connection, request and answer.
        timeout_ms: u128,
    },
    /// The connection broke before there was an answer, or the answer was no HTTP.
    #[error("talking to the callback host {host}")]
    Exchange {
        /// The callback host.
        host: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// An answer other than 200: the service did not commit.
    #[error("the callback host {host} answered {status}; only 200 means committed")]
    Status {
        /// The callback host.
        host: String,
        /// The status code.
        status: u16,
        /// What its `Retry-After` asks for, in seconds from now.
        retry_after_secs: Option<u64>,
    },
}

impl DeliverError {
    /// Whether the same callback may succeed later with nothing changed by a person.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            DeliverError::Unsigned { .. } | DeliverError::Refused(_) => false,
            DeliverError::Resolve { .. }
            | DeliverError::Connect { .. }
            | DeliverError::Timeout { .. }
            | DeliverError::Exchange { .. } => true,
            DeliverError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
        }
    }

    /// The error of a request that got no answer. The guard's own error is found by its type.
    fn of_request(host: String, timeout: Duration, error: reqwest::Error) -> DeliverError {
        // reqwest puts the whole URL into its errors.
        let source = error.without_url();
        if let Some(refused) = cause::<Refused>(&source) {
            DeliverError::Refused(refused.clone())
        } else if source.is_dns() {
            DeliverError::Resolve { host, source }
        } else if source.is_timeout() {
            DeliverError::Timeout { host, timeout_ms: timeout.as_millis() }
        } else if source.is_connect() {
            DeliverError::Connect { host, source }
        } else {
            DeliverError::Exchange { host, source }
        }
    }
}

impl Callbacks {
    /// A way out that dials what `guard` lets pass of the answers of `resolver`, and gives each callback `timeout`.
    ///
    /// # Errors
    /// [`CallbacksError`]: no TLS provider is installed, or the CA certificates cannot be read.
    pub fn new(
        guard: Arc<Guard>,
        resolver: Arc<dyn Resolve>,
        timeout: Duration,
    ) -> Result<Callbacks, CallbacksError> {
        // reqwest would panic.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(CallbacksError::NoTlsProvider);
        }
        let client = Client::builder()
            .tls_backend_preconfigured(trust::tls()?)
            .dns_resolver(VettingResolver::new(guard, resolver))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .referer(false)
            .user_agent(USER_AGENT)
            .timeout(timeout)
            .build()
            .map_err(CallbacksError::Client)?;
        Ok(Callbacks { client, timeout })
    }

    /// Posts `body` (JSON) to `url`, signed by each of `secrets` for the time `now_secs` (Unix). `Ok`: the service
    /// answered 200, so it has committed. The same body to the same URL bears the same `webhook-id` at every attempt.
    ///
    /// # Errors
    /// [`DeliverError`]: the callback was not sent, or may not have been committed.
    pub async fn deliver(
        &self,
        url: &CallbackUrl,
        secrets: &[Secret],
        body: &[u8],
        now_secs: i64,
    ) -> Result<(), DeliverError> {
        let host = url.host().to_owned();
        if secrets.is_empty() {
            return Err(DeliverError::Unsigned { host });
        }
        let id = webhook::message_id(url.as_str(), body);
        let request = self
            .client
            .post(url.to_url())
            .header(CONTENT_TYPE, "application/json")
            .header(webhook::TIMESTAMP_HEADER, now_secs)
            .header(webhook::SIGNATURE_HEADER, webhook::sign(secrets, &id, now_secs, body))
            .header(webhook::ID_HEADER, id)
            .body(body.to_vec());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(DeliverError::of_request(host, self.timeout, error)),
        };
        let status = response.status();
        let retry_after_secs = retry_after_secs(&response, now_secs);
        drain(response).await;
        match status {
            StatusCode::OK => Ok(()),
            _ => Err(DeliverError::Status { host, status: status.as_u16(), retry_after_secs }),
        }
    }
}

/// Reads off the body, so that the connection can serve the next callback. The status has been said: what goes wrong
/// here changes nothing of it.
async fn drain(mut response: Response) {
    let mut len = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        len += chunk.len();
        if len > RESPONSE_BODY_LEN_MAX {
            return;
        }
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
fn retry_after_secs(response: &Response, now_secs: i64) -> Option<u64> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(secs) = text.parse() {
        return Some(secs);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(now_secs).ok()?);
    Some(at.duration_since(now).unwrap_or_default().as_secs())
}

/// The first error of type `E` among what caused `error`.
fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    std::iter::successors(error.source(), |&error| error.source()).find_map(|error| error.downcast_ref())
}
