//! What an allow list lets through, and what it must not.

use super::*;

fn guard(allow: &[&str], cidrs: &[&str], allow_http: bool) -> Guard {
    Guard::new(GuardSettings {
        allow: allow.iter().map(|entry| entry.parse().unwrap()).collect(),
        allow_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        allow_http,
    })
}

fn passes(entry: &str, url: &str) -> bool {
    guard(&[entry], &[], true).check(url).is_ok()
}

#[test]
fn an_entry_matches_whole_labels_and_its_port() {
    for (entry, url, expected) in [
        ("api.example.com", "https://api.example.com/x", true),
        ("api.example.com", "https://API.Example.COM/x", true),
        ("API.example.com", "https://api.example.com:443/x", true),
        ("api.example.com", "http://api.example.com/x", true),
        ("api.example.com", "https://api.example.com:8443/x", false),
        ("api.example.com", "https://api.example.com:80/x", false),
        ("api.example.com", "http://api.example.com:443/x", false),
        ("api.example.com", "https://x.api.example.com/", false),
        ("api.example.com", "https://api.example.com.evil.example/", false),
        ("api.example.com:8443", "https://api.example.com:8443/x", true),
        ("api.example.com:8443", "https://api.example.com/x", false),
        ("api.example.com:*", "https://api.example.com:1/x", true),
        ("*.example.com", "https://a.example.com/", true),
        ("*.example.com", "https://a.b.example.com/", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://aexample.com/", false),
        ("*.example.com", "https://a.example.com:8443/", false),
        ("*.example.com:*", "https://a.example.com:8443/", true),
        ("*", "https://anything.example/", true),
        ("*", "https://anything.example:8443/", false),
        ("*:*", "https://anything.example:8443/", true),
        ("servicea", "https://servicea/", true),
    ] {
        assert_eq!(passes(entry, url), expected, "{entry} for {url}");
    }
    assert!(guard(&[], &[], true).check("https://api.example.com/").is_err(), "an empty list allows nothing");
}

#[test]
fn an_entry_that_is_none_is_named() {
    let named = |entry: &str| entry.parse::<AllowedHost>().unwrap_err();
    let entry = |text: &str| text.to_owned();
    for text in [
        "",
        ":443",
        "https://a.example",
        "a.example/x",
        "a..b",
        "a.",
        "*.",
        "*a",
        "a.*.b",
        "a b",
        " a",
        "ä.de",
        "**",
    ] {
        assert_eq!(named(text), AllowedHostError::Host { entry: entry(text) }, "{text}");
    }
    for text in ["a:", "a:0", "a:65536", "a:http", "a:-1", "*:**"] {
        assert_eq!(named(text), AllowedHostError::Port { entry: entry(text) }, "{text}");
    }
    for text in ["10.0.0.1", "10.0.0.1:443", "::1", "[::1]", "[::1]:443"] {
        assert_eq!(named(text), AllowedHostError::Address { entry: entry(text) }, "{text}");
    }
    assert!(named("a b:443").to_string().contains("\"a b:443\""));
}

#[test]
fn a_refusal_names_the_host_and_the_setting_and_nothing_else_of_the_url() {
    let guard = guard(&["api.example.com"], &["10.0.0.0/8"], false);
    for (url, host, remedy) in [
        ("https://rogue.example/?k=hush", "rogue.example", "CUTOUT_CALLBACK_ALLOW;"),
        ("https://api.example.com:8443/hush", "api.example.com:8443", "CUTOUT_CALLBACK_ALLOW;"),
        ("http://api.example.com/hush", "api.example.com", "CUTOUT_CALLBACK_ALLOW_HTTP"),
        ("https://192.168.0.1/hush", "192.168.0.1", "CUTOUT_CALLBACK_ALLOW_CIDR"),
        ("https://8.8.8.8/hush", "8.8.8.8", "CUTOUT_CALLBACK_ALLOW_CIDR"),
        ("https://hush:hush@api.example.com/", "api.example.com", "@ before the host"),
        ("http://hush@hush@api.example.com:80/", "api.example.com", "@ before the host"),
        ("https://api.example.com./hush", "api.example.com.", "spelling"),
        ("https://api.example.com:0/hush", "api.example.com", "spelling"),
        ("https://api.example.com:99999/hush", "", "parsed"),
        ("ftp://hush/hush", "", "https://"),
        ("https://api.example.com/hu sh/hush", "", "percent-encode"),
    ] {
        let refused = guard.check(url).unwrap_err();
        let told = format!("{refused} {refused:?}");
        assert!(told.contains(host) && told.contains(remedy), "{url}: {told}");
        assert!(!told.contains("hush"), "{url}: {told}");
    }
    assert!(guard.check(&format!("https://api.example.com/{}", "x".repeat(URL_LEN_MAX))).is_err());
    let passed = guard.check("https://api.example.com/hush").unwrap();
    assert_eq!(format!("{passed:?}"), "CallbackUrl { host: \"api.example.com\", .. }");
}

#[test]
fn a_url_that_passes_is_canonical_and_has_no_fragment() {
    let passed = guard(&["*:*"], &[], true).check("HTTPS://Api.Example.com:443?x=/../a#part").unwrap();
    assert_eq!((passed.as_str(), passed.host()), ("https://api.example.com/?x=/../a", "api.example.com"));
    let literal = guard(&["*:*"], &[], true).check("https://[2606:4700:4700::1111]:8443/").unwrap();
    assert_eq!(literal.host(), "[2606:4700:4700::1111]");
}

#[test]
fn a_literal_must_be_meant_by_a_cidr_or_by_the_entry_for_any_host() {
    for (allow, cidrs, url, expected) in [
        ("*", "", "https://8.8.8.8/", true),
        ("*", "", "https://8.8.8.8:8443/", false),
        ("*:*", "", "https://8.8.8.8:8443/", true),
        ("*:*", "", "https://10.0.0.1/", false),
        ("api.example.com:*", "", "https://8.8.8.8/", false),
        ("*.8.8:*", "", "https://8.8.8.8/", false),
        ("api.example.com", "10.0.0.0/8", "https://10.0.0.1:8443/", true),
        ("api.example.com", "10.0.0.0/8", "https://8.8.8.8/", false),
        ("*:*", "10.0.0.0/8", "https://8.8.8.8/", false),
        ("api.example.com", "8.8.8.0/24", "https://8.8.8.8/", true),
        ("api.example.com", "0.0.0.0/0", "https://8.8.8.8/", false),
        ("*", "0.0.0.0/0", "https://8.8.8.8/", true),
    ] {
        let cidrs: Vec<&str> = cidrs.split(',').filter(|cidr| !cidr.is_empty()).collect();
        assert_eq!(guard(&[allow], &cidrs, false).check(url).is_ok(), expected, "{allow} {cidrs:?} {url}");
    }
}

#[test]
fn a_special_range_opens_only_by_a_cidr_within_it() {
    for (cidr, addr, expected) in [
        ("127.0.0.0/8", "127.0.0.1", true),
        ("127.0.0.1/32", "127.0.0.1", true),
        ("126.0.0.0/7", "127.0.0.1", false),
        ("126.0.0.0/7", "126.0.0.1", true),
        ("0.0.0.0/0", "127.0.0.1", false),
        ("0.0.0.0/0", "10.0.0.1", false),
        ("0.0.0.0/0", "93.184.216.34", true),
        ("0.0.0.0/0", "2606:4700:4700::1111", false),
        ("::/0", "2606:4700:4700::1111", true),
        ("::/0", "::1", false),
        ("::1/128", "::1", true),
        ("169.254.0.0/16", "169.254.1.1", true),
        ("169.254.0.0/16", "169.254.169.254", false),
        ("169.254.169.254/32", "169.254.169.254", true),
        ("168.0.0.0/8", "168.63.129.16", false),
        ("100.64.0.0/10", "100.64.1.1", true),
        ("100.0.0.0/8", "100.64.1.1", false),
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "93.184.216.34", false),
        ("fd00::/8", "fd12:3456:789a::1", true),
        ("fd00::/8", "fd00:ec2::254", false),
        ("fd00:ec2::/32", "fd00:ec2::254", true),
        ("::/3", "::ffff:10.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", false),
        ("::ffff:10.0.0.0/104", "::ffff:10.0.0.1", false),
        ("64:ff9b::/96", "64:ff9b::808:808", false),
        ("2002::/16", "2002:808:808::1", false),
    ] {
        let guard = guard(&[], &[cidr], false);
        assert_eq!(guard.vet(addr.parse().unwrap()).is_ok(), expected, "{cidr} for {addr}");
    }
}

#[test]
fn without_cidrs_only_public_addresses_pass_and_the_edges_of_each_range_are_right() {
    let guard = guard(&["*"], &[], false);
    let public = |addr: &str| guard.vet(addr.parse().unwrap()).is_ok();
    for (inside, before, after) in [
        (["10.0.0.0", "10.255.255.255"], "9.255.255.255", "11.0.0.0"),
        (["100.64.0.0", "100.127.255.255"], "100.63.255.255", "100.128.0.0"),
        (["127.0.0.0", "127.255.255.255"], "126.255.255.255", "128.0.0.0"),
        (["169.254.0.0", "169.254.255.255"], "169.253.255.255", "169.255.0.0"),
        (["172.16.0.0", "172.31.255.255"], "172.15.255.255", "172.32.0.0"),
        (["192.168.0.0", "192.168.255.255"], "192.167.255.255", "192.169.0.0"),
        (["198.18.0.0", "198.19.255.255"], "198.17.255.255", "198.20.0.0"),
        (["168.63.129.16", "168.63.129.16"], "168.63.129.15", "168.63.129.17"),
        (["2002::", "2002:ffff::"], "2001:ffff::", "2003::"),
        (["2001::", "2001:1ff:ffff::"], "2000:ffff::", "2001:200::"),
        (["3fff::", "3fff:fff:ffff::"], "3ffe:ffff::", "3fff:1000::"),
    ] {
        for addr in inside {
            assert!(!public(addr), "{addr}");
        }
        assert!(public(before) && public(after), "{before} {after}");
    }
    for addr in
        ["0.0.0.0", "0.255.255.255", "224.0.0.1", "255.255.255.255", "::", "1fff::", "4000::", "ffff::"]
    {
        assert!(!public(addr), "{addr}");
    }
    for addr in ["1.0.0.0", "223.255.255.255", "2000::"] {
        assert!(public(addr), "{addr}");
    }
}

#[test]
fn a_url_a_name_and_a_label_may_be_as_long_as_they_may_be_and_no_longer() {
    let any = guard(&["*"], &[], false);
    let url = |len: usize| format!("https://a.example/{}", "x".repeat(len - "https://a.example/".len()));
    assert!(any.check(&url(URL_LEN_MAX)).is_ok());
    assert_eq!(any.check(&url(URL_LEN_MAX + 1)), Err(Refused::Length { len: URL_LEN_MAX + 1 }));
    let label = |len: usize| "a".repeat(len);
    let of_labels = |last: usize| format!("{0}.{0}.{0}.{1}", label(63), label(last));
    for (host, is_one) in [
        (label(63), true),
        (label(64), false),
        (of_labels(61), true), // 253 bytes
        (of_labels(62), false),
    ] {
        assert_eq!(any.check(&format!("https://{host}/")).is_ok(), is_one, "{} bytes", host.len());
        assert_eq!(host.parse::<AllowedHost>().is_ok(), is_one, "{} bytes", host.len());
    }
}
