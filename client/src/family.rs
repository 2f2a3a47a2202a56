//! A handle on all breakers of one name, for calls whose key is known only when they are made.
//!
//! Left out: how keys are found (`board`), and what a breaker answers (`breaker`, `cell`).

use crate::board::Board;
use crate::breaker::{Breaker, Common, Permit, Refused};
use crate::cell::Cell;
use crate::memory::Memory;
use crate::staleness::Act;
use cutout_core::BreakerId;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

thread_local! {
    /// Room to spell a key in, and the breaker that this thread was last refused because nobody hears anything.
    static UNHEARD: RefCell<(String, Option<Arc<Cell>>)> = const { RefCell::new((String::new(), None)) };
}

/// All breakers of one name, such as one for each bank, for calls of one operation class or of none. Cheap to clone.
///
/// Where a program knows its keys beforehand, a [`Breaker`] for each is a little faster. Where the key comes with the request,
/// ask here: while no breaker of the name is in question the answer is one atomic load, otherwise a look-up that takes no lock
/// and writes nothing that threads share, and allocates nothing (but for keys that are not ASCII). A key that nobody has heard of is closed, and leaves nothing behind: keys may
/// come from anybody.
///
/// With the store gone it goes on by the last known flags, like every handle.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fake = cutout::FakeClient::new(["bank-charge"]);
/// # fake.open("bank-charge", &["0001"])?;
/// # let client = fake.client();
/// let banks = client.family("bank-charge")?; // keep it
/// assert!(banks.admit(&["0001"]).is_err());
/// assert!(banks.admit(&["0002"]).is_ok());
/// let refunds = banks.for_class("refund"); // keep it, too
/// assert_eq!((refunds.name(), refunds.class()), ("bank-charge", Some("refund")));
/// let bank = refunds.breaker(&["0001"]); // a handle on one of them, for that class
/// assert_eq!((bank.id().as_str(), bank.class()), ("bank-charge/0001", Some("refund")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Family {
    memory: Arc<Memory>,
    name: Arc<str>,
    board: Arc<Board>,
    common: Arc<Common>,
}

impl Family {
    pub(crate) fn new(memory: Arc<Memory>, name: &str) -> Family {
        let (board, common) = memory.named(name);
        Family { memory, name: name.into(), board, common }
    }

    /// The same breakers for calls of an operation class; see [`Breaker`]. Keep it: this allocates.
    #[must_use]
    pub fn for_class(&self, class: &str) -> Family {
        Family { common: Arc::new(self.common.for_class(&self.name, class)), ..self.clone() }
    }

    /// May I call? The key's values in declared order. Answers as [`Breaker::admit`] does, from memory alone.
    ///
    /// # Errors
    /// [`Refused`]. It is not a failure of the vendor: do not count it as one.
    #[inline]
    pub fn admit<V: AsRef<str>>(&self, key: &[V]) -> Result<Permit, Refused> {
        if self.board.is_quiet_for(key.len()) {
            return Ok(Permit::plain());
        }
        self.ask(key)
    }

    fn ask<V: AsRef<str>>(&self, key: &[V]) -> Result<Permit, Refused> {
        self.tell_other(key);
        match self.board.find(key, |cell| self.common.ask(cell)) {
            Some(answer) => answer,
            None if self.board.refuses_others() => self.ask_unheard(key),
            None => Ok(Permit::plain()),
        }
    }

    /// A key of another number of values than declared is of a breaker that nothing opens.
    fn tell_other<V>(&self, key: &[V]) {
        if self.board.is_first_of_others(key.len()) {
            self.memory.names().tell_key(&self.name, key.len());
        }
    }

    /// Nobody has heard of it, and that is no reason to call while nobody hears anything. A refusal names its breaker, so a key that is asked for over and over is
    /// kept by its thread.
    #[cold]
    fn ask_unheard<V: AsRef<str>>(&self, key: &[V]) -> Result<Permit, Refused> {
        UNHEARD.with_borrow_mut(|(spelled, last)| {
            spelled.clear();
            BreakerId::spell(&self.name, key, spelled);
            match last.as_ref().filter(|cell| cell.id().as_str() == spelled) {
                Some(cell) => self.common.ask(cell),
                None => {
                    let id = BreakerId::from_stored(spelled.clone());
                    self.common.ask(last.insert(Arc::new(Cell::new(id, Act::Open))))
                }
            }
        })
    }

    /// A handle on the breaker of one key, as [`Client::breaker`](crate::Client::breaker) gives it, for this class.
    #[must_use]
    pub fn breaker<V: AsRef<str>>(&self, key: &[V]) -> Breaker {
        self.tell_other(key);
        Breaker::new(self.memory.cell(&self.name, key), Arc::clone(&self.common))
    }

    /// The declared name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operation class of this handle's calls.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        self.common.class()
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.name)
            .field("class", &self.class())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::FakeClient;
    use crate::clock::READ;

    #[test]
    fn while_a_breaker_is_closed_no_clock_is_read() {
        let fake = FakeClient::new(["bank"]);
        let (family, bank) =
            (fake.client().family("bank").unwrap(), fake.client().breaker("bank", &["0001"]).unwrap());
        let read = || {
            let before = READ.get();
            let _ = bank.admit();
            let _ = bank.call_blocking(|| Ok::<_, ()>(()));
            let by_handle = READ.get() - before;
            let _ = family.admit(&["0001"]);
            (by_handle, READ.get() - before - by_handle)
        };
        assert_eq!(read(), (0, 0));
        fake.open("bank", &["0002"]).unwrap();
        assert_eq!(read(), (0, 0), "another key is open");
        fake.open("bank", &["0001"]).unwrap();
        assert_eq!(read(), (2, 1), "it is counted at all");
    }
}
