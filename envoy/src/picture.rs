//! What Envoy has to do at one moment, as data: pure, from hooks, flags and time.
//!
//! Two layers, so that a ramp moves without new matchers: *what* is refused changes with the state of a breaker, *how much of it*
//! with time. Left out: Envoy's own types (`resources`).

use crate::hooks::{Hook, Stale};
use crate::known::{Flags, Moment};
use cutout_core::fault::{FAULT_DELAY_MAX_MS, FAULT_MARKED_SHARE_MAX_PPM, FAULT_SHARE_MAX_PPM};
use cutout_core::flag::ALL_PPM;
use cutout_core::{BreakerId, Flag, Mode, State};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often a ramp's share is looked at, milliseconds.
pub const RAMP_EVERY_MS: i64 = 250;
/// The steps in which a share is told, parts per million: an Envoy is not told of less.
pub const SHARE_STEP_PPM: u32 = 5_000;

/// What is done for one hook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Which keys are refused, or would be.
    pub refusals: BTreeMap<BreakerId, Refusal>,
    /// Of each of them, the share that is refused; parts per million.
    pub refused_ppm: BTreeMap<BreakerId, u32>,
    /// What is injected.
    pub faults: BTreeMap<BreakerId, Injected>,
    /// The share of all other keys that is refused, parts per million; none: they are none of this hook's business.
    pub others_ppm: Option<u32>,
}

/// How a key is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whether it is; else it would be, and is counted.
    pub enforced: bool,
    /// The classes refused; empty: all.
    pub classes: BTreeSet<String>,
}

/// A fault, within its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// The share that ends at once, parts per million.
    pub abort_ppm: u32,
    /// The share that waits, parts per million.
    pub delay_ppm: u32,
    /// For how long, milliseconds.
    pub delay_ms: u64,
    /// The classes it is for; empty: all.
    pub classes: BTreeSet<String>,
    /// The header it is for, and its value; none: any.
    pub only: Option<(String, Option<String>)>,
}

/// What the limit of silence makes of a hook now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    Close,
    Open,
}

/// The picture of `hook` at `moment`, and after how long it may be another one without further news.
#[must_use]
pub fn of(hook: &Hook, flags: Option<&Flags>, moment: Moment) -> (Picture, Option<Duration>) {
    let act = act(hook.stale, moment.silence);
    let mut picture = Picture::default();
    if let Stale::OpenAfter(_) = hook.stale {
        picture.others_ppm = Some(if act == Act::Open { ALL_PPM } else { 0 });
    }
    let mut due_ms = hook.stale.after().filter(|_| act == Act::Nothing).map(|after| {
        i64::try_from(after.saturating_sub(moment.silence).as_millis()).unwrap_or(i64::MAX).saturating_add(1)
    });
    for (id, flag) in flags.into_iter().flatten() {
        add(&mut picture, id, flag, act, moment);
        due_ms = due_ms.into_iter().chain(due_in_ms(flag, moment)).min();
    }
    (picture, due_ms.map(|ms| Duration::from_millis(ms.max(1).unsigned_abs())))
}

fn act(stale: Stale, silence: Duration) -> Act {
    match stale {
        Stale::ClosedAfter(after) if silence > after => Act::Close,
        Stale::OpenAfter(after) if silence > after => Act::Open,
        _ => Act::Nothing,
    }
}

fn add(picture: &mut Picture, id: &BreakerId, flag: &Flag, act: Act, moment: Moment) {
    let now_ms = moment.store_ms;
    let share_ppm = share_ppm(flag, act, moment);
    let would_ppm = flag.would_share_ppm(now_ms);
    let refused = if share_ppm < ALL_PPM {
        Some((true, share_ppm))
    } else if act != Act::Close && would_ppm < ALL_PPM {
        Some((false, would_ppm))
    } else {
        // Also told, where all others count as open: a person's forced close, and what only watches.
        picture.others_ppm.filter(|_| act == Act::Open).map(|_| (true, ALL_PPM))
    };
    if let Some((enforced, share_ppm)) = refused {
        picture.refusals.insert(id.clone(), Refusal { enforced, classes: flag.refuse.clone() });
        picture.refused_ppm.insert(id.clone(), told_ppm(ALL_PPM - share_ppm));
    }
    if let Some(injected) = injected(flag, now_ms) {
        picture.faults.insert(id.clone(), injected);
    }
}

/// The share admitted at `moment`.
fn share_ppm(flag: &Flag, act: Act, moment: Moment) -> u32 {
    let now_ms = moment.store_ms;
    if act == Act::Nothing || flag.is_forced_at(moment.true_ms) || flag.mode == Mode::Watch {
        return flag.share_ppm(now_ms);
    }
    match act {
        Act::Open if flag.state_at(now_ms) == State::Open => flag.probe_ppm,
        Act::Open => 0,
        _ => ALL_PPM,
    }
}

/// In steps, but exact where it says all or nothing, and for the small shares of probes.
fn told_ppm(refused_ppm: u32) -> u32 {
    let admitted_ppm = ALL_PPM - refused_ppm;
    if refused_ppm == 0 || admitted_ppm < 2 * SHARE_STEP_PPM {
        return refused_ppm;
    }
    (refused_ppm / SHARE_STEP_PPM * SHARE_STEP_PPM).max(1)
}

fn injected(flag: &Flag, now_ms: i64) -> Option<Injected> {
    let fault = flag.fault.as_ref().filter(|fault| fault.holds_at(now_ms))?;
    let max_ppm = if fault.only.is_some() { FAULT_MARKED_SHARE_MAX_PPM } else { FAULT_SHARE_MAX_PPM };
    let delay_ms = fault.delay_ms.clamp(0, FAULT_DELAY_MAX_MS).unsigned_abs();
    let injected = Injected {
        abort_ppm: fault.abort_ppm.min(max_ppm),
        delay_ppm: if delay_ms == 0 { 0 } else { fault.delay_ppm.min(max_ppm) },
        delay_ms,
        classes: flag.refuse.clone(),
        only: fault.only.as_ref().map(|mark| (mark.name.clone(), mark.value.clone())),
    };
    (injected.abort_ppm > 0 || injected.delay_ppm > 0).then_some(injected)
}

/// After how many milliseconds time alone changes what `flag` says; none: never.
fn due_in_ms(flag: &Flag, moment: Moment) -> Option<i64> {
    let now_ms = moment.store_ms;
    let forced = flag.forced.and_then(|forced| forced.until_ms);
    if now_ms < moment.true_ms {
        // Time stands still until the store answers, but for people's decisions.
        return forced.filter(|at_ms| *at_ms > moment.true_ms).map(|at_ms| at_ms - moment.true_ms);
    }
    let ramps = flag.ramp.filter(|ramp| {
        let moves = [flag.state_at(now_ms), flag.would_at(now_ms)].contains(&State::HalfOpen);
        moves && now_ms < ramp.to_ms
    });
    let ramp_ms = ramps.map(|ramp| (ramp.from_ms - now_ms).max(RAMP_EVERY_MS).min(ramp.to_ms - now_ms));
    let fault = flag.fault.as_ref().map(|fault| [fault.since_ms, fault.ends_ms()]);
    let times = [flag.next.map(|next| next.at_ms), flag.stale_at_ms, forced];
    let times = times.into_iter().flatten().chain(fault.into_iter().flatten());
    times.filter(|at_ms| *at_ms > now_ms).map(|at_ms| at_ms - now_ms).chain(ramp_ms).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::fault::{Fault, Mark};
    use cutout_core::flag::{Forced, ForcedUntil, Next, Ramp};

    const NOW_MS: i64 = 1_000_000;

    fn hook(stale: Stale) -> Hook {
        let header = crate::hooks::Source::Header("x-bank-code".into());
        Hook { breaker: "bank".into(), key: vec![header], class_header: None, path_prefix: None, stale }
    }

    fn id() -> BreakerId {
        BreakerId::new("bank", &["0001"])
    }

    fn picture(flag: &Flag, stale: Stale, silence_secs: u64, now_ms: i64) -> (Picture, Option<Duration>) {
        let flags = [(id(), flag.clone())].into();
        // As `known` tells it: it stands still after 90 s.
        let true_ms = now_ms + 1_000 * i64::try_from(silence_secs.saturating_sub(90)).unwrap();
        let silence = Duration::from_secs(silence_secs);
        of(&hook(stale), Some(&flags), Moment { store_ms: now_ms, true_ms, silence })
    }

    fn refused(flag: &Flag, stale: Stale, silence_secs: u64) -> Option<(bool, u32)> {
        let (picture, _) = picture(flag, stale, silence_secs, NOW_MS);
        let refusal = picture.refusals.get(&id())?;
        Some((refusal.enforced, picture.refused_ppm[&id()]))
    }

    fn open() -> Flag {
        Flag { state: State::Open, ..Flag::default() }
    }

    #[test]
    fn what_is_not_closed_is_refused_by_its_share_and_what_watches_is_counted_only() {
        let known = |flag: &Flag| refused(flag, Stale::LastKnown, 0);
        assert_eq!(known(&open()), Some((true, ALL_PPM)));
        assert_eq!(known(&Flag { probe_ppm: 1_000, ..open() }), Some((true, ALL_PPM - 1_000)));
        assert_eq!(known(&Flag { state: State::HalfOpen, ..Flag::default() }), Some((true, 900_000)));
        assert_eq!(known(&Flag::default()), None);
        let watching = Flag { mode: Mode::Watch, would: Some(State::Open), ..Flag::default() };
        assert_eq!(known(&watching), Some((false, ALL_PPM)));
    }

    #[test]
    fn a_ramp_moves_the_share_alone_and_asks_to_be_looked_at_again() {
        let ramp = Ramp { from_ms: NOW_MS, to_ms: NOW_MS + 10_000, from_ppm: 100_000 };
        let next = Some(Next { at_ms: NOW_MS + 10_000, state: State::Closed });
        let flag = Flag { state: State::HalfOpen, ramp: Some(ramp), next, ..Flag::default() };
        let at = |now_ms| picture(&flag, Stale::LastKnown, 0, now_ms);
        let (first, due) = at(NOW_MS);
        assert_eq!((first.refused_ppm[&id()], due), (900_000, Some(Duration::from_millis(250))));
        let (middle, _) = at(NOW_MS + 5_000);
        assert_eq!((middle.refused_ppm[&id()], &middle.refusals), (450_000, &first.refusals));
        let (last, due) = at(NOW_MS + 10_000);
        assert_eq!((last, due), (Picture::default(), None));
    }

    #[test]
    fn silence_acts_beyond_its_limit_and_leaves_people_and_watchers_alone() {
        let after = Duration::from_secs(100);
        let closed = |flag: &Flag, secs| refused(flag, Stale::ClosedAfter(after), secs);
        assert_eq!([100, 101].map(|secs| closed(&open(), secs)), [Some((true, ALL_PPM)), None]);
        let forced = |state| Some(ForcedUntil { state, until_ms: None });
        let by_hand = Flag { forced: forced(Forced::Open), ..open() };
        assert_eq!(closed(&by_hand, 101), Some((true, ALL_PPM)));
        let opens = |flag: &Flag, secs| refused(flag, Stale::OpenAfter(after), secs);
        let half = Flag { state: State::HalfOpen, ..Flag::default() };
        assert_eq!([100, 101].map(|secs| opens(&half, secs)), [Some((true, 900_000)), Some((true, ALL_PPM))]);
        let by_hand = Flag { forced: forced(Forced::Closed), ..Flag::default() };
        assert_eq!(opens(&by_hand, 101), Some((true, 0)), "told, for all others are refused");
        let until_ms = Some(NOW_MS + 10_500);
        let ending = Flag { forced: Some(ForcedUntil { state: Forced::Open, until_ms }), ..open() };
        assert_eq!(
            [100, 101].map(|secs| closed(&ending, secs)),
            [Some((true, ALL_PPM)), None],
            "by its own end"
        );
        let (_, due) = picture(&ending, Stale::LastKnown, 100, NOW_MS);
        assert_eq!(due, Some(Duration::from_millis(500)), "and nothing else is due while time stands still");
        let (picture, due) = picture(&half, Stale::OpenAfter(after), 40, NOW_MS);
        assert_eq!((picture.others_ppm, due), (Some(0), Some(Duration::from_millis(60_001))));
    }

    #[test]
    fn a_fault_keeps_its_limits_and_its_end() {
        let fault = Fault {
            since_ms: NOW_MS,
            until_ms: NOW_MS + 5_000,
            abort_ppm: ALL_PPM,
            delay_ppm: 100,
            delay_ms: 99_000,
            only: None,
        };
        let of = |fault: &Fault, now_ms| {
            let flag = Flag { fault: Some(Box::new(fault.clone())), ..Flag::default() };
            let (picture, due) = picture(&flag, Stale::LastKnown, 0, now_ms);
            (picture.faults.get(&id()).cloned(), due)
        };
        let (injected, due) = of(&fault, NOW_MS);
        let injected = injected.unwrap();
        assert_eq!((injected.abort_ppm, injected.delay_ms), (500_000, 30_000));
        assert_eq!(due, Some(Duration::from_secs(5)));
        assert_eq!(of(&fault, NOW_MS + 5_000), (None, None));
        let marked = Fault { only: Some(Mark { name: "x-fault".into(), value: None }), ..fault };
        assert_eq!(of(&marked, NOW_MS).0.map(|injected| injected.abort_ppm), Some(ALL_PPM));
    }
}
