//! What this process knows of one breaker, and what that answers to "may I call?".
//!
//! The follower writes a cell and every caller reads it: one relaxed load while the breaker is calm. While it is not: a look at
//! the flag through a guard, the clock, and a random draw, and still no lock, no allocation, no network.
//! Left out: time and chance, which are arguments here.

use crate::clock::Moment;
use crate::snapshot::KnownBreaker;
use crate::staleness::Act;
use crate::tally::Unenforced;
use arc_swap::ArcSwapOption;
use cutout_core::flag::{ALL_PPM, PROBE_EVERY_MS};
use cutout_core::{BreakerId, Flag, Mode, OnStale, State};
use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

/// One breaker of this process.
#[derive(Debug)]
pub(crate) struct Cell {
    id: BreakerId,
    /// None: no flag was seen, or a plain one, which says closed and nothing else.
    shown: ArcSwapOption<Shown>,
    /// Since when the last flag's decision stands; [`NO_FLAG_MS`]: no flag was seen.
    since_ms: AtomicI64,
    /// Whether every call is admitted and nothing is to be counted, so that callers need not look further.
    calm: AtomicBool,
    /// What staleness makes of it: an [`Act`].
    act: AtomicU8,
    /// The [`Stand`] that listeners know.
    told: AtomicU8,
}

/// A flag that is not plain.
#[derive(Debug, Default)]
struct Shown {
    flag: Flag,
    /// From when on the next call may be a probe whatever it draws, monotonic milliseconds. One place for as long as
    /// the breaker stays open, whatever flags come, so that a probe that is due is made once.
    probe_due_ms: Arc<AtomicI64>,
}

/// No flag was seen.
const NO_FLAG_MS: i64 = i64::MIN;

/// What a plain flag, or none, says.
static PLAIN: LazyLock<Shown> = LazyLock::new(Shown::default);

/// Where a breaker stands at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    /// What calls get.
    pub(crate) state: State,
    /// What they would get if every decision were carried out.
    pub(crate) would: State,
}

impl Stand {
    const STATES: [State; 3] = [State::Closed, State::Open, State::HalfOpen];

    fn to_stored(self) -> u8 {
        let number = |state| match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        number(self.state) + 3 * number(self.would)
    }

    fn from_stored(stored: u8) -> Stand {
        let state = |number: u8| Stand::STATES.get(usize::from(number)).copied().unwrap_or_default();
        Stand { state: state(stored % 3), would: state(stored / 3) }
    }
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// A signal holds the breaker open, and the call is no probe.
    Signals,
    /// It is half-open, and the call is not in the admitted share.
    Share,
    /// A person has forced it open.
    Override,
    /// The store has been silent for longer than [`MaxStaleness::OpenAfter`](crate::MaxStaleness::OpenAfter) allows.
    Staleness,
}

/// What is told of a refusal. Times are Unix milliseconds of the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) state: State,
    pub(crate) reason: Reason,
    /// None: since the store was last heard of.
    pub(crate) since_ms: Option<i64>,
    pub(crate) until_ms: Option<i64>,
}

/// The answer to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Admitted,
    /// Admitted, but only because the decision is not carried out.
    WouldRefuse(Unenforced),
    Refused(Refusal),
}

impl Cell {
    /// A breaker that no flag was seen of: closed, unless staleness acts on it.
    pub(crate) fn new(id: BreakerId, act: Act) -> Cell {
        Cell {
            id,
            shown: ArcSwapOption::empty(),
            since_ms: AtomicI64::new(NO_FLAG_MS),
            calm: AtomicBool::new(act != Act::Open),
            act: AtomicU8::new(act as u8),
            told: AtomicU8::new(Stand::default().to_stored()),
        }
    }

    pub(crate) fn id(&self) -> &BreakerId {
        &self.id
    }

    /// Sets the flag; none: there is none, which is closed. `probe_due_ms`: when its first probe is due if it opens now.
    /// One writer at a time.
    pub(crate) fn set(&self, flag: Option<Flag>, probe_due_ms: i64) {
        self.since_ms.store(flag.as_ref().map_or(NO_FLAG_MS, |flag| flag.since_ms), Ordering::Relaxed);
        let shown = flag.filter(|flag| !is_plain(flag)).map(|flag| {
            let before = self.shown.load();
            let stays_open =
                |before: &&Arc<Shown>| before.flag.state == State::Open && flag.state == State::Open;
            let probe_due_ms = match before.as_ref().filter(stays_open) {
                Some(before) => Arc::clone(&before.probe_due_ms),
                None => Arc::new(AtomicI64::new(probe_due_ms)),
            };
            Arc::new(Shown { flag, probe_due_ms })
        });
        self.shown.store(shown);
        self.settle();
    }

    /// Sets what staleness makes of it. One writer at a time.
    pub(crate) fn act(&self, act: Act) {
        self.act.store(act as u8, Ordering::Relaxed);
        self.settle();
    }

    fn settle(&self) {
        let calm =
            self.acting() != Act::Open && self.shown.load().as_ref().is_none_or(|shown| is_calm(&shown.flag));
        // Callers that still see the old value act by the old flag or the new one; either is a moment apart.
        self.calm.store(calm, Ordering::Release);
    }

    fn acting(&self) -> Act {
        Act::from_stored(self.act.load(Ordering::Relaxed))
    }

    /// Whether nothing is known of it but that it is closed: a new cell in its place would answer the same.
    pub(crate) fn is_plain(&self) -> bool {
        self.shown.load().is_none()
    }

    /// Where it stands now, if that is not what listeners know: what they know, and what they are to be told.
    pub(crate) fn turn(&self, now: Moment) -> Option<(Stand, Stand)> {
        let stand = self.with_flag(|flag| self.stand_of(flag, now));
        let known = Stand::from_stored(self.told.swap(stand.to_stored(), Ordering::Relaxed));
        (known != stand).then_some((known, stand))
    }

    /// All that there is to tell of it now.
    pub(crate) fn known(&self, now: Moment) -> KnownBreaker {
        self.with_flag(|flag| {
            let Stand { state, would } = self.stand_of(flag, now);
            let by_staleness = self.by_staleness(flag, now);
            let share_ppm = match by_staleness {
                Some(State::Closed) => ALL_PPM,
                Some(_) if flag.mode == Mode::Enforce => 0,
                _ => flag.share_ppm(now.store_ms),
            };
            let refusal = match by_staleness {
                None => refusal(flag, now.store_ms),
                Some(_) => Refusal { state, reason: Reason::Staleness, since_ms: None, until_ms: None },
            };
            let since_ms = self.since_ms.load(Ordering::Relaxed);
            KnownBreaker {
                breaker: self.id.clone(),
                state,
                reason: (state != State::Closed).then_some(refusal.reason),
                share_ppm,
                // Time alone may have moved it on since the flag was written.
                since_ms: (since_ms != NO_FLAG_MS)
                    .then(|| refusal.since_ms.unwrap_or(since_ms).max(since_ms)),
                until_ms: refusal.until_ms,
                would: (would != state).then_some(would),
                watch: flag.mode == Mode::Watch,
                refuse: flag.refuse.iter().cloned().collect(),
                forced: flag.forced.filter(|_| flag.is_forced_at(now.true_ms)).map(Into::into),
            }
        })
    }

    fn stand_of(&self, flag: &Flag, now: Moment) -> Stand {
        match self.by_staleness(flag, now) {
            Some(would) if flag.mode == Mode::Watch => Stand { state: State::Closed, would },
            Some(state) => Stand { state, would: state },
            None => Stand { state: flag.state_at(now.store_ms), would: flag.would_at(now.store_ms) },
        }
    }

    /// Whether every call is admitted, whatever its class, the time and the draw.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// The state now.
    pub(crate) fn state(&self, now: Moment) -> State {
        self.with_flag(|flag| self.stand_of(flag, now).state)
    }

    /// May a call of `class` be made that drew `draw_ppm` evenly from 0 to 999,999?
    pub(crate) fn ask(&self, class: Option<&str>, now: Moment, draw_ppm: u32) -> Answer {
        self.with_shown(|Shown { flag, probe_due_ms }| match self.by_staleness(flag, now) {
            None => by_flag(flag, probe_due_ms, class, now, draw_ppm),
            Some(State::Closed) => Answer::Admitted,
            Some(_) if !flag.is_for(class) => Answer::Admitted,
            Some(_) if flag.mode == Mode::Watch => Answer::WouldRefuse(Unenforced::Watch),
            Some(state) => {
                let reason = Reason::Staleness;
                Answer::Refused(Refusal { state, reason, since_ms: None, until_ms: None })
            }
        })
    }

    fn with_shown<T>(&self, read: impl FnOnce(&Shown) -> T) -> T {
        match &*self.shown.load() {
            Some(shown) => read(shown),
            None => read(&PLAIN),
        }
    }

    fn with_flag<T>(&self, read: impl FnOnce(&Flag) -> T) -> T {
        self.with_shown(|shown| read(&shown.flag))
    }

    /// The state that staleness makes of it; none: the flag decides. A person's decision stands until its own end, also
    /// while breakers' other timers stand still. What a signal holds open stays so, with its probes.
    fn by_staleness(&self, flag: &Flag, now: Moment) -> Option<State> {
        let act = self.acting();
        if act == Act::Nothing || flag.is_forced_at(now.true_ms) {
            return None;
        }
        let open_by_signals = flag.state_at(now.store_ms) == State::Open && !flag.is_forced_at(now.store_ms);
        match act {
            Act::Nothing => None,
            Act::Close => Some(State::Closed),
            Act::Open => (!open_by_signals).then_some(State::Open),
        }
    }
}

fn by_flag(flag: &Flag, probe_due_ms: &AtomicI64, class: Option<&str>, now: Moment, draw_ppm: u32) -> Answer {
    let now_ms = now.store_ms;
    if flag.admits(class, now_ms, draw_ppm) {
        if flag.probes_at(now_ms) && flag.is_for(class) {
            put_probe_off(probe_due_ms, now);
        }
        let unenforced = draw_ppm >= flag.would_share_ppm(now_ms) && flag.is_for(class);
        let why = if flag.mode == Mode::Watch { Unenforced::Watch } else { Unenforced::Held };
        return if unenforced { Answer::WouldRefuse(why) } else { Answer::Admitted };
    }
    if flag.probes_at(now_ms) && wins_probe(probe_due_ms, now) {
        return Answer::Admitted;
    }
    Answer::Refused(refusal(flag, now_ms))
}

/// Whether this caller makes the probe that is due: exactly one does.
///
/// The pace is monotonic and goes on while breakers' timers stand still: a probe changes no state, it keeps the metric
/// flowing that the monitor will recover by, and the monitor does so whether or not this process reaches the store.
fn wins_probe(probe_due_ms: &AtomicI64, now: Moment) -> bool {
    let due_ms = probe_due_ms.load(Ordering::Relaxed);
    let next_ms = now.monotonic_ms.saturating_add(PROBE_EVERY_MS);
    let mine = || probe_due_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed);
    now.monotonic_ms >= due_ms && mine().is_ok()
}

/// A call that its draw admitted has shown the metric as much as the probe would.
fn put_probe_off(probe_due_ms: &AtomicI64, now: Moment) {
    probe_due_ms.store(now.monotonic_ms.saturating_add(PROBE_EVERY_MS), Ordering::Relaxed);
}

/// Whether a flag admits every call, now and later, with nothing to count.
fn is_calm(flag: &Flag) -> bool {
    let would_refuse = flag.would.is_some_and(|would| would != State::Closed);
    flag.state == State::Closed && flag.next.is_none() && !would_refuse
}

/// Whether a flag says closed and nothing else: nothing to come, no order, no class, no mode that would have to be known
/// if staleness acted.
pub(crate) fn is_plain(flag: &Flag) -> bool {
    let Flag { since_ms, probe_ppm, on_stale, .. } = *flag;
    *flag == Flag { since_ms, probe_ppm, on_stale, ..Flag::default() }
}

fn refusal(flag: &Flag, now_ms: i64) -> Refusal {
    let state = flag.state_at(now_ms);
    let reason = match state {
        State::HalfOpen => Reason::Share,
        _ if flag.is_forced_at(now_ms) => Reason::Override,
        _ => Reason::Signals,
    };
    // A closed flag that refuses was opened by time alone.
    let opened_ms = flag.next.filter(|_| flag.state == State::Closed).map(|next| next.at_ms);
    let since_ms = Some(opened_ms.unwrap_or(flag.since_ms));
    Refusal { state, reason, since_ms, until_ms: next_change_ms(flag, state, now_ms) }
}

/// When time alone changes `state`, as far as the flag tells.
fn next_change_ms(flag: &Flag, state: State, now_ms: i64) -> Option<i64> {
    let ramp_ends_ms = flag.ramp.filter(|_| state == State::HalfOpen).map(|ramp| ramp.to_ms);
    let next_ms = flag.next.map(|next| next.at_ms).filter(|at_ms| *at_ms > now_ms);
    let goes_stale = state == State::Open && flag.on_stale != OnStale::Hold && !flag.is_forced_at(now_ms);
    let stale_ms = flag.stale_at_ms.filter(|_| goes_stale);
    ramp_ends_ms.into_iter().chain(next_ms).chain(stale_ms).min()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Signals => "by its signals",
            Reason::Share => "and this call is not in the admitted share",
            Reason::Override => "by a person's order",
            Reason::Staleness => "because the store has been silent for too long",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::flag::{ForcedUntil, Next};
    use cutout_core::{Forced, flag::Ramp};
    use std::sync::Barrier;

    const LAST_DRAW: u32 = ALL_PPM - 1;

    fn at(ms: i64) -> Moment {
        Moment { monotonic_ms: ms, store_ms: ms, true_ms: ms }
    }

    fn cell(act: Act, flag: Flag) -> Cell {
        let cell = Cell::new(BreakerId::new("bank", &["0001"]), Act::Nothing);
        cell.set(Some(flag), 0);
        cell.act(act);
        cell
    }

    fn open() -> Flag {
        Flag { state: State::Open, probe_ppm: 10_000, ..Flag::default() }
    }

    fn reason(cell: &Cell, now: Moment) -> Option<Reason> {
        match cell.ask(None, now, LAST_DRAW) {
            Answer::Refused(refusal) => Some(refusal.reason),
            Answer::Admitted | Answer::WouldRefuse(_) => None,
        }
    }

    #[test]
    fn of_many_callers_at_once_exactly_one_makes_the_probe_that_is_due() {
        const CALLERS: usize = 8;
        let cell = cell(Act::Nothing, open());
        for round in 0..500 {
            let now = at(round * PROBE_EVERY_MS);
            let start = Barrier::new(CALLERS);
            let ask = || {
                start.wait();
                cell.ask(None, now, LAST_DRAW) == Answer::Admitted
            };
            let probes: usize = std::thread::scope(|scope| {
                let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
                callers.into_iter().map(|caller| usize::from(caller.join().unwrap())).sum()
            });
            assert_eq!(probes, 1, "round {round}");
            assert!(reason(&cell, at((round + 1) * PROBE_EVERY_MS - 1)).is_some(), "not before it is due");
        }
    }

    #[test]
    fn a_drawn_probe_puts_the_next_one_off_and_a_call_that_passes_by_its_class_does_not() {
        let cell = cell(Act::Nothing, Flag { refuse: ["charge".to_owned()].into(), ..open() });
        assert_eq!(cell.ask(Some("charge"), at(0), 9_999), Answer::Admitted, "the last of the share");
        assert!(reason(&cell, at(PROBE_EVERY_MS - 1)).is_some());
        assert_eq!(cell.ask(Some("refund"), at(PROBE_EVERY_MS), 0), Answer::Admitted);
        assert_eq!(cell.ask(Some("charge"), at(PROBE_EVERY_MS), LAST_DRAW), Answer::Admitted, "still due");
        assert_eq!(reason(&cell, at(PROBE_EVERY_MS)), Some(Reason::Signals));
    }

    #[test]
    fn a_breaker_that_stays_open_keeps_the_pace_of_its_probes() {
        let cell = cell(Act::Nothing, open());
        assert_eq!(reason(&cell, at(0)), None);
        cell.set(Some(Flag { since_ms: 7, ..open() }), 0);
        assert_eq!(reason(&cell, at(1)), Some(Reason::Signals), "a new flag brings no new probe");
        cell.set(Some(Flag::default()), 0);
        cell.set(Some(open()), 5_000);
        assert_eq!((reason(&cell, at(4_999)), reason(&cell, at(5_000))), (Some(Reason::Signals), None));
    }

    #[test]
    fn without_a_probe_share_there_is_no_probe_and_a_person_forbids_it() {
        assert!(reason(&cell(Act::Nothing, Flag { probe_ppm: 0, ..open() }), at(i64::MAX)).is_some());
        let forced = Some(ForcedUntil { state: Forced::Open, until_ms: None });
        let cell = cell(Act::Nothing, Flag { forced, ..open() });
        assert_eq!(reason(&cell, at(i64::MAX)), Some(Reason::Override));
        assert!(matches!(cell.ask(None, at(0), 0), Answer::Refused(_)), "nor is any drawn");
    }

    #[test]
    fn calm_is_what_admits_every_call_now_and_later_with_nothing_to_count() {
        let next = Some(Next { at_ms: 5, state: State::Open });
        let watching = |would| Flag { mode: Mode::Watch, would: Some(would), ..Flag::default() };
        assert!(cell(Act::Nothing, Flag::default()).is_calm() && cell(Act::Close, Flag::default()).is_calm());
        assert!(cell(Act::Nothing, watching(State::Closed)).is_calm());
        assert!(!cell(Act::Nothing, watching(State::Open)).is_calm());
        assert!(!cell(Act::Nothing, Flag { next, ..Flag::default() }).is_calm());
        assert!(!cell(Act::Nothing, open()).is_calm() && !cell(Act::Open, Flag::default()).is_calm());
        assert!(!Cell::new(BreakerId::new("bank", &["0001"]), Act::Open).is_calm());
    }

    #[test]
    fn until_is_the_next_moment_at_which_time_changes_the_state() {
        let ramp = Some(Ramp { from_ms: 10, to_ms: 90, from_ppm: 0 });
        let next = Some(Next { at_ms: 10, state: State::HalfOpen });
        let until = |flag: &Flag, now_ms| refusal(flag, now_ms).until_ms;
        let ends = Flag { ramp, next, ..open() };
        assert_eq!((until(&ends, 9), until(&ends, 10)), (Some(10), Some(90)));
        let stale = Flag { stale_at_ms: Some(50), ..open() };
        assert_eq!((until(&stale, 49), until(&stale, 50)), (Some(50), None));
        assert_eq!(until(&Flag { on_stale: OnStale::Hold, ..stale.clone() }, 49), None);
        let forced = Some(ForcedUntil { state: Forced::Closed, until_ms: Some(10) });
        let next = Some(Next { at_ms: 10, state: State::Open });
        let over = Flag { state: State::Closed, since_ms: 3, forced, next, ..stale.clone() };
        assert_eq!((refusal(&over, 11).since_ms, until(&over, 11)), (Some(10), Some(50)));
        let forced = Some(ForcedUntil { state: Forced::Open, until_ms: None });
        assert_eq!(until(&Flag { forced, ..stale }, 11), None, "a person's decision does not go stale");
    }

    #[test]
    fn staleness_leaves_a_person_alone_by_the_true_time_though_the_breakers_stands_still() {
        let now = |true_ms| Moment { monotonic_ms: 0, store_ms: 100, true_ms };
        let forced = |state| Some(ForcedUntil { state, until_ms: Some(500) });
        let kept_open = cell(Act::Close, Flag { forced: forced(Forced::Open), ..open() });
        assert_eq!((kept_open.state(now(499)), kept_open.state(now(500))), (State::Open, State::Closed));
        assert_eq!(
            (reason(&kept_open, now(499)), reason(&kept_open, now(500))),
            (Some(Reason::Override), None)
        );
        let kept_closed = cell(Act::Open, Flag { forced: forced(Forced::Closed), ..Flag::default() });
        assert_eq!(
            (reason(&kept_closed, now(499)), reason(&kept_closed, now(500))),
            (None, Some(Reason::Staleness))
        );
    }
}
