//! The one trait that every store keeps, and the values that cross it.
//!
//! A store decides nothing: it hands out records with their revision, takes them back only if nobody wrote between
//! ([`Store::commit`] compares and sets), numbers the changes of flags, and lets followers read flags and changes.
//! Absent, unreachable and lost are three different answers: `None`, [`StoreError`], another epoch.

use crate::audit::{AuditEntry, AuditFrom, AuditId, AuditKept, Audited, TakenOver, keeps_none};
use async_trait::async_trait;
use cutout_core::{Breaker, BreakerId, Cause, Declared, Family, Flag, MonitorSeen, Pause};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How many breakers one script writes.
pub const WRITES_PER_SCRIPT_MAX: usize = 500;
/// About how many changes the stream keeps. Followers further behind read a snapshot.
pub const CHANGES_KEPT: usize = 10_000;
/// How many changes one read of the stream brings.
pub const CHANGES_PER_READ_MAX: usize = 1_000;

/// A random name for one life of a scope's data. Another epoch means that data were lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    /// An epoch as a store spells it.
    #[must_use]
    pub fn from_stored(text: String) -> Epoch {
        Epoch(text)
    }

    /// A new one.
    #[must_use]
    pub fn random() -> Epoch {
        Epoch(format!("{:016x}", fastrand::u64(..)))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Under what a writer decided. A write is taken only while both are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The scope's epoch.
    pub epoch: Epoch,
    /// The highest revision of a breakers' file that was declared; 0: none has one.
    pub revision: u64,
}

/// A stored value and the revision that a write must name to replace it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    /// Starts at 1 and grows by one a write; 0 stands for "not there".
    pub revision: u64,
    /// The value.
    pub value: T,
}

/// What a decision needs, read in one round trip.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The store's clock, Unix milliseconds.
    pub now_ms: i64,
    /// The scope's term; none if nothing was declared yet or all data were lost.
    pub term: Option<Term>,
    /// A person's pause of the scope, also one whose time is over.
    pub pause: Option<Pause>,
    /// One entry for each breaker asked for, in the same order; none: it is not there, or cannot be read.
    pub breakers: Vec<Option<Stored<Breaker>>>,
    /// Those that stand there but cannot be read, as a newer version may write them. They are not absent: do not write them.
    pub unreadable: BTreeSet<BreakerId>,
    /// The monitor asked for.
    pub monitor: Option<Stored<MonitorSeen>>,
    /// The counts of each declaration that the breakers asked for belong to, by name.
    pub families: BTreeMap<String, Family>,
}

/// What one decision writes. Each part is taken or refused by itself.
// Nearly every write of a batch is the larger kind, so a box would only add an allocation to each.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A breaker's record, and its flag if that changed.
    Breaker {
        /// Which.
        id: BreakerId,
        /// The revision that was read; 0: it must not be there.
        expected: u64,
        /// The new record.
        record: Breaker,
        /// The new flag; none: it stays as it is.
        flag: Option<Publish>,
        /// By how much the number of its family's breakers that are not closed changes: -1, 0 or 1. One that was not
        /// there before counts as a new key by itself.
        not_closed_by: i64,
        /// What goes to the audit stream.
        audit: Vec<AuditEntry>,
    },
    /// What is remembered of a monitor.
    Monitor {
        /// Its number.
        monitor_id: u64,
        /// The revision that was read; 0: it must not be there.
        expected: u64,
        /// What is now known.
        seen: MonitorSeen,
    },
}

/// How a flag is published.
#[derive(Debug, Clone, PartialEq)]
pub enum Publish {
    /// As a change: numbered, and told to followers at once.
    Change(Flag),
    /// Under the number that it has: followers see it in their next snapshot. A flag that is not there is a change.
    Refresh(Flag),
}

/// What became of a batch of writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// One entry for each write in order: true if it was taken, false if somebody else wrote between.
    Taken(Vec<bool>),
    /// The term is not the one named, so nothing (more) was written: declare and read again.
    OtherTerm,
}

/// A flag as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Published {
    /// The version of this form; [`PUBLISHED_VERSION`].
    pub v: u32,
    /// The epoch it was written in.
    pub epoch: Epoch,
    /// The scope's change number.
    pub rev: u64,
    /// The flag.
    #[serde(flatten)]
    pub flag: Flag,
}

/// The version of [`Published`] that this version writes and reads.
pub const PUBLISHED_VERSION: u32 = 1;

/// Why a text in a store is not a flag that this version reads.
#[derive(Debug, thiserror::Error)]
pub enum UnreadFlag {
    /// A newer version wrote it.
    #[error("the flag has version {0}, this one reads {PUBLISHED_VERSION}")]
    Version(u32),
    /// It is no flag.
    #[error("the text is no flag")]
    Form(#[from] serde_json::Error),
}

impl Published {
    /// Reads a flag as it stands in a store.
    ///
    /// # Errors
    /// [`UnreadFlag`]: what was known of the breaker stays then.
    pub fn read(json: &[u8]) -> Result<Published, UnreadFlag> {
        let published: Published = serde_json::from_slice(json)?;
        if published.v == PUBLISHED_VERSION { Ok(published) } else { Err(UnreadFlag::Version(published.v)) }
    }
}

/// All flags of a scope at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The store's clock, Unix milliseconds.
    pub now_ms: i64,
    /// The scope's meta; none if nothing was declared yet or all data were lost.
    pub meta: Option<Meta>,
    /// Every flag that this version can read.
    pub flags: Vec<(BreakerId, Published)>,
    /// Those that stand there but cannot be read, as a newer version may write them. They are not absent.
    pub unreadable: Vec<BreakerId>,
    /// Where to go on reading changes.
    pub position: Position,
}

/// The public facts of a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Its epoch.
    pub epoch: Epoch,
    /// The number of the last change.
    pub rev: u64,
    /// What its service declares.
    pub declared: Declared,
    /// A person's pause, also one whose time is over.
    pub pause: Option<Pause>,
}

/// A place in the stream of changes. Only a store knows what its text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub(crate) String);

/// One published change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which breaker.
    pub id: BreakerId,
    /// Its flag from now on.
    pub published: Published,
}

/// Why a store did not answer as asked. Cheap to clone: one request's failure may be told to all who asked by it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It could not be reached, or did not answer in time. Worth another try.
    #[error("the store cannot be reached while {doing}")]
    Unreachable {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// It answered, and will answer the same again: wrong password, no permission, wrong type of key.
    #[error("the store refuses while {doing}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Changes that [`Store::tail`] gave are not in the store: somebody told them who may not. A snapshot says what is.
    #[error("changes from number {from_rev} on were told, but the store does not have them")]
    Retracted {
        /// The number of the first of them.
        from_rev: u64,
    },
    /// It cannot even be asked: its settings are wrong.
    #[error("the store cannot be used: {}", told(mistakes))]
    Unusable {
        /// All that is wrong.
        mistakes: Vec<Mistake>,
    },
    /// It holds something that is not ours.
    #[error("{place} holds a value that is not readable as {wanted}")]
    Foreign {
        /// Where.
        place: String,
        /// What should be there.
        wanted: &'static str,
        /// Why.
        #[source]
        source: Option<Arc<serde_json::Error>>,
    },
}

/// A setting of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Where it is.
    Url,
    /// Which part of its key space.
    Scope,
}

/// What is wrong with a setting of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistake {
    /// Which setting.
    pub setting: Setting,
    /// What would be right. Never the value: a URL may hold a password.
    pub problem: &'static str,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let setting = match self.setting {
            Setting::Url => "URL",
            Setting::Scope => "scope",
        };
        write!(f, "its {setting} is wrong: {}", self.problem)
    }
}

fn told(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl StoreError {
    /// It could not be reached while `doing` this, because of `source`.
    pub fn unreachable(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::Unreachable { doing, source: source.into().into() }
    }

    /// It refused while `doing` this, because of `source`.
    pub fn refused(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::Refused { doing, source: source.into().into() }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Unreachable { .. })
    }
}

/// Where breakers and flags of one scope are kept.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Publishes what a service declares, unless a higher revision is declared already. Sets the epoch if there is
    /// none, and returns the term in force.
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError>;

    /// Reads these breakers and this monitor.
    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError>;

    /// Reads every monitor that is remembered.
    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError>;

    /// Writes what is still at the revision that was read, while `term` is in force; at most [`WRITES_PER_SCRIPT_MAX`] at a
    /// time, each such part whole or not at all.
    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError>;

    /// Pauses the scope, or ends its pause; `cause` goes to the audit stream with the time `at_ms`.
    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError>;

    /// Pauses the scope or ends its pause as [`Store::set_pause`] does, but only if its pause is still `expected`. True: it
    /// was. Without an own implementation somebody may come between.
    async fn replace_pause(
        &self,
        expected: Option<&Pause>,
        pause: Option<&Pause>,
        cause: &Cause,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        if self.read(&[], None).await?.pause.as_ref() != expected {
            return Ok(false);
        }
        self.set_pause(pause, cause, at_ms).await?;
        Ok(true)
    }

    /// Reads the flags of these breakers as they are published, in the same order; none: it is not there, or cannot be read.
    async fn flags(&self, ids: &[BreakerId]) -> Result<Vec<Option<Published>>, StoreError> {
        let flags: BTreeMap<BreakerId, Published> = self.snapshot().await?.flags.into_iter().collect();
        Ok(ids.iter().map(|id| flags.get(id).cloned()).collect())
    }

    /// Reads up to `count` entries of the audit stream, [`crate::AUDIT_PER_READ_MAX`] at the most.
    async fn audit(&self, from: AuditFrom, count: usize) -> Result<Vec<Audited>, StoreError> {
        let _ = (from, count);
        Err(keeps_none())
    }

    /// Makes a group of readers of the audit stream, unless it is there: each entry is handed to one of them. It begins with what is
    /// written from now on, or with everything that is there (`from_start`).
    async fn audit_group(&self, group: &str, from_start: bool) -> Result<(), StoreError> {
        let _ = (group, from_start);
        Err(keeps_none())
    }

    /// Hands the next entry to a reader of a group, waiting for it up to `wait`. It is his until [`Store::audit_done`].
    async fn audit_next(
        &self,
        group: &str,
        reader: &str,
        wait: Duration,
    ) -> Result<Option<Audited>, StoreError> {
        let _ = (group, reader, wait);
        Err(keeps_none())
    }

    /// Hands over to a reader the oldest entry whose own reader has neither finished nor kept it for `idle`.
    async fn audit_take_over(
        &self,
        group: &str,
        reader: &str,
        idle: Duration,
    ) -> Result<TakenOver, StoreError> {
        let _ = (group, reader, idle);
        Err(keeps_none())
    }

    /// Says that a reader is still at work on an entry.
    async fn audit_keep(&self, group: &str, reader: &str, id: AuditId) -> Result<(), StoreError> {
        let _ = (group, reader, id);
        Err(keeps_none())
    }

    /// Says that an entry is finished.
    async fn audit_done(&self, group: &str, id: AuditId) -> Result<(), StoreError> {
        let _ = (group, id);
        Err(keeps_none())
    }

    /// From now on keeps so much of the audit stream.
    fn keep_audit(&self, kept: AuditKept) {
        let _ = kept;
    }

    /// How much of the audit stream is kept.
    fn audit_kept(&self) -> AuditKept {
        AuditKept::default()
    }

    /// Reads all flags, the meta, the clock and the stream's end as of one moment.
    async fn snapshot(&self) -> Result<Snapshot, StoreError>;

    /// Waits up to `wait` for changes after `position`; the position moves on behind what is returned. Empty: none
    /// came. Changes may be missing where the stream was trimmed: `rev` shows it. [`StoreError::Retracted`] takes back what was given
    /// before.
    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Whether what is acknowledged outlives the store's own process; none: the store does not tell.
    async fn is_durable(&self) -> Result<Option<bool>, StoreError> {
        Ok(None)
    }
}
