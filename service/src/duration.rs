//! Durations as people write them in settings: `500ms`, `30s`, `5m`, `1h`.
//!
//! One number and one unit, nothing else: `1.5h`, `1h30m` and a bare `30` each leave room for a guess.

/// The units, with their length in milliseconds.
const UNITS: [(&str, i64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not digits and then a unit.
    #[error("a duration is a whole number and ms, s, m or h, such as 30s")]
    Form,
    /// It does not fit into 64 bits of milliseconds.
    #[error("the duration is too long")]
    Overflow,
}

/// Reads a duration in milliseconds.
///
/// ```
/// use cutout_service::duration::{DurationError, parse_ms, shown};
///
/// assert_eq!(parse_ms("5m"), Ok(300_000));
/// assert_eq!(shown(300_000), "5m");
/// assert_eq!(parse_ms("1h30m"), Err(DurationError::Form));
/// ```
///
/// # Errors
/// [`DurationError`]
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Form)?.1;
    if number.is_empty() {
        return Err(DurationError::Form);
    }
    let number: i64 = number.parse().map_err(|_| DurationError::Overflow)?;
    number.checked_mul(unit_ms).ok_or(DurationError::Overflow)
}

/// A duration in the largest unit that leaves a whole number.
#[must_use]
pub fn shown(duration_ms: i64) -> String {
    let fits = |(_, unit_ms): &&(&str, i64)| duration_ms % unit_ms == 0;
    let (name, unit_ms) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
    if duration_ms == 0 { "0s".to_owned() } else { format!("{}{name}", duration_ms / unit_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_as_one_would_write_it() {
        for text in ["0s", "250ms", "30s", "90s", "10m", "24h"] {
            assert_eq!(shown(parse_ms(text).unwrap()), text);
        }
    }

    #[test]
    fn a_number_and_a_unit_make_a_duration_and_nothing_else_does() {
        let cases = [
            ("0s", Ok(0)),
            ("250ms", Ok(250)),
            ("30s", Ok(30_000)),
            ("5m", Ok(300_000)),
            ("24h", Ok(86_400_000)),
            ("", Err(DurationError::Form)),
            ("30", Err(DurationError::Form)),
            ("s", Err(DurationError::Form)),
            ("-5s", Err(DurationError::Form)),
            ("1.5h", Err(DurationError::Form)),
            ("1h30m", Err(DurationError::Form)),
            ("5 m", Err(DurationError::Form)),
            ("5M", Err(DurationError::Form)),
            ("٣s", Err(DurationError::Form)),
            ("9223372036854775807ms", Ok(i64::MAX)),
            ("9223372036854775808ms", Err(DurationError::Overflow)),
            ("9223372036854775807h", Err(DurationError::Overflow)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }
}
