//! Changes as they happen, as server-sent events.
//!
//! The id of an event is the epoch and the number of a change, so a reader who comes back (`Last-Event-ID`) goes on where
//! he was, at any instance: he gets the newest flag of each breaker that changed since. What he knows from another epoch is
//! told to be useless by `reset`, which is also how a stream begins that has nothing to go on from: read the list then.
//!
//! A stream ends with its token, after a quarter of an hour, or when the service stops; readers come back by themselves.

use super::Api;
use super::model::{BreakerSummary, PauseState, PauseView};
use super::operator::Looker;
use super::problem::Problem;
use crate::board::{Board, News, Seen};
use crate::operators::Operator;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cutout_core::Pause;
use cutout_flags::Epoch;
use futures_util::stream::unfold;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

/// How long one stream lasts at the most.
const STREAM_MAX: Duration = Duration::from_secs(900);
/// How often a stream on which nothing happens shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How soon a reader comes back.
const RETRY: Duration = Duration::from_secs(2);
/// How many flags are taken at a time.
const NEWS_MAX: usize = 100;

/// The header in which a reader says how far it has come.
const LAST_EVENT_ID: &str = "last-event-id";

/// One reader.
struct Reader {
    api: Arc<Api>,
    seen: Option<Seen>,
    /// The pause that was told; none: nothing was told yet.
    pause: Option<Option<Pause>>,
    queue: VecDeque<Event>,
    changed: watch::Receiver<()>,
    closing: watch::Receiver<bool>,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

/// Follows the changes of all breakers: events `flag` (a breaker as in the list), `pause`, and `reset` (read the list again).
#[utoipa::path(get, path = "/v1/changes", tag = "breakers",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen")),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream")))]
pub(crate) async fn changes(
    State(api): State<Arc<Api>>,
    Looker(operator): Looker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = api.stream_place()?;
    api.scope()?;
    let board = api.board();
    let (changed, closing) = (board.watch(), api.shared.closing.subscribe());
    api.shared.pause_asked.notify_one();
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let seen = last.and_then(|id| seen(board, id));
    let ends = Instant::now() + lasts(&operator, Timestamp::now());
    let reader =
        Reader { api, seen, pause: None, queue: VecDeque::new(), changed, closing, ends, _place: place };
    let events = unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// How long a stream of this operator lasts: not beyond the token.
fn lasts(operator: &Operator, now: Timestamp) -> Duration {
    let left = operator.expires_at.map(|expires_at| expires_at.as_millisecond() - now.as_millisecond());
    let left = left.map(|left_ms| Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)));
    left.map_or(STREAM_MAX, |left| left.min(STREAM_MAX))
}

/// The place that an event's id names.
fn seen(board: &Board, id: &str) -> Option<Seen> {
    let (epoch, rev) = id.rsplit_once('-')?;
    let losses = board.start()?.losses;
    Some(Seen { epoch: Epoch::from_stored(epoch.to_owned()), rev: rev.parse().ok()?, losses })
}

fn event(name: &str, seen: &Seen, data: &serde_json::Value) -> Event {
    let id = format!("{}-{}", seen.epoch.as_str(), seen.rev);
    Event::default().event(name).id(id).retry(RETRY).data(data.to_string())
}

impl Reader {
    /// The next event; none: the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            // Marked before the look, so that a change between the look and the wait is not missed.
            self.changed.mark_unchanged();
            self.look();
            if !self.queue.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                _ = self.closing.wait_for(|closing| *closing) => return None,
                () = tokio::time::sleep_until(self.ends) => return None,
            }
        }
    }

    /// Queues what is new.
    fn look(&mut self) {
        let board = &self.api.shared.board;
        let Some(scope) = board.scope() else { return };
        let news = match &self.seen {
            Some(seen) => board.news(seen, NEWS_MAX),
            None => board.start().map(News::Reset),
        };
        match news {
            Some(News::Reset(start)) => {
                let data = json!({"epoch": start.epoch.as_str(), "rev": start.rev});
                self.queue.push_back(event("reset", &start, &data));
                self.seen = Some(start);
            }
            Some(News::Flags(flags)) => {
                for (id, published) in flags {
                    let Some(seen) = &mut self.seen else { continue };
                    seen.rev = published.rev;
                    let shown = BreakerSummary::of(&id, &published, scope.now_ms);
                    self.queue.push_back(event("flag", seen, &json!(shown)));
                }
            }
            None => {}
        }
        let pause = scope.pause().cloned();
        if let Some(seen) = self.seen.as_ref().filter(|_| self.pause.as_ref() != Some(&pause)) {
            let state = PauseState { pause: pause.as_ref().map(PauseView::from) };
            self.queue.push_back(event("pause", seen, &json!(state)));
            self.pause = Some(pause);
        }
    }
}
