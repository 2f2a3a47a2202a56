//! The directive in a text: what is around it changes nothing, and both readers of a text agree.

use super::text;
use cutout_core::directive::{KEYWORD, callback_urls};
use cutout_lambda::guard::{Guard, GuardSettings};
use cutout_lambda::template::{Directives, MESSAGE_LEN_MAX, Template};

/// What a token loses at its end, and what would make it a reference of HTML.
const NOT_AT_THE_END: [char; 13] = ['.', ',', ';', ':', '!', '?', ')', ']', '>', '"', '\'', '`', '*'];

pub(super) fn judge(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let urls = callback_urls(text);
    for (nth, url) in urls.iter().enumerate() {
        assert!(!urls[..nth].contains(url), "each distinct URL once: {urls:?}");
    }
    let lower = text.to_ascii_lowercase();
    assert!(urls.len() <= lower.matches(KEYWORD).count(), "no URL without its keyword: {urls:?}");
    surroundings(text, &urls);
    urls.iter().for_each(|url| written_plainly(url));
    template(text, &urls);
}

/// Text before and after, the case of the keyword, and the kind of line breaks do not matter.
fn surroundings(text: &str, urls: &[String]) {
    let within = format!("The bank is slow.\n{text}\n@sns-dd-circuit-breaker");
    assert_eq!(callback_urls(&within), urls, "with text around it");
    // A URL that runs into the next keyword holds it.
    let holds = |url: &String| url.to_ascii_lowercase().contains(KEYWORD.trim_end_matches(':'));
    if !urls.iter().any(holds) {
        assert_eq!(callback_urls(&in_capitals(text)), urls, "with the keyword in capitals");
    }
    if !text.contains('\r') {
        assert_eq!(callback_urls(&text.replace('\n', "\r\n")), urls, "with CRLF");
    }
}

/// The same text with every keyword in capitals.
fn in_capitals(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut bytes = text.as_bytes().to_vec();
    for (start, keyword) in lower.match_indices(KEYWORD) {
        bytes[start..start + keyword.len()].make_ascii_uppercase();
    }
    String::from_utf8(bytes).expect("only letters of ASCII were changed")
}

/// A URL that the guard lets pass, written plainly, is read as it stands; one that holds the keyword names another.
fn written_plainly(url: &str) {
    let guard =
        Guard::new(GuardSettings { allow: vec!["*:*".parse().expect("any host")], ..Default::default() });
    let Ok(passed) = guard.check(url) else { return };
    let plain = passed.as_str();
    let again = plain.to_ascii_lowercase().contains(KEYWORD);
    if !again && !plain.contains('&') && !plain.ends_with(NOT_AT_THE_END) {
        assert_eq!(callback_urls(&format!("{KEYWORD} {plain}")), [plain]);
    }
}

/// The scheduled run reads the author's text, a notification what is made of it: of a text without templates they read the same.
fn template(text: &str, urls: &[String]) {
    let read = Template::read(text);
    let directives = read.directives();
    assert_eq!(Directives::read(text), directives);
    assert!(directives.urls.iter().all(|url| !url.contains("{{")), "a template is not a URL: {directives:?}");
    let (all, none) = (read.rendered(|_| true), read.rendered(|_| false));
    let (unbalanced, comments) = (read.unbalanced(), read.comments());
    // References of HTML may spell a template, which the guard would refuse.
    if text.contains("{{") || urls.iter().any(|url| url.contains("{{")) || text.len() > MESSAGE_LEN_MAX {
        return;
    }
    assert_eq!((directives.urls.as_slice(), directives.templated), (urls, 0));
    assert_eq!([all.as_str(), none.as_str(), read.outside_blocks().as_str()], [text; 3]);
    assert!(read.conditions().is_empty() && comments.is_empty() && unbalanced.is_empty());
}
