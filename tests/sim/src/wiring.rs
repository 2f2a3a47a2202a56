//! Which parts of the path are used: to measure what each is worth, and what the plain design does in the same histories.

/// A design without order: the last to write wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// The message's text is set.
    Edge,
    /// The same, but what is older by its own time is refused.
    Newest,
    /// The monitor is read when the message comes, and set.
    Fetch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wiring {
    /// Whether callbacks hold the hint.
    pub(crate) hint: bool,
    /// Whether the function reads the monitor.
    pub(crate) report: bool,
    /// How often all monitors are read.
    pub(crate) period_ms: Option<i64>,
    /// Not this design but a plain one.
    pub(crate) plain: Option<Plain>,
    /// Another greatest age of a hint.
    pub(crate) hint_age_ms: Option<i64>,
    /// A hint ends with a report that was read so long after it, whatever the report shows.
    pub(crate) seen_past_ms: Option<i64>,
    /// While the report does not show what the message tells, the function reads it again so often, every 5 s.
    pub(crate) rereads: usize,
}

/// The design.
pub(crate) const WHOLE: Wiring = Wiring {
    hint: true,
    report: true,
    period_ms: Some(60_000),
    plain: None,
    hint_age_ms: None,
    seen_past_ms: None,
    rereads: 2,
};

impl Wiring {
    /// Whether everything must be right in the end.
    pub(crate) fn is_whole(&self) -> bool {
        self.plain.is_none() && self.report && self.period_ms.is_some() && !self.has_other_rules()
    }

    /// Whether hints keep other rules than the design's, which the checker does not know.
    pub(crate) fn has_other_rules(&self) -> bool {
        self.hint_age_ms.is_some() || self.seen_past_ms.is_some()
    }
}
