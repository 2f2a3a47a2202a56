//! Whether a request was sent by this page, and whether the way to it is TLS: what a browser says of a request.
//!
//! A form of another site is refused by this alone, whatever cookies came along. Browsers send `Sec-Fetch-Site` over TLS and
//! on loopback, and `Origin` with every form; a request that says neither is not a browser's, and has no business here.

use http::{HeaderMap, header};
use std::net::IpAddr;
use url::Url;

/// What a browser says of where a request comes from.
const FETCH_SITE: &str = "sec-fetch-site";
/// What a proxy says of the way to it.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a form was sent by a page of this host.
pub(crate) fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = text(headers, FETCH_SITE) {
        return site == "same-origin";
    }
    let origin = text(headers, header::ORIGIN.as_str()).and_then(|origin| Url::parse(origin).ok());
    let (Some(origin), Some(host)) = (origin, text(headers, header::HOST.as_str())) else { return false };
    let own = Url::parse(&format!("{}://{host}/", origin.scheme()));
    matches!(origin.scheme(), "https" | "http") && own.is_ok_and(|own| own.origin() == origin.origin())
}

/// Whether somebody came by a link of another site: a browser then leaves a strict cookie at home.
pub(crate) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    text(headers, FETCH_SITE) == Some("cross-site")
}

/// Whether the cookie must travel by TLS alone: yes, but for a browser that reads this page on its own machine.
pub(crate) fn is_secure(headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST.as_str()).unwrap_or_default();
    let is_tls = text(headers, FORWARDED_PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
    is_tls || !is_loopback(host)
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_form_of_another_site_is_not_our_own() {
        let host = ("host", "breakers.bank.example");
        let own = |more: &[(&'static str, &'static str)]| is_own(&headers(&[&[host], more].concat()));
        assert!(own(&[("sec-fetch-site", "same-origin")]));
        assert!(own(&[("origin", "https://breakers.bank.example")]));
        assert!(own(&[("origin", "https://breakers.bank.example:443")]));
        assert!(is_own(&headers(&[("host", "127.0.0.1:8081"), ("origin", "http://127.0.0.1:8081")])));
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
            ("origin", "https://bank.example"),
            ("origin", "https://breakers.bank.example:8443"),
            ("origin", "null"),
            ("referer", "https://breakers.bank.example/"),
        ] {
            assert!(!own(&[(name, value)]), "{name}: {value}");
        }
        let both = [("sec-fetch-site", "cross-site"), ("origin", "https://breakers.bank.example")];
        assert!(!own(&both), "what the browser says of it comes first");
        assert!(!own(&[]));
    }

    #[test]
    fn the_cookie_goes_without_tls_on_loopback_alone() {
        for host in ["localhost:8081", "127.0.0.1:8081", "127.0.0.1", "[::1]:8081", "LOCALHOST"] {
            assert!(
                !is_secure(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])),
                "{host}"
            );
        }
        for host in ["10.0.0.1:8081", "localhost.evil.example", "breakers.bank.example", "[::2]", ""] {
            assert!(
                is_secure(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])),
                "{host}"
            );
        }
        assert!(is_secure(&headers(&[("host", "localhost:8081"), ("x-forwarded-proto", "https")])));
    }
}
