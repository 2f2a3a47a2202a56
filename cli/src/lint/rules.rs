//! The rules: one line each, with the name that people accept or look up, how grave it is, and what is wrong.
//!
//! The list is a macro, so that a rule cannot be left out of it; `docs/lint.md` repeats it, and a test compares them.

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing. Never changes how the command ends.
    Note,
    /// It works worse than it could, or only for now.
    Warning,
    /// The breaker does not follow the monitor.
    Error,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What a rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A monitor's text: what `--fix-text` mends.
    Text,
    /// A monitor's other settings.
    Monitor,
    /// Monitors and breakers together.
    Breakers,
    /// The file of accepted findings.
    Accepted,
}

macro_rules! rules {
    ($($rule:ident $name:literal $severity:ident $subject:ident $wrong:literal;)*) => {
        /// A rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $wrong] $rule,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Rule] = &[$(Rule::$rule,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Rule::$rule => $name,)* }
            }

            /// How grave what it finds is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Rule::$rule => Severity::$severity,)* }
            }

            /// What it judges.
            #[must_use]
            pub fn subject(self) -> Subject {
                match self { $(Rule::$rule => Subject::$subject,)* }
            }

            /// What is wrong where it finds something.
            #[must_use]
            pub fn wrong(self) -> &'static str {
                match self { $(Rule::$rule => $wrong,)* }
            }
        }
    };
}

rules! {
    DirectiveMissing "directive-missing" Error Text "A managed monitor has no directive.";
    DirectiveCommented "directive-commented" Warning Text "A directive stands in a comment.";
    NoDirectiveOnAlert "no-directive-on-alert" Error Text "The directive is not in the text that goes out when the monitor alerts.";
    NoDirectiveOnWarning "no-directive-on-warning" Error Text "The directive is not in the text that goes out when the monitor warns.";
    NoDirectiveOnRecovery "no-directive-on-recovery" Error Text "The directive is not in the text that goes out when the monitor recovers.";
    NoDirectiveOnNoData "no-directive-on-no-data" Error Text "The directive is not in the text that goes out when data are missing, and the breaker acts on that.";
    DirectiveConditional "directive-conditional" Warning Text "The directive goes out for some groups only (`is_match`, `is_exact_match`, `is_priority`).";
    DirectiveOutsideBlocks "directive-outside-blocks" Note Text "The directive stands outside any block, and goes out with every notification.";
    DirectiveLate "directive-late" Warning Text "The directive stands so late that a shortened text may lose it.";
    BlockUnbalanced "block-unbalanced" Error Text "A block or comment is never closed, or closed without being open.";
    BlockUnknown "block-unknown" Warning Text "The directive or the handle stands in a block that Datadog does not document.";
    UrlMissing "url-missing" Error Text "A directive names no URL.";
    UrlTemplate "url-template" Error Text "A callback URL holds template variables, or is decided by a block.";
    UrlUnusable "url-unusable" Error Text "A callback URL is not in a form that is called.";
    UrlNotHttps "url-not-https" Error Text "A callback URL is plain http.";
    UrlGlued "url-glued" Error Text "A notification glues something to the callback URL.";
    HostNotAllowed "host-not-allowed" Error Text "A callback's host is not allowed.";
    SeveralUrls "several-urls" Warning Text "The directives name different URLs.";
    HandleMissing "handle-missing" Error Text "The text has no handle of the topic.";
    HandleGlued "handle-glued" Error Text "The handle is glued to another character.";
    HandleNotAlways "handle-not-always" Error Text "The handle is not in every text that matters.";
    PresetHidesFooter "preset-hides-footer" Error Monitor "The notification preset drops the links that name the monitor.";
    TagMissing "tag-missing" Error Monitor "The monitor lacks the bare tag of managed monitors.";
    RenotifyOff "renotify-off" Warning Monitor "Nothing repeats what a lost notification said: no reminders, and no scheduled run.";
    TagsHidden "tags-hidden" Note Monitor "The title of a notification does not name the group.";
    Draft "draft" Warning Monitor "The monitor is a draft, and drafts notify nobody.";
    NotifyByCoarser "notify-by-coarser" Warning Breakers "Notifications are grouped more coarsely than the breaker's key.";
    KeyTagMissing "key-tag-missing" Error Breakers "The monitor is not grouped by a tag of the breaker's key.";
    WhereTagMissing "where-tag-missing" Error Breakers "The breaker's `where` keeps every group of the monitor out.";
    MonitorUndeclared "monitor-undeclared" Error Breakers "No breaker listens to the monitor.";
    MonitorNumberUnknown "monitor-number-unknown" Note Breakers "The monitor has no number yet, and no breaker listens to its tags.";
    BreakerWithoutMonitor "breaker-without-monitor" Warning Breakers "A breaker listens to a monitor that is not among those read.";
    DeclaredByTags "declared-by-tags" Warning Breakers "A breaker knows its monitors by tags alone.";
    DeclaredTwice "declared-twice" Warning Breakers "Two breakers list the same monitor, and one group would move both.";
    NoDataPolicy "no-data-policy" Warning Breakers "What the monitor does with missing data contradicts the breaker's `no_data`.";
    WarningThresholdMissing "warning-threshold-missing" Warning Breakers "The breaker opens on warnings, and the monitor never warns.";
    AcceptanceUnused "acceptance-unused" Warning Accepted "An accepted finding is not there any more.";
}
