//! A second vendor for the time in which the first one's breaker is open.
//!
//! The second is called only when it is certain that nothing was sent to the first, so that nothing is done twice: after a refusal, never
//! after a failure or a time-out. Left out: how the call is made on either, which the caller brings.

use super::ends::Unknown;
use super::lane::Lane;
use super::tries::{Tries, bears_nothing};
use crate::call::CallError;
use crate::outcome::{ByResult, Classify};
use tokio::time::Instant;

/// Two lanes, of which the second is called while the first refuses. The second has its own breaker, which may refuse too.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-a", "bank-b"]);
/// let lane = |name: &str| Ok::<_, cutout::Mistakes>(cutout::Upstream::builder(name).build(&fake.client())?.lane::<&str>(&[]));
/// let vendors = cutout::Failover::new(lane("bank-a")?, lane("bank-b")?);
/// fake.open::<&str>("bank-a", &[])?;
/// let asked = vendors.call(|lane| std::future::ready(Ok::<_, std::io::Error>(lane.breaker().id().name().to_owned()))).await?;
/// assert_eq!(asked, "bank-b");
/// assert_eq!((vendors.first().breaker().id().name(), vendors.second().breaker().id().name()), ("bank-a", "bank-b"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Failover {
    first: Lane,
    second: Lane,
}

impl Failover {
    /// The second lane is called while the first refuses: its fleet's breaker or its local one, but not its bulkhead, since too many calls
    /// for the one would be too many for the other.
    #[must_use]
    pub fn new(first: Lane, second: Lane) -> Failover {
        Failover { first, second }
    }

    /// The first lane.
    #[must_use]
    pub fn first(&self) -> &Lane {
        &self.first
    }

    /// The second lane.
    #[must_use]
    pub fn second(&self) -> &Lane {
        &self.second
    }

    /// Calls once, on the lane that lets it. Every `Err` counts as that vendor's failure.
    ///
    /// # Errors
    /// As for [`Lane::call`]; if both refuse, the second's refusal.
    pub async fn call<T, E, F>(&self, call: impl FnOnce(&Lane) -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_by(ByResult, call).await
    }

    /// [`Failover::call`], with `classify` to tell success from failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = cutout::FakeClient::new(["bank-a", "bank-b"]).client();
    /// # let lane = |name: &str| Ok::<_, cutout::Mistakes>(cutout::Upstream::builder(name).build(&client)?.lane::<&str>(&[]));
    /// # let vendors = cutout::Failover::new(lane("bank-a")?, lane("bank-b")?);
    /// let answered = |_: &Result<u64, &str>| cutout::Outcome::Success; // whatever it says
    /// let answer = vendors.call_by(answered, |_lane| async { Err::<u64, _>("declined") }).await;
    /// assert_eq!(answer.unwrap_err().into_failed(), Some("declined"), "sent, so the second is not asked");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Failover::call`].
    pub async fn call_by<T, E, F, C>(
        &self,
        classify: C,
        call: impl FnOnce(&Lane) -> F,
    ) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<Result<T, E>>,
    {
        let mut tries = Tries::once(&self.first, Instant::now()).injected(bears_nothing);
        match tries.enter().await {
            Ok(one) => one.run::<Unknown, _, _, _>(call(&self.first), &classify).await.0,
            Err(not_sent) if not_sent.fails_over() => {
                let one = tries.fail_over(&self.second).injected(bears_nothing).enter().await?;
                one.run::<Unknown, _, _, _>(call(&self.second), &classify).await.0
            }
            Err(not_sent) => Err(not_sent.into()),
        }
    }

    /// Calls something that may be done twice: what fails or times out is retried on the lane that it was made on, as that lane's upstream allows. The
    /// second lane is called only if the first refuses the first try.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let fake = cutout::FakeClient::new(["bank-a", "bank-b"]);
    /// use cutout::{Failover, Retries, Upstream};
    ///
    /// let lane = |name: &str| {
    ///     let upstream = Upstream::builder(name).retries(Retries::up_to(1)).build(&fake.client());
    ///     upstream.map(|upstream| upstream.lane::<&str>(&[]))
    /// };
    /// let vendors = Failover::new(lane("bank-a")?, lane("bank-b")?);
    /// fake.open::<&str>("bank-a", &[])?;
    /// let mut asked = Vec::new();
    /// let balance = vendors.call_idempotent(|lane| {
    ///     asked.push(lane.breaker().id().to_string());
    ///     std::future::ready(if asked.len() == 1 { Err("connection reset") } else { Ok(12) })
    /// });
    /// assert_eq!(balance.await.unwrap(), 12);
    /// assert_eq!(asked, ["bank-b", "bank-b"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Failover::call`], of the last try made.
    pub async fn call_idempotent<T, E, F>(&self, call: impl FnMut(&Lane) -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_idempotent_by(ByResult, call).await
    }

    /// [`Failover::call_idempotent`], with `classify` to tell success from failure. What it calls a success is not retried.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = cutout::FakeClient::new(["bank-a", "bank-b"]).client();
    /// # let retries = cutout::Retries::up_to(2);
    /// # let lane = |name: &str| Ok::<_, cutout::Mistakes>(cutout::Upstream::builder(name).retries(retries).build(&client)?.lane::<&str>(&[]));
    /// # let vendors = cutout::Failover::new(lane("bank-a")?, lane("bank-b")?);
    /// let answered = |_: &Result<u64, &str>| cutout::Outcome::Success;
    /// let mut tries = 0;
    /// let unknown = vendors.call_idempotent_by(answered, |_lane| {
    ///     tries += 1;
    ///     async { Err::<u64, _>("no such account") }
    /// });
    /// assert_eq!(unknown.await.unwrap_err().into_failed(), Some("no such account"));
    /// assert_eq!(tries, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Failover::call_idempotent`].
    pub async fn call_idempotent_by<T, E, F, C>(
        &self,
        classify: C,
        call: impl FnMut(&Lane) -> F,
    ) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<Result<T, E>>,
    {
        repeat(&self.first, Some(&self.second), &classify, call).await
    }
}

/// Calls on the first lane, on the second one if the first refuses the first try, and again as that lane allows.
pub(super) async fn repeat<T, E, F, C>(
    first: &Lane,
    mut second: Option<&Lane>,
    classify: &C,
    mut call: impl FnMut(&Lane) -> F,
) -> Result<T, CallError<E>>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<Result<T, E>>,
{
    let mut lane = first;
    let mut tries = Tries::many(first, Instant::now()).injected(bears_nothing);
    let mut last = None;
    loop {
        let one = match tries.enter().await {
            Ok(one) => one,
            Err(not_sent) => match second.take() {
                Some(other) if last.is_none() && not_sent.fails_over() => {
                    (lane, tries) = (other, tries.fail_over(other).injected(bears_nothing));
                    continue;
                }
                _ => return last.unwrap_or_else(|| Err(not_sent.into())),
            },
        };
        let (result, ended) = one.run::<Unknown, _, _, _>(call(lane), classify).await;
        if !tries.again(ended).await {
            return result;
        }
        last = Some(result);
    }
}
