//! Listeners on every address of a namespace, which answer callbacks and remember at which address they were dialled.

use crate::DEADLINE;
use crate::http::{Request, read_request};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

pub(crate) struct Listeners(Vec<Listener>);

struct Listener {
    port: u16,
    accepted: mpsc::UnboundedReceiver<Accepted>,
}

struct Accepted {
    dialled: SocketAddr,
    by: SocketAddr,
}

impl Listeners {
    /// One listener a port, plain and TLS on the same.
    pub(crate) async fn start(ports: impl IntoIterator<Item = u16>, tls: &TlsAcceptor) -> Listeners {
        let mut listeners = Vec::new();
        for port in ports {
            listeners.push(Listener::start(port, tls.clone()).await);
        }
        Listeners(listeners)
    }

    /// All that was dialled since the last call.
    pub(crate) async fn dialled(&mut self) -> Vec<SocketAddr> {
        let mut all = Vec::new();
        for listener in &mut self.0 {
            all.append(&mut listener.dialled().await);
        }
        all
    }
}

impl Listener {
    async fn start(port: u16, tls: TlsAcceptor) -> Listener {
        // Both families: the kernel hands IPv4 connections to an unspecified IPv6 listener, too.
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await.unwrap();
        let (note, accepted) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, by) = listener.accept().await.unwrap();
                let dialled = canonical(stream.local_addr().unwrap());
                note.send(Accepted { dialled, by: canonical(by) }).unwrap();
                tokio::spawn(answer(stream, tls.clone()));
            }
        });
        Listener { port, accepted }
    }

    /// Connections are accepted in their order, so all that came before one of our own is known once that is seen.
    async fn dialled(&mut self) -> Vec<SocketAddr> {
        let marker = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let ours = marker.local_addr().unwrap();
        let mut before = Vec::new();
        loop {
            let accepted = timeout(DEADLINE, self.accepted.recv()).await.unwrap().unwrap();
            if accepted.by == ours {
                return before;
            }
            before.push(accepted.dialled);
        }
    }
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

async fn answer(stream: TcpStream, tls: TlsAcceptor) {
    let mut first = [0];
    if stream.peek(&mut first).await.is_ok() && first == [TLS_HANDSHAKE] {
        // A client that refuses the certificate, or goes away, gets no answer.
        if let Ok(stream) = tls.accept(stream).await {
            answer_one(stream).await;
        }
    } else {
        answer_one(stream).await;
    }
}

async fn answer_one(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if let Some(request) = read_request(&mut stream).await {
        let answer =
            format!("HTTP/1.1 {}content-length: 0\r\nconnection: close\r\n\r\n", temptation(&request));
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Status line and headers: what the fixtures' notes say a host answers, by its name.
fn temptation(request: &Request) -> String {
    let host = request.header("host").unwrap_or_default();
    let name = host.split('.').next().unwrap_or_default();
    match name.strip_prefix("redirect") {
        Some("-altsvc") => "200 OK\r\nalt-svc: h2=\"169.254.169.254:443\"; ma=3600\r\n".to_owned(),
        Some("-refresh") => "200 OK\r\nrefresh: 0; url=http://169.254.169.254/\r\n".to_owned(),
        Some(code) => format!("{code} Elsewhere\r\nlocation: http://169.254.169.254/\r\n"),
        None => "200 OK\r\n".to_owned(),
    }
}
