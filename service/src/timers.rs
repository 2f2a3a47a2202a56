//! What time alone brings: the end of half-open, and hints that no report agreed with.
//!
//! A flag carries its own future (`next`), so callers need nobody for it; these timers make the store say the same.
//! Every instance follows the flags and runs them, each a little later by chance; compare-and-set lets one through.
//! Nothing is forgotten: what could not be written stays due here, and the flag in the store still shows it.

use crate::backoff::Backoff;
use crate::decision::{Before, Decision, decide};
use crate::term::pause_of;
use crate::{Breakers, Shared};
use cutout_core::Chain;
use cutout_core::{Breaker, BreakerId};
use cutout_flags::{
    Committed, LocalClock, Read, StoreError, Stored, Synced, Update, WRITES_PER_SCRIPT_MAX, Write,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How much later than its time an instance may act, so that not all of them write at once.
pub(crate) const JITTER_MAX_MS: i64 = 500;

/// How long a breaker is left alone whose record cannot be read; milliseconds. Callers follow its flag's own future.
const UNREADABLE_PAUSE_MS: i64 = 60_000;

/// What is due and when. The follower fills it.
#[derive(Default)]
pub(crate) struct Due {
    queue: Mutex<Queue>,
    changed: Notify,
    clock: LocalClock,
}

#[derive(Default)]
struct Queue {
    entries: BTreeMap<BreakerId, Entry>,
    /// The store's clock less this machine's.
    offset_ms: i64,
}

/// When to look at a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// The flag's change number: a later flag replaces what this one says.
    rev: u64,
    /// The store's clock, jitter included.
    wake_ms: i64,
}

impl Entry {
    fn new(rev: u64, at_ms: i64) -> Entry {
        Entry { rev, wake_ms: at_ms.saturating_add(fastrand::i64(0..JITTER_MAX_MS)) }
    }
}

impl Due {
    /// Nothing is due yet.
    pub(crate) fn new(clock: LocalClock) -> Due {
        Due { clock, ..Due::default() }
    }

    /// Takes in flags that changed.
    pub(crate) fn update(&self, updates: &[Update]) {
        let mut queue = self.queue();
        for Update { id, flag } in updates {
            let next =
                flag.as_ref().and_then(|published| Some((published.rev, published.flag.next_change_ms()?)));
            match next {
                Some((rev, at_ms)) => queue.entries.insert(id.clone(), Entry::new(rev, at_ms)),
                None => queue.entries.remove(id),
            };
        }
        drop(queue);
        self.changed.notify_one();
    }

    /// Takes in what the store's clock says.
    pub(crate) fn synced(&self, at: &Synced) {
        self.queue().offset_ms = at.offset_ms;
        self.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is one step, so a panic leaves it whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is due, and gives at most one script of it.
    async fn wait(&self) -> Vec<(BreakerId, Entry)> {
        loop {
            let (batch, wait_ms) = self.queue().due(self.clock.now_ms());
            if !batch.is_empty() {
                return batch;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_or_for_ever(wait_ms) => {}
            }
        }
    }

    /// Puts what a look at the breaker brought in the place of `entry`, unless a later flag has come meanwhile.
    fn settle(&self, id: &BreakerId, entry: Entry, next_at_ms: Option<i64>) {
        let mut queue = self.queue();
        if queue.entries.get(id) == Some(&entry) {
            match next_at_ms {
                Some(at_ms) => queue.entries.insert(id.clone(), Entry::new(entry.rev, at_ms)),
                None => queue.entries.remove(id),
            };
        }
    }
}

impl Queue {
    /// What is due at `local_ms` of this machine's clock, and how long until the first that is not.
    fn due(&self, local_ms: i64) -> (Vec<(BreakerId, Entry)>, Option<u64>) {
        let now_ms = local_ms.saturating_add(self.offset_ms);
        let due = self.entries.iter().filter(|(_, entry)| entry.wake_ms <= now_ms);
        let batch = due.take(WRITES_PER_SCRIPT_MAX).map(|(id, entry)| (id.clone(), *entry)).collect();
        let first_ms = self.entries.values().map(|entry| entry.wake_ms).min();
        (batch, first_ms.map(|first_ms| u64::try_from(first_ms.saturating_sub(now_ms)).unwrap_or(0)))
    }
}

async fn sleep_or_for_ever(wait_ms: Option<u64>) {
    match wait_ms {
        Some(wait_ms) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
        None => std::future::pending().await,
    }
}

/// Runs the timers. Never returns.
pub(crate) async fn run(shared: &Shared, due: &Due) {
    let mut backoff = Backoff::default();
    loop {
        let batch = due.wait().await;
        let settled = match advance(shared, due, &batch).await {
            Ok(settled) => settled,
            Err(error) => {
                tracing::error!(error = %Chain(&error), due = batch.len(), "timers: trying again");
                false
            }
        };
        if settled {
            backoff = Backoff::default();
        } else {
            backoff.wait().await;
        }
    }
}

/// Looks at the breakers that are due and writes what time has brought. False: some are to be looked at again.
async fn advance(shared: &Shared, due: &Due, batch: &[(BreakerId, Entry)]) -> Result<bool, StoreError> {
    let ids: Vec<BreakerId> = batch.iter().map(|(id, _)| id.clone()).collect();
    let read = shared.parts.store.read(&ids, None).await?;
    let breakers = shared.breakers();
    let own = read.term.clone().filter(|term| term.revision == breakers.revision);
    let Some(term) = own else {
        // All data are lost, what was due with them; flags that come again bring their own. Or another breakers' file
        // is declared: a newer one's instance does this, and an older one is about to be replaced by this one's.
        batch.iter().for_each(|(id, entry)| due.settle(id, *entry, None));
        return Ok(true);
    };
    let (mut decisions, mut settled) = (Vec::new(), true);
    for ((id, entry), stored) in batch.iter().zip(&read.breakers) {
        if read.unreadable.contains(id) {
            due.settle(id, *entry, Some(read.now_ms.saturating_add(UNREADABLE_PAUSE_MS)));
            continue;
        }
        match look(&breakers, id, stored.as_ref(), &read) {
            Look::Write(decision) => decisions.push((*entry, decision)),
            Look::Later(next_at_ms) => {
                // Not due by the store's own clock: this one's idea of it is off, so no haste.
                settled &= next_at_ms.is_none();
                due.settle(id, *entry, next_at_ms);
            }
        }
    }
    let writes: Vec<Write> = decisions.iter().map(|(_, decision)| decision.write.clone()).collect();
    let Committed::Taken(taken) = shared.parts.store.commit(&term, &writes).await? else { return Ok(false) };
    for ((entry, decision), _) in decisions.iter().zip(&taken).filter(|(_, taken)| **taken) {
        decision.log();
        due.settle(&decision.id, *entry, decision.next_at_ms);
    }
    Ok(settled && taken.iter().all(|taken| *taken))
}

/// What a look at one breaker brings.
enum Look {
    /// Time has brought something.
    Write(Box<Decision>),
    /// Nothing yet, or another instance was first: when to look again, if ever.
    Later(Option<i64>),
}

fn look(breakers: &Breakers, id: &BreakerId, stored: Option<&Stored<Breaker>>, read: &Read) -> Look {
    // Without a record or a declaration there is nothing to decide; callers follow the flag's own `next`.
    let (Some(stored), Some(declaration)) = (stored, breakers.declaration(id)) else {
        return Look::Later(None);
    };
    let (policy, hold, now_ms) = (&declaration.policy, pause_of(read), read.now_ms);
    let before = Before { stored: Some(stored), shown: None, hold, now_ms };
    let decision = decide(id, policy, &before, |breaker| breaker.advance(policy, hold, now_ms));
    let next_at_ms = || stored.value.flag(policy, hold).next_change_ms();
    decision.map_or_else(|| Look::Later(next_at_ms()), |decision| Look::Write(Box::new(decision)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_before_its_time_by_the_stores_clock_nor_long_after_it() {
        for _ in 0..100 {
            let mut queue = Queue { offset_ms: -3000, ..Queue::default() };
            assert_eq!(queue.due(0), (vec![], None));
            let entry = Entry::new(1, 10_000);
            queue.entries.insert(BreakerId::new("a", &["1"]), entry);
            let (batch, wait_ms) = queue.due(12_999);
            assert!(batch.is_empty() && (1..=500).contains(&wait_ms.unwrap()), "{wait_ms:?}");
            assert_eq!(queue.due(13_499), (vec![(BreakerId::new("a", &["1"]), entry)], Some(0)));
        }
    }

    #[test]
    fn a_batch_is_no_larger_than_a_script() {
        let mut queue = Queue::default();
        for key in 0..WRITES_PER_SCRIPT_MAX + 1 {
            queue.entries.insert(BreakerId::new("a", &[key.to_string()]), Entry::new(1, 0));
        }
        assert_eq!(queue.due(JITTER_MAX_MS).0.len(), WRITES_PER_SCRIPT_MAX);
    }

    #[test]
    fn what_a_look_brought_does_not_replace_a_later_flag() {
        let due = Due::default();
        let (id, looked_at, later) = (BreakerId::new("a", &["1"]), Entry::new(1, 0), Entry::new(2, 9));
        due.queue().entries.insert(id.clone(), later);
        due.settle(&id, looked_at, None);
        assert_eq!(due.queue().entries.get(&id), Some(&later));
        due.settle(&id, later, None);
        assert_eq!(due.queue().entries.get(&id), None);
    }
}
