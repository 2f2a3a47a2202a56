//! What the reference pages tell of a program: the variables that it reads, the settings of its builders and files, and the metrics that it counts.
//!
//! Each program keeps tables of these beside the code that reads and counts, and knows names by them. The pages are made of the same tables, and
//! tests hold the pages to them, so that nothing stands in two places. Left out: what the pages say around the tables.

use std::fmt;
use std::ops::RangeInclusive;

/// A variable of the environment that a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name; one with `<…>` in it stands for several.
    pub name: &'static str,
    /// What holds without it, in Markdown.
    pub default: &'static str,
    /// What it says, in Markdown.
    pub meaning: &'static str,
}

/// The head of a table of variables, whose rows [`Variable`] shows.
pub const VARIABLES_HEAD: &str = "| variable | default | meaning |\n|---|---|---|\n";

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Variable { name, default, meaning } = self;
        writeln!(f, "| `{name}` | {default} | {meaning} |")
    }
}

impl Variable {
    /// The default as it would be set; none: there is none, or it depends on others.
    #[must_use]
    pub fn default_value(&self) -> Option<&'static str> {
        let value = self.default.strip_prefix('`')?.strip_suffix('`')?;
        (!value.contains(['`', '<'])).then_some(value)
    }
}

/// The names of variables.
#[must_use]
#[allow(clippy::indexing_slicing)] // Both have N, and nothing else can be said in a const fn.
pub const fn names<const N: usize>(variables: &[Variable; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut nth = 0;
    while nth < N {
        names[nth] = variables[nth].name;
        nth += 1;
    }
    names
}

/// A setting that is no variable: a method of a builder, or a field of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name; of a method with what it takes, of another type than the builder with that type before it.
    pub name: &'static str,
    /// What holds without it, in Markdown: made of what the code begins with.
    pub default: String,
    /// What it may be, in Markdown: made of what the code checks.
    pub limits: String,
    /// What it says and why its default is so, in Markdown.
    pub meaning: String,
}

/// The head of a table of settings, whose rows [`Setting`] shows.
pub const SETTINGS_HEAD: &str = "| setting | default | limits | meaning |\n|---|---|---|---|\n";

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { name, default, limits, meaning } = self;
        writeln!(f, "| `{name}` | {default} | {limits} | {meaning} |")
    }
}

impl Setting {
    /// A row, by its columns.
    pub fn new(
        name: &'static str,
        default: impl Into<String>,
        limits: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Setting {
        Setting { name, default: default.into(), limits: limits.into(), meaning: meaning.into() }
    }
}

/// What a value within this range may be, spelled as mistakes spell it.
pub fn limits<T: fmt::Debug>(range: &RangeInclusive<T>) -> String {
    format!("{:?} to {:?}", range.start(), range.end())
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Times, in buckets.
    Histogram,
}

/// A metric that a program counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels and their values, in Markdown.
    pub labels: &'static str,
    /// What it says; also its help text, so without Markdown.
    pub what: &'static str,
}

/// The head of a table of metrics, whose rows [`Metric`] shows.
pub const METRICS_HEAD: &str = "| metric | kind | labels | what |\n|---|---|---|---|\n";

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metric { name, kind, labels, what } = self;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(f, "| `{name}` | {kind} | {labels} | {what} |")
    }
}

/// A page whose part between its markers for `name` is `text`; none: it has no such markers.
#[must_use]
pub fn placed(page: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- reference: {name} -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{}\n\n{END}{after}", text.trim()))
}

/// What ends a part of a page that is made.
const END: &str = "<!-- end of the reference -->";

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLE: Variable = Variable { name: "A", default: "`5s`", meaning: "a time" };

    #[test]
    fn a_part_is_put_between_its_markers_and_nothing_else_changes() {
        let page = "a\n<!-- reference: x -->\nold\n<!-- end of the reference -->\nb\n<!-- reference: y -->\n";
        let placed_once = placed(page, "x", "new").unwrap();
        assert_eq!(
            placed_once,
            "a\n<!-- reference: x -->\n\nnew\n\n<!-- end of the reference -->\nb\n<!-- reference: y -->\n"
        );
        assert_eq!(placed(&placed_once, "x", "\nnew\n\n"), Some(placed_once));
        assert_eq!(placed(page, "z", "new"), None);
        assert_eq!(placed(page, "y", "new"), None, "it never ends");
    }

    #[test]
    fn a_row_tells_all_and_a_default_can_be_set() {
        assert_eq!(VARIABLE.to_string(), "| `A` | `5s` | a time |\n");
        assert_eq!(VARIABLE.default_value(), Some("5s"));
        for default in ["required", "`https://api.<site>`", "drawn `5` times", "`a`, `b`"] {
            assert_eq!(Variable { default, ..VARIABLE }.default_value(), None);
        }
        assert_eq!(names(&[VARIABLE, Variable { name: "B", ..VARIABLE }]), ["A", "B"]);
        for (kind, word) in
            [(Kind::Counter, "counter"), (Kind::Gauge, "gauge"), (Kind::Histogram, "histogram")]
        {
            let metric = Metric { name: "m", kind, labels: "`l`", what: "now" };
            assert_eq!(metric.to_string(), format!("| `m` | {word} | `l` | now |\n"));
        }
        let setting = Setting::new("s(n)", "`2`", limits(&(1..=3)), "a number");
        assert_eq!(setting.to_string(), "| `s(n)` | `2` | 1 to 3 | a number |\n");
    }
}
