//! Serves a Router over HTTP/1 within the limits that a Router cannot hold.
//!
//! `axum::serve` 0.8 lets a client that never finishes its headers stay for ever and takes any number of connections,
//! so this runs hyper's own builder: a time limit for headers (which also ends idle connections), a maximum of
//! connections, and a drain with a deadline.
//!
//! Left out: TLS, which ends in front of the service.

mod crowd;

use crate::Shared;
use axum::extract::ConnectInfo;
use axum::middleware::{AddExtension, map_response};
use axum::response::Response;
use axum::{Extension, Router};
use crowd::{Crowd, Place};
use cutout_core::Chain;
use futures_util::FutureExt;
use http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::{Future, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::Layer;

/// How long a client may take for its headers, and stay without a request.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections are open at once; more wait in the listener's backlog until one ends or makes room.
pub const CONNECTIONS_MAX: usize = 1024;
/// A connection without a request for so long makes room when all places are taken.
pub const IDLE_MIN: Duration = Duration::from_millis(500);
/// How long connections that were taken last have to send what they came for, before idle ones are closed at the end.
const LAST_READ: Duration = Duration::from_millis(250);
/// How long requests may go on after the shutdown began: longer than one request may take, shorter than the 30 s
/// after which orchestrators kill.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// The wait after a failed accept: out of file descriptors, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of [`serve`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// See [`HEADER_READ_TIMEOUT`].
    pub header_read_timeout: Duration,
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`IDLE_MIN`].
    pub idle_min: Duration,
    /// See [`DRAIN_TIMEOUT`].
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_read_timeout: HEADER_READ_TIMEOUT,
            connections_max: CONNECTIONS_MAX,
            idle_min: IDLE_MIN,
            drain_timeout: DRAIN_TIMEOUT,
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then takes no more connections and lets the requests at work end
/// within the drain limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout_service::{Limits, serve};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let (end, ended) = tokio::sync::oneshot::channel();
/// let shutdown = async { ended.await.unwrap_or_default() };
/// let serving = tokio::spawn(serve(listener, axum::Router::new(), Limits::default(), shutdown));
/// end.send(()).map_err(|()| "nobody serves")?;
/// assert!(serving.await.is_ok(), "requests at work have ended");
/// # Ok(())
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let crowd = Crowd::new(limits.connections_max, limits.idle_min);
    let take = |stream, permit, connections: &mut JoinSet<()>| {
        let place = crowd.enter(permit);
        connections.spawn(connection(stream, router.clone(), limits, &graceful, place));
    };
    let accept_all = async {
        loop {
            let permit = crowd.permit().await;
            take(accept(&listener, &crowd).await, permit, &mut connections);
            reap(&mut connections);
        }
    };
    tokio::select! {
        () = accept_all => {}
        () = shutdown => {}
    }
    // Who has connected already may have sent a request: without this the system would cut it.
    while let Some(permit) = crowd.free() {
        let Some(Ok((stream, _))) = listener.accept().now_or_never() else { break };
        take(stream, permit, &mut connections);
    }
    // Nobody accepts any more: the next connection is refused by the system and goes to another instance.
    drop(listener);
    tokio::time::sleep(LAST_READ).await;
    tracing::info!(connections = graceful.count(), "draining");
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut at the end of the drain limit");
    }
    reap(&mut connections);
}

/// Forgets connections that have ended. One that panicked has cut its client off without an answer: a defect that nothing else tells of.
fn reap(connections: &mut JoinSet<()>) {
    while let Some(ended) = connections.try_join_next() {
        if let Err(error) = ended {
            tracing::error!(error = %Chain(&error), "a connection ended by a defect");
        }
    }
}

/// One connection, until it ends or makes room.
fn connection(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    graceful: &GracefulShutdown,
    place: Place,
) -> impl Future<Output = ()> + use<> {
    let place = Arc::new(place);
    let (routes, asked) = (TowerToHyperService::new(from_peer(&stream, router)), place.clone());
    let service = service_fn(move |request| {
        let (at_work, answer) = (asked.begin(), routes.call(request));
        async move {
            let answer = answer.await;
            drop(at_work);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    async move {
        tokio::select! {
            // First what has arrived: a request that waited for the processor is no idle connection.
            biased;
            ended = connection => {
                if let Err(error) = ended {
                    // A client that went away or was too slow: its own matter, and frequent.
                    tracing::debug!(error = %Chain(&error), "connection");
                }
            }
            () = place.left() => tracing::debug!("an idle connection makes room"),
        }
    }
}

/// `router`, whose answers ask their clients to leave the connection once nothing new should come: who comes by another connection
/// is not cut between two requests.
pub(crate) fn parting(router: Router, shared: Arc<Shared>) -> Router {
    router.layer(map_response(move |mut response: Response| {
        if shared.draining.load(Relaxed) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        ready(response)
    }))
}

/// The router as it serves one connection: requests tell whose it is.
fn from_peer(stream: &TcpStream, router: Router) -> AddExtension<Router, ConnectInfo<SocketAddr>> {
    // One that has gone already is nobody's, and nobody hears the answer.
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Extension(ConnectInfo(stream.peer_addr().unwrap_or(nobody))).layer(router)
}

/// The next connection, however often accepting fails.
async fn accept(listener: &TcpListener, crowd: &Crowd) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot accept a connection");
                // Out of file descriptors before the places were taken: an idle one holds one as well.
                crowd.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
