//! `/healthz`, `/readyz` and `/metrics`, and `cutout-envoy health`, which asks the first.

use crate::known::Known;
use crate::publish::Shown;
use crate::settings::HTTP_LISTEN_DEFAULT;
use crate::tally::Tally;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the store may be silent until this is not ready: what it serves may be old.
const READY_SILENCE_MAX: Duration = Duration::from_secs(90);
/// How long connecting, asking and reading may each take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const ALIVE: &[u8] = b"HTTP/1.1 200 ";

pub(crate) fn router(known: Arc<Known>, tally: Arc<Tally>, shown: watch::Receiver<Shown>) -> Router {
    let heard = Arc::clone(&known);
    // Shallow: a store that is away is no reason to restart what still serves the last known flags.
    let router = Router::new().route("/healthz", get(async || "ok"));
    let router = router.route("/readyz", get(async move || readyz(&known, &shown)));
    router.route(
        "/metrics",
        get(async move || {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4")], tally.text(heard.silence().as_secs()))
        }),
    )
}

fn readyz(known: &Known, shown: &watch::Receiver<Shown>) -> Response {
    let unready = |text: &'static str| (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    if shown.borrow().is_none() {
        return unready("the store has not answered yet: Envoys keep what they have");
    }
    if known.silence() > READY_SILENCE_MAX {
        return unready("the store has been silent for too long: the last known flags are served");
    }
    "ok".into_response()
}

/// Asks the running process on this machine whether it lives, for container images that hold nothing else that could ask.
///
/// # Errors
/// If it does not answer, or anything but 200.
pub fn ask(listen: Option<&str>) -> io::Result<()> {
    let listen = match listen.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        None => HTTP_LISTEN_DEFAULT,
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
