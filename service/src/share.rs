//! Shares as people write them in settings, forms and commands: `1%`, `0.5%`.

/// Reads a share from 0% to 100%, in parts per million. None: it is something else.
#[must_use]
pub fn parse_ppm(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent = plain.then(|| number.parse::<f64>().ok()).flatten()?;
    let in_range = (0.0..=100.0).contains(&percent);
    // At most 1,000,000 and not negative, as was just checked.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    in_range.then(|| (percent * 10_000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_and_a_percent_sign() {
        let cases = [("0%", 0), ("0.5%", 5_000), ("1%", 10_000), ("33.3333%", 333_333), ("100%", 1_000_000)];
        for (text, ppm) in cases {
            assert_eq!(parse_ppm(text), Some(ppm), "{text}");
        }
        for text in ["", "%", "1", "-1%", "+1%", "100.1%", "1e1%", "1 %", "inf%", ".%", "1%%"] {
            assert_eq!(parse_ppm(text), None, "{text}");
        }
    }
}
