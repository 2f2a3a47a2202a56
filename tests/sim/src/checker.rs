//! Judges every write and the end of a history. Each rule names the invariant of the design that it stands for.
//!
//! It knows what is true and what was committed (`shadow`), and computes from that what must stand in a record and in a
//! flag. Left out: what a caller knows (`caller`), and the score.

use crate::history::{History, Level};
use crate::shadow::{self, Says, Shadow, SignalShadow};
use crate::store::{ModelStore, Record};
use cutout_core::breaker::{FORGOTTEN_AFTER_MS, MIN_OPEN_MAX_MS, OnVanished, VANISHED_AFTER_MS};
use cutout_core::hint::{HINT_AGE_LIMIT_MS, HINT_AHEAD_LIMIT_MS, HINT_HOLD_MS};
use cutout_core::{Breaker, BreakerId, Evidence, Flag, Hold, Policy, State};

/// How late a timer may write.
pub(crate) const TIMER_SLACK_MS: i64 = 1_500;

/// A rule that was broken.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

pub(crate) type Verdict = Result<(), Violation>;

pub(crate) fn broken(rule: &'static str, what: impl Into<String>) -> Verdict {
    Err(Violation { rule, what: what.into() })
}

/// After a write: the record says what its shadow says, and the state follows from it.
pub(crate) fn record(
    policy: &Policy,
    id: &BreakerId,
    record: &Record,
    hold: Option<Hold>,
    now_ms: i64,
) -> Verdict {
    let Some(stored) = &record.stored else { return Ok(()) };
    let (breaker, shadow) = (&stored.value, &record.shadow);
    for must in &shadow.signals {
        newer_wins(policy, id, must, breaker, now_ms)?;
    }
    if let Some(invented) = breaker.signals().keys().find(|signal| shadow.signal(signal).is_none()) {
        return broken("1 nothing is invented", format!("{id} holds {invented:?}, which no report showed"));
    }
    hints(id, breaker, shadow, now_ms)?;
    people(id, breaker, shadow, now_ms)?;
    state(policy, id, breaker, shadow, hold, now_ms)
}

/// Invariant 1: the record holds the newest of what was committed.
fn newer_wins(
    policy: &Policy,
    id: &BreakerId,
    must: &SignalShadow,
    breaker: &Breaker,
    now_ms: i64,
) -> Verdict {
    let Some(signal) = breaker.signals().get(&must.id) else {
        let lacking =
            must.lacking_ms.is_some_and(|(first_ms, last_ms)| last_ms - first_ms >= FORGOTTEN_AFTER_MS);
        if lacking || must.lacking_ms.is_some_and(|(first_ms, _)| now_ms - first_ms >= FORGOTTEN_AFTER_MS) {
            return Ok(());
        }
        return broken("1 newer wins", format!("{id} has no signal of {:?}, which was committed", must.id));
    };
    if signal.latest != must.latest {
        return broken(
            "1 newer wins",
            format!(
                "{id} holds {:?} of {:?}; the newest committed is {:?}",
                signal.latest, must.id, must.latest
            ),
        );
    }
    if signal.refreshed_ms != must.refreshed_ms {
        let (is_ms, must_ms) = (signal.refreshed_ms, must.refreshed_ms);
        return broken(
            "5 age counts from the commit",
            format!("{id} counts {:?} from {is_ms}, not {must_ms}", must.id),
        );
    }
    if signal.decided != must.decided {
        return broken(
            "1 newer wins",
            format!(
                "{id} goes by {:?} of {:?}; the newest committed that decides is {:?}",
                signal.decided, must.id, must.decided
            ),
        );
    }
    let (first_ms, last_ms) = must.lacking_ms.unwrap_or((0, 0));
    let seen_gone = last_ms - first_ms >= VANISHED_AFTER_MS && last_ms > must.shown_ms;
    if signal.vanished && !seen_gone && policy.on_vanished != OnVanished::Hold {
        return broken(
            "1 gone is seen twice",
            format!(
                "{id} takes {:?} for gone; it was missing from {first_ms} to {last_ms} and shown at {}",
                must.id, must.shown_ms
            ),
        );
    }
    Ok(())
}

/// A hint acts only if it was told, fresh, and no report has seen past it.
fn hints(id: &BreakerId, breaker: &Breaker, shadow: &Shadow, now_ms: i64) -> Verdict {
    for (signal, hint) in breaker.hints() {
        let is_it = |told: &&shadow::Told| told.id == *signal && told.at_ms == hint.at_ms;
        let fresh = |told: &shadow::Told| {
            let age_ms = told.told_ms - told.at_ms;
            (-HINT_AHEAD_LIMIT_MS..=HINT_AGE_LIMIT_MS).contains(&age_ms)
                && hint.until_ms <= told.told_ms + HINT_HOLD_MS
        };
        if !shadow.told.iter().filter(is_it).any(fresh) {
            return broken("4.4 a hint is fresh", format!("{id} acts on {hint:?} of {signal:?} at {now_ms}"));
        }
        let change_ms = shadow.latest_change_ms(signal.monitor_id);
        if change_ms.is_some_and(|change_ms| change_ms >= hint.at_ms) {
            return broken(
                "4.4 reports see past hints",
                format!("{id} acts on {hint:?} of {signal:?} after a report of a change at {change_ms:?}"),
            );
        }
    }
    Ok(())
}

/// Invariant 3: what a person ordered is in force until its end, and not longer.
fn people(id: &BreakerId, breaker: &Breaker, shadow: &Shadow, now_ms: i64) -> Verdict {
    let ordered = shadow.ordered.filter(|ordered| ordered.holds_at(now_ms));
    let forced = breaker.forced().map(|forced| (forced.state, forced.until_ms));
    if forced != ordered.map(|ordered| (ordered.state, ordered.until_ms)) {
        return broken(
            "3 people win",
            format!("{id} is forced {forced:?} at {now_ms}, and was ordered {ordered:?}"),
        );
    }
    match ordered {
        Some(ordered) if breaker.state() != ordered.state.into() => {
            broken("3 people win", format!("{id} is {} although ordered {ordered:?}", breaker.state()))
        }
        _ => Ok(()),
    }
}

/// Whether a signal asks for open, given whether it counts as gone; one that is forgotten does not.
fn fires(policy: &Policy, must: &SignalShadow, breaker: &Breaker, now_ms: i64) -> bool {
    let counts = breaker
        .signals()
        .get(&must.id)
        .is_some_and(|signal| !signal.vanished || policy.on_vanished == OnVanished::Hold);
    counts && must.fires_at(policy, now_ms)
}

/// Invariants 2 and 4: any fires, it is open, unless openings are held; nothing fires, it does not stay open.
fn state(
    policy: &Policy,
    id: &BreakerId,
    breaker: &Breaker,
    shadow: &Shadow,
    hold: Option<Hold>,
    now_ms: i64,
) -> Verdict {
    if breaker.forced().is_some() {
        return Ok(());
    }
    let hinted = breaker.hints().values().any(|hint| hint.until_ms > now_ms);
    let firing = shadow.signals.iter().find(|must| fires(policy, must, breaker, now_ms));
    let flag = breaker.flag(policy, hold);
    match (firing, hinted, breaker.state()) {
        (_, _, state) if state != State::Open && hold.is_some() => Ok(()),
        (Some(must), _, state) if state != State::Open => {
            broken("2 any fires, it opens", format!("{id} is {state} although {:?} fires", must.id))
        }
        (None, true, state) if state != State::Open => {
            broken("2 any fires, it opens", format!("{id} is {state} although a hint fires"))
        }
        (None, false, State::Open) => match flag.next_change_ms() {
            Some(at_ms) if at_ms > now_ms && at_ms <= flag.since_ms + MIN_OPEN_MAX_MS => Ok(()),
            _ => broken("2 nothing fires, it leaves open", format!("{id} stays open at {now_ms}: {flag:?}")),
        },
        _ => Ok(()),
    }
}

/// Whether people ordered anything in this history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum People {
    Never,
    Before,
    /// The scope is paused.
    PausedNow,
}

/// At a publication: it is a change, it is what core makes of the record, and recovery is gradual (invariant 4).
pub(crate) fn published(
    policy: &Policy,
    id: &BreakerId,
    [before, after]: [Option<&Flag>; 2],
    breaker: &Breaker,
    hold: Option<Hold>,
    people: People,
    now_ms: i64,
) -> Verdict {
    let (Some(after), must) = (after, breaker.flag(policy, hold)) else { return Ok(()) };
    if *after != must {
        return broken("7 a flag follows its record", format!("{id}: {after:?} instead of {must:?}"));
    }
    let Some(before) = before else { return Ok(()) };
    // What an override's end brings depends on a pause; when that ended by its time, the flag is behind.
    if before == after && people == People::Never {
        return broken("4.5 what changes nothing is not published", format!("{id}: {after:?}"));
    }
    let opened = after.state == State::Open && before.state_at(now_ms) != State::Open;
    if opened && people == People::PausedNow && after.forced.is_none() {
        return broken("3 a pause lets no signal open", format!("{id} opens at {now_ms}: {after:?}"));
    }
    let (was, is) = (before.state_at(now_ms), after.state_at(now_ms));
    // What an override's end brings depends on a pause that may have begun since the flag was written.
    let by_person = before.forced.is_some() || after.forced.is_some();
    if is == State::Closed && was != State::Closed && !by_person {
        return broken(
            "4 recovery is gradual",
            format!("{id} goes from {was} to {is} at {now_ms}: {before:?}"),
        );
    }
    // No least time follows what a person ends.
    let by_signals = people == People::Never;
    if before.state == State::Open && after.state == State::HalfOpen && by_signals {
        let open_ms = after.since_ms - before.since_ms;
        if open_ms < policy.min_open_ms {
            return broken("4 open for the least time", format!("{id} was open for {open_ms} ms"));
        }
    }
    match after.ramp {
        Some(ramp) if ramp.to_ms - ramp.from_ms != policy.ramp_ms => {
            broken("4 recovery is gradual", format!("{id} ramps in {} ms", ramp.to_ms - ramp.from_ms))
        }
        _ => Ok(()),
    }
}

/// Invariant 6: what is answered with 200 is in the store.
pub(crate) fn answered(policy: &Policy, store: &ModelStore, id: &BreakerId, evidence: &Evidence) -> Verdict {
    let breaker = store.stored(id).map(|stored| &stored.value);
    for (tags, seen) in &evidence.groups {
        let (monitor_id, group) = (evidence.monitor_id, tags.to_string());
        let mut signals = breaker.into_iter().flat_map(Breaker::signals);
        let held = signals.find(|(id, _)| id.monitor_id == monitor_id && id.group == group);
        let holds = held.is_some_and(|(_, signal)| {
            let latest = &signal.latest;
            let confirms = (latest.changed_at_ms, &latest.status, latest.muted)
                == (seen.changed_at_ms, &seen.status, seen.muted)
                && seen.as_of_ms - latest.as_of_ms < policy.max_age_ms / 4;
            confirms || (latest.changed_at_ms, latest.as_of_ms) >= (seen.changed_at_ms, seen.as_of_ms)
        });
        if !holds {
            return broken(
                "6 200 is committed",
                format!("{id} does not hold {seen:?} of {group}, answered with 200"),
            );
        }
    }
    Ok(())
}

/// Invariant 7: after all faults, every signal equals its group, and every flag is what follows.
pub(crate) fn converged(history: &History, store: &ModelStore, at_ms: i64) -> Verdict {
    let (policy, now_ms) = (history.policy(), at_ms + history.store_skew_ms);
    for monitor in &history.monitors {
        for group in &monitor.groups {
            let breaker = store.stored(&group.breaker).map(|stored| &stored.value);
            let signal = breaker.and_then(|breaker| breaker.signals().get(&group.signal));
            match (group.at(at_ms), signal) {
                (Some(shows), Some(signal)) if shadow::same(&signal.latest, shows) && !signal.vanished => {}
                (Some(shows), signal) => {
                    let id = &group.signal;
                    return broken(
                        "7 convergence",
                        format!("{id:?} shows {shows:?}, the store holds {signal:?}"),
                    );
                }
                (None, Some(signal)) if !signal.vanished => {
                    let managed = store.monitor(monitor.id).is_some_and(|stored| stored.value.managed);
                    let known_gone = monitor.gone_ms.is_none() || managed;
                    if known_gone {
                        let (id, since_ms) =
                            (&group.signal, group.levels.last().map(|level: &Level| level.at_ms));
                        return broken(
                            "7 convergence",
                            format!("{id:?} is gone since {since_ms:?}, the store holds {signal:?}"),
                        );
                    }
                }
                (None, _) => {}
            }
        }
    }
    for (id, published) in store.flags() {
        let Some(found) = store.record(id) else { continue };
        let hold = store.hold(now_ms);
        // What time has brought just now may be written or not yet.
        record(policy, id, found, hold, now_ms - TIMER_SLACK_MS)
            .or_else(|_| record(policy, id, found, hold, now_ms))?;
        let flag = &published.flag;
        if flag.state != flag.state_at(now_ms - TIMER_SLACK_MS) && flag.state != flag.state_at(now_ms) {
            return broken("7 what time brings is written", format!("{id} at {now_ms}: {flag:?}"));
        }
        let loud = |group: &&crate::history::Group| {
            let says = |shows: &crate::history::Shows| shadow::says(policy, &shows.status, shows.muted);
            group.breaker == *id && group.at(at_ms).map(says) == Some(Says::Fires)
        };
        let open = flag.would_at(now_ms) == State::Open || flag.forced.is_some() || hold.is_some();
        if let Some(group) = history.groups().find(loud).filter(|_| !open) {
            return broken("7 convergence", format!("{id} is {} and {:?} alerts", flag.state, group.signal));
        }
    }
    Ok(())
}
