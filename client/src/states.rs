//! Gauges of what state the breakers of a name are in, as this process sees them, and for how long.
//!
//! One for each name and not for each key, which may be thousands: how many keys are open, how many half-open, and how long the
//! longest of them has been. Told once a second; the snapshot tells which they are.

use crate::snapshot::KnownBreaker;
use cutout_core::State;

/// Milliseconds in a second.
const S_MS: f64 = 1_000.0;

/// Tells the gauges of one name. `known`: those of its breakers that may not be closed; all others are.
pub(crate) fn tell(name: &str, known: impl Iterator<Item = KnownBreaker>, now_ms: i64) {
    let (mut open, mut half_open, mut longest_ms) = (0_u32, 0_u32, 0);
    for breaker in known {
        match breaker.state {
            State::Closed => continue,
            State::Open => open += 1,
            State::HalfOpen => half_open += 1,
        }
        longest_ms = longest_ms.max(breaker.since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)));
    }
    for (state, count) in [("open", open), ("half-open", half_open)] {
        let labels = [("breaker", name.to_owned()), ("state", state.to_owned())];
        metrics::gauge!("cutout_client_breakers", &labels).set(f64::from(count));
    }
    let seconds = f64::from(u32::try_from(longest_ms).unwrap_or(u32::MAX)) / S_MS;
    metrics::gauge!("cutout_client_state_age_seconds", "breaker" => name.to_owned()).set(seconds);
}
