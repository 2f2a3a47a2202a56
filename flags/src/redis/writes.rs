//! What was decided, written for all who commit at the same time by one script.
//!
//! Each who commits spells his own writes; here they only stand one behind the other, and the script takes or refuses each by itself. Two that
//! were decided on the same record meet in it as they would in two scripts: the first is taken, the second is refused.

use super::connection::Shared;
use super::forms::{Keys, json, published_parts, record};
use super::timed;
use super::together::Batch;
use crate::audit::AuditKept;
use crate::store::{CHANGES_KEPT, Epoch, Publish, StoreError, Term, Write};
use redis::{Script, ScriptInvocation, ToRedisArgs};
use std::sync::{Arc, Mutex, PoisonError};

/// The place of `breakers` among the script's KEYS.
const BREAKERS_KEY: u8 = 4;
/// The place of `monitors` among the script's KEYS.
const MONITORS_KEY: u8 = 5;

/// Commits.
pub(super) struct Writes {
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Arc<Keys>,
    pub(super) script: Script,
    pub(super) audit_kept: Arc<Mutex<AuditKept>>,
}

/// Some writes under one term, as the script takes them.
pub(super) struct Question {
    term: Term,
    count: usize,
    arguments: Vec<Vec<u8>>,
}

impl Question {
    /// Spells `writes`.
    pub(super) fn new(keys: &Keys, term: &Term, writes: &[Write]) -> Result<Question, StoreError> {
        let mut arguments = Arguments(Vec::with_capacity(writes.len() * 11));
        for write in writes {
            arguments.add(keys, &term.epoch, write)?;
        }
        Ok(Question { term: term.clone(), count: writes.len(), arguments: arguments.0 })
    }
}

struct Arguments(Vec<Vec<u8>>);

impl Arguments {
    fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.0);
        self
    }

    /// The script's arguments for one write.
    fn add(&mut self, keys: &Keys, epoch: &Epoch, write: &Write) -> Result<(), StoreError> {
        let Keys { breakers, monitors, audit: audit_key, .. } = keys;
        match write {
            Write::Breaker { id, expected, record: value, flag, not_closed_by, audit } => {
                let (before, after) = match flag {
                    Some(Publish::Change(flag) | Publish::Refresh(flag)) => {
                        published_parts(id.as_str(), epoch, flag)?
                    }
                    None => Default::default(),
                };
                self.arg(BREAKERS_KEY).arg(id.as_str()).arg(*expected);
                self.arg(record(breakers, expected + 1, value)?).arg(before).arg(after);
                self.arg(u8::from(matches!(flag, Some(Publish::Refresh(_)))));
                self.arg(id.name()).arg(*not_closed_by).arg(audit.len());
                for entry in audit {
                    self.arg(json(audit_key, entry)?);
                }
            }
            Write::Monitor { monitor_id, expected, seen } => {
                self.arg(MONITORS_KEY).arg(*monitor_id).arg(*expected);
                self.arg(record(monitors, expected + 1, seen)?);
                self.arg("").arg("").arg(0).arg("").arg(0).arg(0);
            }
        }
        Ok(())
    }
}

impl Batch for Writes {
    type Question = Question;
    /// One entry for each write, or none: the term is not in force.
    type Answer = Option<Vec<bool>>;

    fn weight(question: &Question) -> usize {
        question.count
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Option<Vec<bool>>>, StoreError> {
        let mut answers = Vec::with_capacity(questions.len());
        // Nearly always all are of one term.
        for of_a_term in questions.chunk_by(|one, other| one.term == other.term) {
            answers.extend(self.commit(of_a_term).await?);
        }
        Ok(answers)
    }
}

impl Writes {
    async fn commit(&self, questions: &[Question]) -> Result<Vec<Option<Vec<bool>>>, StoreError> {
        let Some(Question { term, .. }) = questions.first() else { return Ok(Vec::new()) };
        let script = self.invocation(term, questions);
        let request = async |mut connection| script.invoke_async(&mut connection).await;
        let taken: Option<Vec<bool>> = timed("writing breakers", self.shared.ask(request)).await?;
        let Some(taken) = taken else { return Ok(vec![None; questions.len()]) };
        let mut taken = taken.into_iter();
        let own = |question: &Question| Some(taken.by_ref().take(question.count).collect());
        Ok(questions.iter().map(own).collect())
    }

    fn invocation<'a>(&'a self, term: &Term, questions: &[Question]) -> ScriptInvocation<'a> {
        let Keys { meta, flags, changes, breakers, monitors, families, audit } = &*self.keys;
        let kept = *self.audit_kept.lock().unwrap_or_else(PoisonError::into_inner);
        let audit_from_ms = crate::clock::system_ms().saturating_sub(kept.age_ms).max(0);
        let mut script = self.script.prepare_invoke();
        script.key(meta).key(flags).key(changes).key(breakers).key(monitors).key(families).key(audit);
        script.arg(term.epoch.as_str()).arg(term.revision);
        script.arg(CHANGES_KEPT).arg(kept.entries).arg(audit_from_ms);
        for argument in questions.iter().flat_map(|question| &question.arguments) {
            script.arg(argument.as_slice());
        }
        script
    }
}
