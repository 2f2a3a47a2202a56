//! What the API answers when it does not do what it was asked: RFC 9457 problems, each with the request's id.
//!
//! A handler yields a [`Problem`]; the outermost layer writes its body, since only that knows the id, and gives a body to
//! whatever else ends without one. Nothing of the inside is told: that goes to the log, under the same id.

use crate::answer::RETRY_AFTER_SECS;
use crate::callback::BODY_READ_TIMEOUT;
use crate::order::OrderError;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use cutout_core::Chain;
use cutout_flags::StoreError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not carried out.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

/// A problem as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: `code` tells them apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// What the status means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// Which problem, for programs; never changed.
    code: &'static str,
    /// What is wrong and what to do, for a person.
    detail: String,
    /// The same as in the header `x-request-id` and in the service's log.
    request_id: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into() }
    }

    /// What is said of a status that came without words.
    pub(crate) fn of_status(status: StatusCode) -> Problem {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("no-such-path", "there is nothing at this path: see /v1/openapi.json"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method", "this path does not know this method: see the header Allow")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is too large"),
            StatusCode::SERVICE_UNAVAILABLE => ("busy", "the service cannot answer now: try again"),
            _ if status.is_server_error() => {
                ("internal", "internal error: the log of the service tells more")
            }
            _ => ("refused", "the request was refused"),
        };
        Problem::new(status, code, detail)
    }

    pub(crate) fn unprocessable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// Of a body that did not arrive within [`BODY_READ_TIMEOUT`].
    pub(crate) fn slow() -> Problem {
        let detail =
            format!("the body did not arrive within {} s: send it again", BODY_READ_TIMEOUT.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", detail)
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// What cannot be answered now.
    pub(crate) fn unavailable(code: &'static str, detail: &str) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Its body under a request's id.
    pub(crate) fn body(self, request_id: &str) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            request_id: request_id.to_owned(),
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cutout\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        tracing::error!(error = %Chain(&error), "the store failed an operator's request");
        Problem::unavailable("store", "the store of breakers does not answer: try again")
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Problem {
        let told = error.to_string();
        match error {
            OrderError::Store(error) => error.into(),
            OrderError::Undeclared(_) => Problem::not_found("undeclared", told),
            OrderError::NoOverride(_) => Problem::not_found("no-override", told),
            OrderError::NoFault(_) => Problem::not_found("no-fault", told),
            OrderError::NotHeld(_) => Problem::not_found("not-held", told),
            OrderError::NoPause => Problem::not_found("no-pause", told),
            OrderError::Unsigned | OrderError::Over | OrderError::Beyond(_) => Problem::unprocessable(told),
            OrderError::TooManyKeys(_) => Problem::new(StatusCode::CONFLICT, "max-keys", told),
            OrderError::Changed => Problem::new(StatusCode::PRECONDITION_FAILED, "changed", told),
            OrderError::Others { .. } => Problem::new(StatusCode::PRECONDITION_REQUIRED, "others", told),
            OrderError::StandsBack(_) => Problem::unavailable("stands-back", &told),
            OrderError::Unreadable(_) => Problem::unavailable("unreadable", &told),
            OrderError::Contended => Problem::unavailable("contended", &told),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        let (status, told) = (rejection.status(), rejection.body_text());
        match status {
            StatusCode::UNPROCESSABLE_ENTITY => Problem::unprocessable(told),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(status, "media-type", told),
            StatusCode::PAYLOAD_TOO_LARGE => Problem::of_status(status),
            _ => Problem::bad_request(told),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        Problem::bad_request(rejection.body_text())
    }
}
