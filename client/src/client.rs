//! The client: one follower and one memory a process, and the handles on breakers that come out of it.

mod reference;

use crate::breaker::Breaker;
use crate::family::Family;
use crate::locals::Locals;
use crate::memory::{Contact, Memory};
use crate::names::{Names, UnknownBreaker};
use crate::snapshot::{KnownBreaker, Snapshot};
use crate::staleness::{Limits, MAX_STALENESS_MIN, MaxStaleness};
use crate::transitions::Transitions;

use cutout_core::Chain;
use cutout_flags::{Follower, LocalClock, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How long [`ClientBuilder::connect`] waits for the store's first answer unless told otherwise.
///
/// ```
/// assert_eq!(cutout::START_TIMEOUT.as_secs(), 2);
/// ```
pub const START_TIMEOUT: Duration = Duration::from_secs(2);
/// The scope unless told otherwise: that of a service whose `CUTOUT_SCOPE` is not set.
///
/// ```
/// let client = cutout::FakeClient::new(["bank-charge"]).client();
/// assert_eq!(client.snapshot().scope, cutout::DEFAULT_SCOPE);
/// ```
pub const DEFAULT_SCOPE: &str = "default";

/// How often the client looks whether the store has been silent for too long, and hands its counts to the metrics.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows the flags of one scope, and gives handles on its breakers. One a process is enough; cheap to clone.
/// The follower stops when the last clone is dropped; handles then go on by what they know, and
/// [`MaxStaleness`] begins and ends to act no more: keep the client as long as its handles.
///
/// Nothing here waits for the store, and none of it fails without it: handles, lists and the snapshot are made of what is known,
/// and [`Client::health`] tells how old that is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fake = cutout::FakeClient::new(["bank-charge"]);
/// # let client = fake.client();
/// let (bank, banks) = (client.breaker("bank-charge", &["0001"])?, client.family("bank-charge")?); // keep both
/// let mut transitions = client.transitions();
/// fake.open("bank-charge", &["0001"])?;
/// assert!(bank.admit().is_err() && banks.admit(&["0002"]).is_ok());
/// let opened = transitions.next().await.ok_or("the client is gone")??;
/// assert_eq!(&opened.breaker, bank.id());
/// let known: Vec<_> = client.breakers().into_iter().map(|known| known.breaker.to_string()).collect();
/// assert_eq!(known, ["bank-charge/0001"], "others are closed");
/// fake.lose_store();
/// assert!(!client.health().connected && !client.snapshot().connected);
/// assert!(bank.admit().is_err(), "by what is known");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    memory: Arc<Memory>,
    scope: Arc<str>,
    _tasks: Arc<Tasks>,
}

/// What runs for a client: the follower, and what looks around now and then.
#[derive(Debug)]
struct Tasks {
    memory: Arc<Memory>,
    running: Vec<JoinHandle<()>>,
}

impl Tasks {
    fn start(store: Arc<dyn Store>, memory: Arc<Memory>, clock: LocalClock) -> Tasks {
        let follower = Follower::with_clock(store, Arc::clone(&memory) as _, clock);
        let running = vec![tokio::spawn(follower.run()), tokio::spawn(look_around(Arc::clone(&memory)))];
        Tasks { memory, running }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
        self.memory.tell_counts();
        self.memory.listeners().end();
    }
}

async fn look_around(memory: Arc<Memory>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        memory.look_around();
    }
}

/// How fresh the client's knowledge is.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// assert!(fake.client().health().connected);
/// fake.lose_store();
/// assert!(!fake.client().health().connected, "breakers go on by what they know");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the store answers now.
    pub connected: bool,
    /// How long ago it last answered; none: it never did, and every breaker counts as closed.
    pub age: Option<Duration>,
    /// Whether the store has been silent for longer than a [`MaxStaleness`] of this client allows: its breakers are closed or
    /// open by that, and not by their flags.
    pub over_max_staleness: bool,
    /// How often the store came back without its data.
    pub losses: u64,
}

impl Client {
    /// A client of the store at `url`: `redis://…`, `redis+sentinel://…`, or `rediss` for TLS (install a rustls crypto provider first).
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(Source::Url(url.into()))
    }

    /// A client of a store at hand, such as the memory store of an embedded service; see [`ClientBuilder`].
    pub fn builder_on(store: Arc<dyn Store>) -> ClientBuilder {
        ClientBuilder::new(Source::Store(store))
    }

    /// A handle on the breaker `name` for the key's values in declared order (none for a breaker without key). Keep it.
    ///
    /// # Errors
    /// [`UnknownBreaker`] if no service declares the name, unless `allow_undeclared` was set or the declared names
    /// are not known yet; or if it is declared with another number of values in a key.
    pub fn breaker<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<Breaker, UnknownBreaker> {
        self.memory.names().check_key(name, key.len())?;
        Ok(self.unchecked(name, key))
    }

    /// The same, whatever is declared.
    pub(crate) fn unchecked<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Breaker {
        let (_, common) = self.memory.named(name);
        Breaker::new(self.memory.cell(name, key), common)
    }

    /// The local breakers of its upstreams.
    pub(crate) fn locals(&self) -> &Locals {
        self.memory.locals()
    }

    /// What is declared.
    pub(crate) fn names(&self) -> &Names {
        self.memory.names()
    }

    /// A handle on all breakers of a name, for calls whose key is known only when they are made. Keep it.
    ///
    /// # Errors
    /// [`UnknownBreaker`] by the name, as in [`Client::breaker`]. A key of another number of values than declared is told in the log, once, and in
    /// `cutout_client_undeclared_total`.
    pub fn family(&self, name: &str) -> Result<Family, UnknownBreaker> {
        self.memory.names().check(name)?;
        Ok(Family::new(Arc::clone(&self.memory), name))
    }

    /// A client that nobody feeds but whoever holds its memory.
    pub(crate) fn without_store(memory: Arc<Memory>) -> Client {
        let tasks = Tasks { memory: Arc::clone(&memory), running: Vec::new() };
        Client { memory, scope: DEFAULT_SCOPE.into(), _tasks: Arc::new(tasks) }
    }

    /// Every breaker that this process knows of, ordered by name and key: those that it holds handles on, and those of the scope
    /// of which there is more to tell than that they are closed. Breakers that are neither are closed, and not listed.
    ///
    /// Looks at each of them: for pages and tests, not for the path of a call.
    #[must_use]
    pub fn breakers(&self) -> Vec<KnownBreaker> {
        let mut known = self.memory.breakers();
        known.sort_by(|one, other| one.breaker.cmp(&other.breaker));
        known
    }

    /// All that this client knows, as it would stand on a debug page: it serialises, and its `Display` is JSON.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.scope, self.health(), self.memory.breakers(), self.memory.locals().known())
    }

    /// Tells every change of a breaker's state from now on, as an async stream. Holds no client: it ends with the last clone.
    pub fn transitions(&self) -> Transitions {
        self.memory.listeners().listen()
    }

    /// How fresh the client's knowledge is. With the store gone breakers go on by the last known flags.
    #[must_use]
    pub fn health(&self) -> Health {
        let memory = &self.memory;
        Health {
            connected: memory.is_connected(),
            age: memory.clock().age(),
            over_max_staleness: memory.is_over_max_staleness(),
            losses: memory.losses(),
        }
    }
}

#[derive(Debug)]
enum Source {
    Url(String),
    Store(Arc<dyn Store>),
}

/// Settings of a [`Client`]. All have defaults but the store; a program that names its breakers learns of a typing mistake at its start.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{Client, MaxStaleness, START_TIMEOUT};
/// use cutout_flags::{LocalClock, MemoryStore};
/// use std::{sync::Arc, time::Duration};
///
/// let store = Arc::new(MemoryStore::new()); // or Client::builder("redis://…")
/// let client = Client::builder_on(store)
///     .breaker("bank-charge") // used here: must be declared, unless …
///     .allow_undeclared()
///     .scope("eu")
///     .start_timeout(START_TIMEOUT / 2)
///     .require_store() // no start without it
///     .max_staleness(MaxStaleness::LastKnown)
///     .max_staleness_of("rates", MaxStaleness::ClosedAfter(Duration::from_secs(600)))
///     .clock(LocalClock::default())
///     .connect()
///     .await?;
/// assert!(client.health().connected);
/// assert_eq!(client.snapshot().scope, "eu");
/// assert!(client.breaker("bank-charge", &["0001"])?.admit().is_ok(), "nobody has opened it");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "call connect()"]
pub struct ClientBuilder {
    source: Source,
    scope: String,
    names: BTreeSet<String>,
    allow_undeclared: bool,
    start_timeout: Duration,
    require_store: bool,
    max_staleness: MaxStaleness,
    max_staleness_of: BTreeMap<String, MaxStaleness>,
    clock: LocalClock,
}

/// Why a client did not start. A store that is away is no reason unless [`ClientBuilder::require_store`] makes it one:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{Client, ConnectError};
///
/// let nobody_listens = || Client::builder("redis://127.0.0.1:1/").start_timeout(std::time::Duration::from_millis(50));
/// let error = nobody_listens().require_store().connect().await.unwrap_err();
/// assert!(matches!(error, ConnectError::NoStore(_)));
/// let client = nobody_listens().connect().await?;
/// assert!(client.breaker("bank-charge", &["0001"])?.admit().is_ok(), "calls flow until the store answers");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL or the scope is not usable.
    #[error("the store's settings are not usable")]
    Store(#[source] StoreError),
    /// A breaker that the program uses is not declared.
    #[error(transparent)]
    Unknown(#[from] UnknownBreaker),
    /// The store did not answer in time, or refuses, and [`ClientBuilder::require_store`] was set. The text says why, without
    /// the URL, which may hold a password.
    #[error("the store cannot be followed: {0}")]
    NoStore(String),
    /// A staleness is too short: before [`MAX_STALENESS_MIN`] breakers' own timers run, and a short loss of the store would act.
    #[error("the max_staleness of {0} is shorter than {min_s} s", min_s = MAX_STALENESS_MIN.as_secs())]
    Staleness(String),
    /// Several of these: all mistakes are told at once.
    #[error("{}", listed(.0))]
    Several(Vec<ConnectError>),
}

impl ConnectError {
    /// Ok: there is none.
    fn told(all: Vec<ConnectError>) -> Result<(), ConnectError> {
        match <[ConnectError; 1]>::try_from(all) {
            Ok([one]) => Err(one),
            Err(all) if all.is_empty() => Ok(()),
            Err(all) => Err(ConnectError::Several(all)),
        }
    }
}

fn listed(all: &[ConnectError]) -> String {
    all.iter().map(|one| Chain(one).to_string()).collect::<Vec<_>>().join("; ")
}

impl ClientBuilder {
    fn new(source: Source) -> ClientBuilder {
        ClientBuilder {
            source,
            scope: DEFAULT_SCOPE.to_owned(),
            names: BTreeSet::new(),
            allow_undeclared: false,
            start_timeout: START_TIMEOUT,
            require_store: false,
            max_staleness: MaxStaleness::default(),
            max_staleness_of: BTreeMap::new(),
            clock: LocalClock::default(),
        }
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

    /// A start without the store is an error ([`ConnectError::NoStore`]): for programs that rather start again later than with
    /// breakers they know nothing of. Otherwise calls flow until the store answers.
    pub fn require_store(mut self) -> ClientBuilder {
        self.require_store = true;
        self
    }

    /// What breakers do when the store has been silent for long; [`MaxStaleness::LastKnown`] otherwise.
    pub fn max_staleness(mut self, staleness: MaxStaleness) -> ClientBuilder {
        self.max_staleness = staleness;
        self
    }

    /// The same for the breakers of one name, in the place of what holds for all. The name counts as used, as in
    /// [`ClientBuilder::breaker`].
    pub fn max_staleness_of(mut self, name: impl Into<String>, staleness: MaxStaleness) -> ClientBuilder {
        let name = name.into();
        self.names.insert(name.clone());
        self.max_staleness_of.insert(name, staleness);
        self
    }

    /// The limits that are too short.
    fn too_short(&self) -> Vec<ConnectError> {
        let named = self.max_staleness_of.iter().map(|(name, staleness)| (format!("`{name}`"), *staleness));
        let all = named.chain([("all breakers".to_owned(), self.max_staleness)]);
        let unusable = all.filter(|(_, staleness)| !staleness.is_usable());
        unusable.map(|(whose, _)| ConnectError::Staleness(whose)).collect()
    }

    /// Another clock than the system's for what the store dates: for simulations, beside tokio's paused time.
    pub fn clock(mut self, clock: LocalClock) -> ClientBuilder {
        self.clock = clock;
        self
    }

    /// Starts to follow, and waits for the first snapshot, but not longer than the start time-out: a store that does not
    /// answer must not keep a payment service from starting. A store that refuses, as with a wrong password, is not waited for.
    /// Without an answer calls flow, the names are checked when it comes, and [`Client::health`] tells;
    /// or it is an error, where [`ClientBuilder::require_store`] was set.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] if settings are unusable, or names given are not declared: all of them.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let mut mistakes = self.too_short();
        let opened = match self.source {
            Source::Url(url) => cutout_flags::open(&url, &self.scope).map_err(ConnectError::Store),
            Source::Store(store) => Ok(store),
        };
        let store = match opened {
            Ok(store) => {
                ConnectError::told(mistakes)?;
                store
            }
            Err(error) if mistakes.is_empty() => return Err(error),
            Err(error) => {
                mistakes.push(error);
                return Err(ConnectError::Several(mistakes));
            }
        };
        let limits = Limits::new(self.max_staleness, self.max_staleness_of);
        let memory = Arc::new(Memory::new(Names::new(self.names, self.allow_undeclared), limits));
        let contact = memory.contact();
        let tasks = Tasks::start(store, Arc::clone(&memory), self.clock);
        let client = Client { memory, scope: self.scope.into(), _tasks: Arc::new(tasks) };
        if let Some(problem) = no_store(contact, self.start_timeout).await {
            if self.require_store {
                return Err(ConnectError::NoStore(problem));
            }
            tracing::warn!(
                problem,
                "the store did not answer: calls flow, and names are checked when it does"
            );
            metrics::counter!("cutout_client_started_without_store_total").increment(1);
        }
        let unknown = client.memory.names().check_used().into_iter().map(ConnectError::Unknown).collect();
        ConnectError::told(unknown)?;
        Ok(client)
    }
}

/// Waits for the first snapshot, and says why there is none.
async fn no_store(mut contact: watch::Receiver<Contact>, timeout: Duration) -> Option<String> {
    // What it refuses now it will refuse later.
    let ended = contact.wait_for(|contact| !matches!(contact, Contact::Not(_)));
    match tokio::time::timeout(timeout, ended).await {
        Ok(Ok(ended)) => match &*ended {
            Contact::Refused(problem) => return Some(problem.clone()),
            Contact::Synced | Contact::Not(_) => return None,
        },
        // The memory is gone, and with it who would ask.
        Ok(Err(_)) => return None,
        Err(_) => {}
    }
    let last = match &*contact.borrow() {
        Contact::Not(Some(problem)) => format!(", last: {problem}"),
        _ => String::new(),
    };
    Some(format!("no answer within {} ms{last}", timeout.as_millis()))
}
