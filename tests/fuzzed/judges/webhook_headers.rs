//! Signatures: what is signed verifies, one byte changed does not, and headers that nobody signed never do.
//!
//! An input is a line of what to change (a place, what it is combined with, seconds of age), the three headers as an attacker would
//! write them, a line each, and a body.

use super::NOW_SECS;
use cutout_core::webhook::{ID_LEN_MAX, Secret, TOLERANCE_SECS, VerifyError, message_id, sign, verify};

/// Two secrets of which nothing stands in any corpus but this line.
const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2VjcmV0cyBhcmUgbG9uZ2VyIHRoYW4gdGhpcw=="];

pub(super) fn judge(input: &[u8]) {
    let (change, rest) = split_line(input);
    let (id, rest) = split_line(rest);
    let (timestamp, rest) = split_line(rest);
    let (signatures, body) = split_line(rest);
    let (id, timestamp, signatures) = (lossy(id), lossy(timestamp), lossy(signatures));
    let secrets = SECRETS.map(|secret| secret.parse::<Secret>().expect("a secret"));
    let forged = verify(&secrets, &id, &timestamp, &signatures, body, NOW_SECS);
    assert!(forged.is_err(), "nobody has signed this");
    secret_of(&id);
    let change = Change::read(&lossy(change));
    signed(&secrets, &id, body, &change);
    one_byte(&secrets[..1], &id, body, &change);
}

fn split_line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[]),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where one byte is changed, by what, and how old the message is.
struct Change {
    at: usize,
    xor: u8,
    age_secs: i64,
}

impl Change {
    fn read(line: &str) -> Change {
        let mut numbers = line.split(' ').map(str::parse::<i64>);
        let mut number = || numbers.next().and_then(Result::ok).unwrap_or_default();
        let at = usize::try_from(number().unsigned_abs()).unwrap_or_default();
        let xor = u8::try_from(number().unsigned_abs() % 255).unwrap_or_default() + 1;
        Change { at, xor, age_secs: number() }
    }
}

/// A text that is a secret signs and verifies, and is told to nobody.
fn secret_of(text: &str) {
    let Ok(secret) = text.parse::<Secret>() else { return };
    let secrets = [secret];
    let signature = sign(&secrets, "msg_1", NOW_SECS, b"body");
    let verdict = verify(&secrets, "msg_1", &NOW_SECS.to_string(), &signature, b"body", NOW_SECS);
    assert_eq!(verdict, Ok(()));
    assert!(!format!("{secrets:?}").contains(text), "a secret is not told");
}

/// What is signed verifies as long as it is fresh and its id is one, by either secret during a rotation.
fn signed(secrets: &[Secret], id: &str, body: &[u8], change: &Change) {
    let sent_secs = NOW_SECS.saturating_sub(change.age_secs);
    let (timestamp, signatures) = (sent_secs.to_string(), sign(secrets, id, sent_secs, body));
    let is_id = !id.is_empty() && id.len() <= ID_LEN_MAX && !id.contains('.');
    let age_secs = NOW_SECS.abs_diff(sent_secs);
    for known in [secrets, &secrets[..1], &secrets[1..]] {
        let verdict = verify(known, id, &timestamp, &signatures, body, NOW_SECS);
        match verdict {
            Err(VerifyError::Header(_)) => {
                assert!(!is_id || sent_secs < 0, "{verdict:?} for {id:?}, {timestamp}");
            }
            Err(VerifyError::Age(told)) => {
                assert_eq!((told, age_secs > TOLERANCE_SECS.unsigned_abs()), (age_secs, true));
            }
            Err(VerifyError::Signature) => panic!("signed, and not believed: {id:?}, {timestamp}"),
            Ok(()) => assert!(is_id && age_secs <= TOLERANCE_SECS.unsigned_abs()),
        }
    }
}

/// One byte of any part changed is not believed.
fn one_byte(secrets: &[Secret], text: &str, body: &[u8], change: &Change) {
    let id = message_id(text, body);
    let timestamp = NOW_SECS.to_string();
    let signature = sign(secrets, &id, NOW_SECS, body);
    assert_eq!(verify(secrets, &id, &timestamp, &signature, body, NOW_SECS), Ok(()));
    let mut parts = [id.into_bytes(), timestamp.into_bytes(), signature.into_bytes(), body.to_vec()];
    let mut at = change.at % parts.iter().map(Vec::len).sum::<usize>();
    for part in &mut parts {
        if let Some(byte) = part.get_mut(at) {
            *byte ^= change.xor;
            break;
        }
        at -= part.len();
    }
    let [id, timestamp, signature, body] = parts;
    // A header that is no text is none.
    let (Ok(id), Ok(timestamp), Ok(signature)) =
        (String::from_utf8(id), String::from_utf8(timestamp), String::from_utf8(signature))
    else {
        return;
    };
    assert!(
        verify(secrets, &id, &timestamp, &signature, &body, NOW_SECS).is_err(),
        "byte {} was changed",
        change.at
    );
}
