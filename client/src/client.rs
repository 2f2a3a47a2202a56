//! The client: one follower and one memory a process, and the handles on breakers that come out of it.

use crate::breaker::Breaker;
use crate::memory::Memory;
use crate::names::UnknownBreaker;
use cutout_core::BreakerId;
use cutout_flags::{Follower, LocalClock, Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long [`ClientBuilder::connect`] waits for the store's first answer unless told otherwise.
pub const START_TIMEOUT: Duration = Duration::from_secs(2);
/// The scope unless told otherwise.
pub const DEFAULT_SCOPE: &str = "default";

/// Follows the flags of one scope, and gives handles on its breakers. One a process is enough; cheap to clone.
/// The follower stops when the last clone is dropped; handles then go on by what they know.
#[derive(Debug, Clone)]
pub struct Client {
    memory: Arc<Memory>,
    _follower: Arc<Task>,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How fresh the client's knowledge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether the store answers now.
    pub connected: bool,
    /// How long ago it last answered; none: it never did, and every breaker counts as closed.
    pub age: Option<Duration>,
    /// How often the store came back without its data.
    pub losses: u64,
}

impl Client {
    /// A client of the store at `url`: `redis://…` or `rediss://…` (with TLS, install a rustls crypto provider first).
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(Source::Url(url.into()))
    }

    /// A client of a store at hand, such as the memory store of an embedded service.
    pub fn builder_on(store: Arc<dyn Store>) -> ClientBuilder {
        ClientBuilder::new(Source::Store(store))
    }

    /// A handle on the breaker `name` for the key's values in declared order (none for a breaker without key). Keep it.
    ///
    /// # Errors
    /// [`UnknownBreaker`] if no service declares the name, unless `allow_undeclared` was set or the declared names
    /// are not known yet.
    pub fn breaker<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<Breaker, UnknownBreaker> {
        self.memory.check_name(name)?;
        Ok(self.memory.breaker(BreakerId::new(name, key)))
    }

    /// How fresh the client's knowledge is. With the store gone breakers go on by the last known flags.
    #[must_use]
    pub fn health(&self) -> Health {
        let memory = &self.memory;
        Health { connected: memory.is_connected(), age: memory.clock().age(), losses: memory.losses() }
    }
}

#[derive(Debug)]
enum Source {
    Url(String),
    Store(Arc<dyn Store>),
}

/// Settings of a [`Client`].
#[derive(Debug)]
#[must_use = "call connect()"]
pub struct ClientBuilder {
    source: Source,
    scope: String,
    names: BTreeSet<String>,
    allow_undeclared: bool,
    start_timeout: Duration,
    clock: LocalClock,
}

/// Why a client did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL or the scope is not usable.
    #[error("the store's settings are not usable")]
    Store(#[source] StoreError),
    /// A breaker that the program uses is not declared.
    #[error(transparent)]
    Unknown(#[from] UnknownBreaker),
}

impl ClientBuilder {
    fn new(source: Source) -> ClientBuilder {
        let (scope, names) = (DEFAULT_SCOPE.to_owned(), BTreeSet::new());
        let clock = LocalClock::default();
        ClientBuilder { source, scope, names, allow_undeclared: false, start_timeout: START_TIMEOUT, clock }
    }

    /// A breaker that the program uses: its name, without a key. Checked at the first snapshot.
    pub fn breaker(mut self, name: impl Into<String>) -> ClientBuilder {
        self.names.insert(name.into());
        self
    }

    /// The scope whose breakers are meant; [`DEFAULT_SCOPE`] otherwise.
    pub fn scope(mut self, scope: impl Into<String>) -> ClientBuilder {
        self.scope = scope.into();
        self
    }

    /// Names that no service declares are closed breakers and no error: for callers deployed before their service.
    pub fn allow_undeclared(mut self) -> ClientBuilder {
        self.allow_undeclared = true;
        self
    }

    /// How long to wait for the store's first answer; [`START_TIMEOUT`] otherwise.
    pub fn start_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.start_timeout = timeout;
        self
    }

    /// Another local clock than the system's: for simulations.
    pub fn clock(mut self, clock: LocalClock) -> ClientBuilder {
        self.clock = clock;
        self
    }

    /// Starts to follow, and waits for the first snapshot, but not longer than the start time-out: a store that does not
    /// answer must not keep a payment service from starting. Then calls flow, the names are checked when it comes,
    /// and [`Client::health`] tells.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] if a setting is unusable, or a name given is not declared.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let store = match self.source {
            Source::Url(url) => cutout_flags::open(&url, &self.scope).map_err(ConnectError::Store)?,
            Source::Store(store) => store,
        };
        let memory = Arc::new(Memory::new(self.names, self.allow_undeclared, self.clock.clone()));
        let mut synced = memory.synced();
        let follower = Follower::with_clock(store, Arc::clone(&memory) as _, self.clock);
        let client = Client { memory, _follower: Arc::new(Task(tokio::spawn(follower.run()))) };
        if tokio::time::timeout(self.start_timeout, synced.wait_for(|synced| *synced)).await.is_err() {
            let waited_ms = self.start_timeout.as_millis();
            tracing::warn!(
                waited_ms,
                "the store did not answer in time: calls flow, and names are checked when it does"
            );
            metrics::counter!("cutout_client_started_without_store_total").increment(1);
        }
        client.memory.check_names()?;
        Ok(client)
    }
}
