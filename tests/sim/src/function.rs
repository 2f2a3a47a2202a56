//! The function: invoked with a notification or by a schedule, it reads the monitors and sends what it read.
//!
//! What it does is the real function's way in short: retries by AWS, reads that fail or lag, what is read again, an
//! inventory after a complete run. What is on the wire is not here.

use crate::dice::{Dice, Stream};
use crate::history::{self, READ_LAG_MAX_MS, whole_secs};
use crate::plants::Plant;
use crate::profile::Profile;
use crate::service::{Job, Origin, What};
use crate::world::{Event, World};
use cutout_core::Callback;
use cutout_core::report::{CALLBACK_SCHEMA, Group, Monitor, Notified, Reason, Report};
use jiff::Timestamp;

/// When AWS invokes the function again after a failure, after the first and the second.
const RETRY_AFTER_MS: [i64; 2] = [60_000, 120_000];
/// How long the function waits before it reads again what did not agree.
const REREAD_EVERY_MS: i64 = 5_000;
/// From which age on a message is outdated, and not ahead of a read that lags.
const REREAD_AGE_LIMIT_MS: i64 = 120_000;

impl World<'_> {
    pub(crate) fn attempt(&mut self, nth_note: usize, nth: usize) {
        let history = self.history;
        let note = &history.notes[nth_note];
        if self.fails(history.profile.attempt_fails) {
            self.trace(|| format!("function: invocation {nth} for message {nth_note} fails"));
            return self.fail(Origin::Note { note: nth_note, nth, whole: true });
        }
        let took_ms = self.dice.ms(50..=1_500);
        let read_fails = self.fails(history.profile.read_fails);
        let report = match self.wiring.report && !read_fails {
            true => self.report(note.monitor, self.now_ms + took_ms),
            false => None,
        };
        let gone = history.monitors[note.monitor].gone_ms.is_some_and(|gone_ms| self.now_ms >= gone_ms);
        let told = self.wiring.hint || self.wiring.plain.is_some();
        let origin = Origin::Note { note: nth_note, nth, whole: report.is_some() || !self.wiring.report };
        if (gone && self.wiring.report) || (report.is_none() && !told) {
            return self.fail(origin);
        }
        let tags = note.group.map(|group| history.monitors[note.monitor].groups[group].tags.clone());
        let notified = told.then(|| Notified { at: at(note.at_ms), transition: note.transition, tags });
        let callback = callback(Reason::Notification, history.monitors[note.monitor].id, notified, report);
        let arrives_ms = self.now_ms + took_ms + self.way_ms();
        let agrees = callback.shows_what_was_told() || is_outdated(&callback);
        self.plan(arrives_ms, Event::Read(Box::new(Job::new(What::Callback(Box::new(callback)), origin))));
        if !agrees && self.wiring.rereads > 0 {
            self.plan(
                self.now_ms + REREAD_EVERY_MS,
                Event::Reread { note: nth_note, left: self.wiring.rereads },
            );
        }
    }

    /// The function looks again whether the report shows by now what the message tells, and sends it then.
    pub(crate) fn reread(&mut self, nth_note: usize, left: usize) {
        let note = &self.history.notes[nth_note];
        let took_ms = self.dice.ms(50..=1_500);
        let Some(report) = self.report(note.monitor, self.now_ms + took_ms) else { return };
        let monitor = &self.history.monitors[note.monitor];
        let tags = note.group.map(|group| monitor.groups[group].tags.clone());
        let notified = Some(Notified { at: at(note.at_ms), transition: note.transition, tags });
        let callback = callback(Reason::Notification, monitor.id, notified, Some(report));
        if callback.shows_what_was_told() {
            let arrives_ms = self.now_ms + took_ms + self.way_ms();
            self.plan(
                arrives_ms,
                Event::Read(Box::new(Job::new(What::Callback(Box::new(callback)), Origin::Nobody))),
            );
        } else if left > 1 {
            self.plan(self.now_ms + REREAD_EVERY_MS, Event::Reread { note: nth_note, left: left - 1 });
        }
    }

    /// How long a callback takes from the function into the service's hands.
    fn way_ms(&mut self) -> i64 {
        let slow = self.fails(self.history.profile.slow_write);
        if slow { self.dice.ms(300..=33_000) } else { self.dice.ms(10..=300) }
    }

    /// The monitor as Datadog answers at `at_ms`; none if it is gone.
    fn report(&mut self, monitor: usize, at_ms: i64) -> Option<Report> {
        let shows_ms = at_ms - self.lag_ms(at_ms);
        self.report_as_of(monitor, at_ms, shows_ms)
    }

    /// How far a read at `at_ms` is behind.
    fn lag_ms(&mut self, at_ms: i64) -> i64 {
        let lag_ms = |dice: &mut Dice, permille| {
            if dice.permille(permille) { dice.ms(0..=READ_LAG_MAX_MS) } else { 0 }
        };
        let Profile { read_lags, lag_stays, .. } = self.history.profile;
        if !lag_stays {
            return lag_ms(&mut self.dice, read_lags);
        }
        let period = at_ms.div_euclid(READ_LAG_MAX_MS).unsigned_abs();
        lag_ms(&mut Dice::new(self.history.seed.rotate_left(32) ^ period, Stream::Lag), read_lags)
    }

    fn report_as_of(&self, monitor: usize, at_ms: i64, shows_ms: i64) -> Option<Report> {
        read_of(&self.history.monitors[monitor], at_ms, shows_ms)
    }

    /// A scheduled run.
    pub(crate) fn tick(&mut self) {
        let Some(period_ms) = self.wiring.period_ms.filter(|_| self.plant != Some(Plant::ReconcileOff))
        else {
            return;
        };
        if self.now_ms + period_ms <= self.until_ms {
            self.plan(self.now_ms + period_ms, Event::Tick);
        }
        if self.fails(self.history.profile.attempt_fails) {
            self.trace(|| "function: the scheduled run fails".to_owned());
            return;
        }
        let listed_ms = self.now_ms + self.dice.ms(100..=1_500);
        let shows_ms = listed_ms - self.lag_ms(listed_ms);
        let cut_short = self.fails(self.history.profile.read_fails);
        let mut monitor_ids = Vec::new();
        for (nth, monitor) in self.history.monitors.iter().enumerate() {
            if cut_short && nth == 1 {
                break;
            }
            let Some(report) = self.report_as_of(nth, listed_ms, shows_ms) else { continue };
            monitor_ids.push(monitor.id);
            let arrives_ms = listed_ms + self.way_ms();
            let what = What::Callback(Box::new(callback(Reason::Reconcile, monitor.id, None, Some(report))));
            self.plan(arrives_ms, Event::Read(Box::new(Job::new(what, Origin::Tick))));
        }
        if !cut_short && self.history.profile.rich {
            let as_of_ms = whole_secs(self.now_ms);
            self.plan(listed_ms + 400, Event::Inventory { monitor_ids, as_of_ms });
        }
    }

    pub(crate) fn inventory(&mut self, monitor_ids: Vec<u64>, as_of_ms: i64) {
        if self.rig.is_some() {
            let job = Job::new(What::Inventory { monitor_ids, as_of_ms }, Origin::Tick);
            return self.plan(self.now_ms, Event::Read(Box::new(job)));
        }
        if self.history.in_outage(self.now_ms) || self.history.store_is_away(self.now_ms) {
            return;
        }
        let missing = self.store.monitors().filter(|(id, seen)| seen.managed && !monitor_ids.contains(id));
        for monitor_id in missing.map(|(id, _)| id).collect::<Vec<_>>() {
            let job = Job::new(What::Gone { monitor_id, as_of_ms }, Origin::Tick);
            self.plan(self.now_ms, Event::Read(Box::new(job)));
        }
    }

    /// The attempt is an error: AWS tries again, three times in all. A scheduled run does not.
    pub(crate) fn fail(&mut self, origin: Origin) {
        let Origin::Note { note, nth, .. } = origin else { return };
        self.tally.failed_attempts += 1;
        if let Some(wait_ms) = RETRY_AFTER_MS.get(nth) {
            self.plan(self.now_ms + wait_ms, Event::Attempt { note, nth: nth + 1 });
        }
    }
}

/// What a read that is answered at `at_ms` shows of a monitor, if it shows how it was at `shows_ms`; none: it is gone.
pub(crate) fn read_of(truth: &history::Monitor, at_ms: i64, shows_ms: i64) -> Option<Report> {
    if truth.gone_ms.is_some_and(|gone_ms| shows_ms >= gone_ms) {
        return None;
    }
    let groups = truth.groups.iter().filter_map(|group| {
        let shows = group.at(shows_ms)?;
        Some(Group {
            name: String::new(),
            tags: group.tags.clone(),
            status: shows.status.clone(),
            changed_at: shows.changed_ms.map(at),
            muted: shows.muted,
        })
    });
    let groups = groups.collect();
    Some(Report { as_of: at(whole_secs(at_ms)), monitor: Monitor::default(), groups })
}

/// Whether the message is too old for the report to be behind it.
fn is_outdated(callback: &Callback) -> bool {
    let (Some(told), Some(report)) = (&callback.notified, &callback.report) else { return true };
    report.as_of.as_millisecond() - told.at.as_millisecond() > REREAD_AGE_LIMIT_MS
}

pub(crate) fn callback(
    reason: Reason,
    monitor_id: u64,
    notified: Option<Notified>,
    report: Option<Report>,
) -> Callback {
    Callback {
        schema: CALLBACK_SCHEMA.to_owned(),
        source: String::new(),
        reason,
        to: String::new(),
        event_id: None,
        monitor_id,
        notified,
        report,
        event: None,
    }
}

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}
