//! The store in Redis (or Valkey): the real one.
//!
//! Reads are one round trip, writes one small script that compares and sets; what a breaker's state should be is
//! never decided here or there. `docs/redis.md` tells readers of other languages what stands where.
//!
//! Where the primary is, also behind sentinels and in a cluster, is the matter of `route`. Left out: retries (the callers').

mod channel;
mod connection;
mod errors;
mod forms;
mod group;
mod redirect;
mod role;
mod route;
mod sentinel;
mod tail;
mod url;

use crate::audit::{AUDIT_PER_READ_MAX, AuditFrom, AuditId, AuditKept, Audited, TakenOver};
use crate::store::{
    CHANGES_KEPT, Change, Committed, Epoch, Meta, Mistake, Position, Publish, Published, Read, Setting,
    Snapshot, Store, StoreError, Stored, Term, WRITES_PER_SCRIPT_MAX, Write,
};
use async_trait::async_trait;
use channel::Channel;
use connection::{Blocking, Shared};
use cutout_core::declaration::is_breaker_name;
use cutout_core::{BreakerId, Cause, Chain, Declared, Family, MonitorSeen, Pause};
use errors::store_error;
use forms::{Keys, foreign, json, parse_audited, parse_published, parse_record, published_parts, record};
use redis::streams::StreamRangeReply;
use redis::{InfoDict, Pipeline, RedisError, Script, ScriptInvocation};
use route::Route;
use rustls::crypto::CryptoProvider;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The place of `breakers` among the script's KEYS.
const BREAKERS_KEY: u8 = 4;
/// The place of `monitors` among the script's KEYS.
const MONITORS_KEY: u8 = 5;
/// The field of `INFO persistence` that says whether there is an append-only file: 0 or 1.
const AOF_FIELD: &str = "aof_enabled";
/// How long requests to Redis take, by what was being done and `ok` or `error`. Waiting for changes is not among them.
pub const REQUEST_SECONDS_METRIC: &str = "cutout_store_request_seconds";
/// The beginning of every stream.
const STREAM_START: &str = "0-0";

/// A store in Redis. Connects when first asked, and again by itself after any error.
pub struct RedisStore {
    keys: Keys,
    shared: Shared,
    blocking: Blocking,
    channel: Channel,
    commit: Script,
    declare: Script,
    pause: Script,
    group: Script,
    unread: Script,
    audit_kept: Mutex<AuditKept>,
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
        let keys = Keys::new(scope);
        Ok(RedisStore {
            shared: Shared::new(Arc::clone(&route)),
            blocking: Blocking::new(Arc::clone(&route)),
            channel: Channel::new(route),
            keys,
            commit: Script::new(include_str!("redis/commit.lua")),
            declare: Script::new(include_str!("redis/declare.lua")),
            pause: Script::new(include_str!("redis/pause.lua")),
            group: Script::new(include_str!("redis/group.lua")),
            unread: Script::new(include_str!("redis/unread.lua")),
            audit_kept: Mutex::default(),
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

    /// The script's arguments for one write.
    fn add_write(
        &self,
        script: &mut ScriptInvocation<'_>,
        epoch: &Epoch,
        write: &Write,
    ) -> Result<(), StoreError> {
        let Keys { breakers, monitors, audit: audit_key, .. } = &self.keys;
        match write {
            Write::Breaker { id, expected, record: value, flag, not_closed_by, audit } => {
                let (before, after) = match flag {
                    Some(Publish::Change(flag) | Publish::Refresh(flag)) => {
                        published_parts(id.as_str(), epoch, flag)?
                    }
                    None => Default::default(),
                };
                script.arg(BREAKERS_KEY).arg(id.as_str()).arg(*expected);
                script.arg(record(breakers, expected + 1, value)?).arg(before).arg(after);
                script.arg(u8::from(matches!(flag, Some(Publish::Refresh(_)))));
                script.arg(id.name()).arg(*not_closed_by).arg(audit.len());
                for entry in audit {
                    script.arg(json(audit_key, entry)?);
                }
            }
            Write::Monitor { monitor_id, expected, seen } => {
                script.arg(MONITORS_KEY).arg(*monitor_id).arg(*expected);
                script
                    .arg(record(monitors, expected + 1, seen)?)
                    .arg("")
                    .arg("")
                    .arg(0)
                    .arg("")
                    .arg(0)
                    .arg(0);
            }
        }
        Ok(())
    }

    /// What `meta` says; none without an epoch.
    fn parse_meta(&self, mut meta: HashMap<String, String>) -> Result<Option<Meta>, StoreError> {
        let Some(epoch) = meta.remove("epoch") else { return Ok(None) };
        let place = |field: &str| format!("{} {field}", self.keys.meta);
        let rev = meta.get("rev").map_or(Ok(0), |rev| rev.parse());
        let rev = rev.map_err(|_| foreign(&place("rev"), "a number", None))?;
        let declared = serde_json::from_str(meta.get("declared").map_or("", String::as_str))
            .map_err(|error| foreign(&place("declared"), "declarations", Some(error)))?;
        let pause = self.parse_pause(meta.get("pause").map(String::as_str))?;
        Ok(Some(Meta { epoch: Epoch::from_stored(epoch), rev, declared, pause }))
    }

    fn parse_pause(&self, pause: Option<&str>) -> Result<Option<Pause>, StoreError> {
        let wrong = |error| foreign(&format!("{} pause", self.keys.meta), "a pause", Some(error));
        pause.map(|pause| serde_json::from_str(pause).map_err(wrong)).transpose()
    }

    /// The term in force; none without an epoch.
    fn parse_term(
        &self,
        epoch: Option<String>,
        revision: Option<String>,
    ) -> Result<Option<Term>, StoreError> {
        let Some(epoch) = epoch else { return Ok(None) };
        let revision = revision.map_or(Ok(0), |revision| revision.parse());
        let wrong = |_| foreign(&format!("{} revision", self.keys.meta), "a number", None);
        Ok(Some(Term { epoch: Epoch::from_stored(epoch), revision: revision.map_err(wrong)? }))
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
        let Keys { meta, breakers, monitors, families, .. } = &self.keys;
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("HMGET").arg(meta).arg(["epoch", "revision", "pause"].as_slice());
        // HMGET without fields is an error; HMGET of a field that nothing has keeps the answer's shape.
        let fields = ids.iter().map(BreakerId::as_str).chain([""]).collect::<Vec<_>>();
        pipeline.cmd("HMGET").arg(breakers).arg(fields);
        let monitor_field = monitor_id.map(|monitor_id| monitor_id.to_string()).unwrap_or_default();
        pipeline.cmd("HGET").arg(monitors).arg(&monitor_field);
        let names: BTreeSet<&str> = ids.iter().map(BreakerId::name).collect();
        let counts = names.iter().flat_map(|name| [format!("{name}:known"), format!("{name}:not_closed")]);
        pipeline.cmd("HMGET").arg(families).arg(counts.chain([String::new()]).collect::<Vec<_>>());

        type Term = (Option<String>, Option<String>, Option<String>);
        type Answer = (Time, Term, Vec<Option<String>>, Option<String>, Vec<Option<i64>>);
        let (time, (epoch, revision, pause), records, monitor, counts): Answer =
            self.ask("reading breakers", pipeline).await?;
        let mut unreadable = BTreeSet::new();
        let parse_breaker = |(id, text): (&BreakerId, Option<String>)| {
            let parsed = parse_record((breakers, id.as_str()), "a breaker", &text?);
            let told = |error: &StoreError| {
                tracing::error!(error = %Chain(error), "a breaker's record cannot be read: it stays as it is");
                unreadable.insert(id.clone());
            };
            parsed.inspect_err(told).ok()
        };
        let breakers = ids.iter().zip(records).map(parse_breaker).collect();
        let parse_monitor = |text: String| parse_record((monitors, &monitor_field), "a monitor", &text);
        Ok(Read {
            now_ms: unix_ms(time),
            term: self.parse_term(epoch, revision)?,
            pause: self.parse_pause(pause.as_deref())?,
            breakers,
            unreadable,
            monitor: monitor.map(parse_monitor).transpose()?,
            families: names.into_iter().zip(counts.chunks(2)).map(family).collect(),
        })
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
        let Keys { meta, flags, changes, breakers, monitors, families, audit } = &self.keys;
        let kept = self.audit_kept();
        let audit_from_ms = crate::clock::system_ms().saturating_sub(kept.age_ms).max(0);
        let mut taken = Vec::with_capacity(writes.len());
        for part in writes.chunks(WRITES_PER_SCRIPT_MAX) {
            let mut script = self.commit.prepare_invoke();
            script.key(meta).key(flags).key(changes).key(breakers).key(monitors).key(families).key(audit);
            script.arg(term.epoch.as_str()).arg(term.revision);
            script.arg(CHANGES_KEPT).arg(kept.entries).arg(audit_from_ms);
            for write in part {
                self.add_write(&mut script, &term.epoch, write)?;
            }
            match self.run::<Option<Vec<bool>>>("writing breakers", &script).await? {
                Some(of_part) => taken.extend(of_part),
                None => return Ok(Committed::OtherTerm),
            }
        }
        Ok(Committed::Taken(taken))
    }

    async fn set_pause(&self, pause: Option<&Pause>, cause: &Cause, at_ms: i64) -> Result<(), StoreError> {
        let Keys { meta, audit, .. } = &self.keys;
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
        let Keys { meta, audit, .. } = &self.keys;
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
        let Keys { meta, flags, changes, .. } = &self.keys;
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
            None => self.read_changes(position, Some(wait)).await,
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

/// A family's counts as they are stored: absent is none, and what a lost write left below zero is none too.
fn family((name, counts): (&str, &[Option<i64>])) -> (String, Family) {
    let count = |index: usize| counts.get(index).copied().flatten().and_then(|count| count.try_into().ok());
    let (known, not_closed) = (count(0).unwrap_or_default(), count(1).unwrap_or_default());
    (name.to_owned(), Family { known, not_closed })
}

/// Redis's TIME: seconds and microseconds.
type Time = (i64, i64);

fn unix_ms((seconds, microseconds): Time) -> i64 {
    seconds.saturating_mul(1_000).saturating_add(microseconds / 1_000)
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
