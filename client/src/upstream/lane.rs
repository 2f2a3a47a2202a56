//! An upstream, and its lanes: one for each key, so that what one bank does to its callers stays with that bank.
//!
//! Lanes are bounded. Beyond the bound those that nobody holds and that have nothing to remember, or only what is over, are forgotten; if none is so,
//! further keys share one bulkhead, budget and local breaker, and keep their own fleet's breaker.

use super::bulkhead::Room;
use super::ends::Unknown;
use super::failover;
use super::retries::{Plan, Retrying};
use super::settings::{Settings, UpstreamBuilder};
use super::tries::{Tries, bears_nothing};
use crate::breaker::Breaker;
use crate::call::CallError;
use crate::client::Client;
use crate::local::Local;
use crate::locals::Tripping;
use crate::names::UnknownBreaker;
use crate::outcome::{ByResult, Classify};
use crate::snapshot::KnownLocal;
use crate::tally::Aside;
use cutout_core::BreakerId;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::time::Instant;

/// How many lanes an upstream remembers: those of further keys share one bulkhead, budget and local breaker.
///
/// ```
/// assert_eq!(cutout::LANES_MAX, 10_000);
/// ```
pub const LANES_MAX: usize = 10_000;

/// A vendor as this process calls it: the breakers of one name, with time-outs, bulkhead, retries and a local breaker around them. Cheap to
/// clone. With the store gone all of it works on: the breakers by what is known, the rest needs no store.
///
/// ```
/// use cutout::{Bulkhead, LocalBreaker, Retries, Upstream, Window};
/// use std::time::Duration;
///
/// # async fn ask() -> Result<u64, std::io::Error> { Ok(7) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank-charge"]).client();
/// let inquiries = Upstream::builder("bank-charge")
///     .class("inquiry")
///     .request_timeout(Duration::from_secs(5))
///     .try_timeout(Duration::from_secs(2))
///     .bulkhead(Bulkhead { max_concurrent: 50, max_waiting: 10 })
///     .retries(Retries::up_to(2))
///     .local_breaker(LocalBreaker::over(Window::Time(Duration::from_secs(10))).failure_percent(50))
///     .build(&client)?;
/// let bank = inquiries.lane(&["0001"]); // keep it
/// assert_eq!(bank.call_idempotent(ask).await?, 7);
/// assert_eq!((inquiries.name(), bank.breaker().class()), ("bank-charge", Some("inquiry")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Upstream(Arc<Shared>);

/// With as many lanes as may be, those that may be forgotten are looked for once in so many new keys: a look passes all of them.
const SWEEP_EVERY: usize = LANES_MAX / 10;

/// All lanes.
#[derive(Default)]
struct Lanes {
    /// Foldhash is seeded anew in each process; keys may come from requests.
    by_id: HashMap<BreakerId, Lane, foldhash::fast::RandomState>,
    /// How many new keys are to come before the next look.
    until_sweep: usize,
}

impl Lanes {
    /// Whether there is room for one more.
    fn has_room(&mut self) -> bool {
        let before = self.by_id.len();
        if before < LANES_MAX {
            return true;
        }
        if self.until_sweep > 0 {
            self.until_sweep -= 1;
            return false;
        }
        self.by_id.retain(|_, lane| Arc::strong_count(&lane.0) > 1 || !lane.0.guards.is_at_rest());
        // A look that has found many pays for itself.
        let found = before - self.by_id.len();
        self.until_sweep = if found < SWEEP_EVERY { SWEEP_EVERY } else { 0 };
        found > 0
    }
}

thread_local! {
    /// Room to spell a key in, so that finding a lane allocates nothing.
    static SPELLED: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Shared {
    client: Client,
    settings: Arc<Settings>,
    /// None: it does not retry.
    plan: Option<Plan>,
    /// The breaker without a key: what calls go by if it turns out late that nobody declares the name.
    keyless: Breaker,
    lanes: RwLock<Lanes>,
    /// For keys beyond the bound.
    others: Arc<Guards>,
}

/// What stands around the calls of one key besides its breaker.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) room: Option<Room>,
    pub(super) retrying: Option<Retrying>,
    pub(super) local: Option<Local>,
}

impl Guards {
    fn new(settings: &Settings, plan: Option<&Plan>) -> Guards {
        Guards {
            room: settings.bulkhead.map(Room::new),
            retrying: plan.map(Retrying::new),
            local: settings.local.map(Local::new),
        }
    }

    fn is_at_rest(&self) -> bool {
        self.room.as_ref().is_none_or(Room::is_empty) && self.local.as_ref().is_none_or(Local::is_at_rest)
    }
}

impl Upstream {
    /// Settings of the upstream whose breakers bear this name.
    pub fn builder(name: impl Into<String>) -> UpstreamBuilder {
        UpstreamBuilder::new(name.into())
    }

    pub(super) fn new(client: Client, settings: Settings, plan: Option<Plan>) -> Upstream {
        let keyless = client.unchecked::<&str>(&settings.name, &[]);
        let others = Arc::new(Guards::new(&settings, plan.as_ref()));
        let (settings, lanes) = (Arc::new(settings), RwLock::default());
        Upstream(Arc::new(Shared { client, settings, plan, keyless, lanes, others }))
    }

    /// The name of its breakers.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// Whether its breakers are declared without a key.
    #[cfg(any(feature = "tower", feature = "reqwest"))]
    pub(crate) fn is_keyless(&self) -> bool {
        self.0.client.names().tags(self.name()).is_some_and(|tags| tags.is_empty())
    }

    /// Whether it retries anything.
    #[cfg(any(feature = "tower", feature = "reqwest"))]
    pub(crate) fn retries(&self) -> bool {
        self.0.plan.is_some()
    }

    /// What doors that open connections go by.
    #[cfg(feature = "reqwest")]
    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The lane for the key's values in declared order (none for a breaker without key). Keep it.
    ///
    /// The name was checked when the upstream was built. If the declared names were not known then, and it is found later that nobody declares
    /// it, calls flow: the log tells it, and `cutout_client_undeclared_total`. So they do, told once, if the key has another number of values than
    /// declared: keys come with requests.
    #[must_use]
    pub fn lane<V: AsRef<str>>(&self, key: &[V]) -> Lane {
        let shared = &*self.0;
        let known = SPELLED.with_borrow_mut(|spelled| {
            spelled.clear();
            BreakerId::spell(self.name(), key, spelled);
            shared.lanes.read().unwrap_or_else(PoisonError::into_inner).by_id.get(spelled.as_str()).cloned()
        });
        known.unwrap_or_else(|| {
            let breaker = shared.client.breaker(self.name(), key);
            let breaker = breaker.unwrap_or_else(|unknown| self.undeclared(&unknown, key));
            self.new_lane(BreakerId::new(self.name(), key), self.counted(&breaker, key))
        })
    }

    fn undeclared<V: AsRef<str>>(&self, unknown: &UnknownBreaker, key: &[V]) -> Breaker {
        if unknown.key_tags().is_some() {
            self.0.client.names().tell_key(self.name(), key.len());
            return self.0.client.unchecked(self.name(), key);
        }
        let name = self.name().to_owned();
        tracing::error!(breaker = name, error = %unknown, "an upstream's breakers are not declared, so nothing opens them");
        metrics::counter!("cutout_client_undeclared_total", "breaker" => name).increment(1);
        self.0.keyless.clone()
    }

    /// Its handle for the calls of this upstream, with the labels that they are counted by.
    fn counted<V: AsRef<str>>(&self, breaker: &Breaker, key: &[V]) -> Breaker {
        let Settings { class, key_tags, .. } = &*self.0.settings;
        let values = key.iter().map(|value| value.as_ref().to_lowercase());
        breaker.by_key(class.as_deref(), key_tags.iter().cloned().zip(values).collect())
    }

    fn new_lane(&self, id: BreakerId, breaker: Breaker) -> Lane {
        let shared = &*self.0;
        let lane = |breaker, guards| {
            let settings = Arc::clone(&shared.settings);
            let inner = Arc::new(Inner { breaker, settings, guards });
            if inner.settings.local.is_some() {
                let weak = Arc::downgrade(&inner);
                shared.client.locals().add(weak);
            }
            Lane(inner)
        };
        let mut lanes = shared.lanes.write().unwrap_or_else(PoisonError::into_inner);
        if !lanes.by_id.contains_key(&id) && !lanes.has_room() {
            return lane(breaker, Arc::clone(&shared.others));
        }
        let make = || lane(breaker, Arc::new(Guards::new(&shared.settings, shared.plan.as_ref())));
        lanes.by_id.entry(id).or_insert_with(make).clone()
    }
}

/// The way to a vendor for one key: its breaker and what stands around it. Cheap to clone; keep it rather than look it up each time, and keep
/// the upstream (or its client) as long. Nothing in it needs the store.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let banks = cutout::Upstream::builder("bank-charge").build(&fake.client())?;
/// let (one, two) = (banks.lane(&["0001"]), banks.lane(&["0002"]));
/// fake.open("bank-charge", &["0001"])?;
/// let charge = || async { Ok::<_, std::io::Error>("charged") };
/// assert!(one.call(charge).await.is_err());
/// assert_eq!(two.call(charge).await?, "charged");
/// assert_eq!(two.breaker().id().as_str(), "bank-charge/0002");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Lane(Arc<Inner>);

struct Inner {
    breaker: Breaker,
    settings: Arc<Settings>,
    guards: Arc<Guards>,
}

impl Lane {
    /// The breaker that is asked before each call.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.0.breaker
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn guards(&self) -> &Guards {
        &self.0.guards
    }

    /// Calls once, if the breaker, the local breaker and the bulkhead let it. Every `Err` counts as the vendor's failure;
    /// [`Lane::call_by`] tells otherwise.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = cutout::FakeClient::new(["bank"]).client();
    /// use cutout::{CallError, Upstream};
    ///
    /// let bank = Upstream::builder("bank").request_timeout(std::time::Duration::from_millis(5)).build(&client)?;
    /// let hangs = || std::future::pending::<Result<u64, std::io::Error>>();
    /// let error = bank.lane::<&str>(&[]).call(hangs).await.unwrap_err();
    /// assert!(matches!(error, CallError::TimedOut(_)) && !error.is_not_sent());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CallError`], which tells whether anything was sent.
    pub async fn call<T, E, F>(&self, call: impl FnOnce() -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_by(ByResult, call).await
    }

    /// [`Lane::call`], with `classify` to tell success from failure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = cutout::FakeClient::new(["bank"]).client();
    /// # let bank = cutout::Upstream::builder("bank").build(&client)?.lane::<&str>(&[]);
    /// use cutout::{CallError, Outcome};
    /// enum BankError { Declined, Down }
    /// # async fn charge() -> Result<u64, BankError> { Err(BankError::Declined) }
    ///
    /// let by_bank = |result: &Result<u64, BankError>| match result {
    ///     Err(BankError::Down) => Outcome::Failure,
    ///     Ok(_) | Err(BankError::Declined) => Outcome::Success, // counted as one, told as ever
    /// };
    /// let answer = bank.call_by(by_bank, charge).await;
    /// assert!(matches!(answer, Err(CallError::Failed(BankError::Declined))));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Lane::call`].
    pub async fn call_by<T, E, F, C>(&self, classify: C, call: impl FnOnce() -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<Result<T, E>>,
    {
        let one = Tries::once(self, Instant::now()).injected(bears_nothing).enter().await?;
        one.run::<Unknown, _, _, _>(call(), &classify).await.0
    }

    /// Calls something that may be done twice: what fails or times out is retried as [`UpstreamBuilder::retries`] allows. A refusal is
    /// not retried; if a retry is refused, the end of the try before it is the answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = cutout::FakeClient::new(["bank"]).client();
    /// use cutout::{Retries, Upstream};
    ///
    /// let bank = Upstream::builder("bank").retries(Retries::up_to(2)).build(&client)?.lane::<&str>(&[]);
    /// let mut tries = 0;
    /// let balance = bank.call_idempotent(|| {
    ///     tries += 1;
    ///     std::future::ready(if tries == 1 { Err("connection reset") } else { Ok(12) })
    /// });
    /// assert_eq!(balance.await.unwrap(), 12);
    /// assert_eq!(tries, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Lane::call`], of the last try made.
    pub async fn call_idempotent<T, E, F>(&self, call: impl FnMut() -> F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_idempotent_by(ByResult, call).await
    }

    /// [`Lane::call_idempotent`], with `classify` to tell success from failure. What it calls a success is not retried.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = cutout::FakeClient::new(["bank"]).client();
    /// # let retries = cutout::Retries::up_to(2);
    /// # let bank = cutout::Upstream::builder("bank").retries(retries).build(&client)?.lane::<&str>(&[]);
    /// let answered = |_: &Result<u64, &str>| cutout::Outcome::Success;
    /// let mut tries = 0;
    /// let unknown = bank.call_idempotent_by(answered, || {
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
    /// As for [`Lane::call_idempotent`].
    pub async fn call_idempotent_by<T, E, F, C>(
        &self,
        classify: C,
        mut call: impl FnMut() -> F,
    ) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<Result<T, E>>,
    {
        failover::repeat(self, None, &classify, |_| call()).await
    }

    /// Takes the fallback's value in the place of an error, and counts it (`cutout_client_fallbacks_total`). `None` leaves the error.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let fake = cutout::FakeClient::new(["rates"]);
    /// # fake.open::<&str>("rates", &[])?;
    /// # let rates = cutout::Upstream::builder("rates").build(&fake.client())?.lane::<&str>(&[]);
    /// # async fn quote() -> Result<u64, std::io::Error> { Ok(8) }
    /// let last_quote = 7;
    /// let answer = rates.call(quote).await; // refused: the breaker is open
    /// let answer = rates.fall_back(answer, |error| error.is_not_sent().then_some(last_quote));
    /// assert_eq!(answer?, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error for which there is no fallback.
    pub fn fall_back<T, E>(
        &self,
        result: Result<T, CallError<E>>,
        fallback: impl FnOnce(&CallError<E>) -> Option<T>,
    ) -> Result<T, CallError<E>> {
        result.or_else(|error| {
            let value = fallback(&error).ok_or(error)?;
            self.breaker().tally().aside(Aside::Fallback);
            Ok(value)
        })
    }
}

impl Tripping for Inner {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn class(&self) -> Option<&str> {
        self.settings.class.as_deref()
    }

    fn tripped(&self) -> Option<KnownLocal> {
        let (state, retry_after) = self.guards.local.as_ref()?.stand()?;
        Some(KnownLocal::new(self.breaker.id(), self.class(), state, retry_after))
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("breaker", self.breaker.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalBreaker;
    use cutout_flags::MemoryStore;
    use std::time::Duration;

    #[tokio::test]
    async fn lanes_are_bounded_and_one_that_is_held_stays_itself() {
        let builder = Client::builder_on(Arc::new(MemoryStore::new())).allow_undeclared();
        let client = builder.start_timeout(Duration::ZERO).connect().await.unwrap();
        let upstream = Upstream::builder("bank").build(&client).unwrap();
        let held = upstream.lane(&["held"]);
        for key in 0..2 * LANES_MAX {
            let _ = upstream.lane(&[key.to_string()]);
        }
        assert!(upstream.0.lanes.read().unwrap().by_id.len() <= LANES_MAX);
        assert!(Arc::ptr_eq(&held.0, &upstream.lane(&["held"]).0));

        let all: Vec<_> = (0..LANES_MAX).map(|key| upstream.lane(&[format!("x{key}")])).collect();
        let [one, other] = ["beyond", "more"].map(|key| upstream.lane(&[key]));
        assert_eq!(one.breaker().id().as_str(), "bank/beyond");
        assert!(Arc::ptr_eq(&one.0.guards, &other.0.guards), "further keys share their guards");
        assert_eq!(upstream.0.lanes.read().unwrap().by_id.len(), LANES_MAX);
        drop(all);
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_that_failed_once_make_room_when_that_is_over_and_are_not_looked_through_for_each_key() {
        const WINDOW: Duration = Duration::from_secs(10);
        let rules = LocalBreaker::over(crate::Window::Time(WINDOW)).consecutive_failures(5);
        let client = crate::FakeClient::new(["bank"]).client();
        let upstream = Upstream::builder("bank").local_breaker(rules).build(&client).unwrap();
        for key in 0..LANES_MAX {
            let _ = upstream.lane(&[key.to_string()]).call(|| async { Err::<(), ()>(()) }).await;
        }
        let shares = |key: &str| Arc::ptr_eq(&upstream.lane(&[key]).0.guards, &upstream.0.others);
        assert!(shares("beyond"), "they remember a failure");
        tokio::time::advance(WINDOW).await;
        let keys: Vec<String> = (0..=SWEEP_EVERY).map(|key| format!("new-{key}")).collect();
        let sharing = keys.iter().filter(|key| shares(key)).count();
        assert_eq!(sharing, SWEEP_EVERY, "until the next look");
        assert!(!shares("after"));
    }
}
