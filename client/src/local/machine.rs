//! When a local breaker opens, tries again and closes. Pure: time is an argument.
//!
//! Each change of state begins a new generation, and what ends in another generation than it began in changes nothing: a late success
//! cannot close what a newer failure has opened.

use super::LocalBreaker;
use super::window::{Counts, Mark, Seen};
use cutout_core::State;
use std::fmt;
use std::time::Duration;

/// Why it tripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Too large a share of the window's calls failed: so many of so many.
    Failures(u64, u64),
    /// Too large a share was slow.
    Slow(u64, u64),
    /// So many failed one after the other.
    Consecutive(u32),
    /// A trial failed.
    Trial,
}

#[derive(Debug)]
pub(super) struct Machine {
    rules: LocalBreaker,
    stage: Stage,
    seen: Seen,
    consecutive: u32,
    generation: u64,
    /// When the last call ended.
    ended: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    Open { until: Duration },
    Trying { under_way: u32, succeeded: u32 },
}

impl Machine {
    pub(super) fn new(rules: LocalBreaker) -> Machine {
        let (stage, seen, ended) = (Stage::Closed, Seen::new(rules.window), Duration::ZERO);
        Machine { rules, stage, seen, consecutive: 0, generation: 0, ended }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Whether it may be forgotten: it is closed and the last call was good, or all that it remembers is over.
    pub(super) fn is_at_rest(&self, now: Duration) -> bool {
        let is_over = now >= self.ended + self.rules.window.lasts();
        match self.stage {
            Stage::Closed => self.consecutive == 0 || is_over,
            Stage::Open { until } => is_over && now >= until,
            Stage::Trying { under_way, .. } => is_over && under_way == 0,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Open and for how long, or half-open; none: it is closed.
    pub(super) fn stand(&self, now: Duration) -> Option<(State, Duration)> {
        match self.stage {
            Stage::Closed => None,
            Stage::Open { until } if now < until => Some((State::Open, until - now)),
            Stage::Open { .. } | Stage::Trying { .. } => Some((State::HalfOpen, Duration::ZERO)),
        }
    }

    /// How long a call made now would be refused for; none: it would not be.
    pub(super) fn refuses(&self, now: Duration) -> Option<Duration> {
        match self.stage {
            Stage::Closed => None,
            Stage::Open { until } => (now < until).then(|| until - now),
            Stage::Trying { under_way, succeeded } => {
                (under_way + succeeded >= self.rules.trials).then_some(Duration::ZERO)
            }
        }
    }

    /// May a call be made? If so, in which generation; if not, for how long it is open.
    pub(super) fn admit(&mut self, now: Duration) -> Result<u64, Duration> {
        if let Some(refused_for) = self.refuses(now) {
            return Err(refused_for);
        }
        match &mut self.stage {
            Stage::Closed => {}
            Stage::Open { .. } => self.become_stage(Stage::Trying { under_way: 1, succeeded: 0 }),
            Stage::Trying { under_way, .. } => *under_way += 1,
        }
        Ok(self.generation)
    }

    /// A call that began in `generation` ended. Some: that tripped the breaker.
    pub(super) fn ended(&mut self, generation: u64, mark: Mark, now: Duration) -> Option<Why> {
        if generation != self.generation {
            return None;
        }
        self.ended = now;
        match self.stage {
            Stage::Closed => {
                self.consecutive = if mark.failed { self.consecutive.saturating_add(1) } else { 0 };
                let counts = self.seen.add(mark, now);
                let why = self.judge(mark, counts)?;
                self.open(now);
                Some(why)
            }
            Stage::Open { .. } => None,
            Stage::Trying { .. } if mark.failed || mark.slow => {
                self.open(now);
                Some(Why::Trial)
            }
            Stage::Trying { succeeded, .. } if succeeded + 1 >= self.rules.trials => {
                self.seen = Seen::new(self.rules.window);
                self.consecutive = 0;
                self.become_stage(Stage::Closed);
                None
            }
            Stage::Trying { under_way, succeeded } => {
                self.stage =
                    Stage::Trying { under_way: under_way.saturating_sub(1), succeeded: succeeded + 1 };
                None
            }
        }
    }

    /// A call that began in `generation` will never end: a trial gives its place back.
    pub(super) fn cancelled(&mut self, generation: u64) {
        if let Stage::Trying { under_way, .. } = &mut self.stage
            && generation == self.generation
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// A share is judged only by a call that raised it.
    fn judge(&self, last: Mark, counts: Counts) -> Option<Why> {
        let Counts { calls, failed, slow } = counts;
        let enough = calls >= u64::from(self.rules.min_calls);
        let reaches = |count: u64, percent: u32| enough && count * 100 >= u64::from(percent) * calls;
        if last.failed && self.rules.consecutive_failures.is_some_and(|limit| self.consecutive >= limit) {
            return Some(Why::Consecutive(self.consecutive));
        }
        if last.failed && self.rules.failure_percent.is_some_and(|percent| reaches(failed, percent)) {
            return Some(Why::Failures(failed, calls));
        }
        let too_slow = self.rules.slow.is_some_and(|(_, percent)| reaches(slow, percent));
        (last.slow && too_slow).then_some(Why::Slow(slow, calls))
    }

    fn open(&mut self, now: Duration) {
        self.become_stage(Stage::Open { until: now + self.rules.open_for });
    }

    fn become_stage(&mut self, stage: Stage) {
        self.stage = stage;
        self.generation += 1;
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Failures(failed, calls) => write!(f, "{failed} of {calls} calls failed"),
            Why::Slow(slow, calls) => write!(f, "{slow} of {calls} calls were slow"),
            Why::Consecutive(failed) => write!(f, "{failed} calls failed one after the other"),
            Why::Trial => f.write_str("a trial failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Window;
    use super::*;
    use proptest::prelude::*;

    const GOOD: Mark = Mark { failed: false, slow: false };
    const BAD: Mark = Mark { failed: true, slow: false };
    const SLOW: Mark = Mark { failed: false, slow: true };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rules() -> LocalBreaker {
        LocalBreaker::over(Window::Calls(10)).min_calls(4)
    }

    /// Makes calls that end so, one after the other, each a millisecond after the other. Yields the reason of the first trip.
    fn run(machine: &mut Machine, marks: &[Mark]) -> Option<Why> {
        marks.iter().find_map(|mark| {
            let generation = machine.admit(s(1)).unwrap();
            machine.ended(generation, *mark, s(1))
        })
    }

    #[test]
    fn each_rule_trips_at_its_limit_and_not_before() {
        let by_rate = rules().failure_percent(50);
        assert_eq!(run(&mut Machine::new(by_rate), &[BAD, BAD, BAD]), None, "too few calls");
        assert_eq!(run(&mut Machine::new(by_rate), &[BAD, GOOD, GOOD, GOOD, BAD]), None, "two of five");
        assert_eq!(run(&mut Machine::new(by_rate), &[GOOD, GOOD, BAD, BAD]), Some(Why::Failures(2, 4)));
        assert_eq!(run(&mut Machine::new(by_rate), &[SLOW; 10]), None);
        let by_slowness = rules().slow_calls(s(1), 100);
        assert_eq!(run(&mut Machine::new(by_slowness), &[GOOD, SLOW, SLOW, SLOW, SLOW]), None);
        assert_eq!(run(&mut Machine::new(by_slowness), &[SLOW; 4]), Some(Why::Slow(4, 4)));
        let in_a_row = rules().consecutive_failures(2);
        assert_eq!(run(&mut Machine::new(in_a_row), &[BAD, GOOD, BAD, GOOD]), None);
        assert_eq!(run(&mut Machine::new(in_a_row), &[GOOD, BAD, BAD]), Some(Why::Consecutive(2)));
        assert_eq!(run(&mut Machine::new(rules()), &[BAD; 50]), None, "no rule, no trip");
    }

    #[test]
    fn after_its_time_it_tries_a_few_calls_and_closes_or_opens_by_them() {
        let mut machine = Machine::new(rules().consecutive_failures(1).open_for(s(5)).trials(2));
        assert!(run(&mut machine, &[BAD]).is_some());
        assert_eq!(machine.admit(s(2)), Err(s(4)));
        let one = machine.admit(s(6)).unwrap();
        let two = machine.admit(s(6)).unwrap();
        assert_eq!(machine.admit(s(6)), Err(Duration::ZERO), "two trials at once");
        machine.cancelled(two);
        let again = machine.admit(s(6)).expect("a cancelled trial gives its place back");
        assert_eq!(machine.ended(one, GOOD, s(6)), None);
        assert_eq!(machine.ended(again, BAD, s(7)), Some(Why::Trial));
        assert_eq!(machine.admit(s(11)), Err(s(1)));
        for _ in 0..2 {
            let trial = machine.admit(s(12)).unwrap();
            machine.ended(trial, GOOD, s(12));
        }
        assert!(machine.is_at_rest(s(12)));
    }

    #[test]
    fn it_may_be_forgotten_when_all_that_it_remembers_is_over() {
        let rules =
            LocalBreaker::over(Window::Time(s(60))).consecutive_failures(2).open_for(s(600)).trials(2);
        let mut machine = Machine::new(rules);
        assert!(machine.is_at_rest(s(0)));
        run(&mut machine, &[BAD]);
        assert!(!machine.is_at_rest(s(60)), "a failure within the window");
        assert!(machine.is_at_rest(s(61)), "whose window is over, though no call was good since");
        run(&mut machine, &[BAD]);
        assert!(!machine.is_at_rest(s(600)), "it is open");
        assert!(machine.is_at_rest(s(601)), "nobody asks any more");
        let trial = machine.admit(s(601)).unwrap();
        assert!(!machine.is_at_rest(s(10_000)), "a trial is under way");
        machine.cancelled(trial);
        assert!(machine.is_at_rest(s(10_000)));
        let mut by_calls = Machine::new(self::rules().failure_percent(50));
        run(&mut by_calls, &[BAD]);
        assert!(!by_calls.is_at_rest(s(600)) && by_calls.is_at_rest(s(601)), "a window of calls has no time");
    }

    #[test]
    fn what_ends_late_changes_nothing() {
        let mut machine = Machine::new(rules().consecutive_failures(1).open_for(s(5)).trials(1));
        let late = machine.admit(s(0)).unwrap();
        assert!(run(&mut machine, &[BAD]).is_some());
        let trial = machine.admit(s(10)).unwrap();
        assert_eq!(machine.ended(late, GOOD, s(10)), None);
        assert!(!machine.is_closed(), "a call from before the trip is no trial");
        machine.ended(trial, GOOD, s(10));
        assert!(machine.is_closed());
        machine.ended(late, BAD, s(11));
        assert!(machine.is_closed());
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Begin,
        End(prop::sample::Index, bool, bool),
        Cancel(prop::sample::Index),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Begin),
            4 => (any::<prop::sample::Index>(), any::<bool>(), any::<bool>())
                .prop_map(|(which, failed, slow)| Step::End(which, failed, slow)),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            2 => (0_u64..4_000).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens: never more trials than set, nothing admitted before its time is over, and when all calls have ended or
        /// were cancelled and its time is over, it can be closed again.
        #[test]
        fn it_is_never_stuck_and_never_lets_more_through_than_set(
            trials in 1_u32..4,
            steps in prop::collection::vec(steps(), 1..300),
        ) {
            let mut machine = Machine::new(rules().failure_percent(50).slow_calls(s(1), 60).trials(trials));
            let (mut now, mut open) = (Duration::ZERO, Vec::new());
            for step in steps {
                match step {
                    Step::Begin => {
                        let before = machine.stage;
                        if let Ok(generation) = machine.admit(now) {
                            open.push(generation);
                            let was_open = matches!(before, Stage::Open { until } if now < until);
                            prop_assert!(!was_open);
                        }
                        if let Stage::Trying { under_way, succeeded } = machine.stage {
                            let of_it = open.iter().filter(|one| **one == machine.generation).count();
                            prop_assert_eq!(under_way as usize, of_it);
                            prop_assert!(under_way + succeeded <= trials);
                        }
                    }
                    Step::End(which, failed, slow) if !open.is_empty() => {
                        let generation = open.swap_remove(which.index(open.len()));
                        machine.ended(generation, Mark { failed, slow }, now);
                    }
                    Step::Cancel(which) if !open.is_empty() => {
                        machine.cancelled(open.swap_remove(which.index(open.len())));
                    }
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                    Step::End(..) | Step::Cancel(_) => {}
                }
            }
            open.into_iter().for_each(|generation| machine.cancelled(generation));
            now += s(10);
            while !machine.is_closed() {
                let trial = machine.admit(now).expect("its time is over and nothing is under way");
                machine.ended(trial, GOOD, now);
            }
        }
    }
}
