//! Links to a monitor or an event, and the numbers in them.
//!
//! An author may link other monitors, and Datadog's generated footer stands last: of several links the last one
//! labelled `Monitor Status` or `Event URL` counts, or else the last one. Any host counts, for organisations may have
//! sub-domains of their own; what an id is used for is a read of this organisation's own monitors with its own keys.
//! Forms seen: `/monitors#N`, `/monitors#N?group=…`, `/monitors/N?group=…&event_id=E`, either with `/edit`;
//! `/event/event?id=E`, `/event/event?event_id=E`, `/event/jump_to?event_id=E`.

use super::named_group;
use cutout_core::Tags;
use url::{Url, form_urlencoded};

/// What the generated footer calls the links that count, with and without Markdown.
const LABELS: [&str; 2] = ["Monitor Status", "Event URL"];
/// What stands between such a label and its link.
const BETWEEN: [char; 6] = [' ', ':', ']', '(', '<', '*'];

/// The longest link that is read, in bytes; Datadog's are shorter.
const LINK_LEN_MAX: usize = 2_048;

/// What one link names.
pub(super) struct Link {
    labelled: bool,
    monitor_id: Option<u64>,
    event_id: Option<u64>,
    group: Option<Tags>,
}

/// The links to monitors and events in a text, in order.
pub(super) fn links(text: &str) -> Vec<Link> {
    let starts = text.match_indices("http").map(|(start, _)| start);
    starts.filter_map(|start| link(text.get(..start)?, text.get(start..)?)).collect()
}

/// The monitor that the message is about.
pub(super) fn monitor_id(links: &[Link]) -> Option<u64> {
    chosen(links, |link| link.monitor_id)
}

/// The event that the message tells.
pub(super) fn event_id(links: &[Link]) -> Option<u64> {
    chosen(links, |link| link.event_id)
}

/// The group that the links to one monitor name.
pub(super) fn group(links: &[Link], monitor_id: u64) -> Option<Tags> {
    let of_monitor = links.iter().filter(|link| link.monitor_id == Some(monitor_id));
    of_monitor.filter_map(|link| link.group.clone()).next_back()
}

fn chosen(links: &[Link], id: impl Fn(&Link) -> Option<u64>) -> Option<u64> {
    let labelled = links.iter().filter(|link| link.labelled).filter_map(&id).next_back();
    labelled.or_else(|| links.iter().filter_map(&id).next_back())
}

fn link(before: &str, from: &str) -> Option<Link> {
    from.strip_prefix("https://").or_else(|| from.strip_prefix("http://"))?;
    let ends = |c: char| c.is_whitespace() || matches!(c, ')' | ']' | '>' | '<' | '"');
    let len = match from.char_indices().take(LINK_LEN_MAX).find(|(_, c)| ends(*c)) {
        Some((end, _)) => end,
        None => from.len(),
    };
    // A relay may have escaped the whole text for HTML.
    let url = from.get(..len).filter(|url| url.len() <= LINK_LEN_MAX)?.replace("&amp;", "&");
    let url = Url::parse(&url).ok()?;
    let label = before.trim_end_matches(BETWEEN);
    let labelled = LABELS.iter().any(|known| label.ends_with(known));
    let mut path = url.path_segments()?;
    match (path.next()?, path.next()) {
        ("monitors", None) => monitor_link(labelled, url.fragment()?),
        ("monitors", Some(id)) => {
            monitor_link(labelled, &format!("{id}?{}", url.query().unwrap_or_default()))
        }
        ("event", Some("event" | "jump_to")) => {
            let (_, id) = url.query_pairs().find(|(key, _)| key == "id" || key == "event_id")?;
            Some(Link { labelled, monitor_id: None, event_id: Some(id.parse().ok()?), group: None })
        }
        _ => None,
    }
}

/// `N`, `N/edit`, `N?group=…&event_id=…`.
fn monitor_link(labelled: bool, reference: &str) -> Option<Link> {
    let (path, query) = reference.split_once('?').unwrap_or((reference, ""));
    let id = path.split('/').next()?.parse().ok()?;
    let value = |name: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    };
    Some(Link {
        labelled,
        monitor_id: Some(id),
        event_id: value("event_id").and_then(|id| id.parse().ok()),
        group: value("group").and_then(|name| named_group(&name)),
    })
}
