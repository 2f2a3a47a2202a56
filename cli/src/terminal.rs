//! What a person reads: columns, ages, colours. Colours only on a terminal, and never with `NO_COLOR`.
//!
//! Names and reasons come from others. A control character in them could move the cursor or hide a line, so every text
//! goes through [`plain`] before it is shown.

use jiff::Timestamp;
use std::io::{IsTerminal, Write};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    is_coloured: bool,
}

impl Terminal {
    /// As the environment wants it.
    pub(crate) fn of_environment() -> Terminal {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Terminal { is_coloured: std::io::stdout().is_terminal() && !set("NO_COLOR") && !is_dumb }
    }

    /// Writes a line, and lets it be seen at once.
    pub(crate) fn line(self, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// A state's name in its colour, filled up to a width first.
    pub(crate) fn state(self, state: &str, width: usize) -> String {
        let shown = format!("{:width$}", plain(state));
        let colour = match state {
            "open" => "31",
            "half-open" => "33",
            "closed" => "32",
            _ => return shown,
        };
        if self.is_coloured { format!("\x1b[{colour}m{shown}\x1b[0m") } else { shown }
    }
}

/// The text without what moves a terminal: control characters, and those that turn the direction of writing.
pub(crate) fn plain(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// A length of time in its largest unit.
pub(crate) fn age(ms: i64) -> String {
    match ms {
        ..SECOND_MS => format!("{} ms", ms.max(0)),
        SECOND_MS..MINUTE_MS => format!("{} s", ms / SECOND_MS),
        MINUTE_MS..HOUR_MS => format!("{} min", ms / MINUTE_MS),
        HOUR_MS..DAY_MS => format!("{} h {:02} min", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS),
        DAY_MS.. => format!("{} d {} h", ms / DAY_MS, ms % DAY_MS / HOUR_MS),
    }
}

/// A time as the API writes it, in whole seconds and UTC; another text stays as it is.
pub(crate) fn moment(text: &str) -> String {
    let at: Option<Timestamp> = text.parse().ok();
    at.map_or_else(|| plain(text), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// How long before `now` a time of the API was.
pub(crate) fn ago(text: &str, now: Timestamp) -> String {
    let at: Option<Timestamp> = text.parse().ok();
    at.map_or_else(|| plain(text), |at| age(now.as_millisecond().saturating_sub(at.as_millisecond())))
}

/// Parts per million as per cent, without zeros that say nothing.
pub(crate) fn share(ppm: u64) -> String {
    let (whole, rest) = (ppm / 10_000, ppm % 10_000);
    let rest = format!("{rest:04}");
    let rest = rest.trim_end_matches('0');
    if rest.is_empty() { format!("{whole} %") } else { format!("{whole}.{rest} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_terminal_is_not_shown() {
        assert_eq!(plain("bank\x1b[2Jgone\n\u{202e}x"), "bank\u{fffd}[2Jgone\u{fffd}\u{fffd}x");
        assert_eq!(plain("銀行 0001, ümlaut"), "銀行 0001, ümlaut");
    }

    #[test]
    fn ages_and_shares_are_short() {
        let ages: Vec<String> = [-5, 40, 59_999, 720_000, 5_460_000, 90_000_000].map(age).into();
        assert_eq!(ages, ["0 ms", "40 ms", "59 s", "12 min", "1 h 31 min", "1 d 1 h"]);
        let shares: Vec<String> = [0, 10_000, 12_500, 1_000_000, 1].map(share).into();
        assert_eq!(shares, ["0 %", "1 %", "1.25 %", "100 %", "0.0001 %"]);
    }
}
