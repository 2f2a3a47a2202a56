//! What stands in the store, read by the store's own reader.

use crate::world::Monitor;
use cutout_core::{BreakerId, State};
use cutout_flags::{RedisStore, Store};
use cutout_tests::redis::RedisServer;
use redis::streams::StreamRangeReply;
use serde_json::Value;
use std::collections::HashMap;

/// Records and flags of all groups, as of one moment.
pub(crate) struct Found {
    records: HashMap<BreakerId, Value>,
    open: HashMap<BreakerId, bool>,
    /// Under which epoch they stand.
    pub(crate) epoch: Option<String>,
    /// Whether a flag has a number that the scope has not reached.
    pub(crate) rev_is_behind: bool,
}

/// Reads what a Redis holds of these monitors.
pub(crate) async fn find(server: &RedisServer, monitors: &[Monitor]) -> Found {
    let store = RedisStore::new(&server.url(), "default").unwrap();
    let ids: Vec<BreakerId> = monitors.iter().flat_map(Monitor::must_be_open).map(|(id, _)| id).collect();
    let read = store.read(&ids, None).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let records = ids.into_iter().zip(read.breakers);
    let records = records.filter_map(|(id, stored)| Some((id, serde_json::to_value(stored?.value).unwrap())));
    let rev = snapshot.meta.as_ref().map_or(0, |meta| meta.rev);
    Found {
        records: records.collect(),
        rev_is_behind: snapshot.flags.iter().any(|(_, published)| published.rev > rev),
        // Half-open ends by itself, so only open is told from the others.
        open: snapshot.flags.into_iter().map(|(id, p)| (id, p.flag.state == State::Open)).collect(),
        epoch: snapshot.meta.map(|meta| meta.epoch.as_str().to_owned()),
    }
}

impl Found {
    /// The newest change that is kept of a group, and whether it alerts.
    pub(crate) fn signal(&self, monitor_id: u64, bank: &str) -> Option<(i64, bool)> {
        let record = self.records.get(&BreakerId::new(crate::world::BREAKER, &[bank]))?;
        let latest = &record["signals"][format!("{monitor_id}|bank_code:{bank}")]["latest"];
        Some((latest["changed_at_ms"].as_i64()?, latest["status"] == "Alert"))
    }

    /// Who forces a breaker's state, and why; none: nobody does.
    pub(crate) fn forced(&self, id: &BreakerId) -> Option<(&str, &str)> {
        let forced = &self.records.get(id)?["override"];
        Some((forced["by"].as_str()?, forced["why"].as_str()?))
    }

    /// Whether a breaker's flag says open; none: it has no flag.
    pub(crate) fn is_open(&self, id: &BreakerId) -> Option<bool> {
        self.open.get(id).copied()
    }
}

/// Whether the stream's last change has the scope's number: the script that writes both was kept whole.
pub(crate) fn stream_is_whole(server: &RedisServer) -> bool {
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut both = redis::pipe();
    both.atomic().cmd("HGET").arg("cutout:{default}:meta").arg("rev");
    both.cmd("XREVRANGE").arg("cutout:{default}:changes").arg("+").arg("-").arg("COUNT").arg(1);
    let (rev, last): (Option<u64>, StreamRangeReply) = both.query(&mut connection).unwrap();
    last.ids.first().map_or(Some(0), |entry| entry.get("rev")) == Some(rev.unwrap_or(0))
}
