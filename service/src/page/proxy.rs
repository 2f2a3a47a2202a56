//! A proxy that has asked who somebody is, and says so in a header: off unless it is set.
//!
//! The header is believed only from the addresses of the proxy itself, by the TCP connection's own address and never by
//! what a header claims; names get their roles here. Whoever can reach the listener from such an address can be anybody.
//!
//! Left out: reading a signed token of the proxy (an ALB's `x-amzn-oidc-data`).

use crate::operators::{NAME_MAX_BYTES, Operator, Role};
use cutout_core::Problems;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// How many ranges and roles there may be.
const ENTRIES_MAX: usize = 1_000;
/// Stands for everybody whom the proxy names.
const ANYBODY: &str = "*";

/// Which header is believed, from where, and what those named in it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    header: HeaderName,
    from: Vec<IpNet>,
    roles: Vec<(String, Role)>,
}

impl Proxy {
    /// Reads a header's name, ranges of addresses parted by commas, and `name:role` parted by commas (`*:viewer` for
    /// everybody else). The settings' names are for the mistakes.
    ///
    /// # Errors
    /// All mistakes.
    pub fn parse(header: (&str, &str), from: (&str, &str), roles: (&str, &str)) -> Result<Proxy, Problems> {
        let mut problems = Problems::default();
        let name = header.1.trim().parse::<HeaderName>();
        if name.is_err() {
            problems.note(format!("{} is the name of a header, such as x-forwarded-email", header.0));
        }
        let from = entries(from, &mut problems, range);
        let roles = entries(roles, &mut problems, role);
        let name = name.unwrap_or(HeaderName::from_static("x-none"));
        problems.or(Proxy { header: name, from, roles })
    }

    /// Whom the proxy at `peer` names, if it is one and the name has a role.
    pub(crate) fn named(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Operator> {
        let peer = peer.map(|peer| peer.to_canonical())?;
        if !self.from.iter().any(|range| range.contains(&peer)) {
            return None;
        }
        let mut given = headers.get_all(&self.header).iter();
        // Two of them leave a doubt: one may have come from outside.
        let (value, None) = (given.next()?.to_str().ok()?.trim(), given.next()) else { return None };
        let plain = |c: char| c.is_ascii_graphic() && c != ',';
        if value.is_empty() || value.len() > NAME_MAX_BYTES || !value.chars().all(plain) {
            return None;
        }
        let exact = self.roles.iter().find(|(name, _)| name == value);
        let (_, role) = exact.or_else(|| self.roles.iter().find(|(name, _)| name == ANYBODY))?;
        Some(Operator { name: value.to_owned(), role: *role, expires_at: None })
    }
}

fn entries<T>(
    (setting, text): (&str, &str),
    problems: &mut Problems,
    entry: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut all = Vec::new();
    for (place, text) in text.split(',').enumerate() {
        match entry(text.trim()) {
            Ok(_) if all.len() == ENTRIES_MAX => {
                problems.note(format!("{setting} has more than {ENTRIES_MAX} entries"));
                break;
            }
            Ok(entry) => all.push(entry),
            Err(problem) => problems.note(format!("{setting}, entry {}: {problem}", place + 1)),
        }
    }
    all
}

fn range(text: &str) -> Result<IpNet, String> {
    let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let range = range.map_err(|_| format!("a range of addresses is 10.0.0.0/8 or 10.0.0.7, not {text:?}"))?;
    let is_all = range.prefix_len() == 0 || range.addr() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if is_all {
        Err(format!("{text} would believe everybody: name the proxy's addresses"))
    } else {
        Ok(range)
    }
}

fn role(text: &str) -> Result<(String, Role), String> {
    let (name, role) = text.rsplit_once(':').ok_or("an entry is name:role, or *:role for everybody else")?;
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        return Err(format!("a name has 1 to {NAME_MAX_BYTES} bytes"));
    }
    match role {
        "viewer" => Ok((name.to_owned(), Role::Viewer)),
        "operator" => Ok((name.to_owned(), Role::Operator)),
        other => Err(format!("a role is viewer or operator, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn proxy() -> Proxy {
        let roles = "ann@bank.example:operator,*:viewer";
        Proxy::parse(("H", "X-Forwarded-Email"), ("F", "10.0.0.0/8, ::1"), ("R", roles)).unwrap()
    }

    fn named(peer: &str, values: &[&'static str]) -> Option<(String, Role)> {
        let name = HeaderName::from_static("x-forwarded-email");
        let headers = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value)));
        let operator = proxy().named(&headers.collect(), peer.parse().ok())?;
        Some((operator.name, operator.role))
    }

    #[test]
    fn the_proxy_alone_is_believed_and_names_have_roles() {
        let ann = Some(("ann@bank.example".to_owned(), Role::Operator));
        assert_eq!(named("10.1.2.3", &["ann@bank.example"]), ann);
        assert_eq!(named("::ffff:10.1.2.3", &["ann@bank.example"]), ann);
        assert_eq!(named("::1", &["vic"]), Some(("vic".to_owned(), Role::Viewer)));
        for peer in ["11.0.0.1", "127.0.0.1", "::2", ""] {
            assert_eq!(named(peer, &["ann@bank.example"]), None, "{peer}");
        }
        for values in [&[][..], &[""], &["vic", "ann@bank.example"], &["vic,ann@bank.example"], &["a b"]] {
            assert_eq!(named("10.1.2.3", values), None, "{values:?}");
        }
    }

    #[test]
    fn who_has_no_role_is_nobody() {
        let proxy = Proxy::parse(("H", "x-user"), ("F", "10.0.0.7"), ("R", "ann:operator")).unwrap();
        let of = |name: &'static str| {
            let headers = [(HeaderName::from_static("x-user"), HeaderValue::from_static(name))];
            proxy.named(&headers.into_iter().collect(), "10.0.0.7".parse().ok())
        };
        assert!(of("ann").is_some() && of("vic").is_none() && of("*").is_none());
    }

    #[test]
    fn every_mistake_is_told() {
        let told =
            Proxy::parse(("H", "x y"), ("F", "10.0.0.0/8,0.0.0.0/0,x"), ("R", "ann,:viewer,ann:admin"));
        let told: Vec<String> = told.unwrap_err().iter().map(str::to_owned).collect();
        let expected = [
            "H is the name of a header",
            "F, entry 2: 0.0.0.0/0 would believe everybody",
            "F, entry 3: a range",
            "R, entry 1: an entry is",
            "R, entry 2: a name",
            "R, entry 3: a role",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        assert!(told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected)), "{told:#?}");
    }
}
