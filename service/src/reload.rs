//! Another breakers' file while the service runs: taken whole, or not at all with every mistake told.
//!
//! The binary looks at the file's text every few seconds, and at once on SIGHUP. A text is compared and not a time of change: a
//! mounted volume swaps links, and a text that says the same is no news. One that has just changed is looked at twice, since half of a file that
//! somebody is writing may well be a valid one.
//!
//! Left out: what follows from it for the flags (`declare` in the library, `sweep`).

use crate::notify::destination::{Wanted, undeclared};
use crate::{Breakers, Service, Shared, breakers, metrics};
use cutout_core::Chain;
use cutout_core::Problems;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the file is looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a text must have stayed the same before it is taken.
pub const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// The breakers at work.
#[derive(Debug)]
pub(crate) struct InUse {
    state: Mutex<State>,
    /// Tells that others were put in their place.
    pub(crate) replaced: Notify,
}

#[derive(Debug)]
struct State {
    breakers: Arc<Breakers>,
    /// Since when, Unix milliseconds of this machine's clock.
    since_ms: i64,
    /// How many mistakes the newest file has that was not taken; 0: the newest one is in use.
    mistakes: usize,
    /// What destinations of notifications ask for.
    wanted: Vec<Wanted>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// It is at work.
    Taken,
    /// It says what is at work already.
    Same,
    /// It has mistakes: what was at work before goes on.
    Refused,
}

impl InUse {
    pub(crate) fn new(breakers: Breakers, now_ms: i64) -> InUse {
        let wanted = Vec::new();
        let state = State { breakers: Arc::new(breakers), since_ms: now_ms, mistakes: 0, wanted };
        InUse { state: Mutex::new(state), replaced: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step, so a panic leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn breakers(&self) -> Arc<Breakers> {
        self.state().breakers.clone()
    }

    /// Since when they are at work (Unix milliseconds of this machine's clock), and how many mistakes a newer file has.
    pub(crate) fn since_and_mistakes(&self) -> (i64, usize) {
        let state = self.state();
        (state.since_ms, state.mistakes)
    }

    /// Keeps in mind what destinations of notifications ask for, and warns of what is not declared.
    pub(crate) fn asked_by(&self, wanted: Vec<Wanted>) {
        self.state().wanted = wanted;
        self.warn_of_undeclared();
    }

    /// What destinations of notifications ask for and these breakers do not declare.
    pub(crate) fn undeclared(&self) -> Vec<String> {
        let state = self.state();
        undeclared(&state.wanted, &state.breakers)
    }

    /// A file that renames a breaker is right in itself, so it is taken; who asked for the old name would hear nothing any more.
    fn warn_of_undeclared(&self) {
        for mistake in self.undeclared() {
            tracing::warn!(mistake, "a destination of notifications is told nothing of what it asks for");
        }
    }

    fn replace(&self, breakers: Breakers, now_ms: i64) -> Result<Reloaded, Problems> {
        let mut state = self.state();
        let own = state.breakers.revision;
        if breakers.revision < own {
            let mut problems = Problems::default();
            problems.note(format!(
                "revision {} is lower than {own}, which is at work: this instance would stand back and answer 503. To go back to an older file, give it a higher revision",
                breakers.revision
            ));
            return Err(problems);
        }
        state.mistakes = 0;
        if *state.breakers == breakers {
            return Ok(Reloaded::Same);
        }
        (state.breakers, state.since_ms) = (Arc::new(breakers), now_ms);
        drop(state);
        self.replaced.notify_one();
        Ok(Reloaded::Taken)
    }
}

/// Takes other breakers, or keeps those at work and tells the mistakes.
pub(crate) fn reload(shared: &Shared, read: Result<Breakers, Problems>) -> Reloaded {
    match read.and_then(|breakers| shared.in_use.replace(breakers, shared.clock.now_ms())) {
        Ok(Reloaded::Taken) => {
            metrics::reloaded("taken");
            let breakers = shared.breakers();
            let (revision, breakers) = (breakers.revision, breakers.declarations.len());
            tracing::info!(revision, breakers, "another breakers' file is at work");
            shared.in_use.warn_of_undeclared();
            Reloaded::Taken
        }
        Ok(same) => same,
        Err(problems) => {
            metrics::reloaded("refused");
            shared.in_use.state().mistakes = problems.iter().count();
            for mistake in problems.iter() {
                tracing::error!(mistake, "the breakers' file is not taken: the one before stays at work");
            }
            Reloaded::Refused
        }
    }
}

/// Follows the breakers' file for ever. `asked` returns when somebody wants it looked at now.
pub async fn follow(service: &Service, path: &Path, mut asked: impl AsyncFnMut()) {
    let mut known = None;
    loop {
        let at_once = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = asked() => true,
        };
        let text = text(path).await;
        if !at_once {
            if known.as_ref() == Some(&text) {
                continue;
            }
            tokio::time::sleep(SETTLED_AFTER).await;
            if self::text(path).await != text {
                continue;
            }
        }
        let file = path.display().to_string();
        let read = text.as_ref().map_err(|error| unreadable(&file, error));
        service.reload(read.and_then(|text| breakers::parse(&file, text)));
        known = Some(text);
    }
}

fn unreadable(file: &str, error: &str) -> Problems {
    let mut problems = Problems::default();
    problems.note(format!("the file {file} cannot be read: {error}"));
    problems
}

/// The file's text, or why there is none.
async fn text(path: &Path) -> Result<String, String> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
    match reading.await {
        Ok(text) => text.map_err(|error| Chain(&error).to_string()),
        Err(error) => Err(Chain(&error).to_string()),
    }
}
