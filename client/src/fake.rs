//! A client for tests of programs that use this crate: breakers that a test opens and closes, without a store, a service or a
//! runtime.
//!
//! It is the real client over a memory that the test writes instead of a follower, so that handles, classes, refusals, listeners
//! and the snapshot are the ones of production. Left out: the store, and with it `max_staleness`.

use crate::client::Client;
use crate::memory::Memory;
use crate::names::{self, UnknownBreaker};
use crate::staleness::Limits;
use cutout_core::declaration::DeclaredBreaker;
use cutout_core::flag::{ALL_PPM, ForcedUntil, Ramp};
use cutout_core::{BreakerId, Declared, Flag, Forced, Mode, State};
use cutout_flags::{Epoch, PUBLISHED_VERSION, Published, Sink, Update};
use std::collections::BTreeSet;
use std::sync::Arc;

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
/// What it does takes effect at once, and stays until the test changes it. Open here means every call is refused, without the
/// probes that a real breaker lets through, so that a test needs no luck.
#[derive(Debug)]
pub struct FakeClient {
    memory: Arc<Memory>,
    client: Client,
    declared: Declared,
}

impl FakeClient {
    /// A client that knows these names; any other is an [`UnknownBreaker`], as it is in production.
    #[must_use]
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> FakeClient {
        let breakers = names.into_iter().map(|name| (name.into(), DeclaredBreaker::default())).collect();
        let declared = Declared { revision: 0, breakers };
        let memory = Arc::new(Memory::new(BTreeSet::new(), false, Limits::default()));
        let client = Client::without_store(Arc::clone(&memory));
        let fake = FakeClient { memory, client, declared };
        fake.regain_store();
        fake
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

    /// The store answers no more: [`Client::health`] tells, and breakers go on by what they know.
    pub fn lose_store(&self) {
        self.memory.clock().contact_ends();
        self.memory.lost_contact();
    }

    /// It answers again.
    pub fn regain_store(&self) {
        self.memory.clock().contact_for_good();
        self.memory.regained_contact(Some(Arc::new(self.declared.clone())));
    }

    fn set<V: AsRef<str>>(&self, name: &str, key: &[V], flag: Flag) -> Result<(), UnknownBreaker> {
        names::check(&self.declared, name)?;
        let since_ms = self.memory.clock().now().store_ms;
        let flag = Flag { since_ms, ..flag };
        let epoch = Epoch::from_stored(String::new());
        let published = Published { v: PUBLISHED_VERSION, epoch, rev: 0, flag };
        self.memory.update(&[Update { id: BreakerId::new(name, key), flag: Some(published) }]);
        Ok(())
    }
}
