//! The operators' API under `/v1`: what there is, what people decide, who did what, and changes as they happen.
//!
//! A Router of its own, so that a team can nest it, leave it out, or serve it on another address than the callbacks. All of
//! it stands behind one layer that asks who is there (`operator`); errors are problems with the request's id (`problem`);
//! `document` describes it for programs, and is checked against it by the tests.
//!
//! Left out: the page (`page`).

mod document;
#[allow(unused_qualifications)] // What describes an operation spells its types out.
pub(crate) mod faults;
#[allow(unused_qualifications)] // What describes an operation spells its types out.
pub(crate) mod flags;
#[allow(unused_qualifications)] // What describes an operation spells its types out.
pub(crate) mod history;
mod live;
pub(crate) mod model;
pub(crate) mod operator;
#[allow(unused_qualifications)] // What describes an operation spells its types out.
pub(crate) mod orders;
pub(crate) mod problem;

pub use document::description;
pub(crate) use history::HistoryItem;

use crate::Shared;
use crate::board::{Board, Scope};
use crate::callback::BODY_READ_TIMEOUT;
use crate::limits::{Bounds, Of, limited};
use crate::operators::{Operator, Operators};
use crate::page::Door;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, put};
use cutout_core::{BreakerId, Declaration};
use cutout_flags::Store;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use problem::Problem;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// How many requests are worked on at once.
pub const REQUESTS_MAX: usize = 32;
/// How long one request may take until its answer begins.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest body that is read.
pub const BODY_MAX_BYTES: usize = 16 * 1024;
/// How many streams (changes, exports) of one service there are at once.
pub const STREAMS_MAX: usize = 64;
/// The longest spelling of a breaker that is looked at, bytes.
pub(crate) const ID_MAX_BYTES: usize = 1_024;
/// The longest request id of others that is taken over, bytes.
const REQUEST_ID_MAX_BYTES: usize = 64;

/// The header that holds a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What all requests share.
pub(crate) struct Api {
    pub(crate) shared: Arc<Shared>,
    pub(crate) operators: Operators,
    /// How people come in by a browser; none: there is no page.
    pub(crate) door: Option<Door>,
}

/// The routes, within their limits and behind the question who asks.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let routes = Router::new()
        .route("/v1/status", get(flags::status))
        .route("/v1/breakers", get(flags::list))
        .route("/v1/breakers/{*id}", get(flags::show))
        .route("/v1/changes", get(live::changes))
        .route("/v1/overrides/{*id}", put(orders::force).delete(orders::clear))
        .route("/v1/faults/{*id}", put(faults::inject).delete(faults::end))
        .route("/v1/held", get(flags::held))
        .route("/v1/held/{*id}", delete(orders::release))
        .route("/v1/pause", get(orders::pause).put(orders::set_pause).delete(orders::end_pause))
        .route("/v1/history", get(history::page))
        .route("/v1/history/export", get(history::export))
        .route("/v1/openapi.json", get(document::openapi))
        // Also what is not there is told only to who may know.
        .route("/v1/{*path}", any(async || Problem::of_status(StatusCode::NOT_FOUND)))
        .with_state(api.clone());
    let bounds = Bounds {
        of: Of::Operators,
        requests_max: REQUESTS_MAX,
        request_timeout: REQUEST_TIMEOUT,
        body_max_bytes: BODY_MAX_BYTES,
        answer: |status, text| {
            let code = if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
                "internal"
            } else {
                "busy"
            };
            Problem::new(status, code, text).into_response()
        },
    };
    // From the inside out.
    let known = routes.layer(from_fn_with_state(api, operator::authenticate));
    limited(known, bounds).layer(from_fn(finish))
}

impl Api {
    pub(crate) fn new(shared: Arc<Shared>, operators: Operators, door: Option<Door>) -> Arc<Api> {
        Arc::new(Api { shared, operators, door })
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.shared.parts.store
    }

    pub(crate) fn board(&self) -> &Board {
        &self.shared.board
    }

    /// What is known of the scope; a problem before the store first answered.
    pub(crate) fn scope(&self) -> Result<Scope, Problem> {
        let starting = || Problem::unavailable("starting", "the flags were not read from the store yet");
        self.board().scope().ok_or_else(starting)
    }

    /// The declaration of a breaker whose key has as many values as it should.
    pub(crate) fn declaration(&self, id: &BreakerId) -> Result<Declaration, Problem> {
        let undeclared = |detail: String| Problem::not_found("undeclared", detail);
        let declaration = self.shared.breakers().declaration(id).cloned();
        let declaration =
            declaration.ok_or_else(|| undeclared(format!("no breaker {} is declared", id.name())))?;
        if declaration.key.len() == id.key_len() {
            return Ok(declaration);
        }
        let key: String = declaration.key.iter().map(|tag| format!("/<{tag}>")).collect();
        Err(undeclared(format!("breaker {0} is named as {0}{key}", declaration.name)))
    }

    /// A place for one more stream.
    fn stream_place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::unavailable("streams", "there are as many streams as there may be");
        self.shared.streams.clone().try_acquire_owned().map_err(full)
    }
}

/// An answer with its version as entity tag.
fn tagged(version: &str, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The query of a request; one that is not known is a mistake.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Asked(query)).map_err(|rejection: QueryRejection| rejection.into())
    }
}

/// The body of a request, as JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Problem> {
        let reading = tokio::time::timeout(BODY_READ_TIMEOUT, Json::<T>::from_request(request, state));
        let body = reading.await.map_err(|_| Problem::slow())?;
        body.map(|Json(body)| Body(body)).map_err(|rejection: JsonRejection| rejection.into())
    }
}

/// The breaker that a path names, as a person or a program spells it.
pub(crate) struct Named(pub(crate) BreakerId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await?;
        if text.len() > ID_MAX_BYTES {
            return Err(Problem::not_found("undeclared", "no breaker has so long a name"));
        }
        Ok(Named(BreakerId::typed(&text)))
    }
}

/// Gives the request its id, whatever ends without a body a problem, and the log its line.
async fn finish(request: Request, next: Next) -> Response {
    let (started, id) = (Instant::now(), request_id(request.headers()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    let operator = response.extensions_mut().remove::<Operator>();
    let problem = response.extensions_mut().remove::<Problem>();
    let is_bare = status.is_client_error() || status.is_server_error();
    if let Some(problem) = problem.or_else(|| is_bare.then(|| Problem::of_status(status))) {
        let (parts, body) = problem.body(&id).into_parts();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let operator = operator.as_ref().map(|operator| &*operator.name);
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(%method, path, status = status.as_u16(), operator, request_id = id, ms, "request");
    response
}

/// The id that a proxy has given, if it is plain; otherwise a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(plain));
    given.map_or_else(|| format!("{:016x}", fastrand::u64(..)), str::to_owned)
}
