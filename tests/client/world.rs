//! One breaker `bank-charge/0001` that the real rules decide, a store that can be cut off, and a client that follows it: all on
//! one clock that a test moves. The store's clock is far from this machine's, so that a caller who used his own would be seen.
//! Nobody runs the service's timers here: what changes by time alone, the client finds in the flag.

use async_trait::async_trait;
use cutout::{Client, ClientBuilder, Permit, Refused};
use cutout_core::breaker::Claim;
use cutout_core::declaration::DeclaredBreaker;
use cutout_core::observation::Observation;
use cutout_core::report::NotifiedTransition;
use cutout_core::{
    Act, Breaker, BreakerId, Cause, Declared, Evidence, Flag, Hold, MonitorSeen, Order, Pause, Policy, Tags,
};
use cutout_flags::{
    Change, Committed, MemoryStore, Position, Publish, Read, Snapshot, Store, StoreError, Stored, Term, Write,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// When the store's clock starts: in the year 1970.
const START_MS: i64 = 30_000_000_000;
const MONITOR: u64 = 7;
/// How often [`World::share`] asks.
const ASKED: u32 = 10_000;

pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) client: Client,
    pub(crate) bank: cutout::Breaker,
    pub(crate) hold: Option<Hold>,
    policy: Policy,
    record: Breaker,
    flag: Flag,
    revision: u64,
    started: Instant,
    link: Arc<Link>,
}

/// A way to a memory store that can be cut.
#[derive(Debug)]
pub(crate) struct Link {
    store: MemoryStore,
    is_cut: AtomicBool,
}

impl World {
    pub(crate) async fn new(policy: Policy) -> World {
        World::with(policy, |builder| builder).await
    }

    pub(crate) async fn with(policy: Policy, set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> World {
        let started = Instant::now();
        let store = MemoryStore::with_clock(Arc::new(move || now_ms(started)));
        let link = Arc::new(Link { store: store.clone(), is_cut: AtomicBool::new(false) });
        declare(&store).await;
        let builder = Client::builder_on(Arc::clone(&link) as _).breaker("bank-charge");
        let client = set(builder).connect().await.unwrap();
        let bank = client.breaker("bank-charge", &["0001"]).unwrap();
        let (record, flag) = (Breaker::new(now_ms(started)), Flag::default());
        World { store, client, bank, hold: None, policy, record, flag, revision: 0, started, link }
    }

    /// Now, by the store's clock.
    pub(crate) fn now_ms(&self) -> i64 {
        now_ms(self.started)
    }

    /// The store's time so many seconds after the start, as the client shows it.
    pub(crate) fn at(&self, seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(START_MS.unsigned_abs()) + Duration::from_secs(seconds)
    }

    /// Lets time pass until so many seconds after the start.
    pub(crate) async fn until(&self, seconds: u64) {
        tokio::time::sleep_until(self.started + Duration::from_secs(seconds)).await;
        settle().await;
    }

    /// A report shows the breaker's one group in this status, since now.
    pub(crate) async fn reported(&mut self, status: &str) {
        let now_ms = self.now_ms();
        self.observed(status, now_ms).await;
    }

    /// A report shows it in the same status since the start.
    pub(crate) async fn confirmed(&mut self, status: &str) {
        self.observed(status, START_MS).await;
    }

    async fn observed(&mut self, status: &str, changed_ms: i64) {
        let (now_ms, changed_at_ms) = (self.now_ms(), Some(changed_ms));
        let seen = Observation { status: status.into(), changed_at_ms, as_of_ms: now_ms, muted: false };
        let groups = vec![(group(), seen)];
        self.apply(Evidence { groups, latest_change_ms: changed_at_ms, ..nothing() }).await;
    }

    /// A notification alone says that the group is in alert.
    pub(crate) async fn hinted(&mut self) {
        let (at_ms, transition) = (self.now_ms(), NotifiedTransition::Alert);
        self.apply(Evidence { claim: Some(Claim { group: group(), at_ms, transition }), ..nothing() }).await;
    }

    async fn apply(&mut self, evidence: Evidence) {
        let now_ms = self.now_ms();
        self.record.apply(&self.policy, &evidence, self.hold, now_ms);
        self.publish().await;
    }

    /// A person orders something.
    pub(crate) async fn ordered(&mut self, act: Act) {
        let (order, now_ms) =
            (Order { by: "mina".to_owned(), why: "a drill".to_owned(), act }, self.now_ms());
        self.record.obey(&self.policy, &order, self.hold, now_ms);
        self.publish().await;
    }

    async fn publish(&mut self) {
        let flag = self.record.flag(&self.policy, self.hold);
        let publish = match &flag {
            same if *same == self.flag => None,
            later if later.is_refresh_of(&self.flag) => Some(Publish::Refresh(flag.clone())),
            _ => Some(Publish::Change(flag.clone())),
        };
        write(&self.store, self.revision, self.record.clone(), publish).await;
        (self.flag, self.revision) = (flag, self.revision + 1);
        settle().await;
    }

    /// Cuts the client off its store.
    pub(crate) fn cut(&self) {
        self.link.is_cut.store(true, Ordering::SeqCst);
    }

    /// Lets it back.
    pub(crate) async fn mend(&self) {
        self.link.is_cut.store(false, Ordering::SeqCst);
        // Beyond the longest wait after an error.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    pub(crate) fn ask(&self) -> Result<Permit, Refused> {
        self.bank.admit()
    }

    /// The share of calls that is admitted, in percent.
    pub(crate) fn share(&self) -> f64 {
        percent(|| self.bank.admit().is_ok())
    }
}

/// How often a yes comes, in percent.
pub(crate) fn percent(yes: impl Fn() -> bool) -> f64 {
    let count = (0..ASKED).filter(|_| yes()).count();
    f64::from(u32::try_from(count).unwrap()) * 100.0 / f64::from(ASKED)
}

/// Lets everybody do what there is to do.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

fn now_ms(started: Instant) -> i64 {
    START_MS + i64::try_from(started.elapsed().as_millis()).unwrap()
}

pub(crate) async fn declare(store: &dyn Store) -> Term {
    let bank = DeclaredBreaker { key: vec!["bank_code".to_owned()] };
    store
        .declare(&Declared { revision: 0, breakers: [("bank-charge".to_owned(), bank)].into() })
        .await
        .unwrap()
}

/// Writes the record and flag of `bank-charge/0001`.
pub(crate) async fn write(store: &dyn Store, expected: u64, record: Breaker, flag: Option<Publish>) {
    let id = BreakerId::new("bank-charge", &["0001"]);
    let term = declare(store).await;
    let write = Write::Breaker { id, expected, record, flag, not_closed_by: 0, audit: Vec::new() };
    assert_eq!(store.commit(&term, &[write]).await.unwrap(), Committed::Taken(vec![true]));
}

fn group() -> Tags {
    Tags::parse("bank_code:0001")
}

fn nothing() -> Evidence {
    Evidence {
        monitor_id: MONITOR,
        groups: vec![],
        complete_as_of_ms: None,
        latest_change_ms: None,
        claim: None,
    }
}

impl Link {
    fn check(&self) -> Result<(), StoreError> {
        let error = || StoreError::unreachable("a test", "the link is cut");
        if self.is_cut.load(Ordering::SeqCst) { Err(error()) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Link {
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError> {
        self.store.declare(declared).await
    }

    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError> {
        self.store.read(ids, monitor_id).await
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        self.store.monitors().await
    }

    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError> {
        self.store.commit(term, writes).await
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        self.store.set_pause(pause, cause, at_ms).await
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.check()?;
        self.store.snapshot().await
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        let found = self.store.tail(position, wait).await;
        self.check().and(found)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.check()
    }
}
