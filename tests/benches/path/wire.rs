//! The wire between function and service: passes bytes on and notes when a callback came out of the function, and when its answer
//! came back. With TLS it ends the TLS as a load balancer in front of a service does.
//!
//! What it adds, a copy through one more process, is in every figure of the bench. Left out: callbacks side by side; the bench sends
//! one event after the other.

use cutout_tests::crowd::now_ns;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const CHUNK_BYTES: usize = 64 * 1024;
/// Where it listens, as certificates name it.
const HOST: &str = "127.0.0.1";

/// The running wire.
pub(crate) struct Wire {
    address: SocketAddr,
    noted: Arc<Noted>,
    /// What the function must trust.
    authority: Option<PathBuf>,
    task: JoinHandle<()>,
}

/// What passed since it was last reset; nanoseconds of Unix time, 0: nothing yet.
#[derive(Default)]
struct Noted {
    request_ns: AtomicU64,
    answer_ns: AtomicU64,
    /// How many connections were ever taken.
    connections: AtomicU64,
}

impl Wire {
    /// Starts one to a service; with TLS if there is a folder for its certificates.
    pub(crate) async fn start(service: SocketAddr, tls: Option<&Path>) -> Wire {
        let listener = TcpListener::bind((HOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tls.map(acceptor);
        let noted = Arc::<Noted>::default();
        let task = tokio::spawn(accept(listener, service, acceptor, Arc::clone(&noted)));
        Wire { address, noted, authority: tls.map(authority), task }
    }

    /// The base URL of the service behind it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The file of the authority that signed its certificate.
    pub(crate) fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Forgets what it noted.
    pub(crate) fn reset(&self) {
        self.noted.request_ns.store(0, Ordering::SeqCst);
        self.noted.answer_ns.store(0, Ordering::SeqCst);
    }

    /// When the first bytes of request and answer passed.
    pub(crate) fn passed_ns(&self) -> (u64, u64) {
        let passed =
            [&self.noted.request_ns, &self.noted.answer_ns].map(|noted| noted.load(Ordering::SeqCst));
        assert!(passed.iter().all(|passed| *passed > 0), "a callback went out and was answered");
        (passed[0], passed[1])
    }

    /// How many connections the function has opened so far.
    pub(crate) fn connections(&self) -> u64 {
        self.noted.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    service: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    noted: Arc<Noted>,
) {
    loop {
        let (function, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(service).await.unwrap();
        function.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        noted.connections.fetch_add(1, Ordering::SeqCst);
        let noted = Arc::clone(&noted);
        match acceptor.clone() {
            Some(acceptor) => tokio::spawn(async move {
                pass_both(acceptor.accept(function).await.unwrap(), server, &noted).await;
            }),
            None => tokio::spawn(async move { pass_both(function, server, &noted).await }),
        };
    }
}

async fn pass_both(function: impl AsyncRead + AsyncWrite, server: TcpStream, noted: &Noted) {
    let ((from_function, to_function), (from_server, to_server)) = (split(function), split(server));
    tokio::select! {
        () = pass(from_function, to_server, &noted.request_ns) => {}
        () = pass(from_server, to_function, &noted.answer_ns) => {}
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, first_ns: &AtomicU64) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        // Only the first bytes since the last reset.
        let _ = first_ns.compare_exchange(0, now_ns(), Ordering::SeqCst, Ordering::SeqCst);
        if to.write_all(&chunk[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

fn authority(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// A server's side with a certificate made for it, by an authority of its own.
fn acceptor(folder: &Path) -> TlsAcceptor {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(authority(folder), ca.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}
