//! What is published of a breaker for callers, and what it answers.
//!
//! A flag carries its own future: when a hint lapses, a person's decision ends or a signal goes stale, and how half-open
//! ramps up, so that a caller with a clock needs no further message. Closed = calls flow.

use crate::fault::{self, Fault, Injection, Mark};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// All of one million parts: every call.
pub const ALL_PPM: u32 = 1_000_000;

/// How often each process may probe an open breaker whatever its draws say, milliseconds.
pub const PROBE_EVERY_MS: i64 = 30_000;

/// The first share of half-open, in parts per million; all of it while there is no ramp.
pub const FIRST_SHARE_PPM: u32 = 100_000;

/// A breaker's state, in the field's own words and polarity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Calls flow.
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// A growing share of calls flows.
    HalfOpen,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        })
    }
}

/// Half-open's growing share: from `from_ppm` at `from_ms`, in a straight line, to all at `to_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ramp {
    /// When it starts, Unix milliseconds.
    pub from_ms: i64,
    /// When all calls flow again, Unix milliseconds.
    pub to_ms: i64,
    /// The first share, in parts per million.
    pub from_ppm: u32,
}

impl Ramp {
    /// The share of calls admitted at `now_ms`, in parts per million.
    #[must_use]
    pub fn share_ppm(&self, now_ms: i64) -> u32 {
        if now_ms >= self.to_ms {
            return ALL_PPM;
        }
        let length_ms = (i128::from(self.to_ms) - i128::from(self.from_ms)).max(0);
        let gone_ms = (i128::from(now_ms) - i128::from(self.from_ms)).clamp(0, length_ms);
        let from_ppm = self.from_ppm.min(ALL_PPM);
        let grown = i128::from(ALL_PPM - from_ppm) * gone_ms / length_ms.max(1);
        from_ppm.saturating_add(u32::try_from(grown).unwrap_or(ALL_PPM)).min(ALL_PPM)
    }
}

/// A change of state that time alone brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Next {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// To which state.
    pub state: State,
}

/// Whether a breaker's decision is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is decided, published as `would` and counted, and refuses nobody.
    Watch,
}

impl fmt::Display for Mode {
    /// As the breakers' file spells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Enforce => "enforce",
            Mode::Watch => "watch",
        })
    }
}

/// What becomes of an open breaker when no report has confirmed it for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStale {
    /// Half-open at the first share, without a ramp, until a fresh report.
    #[default]
    HalfOpen,
    /// It stays open.
    Hold,
    /// It goes through half-open, with its ramp, to closed.
    Close,
}

/// To which state a person forces a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forced {
    /// All calls are refused, probes too.
    Open,
    /// All calls flow, at once.
    Closed,
}

impl From<Forced> for State {
    fn from(forced: Forced) -> State {
        match forced {
            Forced::Open => State::Open,
            Forced::Closed => State::Closed,
        }
    }
}

/// What callers see of a person's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForcedUntil {
    /// The state it forces.
    pub state: Forced,
    /// When it ends, Unix milliseconds; none: when a person ends it.
    pub until_ms: Option<i64>,
}

impl ForcedUntil {
    fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// A breaker as callers see it. The default is closed, which is also what an absent flag means under a known epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flag {
    /// The state at the time of writing. Closed in watch mode.
    pub state: State,
    /// Since when that was decided, Unix milliseconds.
    pub since_ms: i64,
    /// Whether the decision is carried out.
    #[serde(default)]
    pub mode: Mode,
    /// The operation classes that are refused; empty: all.
    #[serde(default)]
    pub refuse: BTreeSet<String>,
    /// The share of calls that is admitted while a signal holds it open, parts per million.
    #[serde(default)]
    pub probe_ppm: u32,
    /// The share while half-open, now or after what comes next. None while half-open: [`FIRST_SHARE_PPM`] until further notice.
    pub ramp: Option<Ramp>,
    /// What time alone will change, staleness apart.
    pub next: Option<Next>,
    /// When an open breaker becomes what `on_stale` says, unless a report confirms it before; Unix milliseconds.
    #[serde(default)]
    pub stale_at_ms: Option<i64>,
    /// What it becomes then.
    #[serde(default)]
    pub on_stale: OnStale,
    /// A person's decision in force.
    #[serde(default, rename = "override")]
    pub forced: Option<ForcedUntil>,
    /// What was decided, where that is not carried out: in watch mode, or because openings are held back.
    #[serde(default)]
    pub would: Option<State>,
    /// What a person injects into the calls that are admitted; see [`crate::fault`]. One that cannot be read is none.
    #[serde(default, deserialize_with = "fault::readable")]
    pub fault: Option<Box<Fault>>,
}

impl Flag {
    /// The state at `now_ms`, with what time alone has changed since the flag was written.
    #[must_use]
    pub fn state_at(&self, now_ms: i64) -> State {
        match self.mode {
            Mode::Enforce => self.later(self.state, now_ms),
            Mode::Watch => State::Closed,
        }
    }

    /// A person's decision that is in force at `now_ms`. One that is over may stand in the flag until somebody writes it anew.
    #[must_use]
    pub fn forced_at(&self, now_ms: i64) -> Option<ForcedUntil> {
        self.forced.filter(|forced| forced.holds_at(now_ms))
    }

    /// The state at `now_ms` if every decision were carried out: differs from [`Flag::state_at`] in watch mode, and while
    /// openings are held back.
    #[must_use]
    pub fn would_at(&self, now_ms: i64) -> State {
        match (self.mode, self.would) {
            (Mode::Watch, Some(would)) => self.later(would, now_ms),
            (Mode::Enforce, Some(would)) => would,
            (_, None) => self.state_at(now_ms),
        }
    }

    /// The share of calls that is admitted at `now_ms`, in parts per million.
    #[must_use]
    pub fn share_ppm(&self, now_ms: i64) -> u32 {
        self.share_of(self.state_at(now_ms), now_ms)
    }

    /// The share that would be admitted if every decision were carried out, in parts per million.
    #[must_use]
    pub fn would_share_ppm(&self, now_ms: i64) -> u32 {
        self.share_of(self.would_at(now_ms), now_ms)
    }

    /// Whether calls of this operation class are refused at all; one without a class is refused as if listed.
    #[must_use]
    pub fn is_for(&self, class: Option<&str>) -> bool {
        self.refuse.is_empty() || class.is_none_or(|class| self.refuse.contains(class))
    }

    /// "May I call?" at `now_ms`, for a call of `class` that drew `draw_ppm` evenly from 0 to 999,999.
    #[must_use]
    pub fn admits(&self, class: Option<&str>, now_ms: i64, draw_ppm: u32) -> bool {
        draw_ppm < self.share_ppm(now_ms) || !self.is_for(class)
    }

    /// Whether each process may make one call in [`PROBE_EVERY_MS`] although its draws were refused: while a signal holds
    /// the breaker open, so that the metric behind it keeps flowing. Not while a person does.
    #[must_use]
    pub fn probes_at(&self, now_ms: i64) -> bool {
        self.probe_ppm > 0 && self.state_at(now_ms) == State::Open && !self.is_forced_at(now_ms)
    }

    /// When time alone changes something next, Unix milliseconds.
    #[must_use]
    pub fn next_change_ms(&self) -> Option<i64> {
        let stale_at_ms = self.stale_at_ms.filter(|_| self.on_stale != OnStale::Hold);
        let fault_ends_ms = self.fault.as_ref().map(|fault| fault.ends_ms());
        self.next.map(|next| next.at_ms).into_iter().chain(stale_at_ms).chain(fault_ends_ms).min()
    }

    /// Whether `other` differs from this flag by when it goes stale at the most: its followers need not be told at once.
    #[must_use]
    pub fn is_refresh_of(&self, other: &Flag) -> bool {
        let mut refreshed = other.clone();
        if self.stale_at_ms.is_some() && other.stale_at_ms.is_some() {
            refreshed.stale_at_ms = self.stale_at_ms;
            if self.on_stale == OnStale::Close {
                refreshed.ramp = self.ramp;
            }
        }
        refreshed == *self
    }

    /// What is injected at `now_ms` into an admitted call of `class` that drew twice evenly from 0 to 999,999. Classes that are
    /// never refused are left alone by faults, too. `bears` tells whether the call bears the mark that a fault may be for.
    #[must_use]
    pub fn injects(
        &self,
        class: Option<&str>,
        now_ms: i64,
        draws_ppm: (u32, u32),
        bears: impl FnOnce(&Mark) -> bool,
    ) -> Option<Injection> {
        let fault = self.fault.as_ref().filter(|_| self.is_for(class))?;
        let is_meant = fault.only.as_ref().is_none_or(bears);
        if is_meant { fault.strikes(now_ms, draws_ppm.0, draws_ppm.1) } else { None }
    }

    /// Whether a person's decision is in force at `now_ms`.
    #[must_use]
    pub fn is_forced_at(&self, now_ms: i64) -> bool {
        self.forced.is_some_and(|forced| forced.holds_at(now_ms))
    }

    /// What time alone makes of `state` by `now_ms`.
    fn later(&self, state: State, now_ms: i64) -> State {
        let state = match self.next {
            Some(next) if now_ms >= next.at_ms => next.state,
            _ => state,
        };
        let is_stale = state == State::Open
            && self.on_stale != OnStale::Hold
            && self.stale_at_ms.is_some_and(|stale_ms| now_ms >= stale_ms)
            && !self.is_forced_at(now_ms);
        let state = if is_stale { State::HalfOpen } else { state };
        match (state, self.ramp) {
            (State::HalfOpen, Some(ramp)) if now_ms >= ramp.to_ms => State::Closed,
            _ => state,
        }
    }

    fn share_of(&self, state: State, now_ms: i64) -> u32 {
        match state {
            State::Closed => ALL_PPM,
            State::Open if self.is_forced_at(now_ms) => 0,
            // Written by hand it may be more than all.
            State::Open => self.probe_ppm.min(ALL_PPM),
            State::HalfOpen => self.ramp.map_or(FIRST_SHARE_PPM, |ramp| ramp.share_ppm(now_ms)),
        }
    }
}

#[cfg(test)]
mod tests;
