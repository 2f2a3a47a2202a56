//! How changes are followed: by the channel with the stream behind it, or by the stream alone.
//!
//! The stream is the truth. What it has and the channel does not comes a second later, and what the channel brings and the stream
//! does not have is taken back.

use super::RedisStore;
use super::channel::{Heard, Subscription};
use super::errors::store_error;
use super::forms::parse_change;
use crate::store::{CHANGES_PER_READ_MAX, Change, Position, StoreError};
use redis::RedisError;
use redis::streams::{StreamId, StreamReadReply};
use std::time::Duration;

impl RedisStore {
    /// Reads the stream on from `position`, which moves on behind what is returned. Waits so long if nothing is there.
    async fn read_on(
        &self,
        position: &mut Position,
        wait: Option<Duration>,
    ) -> Result<Vec<StreamId>, StoreError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(CHANGES_PER_READ_MAX);
        if let Some(wait) = wait {
            // BLOCK 0 would wait for ever.
            command.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        command.arg("STREAMS").arg(&self.keys.changes).arg(&position.0);
        let request = async |mut connection| command.query_async(&mut connection).await;
        let answer: Result<Option<StreamReadReply>, RedisError> = match wait {
            Some(wait) => self.blocking.ask(wait, request).await,
            None => self.shared.ask(request).await,
        };
        let answer = answer.map_err(|error| store_error("waiting for changes", error))?;
        let entries = answer.into_iter().flat_map(|answer| answer.keys).flat_map(|stream| stream.ids);
        let entries: Vec<StreamId> = entries.collect();
        if let Some(last) = entries.last() {
            position.0.clone_from(&last.id);
        }
        Ok(entries)
    }

    /// The same, as changes.
    pub(super) async fn read_changes(
        &self,
        position: &mut Position,
        wait: Option<Duration>,
    ) -> Result<Vec<Change>, StoreError> {
        Ok(changes_of(&self.read_on(position, wait).await?))
    }

    /// Waits for changes in the channel, and looks what the stream has before and after.
    pub(super) async fn hear(
        &self,
        mut subscription: Box<Subscription>,
        position: &mut Position,
        wait: Duration,
    ) -> Result<Vec<Change>, StoreError> {
        loop {
            // Else something was published before it was subscribed, or before its reader came here.
            let waits = subscription.may_wait(position);
            if waits {
                match subscription.wait(position, wait).await {
                    Heard::Changes(changes) => {
                        self.channel.keep(subscription);
                        return Ok(changes);
                    }
                    Heard::Ended => {
                        self.channel.broke();
                        // What was heard and not compared is read once more.
                        *position = subscription.read_from(position);
                        return Box::pin(self.read_changes(position, None)).await;
                    }
                    Heard::Nothing => {}
                }
            }
            // Apart, as all that is not the wait for a message: its future is made anew for each.
            let changes = Box::pin(self.look(&mut subscription, position)).await?;
            if subscription.is_overdue() {
                self.channel.is_useless();
                return Ok(changes);
            }
            if waits || !changes.is_empty() {
                self.channel.keep(subscription);
                return Ok(changes);
            }
        }
    }

    /// Reads the stream, and takes back what the channel alone has brought.
    async fn look(
        &self,
        subscription: &mut Subscription,
        position: &mut Position,
    ) -> Result<Vec<Change>, StoreError> {
        let mut read_to = subscription.read_from(position);
        let entries = self.read_on(&mut read_to, None).await?;
        if !self.channel.is_current(subscription) {
            // Another primary may have lost the last changes: that is for the next snapshot to judge.
            *position = read_to;
            return Ok(changes_of(&entries));
        }
        subscription.compare(&entries, read_to, position).map_err(|from_rev| {
            self.channel.is_untrue();
            StoreError::Retracted { from_rev }
        })
    }
}

fn changes_of(entries: &[StreamId]) -> Vec<Change> {
    entries.iter().filter_map(parse_change).collect()
}
