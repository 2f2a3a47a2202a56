//! The only place that speaks to Datadog: reads of one monitor and of one event.
//!
//! Every read is bounded in time and size. A rate limit that resets in time is waited for once. Redirects are not
//! followed, for the keys go along with every request. Over `https` the standard proxy variables of the environment
//! (`HTTPS_PROXY`, `NO_PROXY`) are honoured, for a function in a closed network may reach Datadog in no other way, and
//! what passes is encrypted; plain `http` is for a fake on loopback (see the settings) and uses none.
//!
//! Left out: lists of monitors, the v2 API (its event ids are not the ones in links), and writing.

mod answer;
mod error;
mod site;

pub use error::{ReadError, ReadFailure, Resource};
pub use site::{Site, UnknownSite};

use answer::{EventAnswer, MonitorAnswer};
use cutout_core::report::{Event, Report};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, DATE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The longest that one read of a monitor takes.
pub const MONITOR_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that one read of an event takes.
pub const EVENT_READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for a rate limit to reset; the bucket of monitor reads resets every 10 s.
pub const RATE_LIMIT_WAIT_MAX: Duration = Duration::from_secs(15);
/// The largest answer about a monitor that is read.
pub const MONITOR_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest answer about an event that is read.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const API_KEY_HEADER: HeaderName = HeaderName::from_static("dd-api-key");
const APP_KEY_HEADER: HeaderName = HeaderName::from_static("dd-application-key");
/// Header names compare without case: recordings hold three spellings.
const RATE_LIMIT_RESET_HEADER: &str = "x-ratelimit-reset";

/// An API or application key. Its `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub struct Key(HeaderValue);

impl Key {
    /// A key; white space around it, such as a file's last line break, is dropped.
    ///
    /// # Errors
    /// If it holds what no header may hold.
    pub fn new(text: &str) -> Result<Key, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(text.trim())?;
        value.set_sensitive(true);
        Ok(Key(value))
    }
}

/// Which Datadog to read, and with what.
#[derive(Debug, Clone)]
pub struct DatadogSettings {
    /// `DD_SITE`.
    pub site: Site,
    /// `CUTOUT_DATADOG_URL`: another base URL than the site's.
    pub url: Option<Url>,
    /// `DD_API_KEY`.
    pub api_key: Key,
    /// `DD_APP_KEY`.
    pub app_key: Key,
}

/// A reader of Datadog. Keep it across invocations: it keeps connections.
#[derive(Debug, Clone)]
pub struct Datadog {
    client: Client,
    base: String,
    site: Site,
}

/// What one GET brought.
struct Answer {
    date: Option<Timestamp>,
    body: Vec<u8>,
}

impl Datadog {
    /// A reader. The process must have installed its rustls crypto provider.
    ///
    /// # Errors
    /// If the TLS stack cannot be set up.
    pub fn new(settings: DatadogSettings) -> Result<Datadog, reqwest::Error> {
        let base = settings.url.map_or_else(|| settings.site.api_url(), String::from);
        let base = base.trim_end_matches('/').to_owned();
        let headers = [
            (API_KEY_HEADER, settings.api_key.0),
            (APP_KEY_HEADER, settings.app_key.0),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ];
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter(headers))
            .user_agent(concat!("cutout/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        let client = if base.starts_with("https:") { client } else { client.no_proxy() };
        Ok(Datadog { client: client.build()?, base, site: settings.site })
    }

    /// The report of a monitor: all its groups as Datadog tells them now. The last read ends at `until`.
    ///
    /// # Errors
    /// [`ReadError`], after one wait for a rate limit where `until` allows it.
    pub async fn monitor(&self, id: u64, until: Instant) -> Result<Report, ReadError> {
        let resource = Resource::Monitor(id);
        let failed = |cause| ReadError { resource, cause };
        let path = format!("/api/v1/monitor/{id}?group_states=all&with_downtimes=true");
        let get = || self.get(&path, MONITOR_BYTES_MAX, until.min(Instant::now() + MONITOR_READ_TIMEOUT));
        let answer = match get().await {
            Err(ReadFailure::RateLimited { reset_secs: Some(secs) }) if may_wait(secs, until) => {
                tracing::info!(
                    step = "monitor",
                    monitor_id = id,
                    reset_secs = secs,
                    "waiting for Datadog's rate limit"
                );
                tokio::time::sleep(Duration::from_secs(secs)).await;
                get().await
            }
            other => other,
        };
        let answer = answer.map_err(failed)?;
        let as_of = answer.date.unwrap_or_else(|| this_clock(id));
        let monitor: MonitorAnswer = answer.json().map_err(failed)?;
        monitor.report(id, as_of, self.site).ok_or_else(|| failed(ReadFailure::GroupsUntold))
    }

    /// An event. Datadog may answer 404 for half a minute after it happened.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn event(&self, id: u64, until: Instant) -> Result<Event, ReadError> {
        let failed = |cause| ReadError { resource: Resource::Event(id), cause };
        let until = until.min(Instant::now() + EVENT_READ_TIMEOUT);
        let answer =
            self.get(&format!("/api/v1/events/{id}"), EVENT_BYTES_MAX, until).await.map_err(failed)?;
        let event: EventAnswer = answer.json().map_err(failed)?;
        Ok(event.event(id, self.site))
    }

    async fn get(&self, path: &str, limit_bytes: usize, until: Instant) -> Result<Answer, ReadFailure> {
        let read = async {
            let response = self.client.get(format!("{}{path}", self.base)).send().await;
            let response = response.map_err(unreachable)?;
            judge(&response)?;
            let date = date(&response);
            Ok(Answer { date, body: body(response, limit_bytes).await? })
        };
        tokio::time::timeout_at(until.into(), read).await.unwrap_or(Err(ReadFailure::Timeout))
    }
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> Result<T, ReadFailure> {
        serde_json::from_slice(&self.body).map_err(ReadFailure::Unreadable)
    }
}

/// Whether a limit that resets in so many seconds leaves time for another read before `until`.
fn may_wait(reset_secs: u64, until: Instant) -> bool {
    let wait = Duration::from_secs(reset_secs);
    wait <= RATE_LIMIT_WAIT_MAX && Instant::now() + wait < until
}

/// The URL is left out of errors: the resource that is named says as much.
fn unreachable(error: reqwest::Error) -> ReadFailure {
    if error.is_timeout() { ReadFailure::Timeout } else { ReadFailure::Unreachable(error.without_url()) }
}

fn judge(response: &Response) -> Result<(), ReadFailure> {
    match response.status() {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(ReadFailure::Forbidden { status: response.status().as_u16() })
        }
        StatusCode::NOT_FOUND => Err(ReadFailure::NotFound),
        StatusCode::TOO_MANY_REQUESTS => {
            let reset = response.headers().get(RATE_LIMIT_RESET_HEADER);
            let reset_secs = reset.and_then(|secs| secs.to_str().ok()?.trim().parse().ok());
            Err(ReadFailure::RateLimited { reset_secs })
        }
        other => Err(ReadFailure::Status { status: other.as_u16() }),
    }
}

fn date(response: &Response) -> Option<Timestamp> {
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let since_epoch = httpdate::parse_http_date(date).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::from_second(i64::try_from(since_epoch.as_secs()).ok()?).ok()
}

/// Stands in only where a proxy cut the header off: the order of reports rests on Datadog's own clock.
fn this_clock(monitor_id: u64) -> Timestamp {
    tracing::warn!(step = "monitor", monitor_id, "Datadog's answer has no readable Date: using this clock");
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

async fn body(mut response: Response, limit_bytes: usize) -> Result<Vec<u8>, ReadFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(ReadFailure::TooLarge { limit_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
