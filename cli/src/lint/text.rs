//! The rules about a monitor's text: is the directive, with its URL, and the handle, in every notification that matters?
//!
//! The text is rendered as Datadog would for each transition, by the function's own reader of templates, and searched by the
//! function's own search for directives; its guard judges the URLs. So lint finds what the function would find.
//!
//! What the facts leave open: whether a text outside blocks is better or worse. It goes out on every transition, so
//! nothing is wrong with it; that is why it is a note.

use super::finding::Findings;
use super::handle::Handles;
use super::monitor::Monitor;
use super::rules::Rule;
use super::transitions::{Transition, is_documented};
use cutout_core::directive::{KEYWORD, callback_urls};
use cutout_lambda::guard::{Guard, Refused};
use cutout_lambda::template::{Directives, Template, Unbalanced};
use std::collections::BTreeSet;

/// How much of a text is sure to be told, in characters: Datadog's limit for an event's text. That of SNS is not documented.
pub const TEXT_LEN_MAX: usize = 4_000;

/// What a text is judged by.
pub(super) struct Judge<'a> {
    pub(super) guard: &'a Guard,
    /// Whether the guard knows which hosts are allowed.
    pub(super) knows_hosts: bool,
    pub(super) handles: &'a Handles,
}

/// A text as one notification shows it.
struct Shown {
    transition: &'static Transition,
    text: String,
    urls: Vec<String>,
}

impl Judge<'_> {
    /// Judges the text of a monitor; `needed` is what its breakers must hear of.
    pub(super) fn text(&self, monitor: &Monitor, needed: &[&'static Transition], found: &mut Findings<'_>) {
        let template = Template::read(&monitor.message);
        let directives = template.directives();
        let shown = shown(&template, needed);
        blocks(&template, self.handles, found);
        if comments_hold_a_directive(&template) {
            found.note(
                Rule::DirectiveCommented,
                "Datadog drops comments, so this directive does nothing".to_owned(),
                "take it out of the comment, or delete it",
            );
        }
        if directives.urls.is_empty() && directives.templated == 0 {
            missing(&monitor.message, found);
        } else {
            directive_shown(&shown, needed, found);
            outside(&template, found);
        }
        self.urls(&monitor.message, &directives, &shown, found);
        self.handles(&shown, needed, found);
    }

    fn urls(&self, message: &str, directives: &Directives, shown: &[Shown], found: &mut Findings<'_>) {
        if directives.templated > 0 {
            found.note_at(
                line_of_template(message),
                Rule::UrlTemplate,
                "Datadog renders variables empty in some notifications and escapes them in others, and the scheduled run \
                 skips the URL: it cannot know it"
                    .to_owned(),
                "write the URL out, whole, after the keyword, the same in each block",
            );
        }
        for url in &directives.urls {
            let line = line_of(message, url);
            if url.is_empty() {
                found.note_at(
                    line,
                    Rule::UrlMissing,
                    "after the keyword there is no URL in the same line".to_owned(),
                    "write the URL behind the keyword",
                );
            } else if let Err(refused) = self.guard.check(url)
                && let Some(rule) = self.rule_of(&refused)
            {
                let mend = "correct the URL in the message, or the function's settings if the host is yours";
                found.note_at(line, rule, refused.to_string(), mend);
            }
        }
        if directives.urls.len() + directives.templated > 1 {
            found.note(
                Rule::SeveralUrls,
                format!(
                    "each of {} URLs is called, by the scheduled run whatever block it stands in",
                    directives.urls.len() + directives.templated
                ),
                "name one URL, the same in each block; let a second service have a monitor of its own",
            );
        }
        let literal: BTreeSet<&str> = directives.urls.iter().map(String::as_str).collect();
        let glued = |shown: &&Shown| {
            directives.templated == 0 && shown.urls.iter().any(|url| !literal.contains(url.as_str()))
        };
        if let Some(shown) = shown.iter().find(glued) {
            found.note(
                Rule::UrlGlued,
                format!(
                    "on {} what stands behind the block follows the URL without a blank, so that another URL is called",
                    shown.transition.words
                ),
                "put a blank between the URL and what follows, also before the end of its block",
            );
        }
    }

    /// None where only the list of allowed hosts could tell.
    fn rule_of(&self, refused: &Refused) -> Option<Rule> {
        match refused {
            Refused::PlainHttp { .. } => Some(Rule::UrlNotHttps),
            Refused::NotListed { .. } | Refused::LiteralNotListed { .. } | Refused::Address { .. } => {
                self.knows_hosts.then_some(Rule::HostNotAllowed)
            }
            Refused::Length { .. }
            | Refused::Character
            | Refused::Scheme
            | Refused::Userinfo { .. }
            | Refused::Malformed(_)
            | Refused::Spelling { .. } => Some(Rule::UrlUnusable),
        }
    }

    fn handles(&self, shown: &[Shown], needed: &[&'static Transition], found: &mut Findings<'_>) {
        let seen: Vec<_> =
            shown.iter().map(|shown| (shown.transition, self.handles.seen_in(&shown.text))).collect();
        if seen.iter().all(|(_, seen)| !seen.any()) {
            found.note(
                Rule::HandleMissing,
                format!("without {} nothing reaches the topic, and only the scheduled run tells the service", self.handles),
                "add the handle on a line of its own, outside the blocks; if a notification rule adds it, accept this",
            );
            return;
        }
        if seen.iter().any(|(_, seen)| seen.glued) {
            found.note(
                Rule::HandleGlued,
                "Datadog reads a handle up to the next blank, and needs one before it".to_owned(),
                "put the handle on a line of its own",
            );
        }
        let lacks = |transition: &&Transition| {
            !seen.iter().any(|(of, seen)| std::ptr::eq(*of, *transition) && seen.any())
        };
        let lacking: Vec<&str> = needed.iter().copied().filter(|it| lacks(it)).map(|it| it.words).collect();
        if !lacking.is_empty() {
            found.note(
                Rule::HandleNotAlways,
                format!("on {} nothing is sent to the topic", lacking.join(", ")),
                "put the handle outside the blocks",
            );
        }
    }
}

/// What each transition shows: where conditions on the group hold, and where they do not.
fn shown(template: &Template, needed: &[&'static Transition]) -> Vec<Shown> {
    let of = |transition: &'static Transition, matching: bool| {
        let text = template.rendered(|condition| transition.holds(condition, matching));
        Shown { transition, urls: callback_urls(&text), text }
    };
    needed.iter().flat_map(|transition| [of(transition, true), of(transition, false)]).collect()
}

fn missing(message: &str, found: &mut Findings<'_>) {
    let reason = if speaks_of_us(message) {
        format!(
            "what looks like one is none: it starts with {KEYWORD} as a word of its own, and a URL follows"
        )
    } else {
        "the monitor is managed, or listed by a breaker, and its message names no service to tell".to_owned()
    };
    found.note(
        Rule::DirectiveMissing,
        reason,
        "put the directive first in the message: cutout lint --fix-text prints it",
    );
}

/// Is the directive in each text that matters, for all groups, and early enough?
fn directive_shown(shown: &[Shown], needed: &[&'static Transition], found: &mut Findings<'_>) {
    let is = |of: &Shown, transition: &'static Transition| std::ptr::eq(of.transition, transition);
    for rule in [
        Rule::NoDirectiveOnAlert,
        Rule::NoDirectiveOnWarning,
        Rule::NoDirectiveOnRecovery,
        Rule::NoDirectiveOnNoData,
    ] {
        let lacks = |transition: &&&'static Transition| {
            !shown.iter().any(|it| is(it, transition) && !it.urls.is_empty())
        };
        let of_rule = needed.iter().filter(|transition| transition.rule == rule);
        let lacking: Vec<&str> = of_rule.filter(lacks).map(|transition| transition.words).collect();
        if !lacking.is_empty() {
            found.note(
                rule,
                format!(
                    "on {} the text has no directive, so the breaker waits for the scheduled run",
                    lacking.join(", ")
                ),
                "give that transition a block with the directive: cutout lint --fix-text prints the text",
            );
        }
    }
    let partial = |transition: &&'static Transition| {
        let mut having = shown.iter().filter(|it| is(it, transition)).map(|it| !it.urls.is_empty());
        having.next() != having.next()
    };
    if needed.iter().any(partial) {
        found.note(
            Rule::DirectiveConditional,
            "notifications of some groups have no directive, and the scheduled run reports all groups whatever the block says"
                .to_owned(),
            "take it out of the block, and say in the breakers' file which groups count: where = { … }",
        );
    }
    let late = |shown: &Shown| {
        let at = shown.text.to_ascii_lowercase().find(KEYWORD);
        let before = at.and_then(|at| shown.text.get(..at)).map_or(0, |before| before.chars().count());
        let longest = shown.urls.iter().map(|url| url.chars().count()).max().unwrap_or_default();
        before + KEYWORD.len() + 1 + longest > TEXT_LEN_MAX
    };
    if shown.iter().any(late) {
        found.note(
            Rule::DirectiveLate,
            format!("Datadog tells no more than {TEXT_LEN_MAX} characters of an event's text, and SNS's limit is not known"),
            "put the directive first in the message",
        );
    }
}

/// Does a directive stand outside all blocks?
fn outside(template: &Template, found: &mut Findings<'_>) {
    if !callback_urls(&template.outside_blocks()).is_empty() {
        found.note(
            Rule::DirectiveOutsideBlocks,
            "it goes out with reminders and missing data too; that changes nothing, for a callback may come twice".to_owned(),
            "nothing has to be done",
        );
    }
}

/// Blocks that do not fit together, and blocks that nobody documents around what must be shown.
fn blocks(template: &Template, handles: &Handles, found: &mut Findings<'_>) {
    for unbalanced in template.unbalanced() {
        let reason = match unbalanced {
            Unbalanced::Open(name) => format!("the block {name} is never closed"),
            Unbalanced::Close(name) => {
                format!("the end {name} closes no block, or not the last one that was opened")
            }
            Unbalanced::Comment => "a comment is never closed".to_owned(),
        };
        found.note(Rule::BlockUnbalanced, reason, "close each block by {{/its name}}, in the reverse order");
    }
    let unknown: BTreeSet<String> =
        template.conditions().into_iter().filter(|name| !is_documented(name)).collect();
    let depends = |name: &String| {
        let shows = |holds: bool| {
            let text = template.rendered(|condition| condition != name || holds);
            (callback_urls(&text).len(), handles.seen_in(&text).any())
        };
        shows(true) != shows(false)
    };
    for name in unknown.iter().filter(|name| depends(name)) {
        found.note(
            Rule::BlockUnknown,
            format!("{name} is none of the conditions that Datadog documents, so nobody knows when it holds"),
            "use is_alert, is_warning, is_recovery and is_no_data",
        );
    }
}

fn comments_hold_a_directive(template: &Template) -> bool {
    template.comments().iter().any(|comment| !callback_urls(comment).is_empty())
}

/// The line of the message, from 1, that has this URL, or any directive.
fn line_of(message: &str, url: &str) -> Option<usize> {
    let lines = || (1..).zip(message.lines());
    let has = |line: &str| {
        callback_urls(line).iter().any(|own| own == url || !url.is_empty() && own.starts_with(url))
    };
    let exact = lines().find(|(_, line)| has(line)).map(|(number, _)| number);
    exact.or_else(|| first_line(message))
}

fn line_of_template(message: &str) -> Option<usize> {
    let mut lines = (1..).zip(message.lines());
    let found = lines.find(|(_, line)| Directives::read(line).templated > 0).map(|(number, _)| number);
    found.or_else(|| first_line(message))
}

/// The line of the first directive.
pub(super) fn first_line(message: &str) -> Option<usize> {
    (1..).zip(message.lines()).find(|(_, line)| !callback_urls(line).is_empty()).map(|(number, _)| number)
}

/// Whether a text seems to be for Cutout, however wrong.
pub(super) fn speaks_of_us(message: &str) -> bool {
    message.to_lowercase().replace('_', "-").contains(KEYWORD.trim_end_matches(':'))
}
