//! Who wants to be told when a breaker changes its state.
//!
//! Told are changes as callers see them, whatever brought them: news of the store, time alone (the end of a ramp), or a store
//! that is silent for too long. A listener that does not keep up loses the oldest and is told how many; nobody waits for it.
//! Left out: the level. It stands in `Client::breakers`.

use crate::cell::Stand;
use cutout_core::{BreakerId, State};
use futures_util::{Stream, StreamExt, stream};
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many transitions wait for a listener; of more the oldest are dropped, and counted as [`Missed`].
///
/// ```
/// assert_eq!(cutout::TRANSITIONS_KEPT, 1_024);
/// ```
pub const TRANSITIONS_KEPT: usize = 1_024;

/// A breaker changed, as calls without a class see it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{State, Transition};
///
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let mut transitions = fake.client().transitions();
/// fake.watch("bank-charge", &["0001"])?;
/// let Transition { breaker, from, to, would, at, .. } = transitions.next().await.ok_or("the client is gone")??;
/// assert_eq!((breaker.as_str(), from, to), ("bank-charge/0001", State::Closed, State::Closed));
/// assert_eq!(would, Some(State::Open), "in watch mode nobody is refused");
/// assert!(at <= std::time::SystemTime::now());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// Which breaker.
    pub breaker: BreakerId,
    /// What calls got before.
    pub from: State,
    /// What they get now. The same as before if only `would` changed.
    pub to: State,
    /// What was decided, where that is not carried out: in watch mode, or because openings are held back.
    pub would: Option<State>,
    /// When this process learnt of it, by the store's clock.
    pub at: SystemTime,
}

/// So many transitions were dropped because the listener did not keep up: look at [`Client::breakers`](crate::Client::breakers).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{Missed, TRANSITIONS_KEPT};
///
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let mut transitions = fake.client().transitions();
/// for bank in 0..TRANSITIONS_KEPT + 3 {
///     fake.open("bank-charge", &[bank.to_string()])?;
/// }
/// assert_eq!(transitions.next().await, Some(Err(Missed(3))));
/// assert!(matches!(transitions.next().await, Some(Ok(opened)) if opened.breaker.as_str() == "bank-charge/3"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transitions were dropped because the listener did not keep up", self.0)
    }
}

impl std::error::Error for Missed {}

/// The transitions of all breakers of a client, from the moment of asking for them. A stream; ends with the client.
///
/// The order is that in which they happened. To know where breakers stand at the start, list them *after* asking for this:
/// nothing is lost between. Changes that time alone brings are told within a second. With the store gone only those come, for 90 s
/// ([`FROZEN_AFTER_MS`](crate::FROZEN_AFTER_MS)), and what a [`MaxStaleness`](crate::MaxStaleness) does; once it answers again, where each breaker
/// stands then, if that is another state.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let mut transitions = fake.client().transitions();
/// fake.open("bank-charge", &["0001"])?;
/// let opened = transitions.next().await.ok_or("the client is gone")??;
/// assert_eq!((opened.breaker.as_str(), opened.to), ("bank-charge/0001", cutout::State::Open));
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct Transitions(Pin<Box<dyn Stream<Item = Result<Transition, Missed>> + Send>>);

impl Transitions {
    /// The next one; none: the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Transition, Missed>> {
        StreamExt::next(&mut self.0).await
    }
}

impl Stream for Transitions {
    type Item = Result<Transition, Missed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for Transitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transitions").finish_non_exhaustive()
    }
}

/// All listeners of a client.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Sending>);

/// Made by the first listener: most programs have none.
#[derive(Debug, Default)]
enum Sending {
    #[default]
    Nobody,
    To(broadcast::Sender<Transition>),
    Ended,
}

impl Listeners {
    pub(crate) fn listen(&self) -> Transitions {
        let mut sending = self.lock();
        if matches!(*sending, Sending::Nobody) {
            *sending = Sending::To(broadcast::Sender::new(TRANSITIONS_KEPT));
        }
        let receiver = match &*sending {
            Sending::To(sender) => Some(sender.subscribe()),
            Sending::Nobody | Sending::Ended => None,
        };
        Transitions(Box::pin(stream::unfold(receiver, hear)))
    }

    /// Tells that a breaker turned from one stand to another.
    pub(crate) fn tell(&self, id: &BreakerId, (from, to): (Stand, Stand), at: SystemTime) {
        let would = (to.would != to.state).then_some(to.would);
        tracing::debug!(breaker = %id, from = %from.state, to = %to.state, would = ?would, "a breaker changed");
        if let Sending::To(sender) = &*self.lock() {
            let transition = Transition { breaker: id.clone(), from: from.state, to: to.state, would, at };
            // An error means that nobody listens any more.
            let _ = sender.send(transition);
        }
    }

    /// The client is gone: nothing will be told any more.
    pub(crate) fn end(&self) {
        *self.lock() = Sending::Ended;
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Receiver = Option<broadcast::Receiver<Transition>>;

async fn hear(receiver: Receiver) -> Option<(Result<Transition, Missed>, Receiver)> {
    let mut receiver = receiver?;
    let heard = match receiver.recv().await {
        Ok(transition) => Ok(transition),
        Err(RecvError::Lagged(missed)) => Err(Missed(missed)),
        Err(RecvError::Closed) => return None,
    };
    Some((heard, Some(receiver)))
}
