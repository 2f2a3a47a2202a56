//! The API's own description (OpenAPI 3.1), made from the code and served at `/v1/openapi.json`.
//!
//! What every operation may answer besides its own is said once, here. `{id}` stands for a breaker's whole spelling: the
//! slash in it may stay as it is.

use super::operator::Looker;
use super::problem::{PROBLEM_JSON, ProblemBody};
use super::{faults, flags, history, live, model, orders};
use axum::Json;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoParams, Modify, OpenApi};

/// The breaker that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "read for its description alone")]
pub(crate) struct BreakerPath {
    /// A breaker: its name, and a slash before each value of its key.
    #[param(example = "bank-charge/0001", min_length = 1, max_length = 1024)]
    id: String,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Cutout, the operators' API", license(name = "MIT OR Apache-2.0")),
    paths(
        flags::status, flags::list, flags::show, live::changes, flags::held, orders::release, orders::force,
        orders::clear, faults::inject, faults::end, orders::pause, orders::set_pause, orders::end_pause, history::page, history::export, openapi
    ),
    components(schemas(ProblemBody, model::StateName)),
    modifiers(&Common)
)]
struct Document;

/// What holds for all operations.
struct Common;

/// What any operation may answer.
const OF_ALL: [(&str, &str); 5] = [
    ("400", "The path, the query or a header cannot be read"),
    ("401", "No token, or one that is not accepted"),
    ("404", "Nothing is there"),
    ("500", "An error inside"),
    (
        "503",
        "Not now: the store does not answer, or too much is asked at once; Retry-After says when to come again",
    ),
];
/// What any operation may answer that decides something.
const OF_DECISIONS: [(&str, &str); 7] = [
    ("403", "The token's role may look and not decide"),
    ("408", "The body did not arrive in time"),
    ("412", "It has changed since the version that If-Match names"),
    ("413", "The body is too large"),
    ("415", "The body is not application/json"),
    ("422", "The body says something that cannot be: code and detail tell what"),
    ("428", "Somebody else has decided: If-Match must name the version that was seen"),
];

impl Modify for Common {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", bearer);
        document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
        for item in document.paths.paths.values_mut() {
            for looks in item.get.iter_mut() {
                may_answer(looks, &OF_ALL);
            }
            for decides in item.put.iter_mut().chain(&mut item.delete) {
                may_answer(decides, &OF_ALL);
                may_answer(decides, &OF_DECISIONS);
            }
        }
    }
}

/// Adds what the operation does not say itself.
fn may_answer(operation: &mut Operation, answers: &[(&str, &str)]) {
    for (status, description) in answers {
        let schema = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(*description).content(PROBLEM_JSON, content);
        let responses = &mut operation.responses.responses;
        responses.entry((*status).to_owned()).or_insert_with(|| RefOr::T(response.build()));
    }
}

/// The description as JSON: what `/v1/openapi.json` answers.
#[must_use]
pub fn description() -> serde_json::Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}

/// Shows this description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "service",
    responses((status = 200, description = "The description (OpenAPI 3.1)", body = serde_json::Value)))]
pub(crate) async fn openapi(_who: Looker) -> Json<openapi::OpenApi> {
    Json(Document::openapi())
}
