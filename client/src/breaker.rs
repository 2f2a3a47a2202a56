//! A handle on one breaker, and its answer to "may I call?".
//!
//! The answer comes from memory alone: one relaxed load while the breaker is calm; a look at the flag, the clock
//! and a random draw while it is not. No network, no lock, no allocation, whatever the store does.
//! Left out: how the answer comes about (`cell`).

use crate::calls::{Calls, Ended};
use crate::cell::{Answer, Cell, Refusal};
use crate::clock::StoreClock;
use crate::reason::Reason;
use crate::tally::{Labels, Tallies, Tally};
use cutout_core::flag::ALL_PPM;
use cutout_core::{BreakerId, Injection, Mark, State};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What all handles of a client share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) clock: StoreClock,
    pub(crate) tallies: Tallies,
    /// Whether a fault meets every call that it is for, whatever its share: for tests, which need no luck.
    pub(crate) faults_meet_all: bool,
}

/// A handle on one breaker, such as `bank-charge/0001`, for calls of one operation class or of none. Cheap to clone;
/// keep it rather than look it up each time.
///
/// # Operation classes
/// A breaker's file may list the classes that are refused (`refuse = ["charge"]`). Calls of a class that is not listed pass, whatever the
/// state: a refund or an inquiry must go on while new charges may not. A call without a class is refused as if listed, so that
/// forgetting the class is safe.
///
/// The class belongs to the handle and not to the call, because a place in the code makes calls of one class: what a class needs is
/// looked up once, and the call itself costs the same with a class as without.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let bank = fake.client().breaker("bank-charge", &["0001"])?;
/// let (charge, refund) = (bank.for_class("charge"), bank.for_class("refund")); // keep both
/// fake.open_for("bank-charge", &["0001"], &["charge"])?; // as `refuse = ["charge"]` does
/// assert!(charge.admit().is_err() && bank.admit().is_err());
/// assert!(refund.admit().is_ok());
/// assert_eq!((refund.id().as_str(), refund.class()), ("bank-charge/0001", Some("refund")));
/// assert_eq!(refund.state(), cutout::State::Open, "of the breaker, whatever the class");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Breaker {
    cell: Arc<Cell>,
    common: Arc<Common>,
}

/// What the handles of one name and class have in common.
#[derive(Debug)]
pub(crate) struct Common {
    shared: Arc<Shared>,
    class: Option<Box<str>>,
    tally: Arc<Tally>,
}

impl Common {
    pub(crate) fn new(shared: Arc<Shared>, name: &str, class: Option<&str>) -> Common {
        Common::by_key(shared, name, class, Vec::new())
    }

    /// Counted by these tags of its key, too.
    fn by_key(shared: Arc<Shared>, name: &str, class: Option<&str>, key: Vec<(String, String)>) -> Common {
        let tally = shared.tallies.of(Labels::new(name, class, key));
        Common { shared, class: class.map(Into::into), tally }
    }

    pub(crate) fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The same for calls of a class.
    pub(crate) fn for_class(&self, name: &str, class: &str) -> Common {
        Common::new(Arc::clone(&self.shared), name, Some(class))
    }

    /// Asks a breaker that is not calm.
    pub(crate) fn ask(&self, cell: &Arc<Cell>) -> Result<Permit, Refused> {
        let now = self.shared.clock.now();
        match cell.ask(self.class(), now, fastrand::u32(..ALL_PPM)) {
            Answer::Admitted => Ok(Permit::plain()),
            Answer::WouldRefuse(why) => {
                self.tally.would_refuse(why);
                Ok(Permit { would_refuse: true })
            }
            Answer::Refused(Refusal { state, reason, since_ms, until_ms }) => {
                self.tally.calls().stripe().count_end(Ended::Refused);
                let since_ms = since_ms.unwrap_or_else(|| self.shared.clock.silent_since_ms());
                Err(Refused { cell: Arc::clone(cell), state, reason, since_ms, until_ms })
            }
        }
    }
}

impl Breaker {
    pub(crate) fn new(cell: Arc<Cell>, common: Arc<Common>) -> Breaker {
        Breaker { cell, common }
    }

    /// The same breaker for calls of an operation class, spelled as in the breakers' file. Keep it: this allocates.
    /// For very many keys, [`Family::for_class`](crate::Family::for_class) once and handles from there take less room.
    #[must_use]
    pub fn for_class(&self, class: &str) -> Breaker {
        let common = self.common.for_class(self.cell.id().name(), class);
        Breaker { cell: Arc::clone(&self.cell), common: Arc::new(common) }
    }

    /// The same breaker, whose calls are counted by these tags of its key, too.
    pub(crate) fn by_key(&self, class: Option<&str>, key: Vec<(String, String)>) -> Breaker {
        let common = Common::by_key(Arc::clone(&self.common.shared), self.cell.id().name(), class, key);
        Breaker { cell: Arc::clone(&self.cell), common: Arc::new(common) }
    }

    /// May I call? Reads memory only.
    ///
    /// While the store cannot be reached the last known flag goes on to answer, until [`MaxStaleness`](crate::MaxStaleness) says otherwise.
    ///
    /// - Closed: admitted.
    /// - Open by a signal: refused, but for the small share of probes that the breakers' file sets, and at least one call each 30 s
    ///   and process, so that the metric behind the monitor goes on to flow.
    /// - Open by a person: refused, probes too.
    /// - Half-open: admitted by a draw, with a share that grows.
    /// - With a fault injected: as without it. Only an [`Upstream`](crate::Upstream) carries faults out, since a permit cannot delay a call.
    /// - In watch mode, or while openings are held back: admitted. What would have been refused is counted
    ///   (`cutout_client_would_refuse_total`), and [`Permit::would_refuse`] tells it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let fake = cutout::FakeClient::new(["bank-charge"]);
    /// let bank = fake.client().breaker("bank-charge", &["0001"])?;
    /// assert!(bank.admit().is_ok());
    /// fake.open("bank-charge", &["0001"])?;
    /// fake.lose_store(); // what is known goes on to answer
    /// assert!(bank.admit().is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Refused`]. It is not a failure of the vendor: do not count it as one. It is counted here, as `cutout_client_calls_total` with the
    /// outcome `refused`.
    #[inline]
    pub fn admit(&self) -> Result<Permit, Refused> {
        if self.cell.is_calm() {
            return Ok(Permit::plain());
        }
        self.ask()
    }

    #[cold]
    fn ask(&self) -> Result<Permit, Refused> {
        self.common.ask(&self.cell)
    }

    /// What is injected into one call that bears what `bears` tells; asked once a call.
    #[inline]
    pub(crate) fn injects(&self, bears: impl FnOnce(&Mark) -> bool) -> Option<Injection> {
        if self.cell.is_calm() { None } else { self.injects_now(bears) }
    }

    #[cold]
    fn injects_now(&self, bears: impl FnOnce(&Mark) -> bool) -> Option<Injection> {
        let draw_ppm = || if self.common.shared.faults_meet_all { 0 } else { fastrand::u32(..ALL_PPM) };
        let draws_ppm = (draw_ppm(), draw_ppm());
        self.cell.injects(self.class(), self.common.shared.clock.now(), draws_ppm, bears)
    }

    /// Whether every call is admitted now, without a draw.
    pub(crate) fn is_calm(&self) -> bool {
        self.cell.is_calm()
    }

    /// What is counted of this handle's calls.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.common.tally
    }

    #[inline]
    pub(crate) fn calls(&self) -> &Calls {
        self.common.tally.calls()
    }

    /// The state now, for calls of every class. Half-open admits a growing share of the calls. While the store cannot be reached
    /// it is that of the last known flag, whose timers stand still after 90 s ([`FROZEN_AFTER_MS`](crate::FROZEN_AFTER_MS)).
    #[must_use]
    pub fn state(&self) -> State {
        self.cell.state(self.common.shared.clock.now())
    }

    /// The breaker's identity: its name, and its key if it has one.
    #[must_use]
    pub fn id(&self) -> &BreakerId {
        self.cell.id()
    }

    /// The operation class of this handle's calls.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        self.common.class()
    }
}

/// Leave to make one call.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let bank = fake.client().breaker("bank-charge", &["0001"])?;
/// assert!(!bank.admit()?.would_refuse());
/// fake.watch("bank-charge", &["0001"])?; // it would be open, and refuses nobody
/// assert!(bank.admit()?.would_refuse());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a permit is for one call"]
pub struct Permit {
    would_refuse: bool,
}

impl Permit {
    /// Of a breaker that refuses nobody.
    #[inline]
    pub(crate) fn plain() -> Permit {
        Permit { would_refuse: false }
    }

    /// Whether the call would have been refused if every decision were carried out: the breaker is in watch mode, or its opening
    /// is held back by a pause or by `max_open`.
    #[must_use]
    pub fn would_refuse(&self) -> bool {
        self.would_refuse
    }
}

/// The breaker is not closed, and this call may not be made. Nothing was sent to the vendor.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// fake.force_open("bank-charge", &["0001"])?;
/// let refused = fake.client().breaker("bank-charge", &["0001"])?.admit().unwrap_err();
/// assert_eq!((refused.breaker().as_str(), refused.state()), ("bank-charge/0001", cutout::State::Open));
/// assert_eq!(refused.reason(), cutout::Reason::Override);
/// assert!(refused.since() <= std::time::SystemTime::now());
/// assert_eq!(refused.until(), None, "until a person ends it");
/// assert_eq!(refused.to_string(), "the call was refused because breaker bank-charge/0001 is open by a person's order");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Refused {
    cell: Arc<Cell>,
    state: State,
    reason: Reason,
    since_ms: i64,
    until_ms: Option<i64>,
}

impl Refused {
    /// The breaker that refuses.
    #[must_use]
    pub fn breaker(&self) -> &BreakerId {
        self.cell.id()
    }

    /// Its state: open, or half-open with this call outside the admitted share.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Since when it is not closed, by the store's clock; for [`Reason::Staleness`] since when the store is silent.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        at(self.since_ms)
    }

    /// When time alone will change its state, by the store's clock; none: only news will.
    #[must_use]
    pub fn until(&self) -> Option<SystemTime> {
        self.until_ms.map(at)
    }
}

/// What no clock can show is told as its beginning.
pub(crate) fn at(unix_ms: i64) -> SystemTime {
    let since = Duration::from_millis(unix_ms.try_into().unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("breaker", self.cell.id())
            .field("state", &self.state)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { cell, state, reason, .. } = self;
        write!(f, "the call was refused because breaker {} is {state} {reason}", cell.id())
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staleness::Act;
    use cutout_core::Flag;
    use cutout_core::flag::{Next, Ramp};

    fn breaker(flag: Option<Flag>) -> Breaker {
        let cell = Cell::new(BreakerId::new("bank", &["0001"]), Act::Nothing);
        cell.set(flag, 0);
        Breaker::new(Arc::new(cell), Arc::new(Common::new(Arc::default(), "bank", None)))
    }

    #[test]
    fn closed_and_unknown_admit_and_open_refuses_with_what_a_caller_wants_to_know() {
        assert!(breaker(None).admit().is_ok());
        assert!(breaker(Some(Flag::default())).admit().is_ok());
        let open = breaker(Some(Flag { state: State::Open, since_ms: 5_000, ..Flag::default() }));
        let refused = open.admit().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the call was refused because breaker bank/0001 is open by its signals"
        );
        assert_eq!(
            (refused.state(), refused.reason(), refused.until()),
            (State::Open, Reason::Signals, None)
        );
        assert_eq!(refused.since(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    }

    #[test]
    fn half_open_admits_about_its_share_and_ends_by_itself() {
        let now_ms = StoreClock::default().now().store_ms;
        let ramp = Ramp { from_ms: now_ms, to_ms: now_ms + 3_600_000, from_ppm: 100_000 };
        let next = Some(Next { at_ms: ramp.to_ms, state: State::Closed });
        let half_open = breaker(Some(Flag {
            state: State::HalfOpen,
            since_ms: now_ms,
            ramp: Some(ramp),
            next,
            ..Flag::default()
        }));
        let admitted = (0..10_000).filter(|_| half_open.admit().is_ok()).count();
        assert!((800..1_200).contains(&admitted), "{admitted} of 10,000 at a share of a tenth");
        let refused = (0..10_000).find_map(|_| half_open.admit().err()).unwrap();
        assert_eq!((refused.state(), refused.until()), (State::HalfOpen, Some(at(ramp.to_ms))));

        let ended = Ramp { from_ms: now_ms - 20, to_ms: now_ms - 10, from_ppm: 0 };
        let over = breaker(Some(Flag { state: State::HalfOpen, ramp: Some(ended), ..Flag::default() }));
        assert_eq!(over.state(), State::Closed);
        assert!((0..1_000).all(|_| over.admit().is_ok()));
    }

    #[test]
    fn a_flag_that_goes_away_is_closed_again() {
        let open = breaker(Some(Flag { state: State::Open, ..Flag::default() }));
        assert!(open.admit().is_err());
        open.cell.set(None, 0);
        assert!(open.admit().is_ok());
    }
}
