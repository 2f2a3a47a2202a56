//! What people order: overrides of one breaker, the release of one that is held, and the pause of the whole scope.
//!
//! The same road as a callback's: read, decide in core, write what nobody else wrote between. Whoever calls this has
//! made sure who the person is; a name and a reason are required and end up in the audit stream.

use crate::Shared;
use crate::apply::ROUNDS_MAX;
use crate::decision::{Before, decide};
use crate::sweep;
use crate::term::{StandsBack, TermError, in_force, pause_of};
use cutout_core::declaration::Declaration;
use cutout_core::{BreakerId, Cause, Flag, Order, Pause, State};
use cutout_flags::{Committed, StoreError};

/// The longest name of a person, bytes.
pub const BY_MAX_BYTES: usize = 200;
/// The longest reason, bytes.
pub const WHY_MAX_BYTES: usize = 2_000;

/// Why an order was not carried out. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No such breaker is declared.
    #[error("no breaker {0} is declared")]
    Undeclared(BreakerId),
    /// The order lacks who or why, or they are too long.
    #[error("an order needs who (1 to {BY_MAX_BYTES} bytes) and why (1 to {WHY_MAX_BYTES} bytes)")]
    Unsigned,
    /// The breaker's record cannot be read, as a newer version may have written it.
    #[error("the record of breaker {0} cannot be read by this version")]
    Unreadable(BreakerId),
    /// The breaker would be a new key beyond `max_keys`.
    #[error("breaker {0} would be one key more than max_keys allows")]
    TooManyKeys(BreakerId),
    /// Another instance has a newer breakers' file.
    #[error(transparent)]
    StandsBack(#[from] StandsBack),
    /// The store failed.
    #[error("the store of breakers failed")]
    Store(#[from] StoreError),
    /// Others kept writing the same breaker.
    #[error("others wrote the same breaker in each of {ROUNDS_MAX} rounds: try again")]
    Contended,
}

impl From<TermError> for OrderError {
    fn from(error: TermError) -> OrderError {
        match error {
            TermError::StandsBack(stands_back) => stands_back.into(),
            TermError::Store(error) => error.into(),
        }
    }
}

/// Carries out an order. Yields the flag that callers see then.
pub(crate) async fn obey(shared: &Shared, id: &BreakerId, order: &Order) -> Result<Flag, OrderError> {
    signed(&order.by, &order.why)?;
    let Some(Declaration { policy, .. }) = shared.parts.breakers.declaration(id) else {
        return Err(OrderError::Undeclared(id.clone()));
    };
    for _ in 0..ROUNDS_MAX {
        let read = shared.parts.store.read(std::slice::from_ref(id), None).await?;
        let Some(term) = in_force(shared, &read).await? else { continue };
        if read.unreadable.contains(id) {
            return Err(OrderError::Unreadable(id.clone()));
        }
        let stored = read.breakers.first().and_then(Option::as_ref);
        let mut family = read.families.get(id.name()).copied().unwrap_or_default();
        if stored.is_none() && family.grow(policy, 1) > 0 {
            return Err(OrderError::TooManyKeys(id.clone()));
        }
        let is_closed = stored.is_none_or(|stored| stored.value.state() == State::Closed);
        let hold = pause_of(&read).or_else(|| family.without(is_closed).hold(policy));
        let before = Before { stored, shown: None, hold, now_ms: read.now_ms };
        let mut flag = Flag::default();
        let decision = decide(id, policy, &before, |breaker| {
            let transitions = breaker.obey(policy, order, hold, read.now_ms);
            flag = breaker.flag(policy, hold);
            transitions
        });
        let Some(decision) = decision else { return Ok(flag) };
        let committed = shared.parts.store.commit(&term, std::slice::from_ref(&decision.write)).await?;
        if committed == Committed::Taken(vec![true]) {
            decision.log();
            return Ok(flag);
        }
    }
    Err(OrderError::Contended)
}

/// Pauses the scope until `until_ms` (Unix milliseconds of the store's clock; none: until somebody ends it).
pub(crate) async fn pause(
    shared: &Shared,
    by: &str,
    why: &str,
    until_ms: Option<i64>,
) -> Result<Pause, OrderError> {
    signed(by, why)?;
    let since_ms = now_ms(shared).await?;
    let pause = Pause { by: by.to_owned(), why: why.to_owned(), since_ms, until_ms };
    set_pause(shared, Some(&pause), person(by, why, "pause"), since_ms).await?;
    Ok(pause)
}

/// Ends the pause of the scope: what fires opens at once.
pub(crate) async fn resume(shared: &Shared, by: &str, why: &str) -> Result<(), OrderError> {
    signed(by, why)?;
    let at_ms = now_ms(shared).await?;
    set_pause(shared, None, person(by, why, "resume"), at_ms).await
}

async fn set_pause(
    shared: &Shared,
    pause: Option<&Pause>,
    cause: Cause,
    at_ms: i64,
) -> Result<(), OrderError> {
    shared.parts.store.set_pause(pause, &cause, at_ms).await?;
    tracing::info!(?cause, at_ms, until_ms = pause.and_then(|pause| pause.until_ms), "scope");
    sweep::sweep(shared).await?;
    Ok(())
}

/// The store's clock; also makes sure that this instance may write.
async fn now_ms(shared: &Shared) -> Result<i64, OrderError> {
    let read = shared.parts.store.read(&[], None).await?;
    in_force(shared, &read).await?;
    Ok(read.now_ms)
}

fn signed(by: &str, why: &str) -> Result<(), OrderError> {
    let fits = |text: &str, max_bytes| !text.trim().is_empty() && text.len() <= max_bytes;
    (fits(by, BY_MAX_BYTES) && fits(why, WHY_MAX_BYTES)).then_some(()).ok_or(OrderError::Unsigned)
}

fn person(by: &str, why: &str, act: &'static str) -> Cause {
    Cause::Person { by: by.to_owned(), why: why.to_owned(), act }
}
