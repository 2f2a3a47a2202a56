//! Keeps and follows flags: one trait, two stores behind it, one follower.
//!
//! A service reads records, decides, and commits through a [`Store`]; whoever wants to know the flags gives a
//! [`Sink`] to a [`Follower`]. [`RedisStore`] is the real store, [`MemoryStore`] serves one process.
//! Absent, unreachable and lost stay three different answers all the way to the caller.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use cutout_core::{Breaker, BreakerId, Declared, Flag, State};
//! use cutout_flags::{Committed, Publish, Write};
//!
//! let store = cutout_flags::open("memory:", "default")?; // or redis://…, rediss://…, redis+sentinel://…
//! let term = store.declare(&Declared::default()).await?;
//! let id = BreakerId::new("bank-charge", &["0001"]);
//! let read = store.read(std::slice::from_ref(&id), None).await?;
//! assert_eq!(read.breakers, [None], "absent, which is no error");
//!
//! let open = Flag { state: State::Open, since_ms: read.now_ms, ..Flag::default() };
//! let record = Breaker::new(read.now_ms); // in a service, what Breaker::apply made of it
//! let flag = Some(Publish::Change(open));
//! let writes = [Write::Breaker { id: id.clone(), expected: 0, record, flag, not_closed_by: 1, audit: Vec::new() }];
//! assert_eq!(store.commit(&term, &writes).await?, Committed::Taken(vec![true]));
//! assert_eq!(store.commit(&term, &writes).await?, Committed::Taken(vec![false]), "somebody wrote between");
//! let (published, flag) = store.snapshot().await?.flags.remove(0);
//! assert_eq!((published, flag.flag.state), (id, State::Open));
//! # Ok(())
//! # }
//! ```
//!
//! Left out: every decision (`cutout-core`).

pub mod audit;
mod clock;
pub mod follower;
pub mod memory;
mod redis;
pub mod store;
pub mod table;

use cutout_core::reference::{Kind, Metric};

pub use self::redis::{REQUEST_SECONDS_METRIC, RedisStore};
pub use audit::{
    AUDIT_KEPT, AUDIT_KEPT_MS, AUDIT_PER_READ_MAX, AuditEntry, AuditFrom, AuditId, AuditKept, Audited, Links,
    TakenOver,
};
pub use clock::LocalClock;
pub use follower::{Follower, LOSSES_METRIC, Sink, Synced};
pub use memory::MemoryStore;
pub use store::{
    CHANGES_KEPT, CHANGES_PER_READ_MAX, Change, Committed, Epoch, Meta, Mistake, PUBLISHED_VERSION, Position,
    Publish, Published, Read, Setting, Snapshot, Store, StoreError, Stored, Term, UnreadFlag,
    WRITES_PER_SCRIPT_MAX, Write,
};
pub use table::{FlagTable, LOST_HOLD_MS, Step, Update};

use std::sync::Arc;

/// The URL of a store in this process's memory.
pub const MEMORY_URL: &str = "memory:";

/// The store at `url`: that of a Redis as [`RedisStore::new`] takes it, or [`MEMORY_URL`], which makes a new, empty one at
/// each call. Does not connect.
///
/// # Errors
/// [`StoreError::Unusable`] if `url` or `scope` cannot be used; see [`RedisStore::new`].
pub fn open(url: &str, scope: &str) -> Result<Arc<dyn Store>, StoreError> {
    if url == MEMORY_URL {
        return Ok(Arc::new(MemoryStore::new()));
    }
    Ok(Arc::new(RedisStore::new(url, scope)?))
}

/// What whoever asks or follows a store counts, in the order of the reference.
pub const METRICS: [Metric; 2] = [
    Metric {
        name: REQUEST_SECONDS_METRIC,
        kind: Kind::Histogram,
        labels: "`doing`, `result`: `ok`, `error`",
        what: "requests to Redis, whoever makes them: also clients. Waiting for changes is not among them",
    },
    Metric {
        name: LOSSES_METRIC,
        kind: Kind::Counter,
        labels: "",
        what: "the store came back without its data. Alarm on it",
    },
];
