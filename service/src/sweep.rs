//! Makes every published flag say what its record means under the settings and the pause of now.
//!
//! A flag is otherwise written when its breaker changes. Two things change what it says without that: another
//! breakers' file (watch mode, refused classes, ages), and a pause that starts or ends. So an instance sweeps once when
//! it has declared its file, and whoever pauses or resumes sweeps at once.

use crate::Shared;
use crate::decision::{Before, decide};
use crate::term::{TermError, in_force, pause_of};
use cutout_core::{BreakerId, Flag};
use cutout_flags::{Committed, WRITES_PER_SCRIPT_MAX, Write};

/// How often what lost a race is looked at again.
const ROUNDS_MAX: usize = 8;

/// Looks at every flag once.
pub(crate) async fn sweep(shared: &Shared) -> Result<(), TermError> {
    let snapshot = shared.parts.store.snapshot().await?;
    let declared = |id: &BreakerId| shared.parts.breakers.declaration(id).is_some();
    let (known, orphans): (Vec<_>, Vec<_>) = snapshot.flags.into_iter().partition(|(id, _)| declared(id));
    if let Some((first, _)) = orphans.first() {
        let (breakers, first) = (orphans.len(), first.as_str());
        tracing::warn!(breakers, first, "flags stand in the store whose breakers are not declared any more");
    }
    let shown: Vec<(BreakerId, Flag)> =
        known.into_iter().map(|(id, published)| (id, published.flag)).collect();
    for part in shown.chunks(WRITES_PER_SCRIPT_MAX) {
        // What others write meanwhile they write under the same settings and pause.
        let mut refused = part.to_vec();
        for _ in 0..ROUNDS_MAX {
            refused = sweep_part(shared, refused).await?;
            if refused.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

/// Looks at some flags, and yields those that somebody else wrote meanwhile.
async fn sweep_part(
    shared: &Shared,
    shown: Vec<(BreakerId, Flag)>,
) -> Result<Vec<(BreakerId, Flag)>, TermError> {
    let ids: Vec<BreakerId> = shown.iter().map(|(id, _)| id.clone()).collect();
    let read = shared.parts.store.read(&ids, None).await?;
    let Some(term) = in_force(shared, &read).await? else { return Ok(shown) };
    let (hold, now_ms) = (pause_of(&read), read.now_ms);
    let mut decisions = Vec::new();
    for ((id, flag), stored) in shown.iter().zip(&read.breakers) {
        let (Some(declaration), Some(_)) = (shared.parts.breakers.declaration(id), stored) else { continue };
        let policy = &declaration.policy;
        let before = Before { stored: stored.as_ref(), shown: Some(flag), hold, now_ms };
        decisions.extend(decide(id, policy, &before, |breaker| breaker.advance(policy, hold, now_ms)));
    }
    let writes: Vec<Write> = decisions.iter().map(|decision| decision.write.clone()).collect();
    let Committed::Taken(taken) = shared.parts.store.commit(&term, &writes).await? else { return Ok(shown) };
    decisions.iter().zip(&taken).filter(|(_, taken)| **taken).for_each(|(decision, _)| decision.log());
    let refused =
        decisions.into_iter().zip(taken).filter(|(_, taken)| !taken).map(|(decision, _)| decision.id);
    let refused: std::collections::BTreeSet<BreakerId> = refused.collect();
    Ok(shown.into_iter().filter(|(id, _)| refused.contains(id)).collect())
}
