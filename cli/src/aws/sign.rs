//! AWS's Signature Version 4, for requests whose whole body is at hand.
//!
//! All of it is a few hashes in a fixed order; the crates that do it bring AWS's own runtime along. AWS's published
//! example is a test below.

use super::credentials::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    /// Names in lower case. They are signed too.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
    pub(super) service: &'a str,
    pub(super) region: &'a str,
}

/// The headers to add.
pub(super) fn authorization(
    request: &Unsigned<'_>,
    credentials: &Credentials,
    now: Timestamp,
) -> Vec<(&'static str, HeaderValue)> {
    let (at, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
    let host = host(request.url);
    let mut headers: BTreeMap<&str, &str> = request.headers.iter().copied().collect();
    headers.extend([("host", host.as_str()), ("x-amz-date", at.as_str())]);
    if let Some(token) = &credentials.session_token {
        headers.insert("x-amz-security-token", token);
    }
    let names = headers.keys().copied().collect::<Vec<_>>().join(";");
    let canonical = canonical(request, &headers, &names);
    let Unsigned { region, service, .. } = request;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let first = format!("AWS4{}", credentials.secret_access_key);
    let key = [&day, *region, *service, "aws4_request"]
        .into_iter()
        .fold(first.into_bytes(), |key, part: &str| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let id = &credentials.access_key_id;
    let authorization =
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    let token = credentials.session_token.as_ref().map(|token| ("x-amz-security-token", token.clone()));
    [("authorization", authorization), ("x-amz-date", at)]
        .into_iter()
        .chain(token)
        .filter_map(|(name, value)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(name != "x-amz-date");
            Some((name, value))
        })
        .collect()
}

/// The request as AWS writes it down before it is hashed. The query is empty in all that is signed here.
fn canonical(request: &Unsigned<'_>, headers: &BTreeMap<&str, &str>, names: &str) -> String {
    let mut canonical = format!("{}\n{}\n\n", request.method, request.url.path());
    for (name, value) in headers {
        // Writing to a String cannot fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{}", hex(&Sha256::digest(request.body)));
    canonical
}

/// The host as the HTTP client sends it: with its port unless that is the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(token: Option<&str>, headers: &[(&str, &str)], body: &[u8]) -> String {
        let url: Url = "https://example.amazonaws.com/".parse().unwrap();
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: token.map(str::to_owned),
        };
        let request = Unsigned {
            method: Method::POST,
            url: &url,
            headers,
            body,
            service: "service",
            region: "us-east-1",
        };
        let added = authorization(&request, &credentials, "2015-08-30T12:36:00Z".parse().unwrap());
        added.iter().find(|(name, _)| *name == "authorization").unwrap().1.to_str().unwrap().to_owned()
    }

    #[test]
    fn published_examples_are_signed_as_published() {
        // AWS's test suite for Signature Version 4: post-vanilla, post-x-www-form-urlencoded, post-sts-header-before.
        for (token, headers, body, signature) in [
            (None, &[][..], &b""[..], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                None,
                &[("content-type", "application/x-www-form-urlencoded")][..],
                b"Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                Some(
                    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==",
                ),
                &[][..],
                b"",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let signed = signed(token, headers, body);
            assert!(signed.ends_with(&format!("Signature={signature}")), "{signed}");
        }
    }
}
