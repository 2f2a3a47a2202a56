//! The only place that speaks to Datadog: reads of one monitor, of one event, and of the list of managed monitors.
//!
//! Every read is bounded in time and size. A rate limit that resets in time is waited for once. Redirects are not
//! followed, for the keys go along with every request. Over `https` the standard proxy variables of the environment
//! (`HTTPS_PROXY`, `NO_PROXY`) are honoured, for a function in a closed network may reach Datadog in no other way, and
//! what passes is encrypted; plain `http` is for a fake on loopback (see the settings) and uses none.
//!
//! Left out: the v2 API (its event ids are not the ones in links), and writing.

mod answer;
mod definition;
mod error;
mod list;
mod site;

pub use error::{ReadError, ReadFailure, Resource};
pub use list::{ListedMonitor, Listing, PAGE_SIZE, PAGES_MAX, bears};
pub use site::{Site, UnknownSite};

use crate::function::SetupError;
use crate::secrets::{Extension, FromSecret, Known, SecretSetting, Source};
use crate::trust;
use answer::{EventAnswer, MonitorAnswer};
use cutout_core::report::{Event, Report};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, DATE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// The longest that one read of a monitor takes.
pub const MONITOR_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that one read of an event takes.
pub const EVENT_READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that one read of a page of monitors takes.
pub const PAGE_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for a rate limit to reset; the buckets of monitor reads reset every 10 s.
pub const RATE_LIMIT_WAIT_MAX: Duration = Duration::from_secs(15);
/// The largest answer about a monitor that is read.
pub const MONITOR_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest answer about an event that is read.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// The largest page of monitors that is read.
pub const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const API_KEY_HEADER: HeaderName = HeaderName::from_static("dd-api-key");
const APP_KEY_HEADER: HeaderName = HeaderName::from_static("dd-application-key");
/// Header names compare without case: recordings hold three spellings.
const RATE_LIMIT_RESET_HEADER: &str = "x-ratelimit-reset";
const RATE_LIMIT_REMAINING_HEADER: &str = "x-ratelimit-remaining";

/// An API or application key. Its `Debug` shows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl FromSecret for Key {
    fn from_secret(text: &str) -> Result<Key, String> {
        if text.starts_with('{') {
            return Err("is a JSON object: keep the key alone, as plain text".to_owned());
        }
        let key =
            Key::new(text).map_err(|_| "holds a character that no key has: copy it again".to_owned())?;
        if key.0.is_empty() { Err("is empty".to_owned()) } else { Ok(key) }
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
    pub api_key: Source<Key>,
    /// `DD_APP_KEY`.
    pub app_key: Source<Key>,
}

/// A reader of Datadog. Keep it across invocations: it keeps connections.
#[derive(Debug)]
pub struct Datadog {
    client: Client,
    base: String,
    site: Site,
    api_key: SecretSetting<Key>,
    app_key: SecretSetting<Key>,
}

/// The keys of one request: of the API, and of the application.
type Keys = (Known<Key>, Known<Key>);

/// What one GET brought.
struct Answer {
    date: Option<Timestamp>,
    /// In how many seconds the rate limit resets, where this answer was the last one that it allows.
    exhausted_for_secs: Option<u64>,
    body: Vec<u8>,
}

impl Datadog {
    /// A reader, whose keys are read through the `extension` if AWS keeps them. The process must have installed its rustls
    /// crypto provider.
    ///
    /// # Errors
    /// [`SetupError`], if the CA certificates or the HTTP client are not to be had.
    pub fn new(settings: DatadogSettings, extension: Option<Arc<Extension>>) -> Result<Datadog, SetupError> {
        let base = settings.url.map_or_else(|| settings.site.api_url(), String::from);
        let base = base.trim_end_matches('/').to_owned();
        let client = Client::builder()
            .tls_backend_preconfigured(trust::tls().map_err(SetupError::Trust)?)
            .default_headers(HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]))
            .user_agent(concat!("cutout/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        let client = if base.starts_with("https:") { client } else { client.no_proxy() };
        let api_key = SecretSetting::new("DD_API_KEY", settings.api_key, extension.clone());
        let app_key = SecretSetting::new("DD_APP_KEY", settings.app_key, extension);
        let client = client.build().map_err(SetupError::Datadog)?;
        Ok(Datadog { client, base, site: settings.site, api_key, app_key })
    }

    /// The report of a monitor: all its groups as Datadog tells them now. The last read ends at `until`.
    ///
    /// # Errors
    /// [`ReadError`], after one wait for a rate limit where `until` allows it.
    pub async fn monitor(&self, id: u64, until: Instant) -> Result<Report, ReadError> {
        let resource = Resource::Monitor(id);
        let failed = |cause| ReadError { resource, cause };
        let path = format!("/api/v1/monitor/{id}?group_states=all&with_downtimes=true");
        let answer = self.get_patiently(resource, &path, until).await.map_err(failed)?;
        report(&answer.body, id, answer.as_of(resource), self.site).map_err(failed)
    }

    /// An event. Datadog may answer 404 for half a minute after it happened.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn event(&self, id: u64, until: Instant) -> Result<Event, ReadError> {
        let resource = Resource::Event(id);
        let failed = |cause| ReadError { resource, cause };
        let answer = self.get(resource, &format!("/api/v1/events/{id}"), until).await.map_err(failed)?;
        event(&answer.body, id, self.site).map_err(failed)
    }

    /// A GET that waits once for a rate limit where `until` allows it.
    async fn get_patiently(
        &self,
        resource: Resource,
        path: &str,
        until: Instant,
    ) -> Result<Answer, ReadFailure> {
        match self.get(resource, path, until).await {
            Err(ReadFailure::RateLimited { reset_secs: Some(secs) }) => {
                await_reset(resource, secs, until).await?;
                self.get(resource, path, until).await
            }
            other => other,
        }
    }

    /// A GET, and one more with other keys where the first ones are refused and have been rotated.
    async fn get(&self, resource: Resource, path: &str, until: Instant) -> Result<Answer, ReadFailure> {
        let now = Instant::now();
        let keys = tokio::try_join!(self.api_key.current(now, until), self.app_key.current(now, until));
        let keys = keys.map_err(ReadFailure::NoKeys)?;
        match self.get_with(&keys, resource, path, until).await {
            Err(refused @ ReadFailure::Forbidden { .. }) => match self.renewed(&keys, until).await {
                Some(keys) => {
                    tracing::info!(step = "secret", %resource, "Datadog refused the keys: reading with new ones");
                    self.get_with(&keys, resource, path, until).await
                }
                None => Err(refused),
            },
            other => other,
        }
    }

    /// Keys of which at least one is another than the refused one.
    async fn renewed(&self, (api_key, app_key): &Keys, until: Instant) -> Option<Keys> {
        let now = Instant::now();
        let renewed = tokio::join!(
            self.api_key.renewed(api_key, now, until),
            self.app_key.renewed(app_key, now, until)
        );
        match renewed {
            (None, None) => None,
            (api, app) => Some((api.unwrap_or(api_key.clone()), app.unwrap_or(app_key.clone()))),
        }
    }

    async fn get_with(
        &self,
        (api_key, app_key): &Keys,
        resource: Resource,
        path: &str,
        until: Instant,
    ) -> Result<Answer, ReadFailure> {
        let (timeout, limit_bytes) = bounds(resource);
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.header(API_KEY_HEADER, api_key.value.0.clone());
        let request = request.header(APP_KEY_HEADER, app_key.value.0.clone());
        let read = async {
            let response = request.send().await.map_err(unreachable)?;
            judge(&response)?;
            let exhausted = number(&response, RATE_LIMIT_REMAINING_HEADER) == Some(0);
            Ok(Answer {
                date: date(&response),
                exhausted_for_secs: number(&response, RATE_LIMIT_RESET_HEADER).filter(|_| exhausted),
                body: body(response, limit_bytes).await?,
            })
        };
        let until = until.min(Instant::now() + timeout);
        tokio::time::timeout_at(until.into(), read).await.unwrap_or(Err(ReadFailure::Timeout))
    }
}

/// The report that the body of an answer about monitor `id` makes, given at `as_of`.
///
/// # Errors
/// [`ReadFailure`]: it is not what Datadog documents, or does not tell the states of the groups.
pub fn report(body: &[u8], id: u64, as_of: Timestamp, site: Site) -> Result<Report, ReadFailure> {
    let monitor: MonitorAnswer = json(body)?;
    monitor.report(id, as_of, site).ok_or(ReadFailure::GroupsUntold)
}

/// The event that the body of an answer about event `id` makes.
///
/// # Errors
/// [`ReadFailure`]: it is not what Datadog documents.
pub fn event(body: &[u8], id: u64, site: Site) -> Result<Event, ReadFailure> {
    let event: EventAnswer = json(body)?;
    Ok(event.event(id, site))
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ReadFailure> {
    serde_json::from_slice(body).map_err(ReadFailure::Unreadable)
}

/// How long one read may take, and how many bytes it may bring.
fn bounds(resource: Resource) -> (Duration, usize) {
    match resource {
        Resource::Monitor(_) => (MONITOR_READ_TIMEOUT, MONITOR_BYTES_MAX),
        Resource::Event(_) => (EVENT_READ_TIMEOUT, EVENT_BYTES_MAX),
        Resource::Monitors { .. } => (PAGE_READ_TIMEOUT, PAGE_BYTES_MAX),
    }
}

impl Answer {
    /// When Datadog gave it. This clock stands in only where a proxy cut the header off: the order of reports rests on
    /// Datadog's own clock.
    fn as_of(&self, resource: Resource) -> Timestamp {
        self.date.unwrap_or_else(|| {
            tracing::warn!(step = "monitor", %resource, "Datadog's answer has no readable Date: using this clock");
            let now = Timestamp::now();
            Timestamp::from_second(now.as_second()).unwrap_or(now)
        })
    }
}

/// Waits for a rate limit that resets in so many seconds, if that leaves time for another read before `until`.
async fn await_reset(resource: Resource, reset_secs: u64, until: Instant) -> Result<(), ReadFailure> {
    let wait = Duration::from_secs(reset_secs);
    if wait > RATE_LIMIT_WAIT_MAX || Instant::now() + wait >= until {
        return Err(ReadFailure::RateLimited { reset_secs: Some(reset_secs) });
    }
    tracing::info!(step = "monitor", %resource, reset_secs, "waiting for Datadog's rate limit");
    tokio::time::sleep(wait).await;
    Ok(())
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
            Err(ReadFailure::RateLimited { reset_secs: number(response, RATE_LIMIT_RESET_HEADER) })
        }
        other => Err(ReadFailure::Status { status: other.as_u16() }),
    }
}

/// The number that a header holds.
fn number(response: &Response, header: &str) -> Option<u64> {
    response.headers().get(header)?.to_str().ok()?.trim().parse().ok()
}

fn date(response: &Response) -> Option<Timestamp> {
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let since_epoch = httpdate::parse_http_date(date).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Timestamp::from_second(i64::try_from(since_epoch.as_secs()).ok()?).ok()
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
