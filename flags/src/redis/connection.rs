//! Connections that are opened when they are needed and given up at the first error.
//!
//! Every request is bounded as a whole: waiting for a connection, opening it, the answer. A connection that failed
//! in any way is not used again, so a restart, a fail-over behind a name, or a peer that fell silent heals with the
//! next request. Nothing is repeated here: only the caller knows what may be.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest time that opening a connection may take: name, TCP, TLS, password.
pub(super) const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// The longest time that an answer may take, not counting what a blocking read was asked to wait.
pub(super) const RESPONSE_TIMEOUT_MS: u64 = 2_000;
/// The longest time that a request may take in all.
pub(super) const REQUEST_TIMEOUT_MS: u64 = CONNECT_TIMEOUT_MS + RESPONSE_TIMEOUT_MS;

/// One connection that all short requests share.
pub(super) struct Shared {
    client: Client,
    open: tokio::sync::Mutex<Open>,
}

#[derive(Default)]
struct Open {
    connection: Option<MultiplexedConnection>,
    /// Tells this connection from those before it.
    generation: u64,
}

impl Shared {
    pub(super) fn new(client: Client) -> Shared {
        Shared { client, open: tokio::sync::Mutex::default() }
    }

    /// Makes one request.
    pub(super) async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        request: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError> {
        within(REQUEST_TIMEOUT_MS, async {
            let (connection, generation) = self.connection().await?;
            let answer = within(RESPONSE_TIMEOUT_MS, request(connection)).await;
            if answer.is_err() {
                self.give_up(generation).await;
            }
            answer
        })
        .await
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &open.connection {
            return Ok((connection.clone(), open.generation));
        }
        let connection = connect(&self.client).await?;
        open.generation += 1;
        open.connection = Some(connection.clone());
        Ok((connection, open.generation))
    }

    async fn give_up(&self, generation: u64) {
        let mut open = self.open.lock().await;
        if open.generation == generation {
            open.connection = None;
        }
    }
}

/// Connections for blocking reads, each used by one reader at a time: a read that blocks would hold up whatever came
/// behind it on the same connection.
pub(super) struct Blocking {
    client: Client,
    /// At most as many as ever read at the same time.
    idle: Mutex<Vec<MultiplexedConnection>>,
}

impl Blocking {
    pub(super) fn new(client: Client) -> Blocking {
        Blocking { client, idle: Mutex::default() }
    }

    /// Makes one request that may take `wait` longer than others. Dropping it closes the connection, on which the
    /// server may still be waiting.
    pub(super) async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        wait: Duration,
        request: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.client).await?,
        };
        let bound = wait.saturating_add(Duration::from_millis(RESPONSE_TIMEOUT_MS));
        let answer = tokio::time::timeout(bound, request(connection.clone())).await.map_err(too_late)??;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // Answers are bounded by who asks: a blocking read waits longer.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)))
        .set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

async fn within<T>(
    timeout_ms: u64,
    request: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    tokio::time::timeout(Duration::from_millis(timeout_ms), request).await.map_err(too_late)?
}

fn too_late(elapsed: tokio::time::error::Elapsed) -> RedisError {
    RedisError::from(io::Error::from(elapsed))
}
