//! Connections that are opened when they are needed and given up at the first error.
//!
//! Every request is bounded as a whole: waiting for a connection, opening it, the answer. A connection that failed
//! in any way is not used again, so a restart, a fail-over behind a name, or a peer that fell silent heals with the
//! next request. Nothing is repeated here but what a cluster's node sent on to another one, which did nothing with it: of
//! the rest only the caller knows what may be.

use super::route::{CONNECT_TIMEOUT_MS, Connection, Connections, Route, within};
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest time that an answer may take, not counting what a blocking read was asked to wait.
pub(super) const RESPONSE_TIMEOUT_MS: u64 = 2_000;
/// The longest time that a request may take in all.
pub(super) const REQUEST_TIMEOUT_MS: u64 = CONNECT_TIMEOUT_MS + RESPONSE_TIMEOUT_MS;

/// One connection that all short requests share.
pub(super) struct Shared {
    route: Arc<Route>,
    open: tokio::sync::Mutex<Option<Connection>>,
}

impl Shared {
    pub(super) fn new(route: Arc<Route>) -> Shared {
        Shared { route, open: tokio::sync::Mutex::default() }
    }

    /// Makes one request.
    pub(super) async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        request: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError> {
        let asking = self.route.ask(self, RESPONSE_TIMEOUT_MS, request);
        within(REQUEST_TIMEOUT_MS, asking).await.map(|(answer, _)| answer)
    }

    /// The connection in use, opened if need be.
    pub(super) async fn current(&self) -> Result<Connection, RedisError> {
        within(CONNECT_TIMEOUT_MS, self.get()).await
    }
}

impl Connections for Shared {
    async fn get(&self) -> Result<Connection, RedisError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.as_ref().filter(|open| self.route.is_current(open)) {
            return Ok(connection.clone());
        }
        *open = None;
        Ok(open.insert(self.route.connect().await?).clone())
    }
}

/// Connections for blocking reads, each used by one reader at a time: a read that blocks would hold up whatever came
/// behind it on the same connection.
pub(super) struct Blocking {
    route: Arc<Route>,
    /// At most as many as ever read at the same time.
    idle: Mutex<Vec<Connection>>,
}

impl Blocking {
    pub(super) fn new(route: Arc<Route>) -> Blocking {
        Blocking { route, idle: Mutex::default() }
    }

    /// Makes one request that may take `wait` longer than others. Dropping it closes the connection, on which the
    /// server may still be waiting.
    pub(super) async fn ask<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        wait: Duration,
        request: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, RedisError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let [answer_ms, all_ms] =
            [RESPONSE_TIMEOUT_MS, REQUEST_TIMEOUT_MS].map(|ms| wait_ms.saturating_add(ms));
        let asking = self.route.ask(self, answer_ms, request);
        let (answer, connection) = within(all_ms, asking).await?;
        self.idle().push(connection);
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections for Blocking {
    async fn get(&self) -> Result<Connection, RedisError> {
        let idle = {
            let mut idle = self.idle();
            idle.retain(|connection| self.route.is_current(connection));
            idle.pop()
        };
        match idle {
            Some(connection) => Ok(connection),
            None => self.route.connect().await,
        }
    }
}
