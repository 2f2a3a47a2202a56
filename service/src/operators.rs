//! Who may: people and programs by token, each with a role.
//!
//! The settings hold the SHA-256 of each token, so that whoever reads them cannot act. A token is drawn, not chosen (128
//! bits or more), so a plain hash is enough. All entries are compared, in constant time.
//!
//! Left out: how a token reaches the service (`api::operator`).

use cutout_core::Problems;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// The shortest token that is looked at, bytes: 128 bits in base64.
pub const TOKEN_MIN_BYTES: usize = 22;
/// The longest token that is looked at, bytes.
pub const TOKEN_MAX_BYTES: usize = 512;
/// How much of its hash names a token where the token itself must not stand, bytes.
const TICKET_BYTES: usize = 16;
/// The longest name of an operator, bytes.
pub const NAME_MAX_BYTES: usize = 100;
/// How many operators there may be.
pub const OPERATORS_MAX: usize = 1_000;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, and decide.
    Operator,
}

/// Somebody who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who: what stands in the audit stream.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When the token ends; none: it does not.
    pub expires_at: Option<Timestamp>,
}

/// Everybody who may use the API.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout_service::{Operators, Role, operators::TokenError};
///
/// let hash = "63e2b9edbaf53cf8e015baa3b5523d4c3b16aaa7b054c829e69ada64c30cff9f"; // of the token, by SHA-256
/// let operators = Operators::parse("CUTOUT_OPERATORS", &format!("ann:{hash}:operator:2027-01-31"))?;
/// let ann = operators.bearer(b"a-token-of-at-least-32-bytes-for-ann", "2026-11-21T01:15:18Z".parse()?)?;
/// assert_eq!((ann.name.as_str(), ann.role), ("ann", Role::Operator));
/// let guessed = operators.bearer(b"a-token-of-at-least-32-bytes-for-bob", "2026-11-21T01:15:18Z".parse()?);
/// assert_eq!(guessed, Err(TokenError::Unknown));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Operators {
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    token_sha256: [u8; 32],
    operator: Operator,
}

/// Names a token without telling it, or its hash: what a page's session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) [u8; TICKET_BYTES]);

impl Entry {
    fn ticket(&self) -> Ticket {
        let digest = Sha256::new().chain_update(b"cutout ticket").chain_update(self.token_sha256).finalize();
        let mut ticket = [0; TICKET_BYTES];
        ticket.copy_from_slice(&digest[..TICKET_BYTES]);
        Ticket(ticket)
    }

    /// Who it is at `now`, unless the time is over.
    fn at(&self, now: Timestamp) -> Result<&Operator, TokenError> {
        let is_over = self.operator.expires_at.is_some_and(|expires_at| now >= expires_at);
        if is_over { Err(TokenError::Expired) } else { Ok(&self.operator) }
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It cannot be one.
    #[error("the token is shorter than {TOKEN_MIN_BYTES} or longer than {TOKEN_MAX_BYTES} bytes")]
    Length,
    /// It is nobody's.
    #[error("the token is not known")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

impl Operators {
    /// Reads `name:sha256-hex:role[:expiry]`, parted by commas. `setting` is its name, for the mistakes.
    ///
    /// # Errors
    /// All mistakes, each with its place. No hash is shown.
    pub fn parse(setting: &str, text: &str) -> Result<Operators, Problems> {
        let mut problems = Problems::default();
        let mut entries: Vec<Entry> = Vec::new();
        for (place, text) in text.split(',').enumerate() {
            match entry(text.trim()) {
                Ok(entry) if entries.iter().any(|known| known.token_sha256 == entry.token_sha256) => {
                    problems
                        .note(format!("{setting}, entry {}: the same token stands there twice", place + 1));
                }
                Ok(entry) => entries.push(entry),
                Err(problem) => problems.note(format!("{setting}, entry {}: {problem}", place + 1)),
            }
        }
        if entries.len() > OPERATORS_MAX {
            problems.note(format!("{setting} has more than {OPERATORS_MAX} entries"));
        }
        problems.or(Operators { entries })
    }

    /// Who bears this token at `now`.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn bearer(&self, token: &[u8], now: Timestamp) -> Result<&Operator, TokenError> {
        self.entry_of(token)?.at(now)
    }

    /// What names this token, if somebody bears it at `now`.
    pub(crate) fn ticket(&self, token: &[u8], now: Timestamp) -> Result<(Ticket, &Operator), TokenError> {
        let entry = self.entry_of(token)?;
        Ok((entry.ticket(), entry.at(now)?))
    }

    /// Who bears at `now` the token that was named so: nobody once it is not among the settings any more.
    pub(crate) fn holder(&self, ticket: &Ticket, now: Timestamp) -> Result<&Operator, TokenError> {
        let entry = self.entries.iter().find(|entry| entry.ticket() == *ticket);
        entry.ok_or(TokenError::Unknown)?.at(now)
    }

    fn entry_of(&self, token: &[u8]) -> Result<&Entry, TokenError> {
        if !(TOKEN_MIN_BYTES..=TOKEN_MAX_BYTES).contains(&token.len()) {
            return Err(TokenError::Length);
        }
        let presented: [u8; 32] = Sha256::digest(token).into();
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (place, entry) in (0_u64..).zip(&self.entries) {
            let same = entry.token_sha256.ct_eq(&presented);
            at.conditional_assign(&place, same);
            found |= same;
        }
        let entry = usize::try_from(at).ok().and_then(|at| self.entries.get(at));
        entry.filter(|_| bool::from(found)).ok_or(TokenError::Unknown)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Operators {
    /// Without the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.operator)).finish()
    }
}

fn entry(text: &str) -> Result<Entry, String> {
    let mut parts = text.splitn(4, ':');
    let (Some(name), Some(hash), Some(role)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("an entry is name:sha256-hex:role, with :expiry if the token ends".to_owned());
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@' | b'+');
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(plain) {
        return Err(format!("a name is 1 to {NAME_MAX_BYTES} of a-z, A-Z, 0-9 and . _ - @ +"));
    }
    let token_sha256 = sha256(hash).ok_or_else(|| {
        "the second part is the SHA-256 of the token, 64 hexadecimal digits: printf %s \"$token\" | sha256sum".to_owned()
    })?;
    let role = match role {
        "viewer" => Role::Viewer,
        "operator" => Role::Operator,
        other => return Err(format!("a role is viewer or operator, not {other:?}")),
    };
    let expires_at = parts.next().map(expiry).transpose()?;
    Ok(Entry { token_sha256, operator: Operator { name: name.to_owned(), role, expires_at } })
}

/// 64 hexadecimal digits.
fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes().iter().map(|digit| char::from(*digit).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| u8::try_from(digit?).ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).filter_map(|two| Some(two.first()? << 4 | two.get(1)?)).collect();
    bytes.try_into().ok().filter(|_| text.len() == 64)
}

/// A time, or a day, which ends the token when it begins in UTC.
fn expiry(text: &str) -> Result<Timestamp, String> {
    let day = |day: Date| day.to_zoned(TimeZone::UTC).ok().map(|start| start.timestamp());
    let day_or_time = text.parse().ok().or_else(|| text.parse().ok().and_then(day));
    day_or_time.ok_or_else(|| {
        format!("an expiry is a day (2027-01-31) or a time (2027-01-31T18:00:00Z), not {text:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann-ann-ann-ann-ann-ann";
    const BOB: &str = "bob-bob-bob-bob-bob-bob";

    fn hash(token: &str) -> String {
        Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn operators() -> Operators {
        let text = format!(
            "ann@bank.example:{}:operator, bob:{}:viewer:2027-01-31,late:{}:operator:2026-11-21T03:00:00+09:00",
            hash(ANN),
            hash(BOB).to_uppercase(),
            hash("late-late-late-late-late")
        );
        Operators::parse("SETTING", &text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_somebodys_until_it_expires() {
        let (operators, now) = (operators(), at("2026-11-20T18:00:00Z"));
        let ann = operators.bearer(ANN.as_bytes(), now).unwrap();
        assert_eq!((&*ann.name, ann.role, ann.expires_at), ("ann@bank.example", Role::Operator, None));
        assert_eq!(operators.bearer(BOB.as_bytes(), now).unwrap().role, Role::Viewer);
        assert_eq!(operators.bearer(BOB.as_bytes(), at("2027-01-30T23:59:59Z")).unwrap().name, "bob");
        assert_eq!(operators.bearer(BOB.as_bytes(), at("2027-01-31T00:00:00Z")), Err(TokenError::Expired));
        let late = b"late-late-late-late-late";
        assert_eq!(operators.bearer(late, at("2026-11-20T17:59:59Z")).unwrap().name, "late");
        assert_eq!(operators.bearer(late, now), Err(TokenError::Expired));
    }

    #[test]
    fn what_is_no_token_is_nobodys() {
        let (operators, now) = (operators(), at("2026-11-20T18:00:00Z"));
        for wrong in [format!("{ANN}x"), ANN.to_uppercase(), hash(ANN), "x".repeat(TOKEN_MAX_BYTES)] {
            assert_eq!(operators.bearer(wrong.as_bytes(), now), Err(TokenError::Unknown), "{wrong}");
        }
        for wrong in ["", "short", &"x".repeat(TOKEN_MAX_BYTES + 1)] {
            assert_eq!(operators.bearer(wrong.as_bytes(), now), Err(TokenError::Length), "{wrong}");
        }
        let weak = Operators::parse("S", &format!("eve:{}:operator", hash("password"))).unwrap();
        assert_eq!(weak.bearer(b"password", now), Err(TokenError::Length), "drawn, not chosen");
        assert_eq!(Operators::default().bearer(ANN.as_bytes(), now), Err(TokenError::Unknown));
    }

    #[test]
    fn every_mistake_is_told_and_no_hash_is_shown() {
        let good = hash(ANN);
        let text = format!(
            "ann,ann b:{good}:viewer,:{good}:viewer,ann:{}:viewer,ann:{good}:admin,ann:{good}:viewer:tomorrow,ann:{good}:viewer,bob:{good}:operator,",
            &good[1..]
        );
        let told = Operators::parse("SETTING", &text).unwrap_err();
        let told: Vec<&str> = told.iter().collect();
        let expected = [
            "SETTING, entry 1: an entry is name:",
            "SETTING, entry 2: a name is",
            "SETTING, entry 3: a name is",
            "SETTING, entry 4: the second part is the SHA-256",
            "SETTING, entry 5: a role is viewer or operator, not \"admin\"",
            "SETTING, entry 6: an expiry is a day",
            "SETTING, entry 8: the same token",
            "SETTING, entry 9: an entry is name:",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected) && !told.contains(&good[1..]), "{told}");
        }
        assert!(!format!("{:?}", operators()).contains(&hash(BOB)[..8]));
    }
}
