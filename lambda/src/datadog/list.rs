//! The list of managed monitors, read page by page, each monitor as a read of it alone would show it.
//!
//! Pages shift while they are read, for monitors come and go: a monitor that two pages show counts once, as the later
//! one shows it. One that falls between two pages is missed, which is why nobody may take a monitor for gone before a
//! second list lacks it. Only an empty page ends the list: a short one may be what a permission or a limit left of it.

use super::answer::{MonitorAnswer, lenient};
use super::site::Site;
use super::{Datadog, ReadError, ReadFailure, Resource, await_reset, json};
use cutout_core::report::Report;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// How many monitors a page has at most; Datadog allows 1000, but their groups come along.
pub const PAGE_SIZE: usize = 100;
/// How many pages are read.
pub const PAGES_MAX: u32 = 100;

/// A managed monitor as the list shows it.
#[derive(Debug)]
pub struct ListedMonitor {
    /// Its own message as its author wrote it, before any template is rendered.
    pub message: String,
    /// The state of its groups, or why this list does not tell it. That costs no other monitor anything.
    pub report: Result<Report, ReadError>,
    tags: Vec<String>,
}

/// What was read of the list.
#[derive(Debug, Default)]
pub struct Listing {
    /// When Datadog answered the first page, by its own clock; none if it did not.
    pub as_of: Option<Timestamp>,
    /// The managed monitors, by their numbers.
    pub monitors: BTreeMap<u64, ListedMonitor>,
    /// Why the list is not complete; none if it is.
    pub cut_short: Option<ReadError>,
}

/// Whether a monitor's own tags hold this bare one.
#[must_use]
pub fn bears(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
}

impl Datadog {
    /// All monitors that bear the bare tag `tag`, as far as they can be read. The last read ends at `until`.
    pub async fn monitors(&self, tag: &str, until: Instant) -> Listing {
        let mut listing = Listing::default();
        let read = self.read_pages(tag, until, &mut listing).await;
        listing.cut_short = read.err();
        // Datadog filters too; here the rule is exact, and holds for what a later page shows of the same monitor.
        listing.monitors.retain(|_, monitor| bears(&monitor.tags, tag));
        listing
    }

    async fn read_pages(&self, tag: &str, until: Instant, listing: &mut Listing) -> Result<(), ReadError> {
        for page in 0..PAGES_MAX {
            let resource = Resource::Monitors { page };
            let failed = |cause| ReadError { resource, cause };
            let path = format!(
                "/api/v1/monitor?group_states=all&with_downtimes=true&monitor_tags={tag}&page={page}&page_size={PAGE_SIZE}"
            );
            let answer = self.get_patiently(resource, &path, until).await.map_err(failed)?;
            let as_of = answer.as_of(resource);
            if listing.add_page(&answer.body, as_of, self.site).map_err(failed)? == 0 {
                return Ok(());
            }
            if let Some(secs) = answer.exhausted_for_secs {
                let resource = Resource::Monitors { page: page + 1 };
                let failed = |cause| ReadError { resource, cause };
                await_reset(resource, secs, until).await.map_err(failed)?;
            }
        }
        Err(ReadError { resource: Resource::Monitors { page: PAGES_MAX }, cause: ReadFailure::TooManyPages })
    }
}

impl Listing {
    /// Adds the monitors of a page that was given at `as_of`, and tells how many it has.
    ///
    /// # Errors
    /// [`ReadFailure`]: it is not what Datadog documents, so the list is not whole.
    pub fn add_page(&mut self, body: &[u8], as_of: Timestamp, site: Site) -> Result<usize, ReadFailure> {
        self.as_of.get_or_insert(as_of);
        let page: Vec<Entry> = json(body)?;
        let count = page.len();
        for Entry { head: Head { id, tags, message }, monitor } in page {
            let report = monitor
                .map_err(ReadFailure::Unreadable)
                .and_then(|monitor| monitor.report(id, as_of, site).ok_or(ReadFailure::GroupsUntold))
                .map_err(|cause| ReadError { resource: Resource::Monitor(id), cause });
            let (tags, message) = (tags.unwrap_or_default(), message.unwrap_or_default());
            self.monitors.insert(id, ListedMonitor { message, report, tags });
        }
        Ok(count)
    }
}

/// One entry of a page. Its number must be there, for a list that lacks one is not complete; what else is wrong with it
/// costs its own report alone.
struct Entry {
    head: Head,
    monitor: Result<MonitorAnswer, serde_json::Error>,
}

#[derive(Deserialize)]
struct Head {
    id: u64,
    #[serde(default, deserialize_with = "lenient")]
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        let entry = Value::deserialize(deserializer)?;
        let head = Head::deserialize(&entry).map_err(D::Error::custom)?;
        Ok(Entry { head, monitor: serde_json::from_value(entry) })
    }
}
