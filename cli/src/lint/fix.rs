//! `--fix-text`: a right text for a monitor, with what its author wrote besides.
//!
//! The text is judged before it is printed. Where the author's own words keep it from being clean (blocks that do not fit
//! together, a variable in a URL), they are left out, and that is told: they have to be put back by hand.

use super::handle::Handles;
use super::monitor::Monitor;
use super::rules::Subject;
use super::{Context, judge};
use cutout_core::breaker::NoData;
use cutout_core::directive::{KEYWORD, callback_urls};
use cutout_lambda::guard::Refused;
use cutout_lambda::template::Directives;

/// The transitions that every breaker must hear of.
const BLOCKS: [&str; 3] = ["is_alert", "is_warning", "is_recovery"];
/// One more where the breaker acts on missing data.
const NO_DATA_BLOCK: &str = "is_no_data";
/// What ends the URL of a directive besides white space.
const BLOCK_TAGS: [&str; 4] = ["{{/", "{{#", "{{^", "{{else"];

/// A right text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The whole message.
    pub text: String,
    /// Whether something that the author wrote is not in it.
    pub words_lost: bool,
}

/// Why no text can be written.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// The message names no URL, or several, or one that depends on what is rendered.
    #[error("the message does not name one literal callback URL: give it by --url")]
    Url,
    /// The URL is not called.
    #[error("the callback URL cannot stand: give another one by --url")]
    Refused(#[source] Refused),
    /// The message names no handle.
    #[error("the message names no handle of the topic: give it by --handle @sns-<topic>")]
    Handle,
    /// The handle cannot be told from what stands around it.
    #[error(
        "no text with this handle and URL would be clean: a handle is @sns-<topic>, of letters, digits, - and _"
    )]
    Unclean,
}

/// A right text for a monitor, by the callback URL that is given, or else by its own.
///
/// # Errors
/// [`FixError`]
pub fn text(monitor: &Monitor, url: Option<&str>, context: &Context) -> Result<Fixed, FixError> {
    let url = match url {
        Some(url) => url.to_owned(),
        None => own_url(&monitor.message).ok_or(FixError::Url)?,
    };
    let handles = &context.handles;
    let mut named = handles.named_in(&monitor.message);
    if named.is_empty() {
        named.extend(handles.first().map(str::to_owned));
    }
    if named.is_empty() {
        return Err(FixError::Handle);
    }
    if let Err(refused) = context.guard.check(&url)
        && (context.knows_hosts || !is_about_hosts(&refused))
    {
        return Err(FixError::Refused(refused));
    }
    let acts = |policy: &&cutout_core::Policy| policy.no_data != NoData::Hold;
    let no_data = context.declared.policies(monitor).iter().any(acts).then_some(NO_DATA_BLOCK);
    let blocks = BLOCKS.into_iter().chain(no_data);
    let lines = blocks.map(|block| format!("{{{{#{block}}}}}{KEYWORD} {url} {{{{/{block}}}}}"));
    let head = lines.chain([named.join(" ")]).collect::<Vec<_>>().join("\n");
    let words = own_words(&monitor.message, handles);
    let whole = if words.is_empty() { head.clone() } else { format!("{head}\n\n{words}") };
    if is_clean(monitor, &whole, context) {
        Ok(Fixed { text: whole, words_lost: false })
    } else if is_clean(monitor, &head, context) {
        Ok(Fixed { text: head, words_lost: true })
    } else {
        Err(FixError::Unclean)
    }
}

/// The one literal URL of a message.
fn own_url(message: &str) -> Option<String> {
    let directives = Directives::read(message);
    let mut urls = directives.urls.into_iter().filter(|url| !url.is_empty());
    urls.next().filter(|_| directives.templated == 0 && urls.next().is_none())
}

fn is_about_hosts(refused: &Refused) -> bool {
    matches!(refused, Refused::NotListed { .. } | Refused::LiteralNotListed { .. } | Refused::Address { .. })
}

fn is_clean(monitor: &Monitor, text: &str, context: &Context) -> bool {
    let fixed = Monitor { message: text.to_owned(), ..monitor.clone() };
    let judged = judge(std::slice::from_ref(&fixed), context, false);
    !judged.findings.iter().any(|finding| finding.rule.subject() == Subject::Text)
}

/// What the author wrote besides directives and handles.
fn own_words(message: &str, handles: &Handles) -> String {
    let mut text = String::new();
    for line in message.lines() {
        let words = without_empty_blocks(handles.without(&without_directives(line)));
        // Of a line that was for Cutout a comma or a full stop may be left.
        if words == line || words.contains(char::is_alphanumeric) {
            text.push_str(words.trim_end());
            text.push('\n');
        }
    }
    without_empty_blocks(text).trim().to_owned()
}

fn without_directives(line: &str) -> String {
    let mut line = line.to_owned();
    // Each turn takes a keyword out.
    while !callback_urls(&line).is_empty() {
        let Some(start) = line.to_ascii_lowercase().find(KEYWORD) else { break };
        let (before, rest) = line.split_at(start);
        let rest = rest.get(KEYWORD.len()..).unwrap_or_default();
        let token = rest.trim_start_matches([' ', '\t', '\u{a0}']);
        let ends = BLOCK_TAGS.iter().filter_map(|tag| token.find(tag)).chain(token.find(char::is_whitespace));
        let after = token.get(ends.min().unwrap_or(token.len())..).unwrap_or_default();
        line = format!("{before}{after}");
    }
    line
}

/// Takes out blocks that show nothing.
fn without_empty_blocks(mut text: String) -> String {
    while let Some((start, end)) = empty_block(&text) {
        text.replace_range(start..end, "");
    }
    text
}

/// Where a block stands that holds blanks alone.
fn empty_block(text: &str) -> Option<(usize, usize)> {
    let starts = text.match_indices("{{#").chain(text.match_indices("{{^"));
    starts.into_iter().find_map(|(start, _)| {
        let inside = start + text.get(start..)?.find("}}")? + "}}".len();
        let rest = text.get(inside..)?;
        let tail = rest.trim_start().strip_prefix("{{/")?;
        let end = text.len() - tail.len() + tail.find("}}")? + "}}".len();
        Some((start, end))
    })
}
