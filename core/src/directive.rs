//! The directive: the line `circuit-breaker-callback: <URL>` in a monitor's message.
//!
//! The text has gone through an author, Datadog's templates and a flattening of Markdown, so the URL may come
//! HTML-escaped, in angle brackets, as a Markdown link, or with a full stop behind it. This module finds what was
//! meant and leaves judging it to the guard: a directive whose URL is missing or unusable is returned as it stands,
//! so that it becomes an error and never silence.

/// What a line starts with, in any case.
pub const KEYWORD: &str = "circuit-breaker-callback:";

/// The URLs of all directives in `text`, each distinct one once, in order. Empty: there is no directive.
/// A directive without a URL gives an empty text.
///
/// ```
/// use cutout_core::directive::callback_urls;
///
/// let message = "Bank 0001 fails.\ncircuit-breaker-callback: <https://service-a.example/callback> @sns-dd-circuit-breaker";
/// assert_eq!(callback_urls(message), ["https://service-a.example/callback"]);
/// assert!(callback_urls("Bank 0001 fails.").is_empty());
/// ```
#[must_use]
pub fn callback_urls(text: &str) -> Vec<String> {
    // ASCII lower-casing keeps every byte offset, so positions found here hold in `text`.
    let lower = text.to_ascii_lowercase();
    let mut urls = Vec::new();
    for (start, _) in lower.match_indices(KEYWORD) {
        let before = text.get(..start).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_') {
            continue; // part of a longer word
        }
        let after = text.get(start + KEYWORD.len()..).unwrap_or_default();
        let url = url_in(after.lines().next().unwrap_or_default());
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

/// The URL at the start of the rest of a directive's line.
fn url_in(rest: &str) -> String {
    let rest = rest.trim_start_matches([' ', '\t', '\u{a0}', '*', '_', '`']);
    if let Some(target) = markdown_link_target(rest) {
        return strip(&unescape(target));
    }
    let token = rest.split_whitespace().next().unwrap_or_default();
    let token = unescape(token);
    match markdown_link_target(&token) {
        Some(target) => strip(target),
        None => strip(&token),
    }
}

/// `url` of `[text](url)`, whose text may hold blanks. The URL ends at a blank: a title may follow, or the link is never closed.
fn markdown_link_target(text: &str) -> Option<&str> {
    let (_, target) = text.strip_prefix('[')?.split_once("](")?;
    let inside = target.split_once(')').map_or(target, |(inside, _)| inside);
    Some(inside.split_whitespace().next().unwrap_or_default())
}

/// Takes off what a sentence or a markup puts around a URL.
fn strip(token: &str) -> String {
    let token = token.trim_start_matches(['<', '(', '[', '"', '\'', '`', '*']);
    let token = match token.split_once('>') {
        Some((inside, _)) => inside,
        None => token,
    };
    token.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '>', '"', '\'', '`', '*']).to_owned()
}

/// Undoes HTML's character references once: the five named ones that Datadog's escaping writes, and numeric ones.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after.split_once(';').and_then(|(name, tail)| Some((character(name)?, tail)));
        match reference {
            Some((character, tail)) => {
                plain.push(character);
                rest = tail;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://service-a.example.internal/dd_circuit_breaker/callback";

    #[test]
    fn an_authors_ways_of_writing_it_all_give_the_url() {
        for text in [
            format!("circuit-breaker-callback: {URL}"),
            format!("Circuit-Breaker-Callback:{URL} @sns-topic"),
            format!("circuit-breaker-callback: <{URL}>, then"),
            format!("circuit-breaker-callback: &lt;{URL}&gt;"),
            format!("circuit-breaker-callback: [{URL}]({URL}) @sns-topic"),
            format!("circuit-breaker-callback: [call us back]({URL})"),
            format!("circuit-breaker-callback: [call us back]({URL} \"a title\")"),
            format!("circuit-breaker-callback: [never closed]({URL} @sns-topic"),
            format!("circuit-breaker-callback: [never closed]({URL}\r"),
            format!("**circuit-breaker-callback:** `{URL}`."),
            format!("(circuit-breaker-callback: {URL})"),
            format!("銀行\r\ncircuit-breaker-callback: {URL}\r\n@sns-topic"),
        ] {
            assert_eq!(callback_urls(&text), [URL], "{text}");
        }
    }

    #[test]
    fn html_escapes_are_undone_once() {
        let text = format!("circuit-breaker-callback: {URL}?a=1&amp;b=2&#x3D;&#39;x&amp;amp;y");
        assert_eq!(callback_urls(&text), [format!("{URL}?a=1&b=2='x&amp;y")]);
    }

    #[test]
    fn each_distinct_url_is_given_once_in_order() {
        let text = format!("{KEYWORD} {URL}\n{KEYWORD} https://b.example/cb\n{KEYWORD} {URL}");
        assert_eq!(callback_urls(&text), [URL, "https://b.example/cb"]);
    }

    #[test]
    fn a_directive_without_url_is_not_silence() {
        assert_eq!(callback_urls("circuit-breaker-callback:\nhttps://next.line/"), [""]);
        assert_eq!(callback_urls("circuit-breaker-callback:   "), [""]);
    }

    #[test]
    fn other_text_has_no_directive() {
        for text in ["", "circuit-breaker", "my-circuit-breaker-callback: https://x/", "callback: https://x/"]
        {
            assert!(callback_urls(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_keyword_within_a_longer_word_is_no_directive() {
        for before in ["x", "9", "_", "-", "\u{e9}"] {
            assert!(callback_urls(&format!("{before}{KEYWORD} {URL}")).is_empty(), "{before}");
        }
        for before in ["(", "\"", ":", "\u{3000}"] {
            assert_eq!(callback_urls(&format!("{before}{KEYWORD} {URL}")), [URL], "{before}");
        }
    }

    #[test]
    fn every_named_reference_is_undone_and_what_is_none_stays() {
        let text = format!(
            "{KEYWORD} {URL}?a=&quot;1&quot;&b=&apos;2&apos;&c=&lt;3&gt;&amp;d&nbsp;&#xZ;&#1114112;e&f"
        );
        assert_eq!(unescape("&quot;&apos;&lt;&gt;&amp;"), "\"'<>&");
        assert_eq!(unescape("&nbsp; &#xZ; &#1114112; &#; & &;"), "&nbsp; &#xZ; &#1114112; &#; & &;");
        assert_eq!(callback_urls(&text), [format!("{URL}?a=\"1\"&b='2'&c=<3")]);
        assert_eq!(callback_urls(&format!("{KEYWORD} {URL}?a=1&b=2")), [format!("{URL}?a=1&b=2")]);
    }

    #[test]
    fn a_markdown_link_is_seen_through_its_escapes() {
        assert_eq!(callback_urls(&format!("{KEYWORD} &#91;{URL}&#93;({URL})")), [URL]);
        assert_eq!(callback_urls(&format!("{KEYWORD} [call]({URL}")), [URL], "it is not closed");
    }
}
