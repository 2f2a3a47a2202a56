//! One call through a breaker: asked for, counted while it is under way, and judged by how it ended.
//!
//! This is the plain door without settings: no clock is read and nothing is allocated. What an upstream adds (time-outs, bulkhead,
//! retries, local breaker) stands in `upstream`, on the same counts and the same errors.

use crate::breaker::{Breaker, Refused};
use crate::calls::InFlight;
use crate::outcome::{ByResult, Classify};
use crate::upstream::{Injected, Overflow, TimedOut, Tripped};
use std::convert::Infallible;

/// Why a call did not succeed. All but the last two say that nothing was sent.
///
/// With the store gone calls end as ever: no variant stands for it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let bank = fake.client().breaker("bank-charge", &["0001"])?;
/// let charge = |receipt: Result<u64, &'static str>| bank.call_blocking(move || receipt);
/// assert_eq!(charge(Ok(7)).unwrap(), 7);
/// let failed = charge(Err("no route")).unwrap_err();
/// assert!(!failed.is_not_sent(), "ask the bank what became of it");
/// assert_eq!(failed.into_failed(), Some("no route"));
/// fake.open("bank-charge", &["0001"])?;
/// assert!(charge(Ok(7)).unwrap_err().is_not_sent(), "another bank may be tried");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The breaker refused. Nothing was sent, and it is not the vendor's failure.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Too many calls are under way. Nothing was sent.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// This process's own breaker refused. Nothing was sent.
    #[error(transparent)]
    Tripped(#[from] Tripped),
    /// A fault that a person injects ended the call. Nothing was sent, and it is not the vendor's failure.
    #[error(transparent)]
    Injected(#[from] Injected),
    /// No answer in time. Whether the vendor did its work is not known.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The call's own error.
    #[error(transparent)]
    Failed(E),
}

impl<E> CallError<E> {
    /// Whether it is certain that nothing was sent to the vendor: falling back, or trying elsewhere, repeats nothing.
    #[must_use]
    pub fn is_not_sent(&self) -> bool {
        !matches!(self, CallError::TimedOut(_) | CallError::Failed(_))
    }

    /// The call's own error, if it is one.
    pub fn into_failed(self) -> Option<E> {
        match self {
            CallError::Failed(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(any(feature = "tower", feature = "reqwest"))]
impl<E> CallError<E> {
    /// What this crate has to say, or the call's own error.
    pub(crate) fn split(self) -> Result<CallError<Infallible>, E> {
        Ok(match self {
            CallError::Refused(refused) => CallError::Refused(refused),
            CallError::Overflow(overflow) => CallError::Overflow(overflow),
            CallError::Tripped(tripped) => CallError::Tripped(tripped),
            CallError::Injected(injected) => CallError::Injected(injected),
            CallError::TimedOut(timed_out) => CallError::TimedOut(timed_out),
            CallError::Failed(error) => return Err(error),
        })
    }
}

impl CallError<Infallible> {
    /// The same, of a call with errors of its own.
    pub(crate) fn widened<E>(self) -> CallError<E> {
        match self {
            CallError::Refused(refused) => CallError::Refused(refused),
            CallError::Overflow(overflow) => CallError::Overflow(overflow),
            CallError::Tripped(tripped) => CallError::Tripped(tripped),
            CallError::Injected(injected) => CallError::Injected(injected),
            CallError::TimedOut(timed_out) => CallError::TimedOut(timed_out),
            CallError::Failed(never) => match never {},
        }
    }
}

impl Breaker {
    /// Calls, if the breaker admits it. Every `Err` counts as the vendor's failure; [`Breaker::call_by`] tells otherwise.
    ///
    /// Counted in `cutout_client_calls_total` by outcome; a call whose future is dropped counts as `cancelled`. How long it took is not
    /// noted, since that would cost two looks at the clock: an [`Upstream`](crate::Upstream) does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let fake = cutout::FakeClient::new(["bank-charge"]);
    /// # let bank = fake.client().breaker("bank-charge", &["0001"])?;
    /// # async fn charge() -> Result<u64, std::io::Error> { Ok(7) }
    /// let paid = match bank.call(charge).await {
    ///     Ok(receipt) => receipt,
    ///     Err(error) if error.is_not_sent() => return Ok(()), // another bank may be tried
    ///     Err(error) => return Err(error.into()),             // ask the bank what became of it
    /// };
    /// assert_eq!(paid, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError::Refused`], or [`CallError::Failed`] with the call's own error.
    pub async fn call<T, E, F>(&self, call: impl FnOnce() -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_by(ByResult, call).await
    }

    /// [`Breaker::call`], with `classify` to tell success from failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bank = cutout::FakeClient::new(["bank"]).client().breaker::<&str>("bank", &[])?;
    /// use cutout::Outcome;
    ///
    /// let by_bank = |ended: &Result<u64, &'static str>| match ended {
    ///     Ok(_) | Err("declined") => Outcome::Success, // the bank is at work
    ///     Err(_) => Outcome::Failure,
    /// };
    /// let answer = bank.call_by(by_bank, || async { Err("declined") }).await;
    /// assert_eq!(answer.unwrap_err().into_failed(), Some("declined"), "told as ever, counted as a success");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Breaker::call`].
    pub async fn call_by<T, E, F, C>(&self, classify: C, call: impl FnOnce() -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<Result<T, E>>,
    {
        let _permit = self.admit()?;
        let in_flight = self.calls().stripe().begin();
        let result = call().await;
        judge(in_flight, &classify, &result);
        result.map_err(CallError::Failed)
    }

    /// [`Breaker::call`] for code that blocks.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bank = cutout::FakeClient::new(["bank"]).client().breaker::<&str>("bank", &[])?;
    /// let parsed = bank.call_blocking(|| "7".parse::<u64>())?;
    /// assert_eq!(parsed, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Breaker::call`].
    #[inline]
    pub fn call_blocking<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>> {
        let _permit = self.admit()?;
        let in_flight = self.calls().stripe().begin();
        let result = call();
        judge(in_flight, &ByResult, &result);
        result.map_err(CallError::Failed)
    }
}

#[inline]
fn judge<R>(in_flight: InFlight<'_>, classify: &impl Classify<R>, ended: &R) {
    in_flight.end(classify.classify(ended).into());
}
