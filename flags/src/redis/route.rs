//! The way to the node that holds a scope's keys.
//!
//! It starts where the URL says: at a host, or at sentinels. A cluster's node may send it on to another one. All
//! connections of a store share it: when one learns that the way has changed, or loses its node, none of the others is used
//! again, and the next one starts over. No connection is used for long in any case, so that a name that was given to another
//! host is followed even if nobody closes what is open.

use super::redirect::Moved;
use super::role::{self, Role};
use super::url::Start;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError};
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest time that opening a connection may take: name, TCP, TLS, password.
pub(super) const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// How often one request follows a cluster's redirects.
const REDIRECTS_MAX: usize = 3;
/// How long a connection is used at the least and at the most; drawn for each, so that a fleet does not reconnect at once.
const CONNECTION_AGE_MAX_MS: std::ops::Range<u64> = 240_000..360_000;

/// The way, and what was learned of it.
pub(super) struct Route {
    start: Start,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    /// Grows whenever connections that are open must not be used again.
    generation: u64,
    /// Where a cluster's node has sent us.
    moved: Option<ConnectionAddr>,
}

/// An open connection.
#[derive(Clone)]
pub(super) struct Connection {
    redis: MultiplexedConnection,
    /// Where it leads, and by what login.
    to: Arc<ConnectionInfo>,
    generation: u64,
    use_until: Instant,
    /// Whether the node tells its role to this user.
    tells_role: Arc<AtomicBool>,
}

/// Whoever keeps connections of a route.
pub(super) trait Connections {
    /// One that may be used, opened if need be.
    fn get(&self) -> impl Future<Output = Result<Connection, RedisError>> + Send;
}

impl Route {
    pub(super) fn new(start: Start) -> Route {
        Route { start, learned: Mutex::default() }
    }

    /// Makes a request that may take `timeout_ms`, again where a cluster's node sends it on to another one. Gives the
    /// connection back with the answer.
    pub(super) async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        connections: &impl Connections,
        timeout_ms: u64,
        request: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<(T, Connection), RedisError> {
        let mut redirects = 0;
        loop {
            let connection = connections.get().await?;
            match within(timeout_ms, connection.ask(&request)).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(error) if self.learn(&connection, &error) && redirects < REDIRECTS_MAX => redirects += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens a connection to where the way leads now.
    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        let (generation, moved) = {
            let learned = self.learned();
            (learned.generation, learned.moved.clone())
        };
        let opened = match (&self.start, moved) {
            (Start::Host(host), Some(moved)) => dial(host.as_ref().clone().set_addr(moved)).await,
            (Start::Host(host), None) => dial(host.as_ref().clone()).await,
            (Start::Sentinels(sentinels), _) => sentinels.connect().await,
        };
        let (redis, info) = opened.inspect_err(|_| self.start_over(generation))?;
        let age_ms = fastrand::u64(CONNECTION_AGE_MAX_MS);
        Ok(Connection {
            redis,
            to: Arc::new(info),
            generation,
            use_until: Instant::now() + Duration::from_millis(age_ms),
            tells_role: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Whether a connection may still be used.
    pub(super) fn is_current(&self, connection: &Connection) -> bool {
        connection.generation == self.learned().generation && Instant::now() < connection.use_until
    }

    /// Learns from an error of a request. True: nothing was done, and the same request may go right now that another node is
    /// known.
    fn learn(&self, connection: &Connection, error: &RedisError) -> bool {
        match (Moved::read(error), &self.start) {
            (Some(moved), Start::Host(_)) => {
                self.turn(connection.generation, Some(moved.from(connection.to.addr())));
                true
            }
            _ => {
                self.start_over(connection.generation);
                false
            }
        }
    }

    /// Goes back to the start, if nobody did since this generation.
    fn start_over(&self, generation: u64) {
        self.turn(generation, None);
    }

    fn turn(&self, generation: u64, moved: Option<ConnectionAddr>) {
        let mut learned = self.learned();
        if learned.generation == generation {
            *learned = Learned { generation: generation + 1, moved };
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // Every change of it is one step, so a panic leaves it whole.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Makes one request, whose answer counts only if the primary gave it.
    async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        request: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError> {
        // Both go in one round trip. The role goes last: a node answers it when a read that blocked is over, in one packet with what was
        // read, and not while others still wait for theirs; and it tells what the node was when it answered.
        let (answer, role) = tokio::join!(request(self.redis.clone()), self.role());
        match answer {
            Ok(_) if role == Role::Other => Err(role::not_primary()),
            answer => answer,
        }
    }

    async fn role(&self) -> Role {
        if !self.tells_role.load(Ordering::Relaxed) {
            return Role::Untold;
        }
        // A connection that fails here fails the request beside it.
        let role = role::ask(&mut self.redis.clone()).await.unwrap_or(Role::Untold);
        // Not asked again: each refusal is a line in the server's own log of them.
        self.tells_role.store(role != Role::Untold, Ordering::Relaxed);
        role
    }
}

/// Opens a connection to one host.
pub(super) async fn dial(
    info: ConnectionInfo,
) -> Result<(MultiplexedConnection, ConnectionInfo), RedisError> {
    // Answers are bounded by who asks: a blocking read waits longer.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)))
        .set_response_timeout(None);
    let client = Client::open(info)?;
    let redis = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok((redis, client.get_connection_info().clone()))
}

/// Subscribes to a channel by a connection of its own, to where another one leads.
pub(super) async fn subscribe(beside: &Connection, channel: &str) -> Result<PubSubStream, RedisError> {
    let (mut sink, messages) = Client::open(beside.to.as_ref().clone())?.get_async_pubsub().await?.split();
    sink.subscribe(channel).await?;
    Ok(messages)
}

/// Bounds a request.
pub(super) async fn within<T>(
    timeout_ms: u64,
    request: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let answer = tokio::time::timeout(Duration::from_millis(timeout_ms), request).await;
    answer.unwrap_or_else(|late| Err(io::Error::from(late).into()))
}
