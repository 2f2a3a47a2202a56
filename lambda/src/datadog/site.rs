//! Datadog's sites, and where each one's API and pages are.
//!
//! Source: the API's published schema (`servers`) and the documentation page "Getting started with Datadog sites".

use std::str::FromStr;

/// Every site, as `DD_SITE` names it.
const SITES: [&str; 9] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "uk1.datadoghq.com",
    "datadoghq.eu",
    "ddog-gov.com",
    "us2.ddog-gov.com",
];

/// One of Datadog's sites. Only known ones, for its keys are sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(&'static str);

/// A site that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a site of Datadog; it is one of {}", SITES.join(", "))]
pub struct UnknownSite;

impl Default for Site {
    fn default() -> Site {
        Site(SITES[0])
    }
}

impl FromStr for Site {
    type Err = UnknownSite;

    fn from_str(text: &str) -> Result<Site, UnknownSite> {
        SITES.into_iter().find(|site| *site == text).map(Site).ok_or(UnknownSite)
    }
}

impl Site {
    /// The base URL of its API.
    #[must_use]
    pub fn api_url(self) -> String {
        format!("https://api.{}", self.0)
    }

    /// The URL of a page, given its path with the leading `/`.
    #[must_use]
    pub fn page_url(self, path: &str) -> String {
        // The first sites are named without a region; their pages are at `app.`.
        let app = if self.0.matches('.').count() == 1 { "app." } else { "" };
        format!("https://{app}{}{path}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_site_has_its_api_and_its_pages() {
        for (site, api, page) in [
            ("datadoghq.com", "https://api.datadoghq.com", "https://app.datadoghq.com/monitors/1"),
            ("us5.datadoghq.com", "https://api.us5.datadoghq.com", "https://us5.datadoghq.com/monitors/1"),
            ("datadoghq.eu", "https://api.datadoghq.eu", "https://app.datadoghq.eu/monitors/1"),
            ("ddog-gov.com", "https://api.ddog-gov.com", "https://app.ddog-gov.com/monitors/1"),
        ] {
            let site: Site = site.parse().unwrap();
            assert_eq!((site.api_url().as_str(), site.page_url("/monitors/1").as_str()), (api, page));
        }
        assert_eq!(Site::default(), "datadoghq.com".parse().unwrap());
    }

    #[test]
    fn keys_go_to_no_other_host() {
        for text in ["", "app.datadoghq.com", "datadoghq.com.evil.example", "DATADOGHQ.COM"] {
            assert_eq!(text.parse::<Site>(), Err(UnknownSite), "{text}");
        }
        assert!(UnknownSite.to_string().contains("us3.datadoghq.com"));
    }
}
