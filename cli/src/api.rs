//! The operators' API as these commands speak it: one token, bounded answers, problems told in one line.
//!
//! The token comes from `CUTOUT_TOKEN` or a file, never from the command line, which others on the machine can read. No
//! redirect is followed, so it goes nowhere else. What the answers mean is left to the commands.

use crate::ended::{Failed, NOT_ALLOWED, REFUSED, UNREACHABLE};
use crate::terminal::plain;
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderValue, IF_MATCH};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one answer may take, whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream may be silent. The service shows every 15 s that it lives.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The largest answer that is read.
const ANSWER_MAX_BYTES: usize = 16 * 1024 * 1024;
/// The largest file that may hold a token or a secret.
const SECRET_FILE_MAX_BYTES: u64 = 16 * 1024;

const URL_VARIABLE: &str = "CUTOUT_URL";
pub(crate) const TOKEN_VARIABLE: &str = "CUTOUT_TOKEN";
const URL_DEFAULT: &str = "http://127.0.0.1:8081";

/// Where the service is, and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The service's operators' address; without it CUTOUT_URL, or else <http://127.0.0.1:8081>.
    #[arg(long, value_name = "URL", help_heading = "Service")]
    url: Option<String>,
    /// A file that holds the token; without it CUTOUT_TOKEN.
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    token_file: Option<PathBuf>,
}

/// The API of one service.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: Client,
    base: Url,
    token: HeaderValue,
}

/// Which version a decision is made on.
#[derive(Debug, Clone)]
pub(crate) enum Caution {
    /// None was seen: only what nobody else has decided is replaced.
    Unseen,
    /// This one.
    Seen(String),
    /// Whatever it is.
    Any,
}

impl Api {
    /// The service that the arguments, or else the environment, name.
    pub(crate) fn open(place: &Place) -> Result<Api, Failed> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let url = place.url.clone().or_else(|| variable(URL_VARIABLE));
        let base = base(url.as_deref().unwrap_or(URL_DEFAULT))?;
        let token = match &place.token_file {
            Some(file) => secret_of(file)?,
            None => variable(TOKEN_VARIABLE).ok_or_else(|| {
                Failed::usage(format!("no token: set {TOKEN_VARIABLE}, or name a file with --token-file"))
            })?,
        };
        let mut token = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| Failed::usage("the token holds a character that no token has"))?;
        token.set_sensitive(true);
        if base.scheme() == "http" && !is_loopback(&base) {
            let warning = "cutout: warning: the token goes over plain http to another machine; use https";
            // If standard error is closed there is nobody to warn.
            let _ = writeln!(std::io::stderr(), "{warning}");
        }
        Ok(Api { http: client(&base)?, base, token })
    }

    /// The service's address, for messages.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The address of `/v1/<segments>`, each encoded.
    fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        // Only an address without a host has no segments, and `base` refuses those.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    /// A request to one path of the API. `breaker`, if any, stands behind the path's own words.
    pub(crate) fn request(&self, method: Method, words: &[&str], breaker: Option<&str>) -> Request {
        let breaker = breaker.into_iter().flat_map(|breaker| breaker.split('/'));
        let url = self.url(words.iter().copied().chain(breaker));
        let request = self.http.request(method, url.clone()).header(AUTHORIZATION, self.token.clone());
        Request { request, base: self.base().to_owned(), forces: false }
    }

    pub(crate) fn get(&self, words: &[&str]) -> Request {
        self.request(Method::GET, words, None)
    }
}

/// A request under way.
pub(crate) struct Request {
    request: RequestBuilder,
    base: String,
    /// Whether it is repeated over what somebody else decided. At once with `If-Match: *` it would be refused where nothing is decided yet.
    forces: bool,
}

impl Request {
    pub(crate) fn query(self, pairs: &[(&str, &str)]) -> Request {
        Request { request: self.request.query(pairs), ..self }
    }

    pub(crate) fn body(self, body: &Value) -> Request {
        let request = self.request.header("content-type", "application/json").body(body.to_string());
        Request { request, ..self }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Request {
        Request { request: self.request.header(name, value), ..self }
    }

    pub(crate) fn caution(self, caution: &Caution) -> Request {
        match caution {
            Caution::Unseen => self,
            Caution::Seen(version) => {
                let tag = format!("\"{}\"", version.trim_matches('"'));
                Request { request: self.request.header(IF_MATCH, tag), ..self }
            }
            Caution::Any => Request { forces: true, ..self },
        }
    }

    /// The JSON of the answer; null if it has no body.
    pub(crate) async fn json(self) -> Result<Value, Failed> {
        let base = self.base.clone();
        let request = self.request.timeout(ANSWER_TIMEOUT);
        let again = request.try_clone().filter(|_| self.forces);
        let mut answer = Request { request, ..self }.streamed().await;
        let is_others = |failed: &Failed| failed.is_of::<Refused>(|refused| refused.code == "others");
        if let Some(again) = again.filter(|_| answer.as_ref().is_err_and(is_others)) {
            let request = again.header(IF_MATCH, "*");
            answer = Request { request, base: base.clone(), forces: false }.streamed().await;
        }
        let answer = answer?;
        let body = read(answer, ANSWER_MAX_BYTES).await.map_err(|error| unreached(&base, error))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let not_json = |error| {
            Failed::refused(format!("{base} does not answer with JSON ({error}): is it the operators' API?"))
        };
        serde_json::from_slice(&body).map_err(not_json)
    }

    /// An answer whose body comes bit by bit.
    pub(crate) async fn streamed(self) -> Result<Response, Failed> {
        let answer = self.request.send().await.map_err(|error| unreached(&self.base, error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refused(&self.base, answer).await)
    }
}

/// An answer that is not there, with what was being done.
pub(crate) fn unreached(base: &str, error: reqwest::Error) -> Failed {
    let error = error.without_url();
    // The last cause says why; those before it are layers of the client.
    let last = crate::dev::causes(&error).last().unwrap_or_default();
    let cause = if error.is_timeout() {
        "it does not answer in time".to_owned()
    } else if error.is_body() || error.is_decode() {
        "the connection broke".to_owned()
    } else {
        last
    };
    Failed::unreachable(format!("{base} cannot be reached: {cause}"))
}

/// A problem in one line, with what to do about it.
async fn refused(base: &str, answer: Response) -> Failed {
    let status = answer.status();
    let body = read(answer, ANSWER_MAX_BYTES).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (code, detail) = (problem["code"].as_str().unwrap_or_default(), problem["detail"].as_str());
    let request = problem["request_id"].as_str().map(|id| format!(" (request {id})")).unwrap_or_default();
    let detail = detail.map_or_else(|| format!("{base} answers {status}"), plain);
    let then = match code {
        "others" => "; look with `cutout status`, then add --expect VERSION, or --force whatever it is",
        "changed" => "; look again with `cutout status` and take its version",
        "token" => "; see CUTOUT_TOKEN or --token-file",
        "stands-back" | "store" | "starting" | "contended" | "busy" | "streams" => "; try again in a moment",
        "" if status == StatusCode::NOT_FOUND => ": is it the operators' address?",
        _ => "",
    };
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NOT_ALLOWED,
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => UNREACHABLE,
        _ => REFUSED,
    };
    Failed::new(exit, Refused { code: code.to_owned(), told: format!("{detail}{then}{request}") })
}

/// What the service did not do, with the problem's code.
#[derive(Debug, thiserror::Error)]
#[error("{told}")]
pub(crate) struct Refused {
    /// The problem's code, as docs/api.md lists it.
    pub(crate) code: String,
    told: String,
}

/// A body, up to a limit; what lies beyond is left.
pub(crate) async fn read(mut answer: Response, max_bytes: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = max_bytes.saturating_sub(body.len()).min(chunk.len());
        body.extend_from_slice(chunk.get(..room).unwrap_or_default());
        if room < chunk.len() {
            break;
        }
    }
    Ok(body)
}

/// A client that follows no redirect, trusts the same authorities as the function, and reaches loopback past any proxy.
pub(crate) fn client(base: &Url) -> Result<Client, Failed> {
    let builder = Client::builder()
        .tls_backend_preconfigured(cutout_lambda::trust::tls()?)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_MAX)
        .user_agent(concat!("cutout/", env!("CARGO_PKG_VERSION")));
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    Ok(builder.build()?)
}

/// An http or https address with a host and without login, query or fragment.
pub(crate) fn base(text: &str) -> Result<Url, Failed> {
    let wrong = |why: &str| Failed::usage(format!("{} is no address of a service: {why}", plain(text)));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it begins with https:// or http://"));
    }
    // The text may hold a password.
    if is_bare {
        Ok(url)
    } else {
        Err(Failed::usage("the address of a service has no login, query or fragment"))
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The one secret that a file holds.
pub(crate) fn secret_of(file: &Path) -> Result<String, Failed> {
    use std::io::Read;
    let wrong = |error: std::io::Error| Failed::usage(format!("reading {}: {error}", file.display()));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(wrong)?;
    opened.take(SECRET_FILE_MAX_BYTES).read_to_string(&mut text).map_err(wrong)?;
    let text = text.trim();
    if text.is_empty() {
        Err(Failed::usage(format!("{} is empty", file.display())))
    } else {
        Ok(text.to_owned())
    }
}
