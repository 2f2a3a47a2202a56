//! What HTTP says about a call: which answers are the vendor's failures, and which requests may be made twice.

use crate::outcome::{Classify, Outcome};
use ::http::{Extensions, Method, Response, StatusCode};

/// A 5xx answer is the vendor's failure, and so is none at all. A 4xx is not: the vendor is at work and says that the request is wrong.
///
/// ```
/// use cutout::{Classify, Outcome, http::ByStatus};
///
/// let answer = |status: u16| http::Response::builder().status(status).body(());
/// assert_eq!(ByStatus.classify(&answer(503)), Outcome::Failure);
/// assert_eq!(ByStatus.classify(&answer(402)), Outcome::Success);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ByStatus;

impl<B, E> Classify<Result<Response<B>, E>> for ByStatus {
    fn classify(&self, ended: &Result<Response<B>, E>) -> Outcome {
        ended.as_ref().map_or(Outcome::Failure, |answer| of_status(answer.status()))
    }
}

/// What a status says about the vendor.
///
/// ```
/// use cutout::{Outcome, http::of_status};
///
/// assert_eq!(of_status(http::StatusCode::BAD_GATEWAY), Outcome::Failure);
/// assert_eq!(of_status(http::StatusCode::TOO_MANY_REQUESTS), Outcome::Success);
/// ```
#[must_use]
pub fn of_status(status: StatusCode) -> Outcome {
    if status.is_server_error() { Outcome::Failure } else { Outcome::Success }
}

/// An extension of a request that may be made twice though its method does not say so: a POST with an idempotency key, for example, whose
/// vendor knows it by that key.
///
/// ```
/// let request = http::Request::post("/charges").extension(cutout::http::Idempotent).body(());
/// assert!(cutout::http::may_repeat(&http::Method::POST, request.unwrap().extensions()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotent;

/// Whether a request may be made twice: by its method (RFC 9110, 9.2.2), or because it bears [`Idempotent`].
///
/// ```
/// let bears_nothing = http::Extensions::new();
/// assert!(cutout::http::may_repeat(&http::Method::PUT, &bears_nothing));
/// assert!(!cutout::http::may_repeat(&http::Method::POST, &bears_nothing));
/// ```
#[must_use]
pub fn may_repeat(method: &Method, extensions: &Extensions) -> bool {
    method.is_idempotent() || extensions.get::<Idempotent>().is_some()
}
