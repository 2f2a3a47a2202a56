//! A breaker `bank-charge/0001` in a real store, moved to and fro as its service would: one commit each time.

use cutout_core::declaration::DeclaredBreaker;
use cutout_core::{Breaker, BreakerId, Declared, Flag, State};
use cutout_flags::{Committed, Publish, Store, StoreError, Term, Write};
use std::sync::Arc;

/// The declared name.
pub const NAME: &str = "bank-charge";
/// The key.
pub const KEY: &str = "0001";

/// Both, as readers find them.
pub const ID: &str = "bank-charge/0001";

/// Who commits.
#[derive(Debug)]
pub struct Flipper {
    store: Arc<dyn Store>,
    term: Term,
    revision: u64,
}

impl Flipper {
    /// Declares the breaker in the store at `url`.
    ///
    /// # Panics
    /// If the store does not answer.
    pub async fn new(url: &str) -> Flipper {
        let store = cutout_flags::open(url, cutout::DEFAULT_SCOPE).unwrap();
        let declared = DeclaredBreaker { key: vec!["bank_code".to_owned()] };
        let declared = Declared { revision: 0, breakers: [(NAME.to_owned(), declared)].into() };
        let term = store.declare(&declared).await.unwrap();
        Flipper { store, term, revision: 0 }
    }

    /// Commits a flag of this state as a change. True: it is in.
    ///
    /// # Errors
    /// What the store says; whether it was committed is then not known.
    ///
    /// # Panics
    /// If the store has lost its data.
    pub async fn try_set(&mut self, state: State) -> Result<bool, StoreError> {
        self.try_publish(Flag { state, since_ms: 1, ..Flag::default() }).await
    }

    /// Commits a flag as a change.
    ///
    /// # Panics
    /// If the store does not take it.
    pub async fn publish(&mut self, flag: Flag) {
        assert!(self.try_publish(flag).await.unwrap(), "somebody else wrote");
    }

    async fn try_publish(&mut self, flag: Flag) -> Result<bool, StoreError> {
        let write = Write::Breaker {
            id: BreakerId::new(NAME, &[KEY]),
            expected: self.revision,
            record: Breaker::new(1),
            flag: Some(Publish::Change(flag)),
            not_closed_by: 0,
            audit: Vec::new(),
        };
        match self.store.commit(&self.term, &[write]).await? {
            Committed::Taken(taken) if taken == [true] => self.revision += 1,
            Committed::Taken(_) => return Ok(false),
            Committed::OtherTerm => panic!("the store has lost its data"),
        }
        Ok(true)
    }

    /// The same, over and over until it is in, as a service that is called again does.
    pub async fn set(&mut self, state: State) {
        loop {
            match self.try_set(state).await {
                Ok(true) => return,
                // An answer that was lost: the commit before may be in.
                Ok(false) => {
                    self.revision += 1;
                    return;
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }
}
