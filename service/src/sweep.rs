//! Makes every published flag say what its record means under the settings and the pause of now.
//!
//! A flag is otherwise written when its breaker changes. Two things change what it says without that: another
//! breakers' file (watch mode, refused classes, ages), and a pause that starts or ends. So an instance sweeps once when
//! it has declared its file, and whoever pauses or resumes sweeps at once.

use crate::Shared;
use crate::decision::{Before, decide};
use crate::term::{TermError, in_force, pause_of};
use cutout_core::BreakerId;
use cutout_flags::{Committed, Published, Read, Term, WRITES_PER_SCRIPT_MAX, Write};
use std::collections::BTreeMap;

/// How often what lost a race is looked at again.
const ROUNDS_MAX: usize = 8;

/// Looks at every flag once.
pub(crate) async fn sweep(shared: &Shared) -> Result<(), TermError> {
    let snapshot = shared.parts.store.snapshot().await?;
    let breakers = shared.breakers();
    let declared = |id: &BreakerId| breakers.declaration(id).is_some();
    let ids = snapshot.flags.into_iter().map(|(id, _)| id);
    let (mut wanted, orphans): (Vec<_>, Vec<_>) = ids.partition(declared);
    if let Some(first) = orphans.first() {
        let (breakers, first) = (orphans.len(), first.as_str());
        tracing::warn!(breakers, first, "flags stand in the store whose breakers are not declared any more");
    }
    // What others write meanwhile they write under the same settings and pause.
    for _ in 0..ROUNDS_MAX {
        if wanted.is_empty() {
            break;
        }
        wanted = sweep_round(shared, wanted).await?;
    }
    Ok(())
}

/// Looks at some breakers, and yields those that somebody else wrote meanwhile.
async fn sweep_round(shared: &Shared, wanted: Vec<BreakerId>) -> Result<Vec<BreakerId>, TermError> {
    let mut parts = Vec::new();
    for ids in wanted.chunks(WRITES_PER_SCRIPT_MAX) {
        let read = shared.parts.store.read(ids, None).await?;
        let Some(term) = in_force(shared, &read).await? else { return Ok(wanted) };
        parts.push((ids, read, term));
    }
    // Records first: a flag that is read later is at least as new as its record, and where it is newer the write is refused.
    // The other way round what another instance has just published would be published again.
    let shown: BTreeMap<BreakerId, Published> =
        shared.parts.store.snapshot().await?.flags.into_iter().collect();
    let mut refused = Vec::new();
    for (ids, read, term) in parts {
        refused.extend(sweep_part(shared, ids, &read, &term, &shown).await?);
    }
    Ok(refused)
}

async fn sweep_part(
    shared: &Shared,
    ids: &[BreakerId],
    read: &Read,
    term: &Term,
    shown: &BTreeMap<BreakerId, Published>,
) -> Result<Vec<BreakerId>, TermError> {
    let (hold, now_ms) = (pause_of(read), read.now_ms);
    let breakers = shared.breakers();
    let mut decisions = Vec::new();
    for (id, stored) in ids.iter().zip(&read.breakers) {
        let (Some(declaration), Some(_)) = (breakers.declaration(id), stored) else { continue };
        let (policy, shown) = (&declaration.policy, shown.get(id).map(|published| &published.flag));
        let before = Before { stored: stored.as_ref(), shown, hold, now_ms };
        decisions.extend(decide(id, policy, &before, |breaker| breaker.advance(policy, hold, now_ms)));
    }
    if decisions.is_empty() {
        return Ok(Vec::new());
    }
    let writes: Vec<Write> = decisions.iter().map(|decision| decision.write.clone()).collect();
    let Committed::Taken(taken) = shared.parts.store.commit(term, &writes).await? else {
        return Ok(ids.to_vec());
    };
    decisions.iter().zip(&taken).filter(|(_, taken)| **taken).for_each(|(decision, _)| decision.log());
    let refused = decisions.into_iter().zip(taken).filter(|(_, taken)| !taken);
    Ok(refused.map(|(decision, _)| decision.id).collect())
}
