//! The rule by which a message is the same as a signed one. It computes no signature: it only knows what was signed.
//!
//! Id, time and body are those of one signed message, byte for byte; each of the three headers is there once, and ASCII;
//! among the first 16 signatures, parted by single blanks, stands one that a known secret made for that message, in the
//! very letters in which it was made; and its time is not over. Names of headers in any case, their order, other headers
//! and other signatures do not matter. Everything else is forged.

use crate::corpus::Corpus;
use crate::message::{HEADERS, Message};
use cutout_core::webhook::{SIGNATURES_MAX, TOLERANCE_SECS};

/// Whether the message is one that was signed, and may still be believed.
pub(crate) fn is_signed(message: &Message, corpus: &Corpus) -> bool {
    let [ids, timestamps, lists] = HEADERS.map(|name| message.values(name));
    let ([id], [timestamp], [list]) = (&ids[..], &timestamps[..], &lists[..]) else { return false };
    if !list.is_ascii() {
        return false;
    }
    corpus.signed.iter().any(|signed| {
        let is_this =
            *id == signed.id && *timestamp == signed.sent_secs.to_string() && message.body == signed.body;
        let bears = |given: &str| signed.known.iter().any(|known| known == given);
        is_this
            && signed.sent_secs.abs_diff(corpus.now_secs) <= TOLERANCE_SECS.unsigned_abs()
            && list.split(' ').take(SIGNATURES_MAX).any(bears)
    })
}
