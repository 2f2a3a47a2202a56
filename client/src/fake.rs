//! A client for tests of programs that use this crate: breakers that a test opens and closes, without a store, a service or a
//! runtime.
//!
//! It is the real client over a memory that the test writes instead of a follower, so that handles, classes, refusals, listeners
//! and the snapshot are the ones of production. Left out: the store, and with it `max_staleness`.

use crate::client::Client;
use crate::memory::Memory;
use crate::names::{UNTOLD, UnknownBreaker};
use cutout_core::declaration::DeclaredBreaker;
use cutout_core::fault::{FAULT_DELAY_MAX_MS, FAULT_SHARE_MAX_PPM, FAULT_TIME_MAX_MS};
use cutout_core::flag::{ALL_PPM, ForcedUntil, Ramp};
use cutout_core::{BreakerId, Declared, Fault, Flag, Forced, Mark, Mode, State};
use cutout_flags::{Epoch, PUBLISHED_VERSION, Published, Sink, Update};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Parts per million in a percent.
const PERCENT_PPM: u32 = ALL_PPM / 100;
/// A time that never comes.
const NEVER_MS: i64 = i64::MAX;

/// Breakers that a test opens and closes. The program under test gets [`FakeClient::client`], which is an ordinary [`Client`].
///
/// ```
/// use cutout::{Client, FakeClient};
///
/// fn charge(client: &Client, bank: &str) -> Result<&'static str, Box<dyn std::error::Error>> {
///     match client.breaker("bank-charge", &[bank])?.admit() {
///         Ok(_permit) => Ok("charged"),
///         Err(_refused) => Ok("try another card"),
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = FakeClient::new(["bank-charge"]);
/// assert_eq!(charge(&fake.client(), "0001")?, "charged");
/// fake.open("bank-charge", &["0001"])?;
/// assert_eq!(charge(&fake.client(), "0001")?, "try another card");
/// assert_eq!(charge(&fake.client(), "0002")?, "charged");
/// # Ok(())
/// # }
/// ```
///
/// Each state that a breaker can be in, and what a caller gets:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fake = cutout::FakeClient::new(["bank-charge"]);
/// let bank = fake.client().breaker("bank-charge", &["0001"])?;
/// fake.open_for("bank-charge", &["0001"], &["charge"])?;
/// assert!(bank.for_class("charge").admit().is_err() && bank.for_class("refund").admit().is_ok());
/// fake.force_open("bank-charge", &["0001"])?;
/// assert_eq!(bank.admit().unwrap_err().reason(), cutout::Reason::Override);
/// fake.half_open("bank-charge", &["0001"], 0)?;
/// assert_eq!(bank.admit().unwrap_err().reason(), cutout::Reason::Share);
/// fake.watch("bank-charge", &["0001"])?;
/// assert!(bank.admit()?.would_refuse());
/// fake.close("bank-charge", &["0001"])?;
/// assert!(!bank.admit()?.would_refuse());
/// fake.lose_store();
/// assert!(bank.admit().is_ok() && !fake.client().health().connected, "by what is known");
/// fake.regain_store();
/// assert!(fake.client().health().connected);
/// fake.tell_metrics(); // to the recorder that the test has set
/// # Ok(())
/// # }
/// ```
///
/// What it does takes effect at once, and stays until the test changes it. Open here means every call is refused, without the
/// probes that a real breaker lets through, so that a test needs no luck.
#[derive(Debug)]
pub struct FakeClient {
    memory: Arc<Memory>,
    client: Client,
    declared: Declared,
    /// What the test has set.
    flags: Mutex<HashMap<BreakerId, Flag>>,
}

/// A fault that a test injects: a delay, or an end before anything is sent, or both.
///
/// ```
/// use cutout::FakeFault;
/// use std::time::Duration;
///
/// let slow_then_gone = FakeFault::delay(Duration::from_millis(200)).then_abort();
/// let for_drills = FakeFault::abort().for_header("x-drill", None);
/// assert_ne!(slow_then_gone, for_drills);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeFault {
    delay: Duration,
    aborts: bool,
    header: Option<Mark>,
}

impl FakeFault {
    /// Calls end unsent, as [`CallError::Injected`](crate::CallError::Injected).
    #[must_use]
    pub fn abort() -> FakeFault {
        FakeFault { delay: Duration::ZERO, aborts: true, header: None }
    }

    /// Calls wait so long before they are sent, in whole milliseconds, and at most 30 s as in production.
    #[must_use]
    pub fn delay(delay: Duration) -> FakeFault {
        FakeFault { delay, aborts: false, header: None }
    }

    /// And then end unsent.
    #[must_use]
    pub fn then_abort(self) -> FakeFault {
        FakeFault { aborts: true, ..self }
    }

    /// Only requests that bear this header; without a value, whatever its value is. Calls that are no HTTP requests bear none.
    #[must_use]
    pub fn for_header(self, name: &str, value: Option<&str>) -> FakeFault {
        let header = Mark { name: name.to_lowercase(), value: value.map(str::to_owned) };
        FakeFault { header: Some(header), ..self }
    }

    fn into_fault(self, since_ms: i64) -> Fault {
        let share_ppm = if self.header.is_some() { ALL_PPM } else { FAULT_SHARE_MAX_PPM };
        let delay_ms = i64::try_from(self.delay.as_millis()).unwrap_or(FAULT_DELAY_MAX_MS);
        let share_of = |is_wanted: bool| if is_wanted { share_ppm } else { 0 };
        Fault {
            since_ms,
            until_ms: since_ms.saturating_add(FAULT_TIME_MAX_MS),
            abort_ppm: share_of(self.aborts),
            delay_ppm: share_of(delay_ms > 0),
            delay_ms: delay_ms.min(FAULT_DELAY_MAX_MS),
            only: self.header,
        }
    }
}

impl FakeClient {
    /// A client that knows these names; any other is an [`UnknownBreaker`], as it is in production. Keys may have any number of values, unless
    /// [`FakeClient::keyed`] tells.
    #[must_use]
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> FakeClient {
        let breakers = names
            .into_iter()
            .map(|name| (name.into(), DeclaredBreaker { key: vec![UNTOLD.to_owned()] }))
            .collect();
        let declared = Declared { revision: 0, breakers };
        let memory = Arc::new(Memory::of_a_fake());
        let client = Client::without_store(Arc::clone(&memory));
        let fake = FakeClient { memory, client, declared, flags: Mutex::default() };
        fake.regain_store();
        fake
    }

    /// Tells by which tags the breakers of a name are keyed, as a breakers' file does: a key with another number of values, or an upstream that is counted
    /// by other tags, is then an error as in production. Otherwise a name takes every key.
    ///
    /// ```
    /// let fake = cutout::FakeClient::new(["bank-charge"]).keyed("bank-charge", ["bank_code"]);
    /// assert!(fake.client().breaker("bank-charge", &["0001"]).is_ok());
    /// assert!(fake.client().breaker("bank-charge", &["0001", "0002"]).is_err());
    /// assert!(cutout::Upstream::builder("bank-charge").key_tags(["network"]).build(&fake.client()).is_err());
    /// ```
    #[must_use]
    pub fn keyed<T: Into<String>>(mut self, name: &str, tags: impl IntoIterator<Item = T>) -> FakeClient {
        let key = tags.into_iter().map(Into::into).collect();
        self.declared.breakers.insert(name.to_owned(), DeclaredBreaker { key });
        self.regain_store();
        self
    }

    /// What the program under test gets. All clones see the same breakers.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Every call is refused, by a signal.
    ///
    /// # Errors
    /// [`UnknownBreaker`] if the name was not given to [`FakeClient::new`]. So do all that follow.
    pub fn open<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<(), UnknownBreaker> {
        self.set(name, key, Flag { state: State::Open, ..Flag::default() })
    }

    /// Calls of these operation classes are refused, and calls without a class; others pass.
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn open_for<V: AsRef<str>>(
        &self,
        name: &str,
        key: &[V],
        classes: &[&str],
    ) -> Result<(), UnknownBreaker> {
        let refuse = classes.iter().map(|class| (*class).to_owned()).collect();
        self.set(name, key, Flag { state: State::Open, refuse, ..Flag::default() })
    }

    /// Every call is refused, by a person's order.
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn force_open<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<(), UnknownBreaker> {
        let forced = Some(ForcedUntil { state: Forced::Open, until_ms: None });
        self.set(name, key, Flag { state: State::Open, forced, ..Flag::default() })
    }

    /// So many percent of the calls are admitted, by chance; the share does not grow. 0 and 100 need no luck.
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn half_open<V: AsRef<str>>(&self, name: &str, key: &[V], percent: u8) -> Result<(), UnknownBreaker> {
        let from_ppm = u32::from(percent.min(100)) * PERCENT_PPM;
        let ramp = Some(Ramp { from_ms: NEVER_MS - 1, to_ms: NEVER_MS, from_ppm });
        self.set(name, key, Flag { state: State::HalfOpen, ramp, ..Flag::default() })
    }

    /// Every call is admitted, but in watch mode, so that permits tell that the call would have been refused.
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn watch<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<(), UnknownBreaker> {
        self.set(name, key, Flag { mode: Mode::Watch, would: Some(State::Open), ..Flag::default() })
    }

    /// Every call is admitted.
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn close<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<(), UnknownBreaker> {
        self.set(name, key, Flag::default())
    }

    /// Injects a fault into the breaker's calls, in the place of the one before and beside its state. It meets **every** call that it
    /// is for, so that a test needs no luck; in production it meets a share. Only calls through an [`Upstream`](crate::Upstream) meet faults.
    /// Ends by [`FakeClient::end_fault`], and after an hour, as every fault does.
    ///
    /// ```
    /// use cutout::{CallError, FakeClient, FakeFault, Upstream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let fake = FakeClient::new(["bank-charge"]);
    /// let bank = Upstream::builder("bank-charge").build(&fake.client())?.lane(&["0001"]);
    /// let charge = || async { Ok::<_, std::io::Error>("charged") };
    /// fake.inject("bank-charge", &["0001"], FakeFault::abort())?;
    /// assert!(matches!(bank.call(charge).await, Err(CallError::Injected(_))));
    /// fake.end_fault("bank-charge", &["0001"])?;
    /// assert_eq!(bank.call(charge).await?, "charged");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn inject<V: AsRef<str>>(
        &self,
        name: &str,
        key: &[V],
        fault: FakeFault,
    ) -> Result<(), UnknownBreaker> {
        let fault = fault.into_fault(self.memory.clock().now().store_ms);
        self.change(name, key, |flag| flag.fault = Some(Box::new(fault)))
    }

    /// Ends the fault.
    ///
    /// # Errors
    /// [`UnknownBreaker`].
    pub fn end_fault<V: AsRef<str>>(&self, name: &str, key: &[V]) -> Result<(), UnknownBreaker> {
        self.change(name, key, |flag| flag.fault = None)
    }

    /// The store answers no more: [`Client::health`] tells, and breakers go on by what they know.
    pub fn lose_store(&self) {
        self.memory.clock().contact_ends();
        self.memory.lost_contact();
    }

    /// It answers again.
    pub fn regain_store(&self) {
        self.memory.clock().contact_for_good();
        self.memory.regained_contact(Some(&Arc::new(self.declared.clone())));
    }

    /// Hands to the recorder of metrics what was counted, as a client does once a second: a fake runs no tasks, so that without this counts come when the last clone is
    /// dropped.
    pub fn tell_metrics(&self) {
        self.memory.look_around();
    }

    /// Sets all of a flag but its fault.
    fn set<V: AsRef<str>>(&self, name: &str, key: &[V], flag: Flag) -> Result<(), UnknownBreaker> {
        let since_ms = self.memory.clock().now().store_ms;
        self.change(name, key, |before| {
            *before = Flag { since_ms, fault: before.fault.take(), ..flag };
        })
    }

    fn change<V: AsRef<str>>(
        &self,
        name: &str,
        key: &[V],
        change: impl FnOnce(&mut Flag),
    ) -> Result<(), UnknownBreaker> {
        self.memory.names().check_key(name, key.len())?;
        let id = BreakerId::new(name, key);
        // Held until the memory knows: what was changed last is seen last.
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        let flag = flags.entry(id.clone()).or_default();
        change(flag);
        let epoch = Epoch::from_stored(String::new());
        let published = Published { v: PUBLISHED_VERSION, epoch, rev: 0, flag: flag.clone() };
        self.memory.update(&[Update { id, flag: Some(published) }]);
        Ok(())
    }
}
