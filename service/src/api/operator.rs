//! Who asks: the one place that turns a request into an [`Operator`].
//!
//! A layer over the whole API asks it before any route is looked at, so that no endpoint can be forgotten; handlers then
//! take a [`Looker`] (who may look), or a [`Decider`] (who may also decide). What a browser sends by itself (the page's
//! cookie, a proxy's header) opens the stream of changes and nothing else of the API: the page's script follows it.

use super::Api;
use super::problem::Problem;
use crate::operators::{Operator, Role};
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use jiff::Timestamp;
use std::sync::Arc;

/// What a request says of who sent it.
enum Credential<'a> {
    /// `Authorization: Bearer …`.
    Token(&'a [u8]),
    /// Whatever the page takes.
    Page,
}

/// What the page's script reads.
const CHANGES_PATH: &str = "/v1/changes";

/// Lets in who is known, and lets the handlers know who it is.
pub(crate) async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let operator = match identify(&api, &request, Timestamp::now()) {
        Ok(operator) => operator,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(operator.clone());
    let mut response = next.run(request).await;
    // For the line of the log that tells of the request.
    response.extensions_mut().insert(operator);
    response
}

/// Who sent a request.
fn identify(api: &Api, request: &Request, now: Timestamp) -> Result<Operator, Problem> {
    let unknown = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "token", detail);
    let needed = || unknown("a token is needed: Authorization: Bearer <token>");
    match credential(request).ok_or_else(needed)? {
        Credential::Token(token) => api.operators.bearer(token, now).cloned().map_err(|error| {
            tracing::warn!(%error, "a token is refused");
            unknown("the token is not accepted")
        }),
        Credential::Page => {
            let visitor = api.door.as_ref().and_then(|door| door.visitor(&api.operators, request, now));
            visitor.map(|visitor| visitor.operator).ok_or_else(needed)
        }
    }
}

fn credential(request: &Request) -> Option<Credential<'_>> {
    let headers = request.headers();
    if request.method() == Method::GET
        && request.uri().path() == CHANGES_PATH
        && !headers.contains_key(header::AUTHORIZATION)
    {
        return Some(Credential::Page);
    }
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (given.next()?.as_bytes(), given.next()) else { return None };
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(Credential::Token(token.trim_ascii()))
}

/// An operator who may look, which is any.
pub(crate) struct Looker(pub(crate) Operator);

impl<S: Send + Sync> FromRequestParts<S> for Looker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Looker, Problem> {
        let missing = || Problem::of_status(StatusCode::UNAUTHORIZED);
        parts.extensions.get::<Operator>().cloned().map(Looker).ok_or_else(missing)
    }
}

/// An operator who may decide.
pub(crate) struct Decider(pub(crate) Operator);

impl<S: Send + Sync> FromRequestParts<S> for Decider {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Decider, Problem> {
        let Looker(operator) = Looker::from_request_parts(parts, state).await?;
        Decider::of(operator)
    }
}

impl Decider {
    /// An operator, if he may decide.
    pub(crate) fn of(operator: Operator) -> Result<Decider, Problem> {
        match operator.role {
            Role::Operator => Ok(Decider(operator)),
            Role::Viewer => {
                let detail =
                    format!("{} may look and not decide: that takes the role operator", operator.name);
                Err(Problem::new(StatusCode::FORBIDDEN, "role", detail))
            }
        }
    }
}
