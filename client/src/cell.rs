//! What this process knows of one breaker, and what that answers to "may I call?".
//!
//! The follower writes a cell and every caller reads it: one relaxed load while the breaker is calm. While it is not: a look at
//! the flag through a guard, the clock, and a random draw, and still no lock, no allocation, no network.
//! Left out: time and chance, which are arguments here. Which atomics: `sync`, so that loom can bring its own.

use crate::clock::Moment;
use crate::reason::Reason;
use crate::snapshot::KnownBreaker;
use crate::staleness::Act;
use crate::tally::Unenforced;
use cutout_core::flag::{ALL_PPM, PROBE_EVERY_MS};
use cutout_core::{BreakerId, Fault, Flag, Injection, Mark, Mode, OnStale, State};
use std::sync::Arc;

use super::sync::{ArcSwapOption, AtomicI64, Ordering};

/// One breaker of this process.
#[derive(Debug)]
pub(crate) struct Cell {
    id: BreakerId,
    /// None: no flag was seen, or a plain one, which says closed and nothing else.
    shown: ArcSwapOption<Shown>,
    small: Small,
}

/// All that is small, in one word: of 100,000 cells each byte counts.
#[derive(Debug)]
struct Small(AtomicI64);

/// A part of that word: its bits, and how far they are moved up.
#[derive(Debug, Clone, Copy)]
struct Part(i64, u32);

impl Part {
    /// Whether every call is admitted and nothing is to be counted, so that callers need not look further.
    const CALM: Part = Part(0b1, 0);
    /// What staleness makes of it: an [`Act`].
    const ACT: Part = Part(0b110, 1);
    /// The [`Stand`] that listeners know.
    const TOLD: Part = Part(0b111_1000, 3);
    /// Since when the last flag's decision stands, Unix milliseconds; [`NO_FLAG_MS`]: no flag was seen.
    const SINCE_MS: Part = Part(!0xff, 8);

    fn of(self, word: i64) -> i64 {
        (word & self.0) >> self.1
    }
}

impl Small {
    /// Calm unless staleness acts, closed, and no flag was seen.
    fn new(act: Act) -> Small {
        let parts = [
            (Part::CALM, i64::from(act != Act::Open)),
            (Part::ACT, act as i64),
            (Part::TOLD, Stand::default().to_stored()),
            (Part::SINCE_MS, NO_FLAG_MS),
        ];
        Small(AtomicI64::new(parts.into_iter().fold(0, |word, (part, value)| word | (value << part.1))))
    }

    fn get(&self, part: Part) -> i64 {
        part.of(self.0.load(Ordering::Relaxed))
    }

    /// Yields what was there.
    fn put(&self, part: Part, value: i64) -> i64 {
        let changed = |word| Some((word & !part.0) | (value << part.1));
        // Callers that still see the old value act by the old flag or the new one; either is a moment apart.
        let before = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, changed);
        part.of(before.unwrap_or_else(|before| before))
    }
}

/// A flag that is not plain.
#[derive(Debug)]
struct Shown {
    flag: Flag,
    /// From when on the next call may be a probe whatever it draws, monotonic milliseconds. One place for as long as
    /// the breaker stays open, whatever flags come, so that a probe that is due is made once.
    probe_due_ms: Arc<AtomicI64>,
}

/// No flag was seen: the least that [`Part::SINCE_MS`] holds.
const NO_FLAG_MS: i64 = i64::MIN >> Part::SINCE_MS.1;
/// The most: in a million years.
const SINCE_MS_MAX: i64 = i64::MAX >> Part::SINCE_MS.1;

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

    fn to_stored(self) -> i64 {
        let number = |state| match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        };
        number(self.state) + 3 * number(self.would)
    }

    fn from_stored(stored: i64) -> Stand {
        let at = |number: i64| Stand::STATES.get(usize::try_from(number).ok()?).copied();
        let state = |number| at(number).unwrap_or_default();
        Stand { state: state(stored % 3), would: state(stored / 3) }
    }
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
        Cell { id, shown: ArcSwapOption::empty(), small: Small::new(act) }
    }

    pub(crate) fn id(&self) -> &BreakerId {
        &self.id
    }

    /// Sets the flag; none: there is none, which is closed. `probe_due_ms`: when its first probe is due if it opens now.
    /// One writer at a time.
    pub(crate) fn set(&self, flag: Option<Flag>, probe_due_ms: i64) {
        let since_ms = |flag: &Flag| flag.since_ms.clamp(NO_FLAG_MS + 1, SINCE_MS_MAX);
        self.small.put(Part::SINCE_MS, flag.as_ref().map_or(NO_FLAG_MS, since_ms));
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
        self.small.put(Part::ACT, act as i64);
        self.settle();
    }

    fn settle(&self) {
        let calm =
            self.acting() != Act::Open && self.shown.load().as_ref().is_none_or(|shown| is_calm(&shown.flag));
        self.small.put(Part::CALM, i64::from(calm));
    }

    fn acting(&self) -> Act {
        Act::from_stored(self.small.get(Part::ACT))
    }

    /// Whether nothing is known of it but that it is closed: a new cell in its place would answer the same.
    pub(crate) fn is_plain(&self) -> bool {
        self.shown.load().is_none()
    }

    /// Where it stands now, if that is not what listeners know: what they know, and what they are to be told.
    pub(crate) fn turn(&self, now: Moment) -> Option<(Stand, Stand)> {
        let stand = self.with_flag(|flag| self.stand_of(flag, now));
        let known = Stand::from_stored(self.small.put(Part::TOLD, stand.to_stored()));
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
            let since_ms = self.small.get(Part::SINCE_MS);
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
                fault: flag.fault.as_deref().filter(|fault| is_in_force(fault, now)).map(Into::into),
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
        self.small.get(Part::CALM) != 0
    }

    /// The state now.
    pub(crate) fn state(&self, now: Moment) -> State {
        self.with_flag(|flag| self.stand_of(flag, now).state)
    }

    /// May a call of `class` be made that drew `draw_ppm` evenly from 0 to 999,999?
    pub(crate) fn ask(&self, class: Option<&str>, now: Moment, draw_ppm: u32) -> Answer {
        self.with_shown(|flag, probe_due_ms| match self.by_staleness(flag, now) {
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

    /// What a person injects into an admitted call of `class` that drew twice.
    pub(crate) fn injects(
        &self,
        class: Option<&str>,
        now: Moment,
        draws_ppm: (u32, u32),
        bears: impl FnOnce(&Mark) -> bool,
    ) -> Option<Injection> {
        self.with_flag(|flag| {
            flag.fault.as_deref().filter(|fault| is_in_force(fault, now))?;
            flag.injects(class, now.store_ms, draws_ppm, bears)
        })
    }

    /// The flag, and when its next probe is due; without a flag, what a plain one says.
    fn with_shown<T>(&self, read: impl FnOnce(&Flag, Option<&AtomicI64>) -> T) -> T {
        match &*self.shown.load() {
            Some(shown) => read(&shown.flag, Some(&shown.probe_due_ms)),
            None => read(&Flag::default(), None),
        }
    }

    fn with_flag<T>(&self, read: impl FnOnce(&Flag) -> T) -> T {
        self.with_shown(|flag, _| read(flag))
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

fn by_flag(
    flag: &Flag,
    probe_due_ms: Option<&AtomicI64>,
    class: Option<&str>,
    now: Moment,
    draw_ppm: u32,
) -> Answer {
    let now_ms = now.store_ms;
    let probe_due_ms = probe_due_ms.filter(|_| flag.probes_at(now_ms));
    if flag.admits(class, now_ms, draw_ppm) {
        if let Some(probe_due_ms) = probe_due_ms.filter(|_| flag.is_for(class)) {
            put_probe_off(probe_due_ms, now);
        }
        let unenforced = draw_ppm >= flag.would_share_ppm(now_ms) && flag.is_for(class);
        let why = if flag.mode == Mode::Watch { Unenforced::Watch } else { Unenforced::Held };
        return if unenforced { Answer::WouldRefuse(why) } else { Answer::Admitted };
    }
    if probe_due_ms.is_some_and(|probe_due_ms| wins_probe(probe_due_ms, now)) {
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

/// Whether a fault is carried out. None is once the store has been silent for so long that breakers' timers stand still: nobody
/// could end it.
fn is_in_force(fault: &Fault, now: Moment) -> bool {
    now.store_ms >= now.true_ms && fault.holds_at(now.store_ms)
}

/// Whether a flag admits every call, now and later, with nothing to count or to inject.
fn is_calm(flag: &Flag) -> bool {
    let would_refuse = flag.would.is_some_and(|would| would != State::Closed);
    flag.state == State::Closed && flag.next.is_none() && !would_refuse && flag.fault.is_none()
}

/// Whether a flag says closed and nothing else: nothing to come, no order, no fault, no class, no mode that would have to be known
/// if staleness acted.
pub(crate) fn is_plain(flag: &Flag) -> bool {
    let Flag { since_ms, probe_ppm, on_stale, .. } = *flag;
    *flag == Flag { since_ms, probe_ppm, on_stale, ..Flag::default() }
}

pub(crate) fn refusal(flag: &Flag, now_ms: i64) -> Refusal {
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
