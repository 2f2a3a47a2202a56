//! How long signals are wrong: for each group of each monitor the time in which what is stored of it fires and the group
//! does not alert, or the reverse; summed over the groups of a history. Hints count, for callers see them; the breaker's
//! own least time open and ramp do not, for they are meant.

use crate::history::{History, START_MS};
use crate::service::{Job, What};
use crate::shadow::{Says, says};
use crate::wiring::Plain;
use crate::world::World;
use cutout_core::report::{NotifiedTransition, Status};
use jiff::Timestamp;

pub(crate) struct Score {
    signals: Vec<Watched>,
}

#[derive(Default)]
struct Watched {
    wrong_since_ms: Option<i64>,
    wrong_ms: i64,
    /// What the plain design holds, and of when.
    plain: bool,
    plain_ms: i64,
}

impl Score {
    pub(crate) fn new(history: &History) -> Score {
        Score { signals: history.groups().map(|_| Watched::default()).collect() }
    }

    /// Looks at every signal after something happened.
    pub(crate) fn look(&mut self, world: &World<'_>) {
        let policy = world.history.policy();
        for (watched, group) in self.signals.iter_mut().zip(world.history.groups()) {
            let truth = group.at(world.now_ms).map(|shows| says(policy, &shows.status, shows.muted));
            let fires = match world.wiring.plain {
                Some(_) => watched.plain,
                None => world.fires(group),
            };
            let wrong = truth.is_some_and(|truth| truth != Says::Holds && (truth == Says::Fires) != fires);
            if wrong {
                watched.wrong_since_ms.get_or_insert(world.now_ms);
            } else if let Some(since_ms) = watched.wrong_since_ms.take() {
                watched.wrong_ms += world.now_ms - since_ms.max(START_MS);
            }
        }
    }

    /// What is still wrong is so until the end. Gives the sum.
    pub(crate) fn end(&mut self, end_ms: i64) -> i64 {
        for watched in &mut self.signals {
            if let Some(since_ms) = watched.wrong_since_ms.take() {
                watched.wrong_ms += end_ms - since_ms;
            }
        }
        self.signals.iter().map(|watched| watched.wrong_ms).sum()
    }

    /// The plain design's write.
    pub(crate) fn set_plainly(&mut self, plain: Plain, job: &Job, history: &History) {
        let What::Callback(callback) = &job.what else { return };
        for (watched, group) in self.signals.iter_mut().zip(history.groups()) {
            let mine = group.signal.monitor_id == callback.monitor_id;
            let shown = callback.report.iter().flat_map(|report| &report.groups);
            let shown = shown.filter(|shown| mine && shown.tags == group.tags).map(|shown| {
                (shown.status == Status::Alert, shown.changed_at.map_or(0, Timestamp::as_millisecond))
            });
            let told =
                callback.notified.iter().filter(|told| mine && told.tags.as_ref() == Some(&group.tags));
            // SNS takes a message a moment after the change that it tells.
            let told = told.map(|told| {
                (
                    told.transition == NotifiedTransition::Alert,
                    told.at.as_millisecond() - history.profile.publish_ms,
                )
            });
            let set = match plain {
                Plain::Edge => told.chain(shown).next(),
                Plain::Newest => told.chain(shown).next().filter(|(_, at_ms)| *at_ms >= watched.plain_ms),
                Plain::Fetch => shown.fold(None, |_, shown| Some(shown)),
            };
            let Some((fires, at_ms)) = set else { continue };
            (watched.plain, watched.plain_ms) = (fires, at_ms);
        }
    }
}
