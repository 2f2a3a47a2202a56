//! The fields of a form or a query, as browsers send them. A field that was left empty counts as not sent.

use super::{Site, Visitor, origin};
use crate::api::problem::Problem;
use crate::callback::BODY_READ_TIMEOUT;
use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use http::{StatusCode, Uri, header};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// How many fields are looked at.
const FIELDS_MAX: usize = 32;
/// The field that shows that a form is this visitor's own.
pub(crate) const FORM_TOKEN: &str = "form_token";
/// How browsers send a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// Fields by name, the first of each.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Those of a body or a query.
    pub(crate) fn of(encoded: &[u8]) -> Fields {
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(encoded).take(FIELDS_MAX) {
            if !value.is_empty() {
                fields.entry(name.into_owned()).or_insert(value.into_owned());
            }
        }
        Fields(fields)
    }

    /// One field; empty if it was not sent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Those of a form that was sent by a page of this host.
    pub(crate) async fn own(request: Request) -> Result<Fields, Problem> {
        let not_ours = || {
            let detail = "the form was not sent by this page: open the page anew and send it again";
            Problem::new(StatusCode::FORBIDDEN, "form", detail)
        };
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !origin::is_own(request.headers()) || kind != Some(FORM) {
            return Err(not_ours());
        }
        let too_large = |_| Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE);
        let reading = tokio::time::timeout(BODY_READ_TIMEOUT, Bytes::from_request(request, &()));
        let body = reading.await.map_err(|_| Problem::slow())?.map_err(too_large)?;
        Ok(Fields::of(&body))
    }

    /// Those of a form that this page sent, made for this visitor.
    pub(crate) async fn signed(site: &Site, request: Request) -> Result<(Visitor, Fields), Problem> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| Problem::of_status(StatusCode::UNAUTHORIZED))?;
        let fields = Fields::own(request).await?;
        if site.door().is_form_token(&visitor, fields.get(FORM_TOKEN)) {
            return Ok((visitor, fields));
        }
        let detail = "the form is of another session: open the page anew and send it again";
        Err(Problem::new(StatusCode::FORBIDDEN, "form", detail))
    }
}

/// A query as the API reads it, but for the fields that were left empty and those that are the page's own.
pub(crate) fn query<T: DeserializeOwned>(query: &str, own: &[&str]) -> Result<T, Problem> {
    let mut kept = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()).take(FIELDS_MAX) {
        if !value.is_empty() && !own.contains(&&*name) {
            kept.append_pair(&name, &value);
        }
    }
    let uri: Uri = format!("/?{}", kept.finish()).parse().unwrap_or_default();
    Query::<T>::try_from_uri(&uri).map(|Query(query)| query).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::flags::ListQuery;

    #[test]
    fn what_was_left_empty_was_not_sent() {
        let fields = Fields::of(b"why=+&until=&state=open&state=closed&name=%3Cb%3E");
        assert_eq!((fields.get("why"), fields.get("until"), fields.get("none")), (" ", "", ""));
        assert_eq!((fields.get("state"), fields.get("name")), ("open", "<b>"));
        let query: ListQuery = query("state=&name=bank&key=&done=force", &["done"]).unwrap();
        assert!(query.state.is_none() && query.key.is_none() && query.name.as_deref() == Some("bank"));
        assert!(super::query::<ListQuery>("state=ajar", &[]).is_err());
        assert!(super::query::<ListQuery>("done=force", &[]).is_err(), "an unknown field is a mistake");
    }
}
