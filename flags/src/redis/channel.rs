//! Changes as they are published beside the stream: the fast way, and never the truth.
//!
//! A thousand readers that block on a stream each make the server run their read again when it wakes them; those of a channel are
//! handed the same text. What a channel loses shows in the stream, which is read once a wait in any case, and in `rev`; what it
//! brought and the stream does not have is taken back. Who publishes nothing, or may not subscribe, is followed by the stream alone.
//!
//! Left out: shard channels. An ordinary one reaches every node of a cluster, and changes are few.

use super::connection::Shared;
use super::forms::{Place, message_of, parse_change, parse_message, place};
use super::route::{CONNECT_TIMEOUT_MS, Connection, Route, subscribe, within};
use crate::store::{CHANGES_PER_READ_MAX, Change, Position};
use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt};
use redis::aio::PubSubStream;
use redis::streams::StreamId;
use redis::{Msg, RedisError};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the stream alone is read after a subscription broke; drawn each time, so that a fleet does not subscribe at once.
const BROKEN_REST_MS: std::ops::Range<u64> = 1_000..5_000;
/// The same after one that was refused, or brought less or more than the stream: neither passes soon.
const USELESS_REST_MS: u64 = 600_000;
/// How long messages alone are waited for until the stream is looked at; drawn each time, so that readers who hear the same do not all ask
/// at the same moment.
const LOOK_EVERY_MS: std::ops::Range<u64> = 750..1_000;
/// How much later than the stream a channel may bring a change.
const LATE_MAX_MS: u64 = 500;

/// The subscriptions of a store, each used by one reader at a time.
pub(super) struct Channel {
    route: Arc<Route>,
    /// Where writers publish, as the scope's meta says; none: nowhere.
    name: Mutex<Option<Arc<str>>>,
    /// At most as many as ever read at the same time.
    #[allow(clippy::vec_box, reason = "each is taken and given back for every message")]
    idle: Mutex<Vec<Box<Subscription>>>,
    rest_until: Mutex<Option<Instant>>,
}

/// One connection that is subscribed, and how far its reader is.
pub(super) struct Subscription {
    messages: PubSubStream,
    to: Arc<str>,
    /// Opened by the way that this one was.
    beside: Connection,
    /// Up to where its reader has everything; none: not known, so the stream has to be read first.
    at: Option<Position>,
    /// When the stream was read last, until when that is enough, and up to where it was.
    read_at: Instant,
    look_every: Duration,
    read_to: Position,
    /// Set for each message anew, it would cost as much as the message.
    timer: Pin<Box<Sleep>>,
    /// What was taken since; the stream has to have it too.
    heard: Vec<Message>,
    digests: RandomState,
    /// A change that the stream brought first, and when it did.
    owed: Option<(Place, Instant)>,
}

/// What is kept of a message that was taken.
struct Message {
    at: Place,
    digest: u64,
    /// The number of its change; the largest there is if it cannot be read.
    rev: u64,
}

/// What came of waiting.
pub(super) enum Heard {
    /// These, in the channel's order; the position has moved on behind them.
    Changes(Vec<Change>),
    /// Nothing in that time.
    Nothing,
    /// The connection is gone.
    Ended,
}

impl Channel {
    pub(super) fn new(route: Arc<Route>) -> Channel {
        Channel { route, name: Mutex::default(), idle: Mutex::default(), rest_until: Mutex::default() }
    }

    /// Notes where writers publish; none: nowhere.
    pub(super) fn is_called(&self, name: Option<&str>) {
        let mut known = lock(&self.name);
        if known.as_deref() != name {
            *known = name.map(Arc::from);
        }
    }

    /// A subscription for a reader at `position`; none: read the stream.
    pub(super) async fn subscription(
        &self,
        shared: &Shared,
        position: &Position,
    ) -> Option<Box<Subscription>> {
        let name = lock(&self.name).clone().filter(|_| !self.rests())?;
        if let Some(idle) = self.take_idle(&name, position) {
            return Some(idle);
        }
        // Apart: what opening takes is not to lie in the future of each wait.
        match Box::pin(self.open(shared, name, position)).await {
            Ok(subscription) => Some(Box::new(subscription)),
            Err(error) => {
                let refused = error.clone().into_server_errors().is_some();
                self.rest(if refused { USELESS_REST_MS } else { fastrand::u64(BROKEN_REST_MS) });
                tracing::debug!(%error, "no subscription: changes come by the stream alone");
                None
            }
        }
    }

    /// Gives one back for the next read.
    pub(super) fn keep(&self, subscription: Box<Subscription>) {
        lock(&self.idle).push(subscription);
    }

    /// A subscription has broken: for a while the stream alone is read.
    pub(super) fn broke(&self) {
        self.rest(fastrand::u64(BROKEN_REST_MS));
    }

    /// Changes that the stream has are not published: for long the stream alone is read.
    pub(super) fn is_useless(&self) {
        tracing::debug!("changes are missing in the channel: they come by the stream alone");
        self.rest(USELESS_REST_MS);
    }

    /// Somebody publishes what the stream does not have: for long the stream alone is read.
    pub(super) fn is_untrue(&self) {
        tracing::warn!(
            "changes were published that the store does not have: they are taken back, and changes come by the stream alone"
        );
        self.rest(USELESS_REST_MS);
    }

    /// Whether what a subscription brought and what the store says now come from the same place.
    pub(super) fn is_current(&self, subscription: &Subscription) -> bool {
        self.route.is_current(&subscription.beside)
    }

    async fn open(
        &self,
        shared: &Shared,
        to: Arc<str>,
        position: &Position,
    ) -> Result<Subscription, RedisError> {
        let beside = shared.current().await?;
        let messages = within(CONNECT_TIMEOUT_MS, subscribe(&beside, &to)).await?;
        let (now, read_to) = (Instant::now(), position.clone());
        let (heard, digests) = (Vec::new(), RandomState::new());
        let (read_at, look_every, timer) = (now, look_every(), Box::pin(sleep_until(now)));
        Ok(Subscription {
            messages,
            to,
            beside,
            at: None,
            read_at,
            look_every,
            read_to,
            timer,
            heard,
            digests,
            owed: None,
        })
    }

    /// One that is current: that of the reader at this position, or any.
    fn take_idle(&self, name: &str, position: &Position) -> Option<Box<Subscription>> {
        let mut idle = lock(&self.idle);
        idle.retain(|idle| *idle.to == *name && self.route.is_current(&idle.beside));
        let own = idle.iter().position(|subscription| subscription.at.as_ref() == Some(position));
        match own {
            Some(own) => Some(idle.swap_remove(own)),
            None => idle.pop(),
        }
    }

    fn rests(&self) -> bool {
        lock(&self.rest_until).is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self, rest_ms: u64) {
        *lock(&self.rest_until) = Some(Instant::now() + Duration::from_millis(rest_ms));
        lock(&self.idle).clear();
    }
}

impl Subscription {
    /// Whether its reader has everything up to `position`, so that waiting for messages is enough.
    pub(super) fn may_wait(&self, position: &Position) -> bool {
        self.at.as_ref() == Some(position) && self.heard.len() < CHANGES_PER_READ_MAX
    }

    /// From where the stream has to be read so that it shows what a reader at `position` lacks, and what was heard.
    pub(super) fn read_from(&self, position: &Position) -> Position {
        let earlier = if place(&self.read_to.0) < place(&position.0) { &self.read_to } else { position };
        earlier.clone()
    }

    /// Compares what was heard with what the stream has up to `read_to`, and gives what a reader at `position` lacks; `position`
    /// moves on behind it.
    ///
    /// # Errors
    /// The number of the first change that the stream does not have.
    pub(super) fn compare(
        &mut self,
        entries: &[StreamId],
        read_to: Position,
        position: &mut Position,
    ) -> Result<Vec<Change>, u64> {
        let digest = |entry: &StreamId| Some(self.digests.hash_one(message_of(entry)?));
        let had: HashSet<u64> = entries.iter().filter_map(digest).collect();
        let end = place(&read_to.0);
        // A read that is full may end before the last of them.
        let is_whole = entries.len() < CHANGES_PER_READ_MAX;
        let (judged, later): (Vec<Message>, Vec<Message>) =
            self.heard.drain(..).partition(|message| is_whole || message.at <= end);
        self.heard = later;
        let untrue = judged.iter().filter(|message| !had.contains(&message.digest));
        if let Some(rev) = untrue.map(|message| message.rev).min() {
            return Err(rev);
        }
        let heard: HashSet<Place> = judged.iter().map(|message| message.at).collect();
        let (known, is_own) = (place(&position.0), self.at.as_ref() == Some(position));
        let lacks = |entry: &&StreamId| {
            let at = place(&entry.id);
            at > known || is_own && !heard.contains(&at)
        };
        let lacking: Vec<&StreamId> = entries.iter().filter(lacks).collect();
        if let (Some(last), true) = (lacking.last(), is_own) {
            // The channel has not brought it. It may be on its way.
            self.owed.get_or_insert((place(&last.id), Instant::now()));
        }
        if end > known {
            *position = read_to.clone();
        }
        (self.at, self.read_to) = (Some(position.clone()), read_to);
        (self.read_at, self.look_every) = (Instant::now(), look_every());
        Ok(lacking.into_iter().filter_map(parse_change).collect())
    }

    /// Whether it still owes what the stream had long ago.
    pub(super) fn is_overdue(&self) -> bool {
        self.owed.is_some_and(|(_, since)| since.elapsed() > Duration::from_millis(LATE_MAX_MS))
    }

    /// Waits for changes after `position` until the stream has to be read again, at most `wait` after it was last.
    pub(super) async fn wait(&mut self, position: &mut Position, wait: Duration) -> Heard {
        let until = self.read_at + wait.min(self.look_every);
        if self.timer.deadline() != until {
            self.timer.as_mut().reset(until);
        }
        let mut changes = Vec::new();
        while changes.is_empty() && self.heard.len() < CHANGES_PER_READ_MAX {
            match select(self.messages.next(), self.timer.as_mut()).await {
                Either::Left((Some(message), _)) => self.take(&message, position, &mut changes),
                Either::Left((None, _)) => return Heard::Ended,
                Either::Right(_) => return Heard::Nothing,
            }
        }
        // What else is there already.
        while self.heard.len() < CHANGES_PER_READ_MAX {
            let Some(Some(message)) = self.messages.next().now_or_never() else { break };
            self.take(&message, position, &mut changes);
        }
        self.at = Some(position.clone());
        Heard::Changes(changes)
    }

    /// Takes what is new. What cannot be read is left to the stream.
    fn take(&mut self, message: &Msg, position: &mut Position, changes: &mut Vec<Change>) {
        let payload = message.get_payload_bytes();
        let Some((id, change)) = parse_message(payload) else { return };
        let at = place(id);
        if self.owed.is_some_and(|(owed, _)| at >= owed) {
            self.owed = None;
        }
        if at > place(&position.0) {
            id.clone_into(&mut position.0);
            let change = change();
            let rev = change.as_ref().map_or(u64::MAX, |change| change.published.rev);
            self.heard.push(Message { at, digest: self.digests.hash_one(payload), rev });
            changes.extend(change);
        }
    }
}

fn look_every() -> Duration {
    Duration::from_millis(fastrand::u64(LOOK_EVERY_MS))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one step, so a panic leaves it whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
