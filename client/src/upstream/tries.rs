//! The engine: what happens around each try of a call, in one order for all doors.
//!
//! Ask the breaker; find room; ask again if that took a while; ask the local breaker; inject what a person ordered; call, with a limit of time; judge; count; perhaps
//! wait and try again. A door brings the call itself and its own loop, and nothing else.
//!
//! A call's future is moved and allocated as a whole, so what a call hardly ever needs (to wait in line, for a fault, for the next
//! try) is boxed when it comes to that, and does not make every call's future larger.

use super::bulkhead::{Full, Place};
use super::ends::Ends;
use super::lane::Lane;
use super::refusals::{Injected, Overflow, TimedOut, Timeout, Tripped};
use super::retries::{Retrying, Waits};
use crate::breaker::{Breaker, Refused};
use crate::call::CallError;
use crate::calls::{Ended, InFlight};
use crate::local::{Local, Ticket};
use crate::outcome::Classify;
use crate::tally::Aside;
use cutout_core::{Injection, Mark};
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;
use tower::retry::backoff::Backoff;
use tracing::{Instrument, Level, Span};

/// The tries of one call.
pub(crate) struct Tries<'a> {
    lane: &'a Lane,
    started: Instant,
    deadline: Instant,
    /// Whether the call may be made twice.
    repeatable: bool,
    /// Whether the budget of retries knows of this call.
    is_known: bool,
    /// None: it was not retried yet.
    waits: Option<Waits>,
    retried: u32,
    /// What a fault does to the next try. Drawn once for the call, as it is what the call meets and not what each try meets.
    injection: Option<Injection>,
}

/// Why a try was not made.
#[derive(Debug)]
pub(crate) enum NotSent {
    Refused(Refused),
    Overflow(Overflow),
    Tripped(Tripped),
    Injected(Injected),
}

impl NotSent {
    /// Whether another upstream is to be tried. Not after an injected fault, which stands for a vendor that fails; not after an overflow: too many calls would only be too many there.
    pub(crate) fn fails_over(&self) -> bool {
        matches!(self, NotSent::Refused(_) | NotSent::Tripped(_))
    }
}

impl<E> From<NotSent> for CallError<E> {
    fn from(not_sent: NotSent) -> CallError<E> {
        match not_sent {
            NotSent::Refused(refused) => CallError::Refused(refused),
            NotSent::Overflow(overflow) => CallError::Overflow(overflow),
            NotSent::Tripped(tripped) => CallError::Tripped(tripped),
            NotSent::Injected(injected) => CallError::Injected(injected),
        }
    }
}

impl From<Refused> for NotSent {
    fn from(refused: Refused) -> NotSent {
        NotSent::Refused(refused)
    }
}

impl<'a> Tries<'a> {
    /// A call that is tried once.
    pub(crate) fn once(lane: &'a Lane, started: Instant) -> Tries<'a> {
        let deadline = started + lane.settings().request_timeout;
        let (repeatable, is_known) = (false, false);
        Tries { lane, started, deadline, repeatable, is_known, waits: None, retried: 0, injection: None }
    }

    /// A call that may be retried, as far as the lane's settings say.
    pub(crate) fn many(lane: &'a Lane, started: Instant) -> Tries<'a> {
        Tries { repeatable: true, ..Tries::once(lane, started) }
    }

    /// Draws what a fault does to the call, which bears what `bears` tells.
    #[must_use]
    pub(crate) fn injected(self, bears: impl FnOnce(&Mark) -> bool) -> Tries<'a> {
        Tries { injection: self.lane.breaker().injects(bears), ..self }
    }

    /// Asks whoever has a say whether a try may be made, and waits for room.
    pub(crate) async fn enter(&mut self) -> Result<Try<'a>, NotSent> {
        let breaker = self.lane.breaker();
        // While it is not calm a share is admitted by chance: a call draws once, before it waits.
        let was_calm = breaker.is_calm();
        let _permit = breaker.admit()?;
        let local = self.lane.guards().local.as_ref();
        if let Some(retry_after) = local.and_then(Local::refuses) {
            return Err(self.tripped(retry_after));
        }
        let place = self.find_room().await?;
        if was_calm && place.as_ref().is_some_and(|place| place.waited) {
            let _permit = breaker.admit()?;
        }
        let ticket = match local.map(Local::admit) {
            None => None,
            Some(Ok(ticket)) => Some(ticket),
            Some(Err(retry_after)) => return Err(self.tripped(retry_after)),
        };
        self.begin_retrying();
        // A look at the clock costs about as much as all the rest of this, so the call's own beginning serves where nothing waited.
        let has_waited = self.retried > 0 || place.as_ref().is_some_and(|place| place.waited);
        let began = if has_waited { Instant::now() } else { self.started };
        let in_flight = breaker.calls().stripe().begin();
        let one = Try {
            lane: self.lane,
            deadline: self.deadline,
            began,
            in_flight,
            ticket,
            is_delayed: false,
            _place: place,
        };
        match self.injection.take() {
            None => Ok(one),
            Some(injection) => Box::pin(one.meet(injection)).await,
        }
    }

    /// Only a call that is made earns the budget anything: what is refused is no traffic that retries may be a share of.
    fn begin_retrying(&mut self) {
        if self.repeatable && !self.is_known {
            self.is_known = true;
            self.lane.guards().retrying.iter().for_each(Retrying::begin);
        }
    }

    async fn find_room(&self) -> Result<Option<Place<'a>>, NotSent> {
        let Some(room) = &self.lane.guards().room else { return Ok(None) };
        if let Some(place) = room.at_once() {
            return Ok(Some(place));
        }
        let found = Box::pin(room.wait(self.deadline, self.lane.breaker().tally().waiting())).await;
        found.map(Some).map_err(|full| {
            let breaker = self.lane.breaker();
            breaker.calls().stripe().count_end(Ended::Overflow);
            let waited = match full {
                Full::AtOnce => None,
                Full::InVain(waited) => Some(waited),
            };
            let max_concurrent = room.bounds.max_concurrent;
            NotSent::Overflow(Overflow { breaker: breaker.id().clone(), max_concurrent, waited })
        })
    }

    fn tripped(&self, retry_after: Duration) -> NotSent {
        let breaker = self.lane.breaker();
        breaker.calls().stripe().count_end(Ended::Tripped);
        NotSent::Tripped(Tripped { breaker: breaker.id().clone(), retry_after })
    }

    /// After a try that ended so: whether another one is to be made. Waits until it is time for it.
    pub(crate) async fn again(&mut self, ended: Ended) -> bool {
        match &self.lane.guards().retrying {
            Some(retrying) if self.is_known && matches!(ended, Ended::Failure | Ended::Timeout) => {
                Box::pin(self.wait_for_next(retrying)).await
            }
            _ => false,
        }
    }

    async fn wait_for_next(&mut self, retrying: &Retrying) -> bool {
        if self.retried >= retrying.retries_max {
            return false;
        }
        let wait = self.waits.get_or_insert_with(|| retrying.waits()).next_backoff();
        if wait.deadline() >= self.deadline {
            return false;
        }
        let tally = self.lane.breaker().tally();
        if !retrying.withdraw() {
            tally.aside(Aside::RetryWithheld);
            return false;
        }
        wait.await;
        tally.aside(Aside::Retry);
        self.retried += 1;
        true
    }

    /// Goes over to another lane, which has what is left of the time.
    pub(crate) fn fail_over<'b>(&self, second: &'b Lane) -> Tries<'b> {
        self.lane.breaker().tally().aside(Aside::Failover);
        Tries { repeatable: self.repeatable, ..Tries::once(second, self.started) }
    }
}

/// Of calls that are not requests with headers: faults that are for a header do not meet them.
pub(super) fn bears_nothing(_: &Mark) -> bool {
    false
}

/// The span of one try. None that costs anything where nobody looks: a span that is off still tells what it would have said where
/// another crate has made `tracing` write to `log`.
fn span(breaker: &Breaker) -> Span {
    if !tracing::enabled!(Level::DEBUG) {
        return Span::none();
    }
    let class = breaker.class();
    tracing::debug_span!("cutout_call", breaker = %breaker.id(), class, outcome = tracing::field::Empty)
}

/// One try that may be made.
pub(crate) struct Try<'a> {
    lane: &'a Lane,
    deadline: Instant,
    began: Instant,
    in_flight: InFlight<'a>,
    ticket: Option<Ticket<'a>>,
    /// Whether an injected fault has taken some of the call's time.
    is_delayed: bool,
    _place: Option<Place<'a>>,
}

impl<'a> Try<'a> {
    /// Carries a fault out: the wait, and the end. The wait ends with the call's time at the latest.
    async fn meet(self, Injection { delay_ms, aborts }: Injection) -> Result<Try<'a>, NotSent> {
        let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
        let from = Instant::now();
        let left = self.deadline.saturating_duration_since(from);
        if !delay.is_zero() {
            self.lane.breaker().tally().aside(Aside::InjectedDelay);
            tokio::time::sleep(delay.min(left)).await;
        }
        if aborts || delay >= left {
            let breaker = self.lane.breaker().id().clone();
            let after = if delay.is_zero() { delay } else { from.elapsed() };
            self.in_flight.end(Ended::Injected);
            return Err(NotSent::Injected(Injected { breaker, after }));
        }
        // The vendor's time begins when it is asked.
        Ok(Try { began: Instant::now(), is_delayed: !delay.is_zero(), ..self })
    }
}

impl Try<'_> {
    /// What is left of the whole call's time.
    #[cfg(any(feature = "tower", feature = "reqwest"))]
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(self.began)
    }

    /// Makes the call, by a door that knows its errors so. Yields its end for the caller, and as it was judged.
    pub(crate) async fn run<D, T, E, C>(
        self,
        call: impl Future<Output = Result<T, E>>,
        classify: &C,
    ) -> (Result<T, CallError<E>>, Ended)
    where
        D: Ends<E>,
        C: Classify<Result<T, E>>,
    {
        let span = span(self.lane.breaker());
        let began = self.began;
        let (timeout, until) = self.limit();
        let mut call = pin!(call.instrument(span));
        let result = if D::KEEPS_TIME && timeout == Timeout::Request {
            Ok(call.as_mut().await)
        } else {
            tokio::time::timeout_at(until, call.as_mut()).await
        };
        let took = began.elapsed();
        let (result, ended) = match result {
            Err(_) => (Err(self.over(timeout, until, took).into()), Ended::Timeout),
            Ok(Ok(answer)) => {
                let result = Ok(answer);
                let ended = classify.classify(&result).into();
                (result.map_err(CallError::Failed), ended)
            }
            Ok(Err(error)) => self.failed::<D, _, _, _>(error, until, took, classify),
        };
        // With the time that a fault took, the vendor might have answered. The end of a try's own time is the vendor's.
        let was_cut = self.is_delayed && timeout == Timeout::Request && began + took >= until;
        let is_failure = matches!(ended, Ended::Failure | Ended::Timeout);
        let ended = if was_cut && is_failure { Ended::Injected } else { ended };
        call.span().record("outcome", ended.word());
        self.end(ended, took);
        (result, ended)
    }

    /// Which limit ends this try, and when.
    fn limit(&self) -> (Timeout, Instant) {
        match self.lane.settings().try_timeout {
            Some(each) if self.began + each < self.deadline => (Timeout::Try, self.began + each),
            _ => (Timeout::Request, self.deadline),
        }
    }

    /// What becomes of an error: something of this crate, which says what it means by itself, or the call's own.
    fn failed<D, T, E, C>(
        &self,
        error: E,
        until: Instant,
        took: Duration,
        classify: &C,
    ) -> (Result<T, CallError<E>>, Ended)
    where
        D: Ends<E>,
        C: Classify<Result<T, E>>,
    {
        let error = match D::within(error) {
            Ok(within) if within.is_not_sent() => return (Err(within.widened()), Ended::NotSent),
            Ok(within) => return (Err(within.widened()), Ended::Timeout),
            Err(error) => error,
        };
        if let Some(limit) = D::timed_out(&error) {
            return (Err(self.over(limit, until, took).into()), Ended::Timeout);
        }
        let result = Err(error);
        let ended = classify.classify(&result).into();
        (result.map_err(CallError::Failed), ended)
    }

    /// What is told of a try that a limit has ended, by `until` at the latest. A door cannot tell silence from the end of the whole time;
    /// of the two silence ends first.
    fn over(&self, limit: Timeout, until: Instant, took: Duration) -> TimedOut {
        let given = until.duration_since(self.began);
        let idle = self.lane.settings().idle_timeout.filter(|_| limit == Timeout::Request);
        let timeout =
            if idle.is_some_and(|idle| idle <= took && took < given) { Timeout::Idle } else { limit };
        TimedOut { breaker: self.lane.breaker().id().clone(), timeout, after: took.min(given) }
    }

    fn end(self, ended: Ended, took: Duration) {
        self.in_flight.end_after(ended, took);
        let Some(why) = self.ticket.and_then(|ticket| ticket.end(ended, took, self.began + took)) else {
            return;
        };
        let breaker = self.lane.breaker();
        breaker.tally().aside(Aside::LocalTrip);
        let open_ms = self.lane.settings().local.map(|rules| rules.open_for.as_millis());
        tracing::warn!(
            breaker = %breaker.id(), class = breaker.class(), why = %why, open_ms,
            "this process stops calling by itself; the fleet's breaker is not touched"
        );
    }
}
