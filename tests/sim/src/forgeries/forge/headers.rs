//! Steps that change headers, whichever of the three.

use super::{HEADERS, ID_HEADER, Message, SIGNATURE_HEADER, TIMESTAMP_HEADER, any_value, pick, place};
use crate::corpus::Signed;
use fastrand::Rng;

/// Turns one bit over; what is no text any more becomes a letter that no header holds.
pub(super) fn bit(message: &mut Message, rng: &mut Rng) {
    let value = any_value(message, rng);
    let mut bytes = value.clone().into_bytes();
    if let Some(byte) = (!bytes.is_empty()).then(|| rng.usize(..bytes.len())).and_then(|at| bytes.get_mut(at))
    {
        *byte ^= 1 << rng.u32(0..8);
    }
    *value = String::from_utf8_lossy(&bytes).into_owned();
}

/// Leaves out the end or the beginning of a value.
pub(super) fn cut(message: &mut Message, rng: &mut Rng) {
    let value = any_value(message, rng);
    let at = place(value, rng);
    *value = if rng.bool() { value[..at].to_owned() } else { value[at..].to_owned() };
}

/// Takes a value from another message.
pub(super) fn swapped(message: &mut Message, rng: &mut Rng, other: &Signed) {
    let name = pick(rng, &HEADERS);
    *message.value_mut(name) = other.message().value_mut(name).clone();
}

/// Leaves a header out.
pub(super) fn gone(message: &mut Message, rng: &mut Rng) {
    let name = pick(rng, &HEADERS);
    message.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
}

/// Adds a header that is there already: its own value again, that of another message, or nothing; before or after.
pub(super) fn twice(message: &mut Message, rng: &mut Rng, other: &Signed) {
    let name = pick(rng, &HEADERS);
    let value = match rng.u32(0..3) {
        0 => message.value_mut(name).clone(),
        1 => other.message().value_mut(name).clone(),
        _ => String::new(),
    };
    let at = if rng.bool() { 0 } else { message.headers.len() };
    message.headers.insert(at, (name.to_owned(), value));
}

/// Names a header as others do.
pub(super) fn renamed(message: &mut Message, rng: &mut Rng) {
    let at = rng.usize(..HEADERS.len());
    let (name, new) = (HEADERS[at], pick(rng, &["svix-", "x-webhook-", "webhook_", "webhook--", ""]));
    let new = name.replace("webhook-", new);
    for (other, _) in message.headers.iter_mut().filter(|(other, _)| other.eq_ignore_ascii_case(name)) {
        other.clone_from(&new);
    }
}

/// White space and marks that readers are used to overlook. At a value's ends HTTP itself takes blanks and tabs away.
pub(super) fn blanks(message: &mut Message, rng: &mut Rng) {
    let value = any_value(message, rng);
    let mark = pick(rng, &[" ", "\t", "  ", "\u{a0}", "\u{feff}", "\"", "'", "<", "%20", "+"]);
    match rng.u32(0..4) {
        0 => value.insert_str(0, mark),
        1 => value.push_str(mark),
        2 => *value = format!("{mark}{value}{mark}"),
        _ => {
            let at = place(value, rng);
            value.insert_str(at, mark);
        }
    }
}

/// One letter, or all, in the other case.
pub(super) fn case(message: &mut Message, rng: &mut Rng) {
    let value = any_value(message, rng);
    let other_case = |letter: char| {
        if letter.is_ascii_uppercase() { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
    };
    let letters: Vec<usize> =
        value.char_indices().filter(|(_, letter)| letter.is_ascii_alphabetic()).map(|(at, _)| at).collect();
    let only = (rng.bool() && !letters.is_empty()).then(|| letters[rng.usize(..letters.len())]);
    let changed = value
        .char_indices()
        .map(|(at, letter)| if only.is_none_or(|only| only == at) { other_case(letter) } else { letter });
    *value = changed.collect();
}

/// The same number for a lenient reader.
pub(super) fn time_spelt(message: &mut Message, rng: &mut Rng) {
    let value = message.value_mut(TIMESTAMP_HEADER);
    let wide = |digit: char| char::from_u32(u32::from(digit) + 0xfee0).unwrap_or(digit);
    *value = match rng.u32(0..8) {
        0 => format!("0{value}"),
        1 => format!("+{value}"),
        2 => format!("{value}.0"),
        3 => format!("{value}e0"),
        4 => format!("{value}000"),
        5 => value.parse::<i64>().map_or_else(|_| "0x0".to_owned(), |secs| format!("{secs:#x}")),
        6 => value.chars().map(wide).collect(),
        _ => format!("-{value}"),
    };
}

/// Another moment, mostly one that is not too old.
pub(super) fn time_moved(message: &mut Message, rng: &mut Rng, now_secs: i64) {
    let value = message.value_mut(TIMESTAMP_HEADER);
    let by = rng.i64(1..=300) * if rng.bool() { 1 } else { -1 };
    let secs = match rng.u32(0..4) {
        0 => now_secs,
        1 => value.parse().unwrap_or(now_secs).saturating_add(by),
        2 => now_secs + by,
        _ => [0, -1, i64::MAX, i64::MIN, now_secs * 1_000][rng.usize(..5)],
    };
    *value = secs.to_string();
}

/// The signed text stays the same, `<id>.<time>.<body>`, but is parted elsewhere.
pub(super) fn dots_moved(message: &mut Message, rng: &mut Rng) {
    let (id, timestamp) = (message.value_mut(ID_HEADER).clone(), message.value_mut(TIMESTAMP_HEADER).clone());
    let body = String::from_utf8_lossy(&message.body).into_owned();
    let text = format!("{id}.{timestamp}.{body}");
    let dots: Vec<usize> = text.match_indices('.').map(|(at, _)| at).take(6).collect();
    let (first, second) = match rng.u32(0..3) {
        // As many digits as the time may follow in the body.
        0 => (1, 2),
        1 => (0, 2),
        _ => (rng.usize(..dots.len()), rng.usize(..dots.len())),
    };
    let parts = dots.get(first).zip(dots.get(second)).filter(|(first, second)| first < second);
    let (id, timestamp, body) = match parts {
        Some((first, second)) => (&text[..*first], &text[first + 1..*second], &text[second + 1..]),
        // Too few dots: the first dot becomes part of the id, and the time is what the body would begin with.
        None => (&*text, "", ""),
    };
    *message.value_mut(ID_HEADER) = id.to_owned();
    *message.value_mut(TIMESTAMP_HEADER) = timestamp.to_owned();
    message.body = body.as_bytes().to_owned();
}

/// What the specification lets anybody between change.
pub(super) fn harmless(message: &mut Message, rng: &mut Rng) {
    match rng.u32(0..3) {
        0 => message.headers.iter_mut().for_each(|(name, _)| *name = name.to_uppercase()),
        1 => message.headers.reverse(),
        _ => {
            let name = pick(rng, &["x-forwarded-for", "traceparent", "svix-signature", "webhook-version"]);
            let value = message.value_mut(SIGNATURE_HEADER).clone();
            message.headers.push((name.to_owned(), value));
        }
    }
}
