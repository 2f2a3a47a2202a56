//! What the reference tells of a client's settings: defaults are read off a builder that nobody has set anything of.

use super::{Client, ClientBuilder};
use crate::staleness::{MAX_STALENESS_MIN, MaxStaleness};
use cutout_core::reference::Setting;

const NONE: &str = "none";
/// What a scope may be, in the words of the store, which checks it.
const SCOPE_LIMITS: &str = "1 to 100 of a-z 0-9 . _ -, a letter or digit first";

impl ClientBuilder {
    /// Every setting with its default and its limits, as the reference shows them (docs/settings.md).
    ///
    /// ```
    /// let settings = cutout::ClientBuilder::reference();
    /// let wait = settings.iter().find(|setting| setting.name == "start_timeout(time)").unwrap();
    /// assert_eq!(wait.default, "`2s`");
    /// ```
    #[must_use]
    pub fn reference() -> Vec<Setting> {
        // A setting that is new fails here.
        let ClientBuilder {
            source: _,
            scope,
            names,
            allow_undeclared,
            start_timeout,
            require_store,
            max_staleness,
            max_staleness_of,
            clock: _,
        } = Client::builder(String::new());
        vec![
            Setting::new(
                "breaker(name)",
                names.first().map_or(NONE, String::as_str),
                "a declared name",
                "a breaker that the program uses; a name that nobody declares is an error with the nearest ones",
            ),
            Setting::new(
                "scope(name)",
                format!("`{scope}`"),
                SCOPE_LIMITS,
                "the same as the service's `CUTOUT_SCOPE`",
            ),
            Setting::new(
                "start_timeout(time)",
                format!("`{start_timeout:?}`"),
                "",
                "how long `connect` waits for the store, whatever is wrong with it; then calls flow. A store that refuses (a wrong password) is not waited for",
            ),
            Setting::new(
                "require_store()",
                switch(require_store),
                "",
                "a start without the store is an error that says why",
            ),
            Setting::new(
                "allow_undeclared()",
                switch(allow_undeclared),
                "",
                "names that nobody declares are closed breakers",
            ),
            silence(max_staleness),
            Setting::new(
                "max_staleness_of(name, MaxStaleness)",
                if max_staleness_of.is_empty() { "as for all" } else { "of its own" },
                "the same",
                "the same for one name, which counts as used",
            ),
            Setting::new(
                "clock(LocalClock)",
                "the system's",
                "",
                "another clock for what the store dates: for simulations",
            ),
        ]
    }
}

fn silence(default: MaxStaleness) -> Setting {
    let policies = [
        policy(MaxStaleness::LastKnown),
        policy(MaxStaleness::ClosedAfter(MAX_STALENESS_MIN)),
        policy(MaxStaleness::OpenAfter(MAX_STALENESS_MIN)),
    ];
    Setting::new(
        "max_staleness(MaxStaleness)",
        policy(default),
        policies.join(", "),
        "what breakers do when the store has been silent for long: [below](#when-the-store-is-gone)",
    )
}

fn switch(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// A policy that is new fails here.
fn policy(staleness: MaxStaleness) -> String {
    let (name, after) = match staleness {
        MaxStaleness::LastKnown => return "`LastKnown`".to_owned(),
        MaxStaleness::ClosedAfter(after) => ("ClosedAfter", after),
        MaxStaleness::OpenAfter(after) => ("OpenAfter", after),
    };
    format!("`{name}` of {after:?} or more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference_tests::{setters, told_of};

    #[test]
    fn every_setting_is_told() {
        let found = setters(include_str!("../client.rs"), "ClientBuilder", "");
        assert_eq!(told_of(&ClientBuilder::reference()), found);
    }

    #[test]
    fn the_limits_of_a_scope_are_the_stores() {
        let error = cutout_flags::open("redis://127.0.0.1/", "").unwrap_err().to_string();
        assert!(error.contains(SCOPE_LIMITS), "{error}");
    }
}
