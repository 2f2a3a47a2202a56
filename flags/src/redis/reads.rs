//! What decisions need, read for all who ask at the same time in one round trip.
//!
//! The answers are handed out as text: each who asked reads his own records, in his own task.

use super::connection::Shared;
use super::forms::{Keys, foreign, parse_pause, parse_record};
use super::timed;
use super::together::Batch;
use crate::store::{Epoch, Read, StoreError, Term};
use cutout_core::{BreakerId, Chain, Family};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Reads breakers, monitors, and what stands around them.
pub(super) struct Reads {
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Arc<Keys>,
}

/// What is asked: these breakers, and this monitor.
pub(super) struct Question {
    ids: Vec<BreakerId>,
    monitor_id: Option<u64>,
}

/// What stood there.
pub(super) struct Answer {
    now_ms: i64,
    around: Arc<Around>,
    /// In the order of the ids.
    records: Vec<Option<String>>,
    monitor: Option<String>,
}

/// What is the same for all who asked.
struct Around {
    epoch: Option<String>,
    revision: Option<String>,
    pause: Option<String>,
    families: BTreeMap<String, Family>,
}

/// Redis's TIME: seconds and microseconds.
pub(super) type Time = (i64, i64);

pub(super) fn unix_ms((seconds, microseconds): Time) -> i64 {
    seconds.saturating_mul(1_000).saturating_add(microseconds / 1_000)
}

impl Question {
    pub(super) fn new(ids: &[BreakerId], monitor_id: Option<u64>) -> Question {
        Question { ids: ids.to_vec(), monitor_id }
    }
}

impl Batch for Reads {
    type Question = Question;
    type Answer = Answer;

    fn weight(question: &Question) -> usize {
        question.ids.len() + 1
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Answer>, StoreError> {
        let Keys { meta, breakers, monitors, families, .. } = &*self.keys;
        let ids = || questions.iter().flat_map(|question| &question.ids);
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("HMGET").arg(meta).arg(["epoch", "revision", "pause"].as_slice());
        // HMGET without fields is an error; HMGET of a field that nothing has keeps the answer's shape.
        pipeline.cmd("HMGET").arg(breakers);
        for id in ids() {
            pipeline.arg(id.as_str());
        }
        pipeline.arg("").cmd("HMGET").arg(monitors);
        for question in &questions {
            pipeline.arg(question.monitor_field());
        }
        let names: BTreeSet<&str> = ids().map(BreakerId::name).collect();
        pipeline.cmd("HMGET").arg(families);
        for name in &names {
            pipeline.arg(format!("{name}:known")).arg(format!("{name}:not_closed"));
        }
        pipeline.arg("");

        type Meta = (Option<String>, Option<String>, Option<String>);
        type Found = (Time, Meta, Vec<Option<String>>, Vec<Option<String>>, Vec<Option<i64>>);
        let request = async |mut connection| pipeline.query_async(&mut connection).await;
        let (time, (epoch, revision, pause), records, monitors, counts): Found =
            timed("reading breakers", self.shared.ask(request)).await?;
        let families = names.into_iter().zip(counts.chunks(2)).map(family).collect();
        let around = Arc::new(Around { epoch, revision, pause, families });
        let mut records = records.into_iter();
        let answer = |(question, monitor): (&Question, Option<String>)| Answer {
            now_ms: unix_ms(time),
            around: Arc::clone(&around),
            records: records.by_ref().take(question.ids.len()).collect(),
            monitor,
        };
        Ok(questions.iter().zip(monitors).map(answer).collect())
    }
}

impl Question {
    /// The monitor's field; none has the empty one.
    fn monitor_field(&self) -> String {
        self.monitor_id.map(|monitor_id| monitor_id.to_string()).unwrap_or_default()
    }
}

impl Answer {
    /// What it says to who asked for these.
    pub(super) fn read(
        self,
        keys: &Keys,
        ids: &[BreakerId],
        monitor_id: Option<u64>,
    ) -> Result<Read, StoreError> {
        let Keys { meta, breakers, monitors, .. } = keys;
        let Answer { now_ms, around, records, monitor } = self;
        let mut unreadable = BTreeSet::new();
        let parse_breaker = |(id, text): (&BreakerId, Option<String>)| {
            let parsed = parse_record((breakers, id.as_str()), "a breaker", &text?);
            let told = |error: &StoreError| {
                tracing::error!(error = %Chain(error), "a breaker's record cannot be read: it stays as it is");
                unreadable.insert(id.clone());
            };
            parsed.inspect_err(told).ok()
        };
        let found = ids.iter().zip(records).map(parse_breaker).collect();
        let parse_monitor = |text: String| {
            let field = monitor_id.unwrap_or_default().to_string();
            parse_record((monitors, &field), "a monitor", &text)
        };
        let own = |name: &str| Some((name.to_owned(), *around.families.get(name)?));
        Ok(Read {
            now_ms,
            term: around.term(meta)?,
            pause: parse_pause(meta, around.pause.as_deref())?,
            breakers: found,
            unreadable,
            monitor: monitor.map(parse_monitor).transpose()?,
            families: ids.iter().filter_map(|id| own(id.name())).collect(),
        })
    }
}

impl Around {
    /// The term in force; none without an epoch.
    fn term(&self, meta: &str) -> Result<Option<Term>, StoreError> {
        let Some(epoch) = &self.epoch else { return Ok(None) };
        let revision = self.revision.as_ref().map_or(Ok(0), |revision| revision.parse());
        let wrong = |_| foreign(&format!("{meta} revision"), "a number", None);
        Ok(Some(Term { epoch: Epoch::from_stored(epoch.clone()), revision: revision.map_err(wrong)? }))
    }
}

/// A family's counts as they are stored: absent is none, and what a lost write left below zero is none too.
fn family((name, counts): (&str, &[Option<i64>])) -> (String, Family) {
    let count = |index: usize| counts.get(index).copied().flatten().and_then(|count| count.try_into().ok());
    let (known, not_closed) = (count(0).unwrap_or_default(), count(1).unwrap_or_default());
    (name.to_owned(), Family { known, not_closed })
}
