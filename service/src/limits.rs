//! The limits that a Router can hold, so that they hold wherever it is mounted.
//!
//! Body, time, requests at once, panics. What is beyond a limit is answered at once with "come again" instead of
//! queueing. A plain `ConcurrencyLimitLayer` does nothing in axum (each connection gets a limit of its own), and
//! without load shedding a full limit queues without end.
//!
//! Left out: limits of connections (`serve`).

use crate::metrics;
use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use http::StatusCode;
use std::any::Any;
use std::time::Duration;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::TimeoutLayer;
use tower_http::catch_panic::CatchPanicLayer;

/// How many callbacks are worked on at once; each may hold a body of [`crate::callback::BODY_MAX_BYTES`].
pub const REQUESTS_MAX: usize = 64;
/// How long one callback may take, from its headers to the answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose requests a Router takes, in logs and metrics: a refused callback comes again, and lost evidence is another matter than a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The function's.
    Callbacks,
    /// Those of people and their tools.
    Operators,
    /// Those of orchestrators and of what collects metrics.
    Readiness,
}

impl Of {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Of::Callbacks => "callbacks",
            Of::Operators => "operators",
            Of::Readiness => "readiness",
        }
    }
}

/// The limits of one Router, and how it answers beyond them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whose requests they are for.
    pub(crate) of: Of,
    /// How many requests are worked on at once.
    pub(crate) requests_max: usize,
    /// How long one may take until its answer begins.
    pub(crate) request_timeout: Duration,
    /// The largest body that is read.
    pub(crate) body_max_bytes: usize,
    /// Makes an answer of a status and what is told.
    pub(crate) answer: fn(StatusCode, &str) -> Response,
}

/// `router` within the limits.
pub(crate) fn limited(router: Router, bounds: Bounds) -> Router {
    let Bounds { of, answer, .. } = bounds;
    metrics::refuses(of, &["busy", "slow", "panic"]);
    // From the outside in: the one that is named first sees a request first.
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(move |error| async move { turn_away(&error, of, answer) }))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(bounds.requests_max))
        .layer(TimeoutLayer::new(bounds.request_timeout))
        .layer(CatchPanicLayer::custom(move |payload| panicked(payload, of, answer)))
        .layer(DefaultBodyLimit::max(bounds.body_max_bytes));
    router.layer(layers)
}

/// `router`, whose handlers may panic: for routes that stand outside of the other limits.
pub(crate) fn catching(router: Router, of: Of, answer: fn(StatusCode, &str) -> Response) -> Router {
    metrics::refuses(of, &["panic"]);
    router.layer(CatchPanicLayer::custom(move |payload| panicked(payload, of, answer)))
}

/// What load shedding and the time limit say, as answers.
fn turn_away(error: &tower::BoxError, of: Of, answer: fn(StatusCode, &str) -> Response) -> Response {
    let is_overload = error.is::<Overloaded>();
    let why = if is_overload { "too many requests at once" } else { "the request took too long" };
    metrics::refused(of, if is_overload { "busy" } else { "slow" });
    tracing::warn!(
        result = "refused",
        of = of.name(),
        status = StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        error = why,
        "request"
    );
    answer(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// A handler that panicked: its request gets an answer and the process lives on.
// The layer's signature: the payload comes by value.
#[allow(clippy::needless_pass_by_value)]
fn panicked(payload: Box<dyn Any + Send>, of: Of, answer: fn(StatusCode, &str) -> Response) -> Response {
    metrics::refused(of, "panic");
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    tracing::error!(
        result = "panicked",
        of = of.name(),
        status = StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
        error = text,
        "request"
    );
    answer(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use http::{Request, header};
    use std::sync::{Arc, Mutex};
    use tokio::sync::Semaphore;
    use tower::ServiceExt;

    const LONG: Duration = Duration::from_secs(600);
    const DEADLINE: Duration = Duration::from_secs(20);

    fn bounds(requests_max: usize, request_timeout: Duration) -> Bounds {
        Bounds {
            of: Of::Callbacks,
            requests_max,
            request_timeout,
            body_max_bytes: 1_024,
            answer: answer::error,
        }
    }

    async fn ask(router: &Router, path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = tokio::time::timeout(DEADLINE, router.clone().oneshot(request));
        answer.await.expect("no answer").unwrap()
    }

    async fn told(response: Response) -> String {
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["error"].as_str().unwrap().to_owned()
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_without_its_text_and_the_next_request_is_served() {
        let log = Log::default();
        let kept = log.clone();
        let logging = tracing_subscriber::fmt().json().with_writer(move || kept.clone()).finish();
        let _logged = tracing::subscriber::set_default(logging);
        let panicking = get(async || -> &'static str { panic!("the innermost secret") });
        let router = Router::new().route("/panic", panicking).route("/", get(async || "ok"));
        // One place: it must come back after the panic.
        let router = limited(router, bounds(1, LONG));
        let response = ask(&router, "/panic").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(told(response).await, "internal error");
        assert_eq!(ask(&router, "/").await.status(), StatusCode::OK);
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("\"panicked\"") && log.contains("the innermost secret"), "{log}");
    }

    #[tokio::test]
    async fn beyond_the_limit_requests_are_shed_at_once_and_places_come_back() {
        let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (enter, wait) = (entered.clone(), leave.clone());
        let held = get(async move || {
            enter.add_permits(1);
            wait.acquire().await.unwrap().forget();
            "ok"
        });
        let router =
            limited(Router::new().route("/held", held).route("/", get(async || "ok")), bounds(2, LONG));
        let tasks = [0, 1].map(|_| {
            let router = router.clone();
            tokio::spawn(async move { ask(&router, "/held").await.status() })
        });
        entered.acquire_many(2).await.unwrap().forget();
        let shed = ask(&router, "/").await;
        assert_eq!(shed.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(shed.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(told(shed).await, "too many requests at once");
        leave.add_permits(2);
        for task in tasks {
            assert_eq!(task.await.unwrap(), StatusCode::OK);
        }
        assert_eq!(ask(&router, "/").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_ended() {
        let endless = get(async || std::future::pending::<&'static str>().await);
        let router = limited(Router::new().route("/", endless), bounds(1, Duration::from_millis(50)));
        let response = ask(&router, "/").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(told(response).await, "the request took too long");
    }
}
