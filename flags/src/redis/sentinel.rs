//! Finds the primary through the sentinels that watch it.
//!
//! Each new connection asks them, in an order of its own so that a fleet does not ask the same one, and the next one
//! whenever the answer is late: nothing is remembered that a fail-over could have made wrong. A host that they name is the
//! primary only if it says so itself.
//!
//! Left out: listening to the sentinels' own messages. A primary that is replaced closes its connections, or refuses.

use super::redirect::at;
use super::role::{self, Role};
use super::route::{CONNECT_TIMEOUT_MS, dial, within};
use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, ErrorKind, RedisError};
use std::io;
use std::time::Duration;
use tokio::task::JoinSet;

/// The longest time that one sentinel may take to name the primary.
const SENTINEL_TIMEOUT_MS: u64 = 500;
/// How long one sentinel is alone before the next one is asked as well.
const SENTINEL_HEAD_START_MS: u64 = 100;

/// Sentinels, and the primary that they know.
pub(super) struct Sentinels {
    asked: Vec<ConnectionInfo>,
    name: String,
    /// Login, number and TLS of the primary; its address is what the sentinels tell.
    primary: ConnectionInfo,
}

impl Sentinels {
    pub(super) fn new(asked: Vec<ConnectionInfo>, name: String, primary: ConnectionInfo) -> Sentinels {
        Sentinels { asked, name, primary }
    }

    /// Connects to the primary that the first of the sentinels names rightly.
    pub(super) async fn connect(&self) -> Result<(MultiplexedConnection, ConnectionInfo), RedisError> {
        let mut order: Vec<usize> = (0..self.asked.len()).collect();
        fastrand::shuffle(&mut order);
        let mut ways = JoinSet::new();
        for (turn, index) in order.into_iter().enumerate() {
            let Some(sentinel) = self.asked.get(index).cloned() else { continue };
            let (name, primary) = (self.name.clone(), self.primary.clone());
            let pause = Duration::from_millis(SENTINEL_HEAD_START_MS)
                .saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX));
            ways.spawn(async move {
                tokio::time::sleep(pause).await;
                by(&sentinel, &name, primary).await
            });
        }
        let mut told: Option<RedisError> = None;
        while let Some(way) = ways.join_next().await {
            match way.unwrap_or_else(|_| Err(io::Error::other("asking a sentinel was broken off").into())) {
                Ok(found) => return Ok(found),
                // That a sentinel is away says less than what another one, or the primary, answers.
                Err(error) if told.as_ref().is_none_or(RedisError::is_io_error) => told = Some(error),
                Err(_) => {}
            }
        }
        Err(told.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound).into()))
    }
}

/// The primary as one sentinel names it.
async fn by(
    sentinel: &ConnectionInfo,
    name: &str,
    primary: ConnectionInfo,
) -> Result<(MultiplexedConnection, ConnectionInfo), RedisError> {
    let asking = async {
        let (mut connection, _) = dial(sentinel.clone()).await?;
        redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).query_async(&mut connection).await
    };
    let named: Option<(String, u16)> = within(SENTINEL_TIMEOUT_MS, asking).await?;
    let unknown =
        (ErrorKind::MasterNameNotFoundBySentinel, "a sentinel does not know a primary of this name");
    let (host, port) = named.ok_or(unknown)?;
    let address = at(primary.addr(), &host, port);
    let (mut connection, info) = dial(primary.set_addr(address)).await?;
    match within(CONNECT_TIMEOUT_MS, role::ask(&mut connection)).await? {
        Role::Other => Err(role::not_primary()),
        Role::Primary | Role::Untold => Ok((connection, info)),
    }
}

#[cfg(test)]
impl Sentinels {
    pub(super) fn primary_at(&self, host: &str, port: u16) -> ConnectionInfo {
        let address = at(self.primary.addr(), host, port);
        self.primary.clone().set_addr(address)
    }

    pub(super) fn asked(&self) -> impl Iterator<Item = &ConnectionInfo> {
        self.asked.iter()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}
