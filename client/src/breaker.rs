//! A handle on one breaker, and its answer to "may I call?".
//!
//! The answer comes from memory alone: one relaxed load while the breaker is closed; a look at the flag, the clock
//! and a random draw while it is not. No network, no lock, no allocation, whatever the store does.

use crate::clock::StoreClock;
use arc_swap::ArcSwapOption;
use cutout_core::{BreakerId, Flag, State};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// What this process knows of one breaker, written by the follower and read by every caller.
#[derive(Debug)]
pub(crate) struct Cell {
    id: BreakerId,
    /// Whether the flag is closed with nothing pending, so that callers need not look at it.
    calm: AtomicBool,
    flag: ArcSwapOption<Flag>,
}

impl Cell {
    /// A breaker that no flag was seen of: closed.
    pub(crate) fn new(id: BreakerId) -> Cell {
        Cell { id, calm: AtomicBool::new(true), flag: ArcSwapOption::empty() }
    }

    /// Sets the flag; none: there is none, which is closed.
    pub(crate) fn set(&self, flag: Option<Flag>) {
        let calm = flag.as_ref().is_none_or(|flag| flag.state == State::Closed && flag.next.is_none());
        self.flag.store(flag.map(Arc::new));
        // Callers that still see the old value act by the old flag or the new one; either is a moment apart.
        self.calm.store(calm, Ordering::Release);
    }

    /// Whether a flag was seen.
    pub(crate) fn has_flag(&self) -> bool {
        self.flag.load().is_some()
    }

    fn flag(&self) -> Arc<Flag> {
        self.flag.load_full().unwrap_or_default()
    }
}

/// A handle on one breaker, such as `bank-charge/0001`. Cheap to clone; keep it rather than look it up each time.
#[derive(Debug, Clone)]
pub struct Breaker {
    cell: Arc<Cell>,
    clock: Arc<StoreClock>,
}

impl Breaker {
    pub(crate) fn new(cell: Arc<Cell>, clock: Arc<StoreClock>) -> Breaker {
        Breaker { cell, clock }
    }

    /// May I call? Reads memory only.
    ///
    /// While the store cannot be reached the last known flag goes on to answer.
    ///
    /// # Errors
    /// [`Refused`] if the breaker is open, or half-open and this call is not in the admitted share. It is not a
    /// failure of the vendor: do not count it as one.
    pub fn admit(&self) -> Result<Permit, Refused> {
        if self.cell.calm.load(Ordering::Relaxed) {
            return Ok(Permit(()));
        }
        let (flag, now_ms) = (self.cell.flag(), self.clock.now_ms());
        if flag.admits(None, now_ms, fastrand::u32(..cutout_core::flag::ALL_PPM)) {
            return Ok(Permit(()));
        }
        Err(Refused { cell: Arc::clone(&self.cell), state: flag.state_at(now_ms), flag })
    }

    /// The state now. Half-open admits a growing share of the calls.
    #[must_use]
    pub fn state(&self) -> State {
        self.cell.flag().state_at(self.clock.now_ms())
    }

    /// The breaker's identity: its name, and its key if it has one.
    #[must_use]
    pub fn id(&self) -> &BreakerId {
        &self.cell.id
    }
}

/// Leave to make one call.
#[derive(Debug)]
#[must_use = "a permit is for one call"]
pub struct Permit(());

/// The breaker is not closed, and this call may not be made. Nothing was sent to the vendor.
#[derive(Clone)]
pub struct Refused {
    cell: Arc<Cell>,
    state: State,
    flag: Arc<Flag>,
}

impl Refused {
    /// The breaker that refuses.
    #[must_use]
    pub fn breaker(&self) -> &BreakerId {
        &self.cell.id
    }

    /// Its state: open, or half-open with this call outside the admitted share.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when it is not closed, by the store's clock.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        at(self.flag.since_ms)
    }

    /// When time alone will change its state; none: only a new report will.
    #[must_use]
    pub fn until(&self) -> Option<SystemTime> {
        self.flag.next.map(|next| at(next.at_ms))
    }
}

fn at(unix_ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms.try_into().unwrap_or_default())
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("breaker", &self.cell.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the call was refused because breaker {} is {}", self.cell.id, self.state)
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::flag::{Next, Ramp};

    fn breaker(flag: Option<Flag>) -> Breaker {
        let cell = Cell::new(BreakerId::new("bank", &["0001"]));
        cell.set(flag);
        Breaker::new(Arc::new(cell), Arc::new(StoreClock::default()))
    }

    #[test]
    fn closed_and_unknown_admit_and_open_refuses_with_what_a_caller_wants_to_know() {
        assert!(breaker(None).admit().is_ok());
        assert!(breaker(Some(Flag::default())).admit().is_ok());
        let open = breaker(Some(Flag { state: State::Open, since_ms: 5_000, ..Flag::default() }));
        let refused = open.admit().unwrap_err();
        assert_eq!(refused.to_string(), "the call was refused because breaker bank/0001 is open");
        assert_eq!((refused.state(), refused.until()), (State::Open, None));
        assert_eq!(refused.since(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    }

    #[test]
    fn half_open_admits_about_its_share_and_ends_by_itself() {
        let now_ms = StoreClock::default().now_ms();
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
        open.cell.set(None);
        assert!(open.admit().is_ok());
    }
}
