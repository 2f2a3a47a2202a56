//! The settings of `cutout dispatch`: those of the function, and where and for whom its door opens.

use cutout_core::Problems;
use cutout_core::reference::Variable;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const LISTEN: &str = "CUTOUT_DISPATCH_LISTEN";
/// The secrets that whoever posts a message must know one of.
pub(crate) const SECRETS: &str = "CUTOUT_DISPATCH_SECRETS";
const RECONCILE_EVERY: &str = "CUTOUT_RECONCILE_EVERY";

/// What it reads besides the function's variables, in the order of the reference.
pub(crate) const VARIABLES: [Variable; 3] = [
    Variable {
        name: SECRETS,
        default: "required",
        meaning: "what the header `X-Cutout-Secret` of a message must hold, one of up to 8, comma separated, at least 22 characters each",
    },
    Variable {
        name: LISTEN,
        default: "`127.0.0.1:8082`",
        meaning: "where the door is; TLS ends in front of it",
    },
    Variable {
        name: RECONCILE_EVERY,
        default: "`60s`",
        meaning: "how often all managed monitors are read, `10s` to `120s`",
    },
];

const LISTEN_DEFAULT: &str = "127.0.0.1:8082";
const RECONCILE_EVERY_DEFAULT: Duration = Duration::from_secs(60);
/// Datadog's rate limit for the list of monitors is shared with others.
const RECONCILE_EVERY_MIN: Duration = Duration::from_secs(10);
/// `max_age` is five minutes at the least: beyond this, signals would go stale between two runs.
const RECONCILE_EVERY_MAX: Duration = Duration::from_secs(120);
/// A secret is drawn, not chosen: `openssl rand -hex 24` gives 48 characters.
const SECRET_MIN_BYTES: usize = 22;
/// How many there may be: two during a rotation, and some to spare.
const SECRETS_MAX: usize = 8;

pub(super) struct Settings {
    pub(super) function: cutout_lambda::Settings,
    pub(super) listen: SocketAddr,
    pub(super) secrets: Vec<String>,
    pub(super) reconcile_every: Duration,
}

impl Settings {
    /// # Errors
    /// Every mistake. None of them repeats a secret.
    pub(super) fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, Problems> {
        let set = variables.into_iter().filter(|(_, value)| !value.trim().is_empty());
        let (own, of_function): (BTreeMap<String, String>, BTreeMap<String, String>) =
            set.partition(|(name, _)| VARIABLES.iter().any(|variable| variable.name == name));
        let value = |name: &str| own.get(name).map(|value| value.trim());
        let mut problems = Problems::default();
        let listen = value(LISTEN).unwrap_or(LISTEN_DEFAULT).parse();
        let listen = listen.map_err(|_| {
            problems.note(format!("{LISTEN} is an address and a port, such as {LISTEN_DEFAULT}"));
        });
        let secrets = secrets(value(SECRETS)).map_err(|mistake| problems.note(mistake));
        let every = value(RECONCILE_EVERY).map_or(Ok(RECONCILE_EVERY_DEFAULT), every);
        let every = every.map_err(|mistake| problems.note(mistake));
        let function =
            cutout_lambda::Settings::read(of_function).map_err(|of_function| problems.extend(of_function));
        match (listen, secrets, every, function) {
            (Ok(listen), Ok(secrets), Ok(reconcile_every), Ok(function)) => {
                problems.or(Settings { function, listen, secrets, reconcile_every })
            }
            _ => Err(problems),
        }
    }
}

fn secrets(value: Option<&str>) -> Result<Vec<String>, String> {
    let secrets: Vec<String> =
        value.into_iter().flat_map(|all| all.split(',')).map(|s| s.trim().to_owned()).collect();
    let is_plain =
        |secret: &String| secret.len() >= SECRET_MIN_BYTES && secret.bytes().all(|b| b.is_ascii_graphic());
    match secrets.len() {
        0 => Err(format!(
            "{SECRETS} is not set: what Datadog sends in the header; make one with: openssl rand -hex 24"
        )),
        1..=SECRETS_MAX if secrets.iter().all(is_plain) => Ok(secrets),
        1..=SECRETS_MAX => Err(format!(
            "{SECRETS}: each secret has at least {SECRET_MIN_BYTES} characters, none of them a blank; make one with: openssl rand -hex 24"
        )),
        _ => Err(format!("{SECRETS} holds more than {SECRETS_MAX} secrets")),
    }
}

fn every(text: &str) -> Result<Duration, String> {
    let time = text.strip_suffix('s').and_then(|secs| secs.parse().ok()).map(Duration::from_secs);
    time.filter(|time| (RECONCILE_EVERY_MIN..=RECONCILE_EVERY_MAX).contains(time)).ok_or_else(|| {
        let (min, max) = (RECONCILE_EVERY_MIN.as_secs(), RECONCILE_EVERY_MAX.as_secs());
        format!("{RECONCILE_EVERY} is a time from {min}s to {max}s, such as 60s")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("DD_API_KEY", "a"),
        ("DD_APP_KEY", "b"),
        ("CUTOUT_CALLBACK_ALLOW", "payments.svc.example.com"),
        ("CUTOUT_SIGNING_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (SECRETS, "0123456789abcdef012345,fedcba9876543210fedcba"),
    ];

    fn read(more: &[(&str, &str)]) -> Result<Settings, String> {
        let all = GOOD.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(all.collect::<BTreeMap<_, _>>()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_door_needs_a_secret_that_nobody_guesses() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.secrets.len(), settings.reconcile_every), (2, Duration::from_secs(60)));
        assert_eq!(settings.listen.to_string(), LISTEN_DEFAULT);
        for short in
            ["", " ", "short", "0123456789abcdef012345,short", "0123456789abcdef 0123456789abcdef", ",,"]
        {
            let told = read(&[(SECRETS, short)]).err().unwrap();
            assert!(told.contains(SECRETS) && !told.contains("0123456789abcdef"), "{told}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_and_misspelt_names_too() {
        let told = read(&[
            (LISTEN, "x"),
            (RECONCILE_EVERY, "1s"),
            ("CUTOUT_DISPATCH_SECRET", "x"),
            ("DD_API_KEY", ""),
        ]);
        let told = told.err().unwrap();
        for name in [LISTEN, RECONCILE_EVERY, "CUTOUT_DISPATCH_SECRET", "DD_API_KEY"] {
            assert!(told.contains(name), "{name} is missing in:\n{told}");
        }
    }
}
