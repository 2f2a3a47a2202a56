//! The guard on callback URLs: whoever may edit a monitor must not steer a function inside the VPC.
//!
//! Two questions, both pure. [`Guard::check`] judges a URL's text once, before anything is sent: spelling, scheme, the
//! allow list, and a literal address. [`Guard::vet`] judges each address that a name resolves to; [`VettingResolver`]
//! asks it inside the connector, so that what was judged is what is dialled.
//!
//! **Addresses.** Without `CUTOUT_CALLBACK_ALLOW_CIDR` every address must be public. With it, every address must lie in
//! one of its ranges, and one of a special range (loopback, private, link-local, metadata, …) must lie in a range that
//! is itself no wider than the special one. So `0.0.0.0/0` means "any public IPv4 address" and nothing more.
//! **Literals.** A URL whose host is an address must pass that rule, and be meant: by a range in
//! `CUTOUT_CALLBACK_ALLOW_CIDR` (a `/0` names nobody), or by the entry `*` of `CUTOUT_CALLBACK_ALLOW`. No other entry of
//! the allow list matches an address.
//!
//! Left out: redirects, proxies, time and size limits. Those are the connector's, in [`crate::callbacks`].

mod address;
mod allow;
mod refused;
mod resolver;

pub use allow::{AllowedHost, AllowedHostError};
pub use refused::Refused;
pub use resolver::{ResolveError, SystemResolver, VettingResolver};

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use url::{Host, Url};

/// The longest callback URL that is read, in bytes.
pub const URL_LEN_MAX: usize = 2_048;

/// Printable ASCII that RFC 3986 keeps out of URLs, and that parsers disagree about.
const NOT_IN_URLS: &[u8] = b"\\\"<>^`{|}";

/// What operators allow. The default allows nothing.
#[derive(Debug, Clone, Default)]
pub struct GuardSettings {
    /// `CUTOUT_CALLBACK_ALLOW`: the hosts that may be called.
    pub allow: Vec<AllowedHost>,
    /// `CUTOUT_CALLBACK_ALLOW_CIDR`: where they may stand. Empty: at any public address.
    pub allow_cidrs: Vec<IpNet>,
    /// `CUTOUT_CALLBACK_ALLOW_HTTP`: also plain `http`.
    pub allow_http: bool,
}

/// The judge of callback URLs and of the addresses behind them.
#[derive(Debug, Clone)]
pub struct Guard {
    settings: GuardSettings,
}

/// A URL that [`Guard::check`] let pass, in its canonical spelling and without a fragment (which is never sent).
/// Its `Debug` shows the host only: path and query may hold what is nobody else's business.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallbackUrl(Url);

impl CallbackUrl {
    /// The whole URL: what a callback says it was sent to.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host: a lower-case name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        // `check` lets no URL without a host pass.
        self.0.host_str().unwrap_or_default()
    }

    pub(crate) fn to_url(&self) -> Url {
        self.0.clone()
    }
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackUrl").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard that lets pass what `settings` allow.
    #[must_use]
    pub fn new(settings: GuardSettings) -> Guard {
        Guard { settings }
    }

    /// Judges a callback URL as it stands in a monitor's message. A host that is a name has still to be resolved, and
    /// each of its addresses vetted.
    ///
    /// # Errors
    /// [`Refused`]: which rule it breaks, and the setting or the text to change.
    pub fn check(&self, url_text: &str) -> Result<CallbackUrl, Refused> {
        let written = Written::read(url_text)?;
        if !written.secure && !self.settings.allow_http {
            return Err(Refused::PlainHttp { host: written.host.to_owned() });
        }
        // The only parse. Everything below, and the connector, uses its result and never the text again.
        let mut url = Url::parse(url_text).map_err(Refused::Malformed)?;
        url.set_fragment(None);
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or_else(|| written.misspelt())?;
        // One spelling a host: no `2130706433`, `0x7f.1`, `%31`, or host taken from the path because none was given, even
        // where it means an allowed one.
        if url.host_str() != Some(written.host.to_ascii_lowercase().as_str()) {
            return Err(written.misspelt());
        }
        let default_port = if written.secure { 443 } else { 80 };
        match url.host() {
            Some(Host::Domain(name)) if allow::is_host_name(name) => {
                self.check_name(name, port, default_port)?;
            }
            Some(Host::Ipv4(addr)) => self.check_literal(addr.into(), port, default_port)?,
            Some(Host::Ipv6(addr)) => self.check_literal(addr.into(), port, default_port)?,
            Some(Host::Domain(_)) | None => return Err(written.misspelt()),
        }
        Ok(CallbackUrl(url))
    }

    /// Judges one address, resolved or literal, by the rule at the top of this module.
    ///
    /// # Errors
    /// [`Refused::Address`], with the address for a host.
    pub fn vet(&self, addr: IpAddr) -> Result<(), Refused> {
        self.vet_for(&addr.to_string(), addr)
    }

    /// Judges an address that `host` resolved to.
    pub(crate) fn vet_for(&self, host: &str, addr: IpAddr) -> Result<(), Refused> {
        let special = address::special_range(addr);
        let cidrs = &self.settings.allow_cidrs;
        let opens =
            |cidr: &IpNet| cidr.contains(&addr) && special.is_none_or(|range| range.is_opened_by(cidr));
        let allowed = if cidrs.is_empty() { special.is_none() } else { cidrs.iter().any(opens) };
        let range = special.map_or("public", |range| range.name);
        if allowed { Ok(()) } else { Err(Refused::Address { host: host.to_owned(), addr, range }) }
    }

    fn check_name(&self, name: &str, port: u16, default_port: u16) -> Result<(), Refused> {
        let listed = self.settings.allow.iter().any(|entry| entry.admits_name(name, port, default_port));
        if listed { Ok(()) } else { Err(Refused::NotListed { host: name.to_owned(), port }) }
    }

    fn check_literal(&self, addr: IpAddr, port: u16, default_port: u16) -> Result<(), Refused> {
        self.vet(addr)?;
        let in_cidr =
            self.settings.allow_cidrs.iter().any(|cidr| cidr.prefix_len() > 0 && cidr.contains(&addr));
        let any_host = || self.settings.allow.iter().any(|entry| entry.admits_any_host(port, default_port));
        if in_cidr || any_host() { Ok(()) } else { Err(Refused::LiteralNotListed { addr, port }) }
    }
}

/// A URL's text after the rules that no parser may see it before: parsers repair what they read, and each differently.
struct Written<'a> {
    secure: bool,
    host: &'a str,
}

impl<'a> Written<'a> {
    fn read(text: &'a str) -> Result<Written<'a>, Refused> {
        if text.len() > URL_LEN_MAX {
            return Err(Refused::Length { len: text.len() });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !NOT_IN_URLS.contains(&byte)) {
            return Err(Refused::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Refused::Scheme)?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(Refused::Scheme);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((_, after)) = authority.rsplit_once('@') {
            return Err(Refused::Userinfo { host: host_of(after).to_owned() });
        }
        Ok(Written { secure, host: host_of(authority) })
    }

    fn misspelt(&self) -> Refused {
        Refused::Spelling { host: self.host.to_owned() }
    }
}

/// The host of `host[:port]` or `[address][:port]`.
fn host_of(authority: &str) -> &str {
    let end = match authority.find(']') {
        Some(bracket) if authority.starts_with('[') => Some(bracket + 1),
        _ => authority.find(':'),
    };
    end.and_then(|end| authority.get(..end)).unwrap_or(authority)
}

#[cfg(test)]
mod tests;
