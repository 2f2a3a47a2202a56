//! The breakers that are not calm, for calls that name their key anew each time: a look-up without a lock, and without one
//! line of memory that callers write.
//!
//! While nothing at all is wrong, which is nearly always, the answer is one load. Otherwise the key is looked for on a board that
//! is replaced as a whole when a breaker comes or goes; a key that does not stand there is closed, so the board holds no more
//! than what is wrong, however many keys a program asks for.
//!
//! Each thread keeps the board that it saw last, so that looking costs no reference count that threads would share.

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

/// The room that a thread keeps for spelling an identity, in bytes; longer ones are spelled in room of their own.
const SPELLING_KEPT: usize = 1_024;

/// A cell that is found by its identity.
#[derive(Debug, Clone)]
pub(crate) struct ById(pub(crate) Arc<Cell>);

impl ById {
    fn id(&self) -> &str {
        self.0.id().as_str()
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &ById) -> bool {
        self.id() == other.id()
    }
}

impl Eq for ById {}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    posted: Arc<ArcSwap<Cells>>,
    /// Whether it is empty and no key is to be refused besides.
    quiet: AtomicBool,
}

impl Default for Board {
    fn default() -> Board {
        Board { posted: Arc::default(), quiet: AtomicBool::new(true) }
    }
}

impl Board {
    /// Whether every call is admitted, whatever its key.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Notes that these cells may have become calm, or not calm any more. `any_acts`: keys that do not stand here may have to be
    /// refused. One writer at a time.
    pub(crate) fn post<'a>(&self, changed: impl Iterator<Item = &'a Arc<Cell>>, any_acts: bool) {
        let posted = self.posted.load();
        let moves = changed.filter(|cell| posted.contains(cell.id().as_str()) == cell.is_calm());
        let mut moves = moves.peekable();
        if moves.peek().is_some() {
            let mut next = Cells::clone(&posted);
            for cell in moves {
                if cell.is_calm() {
                    next.remove(cell.id().as_str());
                } else {
                    next.insert(ById(Arc::clone(cell)));
                }
            }
            self.posted.store(Arc::new(next));
        }
        self.quiet.store(!any_acts && self.posted.load().is_empty(), Ordering::Release);
    }

    /// The cells that stand on it.
    pub(crate) fn all(&self) -> Arc<Cells> {
        self.posted.load_full()
    }

    /// Looks for a breaker, and makes something of what stands here; none: it does not.
    pub(crate) fn find<T>(
        &self,
        name: &str,
        key: &[impl AsRef<str>],
        found: impl FnOnce(&Arc<Cell>) -> T,
    ) -> Option<T> {
        SEEN.with_borrow_mut(|seen| {
            let Seen { spelling, board } = seen;
            spelling.clear();
            spelling.shrink_to(SPELLING_KEPT);
            BreakerId::spell(name, key, spelling);
            let board = match board {
                Some((of, cache)) if Arc::ptr_eq(of, &self.posted) => cache,
                other => {
                    &mut other.insert((Arc::clone(&self.posted), Cache::new(Arc::clone(&self.posted)))).1
                }
            };
            board.load().get(spelling.as_str()).map(|cell| found(&cell.0))
        })
    }
}

/// What a thread keeps between two looks.
struct Seen {
    spelling: String,
    /// The board that it saw last, and whose that is.
    board: Option<(Arc<ArcSwap<Cells>>, Cache<Arc<ArcSwap<Cells>>, Arc<Cells>>)>,
}

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(Seen { spelling: String::new(), board: None }) };
}
