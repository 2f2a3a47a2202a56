//! The guard on URLs: another spelling gets the same verdict, a second parser sees the same host, and nothing private is admitted
//! that no setting opens.
//!
//! An input is four lines: allowed hosts, allowed networks, `http` or nothing, and the URL.

use super::{first_line, text};
use cutout_lambda::guard::{AllowedHost, CallbackUrl, Guard, GuardSettings, Refused};
use http::Uri;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn judge(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (allow, rest) = first_line(text);
    let (cidrs, rest) = first_line(rest);
    let (http, url) = first_line(rest);
    let settings = GuardSettings {
        allow: allow.split(',').filter_map(|entry| entry.parse().ok()).collect(),
        allow_cidrs: cidrs.split(',').filter_map(|cidr| cidr.parse().ok()).collect(),
        allow_http: http == "http",
    };
    assert!(Guard::new(GuardSettings::default()).check(url).is_err(), "nothing is allowed by default");
    public_only(url);
    let guard = Guard::new(settings.clone());
    let verdict = guard.check(url);
    spellings(&guard, url, &verdict);
    if let Ok(passed) = &verdict {
        second_parser(url, passed);
        listed(allow, passed, &settings, &guard);
        more_is_allowed(&settings, url, passed);
    }
}

/// The address that a URL names itself.
fn literal(url: &CallbackUrl) -> Option<IpAddr> {
    url.host().trim_matches(['[', ']']).parse().ok()
}

/// Every host is allowed, but no network is named: then an address in a URL is public, by rules written a second time.
fn public_only(url: &str) {
    let allow = vec!["*:*".parse().expect("any host")];
    let guard = Guard::new(GuardSettings { allow, allow_http: true, ..Default::default() });
    if let Some(addr) = guard.check(url).ok().as_ref().and_then(literal) {
        assert!(is_public(addr), "{addr} is not public");
        assert_eq!(guard.vet(addr), Ok(()), "{addr} passes as it would behind a name");
    }
}

fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => is_public_v4(addr),
        IpAddr::V6(addr) => is_public_v6(addr),
    }
}

fn is_public_v4(addr: Ipv4Addr) -> bool {
    let special = addr.is_private()
        || addr.is_loopback()
        || addr.is_link_local()
        || addr.is_multicast()
        || addr.is_broadcast()
        || addr.is_documentation();
    let [a, b, c, _] = addr.octets();
    !special
        && a != 0
        && a < 240
        && !(a == 100 && b & 0xc0 == 64)
        && !(a == 198 && b & 0xfe == 18)
        && [a, b, c] != [192, 0, 0]
}

fn is_public_v6(addr: Ipv6Addr) -> bool {
    let [a, b, ..] = addr.segments();
    let is_global = a & 0xe000 == 0x2000;
    // Protocol assignments with Teredo, documentation twice, 6to4.
    is_global && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && a != 0x2002 && !(a == 0x3fff && b < 0x1000)
}

/// Ways to write the same URL get the same verdict, and what no URL may hold is refused.
fn spellings(guard: &Guard, url: &str, verdict: &Result<CallbackUrl, Refused>) {
    for refused in [
        format!(" {url}"),
        format!("{url}\t"),
        format!("{url}\n"),
        format!("{url}\\"),
        url.replace("://", "://a@"),
    ] {
        assert!(refused == url || guard.check(&refused).is_err(), "{refused:?}");
    }
    let Ok(passed) = verdict else { return };
    let same = Ok(passed.clone());
    assert_eq!(guard.check(passed.as_str()), same, "in its canonical spelling");
    let (scheme, rest) = url.split_once("://").expect("it passed");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let capitals = format!("{}://{}{tail}", scheme.to_ascii_uppercase(), authority.to_ascii_uppercase());
    assert_eq!(guard.check(&capitals), same, "in capitals");
    if !tail.contains('#') && url.len() < 1_024 {
        assert_eq!(guard.check(&format!("{url}#fragment")), same, "with a fragment");
    }
    if authority == passed.host() && url.len() < 1_024 {
        let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        assert_eq!(guard.check(&format!("{scheme}://{authority}:{port}{tail}")), same, "with its usual port");
        assert!(guard.check(&format!("{scheme}://{authority}.{tail}")).is_err(), "with a dot at the end");
    }
}

/// A second parser finds the same host and port in what was written, and in what is dialled.
fn second_parser(url: &str, passed: &CallbackUrl) {
    let dialled: Uri = passed.as_str().parse().expect("the canonical spelling is a URL for others too");
    assert_eq!(dialled.host(), Some(passed.host()));
    if let Ok(written) = url.split('#').next().unwrap_or_default().parse::<Uri>() {
        assert_eq!(written.host().map(str::to_ascii_lowercase).as_deref(), Some(passed.host()));
        assert_eq!(port(&written), port(&dialled));
    }
}

fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(default_port(uri))
}

fn default_port(uri: &Uri) -> u16 {
    if uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) { 80 } else { 443 }
}

/// What passed is on the list, by rules written a second time; an address is where it may be.
fn listed(allow: &str, passed: &CallbackUrl, settings: &GuardSettings, guard: &Guard) {
    let uri: Uri = passed.as_str().parse().expect("parsed before");
    assert!(settings.allow_http || uri.scheme_str() == Some("https"));
    let (port, default_port) = (port(&uri), default_port(&uri));
    if let Some(addr) = literal(passed) {
        assert_eq!(guard.vet(addr), Ok(()));
        assert!(is_public(addr) || settings.allow_cidrs.iter().any(|cidr| cidr.contains(&addr)));
        return;
    }
    let admits = |entry: &str| {
        let (host, wanted) = entry.rsplit_once(':').unwrap_or((entry, ""));
        let host = host.to_ascii_lowercase();
        let by_port = match wanted {
            "" => port == default_port,
            "*" => true,
            number => number.parse() == Ok(port),
        };
        let below = host
            .strip_prefix('*')
            .is_some_and(|suffix| suffix.starts_with('.') && passed.host().ends_with(suffix));
        by_port && (host == "*" || host == passed.host() || below)
    };
    let entries = allow.split(',').filter(|entry| entry.parse::<AllowedHost>().is_ok());
    assert!(entries.into_iter().any(admits), "{} is on no list: {allow}", passed.as_str());
}

/// Whoever allows more hosts, or `http`, refuses nothing that passed before.
fn more_is_allowed(settings: &GuardSettings, url: &str, passed: &CallbackUrl) {
    let mut more = GuardSettings { allow_http: true, ..settings.clone() };
    more.allow.push("other.example".parse().expect("a host"));
    assert_eq!(Guard::new(more).check(url).as_ref(), Ok(passed));
}
