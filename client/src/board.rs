//! The breakers of one name that are not calm, for calls that name their key anew each time: a look-up without a lock, and without one
//! line of memory that callers write.
//!
//! While none of the name is in question, which is nearly always, the answer is one load. Otherwise the key is looked for on a board that
//! is replaced as a whole when a breaker comes or goes; a key that does not stand there is closed, so the board holds no more
//! than what is wrong, however many keys a program asks for.
//!
//! Each thread keeps the board that it saw last, so that looking costs no reference count that threads would share. A key of
//! one value that is spelled as it stands, which is nearly every key, is looked for as it stands.

use crate::cell::Cell;
use arc_swap::{ArcSwap, Cache};
use cutout_core::BreakerId;
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cells by their identity. Foldhash is seeded anew in each process; keys may come from requests.
pub(crate) type Cells = HashSet<ById, foldhash::fast::RandomState>;
/// Cells of one name by their key.
type Keyed = HashSet<ByKey, foldhash::fast::RandomState>;

type Posted = Arc<ArcSwap<Keyed>>;

/// A cell that is found by its identity.
#[derive(Debug, Clone)]
pub(crate) struct ById(pub(crate) Arc<Cell>);

/// A cell that is found by its key.
#[derive(Debug, Clone)]
struct ByKey {
    cell: Arc<Cell>,
    /// Where the key begins in the identity: looking it up there each time would cost more than comparing.
    key_at: usize,
}

impl ByKey {
    fn new(cell: &Arc<Cell>) -> ByKey {
        let id = cell.id();
        ByKey { cell: Arc::clone(cell), key_at: id.as_str().len() - id.key().len() }
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id().as_str()
    }
}

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        self.cell.id().as_str().get(self.key_at..).unwrap_or_default()
    }
}

/// Found by the text that it borrows as.
macro_rules! found_by_text {
    ($by:ty) => {
        impl Hash for $by {
            fn hash<H: Hasher>(&self, state: &mut H) {
                Borrow::<str>::borrow(self).hash(state);
            }
        }

        impl PartialEq for $by {
            fn eq(&self, other: &$by) -> bool {
                Borrow::<str>::borrow(self) == Borrow::<str>::borrow(other)
            }
        }

        impl Eq for $by {}
    };
}

found_by_text!(ById);
found_by_text!(ByKey);

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    posted: Posted,
    /// Whether it is empty and no key is to be refused besides.
    quiet: AtomicBool,
    /// Whether keys that do not stand on it are to be refused.
    refuses_others: AtomicBool,
}

impl Default for Board {
    fn default() -> Board {
        Board { posted: Arc::default(), quiet: AtomicBool::new(true), refuses_others: AtomicBool::new(false) }
    }
}

impl Board {
    /// Whether every call is admitted, whatever its key.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Notes that these cells of its name may have become calm, or not calm any more, and whether keys that do not stand here
    /// may have to be refused. One writer at a time.
    #[allow(clippy::mutable_key_type, reason = "the key, by which a cell is found, never changes")]
    pub(crate) fn post<'a>(&self, changed: impl Iterator<Item = &'a Arc<Cell>>, refuses_others: bool) {
        let posted = self.posted.load();
        let mut moves = changed.filter(|cell| posted.contains(cell.id().key()) == cell.is_calm()).peekable();
        if moves.peek().is_some() {
            let mut next = Keyed::clone(&posted);
            for cell in moves {
                if cell.is_calm() {
                    next.remove(cell.id().key());
                } else {
                    next.insert(ByKey::new(cell));
                }
            }
            self.posted.store(Arc::new(next));
        }
        self.refuses_others.store(refuses_others, Ordering::Relaxed);
        self.quiet.store(!refuses_others && self.posted.load().is_empty(), Ordering::Release);
    }

    /// The cells that stand on it.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        self.posted.load().iter().map(|by_key| Arc::clone(&by_key.cell)).collect()
    }

    /// Whether keys that do not stand on it are to be refused.
    pub(crate) fn refuses_others(&self) -> bool {
        self.refuses_others.load(Ordering::Relaxed)
    }

    /// Looks for a key, and makes something of what stands here; none: it does not.
    #[inline]
    pub(crate) fn find<T>(&self, key: &[impl AsRef<str>], then: impl FnOnce(Option<&Arc<Cell>>) -> T) -> T {
        match key {
            [only] if BreakerId::is_spelled(only.as_ref()) => self.find_spelled(only.as_ref(), then),
            _ => self.find_spelled(&spell(key), then),
        }
    }

    #[inline]
    fn find_spelled<T>(&self, key: &str, then: impl FnOnce(Option<&Arc<Cell>>) -> T) -> T {
        SEEN.with_borrow_mut(|seen| {
            let cache = match seen {
                Some((of, cache)) if Arc::ptr_eq(of, &self.posted) => cache,
                other => self.turn_to(other),
            };
            then(cache.load().get(key).map(|by_key| &by_key.cell))
        })
    }

    #[cold]
    fn turn_to<'a>(&self, seen: &'a mut Seen) -> &'a mut Cache<Posted, Arc<Keyed>> {
        &mut seen.insert((Arc::clone(&self.posted), Cache::new(Arc::clone(&self.posted)))).1
    }
}

/// How a key is spelled in a breaker's identity.
#[cold]
fn spell(key: &[impl AsRef<str>]) -> String {
    let mut spelled = String::new();
    BreakerId::spell("", key, &mut spelled);
    spelled.split_off(usize::from(!spelled.is_empty()))
}

/// The board that a thread saw last, and whose that is.
type Seen = Option<(Posted, Cache<Posted, Arc<Keyed>>)>;

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(None) };
}
