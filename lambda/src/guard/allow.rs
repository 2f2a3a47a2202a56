//! Entries of the allow list: `host[:port]`.
//!
//! An entry without a port means the scheme's own one; `:*` means any. A host is exact, `*.suffix` (every name below
//! the suffix, not the suffix itself), or `*`. Addresses do not belong here: they have a list of their own.

use std::net::IpAddr;
use std::str::FromStr;

/// The longest host name, in bytes (RFC 1035 §2.3.4).
const NAME_LEN_MAX: usize = 253;
/// The longest label of one.
const LABEL_LEN_MAX: usize = 63;

/// One entry of `CUTOUT_CALLBACK_ALLOW`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: HostPattern,
    port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Any,
    Exact(String),
    /// The suffix with its leading dot, so that a match begins at a label.
    Below(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    OfScheme,
    Only(u16),
    Any,
}

/// Why a text is not an entry of the allow list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowedHostError {
    /// The host part is none.
    #[error(
        "{entry:?} is not host[:port]; write api.example.com, *.svc.example.com or *, without https:// and path"
    )]
    Host {
        /// The entry.
        entry: String,
    },
    /// The port part is none.
    #[error("{entry:?} does not end in a port from 1 to 65535, or * for any")]
    Port {
        /// The entry.
        entry: String,
    },
    /// It is an address.
    #[error("{entry:?} is an address; list it in CUTOUT_CALLBACK_ALLOW_CIDR")]
    Address {
        /// The entry.
        entry: String,
    },
}

impl AllowedHost {
    /// Whether this entry lets a callback go to `name` (lower case) at `port`.
    pub(super) fn admits_name(&self, name: &str, port: u16, default_port: u16) -> bool {
        let host = match &self.host {
            HostPattern::Any => true,
            HostPattern::Exact(exact) => name == exact,
            HostPattern::Below(suffix) => name.strip_suffix(suffix).is_some_and(|label| !label.is_empty()),
        };
        host && self.admits_port(port, default_port)
    }

    /// Whether this entry lets a callback go to every host at `port`.
    pub(super) fn admits_any_host(&self, port: u16, default_port: u16) -> bool {
        self.host == HostPattern::Any && self.admits_port(port, default_port)
    }

    fn admits_port(&self, port: u16, default_port: u16) -> bool {
        match self.port {
            PortPattern::OfScheme => port == default_port,
            PortPattern::Only(only) => port == only,
            PortPattern::Any => true,
        }
    }
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(entry: &str) -> Result<AllowedHost, AllowedHostError> {
        let named = || entry.to_owned();
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !port.starts_with('/') => (host, Some(port)),
            // No colon, or the one of a whole URL.
            _ => (entry, None),
        };
        if is_address(entry) || is_address(host) {
            return Err(AllowedHostError::Address { entry: named() });
        }
        let host = host_pattern(&host.to_ascii_lowercase())
            .ok_or_else(|| AllowedHostError::Host { entry: named() })?;
        let port = port_pattern(port).ok_or_else(|| AllowedHostError::Port { entry: named() })?;
        Ok(AllowedHost { host, port })
    }
}

fn is_address(text: &str) -> bool {
    text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

fn host_pattern(host: &str) -> Option<HostPattern> {
    if host == "*" {
        return Some(HostPattern::Any);
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    if !is_host_name(name) {
        return None;
    }
    let below = name.len() < host.len();
    Some(if below { HostPattern::Below(format!(".{name}")) } else { HostPattern::Exact(name.to_owned()) })
}

fn port_pattern(port: Option<&str>) -> Option<PortPattern> {
    match port {
        None => Some(PortPattern::OfScheme),
        Some("*") => Some(PortPattern::Any),
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).map(PortPattern::Only),
    }
}

/// Whether `name` is a host name in its one spelling: lower-case labels of letters, digits, `-` and `_`, parted by
/// single dots, none at the end.
pub(super) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        (1..=LABEL_LEN_MAX).contains(&label.len()) && label.bytes().all(plain)
    };
    name.len() <= NAME_LEN_MAX && name.split('.').all(is_label)
}
