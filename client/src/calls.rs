//! Counts of calls by how they ended, and how long they took.
//!
//! Threads that call at the same time must not pass a cache line to and fro, so each counts on a stripe of its own; the client's task
//! sums the stripes once a second and hands what is new to the metrics. In flight is what began less what ended.
//! Left out: labels (`tally`).

use crate::outcome::Outcome;
use std::cell::Cell;
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The most stripes of one count; with more threads than that some share.
const STRIPES_MAX: usize = 64;
/// Stripes for each processor, so that threads beyond the processors rarely meet.
const STRIPES_PER_PROCESSOR: usize = 2;
/// Latencies are kept by powers of two of a microsecond, each in so many parts: at most 6 % off.
const PARTS: u64 = 8;
/// The longest latency told apart, as a power of two of a microsecond: 134 s.
const POWERS: u64 = 27;
/// How many buckets that makes: [`PARTS`] for each power from `PARTS` on, and for what is below it.
const BUCKETS: usize = 200;
const NO_STRIPE: usize = usize::MAX;

/// How a call ended, as metrics spell it. Only the first two were judged by their result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Success,
    Failure,
    /// No answer in time: a failure of the vendor.
    Timeout,
    /// The caller went away, or the call panicked: nothing is known of the vendor.
    Cancelled,
    /// Refused by the breaker. Nothing was sent, as with the two that follow.
    Refused,
    /// Refused by the bulkhead.
    Overflow,
    /// Refused by the local breaker.
    Tripped,
    /// An injected fault ended it, or delayed it and then it had no answer in time: nothing is known of the vendor.
    Injected,
    /// It began, and what carries calls out did not send it: nothing is known of the vendor.
    NotSent,
}

impl From<Outcome> for Ended {
    #[inline]
    fn from(outcome: Outcome) -> Ended {
        match outcome {
            Outcome::Success => Ended::Success,
            Outcome::Failure => Ended::Failure,
            Outcome::NotSent => Ended::NotSent,
        }
    }
}

impl Ended {
    pub(crate) const ALL: [Ended; 9] = [
        Ended::Success,
        Ended::Failure,
        Ended::Timeout,
        Ended::Cancelled,
        Ended::Refused,
        Ended::Overflow,
        Ended::Tripped,
        Ended::Injected,
        Ended::NotSent,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Ended::Success => "success",
            Ended::Failure => "failure",
            Ended::Timeout => "timeout",
            Ended::Cancelled => "cancelled",
            Ended::Refused => "refused",
            Ended::Overflow => "overflow",
            Ended::Tripped => "tripped",
            Ended::Injected => "injected",
            Ended::NotSent => "not_sent",
        }
    }

    /// Whether it ends a call that began.
    fn was_in_flight(self) -> bool {
        !matches!(self, Ended::Refused | Ended::Overflow | Ended::Tripped)
    }
}

/// The counts of one name and class.
#[derive(Debug)]
pub(crate) struct Calls {
    first: Stripe,
    /// With the first one a power of two.
    others: Box<[Stripe]>,
}

/// One thread's share of the counts. Two lines long, since processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stripe {
    began: AtomicU64,
    ended: [AtomicU64; Ended::ALL.len()],
    /// By how calls ended: success, failure, time-out. Each made when it is first needed.
    latencies: [OnceLock<Box<Latencies>>; 3],
}

/// How many calls took how long.
#[derive(Debug)]
struct Latencies([AtomicU32; BUCKETS]);

impl Default for Calls {
    fn default() -> Calls {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let stripes = (processors * STRIPES_PER_PROCESSOR).next_power_of_two().min(STRIPES_MAX);
        let others = std::iter::repeat_with(Stripe::default).take(stripes - 1).collect();
        Calls { first: Stripe::default(), others }
    }
}

impl Calls {
    /// The calling thread's stripe.
    #[inline]
    pub(crate) fn stripe(&self) -> &Stripe {
        self.stripe_of(thread_number())
    }

    #[inline]
    fn stripe_of(&self, thread: usize) -> &Stripe {
        // As many bits as tell all of them apart; 0 is the first.
        let at = thread & self.others.len();
        self.others.get(at.wrapping_sub(1)).unwrap_or(&self.first)
    }

    fn all(&self) -> impl Iterator<Item = &Stripe> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How many calls ended so.
    pub(crate) fn ended(&self, ended: Ended) -> u64 {
        self.sum(|stripe| stripe.count(ended).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    /// How many calls are in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        // What ended is read first: what ends while the sums are made may count twice as being there, never as less than nothing.
        let ended = Ended::ALL.into_iter().filter(|ended| ended.was_in_flight());
        let ended: u64 = ended.map(|ended| self.ended(ended)).fold(0, u64::wrapping_add);
        self.sum(|stripe| stripe.began.load(Ordering::Relaxed)).saturating_sub(ended)
    }

    fn sum(&self, count: impl Fn(&Stripe) -> u64) -> u64 {
        self.all().map(count).fold(0, u64::wrapping_add)
    }

    /// Takes the latencies noted since the last time: how many calls that ended so took about so many seconds.
    pub(crate) fn take_latencies(&self, ended: Ended, mut told: impl FnMut(f64, usize)) {
        let noted = self.all().filter_map(|stripe| stripe.latencies.get(ended as usize)?.get());
        for latencies in noted {
            for (at, bucket) in (0..).zip(&latencies.0) {
                // Most are empty; a swap would take the line from its thread for nothing.
                if bucket.load(Ordering::Relaxed) > 0 {
                    let count = bucket.swap(0, Ordering::Relaxed);
                    told(middle_of(at).as_secs_f64(), usize::try_from(count).unwrap_or(usize::MAX));
                }
            }
        }
    }
}

impl Stripe {
    /// Counts the end of a call, or a call that was refused before it began.
    #[inline]
    pub(crate) fn count_end(&self, ended: Ended) {
        if let Some(count) = self.count(ended) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the beginning of a call; its end is counted by what this yields.
    #[inline]
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.began.fetch_add(1, Ordering::Relaxed);
        InFlight { stripe: self, ended: Ended::Cancelled }
    }

    #[inline]
    fn count(&self, ended: Ended) -> Option<&AtomicU64> {
        self.ended.get(ended as usize)
    }

    fn note(&self, ended: Ended, took: Duration) {
        let latencies = self.latencies.get(ended as usize).map(|made| made.get_or_init(Box::default));
        if let Some(bucket) = latencies.and_then(|latencies| latencies.0.get(bucket_of(took))) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A call that has begun. Dropped without an end, it was cancelled.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    stripe: &'a Stripe,
    ended: Ended,
}

impl InFlight<'_> {
    #[inline]
    pub(crate) fn end(mut self, ended: Ended) {
        self.ended = ended;
    }

    pub(crate) fn end_after(self, ended: Ended, took: Duration) {
        self.stripe.note(ended, took);
        self.end(ended);
    }
}

impl Drop for InFlight<'_> {
    #[inline]
    fn drop(&mut self) {
        self.stripe.count_end(self.ended);
    }
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies([const { AtomicU32::new(0) }; BUCKETS])
    }
}

/// The bucket of a latency: below [`PARTS`] microseconds one for each, then [`PARTS`] for each power of two.
fn bucket_of(took: Duration) -> usize {
    let longest = (1_u64 << POWERS) - 1;
    let micros = u64::try_from(took.as_micros()).unwrap_or(longest).min(longest);
    let first_bits = PARTS.ilog2();
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(first_bits + 1);
    let bucket = u64::from(shift) * PARTS + (micros >> shift);
    usize::try_from(bucket).unwrap_or_default()
}

/// The latency in the middle of a bucket.
fn middle_of(bucket: u64) -> Duration {
    let shift = (bucket / PARTS).saturating_sub(1);
    let part = bucket - shift * PARTS;
    Duration::from_nanos((part * 1_000 + 500) << shift)
}

/// The calling thread's number, counted from its first call on.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(NO_STRIPE) });
    NUMBER.with(|number| {
        if number.get() == NO_STRIPE {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed) % NO_STRIPE);
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_adds_up_and_what_has_not_ended_is_in_flight() {
        let calls = Calls::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        calls.stripe().begin().end(Ended::Success);
                        drop(calls.stripe().begin());
                        calls.stripe().count_end(Ended::Refused);
                    }
                });
            }
        });
        let counted = [Ended::Success, Ended::Cancelled, Ended::Refused].map(|ended| calls.ended(ended));
        assert_eq!((counted, calls.in_flight()), ([8_000; 3], 0));
        let (one, two) = (calls.stripe().begin(), calls.stripe().begin());
        assert_eq!(calls.in_flight(), 2);
        one.end(Ended::Failure);
        assert_eq!(calls.in_flight(), 1);
        drop(two);
        assert_eq!((calls.in_flight(), calls.ended(Ended::Cancelled)), (0, 8_001));
    }

    #[test]
    fn threads_count_on_lines_of_their_own() {
        const LINES: usize = 128;
        let calls = Calls::default();
        let processors = std::thread::available_parallelism().unwrap().get();
        let stripes = calls.all().count();
        assert!(stripes >= processors.min(STRIPES_MAX), "a stripe for each thread that can run at once");
        let address = |thread| std::ptr::from_ref(calls.stripe_of(thread)).addr();
        for thread in 0..stripes {
            assert_eq!(address(thread) % LINES, 0, "it begins with a pair of lines");
            let others = (0..stripes).filter(|other| *other != thread);
            assert!(others.into_iter().all(|other| address(other).abs_diff(address(thread)) >= LINES));
        }
        assert!(size_of::<Stripe>() <= LINES, "and does not reach into the next");

        let numbers = |_| std::thread::spawn(|| [thread_number(), thread_number()]).join().unwrap();
        let [one, other] = [0, 1].map(numbers);
        assert!(one[0] == one[1] && other[0] == other[1], "a thread stays on its stripe");
        assert_ne!(one[0], other[0], "and no two have the same number");
    }

    #[test]
    fn a_latency_is_kept_within_six_percent_and_told_once() {
        let mut micros = 1_u64;
        while micros < (1 << POWERS) {
            let took = Duration::from_micros(micros);
            let told = middle_of(bucket_of(took).try_into().unwrap());
            let off = (told.as_secs_f64() / took.as_secs_f64() - 1.0).abs();
            assert!(off <= 0.063 || told.abs_diff(took) <= Duration::from_nanos(500), "{took:?}: {told:?}");
            micros += 1 + micros / 61;
        }
        assert_eq!((bucket_of(Duration::MAX) + 1, size_of::<Stripe>()), (BUCKETS, 128));
        let calls = Calls::default();
        calls.stripe().begin().end_after(Ended::Failure, Duration::MAX);
        calls.stripe().begin().end_after(Ended::Success, Duration::from_millis(20));
        calls.stripe().begin().end_after(Ended::Success, Duration::from_millis(20));
        let taken = |ended| {
            let mut all = Vec::new();
            calls.take_latencies(ended, |seconds, count| all.push(((seconds * 100.0).round(), count)));
            all
        };
        assert_eq!(taken(Ended::Success), [(2.0, 2)]);
        assert!(matches!(taken(Ended::Failure)[..], [(seconds, 1)] if seconds > 13_000.0));
        assert_eq!(taken(Ended::Success), []);
    }
}
