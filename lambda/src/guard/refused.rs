//! Why the guard refuses: one case a rule, each with the host and what to change.
//!
//! The texts go to logs that a monitor's author may read, so they repeat the host and nothing else of the URL:
//! userinfo, path and query may hold secrets.

use super::URL_LEN_MAX;
use std::net::IpAddr;

/// A callback URL, or an address behind it, that the guard does not let pass. A retry meets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The URL is too long.
    #[error("the callback URL has {len} bytes, more than {URL_LEN_MAX}; shorten it in the monitor's message")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// The URL holds a character that does not belong in one.
    #[error(
        "the callback URL holds a blank, a control character, one outside ASCII, or one of \\ \" < > ^ ` {{ | }}; \
         percent-encode it in the monitor's message"
    )]
    Character,
    /// It is neither an `https` nor an `http` URL.
    #[error("the callback URL does not start with https://; correct it in the monitor's message")]
    Scheme,
    /// It is an `http` URL, and those are not allowed.
    #[error("the callback URL of {host} is plain http; make it https, or set CUTOUT_CALLBACK_ALLOW_HTTP")]
    PlainHttp {
        /// The URL's host.
        host: String,
    },
    /// It holds a user name or password.
    #[error(
        "the callback URL of {host} holds a user name or an @ before the host; remove it in the monitor's message"
    )]
    Userinfo {
        /// The URL's host: what follows the last `@`.
        host: String,
    },
    /// It is no URL.
    #[error("the callback URL cannot be parsed; correct it in the monitor's message")]
    Malformed(#[source] url::ParseError),
    /// Its host or port is not in the one spelling that is accepted.
    #[error(
        "the callback host {host:?} or its port is not in its usual spelling (a name without trailing dot, or an \
         address such as 10.1.2.3 or [2001:db8::1], no escapes, port 1 to 65535); correct it in the monitor's message"
    )]
    Spelling {
        /// The host as written.
        host: String,
    },
    /// Its host and port are not on the allow list.
    #[error(
        "the callback host {host} with port {port} is not in CUTOUT_CALLBACK_ALLOW; if it is yours, add {host}:{port}"
    )]
    NotListed {
        /// The URL's host.
        host: String,
        /// The URL's port, given or by its scheme.
        port: u16,
    },
    /// Its host is an address that no setting names.
    #[error(
        "the callback host {addr} with port {port} is an address that no range in CUTOUT_CALLBACK_ALLOW_CIDR names, \
         nor does an entry * in CUTOUT_CALLBACK_ALLOW; if it is yours, add {addr} to CUTOUT_CALLBACK_ALLOW_CIDR, or \
         call it by name"
    )]
    LiteralNotListed {
        /// The URL's host.
        addr: IpAddr,
        /// The URL's port, given or by its scheme.
        port: u16,
    },
    /// Its host stands at an address where callbacks do not go.
    #[error(
        "the callback host {host} stands at {addr}, a {range} address that CUTOUT_CALLBACK_ALLOW_CIDR does not open; \
         if it is yours, add a range there that holds it and lies within the {range} range"
    )]
    Address {
        /// The URL's host.
        host: String,
        /// The address it is, or resolved to.
        addr: IpAddr,
        /// What kind of address that is.
        range: &'static str,
    },
}
