//! `cutout-service health`: asks the running service on this machine whether it lives, for container images that hold
//! nothing else that could ask. Plain sockets, for it runs every few seconds.

use crate::settings::LISTEN_DEFAULT;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long connecting, asking and reading may each take.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const ALIVE: &[u8] = b"HTTP/1.1 200 ";

/// Asks the service that listens on `listen` (`CUTOUT_LISTEN`; none: the default).
///
/// # Errors
/// If it does not answer, or anything but 200.
pub fn health(listen: Option<&str>) -> io::Result<()> {
    let listen = match listen.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        None => LISTEN_DEFAULT,
    };
    let mut stream = TcpStream::connect_timeout(&reachable(listen), HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(REQUEST)?;
    let mut status = [0; ALIVE.len()];
    stream.read_exact(&mut status)?;
    if status == ALIVE { Ok(()) } else { Err(io::Error::other("it answers, but not 200")) }
}

/// Who listens on all addresses listens on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Asks a server of one answer.
    fn asked(answer: &'static [u8]) -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = vec![0; REQUEST.len()];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        let healthy = health(Some(&address));
        server.join().unwrap();
        healthy
    }

    #[test]
    fn only_200_is_healthy() {
        assert!(asked(b"HTTP/1.1 200 OK\r\n\r\n").is_ok());
        for answer in [b"HTTP/1.1 503 x\r\n\r\n".as_slice(), b"HTTP/1.1", b""] {
            assert!(asked(answer).is_err(), "{answer:?}");
        }
        assert!(health(Some("localhost:8080")).is_err());
    }

    #[test]
    fn who_listens_on_every_address_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:8080".parse().unwrap()), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(reachable("[::]:8080".parse().unwrap()), "[::1]:8080".parse().unwrap());
        assert_eq!(reachable("10.0.0.7:8080".parse().unwrap()), "10.0.0.7:8080".parse().unwrap());
    }
}
