//! Under which term this instance may write: the store's epoch, and no newer breakers' file than its own.
//!
//! During a rolling deploy two files are at work. The instance with the lower `revision` stands back, so that the two
//! do not flip flags between their policies.

use crate::Shared;
use crate::people;
use cutout_core::Hold;
use cutout_flags::{Read, StoreError, Term};

/// Another instance has declared a newer breakers' file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this instance's breakers' file has revision {own}, and revision {declared} is declared: it stands back. Deploy the newer file here, or raise the revision of this one above {declared}"
)]
pub struct StandsBack {
    /// This instance's revision; 0: its file has none.
    pub own: u64,
    /// The one that is declared.
    pub declared: u64,
}

/// Why there is no term to write under.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TermError {
    #[error(transparent)]
    StandsBack(#[from] StandsBack),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The term to write under. None: it was only declared now, so read again.
pub(crate) async fn in_force(shared: &Shared, read: &Read) -> Result<Option<Term>, TermError> {
    let own = shared.breakers().revision;
    match &read.term {
        Some(term) if term.revision == own => Ok(Some(term.clone())),
        Some(term) if term.revision > own => Err(stands_back(own, term).into()),
        _ => {
            declare(shared).await?;
            Ok(None)
        }
    }
}

/// Declares this instance's breakers, and brings back what people had ordered if the store had lost it.
pub(crate) async fn declare(shared: &Shared) -> Result<Term, TermError> {
    let breakers = shared.breakers();
    let term = shared.parts.store.declare(&breakers.declared()).await?;
    if term.revision > breakers.revision {
        return Err(stands_back(breakers.revision, &term).into());
    }
    people::restore(shared, &term).await?;
    Ok(term)
}

/// What keeps all signals from opening anything.
pub(crate) fn pause_of(read: &Read) -> Option<Hold> {
    read.pause.as_ref().filter(|pause| pause.holds_at(read.now_ms)).map(|_| Hold::Paused)
}

fn stands_back(own: u64, term: &Term) -> StandsBack {
    StandsBack { own, declared: term.revision }
}
