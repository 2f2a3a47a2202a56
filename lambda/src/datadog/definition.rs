//! Monitors as their authors defined them, unread: for programs that judge a monitor before it is live.
//!
//! The function itself never needs them. The text of an answer is handed on as it came, so that what is judged is
//! everything that Datadog tells, and not what one reader knows of it.

use super::{Answer, Datadog, PAGE_SIZE, PAGES_MAX, ReadError, ReadFailure, Resource, await_reset, json};
use serde::de::IgnoredAny;
use std::time::Instant;

impl Datadog {
    /// One monitor's definition: a JSON object. The last read ends at `until`.
    ///
    /// # Errors
    /// [`ReadError`], after one wait for a rate limit where `until` allows it.
    pub async fn definition(&self, id: u64, until: Instant) -> Result<String, ReadError> {
        let resource = Resource::Monitor(id);
        let failed = |cause| ReadError { resource, cause };
        let answer =
            self.get_patiently(resource, &format!("/api/v1/monitor/{id}"), until).await.map_err(failed)?;
        answer.text().map_err(failed)
    }

    /// The definitions of all monitors that Datadog lists for the bare tag `tag`, page by page: JSON lists. One that moves
    /// while pages are read may come twice. The last read ends at `until`.
    ///
    /// # Errors
    /// [`ReadError`]; a list that is not whole is none, for what is missing in it would be judged too.
    pub async fn definitions(&self, tag: &str, until: Instant) -> Result<Vec<String>, ReadError> {
        let mut pages = Vec::new();
        for page in 0..PAGES_MAX {
            let resource = Resource::Monitors { page };
            let failed = |cause| ReadError { resource, cause };
            let path = format!("/api/v1/monitor?monitor_tags={tag}&page={page}&page_size={PAGE_SIZE}");
            let answer = self.get_patiently(resource, &path, until).await.map_err(failed)?;
            if json::<Vec<IgnoredAny>>(&answer.body).map_err(failed)?.is_empty() {
                return Ok(pages);
            }
            pages.push(answer.text().map_err(failed)?);
            if let Some(secs) = answer.exhausted_for_secs {
                await_reset(resource, secs, until).await.map_err(failed)?;
            }
        }
        Err(ReadError { resource: Resource::Monitors { page: PAGES_MAX }, cause: ReadFailure::TooManyPages })
    }
}

impl Answer {
    /// The body as it came.
    fn text(&self) -> Result<String, ReadFailure> {
        let text = std::str::from_utf8(&self.body);
        let text = text.map_err(|error| ReadFailure::Unreadable(serde::de::Error::custom(error)))?;
        Ok(text.to_owned())
    }
}
