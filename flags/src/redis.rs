//! The store in Redis (or Valkey): the real one.
//!
//! Reads are one round trip, writes one small script that compares and sets, and those that come at the same time share it (`together`);
//! what a breaker's state should be is never decided here or there. `docs/redis.md` tells readers of other languages what stands where.
//!
//! Where the primary is, also behind sentinels and in a cluster, is the matter of `route`. Left out: retries (the callers').

mod channel;
mod connection;
mod errors;
mod forms;
mod group;
mod reads;
mod redirect;
mod role;
mod route;
mod sentinel;
mod tail;
mod together;
mod url;
mod writes;

use crate::audit::{AUDIT_PER_READ_MAX, AuditFrom, AuditId, AuditKept, Audited, TakenOver};
use crate::store::{
    Change, Committed, Epoch, Meta, Mistake, Position, Published, Read, Setting, Snapshot, Store, StoreError,
    Stored, Term, WRITES_PER_SCRIPT_MAX, Write,
};
use async_trait::async_trait;
use channel::Channel;
use connection::{Blocking, Shared};
use cutout_core::declaration::is_breaker_name;
use cutout_core::{BreakerId, Cause, Declared, MonitorSeen, Pause};
use errors::store_error;
use forms::{Keys, foreign, json, parse_audited, parse_pause, parse_published, parse_record};
use reads::{Reads, Time, unix_ms};
use redis::streams::StreamRangeReply;
use redis::{InfoDict, Pipeline, RedisError, Script, ScriptInvocation};
use route::Route;
use rustls::crypto::CryptoProvider;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use together::Together;
use writes::Writes;

/// The field of `INFO persistence` that says whether there is an append-only file: 0 or 1.
const AOF_FIELD: &str = "aof_enabled";
/// How long requests to Redis take, by what was being done and `ok` or `error`. Waiting for changes is not among them.
pub const REQUEST_SECONDS_METRIC: &str = "cutout_store_request_seconds";
/// The beginning of every stream.
const STREAM_START: &str = "0-0";

/// A store in Redis. Connects when first asked, and again by itself after any error.
pub struct RedisStore {
    keys: Arc<Keys>,
    shared: Arc<Shared>,
    blocking: Blocking,
    channel: Channel,
    reads: Together<Reads>,
    writes: Together<Writes>,
    declare: Script,
    pause: Script,
    group: Script,
    unread: Script,
    audit_kept: Arc<Mutex<AuditKept>>,
}

impl RedisStore {
    /// The scope `scope` in the Redis that `url` leads to: `redis://[user[:password]@]host[:port][/number]`, or
    /// `redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/primary[/number]`; `rediss` with TLS. The host may be
    /// any node of a cluster. Does not connect.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if `url` is none of these, or is one with TLS and the process has no rustls crypto
    /// provider, or `scope` is not spelled like a breaker's name.
    pub fn new(url: &str, scope: &str) -> Result<RedisStore, StoreError> {
        let start = url::parse(url);
        let mut mistakes = start.as_ref().err().cloned().unwrap_or_default();
        // Without one the first connection would panic, in the middle of whoever follows the flags.
        if url::wants_tls(url) && CryptoProvider::get_default().is_none() {
            let problem =
                "rediss:// needs a process-wide rustls crypto provider: call its install_default() first";
            mistakes.push(Mistake { setting: Setting::Url, problem });
        }
        if !is_breaker_name(scope) {
            let problem = "it has to be 1 to 100 of a-z 0-9 . _ -, a letter or digit first";
            mistakes.push(Mistake { setting: Setting::Scope, problem });
        }
        let (Ok(start), true) = (start, mistakes.is_empty()) else {
            return Err(StoreError::Unusable { mistakes });
        };
        let route = Arc::new(Route::new(start));
        let keys = Arc::new(Keys::new(scope));
        let shared = Arc::new(Shared::new(Arc::clone(&route)));
        let audit_kept = Arc::<Mutex<AuditKept>>::default();
        let writes = Writes {
            shared: Arc::clone(&shared),
            keys: Arc::clone(&keys),
            script: Script::new(include_str!("redis/commit.lua")),
            audit_kept: Arc::clone(&audit_kept),
        };
        Ok(RedisStore {
            blocking: Blocking::new(Arc::clone(&route)),
            channel: Channel::new(route),
            reads: Together::new(Reads { shared: Arc::clone(&shared), keys: Arc::clone(&keys) }),
            writes: Together::new(writes),
            shared,
            keys,
            declare: Script::new(include_str!("redis/declare.lua")),
            pause: Script::new(include_str!("redis/pause.lua")),
            group: Script::new(include_str!("redis/group.lua")),
            unread: Script::new(include_str!("redis/unread.lua")),
            audit_kept,
        })
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        doing: &'static str,
        pipeline: Pipeline,
    ) -> Result<T, StoreError> {
        let request = async |mut connection| pipeline.query_async(&mut connection).await;
        timed(doing, self.shared.ask(request)).await
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        doing: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let request = async |mut connection| script.invoke_async(&mut connection).await;
        timed(doing, self.shared.ask(request)).await
    }

    /// What `meta` says; none without an epoch.
    fn parse_meta(&self, mut meta: HashMap<String, String>) -> Result<Option<Meta>, StoreError> {
        let Some(epoch) = meta.remove("epoch") else { return Ok(None) };
        let place = |field: &str| format!("{} {field}", self.keys.meta);
        let rev = meta.get("rev").map_or(Ok(0), |rev| rev.parse());
        let rev = rev.map_err(|_| foreign(&place("rev"), "a number", None))?;
        let declared = serde_json::from_str(meta.get("declared").map_or("", String::as_str))
            .map_err(|error| foreign(&place("declared"), "declarations", Some(error)))?;
        let pause = parse_pause(&self.keys.meta, meta.get("pause").map(String::as_str))?;
        Ok(Some(Meta { epoch: Epoch::from_stored(epoch), rev, declared, pause }))
    }
}

impl fmt::Debug for RedisStore {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("meta", &self.keys.meta).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn declare(&self, declared: &Declared) -> Result<Term, StoreError> {
        let mut script = self.declare.prepare_invoke();
        script.key(&self.keys.meta).arg(Epoch::random().as_str()).arg(declared.revision);
        script.arg(json(&self.keys.meta, declared)?).arg(&self.keys.changes);
        let (epoch, revision): (String, u64) = self.run("declaring", &script).await?;
        Ok(Term { epoch: Epoch::from_stored(epoch), revision })
    }

    async fn read(&self, ids: &[BreakerId], monitor_id: Option<u64>) -> Result<Read, StoreError> {
        let answer = self.reads.ask(reads::Question::new(ids, monitor_id)).await?;
        answer.read(&self.keys, ids, monitor_id)
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        let monitors = &self.keys.monitors;
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(monitors);
        let (found,): (Vec<(String, String)>,) = self.ask("reading monitors", pipeline).await?;
        let parse = |(field, text): (String, String)| {
            let monitor_id =
                field.parse().map_err(|_| foreign(&format!("{monitors} {field}"), "a monitor", None))?;
            Ok((monitor_id, parse_record((monitors, &field), "a monitor", &text)?))
        };
        found.into_iter().map(parse).collect()
    }

    async fn commit(&self, term: &Term, writes: &[Write]) -> Result<Committed, StoreError> {
        let mut taken = Vec::with_capacity(writes.len());
        for part in writes.chunks(WRITES_PER_SCRIPT_MAX) {
            match self.writes.ask(writes::Question::new(&self.keys, term, part)?).await? {
                Some(of_part) => taken.extend(of_part),
                None => return Ok(Committed::OtherTerm),
            }
        }
        Ok(Committed::Taken(taken))
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        let Keys { meta, audit, .. } = &*self.keys;
        let entry = json(audit, &serde_json::json!({ "at_ms": at_ms, "cause": cause }))?;
        let kept = self.audit_kept().entries;
        // In this order: a pause without its audit entry would be worse than the entry alone.
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI").ignore().cmd("XADD").arg(audit).arg("MAXLEN").arg("~").arg(kept).arg("*");
        pipeline.arg("breaker").arg("").arg("entry").arg(entry).ignore();
        match pause {
            Some(pause) => pipeline.cmd("HSET").arg(meta).arg("pause").arg(json(meta, pause)?).ignore(),
            None => pipeline.cmd("HDEL").arg(meta).arg("pause").ignore(),
        };
        pipeline.cmd("EXEC").ignore();
        self.ask("pausing", pipeline).await
    }

    async fn replace_pause(
        &self,
        expected: Option<&Pause>,
        pause: Option<&Pause>,
        cause: &Cause,
        at_ms: i64,
    ) -> Result<bool, StoreError> {
        let Keys { meta, audit, .. } = &*self.keys;
        let text = |pause: Option<&Pause>| pause.map_or(Ok(String::new()), |pause| json(meta, pause));
        let mut script = self.pause.prepare_invoke();
        script.key(meta).key(audit).arg(text(expected)?).arg(text(pause)?);
        script.arg(json(audit, &serde_json::json!({ "at_ms": at_ms, "cause": cause }))?);
        script.arg(self.audit_kept().entries);
        self.run("pausing", &script).await
    }

    async fn flags(&self, ids: &[BreakerId]) -> Result<Vec<Option<Published>>, StoreError> {
        let mut pipeline = redis::pipe();
        // HMGET without fields is an error; HMGET of a field that nothing has keeps the answer's shape.
        let fields = ids.iter().map(BreakerId::as_str).chain([""]).collect::<Vec<_>>();
        pipeline.cmd("HMGET").arg(&self.keys.flags).arg(fields);
        let (found,): (Vec<Option<Vec<u8>>>,) = self.ask("reading flags", pipeline).await?;
        Ok(ids.iter().zip(found).map(|(id, json)| parse_published(id, &json?)).collect())
    }

    async fn audit(&self, from: AuditFrom, count: usize) -> Result<Vec<Audited>, StoreError> {
        let (command, start, end) = match from {
            // Redis refuses to look where nothing can be.
            AuditFrom::Before(Some(AuditId::FIRST)) | AuditFrom::After(AuditId::LAST) => {
                return Ok(Vec::new());
            }
            AuditFrom::Before(None) => ("XREVRANGE", "+".to_owned(), "-"),
            AuditFrom::Before(Some(place)) => ("XREVRANGE", format!("({place}"), "-"),
            AuditFrom::After(place) => ("XRANGE", format!("({place}"), "+"),
        };
        let mut pipeline = redis::pipe();
        pipeline.cmd(command).arg(&self.keys.audit).arg(start).arg(end);
        pipeline.arg("COUNT").arg(count.min(AUDIT_PER_READ_MAX));
        let (found,): (StreamRangeReply,) = self.ask("reading the audit stream", pipeline).await?;
        Ok(found.ids.iter().filter_map(parse_audited).collect())
    }

    async fn audit_group(&self, group: &str, from_start: bool) -> Result<(), StoreError> {
        self.make_group(group, from_start).await
    }

    async fn audit_next(
        &self,
        group: &str,
        reader: &str,
        wait: Duration,
    ) -> Result<Option<Audited>, StoreError> {
        self.next_for(group, reader, wait).await
    }

    async fn audit_take_over(
        &self,
        group: &str,
        reader: &str,
        idle: Duration,
    ) -> Result<TakenOver, StoreError> {
        self.take_over_for(group, reader, idle).await
    }

    async fn audit_keep(&self, group: &str, reader: &str, id: AuditId) -> Result<(), StoreError> {
        self.keep_for(group, reader, id).await
    }

    async fn audit_done(&self, group: &str, id: AuditId) -> Result<(), StoreError> {
        self.done_for(group, id).await
    }

    fn keep_audit(&self, kept: AuditKept) {
        *self.audit_kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    fn audit_kept(&self) -> AuditKept {
        *self.audit_kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let Keys { meta, flags, changes, .. } = &*self.keys;
        // Spelled out, because `Pipeline::atomic` breaks its connection when MULTI itself is refused (no password).
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI").ignore().cmd("TIME").ignore();
        pipeline.cmd("HGETALL").arg(meta).ignore().cmd("HGETALL").arg(flags).ignore();
        pipeline.cmd("XREVRANGE").arg(changes).arg("+").arg("-").arg("COUNT").arg(1).ignore().cmd("EXEC");

        type Answer = (Time, HashMap<String, String>, Vec<(Vec<u8>, Vec<u8>)>, StreamRangeReply);
        let ((time, meta, found, last),): (Answer,) = self.ask("reading all flags", pipeline).await?;
        let (mut flags, mut unreadable) = (Vec::with_capacity(found.len()), Vec::new());
        for (id, json) in found {
            let id = BreakerId::from_stored(String::from_utf8_lossy(&id).into_owned());
            match parse_published(&id, &json) {
                Some(published) => flags.push((id, published)),
                None => unreadable.push(id),
            }
        }
        self.channel.is_called(meta.get("channel").map(String::as_str));
        let position = last.ids.into_iter().next().map_or_else(|| STREAM_START.to_owned(), |entry| entry.id);
        let (meta, position) = (self.parse_meta(meta)?, Position(position));
        Ok(Snapshot { now_ms: unix_ms(time), meta, flags, unreadable, position })
    }

    async fn tail(&self, position: &mut Position, wait: Duration) -> Result<Vec<Change>, StoreError> {
        match self.channel.subscription(&self.shared, position).await {
            Some(subscription) => self.hear(subscription, position, wait).await,
            None => Box::pin(self.read_changes(position, Some(wait))).await,
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A request for a key of the scope, so that in a cluster the node that holds it answers.
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(&self.keys.meta).arg("epoch").ignore();
        self.ask("asking whether it is there", pipeline).await
    }

    async fn is_durable(&self) -> Result<Option<bool>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("persistence");
        let (info,): (InfoDict,) = self.ask("asking what it keeps on disk", pipeline).await?;
        Ok(info.get::<u8>(AOF_FIELD).map(|enabled| enabled == 1))
    }
}

/// Makes one request, and counts how long it took.
async fn timed<T>(
    doing: &'static str,
    request: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, StoreError> {
    let started = Instant::now();
    let answer = request.await;
    let result = if answer.is_ok() { "ok" } else { "error" };
    let took = started.elapsed().as_secs_f64();
    metrics::histogram!(REQUEST_SECONDS_METRIC, "doing" => doing, "result" => result).record(took);
    answer.map_err(|error| store_error(doing, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_settings_are_refused_without_a_connection_and_without_telling_the_password() {
        let cases: [(&str, &str, &[Setting]); 6] = [
            ("http://:hunter2@h", "default", &[Setting::Url]),
            ("redis+sentinel://:hunter2@h:x", "default", &[Setting::Url, Setting::Url]),
            ("redis://:hunter2@h", "", &[Setting::Scope]),
            ("redis+sentinel://:hunter2@h/m", "a}b", &[Setting::Scope]),
            ("redis://:hunter2@h/x", "a b", &[Setting::Url, Setting::Scope]),
            ("redis+sentinel://:hunter2@h", "a b", &[Setting::Url, Setting::Scope]),
        ];
        for (url, scope, expected) in cases {
            let error = RedisStore::new(url, scope).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter2") && !error.is_retryable(), "{told}");
            let StoreError::Unusable { mistakes } = error else { panic!("{told}") };
            let settings: Vec<Setting> = mistakes.iter().map(|mistake| mistake.setting).collect();
            assert_eq!(settings, expected, "{url} {scope}: {told}");
        }
        // The only test of this binary that installs one.
        for url in ["rediss://:hunter2@h:6380/1", "rediss+sentinel://:hunter2@h/m"] {
            let error = RedisStore::new(url, "default").unwrap_err();
            assert!(error.to_string().contains("install_default"), "{error}");
        }
        rustls::crypto::ring::default_provider().install_default().unwrap();
        let store = RedisStore::new("rediss://:hunter2@h:6380/1", "default").unwrap();
        assert_eq!(format!("{store:?}"), r#"RedisStore { meta: "cutout:{default}:meta", .. }"#);
    }
}
