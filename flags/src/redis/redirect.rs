//! What a node of a cluster says when another one owns the scope's slot, and where that is.
//!
//! All keys of a scope share one slot, so one connection to its owner is enough and no map of the cluster is kept.
//! Left out: `ASK`, which a node answers while a slot is on the move. It passes, so the request is tried again later.

use redis::{ConnectionAddr, RedisError, ServerErrorKind};

/// Where a cluster's node says that the slot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// Empty: the host that was asked.
    host: String,
    port: u16,
}

impl Moved {
    /// What an error says; none if it is another one.
    pub(super) fn read(error: &RedisError) -> Option<Moved> {
        let replies = error.clone().into_server_errors()?;
        let moved = replies.iter().find(|(_, reply)| reply.kind() == Some(ServerErrorKind::Moved));
        Moved::parse(moved?.1.details()?)
    }

    /// The text behind `MOVED`: the slot, and host and port. An IPv6 address stands there without brackets.
    fn parse(details: &str) -> Option<Moved> {
        let (host, port) = details.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Moved { host: host.to_owned(), port })
    }

    /// The address, for a node that was reached at `asked`: with TLS if that was.
    pub(super) fn from(&self, asked: &ConnectionAddr) -> ConnectionAddr {
        if self.host.is_empty() {
            at(asked, host(asked), self.port)
        } else {
            at(asked, &self.host, self.port)
        }
    }
}

/// The same kind of address at another place: with TLS, and certificates checked, as in `like`.
pub(super) fn at(like: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    match like {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn host(address: &ConnectionAddr) -> &str {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(host: &str, port: u16) -> ConnectionAddr {
        ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
    }

    #[test]
    fn every_spelling_of_a_place_is_understood() {
        let asked = ConnectionAddr::Tcp("asked.example".to_owned(), 6379);
        let cases = [
            ("3999 127.0.0.1:6381", Some(("127.0.0.1", 6381))),
            ("3999 node-2.example:6381", Some(("node-2.example", 6381))),
            ("3999 2001:db8::1:6381", Some(("2001:db8::1", 6381))),
            ("3999 [2001:db8::1]:6381", Some(("2001:db8::1", 6381))),
            ("3999 :6381", Some(("asked.example", 6381))),
            ("3999 127.0.0.1:0", None),
            ("3999 127.0.0.1:x", None),
            ("3999", None),
            ("", None),
        ];
        for (details, expected) in cases {
            let found = Moved::parse(details).map(|moved| moved.from(&asked));
            let expected = expected.map(|(host, port)| ConnectionAddr::Tcp(host.to_owned(), port));
            assert_eq!(found, expected, "{details}");
        }
    }

    #[test]
    fn a_redirect_keeps_tls_and_its_checks() {
        let moved = Moved::parse("3999 node-2.example:6381").unwrap();
        assert_eq!(moved.from(&tls("node-1.example", 6379)), tls("node-2.example", 6381));
        assert_eq!(
            Moved::parse("3999 :7000").unwrap().from(&tls("one.example", 6379)),
            tls("one.example", 7000)
        );
    }
}
