//! Steps that change the body.

use super::Message;
use fastrand::Rng;

/// How many bytes are added at the most.
const MORE_MAX: usize = 64;

/// Turns one bit over.
pub(super) fn bit(message: &mut Message, rng: &mut Rng) {
    if message.body.is_empty() {
        return more(message, rng);
    }
    let at = rng.usize(..message.body.len());
    message.body[at] ^= 1 << rng.u32(0..8);
}

/// Leaves out a part at the beginning, the end or between.
pub(super) fn cut(message: &mut Message, rng: &mut Rng) {
    if message.body.is_empty() {
        return more(message, rng);
    }
    let (from, to) = (rng.usize(..message.body.len()), rng.usize(..message.body.len()));
    match rng.u32(0..3) {
        0 => message.body.truncate(from),
        1 => drop(message.body.drain(..=from)),
        _ => drop(message.body.drain(from.min(to)..=from.max(to))),
    }
}

/// Adds bytes somewhere.
pub(super) fn more(message: &mut Message, rng: &mut Rng) {
    let at = rng.usize(..=message.body.len());
    let common = [b' ', b'\n', b'\0', b'.', b'}'];
    let byte = if rng.bool() { rng.u8(..) } else { common[rng.usize(..common.len())] };
    let added = vec![byte; rng.usize(1..=MORE_MAX)];
    drop(message.body.splice(at..at, added));
}

/// The same values for a reader of JSON, and other bytes.
pub(super) fn spelt(message: &mut Message, rng: &mut Rng) {
    let text = String::from_utf8_lossy(&message.body).into_owned();
    let (from, to) = [
        (",", ", "),
        (":", " :"),
        ("}", "\n}"),
        ("\"Alert\"", "\"\\u0041lert\""),
        ("5200001", "5200001.0"),
        ("false", "true"),
    ][rng.usize(..6)];
    message.body = match text.contains(from) {
        true => text.replacen(from, to, 1).into_bytes(),
        false => format!(" {text}").into_bytes(),
    };
}
