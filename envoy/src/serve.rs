//! The program: follow, compute, serve Envoys over gRPC and people over HTTP, until the shutdown.
//!
//! A stream lives in one task, which owns what it knows of its Envoy. Limits: connections, the size of what an Envoy says, and the
//! time in which it must take what it is sent.

use crate::ads::{REFRESH_EVERY, Stream, Way};
use crate::health;
use crate::known::Known;
use crate::publish::{self, Shown};
use crate::settings::{Access, Settings};
use crate::tally::Tally;
use cutout_core::Chain;
use cutout_flags::Follower;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::runtime::v3::runtime_discovery_service_server::{
    RuntimeDiscoveryService, RuntimeDiscoveryServiceServer,
};
use futures_util::stream::{BoxStream, unfold};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// How many Envoys are served at once.
pub const STREAMS_MAX: usize = 1_000;
/// How large a message of an Envoy may be, bytes.
pub const REQUEST_MAX_BYTES: usize = 256 * 1024;
/// How long an Envoy may take until it has room for the next response.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it lives, and how long it has to answer.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// How many responses wait for the connection.
const RESPONSES_WAITING_MAX: usize = 1;

/// Serves until `shutdown`; then streams end at once, for Envoys keep what they have and connect anew.
///
/// # Errors
/// If the certificate cannot be used, or the listener fails.
pub async fn serve(
    settings: Settings,
    xds: TcpListener,
    http: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let Settings { hooks, store, access, .. } = settings;
    let tally = Arc::new(Tally::default());
    let known = Arc::new(Known::new(&hooks, Arc::clone(&tally)));
    let (sender, shown) = watch::channel(None);
    let service = Discovery {
        shown: shown.clone(),
        tally: Arc::clone(&tally),
        places: Arc::new(Semaphore::new(STREAMS_MAX)),
        access: Arc::new(access),
    };
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(Some(16));
    if let Some(tls) = tls(&service.access) {
        server = server.tls_config(tls).map_err(io::Error::other)?;
    }
    let runtime =
        RuntimeDiscoveryServiceServer::new(service.clone()).max_decoding_message_size(REQUEST_MAX_BYTES);
    let ads = AggregatedDiscoveryServiceServer::new(service).max_decoding_message_size(REQUEST_MAX_BYTES);
    let router = server.add_service(ads).add_service(runtime);
    let incoming = TcpIncoming::from(xds).with_nodelay(Some(true));
    let follower = Follower::new(store, Arc::clone(&known) as _);
    tokio::select! {
        ended = router.serve_with_incoming(incoming) => ended.map_err(io::Error::other),
        ended = axum::serve(http, health::router(Arc::clone(&known), Arc::clone(&tally), shown)) => ended,
        () = follower.run() => Ok(()),
        () = publish::run(&hooks, &known, &tally, &sender) => Ok(()),
        () = shutdown => Ok(()),
    }
}

fn tls(access: &Access) -> Option<ServerTlsConfig> {
    let tls = access.tls.as_ref()?;
    let config = ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
    Some(match &tls.client_ca {
        Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
        None => config,
    })
}

/// The gRPC services.
#[derive(Debug, Clone)]
struct Discovery {
    shown: watch::Receiver<Shown>,
    tally: Arc<Tally>,
    places: Arc<Semaphore>,
    access: Arc<Access>,
}

type Responses<T> = BoxStream<'static, Result<T, Status>>;

impl Discovery {
    /// Begins to serve a stream, if it may ask and there is room.
    fn begin(
        &self,
        way: Way,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Responses<DiscoveryResponse>>, Status> {
        let bearer = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if !self.access.admits(bearer) {
            self.tally.streams_refused.fetch_add(1, Relaxed);
            return Err(Status::unauthenticated("a valid token is needed: authorization: Bearer <token>"));
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.tally.streams_refused.fetch_add(1, Relaxed);
            return Err(Status::resource_exhausted("as many Envoys as are served at once are connected"));
        };
        let (sender, receiver) = mpsc::channel(RESPONSES_WAITING_MAX);
        let (stream, tally) = (Stream::new(way, Arc::clone(&self.tally)), Arc::clone(&self.tally));
        let task = Task { stream, shown: self.shown.clone(), sender, tally, _place: place };
        tokio::spawn(task.run(request.into_inner()));
        let responses = unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
            receiver.recv().await.map(|response| (response, receiver))
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

fn delta() -> Status {
    Status::unimplemented("use api_type: GRPC, not DELTA_GRPC")
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.begin(Way::Aggregated, request)
    }

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(delta())
    }
}

#[tonic::async_trait]
impl RuntimeDiscoveryService for Discovery {
    type StreamRuntimeStream = Responses<DiscoveryResponse>;
    type DeltaRuntimeStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_runtime(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamRuntimeStream>, Status> {
        self.begin(Way::OneLayer, request)
    }

    async fn delta_runtime(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaRuntimeStream>, Status> {
        Err(delta())
    }

    async fn fetch_runtime(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("use api_type: GRPC, not REST"))
    }
}

/// What serves one Envoy.
struct Task {
    stream: Stream,
    shown: watch::Receiver<Shown>,
    sender: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    tally: Arc<Tally>,
    _place: OwnedSemaphorePermit,
}

impl Task {
    async fn run(mut self, mut requests: Streaming<DiscoveryRequest>) {
        self.tally.streams.fetch_add(1, Relaxed);
        let mut beat = tokio::time::interval(REFRESH_EVERY);
        beat.reset();
        loop {
            tokio::select! {
                heard = requests.message() => match heard {
                    Ok(Some(request)) => self.stream.hear(request),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(node = self.stream.node(), error = %Chain(&error), "stream");
                        break;
                    }
                },
                changed = self.shown.changed() => if changed.is_err() { break },
                _ = beat.tick() => {
                    let shown = self.shown.borrow().clone();
                    self.stream.warn_once(&shown);
                    let response = self.stream.refresh(&shown);
                    if !self.send(response).await { break }
                }
                () = self.sender.closed() => break,
            }
            let shown = self.shown.borrow_and_update().clone();
            let mut is_open = true;
            while let Some(response) = self.stream.next(&shown) {
                is_open = self.send(Some(response)).await;
                if !is_open {
                    break;
                }
            }
            if !is_open {
                break;
            }
        }
        self.tally.streams.fetch_sub(1, Relaxed);
    }

    /// False: the stream has ended.
    async fn send(&self, response: Option<DiscoveryResponse>) -> bool {
        let Some(response) = response else { return true };
        match tokio::time::timeout(SEND_TIMEOUT, self.sender.send(Ok(response))).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                self.tally.streams_cut.fetch_add(1, Relaxed);
                tracing::warn!(node = self.stream.node(), "an Envoy takes nothing: its stream is cut");
                false
            }
        }
    }
}
