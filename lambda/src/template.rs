//! A monitor's own message, before any notification has rendered it.
//!
//! [`Directives`] is what the scheduled run sees. Comments are dropped. Conditional blocks are read as if all of them were
//! shown, so that a URL that stands in every branch is found once. Where a URL depends on what is rendered (a variable in
//! it, or a branch that begins within it or between the keyword and it) it cannot be known here: it is counted and left out.
//!
//! [`Template::rendered`] is what a notification shows while given conditions hold, so that a text can be judged before it
//! is live. Left out: judging the URLs (the guard's), and the values of variables. What is opened and never closed is text.

use cutout_core::directive::{KEYWORD, callback_urls};

/// How much of a message is read, in bytes: much more than people write. What comes after it is not seen.
pub const MESSAGE_LEN_MAX: usize = 64 * 1024;
/// Stands for what is known only once it is rendered. No literal URL holds it, for the guard refuses braces.
pub const UNKNOWN: &str = "{{}}";
const TAG_START: &str = "{{";
const TAG_END: &str = "}}";
const COMMENT_START: &str = "{{!--";
const COMMENT_END: &str = "--}}";
/// `{{{{raw}}}} … {{{{/raw}}}}` is no condition.
const RAW: &str = "raw";

/// What a message's directives name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// The URLs that are known without rendering, each distinct one once, in order.
    pub urls: Vec<String>,
    /// How many distinct ones depend on what is rendered.
    pub templated: usize,
}

impl Directives {
    /// Reads a monitor's own message as the scheduled run does.
    #[must_use]
    pub fn read(message: &str) -> Directives {
        Template::read(message).directives()
    }
}

/// A message, taken apart.
#[derive(Debug, Clone)]
pub struct Template {
    /// The message without its long comments.
    text: String,
    comments: Vec<String>,
    open_comment: bool,
}

/// Why the blocks of a message do not fit together. What Datadog makes of such a text is not documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbalanced {
    /// This block is never closed.
    Open(String),
    /// This end, or `else`, belongs to no block, or to another one than the last that was opened.
    Close(String),
    /// A comment `{{!--` is never closed.
    Comment,
}

impl Template {
    /// Takes a message apart, as far as it is read.
    #[must_use]
    pub fn read(message: &str) -> Template {
        let message = message.get(..message.floor_char_boundary(MESSAGE_LEN_MAX)).unwrap_or(message);
        let (text, comments, open_comment) = without_comments(message);
        Template { text, comments, open_comment }
    }

    /// What the scheduled run sees.
    #[must_use]
    pub fn directives(&self) -> Directives {
        let text = with_all_branches(&self.text);
        let (templated, urls): (Vec<_>, Vec<_>) =
            callback_urls(&text).into_iter().partition(|url| url.contains(TAG_START));
        Directives { urls, templated: templated.len() }
    }

    /// What a notification shows while those conditions hold of which `holds` says so; it gets a condition's name, such as
    /// `is_alert`. Variables come out as [`UNKNOWN`]; block tags leave nothing behind, so that what stands on both sides
    /// of one is glued, as Datadog glues it.
    pub fn rendered(&self, holds: impl Fn(&str) -> bool) -> String {
        let mut text = String::with_capacity(self.text.len());
        // Whether each block that is open shows what stands here.
        let mut open: Vec<bool> = Vec::new();
        each_piece(&self.text, |piece, _| {
            let shown = open.iter().all(|shown| *shown);
            match piece {
                Piece::Text(part) if shown => text.push_str(part),
                Piece::Tag(Tag::Variable) if shown => text.push_str(UNKNOWN),
                Piece::Text(_) | Piece::Tag(Tag::Variable | Tag::Comment(_)) => {}
                Piece::Tag(Tag::Open { negated, name }) => open.push(holds(name) != negated),
                Piece::Tag(Tag::Else) => {
                    if let Some(last) = open.last_mut() {
                        *last = !*last;
                    }
                }
                Piece::Tag(Tag::Close(name)) if name != RAW => {
                    open.pop();
                }
                Piece::Tag(Tag::Close(_)) => {}
            }
        });
        text
    }

    /// What every notification shows: what stands outside all blocks, rendered in the same way.
    #[must_use]
    pub fn outside_blocks(&self) -> String {
        let mut text = String::new();
        let mut depth = 0_usize;
        each_piece(&self.text, |piece, _| match piece {
            Piece::Text(part) if depth == 0 => text.push_str(part),
            Piece::Tag(Tag::Variable) if depth == 0 => text.push_str(UNKNOWN),
            Piece::Tag(Tag::Open { .. }) => depth += 1,
            Piece::Tag(Tag::Close(name)) if name != RAW => depth = depth.saturating_sub(1),
            Piece::Text(_) | Piece::Tag(_) => {}
        });
        text
    }

    /// The names of its conditions, in order, each as often as it stands there.
    #[must_use]
    pub fn conditions(&self) -> Vec<String> {
        let mut names = Vec::new();
        each_piece(&self.text, |piece, _| {
            if let Piece::Tag(Tag::Open { name, .. }) = piece {
                names.push(name.to_owned());
            }
        });
        names
    }

    /// What stands in its comments, long and short ones.
    #[must_use]
    pub fn comments(&self) -> Vec<String> {
        let mut comments = self.comments.clone();
        each_piece(&self.text, |piece, _| {
            if let Piece::Tag(Tag::Comment(text)) = piece {
                comments.push(text.to_owned());
            }
        });
        comments
    }

    /// Where its blocks do not fit together.
    #[must_use]
    pub fn unbalanced(&self) -> Vec<Unbalanced> {
        let mut open: Vec<String> = Vec::new();
        let mut found = Vec::new();
        each_piece(&self.text, |piece, _| match piece {
            Piece::Tag(Tag::Open { name, .. }) => open.push(name.to_owned()),
            Piece::Tag(Tag::Else) if open.is_empty() => found.push(Unbalanced::Close("else".to_owned())),
            Piece::Tag(Tag::Close(name)) if name != RAW && open.pop().as_deref() != Some(name) => {
                found.push(Unbalanced::Close(name.to_owned()));
            }
            Piece::Tag(_) | Piece::Text(_) => {}
        });
        found.extend(open.into_iter().map(Unbalanced::Open));
        found.extend(self.open_comment.then_some(Unbalanced::Comment));
        found
    }
}

/// The text without its long comments, those, and whether one is never closed.
fn without_comments(message: &str) -> (String, Vec<String>, bool) {
    let mut text = String::with_capacity(message.len());
    let mut comments = Vec::new();
    let mut rest = message;
    while let Some((before, comment)) = rest.split_once(COMMENT_START) {
        let Some((inside, after)) = comment.split_once(COMMENT_END) else {
            return (text + rest, comments, true);
        };
        text.push_str(before);
        comments.push(inside.to_owned());
        rest = after;
    }
    (text + rest, comments, false)
}

/// The text with all branches shown, and [`UNKNOWN`] where only rendering tells.
fn with_all_branches(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    each_piece(message, |piece, rest| match piece {
        Piece::Text(part) => text.push_str(part),
        Piece::Tag(tag) => text.push_str(match tag {
            Tag::Comment(_) => "",
            // A URL ends here at the latest.
            Tag::Else | Tag::Close(_) => " ",
            Tag::Open { .. } if decides_a_url(&text, rest) => UNKNOWN,
            Tag::Open { .. } => " ",
            Tag::Variable => UNKNOWN,
        }),
    });
    text
}

/// Hands over each piece of a text, and what comes after it.
fn each_piece<'a>(message: &'a str, mut see: impl FnMut(Piece<'a>, &'a str)) {
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(TAG_END) {
        // Of several starts the last one is the tag's: an earlier one was never closed.
        let Some((before, inside)) = before.rsplit_once(TAG_START) else {
            see(Piece::Text(before), after);
            see(Piece::Text(TAG_END), after);
            rest = after;
            continue;
        };
        // `{{{x}}}` is not escaped, `{{{{raw}}}}` opens a block.
        rest = after.trim_start_matches('}');
        see(Piece::Text(before.trim_end_matches('{')), rest);
        see(Piece::Tag(Tag::of(inside)), rest);
    }
    see(Piece::Text(rest), "");
}

/// Whether what is shown or not between these texts is part of a word, or the URL of a directive.
fn decides_a_url(before: &str, after: &str) -> bool {
    let edge = char::is_whitespace;
    let within_word =
        !(before.is_empty() || before.ends_with(edge) || after.is_empty() || after.starts_with(edge));
    let words = before.trim_end_matches([' ', '\t']);
    let keyword = words.len().checked_sub(KEYWORD.len()).and_then(|start| words.get(start..));
    within_word || keyword.is_some_and(|keyword| keyword.eq_ignore_ascii_case(KEYWORD))
}

/// A part of a text.
enum Piece<'a> {
    Text(&'a str),
    Tag(Tag<'a>),
}

/// A tag of Datadog's templates, which are Handlebars.
enum Tag<'a> {
    /// `{{! … }}`, the short form.
    Comment(&'a str),
    /// `{{#is_alert}}`, `{{^is_alert}}`, `{{#is_match "env.name" "prod"}}`.
    Open { negated: bool, name: &'a str },
    /// `{{else}}`.
    Else,
    /// `{{/is_alert}}`.
    Close(&'a str),
    /// Any other: `{{bank_code.name}}`, `{{{value}}}`, `{{eval "…"}}`.
    Variable,
}

impl<'a> Tag<'a> {
    fn of(inside: &'a str) -> Tag<'a> {
        let inside = inside.trim_matches(['~', ' ']);
        let name = |text: &'a str| text.split_whitespace().next().unwrap_or_default();
        match inside.split_at_checked(1) {
            Some(("!", comment)) => Tag::Comment(comment),
            Some(("#", condition)) => Tag::Open { negated: false, name: name(condition) },
            Some(("^", condition)) => Tag::Open { negated: true, name: name(condition) },
            Some(("/", condition)) => Tag::Close(name(condition)),
            _ if inside == "else" || inside.starts_with("else ") => Tag::Else,
            _ => Tag::Variable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "https://a.example/cb";
    const B: &str = "https://b.example/cb";

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn literal_urls_are_found_and_others_counted() {
        for (message, urls, templated) in [
            ("", &[][..], 0),
            ("the vendor fails @sns-x", &[], 0),
            ("circuit-breaker-callback: A\n@sns-x", &[A], 0),
            // Branches.
            ("{{#is_alert}}\ncircuit-breaker-callback: A\n{{/is_alert}}", &[A], 0),
            ("{{#is_alert}}circuit-breaker-callback: A{{/is_alert}}@sns-x", &[A], 0),
            (
                "{{#is_alert}}circuit-breaker-callback: A{{/is_alert}}{{#is_recovery}}circuit-breaker-callback: A{{/is_recovery}}",
                &[A],
                0,
            ),
            (
                "{{#is_alert}}circuit-breaker-callback: A{{else}}circuit-breaker-callback: B{{/is_alert}}",
                &[A, B],
                0,
            ),
            ("{{^is_no_data}}circuit-breaker-callback: A {{ /is_no_data }}", &[A], 0),
            (
                "{{#is_exact_match \"env.name\" \"prod\"}}circuit-breaker-callback: A{{/is_exact_match}}",
                &[A],
                0,
            ),
            ("failing{{#is_alert}}: circuit-breaker-callback: A{{/is_alert}}", &[A], 0),
            ("circuit-breaker-callback: A{{#is_alert}} @sns-x{{/is_alert}}", &[A], 0),
            ("circuit-breaker-callback: A{{#is_alert}}\n@sns-x{{/is_alert}}", &[A], 0),
            ("circuit-breaker-callback: A{{~#is_alert~}}", &[A], 0),
            // Comments.
            ("{{!-- circuit-breaker-callback: B --}}circuit-breaker-callback: A", &[A], 0),
            ("{{!-- {{value}} circuit-breaker-callback: B\n--}}", &[], 0),
            ("{{! circuit-breaker-callback: B }}", &[], 0),
            ("circuit-breaker-callback: https://a.exam{{!-- so --}}ple/cb", &[A], 0),
            ("circuit-breaker-callback: A {{!-- never closed", &[A], 0),
            ("{{!-- never closed circuit-breaker-callback: A", &[A], 0),
            // Variables elsewhere.
            ("{{value}} > {{{threshold}}} circuit-breaker-callback: A {{eval \"a b\"}}", &[A], 0),
            ("{{{{raw}}}}{{ .x }}{{{{/raw}}}} circuit-breaker-callback: A", &[A], 0),
            ("open {{ circuit-breaker-callback: A", &[A], 0),
            ("open {{ circuit-breaker-callback: A{{/is_alert}}", &[A], 0),
            ("closed }} {{{ circuit-breaker-callback: A }}", &[], 0),
            // Variables in a URL, and URLs that a branch decides.
            ("circuit-breaker-callback: https://a.example/{{bank_code.name}}/cb", &[], 1),
            ("circuit-breaker-callback: {{{url}}}", &[], 1),
            (
                "circuit-breaker-callback: https://{{ env name }}.example/cb circuit-breaker-callback: A",
                &[A],
                1,
            ),
            (
                "circuit-breaker-callback: https://a.example/{{#is_alert}}on{{/is_alert}}{{#is_recovery}}off{{/is_recovery}}",
                &[],
                1,
            ),
            (
                "circuit-breaker-callback: {{#is_alert}}A{{/is_alert}}{{#is_recovery}}B{{/is_recovery}}",
                &[],
                1,
            ),
            ("Circuit-Breaker-Callback:{{#is_alert}}A{{else}}B{{/is_alert}}", &[], 1),
            ("circuit-breaker-callback: {{a.name}} circuit-breaker-callback: {{b.name}}", &[], 1),
            // A directive without URL stays one, for the guard to refuse.
            ("circuit-breaker-callback:", &[""], 0),
        ] {
            let message = message.replace(": A", &format!(": {A}")).replace(": B", &format!(": {B}"));
            let message = message.replace("}}A", &format!("}}}}{A}")).replace("}}B", &format!("}}}}{B}"));
            let urls = urls.iter().map(|url| (*url).to_owned()).collect();
            assert_eq!(Directives::read(&message), Directives { urls, templated }, "{message}");
        }
    }

    #[test]
    fn what_stands_beyond_the_limit_is_not_seen_and_nothing_there_costs_time() {
        let far = format!("{} circuit-breaker-callback: {A}", "{{#a}}銀".repeat(MESSAGE_LEN_MAX));
        assert_eq!(Directives::read(&far), Directives::default());
        for braces in ["{{", "}}", "{{!--", "{{!--}}"] {
            let near = format!("circuit-breaker-callback: {A} {}", braces.repeat(1_000_000));
            assert_eq!(Directives::read(&near).urls, [A]);
        }
    }

    fn shown(message: &str, holding: &[&str]) -> String {
        Template::read(message).rendered(|name| holding.contains(&name))
    }

    #[test]
    fn a_notification_shows_the_blocks_whose_conditions_hold() {
        for (message, alert, recovery) in [
            ("{{#is_alert}}a {{/is_alert}}b", "a b", "b"),
            ("{{^is_alert}}a{{/is_alert}}b", "b", "ab"),
            ("{{#is_alert}}a{{else}}c{{/is_alert}}b", "ab", "cb"),
            ("{{#is_alert}}{{#is_recovery}}x{{/is_recovery}}a{{/is_alert}}", "a", ""),
            ("{{#is_recovery}}x{{else}}{{^is_alert}}y{{/is_alert}}z{{/is_recovery}}", "z", "x"),
            ("a{{!-- {{#is_alert}}x --}}b{{! y }}c", "abc", "abc"),
            ("{{value}} {{{{raw}}}}z{{{{/raw}}}}", "{{}} {{}}z", "{{}} {{}}z"),
            ("{{#is_alert}}a never closed", "a never closed", ""),
            ("a{{/is_alert}}b", "ab", "ab"),
            ("open {{ closed", "open {{ closed", "open {{ closed"),
        ] {
            assert_eq!(shown(message, &["is_alert"]), alert, "{message}");
            assert_eq!(shown(message, &["is_recovery"]), recovery, "{message}");
        }
    }

    #[test]
    fn what_stands_outside_all_blocks_is_told() {
        let message = "a{{#is_alert}}b{{^is_x}}c{{/is_x}}d{{else}}e{{/is_alert}}f{{value}}{{/is_y}}g{{! h }}";
        assert_eq!(Template::read(message).outside_blocks(), "af{{}}g");
    }

    #[test]
    fn blocks_that_do_not_fit_together_are_told() {
        let close = |name: &str| Unbalanced::Close(name.to_owned());
        for (message, found) in [
            ("{{#is_alert}}a{{else}}b{{/is_alert}} {{{{raw}}}}x{{{{/raw}}}} {{value}}", vec![]),
            ("{{#is_match \"a.name\" \"b\"}}x{{/is_match}}{{!-- {{#is_alert}} --}}", vec![]),
            ("{{#is_alert}}a", vec![Unbalanced::Open("is_alert".to_owned())]),
            ("a{{/is_alert}}", vec![close("is_alert")]),
            ("{{#is_alert}}a{{/is_warning}}", vec![close("is_warning")]),
            ("a{{else}}", vec![close("else")]),
            ("a {{!-- b", vec![Unbalanced::Comment]),
        ] {
            assert_eq!(Template::read(message).unbalanced(), found, "{message}");
        }
    }

    #[test]
    fn conditions_and_comments_are_named() {
        let template = Template::read(
            "{{#is_match \"a\" \"b\"}}x{{/is_match}}{{^is_alert}}{{! y }}{{/is_alert}}{{!-- z --}}",
        );
        assert_eq!(template.conditions(), ["is_match", "is_alert"]);
        assert_eq!(template.comments(), [" z ", " y"]);
    }
}
