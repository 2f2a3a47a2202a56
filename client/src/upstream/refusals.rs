//! What an upstream says of a call that it did not make, or did not wait for any longer.

use cutout_core::BreakerId;
use std::time::Duration;

/// As many calls are under way as may be, and as many wait. Nothing was sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank"]).client();
/// use cutout::{Bulkhead, CallError, Upstream};
///
/// let one = Bulkhead { max_concurrent: 1, max_waiting: 0 };
/// let bank = Upstream::builder("bank").bulkhead(one).build(&client)?.lane::<&str>(&[]);
/// let inner = bank.clone();
/// let within = bank.call(|| async move { Ok::<_, ()>(inner.call(|| async { Ok::<(), ()>(()) }).await) }).await;
/// let Ok(Err(CallError::Overflow(overflow))) = within else { return Err("there was room".into()) };
/// assert_eq!((overflow.breaker().as_str(), overflow.max_concurrent(), overflow.waited()), ("bank", 1, None));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the call was not made because {breaker} has {max_concurrent} calls under way and no room to wait")]
pub struct Overflow {
    pub(crate) breaker: BreakerId,
    pub(crate) max_concurrent: usize,
    pub(crate) waited: Option<Duration>,
}

impl Overflow {
    /// Whose calls are too many.
    #[must_use]
    pub fn breaker(&self) -> &BreakerId {
        &self.breaker
    }

    /// How many calls may be under way.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.max_concurrent
    }

    /// How long the call waited for room; none: there was no room to wait either.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.waited
    }
}

/// This process's own breaker is open, or half-open with all its trials under way. Nothing was sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank"]).client();
/// use cutout::{CallError, LocalBreaker, Upstream, Window};
///
/// let rules = LocalBreaker::over(Window::Calls(20)).consecutive_failures(1);
/// let bank = Upstream::builder("bank").local_breaker(rules).build(&client)?.lane::<&str>(&[]);
/// let fails = || async { Err::<(), _>("no route") };
/// assert!(matches!(bank.call(fails).await, Err(CallError::Failed("no route"))));
/// let Err(CallError::Tripped(tripped)) = bank.call(fails).await else { return Err("it is closed".into()) };
/// assert_eq!(tripped.breaker().as_str(), "bank", "whose own state is another thing");
/// assert!(tripped.retry_after() <= std::time::Duration::from_secs(5));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the call was refused because too many calls of this process to {breaker} have failed")]
pub struct Tripped {
    pub(crate) breaker: BreakerId,
    pub(crate) retry_after: Duration,
}

impl Tripped {
    /// The breaker beside which the local one stands.
    #[must_use]
    pub fn breaker(&self) -> &BreakerId {
        &self.breaker
    }

    /// How long it stays open at the least; zero: it is trying the vendor now.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

/// A fault that a person injects into the breaker's calls ended this one. Nothing was sent.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fake = cutout::FakeClient::new(["bank"]);
/// # let bank = cutout::Upstream::builder("bank").build(&fake.client())?.lane::<&str>(&[]);
/// use cutout::{CallError, FakeFault, Injected};
/// use std::time::Duration;
///
/// fake.inject::<&str>("bank", &[], FakeFault::delay(Duration::from_millis(2)).then_abort())?;
/// let ended = bank.call(|| async { Ok::<_, ()>("charged") }).await;
/// let Err(CallError::Injected(injected)) = ended else { return Err("no fault".into()) };
/// let told: &Injected = &injected;
/// assert_eq!(told.breaker().as_str(), "bank");
/// assert!(told.after() >= Duration::from_millis(2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the call to {breaker} was ended by an injected fault after {} ms", after.as_millis())]
pub struct Injected {
    pub(crate) breaker: BreakerId,
    pub(crate) after: Duration,
}

impl Injected {
    /// Into whose calls it is injected.
    #[must_use]
    pub fn breaker(&self) -> &BreakerId {
        &self.breaker
    }

    /// How long the fault delayed the call before its end; zero: not at all.
    #[must_use]
    pub fn after(&self) -> Duration {
        self.after
    }
}

/// Which limit ended a call; see [`TimedOut`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// The one for the whole call, with its tries and waits.
    Request,
    /// The one for each try.
    Try,
    /// The one for connecting. Nothing was sent.
    Connect,
    /// The one for a silent connection.
    Idle,
}

/// No answer in time. Whether the vendor did its work is not known.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank"]).client();
/// use cutout::{CallError, TimedOut, Timeout, Upstream};
/// use std::time::Duration;
///
/// let bank = Upstream::builder("bank").try_timeout(Duration::from_millis(5)).build(&client)?.lane::<&str>(&[]);
/// let hangs = || std::future::pending::<Result<(), ()>>();
/// let Err(CallError::TimedOut(timed_out)) = bank.call(hangs).await else { return Err("an answer".into()) };
/// let told: &TimedOut = &timed_out;
/// assert_eq!((told.breaker().as_str(), told.timeout()), ("bank", Timeout::Try));
/// assert_eq!(told.after(), Duration::from_millis(5));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the call to {breaker} had no answer within {} ms", after.as_millis())]
pub struct TimedOut {
    pub(crate) breaker: BreakerId,
    pub(crate) timeout: Timeout,
    pub(crate) after: Duration,
}

impl TimedOut {
    /// Whose call it was.
    #[must_use]
    pub fn breaker(&self) -> &BreakerId {
        &self.breaker
    }

    /// Which limit ended it.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// How long this try was given, by the limit that ended it.
    #[must_use]
    pub fn after(&self) -> Duration {
        self.after
    }
}
