//! The figures of all scenes, and what must not be.

use std::fmt::Display;
use std::time::Duration;

/// Figures in the order in which they came, and violations.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    violations: Vec<String>,
}

struct Row {
    scene: String,
    what: String,
    value: String,
}

impl Table {
    /// A figure.
    pub(crate) fn figure(&mut self, scene: &str, what: &str, value: impl Display) {
        let value = value.to_string();
        self.rows.push(Row { scene: scene.to_owned(), what: what.to_owned(), value });
    }

    /// The middle and the longest of some times; nothing if there are none.
    pub(crate) fn times(&mut self, scene: &str, what: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let (Some(middle), Some(longest)) = (times.get(times.len() / 2), times.last()) else { return };
        let value = format!("{} / {}", middle.as_millis(), longest.as_millis());
        self.figure(scene, &format!("{what}, ms (median / max)"), value);
    }

    /// A figure that must be 0.
    pub(crate) fn none(&mut self, scene: &str, what: &str, count: u64) {
        self.figure(scene, what, count);
        self.check(scene, count == 0, &format!("{what}: {count}"));
    }

    /// A violation unless `holds`.
    pub(crate) fn check(&mut self, scene: &str, holds: bool, what: &str) {
        if !holds {
            println!("VIOLATION  {scene}: {what}");
            self.violations.push(format!("{scene}: {what}"));
        }
    }

    /// Prints everything. True: there is no violation.
    pub(crate) fn print(&self) -> bool {
        let width = |text: fn(&Row) -> &str| {
            self.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or_default()
        };
        let (scene_width, what_width) = (width(|row| &row.scene), width(|row| &row.what));
        println!();
        let mut told = "";
        for Row { scene, what, value } in &self.rows {
            let shown = if scene == told { "" } else { scene };
            println!("{shown:scene_width$}  {what:what_width$}  {value}");
            told = scene;
        }
        println!("\n{} violation(s)", self.violations.len());
        self.violations.iter().for_each(|violation| println!("  {violation}"));
        self.violations.is_empty()
    }
}
