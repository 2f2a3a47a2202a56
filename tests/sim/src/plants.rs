//! Bugs that can be planted, each by its name, to see that the checker catches it. They sit in the simulation's own
//! wiring: the code under test is never touched.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    NoCompareAndSet,
    TiesByArrival,
    NoTieBreak,
    ReceiversClock,
    AnswerBeforeCommit,
    ReconcileOff,
    ReconcilePlainSet,
    KeyedByMonitor,
    NoKey,
    OrDropped,
    NoSnapshotAfterReconnect,
    LostIsClosed,
    FullClose,
    OldHint,
    HintAsReport,
    VanishedAtOnce,
    NoTimers,
    PublishesAlways,
    NoMinOpen,
    OverrideUndone,
    OverrideForEver,
    OverrideNotRestored,
    PauseIgnored,
    NeverStale,
}

/// All of them: the name on the command line, and what is wrong.
pub(crate) const ALL: [(Plant, &str, &str); 24] = [
    (
        Plant::NoCompareAndSet,
        "no-compare-and-set",
        "no compare-and-set: writes do not name the revision that they were decided on",
    ),
    (
        Plant::TiesByArrival,
        "ties-by-arrival",
        "`>` turned `>=`: of two equally new reads the later to arrive wins",
    ),
    (
        Plant::NoTieBreak,
        "no-tie-break",
        "no tie-break: of two equally new reads the first to arrive stays, whatever it says",
    ),
    (
        Plant::ReceiversClock,
        "receivers-clock",
        "receiver's clock: what is newer is decided by when the service took it",
    ),
    (Plant::AnswerBeforeCommit, "answer-before-commit", "answer before commit: 200 comes before the write"),
    (Plant::ReconcileOff, "reconcile-off", "reconcile off: there is no scheduled run"),
    (
        Plant::ReconcilePlainSet,
        "reconcile-plain-set",
        "reconcile by plain set: the scheduled run overwrites, whatever is newer",
    ),
    (
        Plant::KeyedByMonitor,
        "keyed-by-monitor",
        "state keyed by monitor without group: its groups are one signal",
    ),
    (Plant::NoKey, "no-key", "one breaker for all keys"),
    (
        Plant::OrDropped,
        "or-dropped",
        "OR over monitors dropped: one monitor's recovery takes back what the other says",
    ),
    (
        Plant::NoSnapshotAfterReconnect,
        "no-snapshot-after-reconnect",
        "snapshot skipped after reconnect: a follower goes on reading changes only",
    ),
    (
        Plant::LostIsClosed,
        "lost-is-closed",
        "lost epoch read as closed: flags that the store lost count as closed",
    ),
    (Plant::FullClose, "full-close", "full close on recovery: all calls flow at once"),
    (Plant::OldHint, "old-hint", "hint accepted when old: a notification acts whatever its age"),
    (Plant::HintAsReport, "hint-as-report", "a notification's text is taken for the group's status"),
    (Plant::VanishedAtOnce, "vanished-at-once", "a group missing from one report counts as gone"),
    (Plant::NoTimers, "no-timers", "nobody writes what time alone brings"),
    (Plant::PublishesAlways, "publishes-always", "what changes nothing is published too"),
    (Plant::NoMinOpen, "no-min-open", "a breaker leaves open at once"),
    (Plant::OverrideUndone, "override-undone", "override undone by a signal: it ends what a person ordered"),
    (Plant::OverrideForEver, "override-for-ever", "an override does not end at its time"),
    (
        Plant::OverrideNotRestored,
        "override-not-restored",
        "an override that the store lost is not brought back",
    ),
    (Plant::PauseIgnored, "pause-ignored", "signals open breakers of a paused scope"),
    (Plant::NeverStale, "never-stale", "what no report confirms counts for ever"),
];

impl Plant {
    pub(crate) fn by_name(name: &str) -> Option<Plant> {
        ALL.iter().find(|(_, known, _)| *known == name).map(|(plant, ..)| *plant)
    }

    pub(crate) fn name(self) -> &'static str {
        ALL.iter().find(|(plant, ..)| *plant == self).map_or("", |(_, name, _)| name)
    }
}
