//! What a call's end says about the vendor: success, failure, or nothing, because nothing was sent.
//!
//! The vendor's metric, the local breaker and retries go by this and by nothing else. A refusal is never classified: nothing was
//! sent, so it says nothing about the vendor. Nor is that of another breaker further in, where the engine can see it in the error.
//! Left out: what HTTP answers mean (`http`), and time-outs, which are failures always.

use crate::call::CallError;

/// What the end of a call says about the vendor.
///
/// ```
/// use cutout::{ByResult, Classify, Outcome};
///
/// let declined: Result<u64, &str> = Err("declined");
/// assert_eq!(ByResult.classify(&declined), Outcome::Failure, "unless told otherwise");
/// let by_bank = |_: &Result<u64, &str>| Outcome::Success; // an answer, whatever it says
/// assert_eq!(by_bank.classify(&declined), Outcome::Success);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The vendor did its work. An answer that the caller does not like, such as "card declined", is a success too.
    Success,
    /// The vendor failed.
    Failure,
    /// Nothing was sent: a breaker further in refused, or the request could not be built. Counted apart (`not_sent`) and never retried.
    NotSent,
}

/// Tells success from failure. Any closure `Fn(&R) -> Outcome` does.
///
/// ```
/// use cutout::{Classify, Outcome};
///
/// enum BankError { Declined, Down }
///
/// // A declined card is the bank at work.
/// fn by_bank(result: &Result<u64, BankError>) -> Outcome {
///     match result {
///         Ok(_) | Err(BankError::Declined) => Outcome::Success,
///         Err(BankError::Down) => Outcome::Failure,
///     }
/// }
/// assert_eq!(by_bank.classify(&Err(BankError::Down)), Outcome::Failure);
/// ```
pub trait Classify<R> {
    /// What this end of a call says about the vendor.
    fn classify(&self, ended: &R) -> Outcome;
}

impl<R, F: Fn(&R) -> Outcome> Classify<R> for F {
    fn classify(&self, ended: &R) -> Outcome {
        self(ended)
    }
}

/// Every `Err` is a failure: for calls whose errors are all the vendor's.
///
/// ```
/// use cutout::{ByResult, Classify, Outcome};
/// assert_eq!(ByResult.classify(&Ok::<_, ()>(1)), Outcome::Success);
/// assert_eq!(ByResult.classify(&Err::<(), _>("no route")), Outcome::Failure);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ByResult;

impl<T, E> Classify<Result<T, E>> for ByResult {
    fn classify(&self, ended: &Result<T, E>) -> Outcome {
        if ended.is_ok() { Outcome::Success } else { Outcome::Failure }
    }
}

/// For calls that go through another breaker of this crate (a lane within a lane): what that one did not send is [`Outcome::NotSent`], and every other
/// `Err` is a failure. The layers for tower and reqwest see to this by themselves.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fake = cutout::FakeClient::new(["country", "bank"]);
/// # let lane = |name: &str| Ok::<_, cutout::Mistakes>(cutout::Upstream::builder(name).build(&fake.client())?.lane::<&str>(&[]));
/// use cutout::Nested;
///
/// let (country, bank) = (lane("country")?, lane("bank")?);
/// fake.open::<&str>("bank", &[])?;
/// let charge = || bank.call(|| async { Ok::<_, std::io::Error>("charged") });
/// let refused = country.call_by(Nested, charge).await.unwrap_err(); // no failure of the country's
/// assert!(refused.into_failed().is_some_and(|within| within.is_not_sent()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Nested;

impl<T, E> Classify<Result<T, CallError<E>>> for Nested {
    fn classify(&self, ended: &Result<T, CallError<E>>) -> Outcome {
        match ended {
            Ok(_) => Outcome::Success,
            Err(error) if error.is_not_sent() => Outcome::NotSent,
            Err(_) => Outcome::Failure,
        }
    }
}
