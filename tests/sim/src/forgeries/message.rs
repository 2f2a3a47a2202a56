//! A message as HTTP carries it: headers in their order, some perhaps twice, and the body's bytes.

use axum::body::Body;
use cutout_core::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use cutout_service::callback::CALLBACK_PATH;
use http::{HeaderName, HeaderValue, Request};

/// What HTTP calls optional white space: no part of a value at its ends.
const BLANKS: [char; 2] = [' ', '\t'];
/// The three headers that matter.
pub(crate) const HEADERS: [&str; 3] = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> Message {
        let values = [id, timestamp, signatures];
        let headers = HEADERS.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_owned()));
        Message { headers: headers.collect(), body: body.to_owned() }
    }

    /// The values of a header, in their order, as a receiver reads them: without blanks at the ends.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let same_name = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same_name.map(|(_, value)| value.trim_matches(BLANKS)).collect()
    }

    /// The first value of a header, to be changed; an empty one is added where there is none.
    pub(crate) fn value_mut(&mut self, name: &str) -> &mut String {
        let at = self.headers.iter().position(|(other, _)| other.eq_ignore_ascii_case(name));
        let at = at.unwrap_or_else(|| {
            self.headers.push((name.to_owned(), String::new()));
            self.headers.len() - 1
        });
        &mut self.headers[at].1
    }

    /// The request; none if HTTP cannot carry it.
    pub(crate) fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::post(CALLBACK_PATH).body(Body::from(self.body.clone())).ok()?;
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_bytes(value.trim_matches(BLANKS).as_bytes()).ok()?;
            request.headers_mut().append(name, value);
        }
        Some(request)
    }
}
