//! The function's settings, read from environment variables: every mistake at once, each with its variable and remedy.
//!
//! Variables are an argument, so that tests touch no process environment. An empty variable counts as not set, for
//! templates of infrastructure write those. A `CUTOUT_…` name that is not known is a mistake, for a misspelt allow list
//! must not go unseen. No text here ever repeats a value that may be secret.
//!
//! Left out: reading secrets that AWS keeps. Here they are only named; see [`secrets`](crate::secrets).

mod signing;
mod variables;

pub use signing::SigningSecrets;
pub use variables::VARIABLES;

use crate::datadog::{DatadogSettings, Key};
use crate::guard::{AllowedHostError, GuardSettings};
use crate::secrets::{ExtensionSettings, FromSecret, PORT_DEFAULT, Reference, Source};
use cutout_core::Problems;
use ipnet::IpNet;
use jiff::SignedDuration;
use reqwest::header::HeaderValue;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use url::{Host, Url};

/// The time for one callback, unless `CUTOUT_CALLBACK_TIMEOUT` says otherwise.
pub const CALLBACK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The shortest time for one callback that may be set.
pub const CALLBACK_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The longest time for one callback that may be set.
pub const CALLBACK_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// How long until what a report did not show yet is read again, unless `CUTOUT_REREAD_AFTER` says otherwise.
pub const REREAD_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// The longest that may be set. Reads of Datadog lag up to half a minute.
pub const REREAD_AFTER_MAX: Duration = Duration::from_secs(30);
/// The tag of managed monitors, unless `CUTOUT_RECONCILE_TAG` says otherwise.
pub const RECONCILE_TAG_DEFAULT: &str = "cutout";

const DD_SITE: &str = "DD_SITE";
const DD_API_KEY: &str = "DD_API_KEY";
const DD_APP_KEY: &str = "DD_APP_KEY";
const DATADOG_URL: &str = "CUTOUT_DATADOG_URL";
/// The setting that holds what signs callbacks.
pub const SIGNING_SECRETS: &str = "CUTOUT_SIGNING_SECRETS";
/// The setting that lists the hosts that may be called.
pub const CALLBACK_ALLOW: &str = "CUTOUT_CALLBACK_ALLOW";
/// The setting that says where they may stand.
pub const CALLBACK_ALLOW_CIDR: &str = "CUTOUT_CALLBACK_ALLOW_CIDR";
const CALLBACK_ALLOW_HTTP: &str = "CUTOUT_CALLBACK_ALLOW_HTTP";
const CALLBACK_TIMEOUT: &str = "CUTOUT_CALLBACK_TIMEOUT";
const REREAD_AFTER: &str = "CUTOUT_REREAD_AFTER";
const RECONCILE_TAG: &str = "CUTOUT_RECONCILE_TAG";

const OWN_PREFIX: &str = "CUTOUT_";
/// What stands behind a secret's name where a variable tells only where AWS keeps it.
const SECRET_ARN_SUFFIX: &str = "_SECRET_ARN";
const SSM_NAME_SUFFIX: &str = "_SSM_NAME";
/// AWS Lambda and its extension name these two.
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const EXTENSION_PORT: &str = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT";
/// How like a known name an unknown one must be to be taken for a slip (Jaro-Winkler, 1 = the same).
const LIKENESS_MIN: f64 = 0.9;

/// What the function needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which Datadog to read.
    pub datadog: DatadogSettings,
    /// What signs callbacks.
    pub signing: Source<SigningSecrets>,
    /// How to read secrets that AWS keeps; none if all are given.
    pub extension: Option<ExtensionSettings>,
    /// Where callbacks may go.
    pub guard: GuardSettings,
    /// The time for one callback.
    pub callback_timeout: Duration,
    /// How long until what a report did not show yet is read again; zero: never.
    pub reread_after: Duration,
    /// The bare tag that managed monitors bear.
    pub reconcile_tag: String,
}

impl Settings {
    /// Reads the settings from variables as a process environment holds them; those of others are passed over.
    ///
    /// # Errors
    /// Every mistake.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Settings, Problems> {
        let mut reader = Reader::new(variables);
        reader.refuse_unknown();
        let site = reader.parsed(DD_SITE).unwrap_or_default();
        let url = reader.read(DATADOG_URL, datadog_url);
        let api_key = reader.secret(DD_API_KEY, KEY_REMEDY);
        let app_key = reader.secret(DD_APP_KEY, KEY_REMEDY);
        let signing = reader.secret(SIGNING_SECRETS, SIGNING_REMEDY);
        let extension = reader.extension();
        let guard = reader.guard();
        let callback_timeout = CALLBACK_TIMEOUT_MIN..=CALLBACK_TIMEOUT_MAX;
        let callback_timeout = reader.time(CALLBACK_TIMEOUT, &callback_timeout, CALLBACK_TIMEOUT_DEFAULT);
        let reread_after =
            reader.time(REREAD_AFTER, &(Duration::ZERO..=REREAD_AFTER_MAX), REREAD_AFTER_DEFAULT);
        let reconcile_tag =
            reader.read(RECONCILE_TAG, tag).unwrap_or_else(|| RECONCILE_TAG_DEFAULT.to_owned());
        let (Some(api_key), Some(app_key), Some(signing)) = (api_key, app_key, signing) else {
            return Err(reader.problems);
        };
        let datadog = DatadogSettings { site, url, api_key, app_key };
        reader.problems.or(Settings {
            datadog,
            signing,
            extension,
            guard,
            callback_timeout,
            reread_after,
            reconcile_tag,
        })
    }
}

/// Reads which Datadog to read, and with what, for programs that only read it. Other variables are passed over.
///
/// # Errors
/// Every mistake.
pub fn datadog(variables: impl IntoIterator<Item = (String, String)>) -> Result<DatadogSettings, Problems> {
    let mut reader = Reader::new(variables);
    let site = reader.parsed(DD_SITE).unwrap_or_default();
    let url = reader.read(DATADOG_URL, datadog_url);
    let keys = [DD_API_KEY, DD_APP_KEY].map(|name| match reader.read(name, Key::from_secret) {
        None if !reader.variables.contains_key(name) => {
            reader.problems.note(format!("{name} is not set: {KEY_REMEDY}"));
            None
        }
        key => key.map(Source::Given),
    });
    match keys {
        [Some(api_key), Some(app_key)] => reader.problems.or(DatadogSettings { site, url, api_key, app_key }),
        _ => Err(reader.problems),
    }
}

/// Reads where callbacks may go, for programs that only judge URLs; none if no variable says so.
///
/// # Errors
/// Every mistake.
pub fn guard(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Option<GuardSettings>, Problems> {
    let mut reader = Reader::new(variables);
    if [CALLBACK_ALLOW, CALLBACK_ALLOW_CIDR].iter().all(|name| !reader.variables.contains_key(*name)) {
        return Ok(None);
    }
    let guard = reader.guard();
    reader.problems.or(Some(guard))
}

/// Reads the bare tag that managed monitors bear.
///
/// # Errors
/// If it is no such tag.
pub fn managed_tag(variables: impl IntoIterator<Item = (String, String)>) -> Result<String, Problems> {
    let mut reader = Reader::new(variables);
    let tag = reader.read(RECONCILE_TAG, tag).unwrap_or_else(|| RECONCILE_TAG_DEFAULT.to_owned());
    reader.problems.or(tag)
}

const KEY_REMEDY: &str = "give the key that Datadog shows under Organization Settings";
const SIGNING_REMEDY: &str = "give whsec_… for all callbacks, or host=whsec_… for each host, parted by commas; make one with: \
                              echo whsec_$(openssl rand -base64 32)";

/// Reads variables and keeps the mistakes.
struct Reader {
    variables: BTreeMap<String, String>,
    problems: Problems,
}

impl Reader {
    /// An empty variable counts as not set.
    fn new(variables: impl IntoIterator<Item = (String, String)>) -> Reader {
        let set = variables.into_iter().filter(|(_, value)| !value.trim().is_empty());
        Reader { variables: set.collect(), problems: Problems::default() }
    }

    /// The value of a variable; none if it is not set, or noted as a mistake.
    fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = parse(self.variables.get(name)?.trim());
        parsed.map_err(|mistake| self.problems.note(format!("{name} {mistake}"))).ok()
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.read(name, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    fn time(&mut self, name: &str, range: &RangeInclusive<Duration>, default: Duration) -> Duration {
        self.read(name, |text| time(text, range)).unwrap_or(default)
    }

    /// A secret, or where AWS keeps it.
    fn secret<T: FromSecret>(&mut self, name: &'static str, remedy: &str) -> Option<Source<T>> {
        let names = ["", SECRET_ARN_SUFFIX, SSM_NAME_SUFFIX].map(|suffix| format!("{name}{suffix}"));
        let [given, secret_arn, ssm_name] = names.each_ref().map(|name| self.variables.contains_key(name));
        match (given, secret_arn, ssm_name) {
            (false, false, false) => self.problems.note(format!(
                "{name} is not set: {remedy}; or name where AWS keeps it, by {name}{SECRET_ARN_SUFFIX} or \
                 {name}{SSM_NAME_SUFFIX}"
            )),
            (true, false, false) => return self.read(name, T::from_secret).map(Source::Given),
            (false, true, false) => {
                return self.read(&names[1], secret_arn_of).map(Source::Kept);
            }
            (false, false, true) => return self.read(&names[2], ssm_name_of).map(Source::Kept),
            _ => self.problems.note(format!(
                "{name}, {name}{SECRET_ARN_SUFFIX} and {name}{SSM_NAME_SUFFIX} exclude each other: set one"
            )),
        }
        None
    }

    /// The way to what AWS keeps, if anything is kept there.
    fn extension(&mut self) -> Option<ExtensionSettings> {
        let refers = |name: &String| name.ends_with(SECRET_ARN_SUFFIX) || name.ends_with(SSM_NAME_SUFFIX);
        let secrets = [DD_API_KEY, DD_APP_KEY, SIGNING_SECRETS];
        let reference =
            self.variables.keys().find(|name| refers(name) && secrets.iter().any(|s| name.starts_with(s)))?;
        if !self.variables.contains_key(SESSION_TOKEN) {
            self.problems.note(format!(
                "{SESSION_TOKEN} is not set, which AWS Lambda sets: {reference} serves only there"
            ));
        }
        let port = self.parsed(EXTENSION_PORT).unwrap_or(PORT_DEFAULT);
        let token = self.read(SESSION_TOKEN, |text| {
            HeaderValue::from_str(text).map_err(|_| "holds a character that no token has".to_owned())
        });
        let mut token = token?;
        token.set_sensitive(true);
        Some(ExtensionSettings { port, token })
    }

    fn guard(&mut self) -> GuardSettings {
        if !self.variables.contains_key(CALLBACK_ALLOW) && !self.variables.contains_key(CALLBACK_ALLOW_CIDR) {
            self.problems.note(format!(
                "{CALLBACK_ALLOW} is not set, so that no callback would be allowed: list the hosts of the owning \
                 services, such as *.svc.example.com, parted by commas"
            ));
        }
        GuardSettings {
            allow: self.list(CALLBACK_ALLOW, |entry| {
                entry.parse().map_err(|error: AllowedHostError| error.to_string())
            }),
            allow_cidrs: self.list(CALLBACK_ALLOW_CIDR, cidr),
            allow_http: self.read(CALLBACK_ALLOW_HTTP, switch).unwrap_or_default(),
        }
    }

    fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let text = self.variables.get(name).cloned().unwrap_or_default();
        let mut values = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match parse(entry) {
                Ok(value) => values.push(value),
                Err(mistake) => self.problems.note(format!("{name}: {mistake}")),
            }
        }
        values
    }

    fn refuse_unknown(&mut self) {
        let own = self.variables.keys().filter(|name| name.starts_with(OWN_PREFIX));
        for name in own.filter(|name| !variables::own_names().any(|known| known == name.as_str())) {
            let likeness = |known: &&str| strsim::jaro_winkler(name, known);
            let nearest = variables::own_names().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            self.problems.note(match nearest.filter(|known| likeness(known) >= LIKENESS_MIN) {
                Some(known) => format!("{name} is not a setting of this function: is it {known}?"),
                None => format!("{name} is not a setting of this function: remove it"),
            });
        }
    }
}

fn secret_arn_of(text: &str) -> Result<Reference, String> {
    let is_arn =
        text.starts_with("arn:") && text.split(':').nth(2) == Some("secretsmanager") && is_name(text);
    is_arn.then(|| Reference::SecretsManager(text.to_owned())).ok_or_else(|| {
        "must be the ARN of a secret, such as arn:aws:secretsmanager:<region>:<account>:secret:<name>"
            .to_owned()
    })
}

fn ssm_name_of(text: &str) -> Result<Reference, String> {
    let is_full = text.starts_with('/') || text.starts_with("arn:") && text.contains(":parameter/");
    (is_full && is_name(text)).then(|| Reference::ParameterStore(text.to_owned())).ok_or_else(|| {
        "must be the full name of a parameter with its slashes, such as /cutout/dd-api-key, or its ARN"
            .to_owned()
    })
}

/// Whether it has only what names and ARNs of AWS have. Names are shown in errors: a secret that was put here by mistake
/// has no such start, and what is refused is not repeated.
fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-:+=@!".contains(c))
}

/// Keys must not cross a network in the clear, so plain http is for a fake on this machine.
fn datadog_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(addr)) => IpAddr::from(addr).is_loopback(),
        Some(Host::Ipv6(addr)) => IpAddr::from(addr).is_loopback(),
        None => false,
    };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match url.scheme() {
        _ if !plain || url.password().is_some() => {
            Err("must have no user, password, query or fragment".to_owned())
        }
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err("must start with https:// (http:// only for 127.0.0.1, [::1] and localhost)".to_owned()),
    }
}

fn cidr(entry: &str) -> Result<IpNet, String> {
    let addr = || entry.parse::<IpAddr>().map(IpNet::from);
    entry
        .parse()
        .or_else(|_| addr())
        .map_err(|_| format!("{entry:?} is not a range of addresses such as 10.0.0.0/8, nor an address"))
}

fn time(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    time.filter(|time| range.contains(time)).ok_or_else(|| {
        format!("must be a time from {:?} to {:?}, such as 10s or 500ms", range.start(), range.end())
    })
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Datadog lower-cases tags, parts lists of them by commas and a key from its value by a colon.
fn tag(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() && !c.is_uppercase() || matches!(c, '_' | '-' | '.' | '/');
    if text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be one bare tag in lower case, without colon, comma or blank, such as cutout".to_owned())
    }
}

#[cfg(test)]
mod tests;
