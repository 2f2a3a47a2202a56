//! The directives of a monitor's own message, before any notification has rendered it.
//!
//! Comments are dropped. Conditional blocks are read as if all of them were shown, so that a URL that stands in every
//! branch is found once. Where a URL depends on what is rendered (a variable in it, or a branch that begins within it or
//! between the keyword and it) it cannot be known here: it is counted and left out.
//!
//! Left out: judging the URLs (the guard's). What is opened and never closed is text.

use cutout_core::directive::{KEYWORD, callback_urls};

/// How much of a message is read, in bytes: much more than people write. What comes after it is not seen.
const MESSAGE_LEN_MAX: usize = 64 * 1024;
/// Stands for what is known only once it is rendered. No literal URL holds it, for the guard refuses braces.
const UNKNOWN: &str = "{{}}";
const TAG_START: &str = "{{";
const TAG_END: &str = "}}";
const COMMENT_START: &str = "{{!--";
const COMMENT_END: &str = "--}}";

/// What a message's directives name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// The URLs that are known without rendering, each distinct one once, in order.
    pub(super) urls: Vec<String>,
    /// How many distinct ones depend on what is rendered.
    pub(super) templated: usize,
}

impl Directives {
    pub(super) fn read(message: &str) -> Directives {
        let message = message.get(..message.floor_char_boundary(MESSAGE_LEN_MAX)).unwrap_or(message);
        let text = with_all_branches(&without_comments(message));
        let (templated, urls): (Vec<_>, Vec<_>) =
            callback_urls(&text).into_iter().partition(|url| url.contains(TAG_START));
        Directives { urls, templated: templated.len() }
    }
}

fn without_comments(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, comment)) = rest.split_once(COMMENT_START) {
        let Some((_, after)) = comment.split_once(COMMENT_END) else { break };
        text.push_str(before);
        rest = after;
    }
    text + rest
}

/// The text with all branches shown, and [`UNKNOWN`] where only rendering tells.
fn with_all_branches(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(TAG_END) {
        // Of several starts the last one is the tag's: an earlier one was never closed.
        let Some((before, inside)) = before.rsplit_once(TAG_START) else {
            text.push_str(before);
            text.push_str(TAG_END);
            rest = after;
            continue;
        };
        // `{{{x}}}` is not escaped, `{{{{raw}}}}` opens a block.
        let before = before.trim_end_matches('{');
        rest = after.trim_start_matches('}');
        text.push_str(before);
        text.push_str(match Tag::of(inside) {
            Tag::Comment => "",
            Tag::BranchEnd => " ",
            Tag::BranchStart if decides_a_url(&text, rest) => UNKNOWN,
            Tag::BranchStart => " ",
            Tag::Variable => UNKNOWN,
        });
    }
    text + rest
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

/// A tag of Datadog's templates, which are Handlebars.
enum Tag {
    /// `{{! … }}`, the short form.
    Comment,
    /// `{{#is_alert}}`, `{{^is_alert}}`.
    BranchStart,
    /// `{{/is_alert}}`, `{{else}}`: a URL ends here at the latest.
    BranchEnd,
    /// Any other: `{{bank_code.name}}`, `{{{value}}}`, `{{eval "…"}}`.
    Variable,
}

impl Tag {
    fn of(inside: &str) -> Tag {
        let inside = inside.trim_matches(['~', ' ']);
        match inside.chars().next() {
            Some('!') => Tag::Comment,
            Some('#' | '^') => Tag::BranchStart,
            Some('/') => Tag::BranchEnd,
            _ if inside == "else" || inside.starts_with("else ") => Tag::BranchEnd,
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
}
