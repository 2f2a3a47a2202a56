//! What this instance knows of the scope's pause, between two snapshots.
//!
//! A pause is no change of a flag, so the stream of changes does not tell it, and a snapshot shows it only after half a minute. So it
//! is read at once when somebody here orders it or begins to follow changes, and every second while anybody follows: he then learns
//! what was ordered at another instance too, and that its time is over. While nobody follows, nothing is read.
//!
//! Left out: what a pause does (core), and what is remembered of it (`people`).

use crate::Shared;
use std::time::Duration;

/// How often it is looked at while somebody follows changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks. Never returns.
pub(crate) async fn run(shared: &Shared) {
    loop {
        let asked = tokio::time::timeout(LOOK_EVERY, shared.pause_asked.notified()).await.is_ok();
        if !asked && !shared.board.is_watched() {
            continue;
        }
        // That the store is away is told by who follows the flags. Without a term it has lost the pause, and what was known stays until
        // it is restored.
        if let Ok(read) = shared.parts.store.read(&[], None).await
            && read.term.is_some()
        {
            shared.board.look_at_pause(read.pause.filter(|pause| pause.holds_at(read.now_ms)));
        }
    }
}
