//! The calls that a local breaker reckons its rates over: the last so many, or those of the last while.
//!
//! Time is an argument. Memory is bounded by the window's size: one byte a call, or ten slices of time.

use super::Window;
use std::collections::VecDeque;
use std::time::Duration;

/// Into how many slices a window of time is cut: it is exact to one of them.
pub(super) const SLICES: u64 = 10;

/// What is remembered of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// How many calls there were, and of which kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) slow: u64,
}

impl Counts {
    fn add(&mut self, mark: Mark) {
        self.calls += 1;
        self.failed += u64::from(mark.failed);
        self.slow += u64::from(mark.slow);
    }

    fn of(mark: Mark) -> Counts {
        let mut one = Counts::default();
        one.add(mark);
        one
    }

    fn remove(&mut self, gone: Counts) {
        self.calls -= gone.calls;
        self.failed -= gone.failed;
        self.slow -= gone.slow;
    }
}

/// The calls within the window.
#[derive(Debug)]
pub(super) enum Seen {
    Calls {
        size: usize,
        marks: VecDeque<Mark>,
        sum: Counts,
    },
    Time {
        slice_us: u64,
        /// The slices that hold calls, the oldest first, by number.
        slices: VecDeque<(u64, Counts)>,
        /// When the newest one ends. Most calls end before, and reckon nothing anew.
        until: Duration,
        sum: Counts,
    },
}

impl Seen {
    pub(super) fn new(window: Window) -> Seen {
        match window {
            Window::Calls(size) => Seen::Calls {
                size: usize::try_from(size).unwrap_or(usize::MAX),
                marks: VecDeque::new(),
                sum: Counts::default(),
            },
            Window::Time(time) => Seen::Time {
                slice_us: (micros(time) / SLICES).max(1),
                slices: VecDeque::new(),
                until: Duration::ZERO,
                sum: Counts::default(),
            },
        }
    }

    /// Takes in a call that ended `now`. Yields what the window holds then.
    pub(super) fn add(&mut self, mark: Mark, now: Duration) -> Counts {
        match self {
            Seen::Calls { size, marks, sum } => {
                marks.push_back(mark);
                sum.add(mark);
                while marks.len() > *size {
                    if let Some(oldest) = marks.pop_front() {
                        sum.remove(Counts::of(oldest));
                    }
                }
                *sum
            }
            Seen::Time { slice_us, slices, until, sum } => {
                // A clock read before another's lock was taken may be a little behind: it counts in the newest slice.
                if now >= *until {
                    let number = micros(now) / *slice_us;
                    *until = Duration::from_micros((number + 1).saturating_mul(*slice_us));
                    slices.push_back((number, Counts::default()));
                    while let Some((_, gone)) = slices.pop_front_if(|(oldest, _)| *oldest + SLICES <= number)
                    {
                        sum.remove(gone);
                    }
                }
                if let Some((_, newest)) = slices.back_mut() {
                    newest.add(mark);
                }
                sum.add(mark);
                *sum
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The plainest thing that is right: all calls, kept.
    fn expected(window: Window, all: &[(Duration, Mark)]) -> Counts {
        let within: Vec<Mark> = match window {
            Window::Calls(size) => all.iter().rev().take(size as usize).map(|(_, mark)| *mark).collect(),
            Window::Time(time) => {
                let slice_us = time.as_micros() / 10;
                let newest = all.last().unwrap().0.as_micros() / slice_us;
                let is_within = |at: &Duration| at.as_micros() / slice_us + 10 > newest;
                all.iter().filter(|(at, _)| is_within(at)).map(|(_, mark)| *mark).collect()
            }
        };
        let count = |is: fn(&Mark) -> bool| within.iter().filter(|mark| is(mark)).count() as u64;
        Counts {
            calls: within.len() as u64,
            failed: count(|mark| mark.failed),
            slow: count(|mark| mark.slow),
        }
    }

    fn windows() -> impl Strategy<Value = Window> {
        prop_oneof![
            (1_u32..50).prop_map(Window::Calls),
            (1_000_u64..60_000).prop_map(|ms| Window::Time(Duration::from_millis(ms))),
        ]
    }

    proptest! {
        #[test]
        fn a_window_holds_what_a_list_of_all_calls_says(
            window in windows(),
            calls in prop::collection::vec((0_u64..3_000, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let (mut seen, mut all, mut now) = (Seen::new(window), Vec::new(), Duration::ZERO);
            for (after_ms, failed, slow) in calls {
                now += Duration::from_millis(after_ms);
                let mark = Mark { failed, slow };
                all.push((now, mark));
                prop_assert_eq!(seen.add(mark, now), expected(window, &all));
            }
            let kept = match &seen {
                Seen::Calls { marks, size, .. } => marks.len() <= *size,
                Seen::Time { slices, .. } => slices.len() as u64 <= SLICES,
            };
            prop_assert!(kept, "{:?}", seen);
        }
    }
}
