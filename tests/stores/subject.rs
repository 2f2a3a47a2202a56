//! What is tested, and who watches: a store that can lose its data, and a sink that remembers what it was told.

use cutout_core::flag::State;
use cutout_core::{Breaker, BreakerId, Declared, Flag};
use cutout_flags::{
    Change, Committed, Follower, MemoryStore, Position, Publish, Published, RedisStore, Sink, Store,
    StoreError, Synced, Term, Update, Write,
};
use cutout_tests::cluster::RedisCluster;
use cutout_tests::redis::RedisServer;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take before its absence is a failure. Shorter than the time between two of a follower's
/// snapshots, which would heal what its tail has missed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long one read of the stream waits in these tests.
pub(crate) const WAIT: Duration = Duration::from_millis(100);

/// A store under test.
pub(crate) enum Subject {
    Memory(MemoryStore),
    Redis(RedisServer, Arc<RedisStore>),
    Cluster(Arc<RedisCluster>, String, Arc<RedisStore>),
}

impl Subject {
    pub(crate) fn memory() -> Subject {
        Subject::Memory(MemoryStore::new())
    }

    pub(crate) fn redis() -> Subject {
        Subject::on(RedisServer::start())
    }

    pub(crate) fn on(server: RedisServer) -> Subject {
        let store = Arc::new(RedisStore::new(&server.url(), "default").unwrap());
        Subject::Redis(server, store)
    }

    /// A scope in a cluster, by the address of a node that does not own its slot.
    pub(crate) fn in_cluster(cluster: &Arc<RedisCluster>, scope: &str) -> Subject {
        let store = RedisStore::new(&cluster.url_beside(scope), scope).unwrap();
        Subject::Cluster(Arc::clone(cluster), scope.to_owned(), Arc::new(store))
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Subject::Memory(store) => Arc::new(store.clone()),
            Subject::Redis(_, store) | Subject::Cluster(_, _, store) => Arc::clone(store) as _,
        }
    }

    pub(crate) async fn lose_everything(&self) {
        match self {
            Subject::Memory(store) => store.lose_everything(),
            Subject::Redis(server, _) => {
                let (): () = ::redis::cmd("FLUSHALL").query_async(&mut plain(server).await).await.unwrap();
            }
            Subject::Cluster(cluster, scope, _) => {
                let owner = &cluster.nodes[cluster.owner(scope)];
                let keys: Vec<String> = owner.ask(&["KEYS", &format!("cutout:{{{scope}}}:*")]);
                let keys: Vec<&str> = ["DEL"].into_iter().chain(keys.iter().map(String::as_str)).collect();
                let _: u64 = owner.ask(&keys);
            }
        }
    }
}

/// A connection as any other program would have it.
pub(crate) async fn plain(server: &RedisServer) -> ::redis::aio::MultiplexedConnection {
    let client = ::redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

pub(crate) fn bank(number: usize) -> BreakerId {
    BreakerId::new("bank-charge", &[format!("{number:05}")])
}

pub(crate) fn flag(state: State) -> Flag {
    Flag { state, since_ms: 1_795_223_705_000, ..Flag::default() }
}

/// A write of a breaker whose record can be told from others by `mark`.
pub(crate) fn write(id: &BreakerId, expected: u64, mark: i64, flag: Option<Flag>) -> Write {
    let flag = flag.map(Publish::Change);
    Write::Breaker {
        id: id.clone(),
        expected,
        record: Breaker::new(mark),
        flag,
        not_closed_by: 0,
        audit: Vec::new(),
    }
}

pub(crate) async fn declare(store: &dyn Store) -> Term {
    store.declare(&Declared::default()).await.unwrap()
}

/// Commits one write, which must be taken.
pub(crate) async fn commit(store: &dyn Store, term: &Term, write: Write) {
    assert_eq!(store.commit(term, &[write]).await.unwrap(), Committed::Taken(vec![true]));
}

/// All changes after `position` up to the one numbered `last_rev`.
pub(crate) async fn tail_up_to(store: &dyn Store, position: &mut Position, last_rev: u64) -> Vec<Change> {
    let mut found: Vec<Change> = Vec::new();
    let reading = async {
        while found.last().is_none_or(|change| change.published.rev < last_rev) {
            found.extend(store.tail(position, WAIT).await.unwrap());
        }
    };
    timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("change {last_rev} does not come"));
    found
}

/// What a sink was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) flags: BTreeMap<BreakerId, Published>,
    pub(crate) synced: Option<Synced>,
    pub(crate) connected: bool,
    pub(crate) failures: u64,
}

impl Seen {
    pub(crate) fn state(&self, id: &BreakerId) -> Option<State> {
        self.flags.get(id).map(|published| published.flag.state)
    }

    pub(crate) fn losses(&self) -> u64 {
        self.synced.as_ref().map_or(0, |synced| synced.losses)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { flags, connected, failures, .. } = self;
        write!(
            f,
            "{} flags, connected {connected}, {failures} failures, {} losses",
            flags.len(),
            self.losses()
        )
    }
}

/// A sink that remembers, and lets a test wait for what it expects.
#[derive(Default)]
pub(crate) struct Watcher(watch::Sender<Seen>);

impl Sink for Watcher {
    fn update(&self, updates: &[Update]) {
        self.0.send_modify(|seen| {
            for Update { id, flag } in updates {
                match flag {
                    Some(flag) => seen.flags.insert(id.clone(), flag.clone()),
                    None => seen.flags.remove(id),
                };
            }
        });
    }

    fn synced(&self, at: &Synced) {
        self.0.send_modify(|seen| {
            seen.synced = Some(at.clone());
            seen.connected = true;
        });
    }

    fn failed(&self, _error: &StoreError) {
        self.0.send_modify(|seen| {
            seen.connected = false;
            seen.failures += 1;
        });
    }
}

impl Watcher {
    /// Waits until `holds`.
    pub(crate) async fn until(&self, what: &str, holds: impl FnMut(&Seen) -> bool) {
        let mut seen = self.0.subscribe();
        let reached = timeout(DEADLINE, seen.wait_for(holds)).await.map(|seen| drop(seen.unwrap()));
        assert!(reached.is_ok(), "{what}: does not come; {:?}", self.0.borrow());
    }

    /// Looks at what was told so far.
    pub(crate) fn now<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.0.borrow())
    }
}

/// A follower that runs until this is dropped.
pub(crate) struct Following {
    pub(crate) watcher: Arc<Watcher>,
    task: JoinHandle<()>,
}

impl Following {
    pub(crate) async fn start(store: Arc<dyn Store>) -> Following {
        let watcher = Arc::new(Watcher::default());
        let task = tokio::spawn(Follower::new(store, Arc::clone(&watcher) as _).run());
        watcher.until("the first snapshot", |seen| seen.synced.is_some()).await;
        Following { watcher, task }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}
