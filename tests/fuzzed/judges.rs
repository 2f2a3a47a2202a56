//! What must hold of anything that arrives, one judge for each place where something arrives.
//!
//! A judge takes any bytes and panics if a rule is broken. libFuzzer asks the same judges by the million (`tests/fuzz`), and the
//! replay of the corpus asks them in every run of the tests. Where bytes alone would never get past a first check, a judge makes
//! what is missing: the signature of a callback, the wrapping of a message. Lines part an input, so that people can read it.

mod breakers_toml;
mod callback_body;
mod datadog_answers;
mod directive;
mod message_text;
mod redis_flags;
mod sns_event;
mod url_guard;
mod webhook_headers;

/// Asks one judge.
pub(crate) type Judge = fn(&[u8]);

/// Every judge by the name of its target, which is also that of its corpus.
pub(crate) const JUDGES: [(&str, Judge); 9] = [
    ("sns_event", sns_event::judge),
    ("message_text", message_text::judge),
    ("directive", directive::judge),
    ("url_guard", url_guard::judge),
    ("webhook_headers", webhook_headers::judge),
    ("datadog_answers", datadog_answers::judge),
    ("callback_body", callback_body::judge),
    ("redis_flags", redis_flags::judge),
    ("breakers_toml", breakers_toml::judge),
];

/// Asks the judge of a target.
///
/// # Panics
/// If a rule is broken, or there is no such target.
pub(crate) fn judge(target: &str, input: &[u8]) {
    let (_, judge) = JUDGES.iter().find(|(name, _)| *name == target).expect("a target of this name");
    judge(input);
}

/// An input as text; none: no judge of texts has anything to say about it.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// The first line of an input, and what comes after it.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// What every judge that needs the time says it is: 2026-11-21T01:15:18Z, Unix seconds.
const NOW_SECS: i64 = 1_795_223_718;
