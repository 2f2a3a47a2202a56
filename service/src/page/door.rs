//! The door: who came in, by a session or by a proxy, and how to come in and go out.
//!
//! One layer asks before any page is looked at. Who may not come in is sent to the form and then back to where he wanted to
//! go, which is always a path of this page.

use super::fields::Fields;
use super::proxy::Proxy;
use super::session::{SessionSecret, Sessions, cookie, cookie_value, no_cookie};
use super::{Site, layout, origin};
use crate::api::problem::Problem;
use crate::operators::{Operator, Operators};
use axum::extract::{ConnectInfo, FromRequestParts, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where people come in.
const LOGIN: &str = "/login";

/// How people come in.
#[derive(Debug)]
pub(crate) struct Door {
    sessions: Sessions,
    proxy: Option<Proxy>,
}

/// Somebody who came in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) operator: Operator,
    /// What his forms are signed for.
    subject: String,
    /// Whether it is this page that lets him in, and so can let him out.
    pub(crate) has_session: bool,
}

impl Door {
    pub(crate) fn new(secrets: Vec<SessionSecret>, proxy: Option<Proxy>) -> Door {
        Door { sessions: Sessions::new(secrets), proxy }
    }

    /// Who sent a request.
    pub(crate) fn visitor(
        &self,
        operators: &Operators,
        request: &Request,
        now: Timestamp,
    ) -> Option<Visitor> {
        self.by_session(operators, request.headers(), now).or_else(|| self.by_proxy(request))
    }

    fn by_session(&self, operators: &Operators, headers: &HeaderMap, now: Timestamp) -> Option<Visitor> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let value = cookie_value(cookies, origin::is_secure(headers))?;
        let session = self.sessions.believed(value, now.as_second())?;
        let holder = operators.holder(&session.ticket, now).ok()?;
        let ends = Timestamp::from_second(session.ends_secs).ok()?;
        let ends = holder.expires_at.map_or(ends, |expires_at| expires_at.min(ends));
        let operator = Operator { expires_at: Some(ends), ..holder.clone() };
        Some(Visitor { operator, subject: session.subject, has_session: true })
    }

    fn by_proxy(&self, request: &Request) -> Option<Visitor> {
        let peer: Option<IpAddr> =
            request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let operator = self.proxy.as_ref()?.named(request.headers(), peer)?;
        let subject = format!("proxy.{}", operator.name);
        Some(Visitor { operator, subject, has_session: false })
    }

    /// What this visitor's forms carry.
    pub(crate) fn form_token(&self, visitor: &Visitor) -> String {
        self.sessions.form_token(&visitor.subject)
    }

    /// Whether a form is this visitor's own.
    pub(crate) fn is_form_token(&self, visitor: &Visitor, token: &str) -> bool {
        self.sessions.is_form_token(&visitor.subject, token)
    }
}

/// Lets in who may come in, and lets the handlers know who it is.
pub(crate) async fn ask(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let visitor = site.door().visitor(&site.api.operators, &request, Timestamp::now());
    let Some(visitor) = visitor else { return turn_away(&site, &request) };
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(visitor);
    response
}

/// To the form, and from there back to where he wanted to go.
fn turn_away(site: &Site, request: &Request) -> Response {
    let is_reading = request.method() == Method::GET || request.method() == Method::HEAD;
    if is_reading && origin::is_from_elsewhere(request.headers()) {
        // A link of another site: asked for by our own page, the browser sends the cookie along.
        return layout::again(site).into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
    // A form cannot be sent again: back to the page that it stood on.
    let wanted = if is_reading { wanted } else { request.uri().path() };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish();
    site.go(&format!("{LOGIN}?{query}"))
}

/// A path of this page, and of nothing else.
fn path_of(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain { next } else { "/" }
}

/// The form to come in by.
pub(crate) async fn form(State(site): State<Arc<Site>>, RawQuery(query): RawQuery) -> Response {
    let query = Fields::of(query.unwrap_or_default().as_bytes());
    layout::login(&site, path_of(query.get("next")), None).into_response()
}

/// Lets in who shows a token.
pub(crate) async fn sign_in(State(site): State<Arc<Site>>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let fields = Fields::own(request).await?;
    let next = path_of(fields.get("next"));
    let now = Timestamp::now();
    match site.api.operators.ticket(fields.get("token").trim().as_bytes(), now) {
        Ok((ticket, operator)) => {
            tracing::info!(operator = &*operator.name, "signed in");
            let value = site.door().sessions.begin(&ticket, now.as_second());
            Ok(with_cookie(site.go(next), &cookie(&value, origin::is_secure(&headers))))
        }
        Err(error) => {
            tracing::warn!(%error, "a token is refused");
            let page = layout::login(&site, next, Some(site.texts.token_refused));
            Ok((StatusCode::UNAUTHORIZED, page).into_response())
        }
    }
}

/// Takes the session from the browser.
pub(crate) async fn sign_out(State(site): State<Arc<Site>>, request: Request) -> Result<Response, Problem> {
    let is_secure = origin::is_secure(request.headers());
    Fields::signed(&site, request).await?;
    Ok(with_cookie(site.go(LOGIN), &no_cookie(is_secure)))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Visitor, Problem> {
        let missing = || Problem::of_status(StatusCode::UNAUTHORIZED);
        parts.extensions.get::<Visitor>().cloned().ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_a_path_of_this_page() {
        for own in ["/", "/breakers/bank-charge/a%252Fb?done=force", "/?state=open&name=x"] {
            assert_eq!(path_of(own), own);
        }
        for foreign in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "evil"] {
            assert_eq!(path_of(foreign), "/", "{foreign}");
        }
    }
}
