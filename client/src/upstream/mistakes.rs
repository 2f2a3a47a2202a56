//! Settings that cannot be used: all of them are told at once, each by the method of the builder that set it.
//!
//! Left out: what is a mistake (`settings`).

use std::fmt;
use std::ops::RangeInclusive;

/// One setting that cannot be used, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    setting: &'static str,
    told: String,
}

impl Mistake {
    /// The method of the builder, such as `try_timeout`.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

/// All settings of an upstream that cannot be used.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank"]).client();
/// use std::time::Duration;
///
/// let wrong = cutout::Upstream::builder("bank").request_timeout(Duration::ZERO).class("").build(&client);
/// let settings: Vec<_> = wrong.unwrap_err().all().iter().map(cutout::Mistake::setting).collect();
/// assert_eq!(settings, ["class", "request_timeout"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    name: String,
    all: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(name: String, all: Vec<Mistake>) -> Mistakes {
        Mistakes { name, all }
    }

    /// Each of them.
    #[must_use]
    pub fn all(&self) -> &[Mistake] {
        &self.all
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.told)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the upstream `{}` cannot be built", self.name)?;
        let mut before = ": ";
        for mistake in &self.all {
            write!(f, "{before}{mistake}")?;
            before = "; ";
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<Mistake>);

impl Found {
    pub(super) fn into_all(self) -> Vec<Mistake> {
        self.0
    }

    pub(super) fn push(&mut self, setting: &'static str, told: String) {
        self.0.push(Mistake { setting, told });
    }

    pub(super) fn unless(&mut self, good: bool, setting: &'static str, told: impl FnOnce() -> String) {
        if !good {
            self.push(setting, told());
        }
    }

    pub(super) fn within<T: PartialOrd + fmt::Debug>(
        &mut self,
        setting: &'static str,
        value: T,
        range: &RangeInclusive<T>,
    ) {
        self.unless(range.contains(&value), setting, || outside(value, range));
    }

    /// Where a setting has several numbers.
    pub(super) fn number(
        &mut self,
        setting: &'static str,
        what: &str,
        value: u32,
        range: &RangeInclusive<u32>,
    ) {
        self.unless(range.contains(&value), setting, || format!("{what}: {}", outside(value, range)));
    }
}

fn outside<T: fmt::Debug>(value: T, range: &RangeInclusive<T>) -> String {
    format!("{value:?} is not between {:?} and {:?}", range.start(), range.end())
}
