//! What people order: overrides of one breaker, faults to inject into its calls, the release of one that is held, and the pause of the whole scope.
//!
//! The same road as a callback's: read, decide in core, write what nobody else wrote between. Whoever calls this has
//! made sure who the person is; a name and a reason are required and end up in the audit stream.

use crate::Shared;
use crate::apply::ROUNDS_MAX;
use crate::decision::{Before, decide};
use crate::metrics;
use crate::sweep;
use crate::term::{StandsBack, TermError, in_force, pause_of};
use cutout_core::declaration::Declaration;
use cutout_core::fault::{Beyond, Fault};
use cutout_core::{Act, Breaker, BreakerId, Cause, Flag, Hold, Order, Pause, State};
use cutout_flags::{Committed, Published, StoreError};

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
    /// It is to end when it begins, or before.
    #[error("the end of the order is over already")]
    Over,
    /// Somebody else's decision would be replaced or ended unseen.
    #[error("{by} has decided something else: look at it first, and say which version you have seen")]
    Others {
        /// Who.
        by: String,
    },
    /// It is not what it was any more.
    #[error("it has changed since you have seen it")]
    Changed,
    /// There is no override to end.
    #[error("nobody forces breaker {0}")]
    NoOverride(BreakerId),
    /// The fault exceeds a limit.
    #[error(transparent)]
    Beyond(#[from] Beyond),
    /// There is no fault to end.
    #[error("no fault is injected into calls of breaker {0}")]
    NoFault(BreakerId),
    /// Nothing is held back by `max_open`.
    #[error("max_open does not hold breaker {0}")]
    NotHeld(BreakerId),
    /// There is no pause to end.
    #[error("the scope is not paused")]
    NoPause,
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

/// What somebody who orders has seen of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caution {
    /// The order is carried out whatever is there.
    Blind,
    /// Nothing was said of it: what somebody else decided is not replaced or ended.
    Unseen,
    /// It is carried out only if what is there is still one of these versions; `*` is any.
    Seen(Vec<String>),
}

impl Caution {
    fn allows(&self, version: Option<&str>) -> bool {
        match self {
            Caution::Blind | Caution::Unseen => true,
            Caution::Seen(versions) => version
                .is_some_and(|version| versions.iter().any(|seen| seen == version || seen == ANY_VERSION)),
        }
    }
}

/// Stands for any version.
pub(crate) const ANY_VERSION: &str = "*";

/// What tells one state of a breaker's flag from all others: the epoch, and the number of its last change.
pub(crate) fn version_of(published: &Published) -> String {
    format!("{}-{}", published.epoch.as_str(), published.rev)
}

/// What tells one pause from another, and from none.
pub(crate) fn pause_version(pause: Option<&Pause>) -> String {
    pause.map_or_else(|| "no-pause".to_owned(), |pause| format!("pause-{}", pause.since_ms))
}

/// Carries out an order whatever is there. Yields the flag that callers see then.
pub(crate) async fn obey(shared: &Shared, id: &BreakerId, order: &Order) -> Result<Flag, OrderError> {
    obey_with(shared, id, order, &Caution::Blind).await
}

/// Carries out an order with the caution of who gives it. Yields the flag that callers see then.
pub(crate) async fn obey_with(
    shared: &Shared,
    id: &BreakerId,
    order: &Order,
    caution: &Caution,
) -> Result<Flag, OrderError> {
    signed(&order.by, &order.why)?;
    for _ in 0..ROUNDS_MAX {
        let breakers = shared.breakers();
        let Some(Declaration { policy, .. }) = breakers.declaration(id) else {
            return Err(OrderError::Undeclared(id.clone()));
        };
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
        still_so(shared, id, order, caution, stored.map(|stored| &stored.value), read.now_ms).await?;
        let is_closed = stored.is_none_or(|stored| stored.value.state() == State::Closed);
        let hold = pause_of(&read).or_else(|| family.without(is_closed).hold(policy));
        let before = Before { stored, shown: None, hold, now_ms: read.now_ms };
        let mut flag = Flag::default();
        let decision = decide(id, policy, &before, |breaker| {
            let transitions = breaker.obey(policy, order, hold, read.now_ms);
            flag = breaker.flag(policy, hold);
            transitions
        });
        let Some(mut decision) = decision else { return Ok(flag) };
        if *caution != Caution::Blind {
            // Who and why may be all that changed: whoever has seen the breaker before must learn of it.
            decision.publish(flag.clone());
        }
        let committed = shared.parts.store.commit(&term, std::slice::from_ref(&decision.write)).await?;
        if committed == Committed::Taken(vec![true]) {
            decision.log();
            return Ok(flag);
        }
    }
    Err(OrderError::Contended)
}

/// Whether an order still meets what it was given for. What is read here is that which the write is decided on: were
/// it replaced meanwhile, the write would be refused and this asked again.
async fn still_so(
    shared: &Shared,
    id: &BreakerId,
    order: &Order,
    caution: &Caution,
    record: Option<&Breaker>,
    now_ms: i64,
) -> Result<(), OrderError> {
    if let Act::Inject(fault) = &order.act {
        Fault { since_ms: now_ms, ..fault.clone() }.check()?;
    }
    if *caution == Caution::Blind {
        return Ok(());
    }
    let forced = record.and_then(Breaker::forced).filter(|forced| forced.holds_at(now_ms));
    let fault = record.and_then(Breaker::fault).filter(|injected| injected.fault.holds_at(now_ms));
    match order.act {
        Act::Force { until_ms: Some(until_ms), .. } if until_ms <= now_ms => return Err(OrderError::Over),
        Act::Clear if forced.is_none() => return Err(OrderError::NoOverride(id.clone())),
        Act::EndFault if fault.is_none() => return Err(OrderError::NoFault(id.clone())),
        Act::Release if record.and_then(Breaker::held) != Some(Hold::MaxOpen) => {
            return Err(OrderError::NotHeld(id.clone()));
        }
        _ => {}
    }
    let decided_by = match order.act {
        Act::Inject(_) => fault.map(|injected| &injected.by),
        // What does harm anybody may end at once.
        Act::EndFault => None,
        _ => forced.map(|forced| &forced.by),
    };
    match (caution, decided_by) {
        (Caution::Unseen, Some(by)) if *by != order.by => Err(OrderError::Others { by: by.clone() }),
        (Caution::Seen(_), _) => {
            let published = shared.parts.store.flags(std::slice::from_ref(id)).await?;
            let version = published.first().and_then(Option::as_ref).map(version_of);
            if caution.allows(version.as_deref()) { Ok(()) } else { Err(OrderError::Changed) }
        }
        _ => Ok(()),
    }
}

/// Pauses the scope until `until_ms` (Unix milliseconds of the store's clock; none: until somebody ends it).
pub(crate) async fn pause(
    shared: &Shared,
    by: &str,
    why: &str,
    until_ms: Option<i64>,
    caution: &Caution,
) -> Result<Pause, OrderError> {
    signed(by, why)?;
    for _ in 0..ROUNDS_MAX {
        let (before, since_ms) = pause_before(shared, by, caution).await?;
        if until_ms.is_some_and(|until_ms| until_ms <= since_ms) {
            return Err(OrderError::Over);
        }
        let pause = Pause { by: by.to_owned(), why: why.to_owned(), since_ms, until_ms };
        if set_pause(shared, before.as_ref(), Some(&pause), person(by, why, "pause"), since_ms).await? {
            return Ok(pause);
        }
    }
    Err(OrderError::Contended)
}

/// Ends the pause of the scope: what fires opens at once.
pub(crate) async fn resume(
    shared: &Shared,
    by: &str,
    why: &str,
    caution: &Caution,
) -> Result<(), OrderError> {
    signed(by, why)?;
    for _ in 0..ROUNDS_MAX {
        let (before, at_ms) = pause_before(shared, by, caution).await?;
        let in_force = before.as_ref().is_some_and(|pause| pause.holds_at(at_ms));
        if !in_force && *caution != Caution::Blind {
            return Err(OrderError::NoPause);
        }
        if set_pause(shared, before.as_ref(), None, person(by, why, "resume"), at_ms).await? {
            return Ok(());
        }
    }
    Err(OrderError::Contended)
}

/// The pause that stands there, and the store's clock, if somebody of that caution may replace it. Also makes sure that
/// this instance may write.
async fn pause_before(
    shared: &Shared,
    by: &str,
    caution: &Caution,
) -> Result<(Option<Pause>, i64), OrderError> {
    let read = shared.parts.store.read(&[], None).await?;
    in_force(shared, &read).await?;
    let in_force = read.pause.as_ref().filter(|pause| pause.holds_at(read.now_ms));
    match (caution, in_force) {
        (caution, pause) if !caution.allows(Some(&pause_version(pause))) => Err(OrderError::Changed),
        (Caution::Unseen, Some(pause)) if pause.by != by => Err(OrderError::Others { by: pause.by.clone() }),
        _ => Ok((read.pause, read.now_ms)),
    }
}

/// Sets the pause in the place of the one that was read. False: somebody came between.
async fn set_pause(
    shared: &Shared,
    before: Option<&Pause>,
    pause: Option<&Pause>,
    cause: Cause,
    at_ms: i64,
) -> Result<bool, OrderError> {
    if !shared.parts.store.replace_pause(before, pause, &cause, at_ms).await? {
        return Ok(false);
    }
    shared.pause_asked.notify_one();
    if let Cause::Person { by, why, act } = &cause {
        let until_ms = pause.and_then(|pause| pause.until_ms);
        metrics::ordered(act);
        tracing::info!(cause = "person", act, by, why, at_ms, until_ms, "scope");
    }
    sweep::sweep(shared).await?;
    Ok(true)
}

fn signed(by: &str, why: &str) -> Result<(), OrderError> {
    let fits = |text: &str, max_bytes| !text.trim().is_empty() && text.len() <= max_bytes;
    (fits(by, BY_MAX_BYTES) && fits(why, WHY_MAX_BYTES)).then_some(()).ok_or(OrderError::Unsigned)
}

fn person(by: &str, why: &str, act: &'static str) -> Cause {
    Cause::Person { by: by.to_owned(), why: why.to_owned(), act }
}
