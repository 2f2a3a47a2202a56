//! Who came in by the login form: a signed cookie, and what every form of that session carries.
//!
//! The cookie names the token (`operators::Ticket`) and its end, and nothing is kept here: any instance that holds the same
//! secret believes it. Whoever loses his token, or his role, loses it in every session at once, since both are looked up
//! again at each request. A form's token is another signature of the same session, which no other page can know.
//!
//! Left out: a list of sessions that were signed out. Signing out takes the cookie from the browser.

use crate::operators::Ticket;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::SecureRandom;
use sha2::Sha256;
use std::fmt;

/// How long a session lasts, seconds: a working day.
pub const SESSION_SECS: i64 = 12 * 3_600;
/// The shortest secret, characters.
pub(super) const SECRET_MIN_CHARS: usize = 32;
/// The longest secret, characters.
pub(super) const SECRET_MAX_CHARS: usize = 512;
/// The longest cookie that is looked at, bytes.
const COOKIE_MAX_BYTES: usize = 512;
/// What a drawn secret holds, bytes.
const DRAWN_BYTES: usize = 32;
/// What one session is told apart by, bytes.
const NONCE_BYTES: usize = 16;

/// The cookie's name where it may only travel by TLS; browsers then take it from this host alone.
const COOKIE_SECURE: &str = "__Host-cutout-session";
/// Its name on loopback.
const COOKIE_LOOPBACK: &str = "cutout-session";

/// What sessions are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret(Vec<u8>);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret([redacted])")
    }
}

/// Why a text is not a session secret. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session secret has {SECRET_MIN_CHARS} to {SECRET_MAX_CHARS} characters; make one with: openssl rand -base64 32"
)]
pub struct SessionSecretError;

impl std::str::FromStr for SessionSecret {
    type Err = SessionSecretError;

    fn from_str(text: &str) -> Result<SessionSecret, SessionSecretError> {
        let fits = (SECRET_MIN_CHARS..=SECRET_MAX_CHARS).contains(&text.chars().count());
        if fits { Ok(SessionSecret(text.as_bytes().to_vec())) } else { Err(SessionSecretError) }
    }
}

/// A session that was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) ticket: Ticket,
    /// When it ends, Unix seconds.
    pub(crate) ends_secs: i64,
    /// What its forms are signed for.
    pub(crate) subject: String,
}

/// Makes sessions, and believes them.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// The first signs, any is believed.
    secrets: Vec<SessionSecret>,
}

impl Sessions {
    /// By these secrets; without any, by one that this process draws.
    pub(crate) fn new(mut secrets: Vec<SessionSecret>) -> Sessions {
        if secrets.is_empty() {
            secrets.push(SessionSecret(drawn(DRAWN_BYTES)));
        }
        Sessions { secrets }
    }

    /// A cookie's value for a new session that begins at `now_secs`, Unix.
    pub(crate) fn begin(&self, ticket: &Ticket, now_secs: i64) -> String {
        let (ticket, nonce) = (URL_SAFE_NO_PAD.encode(ticket.0), URL_SAFE_NO_PAD.encode(drawn(NONCE_BYTES)));
        let subject = format!("1.{ticket}.{nonce}.{}", now_secs.saturating_add(SESSION_SECS));
        let signature = self.sign(Purpose::Session, &subject);
        format!("{subject}.{signature}")
    }

    /// The session of a cookie's value, unless it is over at `now_secs`, Unix, or nobody here made it.
    pub(crate) fn believed(&self, cookie: &str, now_secs: i64) -> Option<Session> {
        if cookie.len() > COOKIE_MAX_BYTES {
            return None;
        }
        let (subject, signature) = cookie.rsplit_once('.')?;
        if !self.is_signed(Purpose::Session, subject, signature) {
            return None;
        }
        let mut parts = subject.split('.');
        let (Some("1"), Some(ticket), Some(_nonce), Some(ends), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let ticket = Ticket(URL_SAFE_NO_PAD.decode(ticket).ok()?.try_into().ok()?);
        let ends_secs = ends.parse().ok().filter(|ends_secs| now_secs < *ends_secs)?;
        Some(Session { ticket, ends_secs, subject: subject.to_owned() })
    }

    /// What the forms of this subject carry.
    pub(crate) fn form_token(&self, subject: &str) -> String {
        self.sign(Purpose::Form, subject)
    }

    /// Whether a form of this subject carried what it should.
    pub(crate) fn is_form_token(&self, subject: &str, token: &str) -> bool {
        self.is_signed(Purpose::Form, subject, token)
    }

    fn sign(&self, purpose: Purpose, subject: &str) -> String {
        let first = self.secrets.first().map(|secret| mac(secret, purpose, subject));
        first.map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())).unwrap_or_default()
    }

    /// In constant time for each secret.
    fn is_signed(&self, purpose: Purpose, subject: &str, signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        let mut secrets = self.secrets.iter();
        secrets.any(|secret| mac(secret, purpose, subject).verify_slice(&signature).is_ok())
    }
}

/// What a signature is for: one kind never passes for the other.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Session,
    Form,
}

fn mac(secret: &SessionSecret, purpose: Purpose, subject: &str) -> Hmac<Sha256> {
    // HMAC takes a key of any length.
    #[allow(clippy::expect_used)]
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
    mac.update(match purpose {
        Purpose::Session => b"cutout session\0",
        Purpose::Form => b"cutout form\0",
    });
    mac.update(subject.as_bytes());
    mac
}

/// Bytes that nobody can guess.
fn drawn(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let random: &dyn SecureRandom = rustls::crypto::ring::default_provider().secure_random;
    // Without the system's randomness nothing that is secret can be made: better no process than a known key.
    #[allow(clippy::expect_used)]
    random.fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// The value of this page's cookie among a request's.
pub(crate) fn cookie_value<'a>(cookies: impl Iterator<Item = &'a str>, is_secure: bool) -> Option<&'a str> {
    let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == cookie_name(is_secure)).map(|(_, value)| value);
    values.next()
}

/// The header that gives a browser its session.
pub(crate) fn cookie(value: &str, is_secure: bool) -> String {
    format!("{}={value}; {}; Max-Age={SESSION_SECS}", cookie_name(is_secure), attributes(is_secure))
}

/// The header that takes it away.
pub(crate) fn no_cookie(is_secure: bool) -> String {
    format!("{}=; {}; Max-Age=0", cookie_name(is_secure), attributes(is_secure))
}

fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { COOKIE_SECURE } else { COOKIE_LOOPBACK }
}

fn attributes(is_secure: bool) -> &'static str {
    if is_secure { "Path=/; HttpOnly; SameSite=Strict; Secure" } else { "Path=/; HttpOnly; SameSite=Strict" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_223_705;
    const TICKET: Ticket = Ticket([7; 16]);

    fn secret(letter: &str) -> SessionSecret {
        letter.repeat(SECRET_MIN_CHARS).parse().unwrap()
    }

    #[test]
    fn a_session_is_believed_until_its_end_by_whoever_holds_the_secret() {
        let (old, new) = (Sessions::new(vec![secret("a")]), Sessions::new(vec![secret("b"), secret("a")]));
        let cookie = old.begin(&TICKET, NOW);
        for sessions in [&old, &new] {
            let session = sessions.believed(&cookie, NOW + SESSION_SECS - 1).unwrap();
            assert_eq!((session.ticket, session.ends_secs), (TICKET, NOW + SESSION_SECS));
            assert_eq!(sessions.believed(&cookie, NOW + SESSION_SECS), None);
        }
        assert_eq!(old.believed(&new.begin(&TICKET, NOW), NOW), None, "the new secret signs");
        assert_ne!(old.begin(&TICKET, NOW), cookie, "no two sessions are alike");
        let drawn = Sessions::new(Vec::new());
        assert!(drawn.believed(&drawn.begin(&TICKET, NOW), NOW).is_some());
        assert_eq!(Sessions::new(Vec::new()).believed(&drawn.begin(&TICKET, NOW), NOW), None);
    }

    #[test]
    fn what_was_changed_is_not_believed() {
        let sessions = Sessions::new(vec![secret("a")]);
        let cookie = sessions.begin(&TICKET, NOW);
        let longer = cookie.replace(&(NOW + SESSION_SECS).to_string(), &(NOW + 2 * SESSION_SECS).to_string());
        assert_ne!(longer, cookie);
        let session = sessions.believed(&cookie, NOW).unwrap();
        let as_session = format!("{}.{}", session.subject, sessions.form_token(&session.subject));
        let short = cookie[..cookie.len() - 1].to_owned();
        for wrong in [longer, as_session, short, format!("{cookie}A"), String::new(), ".".repeat(5)] {
            assert_eq!(sessions.believed(&wrong, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn a_form_carries_the_token_of_its_session_alone() {
        let sessions = Sessions::new(vec![secret("a")]);
        let of = |_| sessions.believed(&sessions.begin(&TICKET, NOW), NOW).unwrap().subject;
        let [one, other] = [0, 1].map(of);
        assert!(sessions.is_form_token(&one, &sessions.form_token(&one)));
        for wrong in [sessions.form_token(&other), String::new(), "A".repeat(43)] {
            assert!(!sessions.is_form_token(&one, &wrong), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_strict_and_travels_by_tls_but_on_loopback() {
        assert_eq!(
            cookie("x", true),
            "__Host-cutout-session=x; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=43200"
        );
        assert_eq!(cookie("x", false), "cutout-session=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
        let sent = ["a=b; cutout-session=one", "__Host-cutout-session=two"];
        assert_eq!(cookie_value(sent.into_iter(), false), Some("one"));
        assert_eq!(cookie_value(sent.into_iter(), true), Some("two"));
        assert_eq!(cookie_value(["xcutout-session=one"].into_iter(), false), None);
    }

    #[test]
    fn a_secret_is_long_and_never_shown() {
        assert!("short".parse::<SessionSecret>().is_err());
        assert!(!format!("{:?}", secret("a")).contains("aaa"));
    }
}
