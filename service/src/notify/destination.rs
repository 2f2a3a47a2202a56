//! Where notifications go, from the environment: `CUTOUT_NOTIFY_<NAME>_…`.
//!
//! The URL of an incoming webhook is a secret: who knows it may write there. So all of it stands in the environment, with the other secrets, and not in the
//! breakers' file, which people keep in repositories. No text shows a URL.

use crate::{Breakers, nearest};
use cutout_core::Problems;
use cutout_core::webhook::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use url::{Host, Url};

/// What all of these variables begin with.
pub(crate) const PREFIX: &str = "CUTOUT_NOTIFY_";
/// How many destinations there may be.
pub const DESTINATIONS_MAX: usize = 16;
/// The longest name of one, bytes.
const NAME_MAX_BYTES: usize = 32;

const SLACK_URL: &str = "SLACK_URL";
const WEBHOOK_URL: &str = "WEBHOOK_URL";
const WEBHOOK_SECRETS: &str = "WEBHOOK_SECRETS";
const BREAKERS: &str = "BREAKERS";
const ON: &str = "ON";
const PARTS: [&str; 5] = [BREAKERS, ON, SLACK_URL, WEBHOOK_SECRETS, WEBHOOK_URL];

/// What is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum On {
    /// A breaker opened.
    Open,
    /// It is half-open.
    HalfOpen,
    /// It closed.
    Closed,
    /// A person ordered something, whatever came of it.
    Person,
}

const ON_NAMES: [(&str, On); 4] =
    [("open", On::Open), ("half-open", On::HalfOpen), ("closed", On::Closed), ("person", On::Person)];
/// What is told of unless told otherwise. Half-open comes between open and closed anyway.
const ON_DEFAULT: [On; 3] = [On::Open, On::Closed, On::Person];

/// How a destination is spoken to.
#[derive(Clone)]
pub(crate) enum Form {
    /// `{"text": …}`, as Slack and what imitates it take it.
    Slack,
    /// An item of the history as JSON, signed by each of these (Standard Webhooks).
    Webhook(Vec<Secret>),
}

/// Where notifications go, and which.
#[derive(Clone)]
pub struct Destination {
    /// Lower case.
    pub(crate) name: String,
    pub(crate) url: Url,
    pub(crate) form: Form,
    /// The names of the breakers; empty: all.
    pub(crate) breakers: BTreeSet<String>,
    pub(crate) on: BTreeSet<On>,
}

/// The breakers that one destination asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The variable that names them.
    variable: String,
    names: BTreeSet<String>,
}

impl Destination {
    pub(crate) fn wanted(&self) -> Wanted {
        let variable = format!("{PREFIX}{}_{BREAKERS}", self.name.to_uppercase());
        Wanted { variable, names: self.breakers.clone() }
    }
}

/// The names that destinations ask for and `breakers` does not declare, each with what to do: nobody is told of these.
pub(crate) fn undeclared(wanted: &[Wanted], breakers: &Breakers) -> Vec<String> {
    let declared: Vec<&str> = breakers.declarations.iter().map(|declaration| &*declaration.name).collect();
    let of_one = |Wanted { variable, names }: &Wanted| {
        let missing = names.iter().filter(|name| !declared.contains(&&***name));
        let told = missing.map(|name| {
            format!("{variable}: no breaker {name} is declared: {}", nearest::remedy(name, &declared))
        });
        told.collect::<Vec<_>>()
    };
    wanted.iter().flat_map(of_one).collect()
}

impl fmt::Debug for Destination {
    /// Without the URL and the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("breakers", &self.breakers)
            .field("on", &self.on)
            .finish_non_exhaustive()
    }
}

/// Reads all destinations, and notes every mistake.
pub(crate) fn read(variables: &BTreeMap<String, String>, problems: &mut Problems) -> Vec<Destination> {
    let mut by_name: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let part = PARTS.iter().find_map(|part| Some((rest.strip_suffix(part)?.strip_suffix('_')?, *part)));
        match part.filter(|(name, _)| is_name(name)) {
            Some((name, part)) if !value.trim().is_empty() => {
                by_name.entry(name).or_default().insert(part, value.trim());
            }
            Some(_) => {}
            None => problems.note(format!(
                "{variable} is not a setting: a destination has {PREFIX}<NAME>_ and one of {}; a name is 1 to {NAME_MAX_BYTES} of A-Z and 0-9",
                PARTS.join(", ")
            )),
        }
    }
    if by_name.len() > DESTINATIONS_MAX {
        problems.note(format!("there are more than {DESTINATIONS_MAX} destinations {PREFIX}…"));
    }
    by_name.into_iter().filter_map(|(name, parts)| destination(name, &parts, problems)).collect()
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

fn destination(name: &str, parts: &BTreeMap<&str, &str>, problems: &mut Problems) -> Option<Destination> {
    let of = format!("{PREFIX}{name}_");
    let secrets = secrets(&of, parts.get(WEBHOOK_SECRETS).copied(), problems);
    let (part, text, form) = match (parts.get(SLACK_URL), parts.get(WEBHOOK_URL)) {
        (Some(text), None) if secrets.is_empty() => (SLACK_URL, *text, Form::Slack),
        (None, Some(text)) if !secrets.is_empty() => (WEBHOOK_URL, *text, Form::Webhook(secrets)),
        (None, Some(_)) => {
            problems.note(format!(
                "{of}{WEBHOOK_SECRETS} is not set: whsec_…, parted by commas; all of them sign"
            ));
            return None;
        }
        _ => {
            problems.note(format!(
                "{of}… needs either {of}{SLACK_URL}, or {of}{WEBHOOK_URL} with {of}{WEBHOOK_SECRETS}"
            ));
            return None;
        }
    };
    let url = Url::parse(text).ok().filter(is_usable);
    if url.is_none() {
        // The text is not shown: it is a secret.
        problems.note(format!(
            "{of}{part} is not an https URL without user and password (http only on loopback)"
        ));
    }
    let breakers =
        parts.get(BREAKERS).map(|list| list.split(',').map(|name| name.trim().to_owned()).collect());
    let on = on(&of, parts.get(ON).copied(), problems);
    Some(Destination {
        name: name.to_lowercase(),
        url: url?,
        form,
        breakers: breakers.unwrap_or_default(),
        on,
    })
}

fn secrets(of: &str, text: Option<&str>, problems: &mut Problems) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for (place, text) in text.into_iter().flat_map(|all| all.split(',')).enumerate() {
        match text.trim().parse() {
            Ok(secret) => secrets.push(secret),
            Err(error) => problems.note(format!("{of}{WEBHOOK_SECRETS}, entry {}: {error}", place + 1)),
        }
    }
    secrets
}

fn on(of: &str, text: Option<&str>, problems: &mut Problems) -> BTreeSet<On> {
    let Some(text) = text else { return ON_DEFAULT.into() };
    let mut on = BTreeSet::new();
    for word in text.split(',').map(str::trim) {
        match ON_NAMES.iter().find(|(name, _)| *name == word) {
            Some((_, kind)) => drop(on.insert(*kind)),
            None => {
                let names = ON_NAMES.map(|(name, _)| name).join(", ");
                problems.note(format!("{of}{ON} is a list of {names}, not {word:?}"));
            }
        }
    }
    on
}

fn is_usable(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback;
    is_safe && url.username().is_empty() && url.password().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read_of(variables: &[(&str, &str)]) -> (Vec<Destination>, Vec<String>) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut problems = Problems::default();
        let destinations = read(&variables.collect(), &mut problems);
        (destinations, problems.iter().map(ToOwned::to_owned).collect())
    }

    #[test]
    fn a_destination_is_a_url_and_what_goes_there() {
        let (destinations, problems) = read_of(&[
            ("CUTOUT_NOTIFY_OPS_SLACK_URL", "https://hooks.example/services/T0/B0/secret-path"),
            ("CUTOUT_NOTIFY_OPS_ON", "open, half-open"),
            ("CUTOUT_NOTIFY_BOT_WEBHOOK_URL", "http://127.0.0.1:9/hook"),
            ("CUTOUT_NOTIFY_BOT_WEBHOOK_SECRETS", SECRET),
            ("CUTOUT_NOTIFY_BOT_BREAKERS", "bank-charge, card"),
            ("CUTOUT_LISTEN", "of others"),
        ]);
        assert_eq!(problems, [""; 0]);
        let [bot, ops] = destinations.try_into().unwrap();
        assert_eq!((bot.name.as_str(), bot.on), ("bot", ON_DEFAULT.into()));
        assert_eq!(bot.breakers, ["bank-charge".to_owned(), "card".to_owned()].into());
        assert_eq!((ops.on, ops.breakers), ([On::Open, On::HalfOpen].into(), BTreeSet::new()));
        let shown = format!("{:?}", read_of(&[("CUTOUT_NOTIFY_OPS_SLACK_URL", "https://h/secret-path")]).0);
        assert!(!shown.contains("secret-path") && shown.contains("ops"), "{shown}");
    }

    #[test]
    fn every_mistake_is_told_and_no_url_is_shown() {
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[("CUTOUT_NOTIFY_OPS_SLACK", "https://h/secret")], "CUTOUT_NOTIFY_OPS_SLACK is not a setting"),
            (&[("CUTOUT_NOTIFY_ops_SLACK_URL", "https://h/secret")], "CUTOUT_NOTIFY_ops_SLACK_URL is not a"),
            (
                &[("CUTOUT_NOTIFY_OPS_SLACK_URL", "http://h/secret")],
                "CUTOUT_NOTIFY_OPS_SLACK_URL is not an https",
            ),
            (&[("CUTOUT_NOTIFY_OPS_ON", "open")], "CUTOUT_NOTIFY_OPS_… needs either"),
            (
                &[("CUTOUT_NOTIFY_OPS_WEBHOOK_URL", "https://h/secret")],
                "CUTOUT_NOTIFY_OPS_WEBHOOK_SECRETS is not set",
            ),
            (
                &[
                    ("CUTOUT_NOTIFY_OPS_SLACK_URL", "https://h/secret"),
                    ("CUTOUT_NOTIFY_OPS_WEBHOOK_URL", "https://h/secret"),
                ],
                "CUTOUT_NOTIFY_OPS_… needs either",
            ),
            (
                &[("CUTOUT_NOTIFY_OPS_SLACK_URL", "https://h/secret"), ("CUTOUT_NOTIFY_OPS_ON", "opened")],
                "CUTOUT_NOTIFY_OPS_ON is a list of open, half-open, closed, person, not \"opened\"",
            ),
        ];
        for (variables, expected) in cases {
            let told = read_of(variables).1;
            assert!(told.len() == 1 && told[0].starts_with(expected), "{expected}: {told:?}");
            assert!(!told[0].contains("/secret"), "{told:?}");
        }
    }
}
