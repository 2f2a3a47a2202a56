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
use arc_swap::ArcSwap;
use cutout_core::BreakerId;
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Cells by their identity. Foldhash is seeded anew in each process; keys may come from requests.
pub(crate) type Cells = HashSet<ById, foldhash::fast::RandomState>;
/// Cells of one name by their key.
type Keyed = HashSet<ByKey, foldhash::fast::RandomState>;

/// Keys of any number of values.
const ANY: usize = usize::MAX;
/// Keys of no number of values.
const NONE: usize = usize::MAX - 1;

/// Up to so many keys are looked through one by one, which costs less than a hash.
const FEW: usize = 4;

/// The keys that stand on a board.
#[derive(Debug, Default)]
struct Keys {
    all: Keyed,
    /// All of them, if they are few; else none.
    few: [Option<ByKey>; FEW],
}

/// A cell that is found by its identity.
#[derive(Debug, Clone)]
pub(crate) struct ById(pub(crate) Arc<Cell>);

/// A cell that is found by its key.
#[derive(Debug, Clone)]
struct ByKey {
    cell: Arc<Cell>,
    /// Where the key begins in the identity: looking it up there each time would cost more than comparing.
    key_at: usize,
    /// Its length, and its last byte, by which most others are told from it without a look at the identity.
    length: usize,
    last: Option<u8>,
}

impl ByKey {
    fn new(cell: &Arc<Cell>) -> ByKey {
        let (id, key) = (cell.id(), cell.id().key());
        let (key_at, last) = (id.as_str().len() - key.len(), key.bytes().last());
        ByKey { cell: Arc::clone(cell), key_at, length: key.len(), last }
    }

    #[inline]
    fn is(&self, key: &str) -> bool {
        self.length == key.len() && self.last == key.as_bytes().last().copied() && self.key() == key
    }

    fn key(&self) -> &str {
        self.cell.id().as_str().get(self.key_at..).unwrap_or_default()
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id().as_str()
    }
}

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        self.key()
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

impl Keys {
    #[allow(clippy::mutable_key_type, reason = "the key, by which a cell is found, never changes")]
    fn new(all: Keyed) -> Keys {
        let mut some = all.iter().filter(|_| all.len() <= FEW).cloned();
        let few = std::array::from_fn(|_| some.next());
        Keys { all, few }
    }

    /// `key` as it is spelled in an identity.
    #[inline]
    fn get(&self, key: &str) -> Option<&Arc<Cell>> {
        let found = match &self.few {
            [None, ..] => self.all.get(key),
            few => few.iter().map_while(Option::as_ref).find(|by_key| by_key.is(key)),
        };
        found.map(|by_key| &by_key.cell)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    posted: ArcSwap<Keys>,
    /// The number of what is posted, of all that was ever posted in this process: a thread that saw it need not look again.
    number: AtomicU64,
    /// Of how many values a key is; [`ANY`]: that is not known.
    values: AtomicUsize,
    /// Whether it was asked for keys of another number.
    has_seen_others: AtomicBool,
    /// Of how many values a key must be to be admitted without a look: [`NONE`] unless it is empty and no key is to be refused besides.
    quiet_for: AtomicUsize,
    /// Whether keys that do not stand on it are to be refused.
    refuses_others: AtomicBool,
}

impl Default for Board {
    fn default() -> Board {
        Board {
            posted: ArcSwap::default(),
            number: AtomicU64::new(next_number()),
            values: AtomicUsize::new(ANY),
            has_seen_others: AtomicBool::new(false),
            quiet_for: AtomicUsize::new(ANY),
            refuses_others: AtomicBool::new(false),
        }
    }
}

impl Board {
    /// Whether every call is admitted whose key is of so many values, and that is as many as declared.
    #[inline]
    pub(crate) fn is_quiet_for(&self, values: usize) -> bool {
        let quiet_for = self.quiet_for.load(Ordering::Relaxed);
        quiet_for == values || quiet_for == ANY
    }

    /// Whether keys are declared to be of another number of values, and none of such was seen before.
    pub(crate) fn is_first_of_others(&self, values: usize) -> bool {
        let declared = self.values.load(Ordering::Relaxed);
        let is_other = declared != values && declared != ANY;
        // A thread that only looks takes the line from nobody.
        is_other
            && !self.has_seen_others.load(Ordering::Relaxed)
            && !self.has_seen_others.swap(true, Ordering::Relaxed)
    }

    /// Notes by which tags its name is declared to be keyed; none: not known. One writer at a time.
    pub(crate) fn keyed_by(&self, tags: Option<Vec<String>>) {
        self.values.store(tags.map_or(ANY, |tags| tags.len()), Ordering::Relaxed);
        self.settle();
    }

    fn settle(&self) {
        let is_quiet = !self.refuses_others() && self.posted.load().all.is_empty();
        let values = self.values.load(Ordering::Relaxed);
        self.quiet_for.store(if is_quiet { values } else { NONE }, Ordering::Release);
    }

    /// Notes that these cells of its name may have become calm, or not calm any more, and whether keys that do not stand here
    /// may have to be refused. One writer at a time.
    #[allow(clippy::mutable_key_type, reason = "the key, by which a cell is found, never changes")]
    pub(crate) fn post<'a>(&self, changed: impl Iterator<Item = &'a Arc<Cell>>, refuses_others: bool) {
        let posted = self.posted.load();
        let mut moves =
            changed.filter(|cell| posted.all.contains(cell.id().key()) == cell.is_calm()).peekable();
        if moves.peek().is_some() {
            let mut next = posted.all.clone();
            for cell in moves {
                if cell.is_calm() {
                    next.remove(cell.id().key());
                } else {
                    next.insert(ByKey::new(cell));
                }
            }
            self.posted.store(Arc::new(Keys::new(next)));
            self.number.store(next_number(), Ordering::Release);
        }
        self.refuses_others.store(refuses_others, Ordering::Relaxed);
        self.settle();
    }

    /// The cells that stand on it.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        self.posted.load().all.iter().map(|by_key| Arc::clone(&by_key.cell)).collect()
    }

    /// Whether keys that do not stand on it are to be refused.
    pub(crate) fn refuses_others(&self) -> bool {
        self.refuses_others.load(Ordering::Relaxed)
    }

    /// Looks for a key, and makes something of what stands here; none: it does not. What is made is handed on only where a key stands here,
    /// so that the many others move nothing.
    #[inline]
    pub(crate) fn find<T>(&self, key: &[impl AsRef<str>], then: impl FnOnce(&Arc<Cell>) -> T) -> Option<T> {
        match key {
            [only] if BreakerId::is_spelled(only.as_ref()) => self.look(only.as_ref(), then),
            _ => spelled(key, |key| self.look(key, then)),
        }
    }

    #[inline]
    fn look<T>(&self, key: &str, then: impl FnOnce(&Arc<Cell>) -> T) -> Option<T> {
        SEEN.with_borrow_mut(|seen| {
            if seen.number != self.number.load(Ordering::Acquire) {
                self.see(seen);
            }
            seen.keys.get(key).map(then)
        })
    }

    #[cold]
    fn see(&self, seen: &mut Seen) {
        // The number first: keys that are newer than it are looked at once more.
        let number = self.number.load(Ordering::Acquire);
        *seen = Seen { number, keys: self.posted.load_full() };
    }
}

/// Looks at a key as it is spelled in a breaker's identity.
#[cold]
fn spelled<T>(key: &[impl AsRef<str>], look: impl FnOnce(&str) -> T) -> T {
    SPELLED.with_borrow_mut(|spelled| {
        spelled.clear();
        BreakerId::spell("", key, spelled);
        // Behind the slash that parts it from the name.
        look(spelled.get(1..).unwrap_or_default())
    })
}

/// What a thread saw last, on whatever board.
#[derive(Default)]
struct Seen {
    number: u64,
    keys: Arc<Keys>,
}

thread_local! {
    /// Room to spell a key in, so that looking allocates nothing.
    static SPELLED: RefCell<String> = const { RefCell::new(String::new()) };
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Numbers begin with 1: a thread that has seen nothing has seen 0.
fn next_number() -> u64 {
    static POSTED: AtomicU64 = AtomicU64::new(0);
    POSTED.fetch_add(1, Ordering::Relaxed) + 1
}
