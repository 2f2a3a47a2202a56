//! What the service answers: small JSON, for the function and for a person with curl. Never any internals.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// After how many seconds a sender that was turned away should come again.
pub(crate) const RETRY_AFTER_SECS: u16 = 2;

/// `{"error": …}`. An answer that means "not now" also says when to come again.
pub(crate) fn error(status: StatusCode, text: &str) -> Response {
    let mut response = (status, Json(serde_json::json!({ "error": text }))).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
    }
    response
}
