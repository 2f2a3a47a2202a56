//! A breaker of this process alone, which trips by what its own calls look like: for the minute before the monitor fires.
//!
//! It stands beside the fleet's breaker and never writes to it: one sick machine must not stop everybody. While it is closed a caller
//! reads one number to be let in, and takes a short lock when the call ends.
//! Left out: the rules themselves (`machine`) and what they count (`window`), which know no clock and no lock.

mod machine;
mod window;

use crate::calls::Ended;
use cutout_core::State;
use machine::Machine;
pub(crate) use machine::Why;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a window of calls counts once nobody calls any more: as long as the longest window of time.
const CALLS_LAST: Duration = Duration::from_secs(600);

/// When this process stops calling by itself, whatever the monitor says. Nothing trips until a rule is given.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{CallError, LocalBreaker, Upstream, Window};
/// use std::time::Duration;
///
/// # let client = cutout::FakeClient::new(["bank"]).client();
/// let rules = LocalBreaker::over(Window::Time(Duration::from_secs(10)))
///     .failure_percent(50)
///     .slow_calls(Duration::from_secs(2), 80)
///     .min_calls(4) // before a share counts
///     .consecutive_failures(20)
///     .open_for(Duration::from_secs(30))
///     .trials(2);
/// let bank = Upstream::builder("bank").local_breaker(rules).build(&client)?.lane::<&str>(&[]);
/// for succeeds in [true, true, false, false] {
///     let call = || async move { if succeeds { Ok("charged") } else { Err("no route") } };
///     assert_eq!(bank.call(call).await.is_ok(), succeeds);
/// }
/// let refused = bank.call(|| async { Ok::<_, &str>("charged") }).await.unwrap_err();
/// assert!(matches!(refused, CallError::Tripped(tripped) if tripped.retry_after() <= Duration::from_secs(30)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalBreaker {
    pub(crate) window: Window,
    pub(crate) failure_percent: Option<u32>,
    pub(crate) slow: Option<(Duration, u32)>,
    pub(crate) consecutive_failures: Option<u32>,
    pub(crate) min_calls: u32,
    pub(crate) open_for: Duration,
    pub(crate) trials: u32,
}

/// What the rates are reckoned over.
///
/// ```
/// use cutout::{LocalBreaker, Window};
///
/// let (of_calls, of_time) = (Window::Calls(100), Window::Time(std::time::Duration::from_secs(10)));
/// assert_ne!(LocalBreaker::over(of_calls), LocalBreaker::over(of_time));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The last calls, 1 to 10,000.
    Calls(u32),
    /// The calls of the last time, 1 s to 10 min, to a tenth of it.
    Time(Duration),
}

impl Window {
    /// How long its calls are remembered where no further ones come.
    fn lasts(self) -> Duration {
        match self {
            Window::Calls(_) => CALLS_LAST,
            Window::Time(time) => time,
        }
    }
}

impl LocalBreaker {
    /// Rules over this window; the defaults of the rest stand with each method.
    #[must_use]
    pub fn over(window: Window) -> LocalBreaker {
        LocalBreaker {
            window,
            failure_percent: None,
            slow: None,
            consecutive_failures: None,
            min_calls: 20,
            open_for: Duration::from_secs(5),
            trials: 3,
        }
    }

    /// Trips when this share of the window's calls has failed, in percent.
    #[must_use]
    pub fn failure_percent(self, percent: u32) -> LocalBreaker {
        LocalBreaker { failure_percent: Some(percent), ..self }
    }

    /// Trips when this share of the window's calls took longer than `longer_than`, in percent, however they ended.
    #[must_use]
    pub fn slow_calls(self, longer_than: Duration, percent: u32) -> LocalBreaker {
        LocalBreaker { slow: Some((longer_than, percent)), ..self }
    }

    /// Trips at so many failures without a success between them, however few calls the window holds.
    #[must_use]
    pub fn consecutive_failures(self, failures: u32) -> LocalBreaker {
        LocalBreaker { consecutive_failures: Some(failures), ..self }
    }

    /// How many calls the window must hold before a share counts; 20 otherwise.
    #[must_use]
    pub fn min_calls(self, calls: u32) -> LocalBreaker {
        LocalBreaker { min_calls: calls, ..self }
    }

    /// How long nothing is called after a trip; 5 s otherwise.
    #[must_use]
    pub fn open_for(self, time: Duration) -> LocalBreaker {
        LocalBreaker { open_for: time, ..self }
    }

    /// How many calls must then succeed one by one or side by side, before all are made again; 3 otherwise. One that fails opens it again.
    #[must_use]
    pub fn trials(self, calls: u32) -> LocalBreaker {
        LocalBreaker { trials: calls, ..self }
    }
}

/// A local breaker at work.
#[derive(Debug)]
pub(crate) struct Local {
    started: Instant,
    slow_after: Option<Duration>,
    /// The machine's generation, doubled; one more while it is not closed. Written only where the machine changes.
    phase: AtomicU64,
    machine: Apart,
}

/// On lines of its own: what ends must not take the line from those who ask.
#[derive(Debug)]
#[repr(align(128))]
struct Apart(Mutex<Machine>);

/// Leave to make one call. Dropped without an end, the call was cancelled and says nothing.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    local: &'a Local,
    generation: u64,
    is_pending: bool,
}

impl Local {
    pub(crate) fn new(rules: LocalBreaker) -> Local {
        let slow_after = rules.slow.map(|(after, _)| after);
        let machine = Apart(Mutex::new(Machine::new(rules)));
        Local { started: Instant::now(), slow_after, phase: AtomicU64::new(0), machine }
    }

    /// How long a call made now would be refused for; none: it may be made. Takes no place from anybody.
    pub(crate) fn refuses(&self) -> Option<Duration> {
        let is_closed = self.phase.load(Ordering::Relaxed).is_multiple_of(2);
        if is_closed { None } else { self.lock().refuses(self.started.elapsed()) }
    }

    /// May a call be made?
    pub(crate) fn admit(&self) -> Result<Ticket<'_>, Duration> {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase.is_multiple_of(2) {
            return Ok(Ticket { local: self, generation: phase / 2, is_pending: true });
        }
        let mut machine = self.lock();
        let admitted = machine.admit(self.started.elapsed());
        self.publish(&machine);
        admitted.map(|generation| Ticket { local: self, generation, is_pending: true })
    }

    /// Open and for how long, or half-open; none: it is closed. Looks at one number while it is.
    pub(crate) fn stand(&self) -> Option<(State, Duration)> {
        let is_closed = self.phase.load(Ordering::Relaxed).is_multiple_of(2);
        if is_closed { None } else { self.lock().stand(self.started.elapsed()) }
    }

    /// Whether a new one in its place would do: it lets every call through and the last one was good, or all that it remembers is over.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.lock().is_at_rest(self.started.elapsed())
    }

    fn publish(&self, machine: &Machine) {
        let phase = machine.generation() * 2 + u64::from(!machine.is_closed());
        if self.phase.load(Ordering::Relaxed) != phase {
            self.phase.store(phase, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Notes how the call ended. Some: that tripped the breaker.
    pub(crate) fn end(mut self, ended: Ended, took: Duration, now: Instant) -> Option<Why> {
        let failed = match ended {
            Ended::Success => false,
            Ended::Failure | Ended::Timeout => true,
            Ended::Cancelled
            | Ended::Refused
            | Ended::Overflow
            | Ended::Tripped
            | Ended::Injected
            | Ended::NotSent => return None,
        };
        self.is_pending = false;
        let slow = self.local.slow_after.is_some_and(|after| took > after);
        let mut machine = self.local.lock();
        let now = now.saturating_duration_since(self.local.started);
        let why = machine.ended(self.generation, window::Mark { failed, slow }, now);
        self.local.publish(&machine);
        why
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.is_pending {
            return;
        }
        // In the closed state nobody holds a place, and places of an older generation are gone: no lock is needed.
        let phase = self.local.phase.load(Ordering::Relaxed);
        if !phase.is_multiple_of(2) && phase / 2 == self.generation {
            self.local.lock().cancelled(self.generation);
        }
    }
}
