//! The operators' page: every breaker, what opened it, who decided what, and the forms to decide.
//!
//! Rendered here, whole, and readable without a script; the script only fetches the page again when a change is told, so
//! there is one rendering. All of it stands in the binary. What people decide goes the API's way (`api::orders`). A page is
//! sent to nobody but who came in (`door`), and no page may load, run or be framed by anything of another site.
//!
//! Left out: what is decided, and what the store knows (`api`).

mod acts;
mod assets;
mod breaker;
mod door;
mod fields;
mod layout;
mod list;
mod origin;
mod past;
mod pipeline;
mod plot;
mod proxy;
mod session;
mod texts;
mod view;

pub use proxy::Proxy;
pub use session::{SESSION_SECS, SessionSecret, SessionSecretError};

pub(crate) use door::{Door, Visitor};

use crate::Shared;
use crate::answer::RETRY_AFTER_SECS;
use crate::api::problem::Problem;
use crate::api::{self, Api, REQUEST_ID};
use crate::limits::{Bounds, Of, limited};
use crate::operators::{Operator, Operators};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::sync::Arc;
use std::time::{Duration, Instant};
use texts::Texts;

/// How many requests are worked on at once.
pub const REQUESTS_MAX: usize = 32;
/// How long one request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest form that is read.
pub const FORM_MAX_BYTES: usize = 16 * 1024;

/// What a page may load, run, send to, and be shown in: itself alone, and nothing that stands in its text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How the page is mounted, and how people come in besides by their token.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The path that it is nested under, such as `/breakers-of-a`; empty: at the root.
    pub base: String,
    /// What sessions are signed with, the first one new ones. None: drawn at each start, so that sessions end with this
    /// process, and hold at no other instance.
    pub session_secrets: Vec<SessionSecret>,
    /// A proxy that says who somebody is.
    pub proxy: Option<Proxy>,
}

/// What all requests share.
pub(crate) struct Site {
    api: Arc<Api>,
    base: String,
    texts: &'static Texts,
}

impl Site {
    fn door(&self) -> &Door {
        // A site is made with one.
        #[allow(clippy::expect_used)]
        self.api.door.as_ref().expect("a page has a door")
    }

    /// A path of this page, as a browser must ask for it.
    fn at(&self, path: &str) -> String {
        // A router that is nested below a path answers to that path itself, without a slash at its end.
        let is_first = path == "/" || path.starts_with("/?");
        let path = if is_first && !self.base.is_empty() { path.trim_start_matches('/') } else { path };
        format!("{}{path}", self.base)
    }

    /// Sends a browser there, by GET.
    fn go(&self, path: &str) -> Response {
        Redirect::to(&self.at(path)).into_response()
    }
}

/// The page, and the API beside it.
pub(crate) fn router(shared: Arc<Shared>, operators: Operators, page: Page) -> Router {
    let Page { base, session_secrets, proxy } = page;
    let api = Api::new(shared, operators, Some(Door::new(session_secrets, proxy)));
    let base = base.trim_end_matches('/').to_owned();
    let site = Arc::new(Site { api: api.clone(), base, texts: &texts::ENGLISH });
    let inside = Router::new()
        .route("/", get(list::show))
        .route("/breakers/{*id}", get(breaker::show).post(acts::decide))
        .route("/pause", get(acts::pause_form).post(acts::pause))
        .route("/history", get(past::show))
        .route("/logout", post(door::sign_out))
        .layer(from_fn_with_state(site.clone(), door::ask));
    let outside = Router::new()
        .route("/login", get(door::form).post(door::sign_in))
        .route("/assets/{name}", get(assets::asset));
    let bounds = Bounds {
        of: Of::Operators,
        requests_max: REQUESTS_MAX,
        request_timeout: REQUEST_TIMEOUT,
        body_max_bytes: FORM_MAX_BYTES,
        answer: |status, _| Problem::of_status(status).into_response(),
    };
    let pages = limited(inside.merge(outside).with_state(site.clone()), bounds);
    // What is not there is the API's to tell, and only to who may know.
    pages.layer(from_fn_with_state(site, finish)).merge(api::router(api))
}

/// Gives whatever failed a page, every answer its headers, and the log its line.
async fn finish(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let (started, id) = (Instant::now(), api::request_id(request.headers()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let status = response.status();
    let visitor = response.extensions_mut().remove::<Visitor>();
    let problem = response.extensions_mut().remove::<Problem>();
    let is_bare = status == StatusCode::METHOD_NOT_ALLOWED || status == StatusCode::PAYLOAD_TOO_LARGE;
    if let Some(problem) = problem.or_else(|| is_bare.then(|| Problem::of_status(status))) {
        let page = layout::failure(&site, visitor.as_ref(), &problem, &id);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(layout::HTML));
        *response.body_mut() = Body::from(page.into_string());
    }
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
    if let Ok(id) = HeaderValue::try_from(&id) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not "no-referrer": browsers would then hide the origin of our own forms too.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let operator = visitor.as_ref().map(|Visitor { operator: Operator { name, .. }, .. }| &**name);
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(%method, path, status = status.as_u16(), operator, request_id = id, ms, "request");
    response
}
