//! Steps that change the list of signatures, `v1,<base64> v1,<base64>`.

use super::{Message, SIGNATURE_HEADER, how_many, pick, place};
use crate::corpus::Corpus;
use fastrand::Rng;

/// The letters of base64, in the order of their values.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Changes one signature of the list, what stands behind its comma.
fn change(message: &mut Message, rng: &mut Rng, how: impl FnOnce(&str, &mut Rng) -> String) {
    let list = message.value_mut(SIGNATURE_HEADER);
    let mut signatures: Vec<String> = list.split(' ').map(str::to_owned).collect();
    let at = rng.usize(..signatures.len());
    if let Some((version, encoded)) = signatures[at].clone().split_once(',') {
        signatures[at] = format!("{version},{}", how(encoded, rng));
    }
    *list = signatures.join(" ");
}

/// What a lenient reader of base64 takes for the same bytes, and other encodings.
pub(super) fn spelt(message: &mut Message, rng: &mut Rng) {
    change(message, rng, |encoded, rng| {
        let bare = encoded.trim_end_matches('=');
        match rng.u32(0..9) {
            0 => bare.to_owned(),
            1 => format!("{encoded}="),
            2 => format!("{bare}=A=="),
            3 => encoded.replace('+', "-").replace('/', "_").replace('=', "%3D"),
            4 => trailing_bits(bare, rng),
            5 => {
                let (before, after) = bare.split_at(place(bare, rng));
                format!("{before}\u{a0}{after}")
            }
            6 => encoded.bytes().map(|byte| format!("{byte:02x}")).collect(),
            7 => format!("base64:{encoded}"),
            _ => format!("{bare}.="),
        }
    });
}

/// The last letter holds bits that no byte takes up: any of four letters may stand for the same bytes.
fn trailing_bits(bare: &str, rng: &mut Rng) -> String {
    let last = bare.bytes().next_back();
    let value = last.and_then(|last| LETTERS.iter().position(|letter| *letter == last)).unwrap_or_default();
    let other = char::from(LETTERS[value ^ rng.usize(1..4)]);
    format!("{}{other}=", bare.strip_suffix(|_| true).unwrap_or_default())
}

/// Fewer bytes of the signature, down to none, or more.
pub(super) fn cut(message: &mut Message, rng: &mut Rng) {
    change(message, rng, |encoded, rng| {
        // Four letters are three bytes, so that what is left is base64 as well.
        let whole = 4 * rng.usize(..=encoded.len() / 4);
        match rng.u32(0..3) {
            0 => encoded.get(..whole).unwrap_or_default().to_owned(),
            1 => encoded.get(whole..).unwrap_or_default().to_owned(),
            _ => format!("AAAA{encoded}"),
        }
    });
}

/// Another version, or none.
pub(super) fn version(message: &mut Message, rng: &mut Rng) {
    let new =
        pick(rng, &["v2,", "v1a,", "V1,", "v01,", "v1", "v1;", "v1=", "v1,,", "v1,v1,", ",", "", "t=1,v1="]);
    let list = message.value_mut(SIGNATURE_HEADER);
    *list = if rng.bool() { list.replacen("v1,", new, 1) } else { list.replace("v1,", new) };
}

/// Other separators.
pub(super) fn separated(message: &mut Message, rng: &mut Rng) {
    let mark = pick(rng, &["  ", ",", ", ", ";", "\t", " \t", "|", "\u{3000}", "  \u{a0} "]);
    let list = message.value_mut(SIGNATURE_HEADER);
    *list = match rng.u32(0..3) {
        0 => list.replace(' ', mark),
        1 => format!("{mark}{list}"),
        _ => format!("v1,{mark}{list}{mark}v1,"),
    };
}

/// Signatures of other messages or of nothing, before or after; more than are looked at, too.
pub(super) fn longer(message: &mut Message, rng: &mut Rng, corpus: &Corpus) {
    let further = (0..how_many(rng)).map(|_| match rng.bool() {
        true => super::other(rng, corpus).signatures.join(" "),
        false => pick(rng, &["v1,", "v1,AAAA", "v1a,AAAA", "v2", "-"]).to_owned(),
    });
    let further = further.collect::<Vec<_>>().join(" ");
    let list = message.value_mut(SIGNATURE_HEADER);
    *list = if rng.bool() { format!("{further} {list}") } else { format!("{list} {further}") };
}
