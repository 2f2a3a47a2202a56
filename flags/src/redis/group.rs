//! Groups of readers of the audit stream: each entry goes to one of them, and to another one if that one is gone.
//!
//! What was handed out stays with its reader until he says that he is done; who has not kept it for a while has died. An entry that
//! cannot be read is done at once, since nobody of this version could ever finish it. What the stream let go is counted: what was handed
//! out and never finished, and what no reader came to.

use super::RedisStore;
use super::errors::store_error;
use super::forms::parse_audited;
use crate::audit::{AuditId, Audited, TakenOver};
use crate::store::StoreError;
use redis::RedisError;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use std::time::Duration;

/// How long a reader that holds nothing may have been away before he is forgotten.
const READER_AWAY_MAX_MS: u64 = 3_600_000;

impl RedisStore {
    pub(super) async fn make_group(&self, group: &str, from_start: bool) -> Result<(), StoreError> {
        let mut script = self.group.prepare_invoke();
        script.key(&self.keys.audit).arg(group).arg(if from_start { "0" } else { "$" });
        script.arg(READER_AWAY_MAX_MS);
        self.run("making a group of readers", &script).await
    }

    pub(super) async fn next_for(
        &self,
        group: &str,
        reader: &str,
        wait: Duration,
    ) -> Result<Option<Audited>, StoreError> {
        // BLOCK 0 would wait for ever.
        let block_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(group).arg(reader).arg("COUNT").arg(1).arg("BLOCK").arg(block_ms);
        command.arg("STREAMS").arg(&self.keys.audit).arg(">");
        let request = async |mut connection| command.query_async(&mut connection).await;
        let answer: Result<Option<StreamReadReply>, RedisError> = self.blocking.ask(wait, request).await;
        let answer = answer.map_err(|error| store_error("waiting for audit entries", error))?;
        let entry = answer.into_iter().flat_map(|answer| answer.keys).flat_map(|stream| stream.ids).next();
        self.readable(group, entry).await
    }

    pub(super) async fn take_over_for(
        &self,
        group: &str,
        reader: &str,
        idle: Duration,
    ) -> Result<TakenOver, StoreError> {
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let mut pipeline = redis::pipe();
        pipeline.cmd("XAUTOCLAIM").arg(&self.keys.audit).arg(group).arg(reader).arg(idle_ms);
        pipeline.arg("0-0").arg("COUNT").arg(1);
        let (answer,): (StreamAutoClaimReply,) = self.ask("taking over audit entries", pipeline).await?;
        let trimmed = answer.deleted_ids.len();
        let entry = self.readable(group, answer.claimed.into_iter().next()).await?;
        let mut script = self.unread.prepare_invoke();
        script.key(&self.keys.audit).arg(group);
        let unread = self.run("counting lost audit entries", &script).await?;
        Ok(TakenOver { entry, trimmed, unread })
    }

    pub(super) async fn keep_for(&self, group: &str, reader: &str, id: AuditId) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("XCLAIM").arg(&self.keys.audit).arg(group).arg(reader).arg(0).arg(id.to_string());
        pipeline.arg("JUSTID").ignore();
        self.ask("keeping an audit entry", pipeline).await
    }

    pub(super) async fn done_for(&self, group: &str, id: AuditId) -> Result<(), StoreError> {
        self.acknowledge(group, &id.to_string()).await
    }

    async fn acknowledge(&self, group: &str, id: &str) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("XACK").arg(&self.keys.audit).arg(group).arg(id).ignore();
        self.ask("finishing an audit entry", pipeline).await
    }

    /// An entry that was handed out, if this version can read it.
    async fn readable(&self, group: &str, entry: Option<StreamId>) -> Result<Option<Audited>, StoreError> {
        let Some(entry) = entry else { return Ok(None) };
        let audited = parse_audited(&entry);
        if audited.is_none() {
            self.acknowledge(group, &entry.id).await?;
        }
        Ok(audited)
    }
}
