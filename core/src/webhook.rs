//! Signatures of callbacks by the Standard Webhooks specification, version `v1` (HMAC-SHA256).
//!
//! Source: standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`. The signed text is
//! `<webhook-id>.<webhook-timestamp>.<body>` over raw bytes; `webhook-signature` is a list of `v1,<base64>` parted by
//! blanks. Several secrets make rotation possible: all of them sign, any of them verifies.
//!
//! There is no replay memory: the timestamp bounds a replay's age, and applying a callback twice changes nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;

/// Header with the message's id.
pub const ID_HEADER: &str = "webhook-id";
/// Header with the time of the attempt, Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// Header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// How far a timestamp may lie from the receiver's clock, either way.
pub const TOLERANCE_SECS: i64 = 300;
/// How many signatures of one header are looked at.
pub const SIGNATURES_MAX: usize = 16;
/// The longest `webhook-id` that is read.
pub const ID_LEN_MAX: usize = 256;

const SECRET_PREFIX: &str = "whsec_";
const SECRET_LEN_MIN: usize = 24;
const SECRET_LEN_MAX: usize = 64;

/// A signing secret. Its `Debug` shows nothing of it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout_core::webhook::{Secret, VerifyError, message_id, sign, verify};
///
/// let secrets: [Secret; 1] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?];
/// let (body, sent_secs) = (b"{}", 1_795_224_918);
/// let id = message_id("https://service-a.example/callback", body);
/// let signatures = sign(&secrets, &id, sent_secs, body);
/// let received = |body: &[u8], now_secs| verify(&secrets, &id, &sent_secs.to_string(), &signatures, body, now_secs);
/// assert_eq!(received(body, sent_secs + 2), Ok(()));
/// assert_eq!(received(b"[]", sent_secs + 2), Err(VerifyError::Signature));
/// assert_eq!(received(body, sent_secs + 301), Err(VerifyError::Age(301)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Why a text is not a signing secret. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not start with `whsec_`.
    #[error("a signing secret starts with whsec_")]
    Prefix,
    /// What follows is not base64.
    #[error("a signing secret is whsec_ and then base64")]
    Base64,
    /// It is too short or too long.
    #[error("a signing secret holds 24 to 64 bytes; make one with: echo whsec_$(openssl rand -base64 32)")]
    Length,
}

impl std::str::FromStr for Secret {
    type Err = SecretError;

    /// Reads `whsec_<base64 of 24 to 64 bytes>`.
    fn from_str(text: &str) -> Result<Secret, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Prefix)?;
        let bytes = BASE64.decode(encoded).map_err(|_| SecretError::Base64)?;
        if !(SECRET_LEN_MIN..=SECRET_LEN_MAX).contains(&bytes.len()) {
            return Err(SecretError::Length);
        }
        Ok(Secret(bytes))
    }
}

/// Why a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing or unreadable.
    #[error("the header {0} is missing or malformed")]
    Header(&'static str),
    /// The timestamp is more than [`TOLERANCE_SECS`] from now.
    #[error("the timestamp is {0} s from this clock, more than {TOLERANCE_SECS} s")]
    Age(u64),
    /// No signature fits any secret.
    #[error("no signature fits any of the secrets")]
    Signature,
}

/// The `webhook-id` of a body sent to a URL: the same body has the same id at every attempt.
#[must_use]
pub fn message_id(url: &str, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(url).chain_update([0]).chain_update(body).finalize();
    let mut id = String::from("msg_");
    for byte in digest.iter().take(16) {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

/// The `webhook-signature` of a message: one signature a secret.
#[must_use]
pub fn sign(secrets: &[Secret], id: &str, timestamp_secs: i64, body: &[u8]) -> String {
    let signature = |secret: &Secret| {
        let tag = mac(secret, id, &timestamp_secs.to_string(), body).finalize().into_bytes();
        format!("v1,{}", BASE64.encode(tag))
    };
    secrets.iter().map(signature).collect::<Vec<_>>().join(" ")
}

/// Checks a received message at `now_secs` (Unix). The header texts are as received.
///
/// # Errors
/// [`VerifyError`], which tells a missing header, an old or future timestamp, and a wrong signature apart.
pub fn verify(
    secrets: &[Secret],
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now_secs: i64,
) -> Result<(), VerifyError> {
    if id.is_empty() || id.len() > ID_LEN_MAX || id.contains('.') {
        return Err(VerifyError::Header(ID_HEADER));
    }
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent_secs: i64 =
        digits.then(|| timestamp.parse().ok()).flatten().ok_or(VerifyError::Header(TIMESTAMP_HEADER))?;
    if signatures.is_empty() {
        return Err(VerifyError::Header(SIGNATURE_HEADER));
    }
    let age_secs = sent_secs.abs_diff(now_secs);
    if age_secs > TOLERANCE_SECS.unsigned_abs() {
        return Err(VerifyError::Age(age_secs));
    }
    let given =
        signatures.split(' ').take(SIGNATURES_MAX).filter_map(|signature| signature.strip_prefix("v1,"));
    let given: Vec<Vec<u8>> = given.filter_map(|encoded| BASE64.decode(encoded).ok()).collect();
    // `verify_slice` compares in constant time.
    let fits = |secret: &Secret| {
        let mac = mac(secret, id, timestamp, body);
        given.iter().any(|tag| mac.clone().verify_slice(tag).is_ok())
    };
    if secrets.iter().any(fits) { Ok(()) } else { Err(VerifyError::Signature) }
}

fn mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; the error type is there for other MACs.
    #[allow(clippy::expect_used)]
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_224_918;

    fn secret(seed: u8) -> Secret {
        format!("whsec_{}", BASE64.encode([seed; 32])).parse().unwrap()
    }

    #[test]
    fn the_published_vector_of_the_specification_verifies() {
        // From the specification's reference test: secret, id, timestamp and body of its symmetric example.
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature =
            sign(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn any_of_several_secrets_verifies_so_that_they_can_be_rotated() {
        let (old, new) = (secret(1), secret(2));
        let both = sign(&[old.clone(), new.clone()], "msg_1", NOW, b"body");
        for known in [vec![old.clone()], vec![new.clone()], vec![secret(3), new.clone()]] {
            assert_eq!(verify(&known, "msg_1", &NOW.to_string(), &both, b"body", NOW), Ok(()));
        }
        let only_old = sign(&[old], "msg_1", NOW, b"body");
        let verdict = verify(&[new], "msg_1", &NOW.to_string(), &only_old, b"body", NOW);
        assert_eq!(verdict, Err(VerifyError::Signature));
    }

    #[test]
    fn the_tolerance_is_300_s_both_ways() {
        let secrets = [secret(1)];
        for (sent, expected) in [
            (NOW - 300, Ok(())),
            (NOW + 300, Ok(())),
            (NOW - 301, Err(VerifyError::Age(301))),
            (NOW + 301, Err(VerifyError::Age(301))),
        ] {
            let signature = sign(&secrets, "msg_1", sent, b"x");
            assert_eq!(verify(&secrets, "msg_1", &sent.to_string(), &signature, b"x", NOW), expected);
        }
    }

    #[test]
    fn malformed_headers_are_named_and_extreme_timestamps_do_not_overflow() {
        let secrets = [secret(1)];
        let judge = |id: &str, timestamp: &str, signature: &str| {
            verify(&secrets, id, timestamp, signature, b"x", NOW).unwrap_err()
        };
        assert_eq!(judge("", "1", "v1,"), VerifyError::Header(ID_HEADER));
        assert_eq!(judge("a.b", "1", "v1,"), VerifyError::Header(ID_HEADER));
        for timestamp in ["", "x", "-1", "+1", "1.5", "99999999999999999999"] {
            assert_eq!(
                judge("msg_1", timestamp, "v1,"),
                VerifyError::Header(TIMESTAMP_HEADER),
                "{timestamp}"
            );
        }
        assert_eq!(judge("msg_1", &NOW.to_string(), ""), VerifyError::Header(SIGNATURE_HEADER));
        assert!(matches!(judge("msg_1", &i64::MAX.to_string(), "v1,eA=="), VerifyError::Age(_)));
        assert_eq!(judge("msg_1", &NOW.to_string(), "v1,%%% v2,eA== v1"), VerifyError::Signature);
    }

    #[test]
    fn a_secret_is_checked_and_never_shown() {
        assert_eq!("MfKQ9r8G".parse::<Secret>(), Err(SecretError::Prefix));
        assert_eq!("whsec_%".parse::<Secret>(), Err(SecretError::Base64));
        assert_eq!("whsec_eA==".parse::<Secret>(), Err(SecretError::Length));
        assert_eq!(format!("{:?}", secret(7)), "Secret([redacted])");
    }

    #[test]
    fn the_id_depends_on_url_and_body_alone() {
        let id = message_id("https://a/", b"body");
        assert_eq!(id, message_id("https://a/", b"body"));
        assert!(id.len() == 36 && id.starts_with("msg_"));
        assert_ne!(id, message_id("https://b/", b"body"));
        assert_ne!(id, message_id("https://a/", b"other"));
    }

    #[test]
    fn the_limits_of_an_id_and_of_a_secret_are_as_they_are_told() {
        let secrets = [secret(1)];
        let judge = |id: &str| {
            let signature = sign(&secrets, id, NOW, b"x");
            verify(&secrets, id, &NOW.to_string(), &signature, b"x", NOW)
        };
        assert_eq!(judge(&"a".repeat(ID_LEN_MAX)), Ok(()));
        assert_eq!(judge(&"a".repeat(ID_LEN_MAX + 1)), Err(VerifyError::Header(ID_HEADER)));
        let of_length = |len| format!("whsec_{}", BASE64.encode(vec![7; len])).parse::<Secret>().map(|_| ());
        let refused = Err(SecretError::Length);
        assert_eq!([23, 24, 64, 65].map(of_length), [refused, Ok(()), Ok(()), refused]);
    }

    #[test]
    fn of_a_header_with_more_signatures_only_the_first_16_are_looked_at() {
        let secrets = [secret(1)];
        let good = sign(&secrets, "msg_1", NOW, b"x");
        let judge = |before: usize| {
            let header = format!("{}{good}", "v1,eA== ".repeat(before));
            verify(&secrets, "msg_1", &NOW.to_string(), &header, b"x", NOW)
        };
        assert_eq!((judge(15), judge(16)), (Ok(()), Err(VerifyError::Signature)));
    }

    proptest! {
        #[test]
        fn no_change_of_a_signed_message_is_accepted(body in prop::collection::vec(any::<u8>(), 1..64), at in 0usize..64, bit in 0u8..8) {
            let secrets = [secret(1)];
            let signature = sign(&secrets, "msg_1", NOW, &body);
            let mut changed = body.clone();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            prop_assert!(verify(&secrets, "msg_1", &NOW.to_string(), &signature, &body, NOW).is_ok());
            prop_assert!(verify(&secrets, "msg_1", &NOW.to_string(), &signature, &changed, NOW).is_err());
            prop_assert!(verify(&secrets, "msg_2", &NOW.to_string(), &signature, &body, NOW).is_err());
            prop_assert!(verify(&secrets, "msg_1", &(NOW + 1).to_string(), &signature, &body, NOW).is_err());
        }
    }
}
