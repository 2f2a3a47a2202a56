//! The binary's settings, from environment variables and the breakers' file.
//!
//! All mistakes are told at once, those in the file too, so that a deployment is repaired in one go. Texts name the
//! variable and the remedy, never the value of a secret. Nothing here reads the environment or a file by itself: both
//! are arguments.

mod variables;

pub use variables::VARIABLES;

use crate::breakers::{self, Breakers};
use crate::notify::{Destination, destination};
use crate::operators::Operators;
use crate::page::{Page, Proxy, SessionSecret};
use crate::{Parts, duration, nearest};
use cutout_core::Chain;
use cutout_core::Problems;
use cutout_core::webhook::Secret;
use cutout_flags::{AuditKept, MEMORY_URL, Mistake, Setting, Store, StoreError};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use variables::KNOWN;

const LISTEN: &str = "CUTOUT_LISTEN";
const REDIS_URL: &str = "CUTOUT_REDIS_URL";
const SCOPE: &str = "CUTOUT_SCOPE";
const BREAKERS: &str = "CUTOUT_BREAKERS";
const SESSION_SECRETS: &str = "CUTOUT_SESSION_SECRETS";
const SIGNING_SECRETS: &str = "CUTOUT_SIGNING_SECRETS";
const PUBLIC_URL: &str = "CUTOUT_PUBLIC_URL";
const OPERATORS: &str = "CUTOUT_OPERATORS";
const OPERATORS_HEADER: &str = "CUTOUT_OPERATORS_HEADER";
const OPERATORS_HEADER_FROM: &str = "CUTOUT_OPERATORS_HEADER_FROM";
const OPERATORS_HEADER_ROLES: &str = "CUTOUT_OPERATORS_HEADER_ROLES";
const OPERATORS_LISTEN: &str = "CUTOUT_OPERATORS_LISTEN";
const METRICS_LISTEN: &str = "CUTOUT_METRICS_LISTEN";
const DRAIN: &str = "CUTOUT_DRAIN";
const AUDIT_AGE: &str = "CUTOUT_AUDIT_AGE";
const AUDIT_ENTRIES: &str = "CUTOUT_AUDIT_ENTRIES";
const PREFIX: &str = "CUTOUT_";

/// Where the service listens unless told otherwise: not reachable from outside.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where the operators' API listens unless told otherwise: not reachable from outside.
pub const OPERATORS_LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
/// How long requests are still taken after SIGTERM unless told otherwise: a load balancer that asks every two seconds has asked twice.
pub const DRAIN_DEFAULT_MS: u64 = 5_000;
/// The longest such time.
pub const DRAIN_MAX_MS: u64 = 300_000;
/// The shortest time that the audit stream may be kept: an hour.
pub const AUDIT_AGE_MIN_MS: i64 = 3_600_000;
/// The longest time: ten years.
pub const AUDIT_AGE_MAX_MS: i64 = 3_650 * 86_400_000;
/// The fewest entries of the audit stream that may be kept.
pub const AUDIT_ENTRIES_MIN: usize = 1_000;
/// The most entries.
pub const AUDIT_ENTRIES_MAX: usize = 10_000_000;
/// The scope unless told otherwise.
pub const SCOPE_DEFAULT: &str = "default";

/// Everything that the binary needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may use the operators' API, and where it listens; none: there is no API.
    pub operators: Option<OperatorsAt>,
    /// Where metrics and probes listen; none: there are no metrics.
    pub metrics_listen: Option<SocketAddr>,
    /// How long requests are still taken after SIGTERM, until whoever sends them has seen that this instance is not ready.
    pub drain: Duration,
    /// Who is told of transitions.
    pub notify: Vec<Destination>,
    /// The breakers' file, to be looked at again.
    pub breakers_file: PathBuf,
    /// What the service is made of.
    pub parts: Parts,
}

/// The operators' API of the binary.
#[derive(Debug)]
pub struct OperatorsAt {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Who may use it.
    pub operators: Operators,
    /// How people come in by a browser.
    pub page: Page,
}

/// Reads a file; [`std::fs::read_to_string`] in the binary.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

impl Settings {
    /// Reads the settings. An empty variable counts as not set.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(variables: &BTreeMap<String, String>, read_file: ReadFile<'_>) -> Result<Settings, Problems> {
        let mut reader = Reader { variables, problems: Problems::default() };
        reader.refuse_others();
        let listen = reader.address(LISTEN, "0.0.0.0:8080").unwrap_or(LISTEN_DEFAULT);
        let operators = reader.operators(listen);
        let metrics_listen = reader.metrics_listen(listen, operators.as_ref());
        let drain = reader.drain();
        let audit = reader.audit();
        let breakers = reader.breakers(read_file);
        let breakers_file = PathBuf::from(reader.get(BREAKERS).unwrap_or_default());
        let notify = reader.notify(&breakers);
        let secrets = reader.secrets();
        let public_url = reader.public_url();
        // Without a store there is a note that says why.
        let Some(store) = reader.store(listen) else { return Err(reader.problems) };
        store.keep_audit(audit);
        let parts = Parts { store, breakers, secrets, public_url };
        reader.problems.or(Settings {
            listen,
            operators,
            metrics_listen,
            drain,
            notify,
            breakers_file,
            parts,
        })
    }
}

/// Reads one variable after the other and notes what is wrong.
struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    problems: Problems,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A variable that must be set; `what` says for what.
    fn required(&mut self, name: &str, what: &str) -> Option<&'a str> {
        let value = self.get(name);
        if value.is_none() {
            self.problems.note(format!("{name} is not set: {what}"));
        }
        value
    }

    /// Notes variables that look like settings of Cutout and are none of this service.
    fn refuse_others(&mut self) {
        let ours = |name: &&String| name.starts_with(PREFIX) && !is_service_link(name);
        for name in self.variables.keys().filter(ours).map(String::as_str) {
            if !KNOWN.contains(&name) && !name.starts_with(destination::PREFIX) {
                self.problems.note(format!("{name} is not a setting: {}", nearest::remedy(name, &KNOWN)));
            }
        }
    }

    /// An address to listen on; none: it is not set, or wrong.
    fn address(&mut self, name: &str, example: &str) -> Option<SocketAddr> {
        let text = self.get(name)?;
        let address = text.parse().ok();
        if address.is_none() {
            let form = format!("an IP address and a port, such as {example}");
            self.problems.note(format!("{name} is {form}, not {text:?}"));
        }
        address
    }

    fn operators(&mut self, callbacks: SocketAddr) -> Option<OperatorsAt> {
        let listen = self.address(OPERATORS_LISTEN, "127.0.0.1:8081");
        let page = Page { proxy: self.proxy(), session_secrets: self.session_secrets(), ..Page::default() };
        let text = self.get(OPERATORS);
        if text.is_none() && page.proxy.is_none() {
            for name in [OPERATORS_LISTEN, SESSION_SECRETS] {
                if self.get(name).is_some() {
                    self.problems.note(format!("{name} is set and {OPERATORS} is not: nobody may use it"));
                }
            }
            return None;
        }
        let listen = listen.unwrap_or(OPERATORS_LISTEN_DEFAULT);
        if listen == callbacks && listen.port() != 0 {
            self.problems
                .note(format!("{OPERATORS_LISTEN} and {LISTEN} are both {listen}: they are two listeners"));
        }
        match text.map_or_else(|| Ok(Operators::default()), |text| Operators::parse(OPERATORS, text)) {
            Ok(operators) => Some(OperatorsAt { listen, operators, page }),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn metrics_listen(
        &mut self,
        callbacks: SocketAddr,
        operators: Option<&OperatorsAt>,
    ) -> Option<SocketAddr> {
        let listen = self.address(METRICS_LISTEN, "127.0.0.1:9464")?;
        for (name, other) in
            [(LISTEN, Some(callbacks)), (OPERATORS_LISTEN, operators.map(|operators| operators.listen))]
        {
            if other == Some(listen) && listen.port() != 0 {
                self.problems
                    .note(format!("{METRICS_LISTEN} and {name} are both {listen}: they are two listeners"));
            }
        }
        Some(listen)
    }

    fn drain(&mut self) -> Duration {
        let Some(text) = self.get(DRAIN) else { return Duration::from_millis(DRAIN_DEFAULT_MS) };
        match duration::parse_ms(text).ok().and_then(|ms| u64::try_from(ms).ok()) {
            Some(ms) if ms <= DRAIN_MAX_MS => Duration::from_millis(ms),
            _ => {
                self.problems.note(format!(
                    "{DRAIN} is from 0s to {}s, such as 5s, not {text:?}",
                    DRAIN_MAX_MS / 1_000
                ));
                Duration::ZERO
            }
        }
    }

    /// What sessions of the page are signed with.
    fn session_secrets(&mut self) -> Vec<SessionSecret> {
        let mut secrets = Vec::new();
        let texts = self.get(SESSION_SECRETS).into_iter().flat_map(|all| all.split(','));
        for (place, text) in texts.enumerate() {
            match text.trim().parse() {
                Ok(secret) => secrets.push(secret),
                Err(error) => {
                    self.problems.note(format!("{SESSION_SECRETS}, entry {}: {error}", place + 1));
                }
            }
        }
        secrets
    }

    /// A proxy that says who somebody is: all three settings, or none.
    fn proxy(&mut self) -> Option<Proxy> {
        let names = [OPERATORS_HEADER, OPERATORS_HEADER_FROM, OPERATORS_HEADER_ROLES];
        let set = names.map(|name| self.get(name));
        let [Some(header), Some(from), Some(roles)] = set else {
            if set.iter().any(Option::is_some) {
                let all = names.join(", ");
                self.problems.note(format!("{all} belong together: set all three, or none"));
            }
            return None;
        };
        let read = Proxy::parse((names[0], header), (names[1], from), (names[2], roles));
        read.map_err(|problems| self.problems.extend(problems)).ok()
    }

    fn audit(&mut self) -> AuditKept {
        let mut kept = AuditKept::default();
        if let Some(text) = self.get(AUDIT_AGE) {
            match duration::parse_ms(text) {
                Ok(age_ms) if (AUDIT_AGE_MIN_MS..=AUDIT_AGE_MAX_MS).contains(&age_ms) => kept.age_ms = age_ms,
                _ => {
                    let (min, max) = (duration::shown(AUDIT_AGE_MIN_MS), duration::shown(AUDIT_AGE_MAX_MS));
                    let what = format!("{AUDIT_AGE} is from {min} to {max}, such as 2160h, not {text:?}");
                    self.problems.note(what);
                }
            }
        }
        if let Some(text) = self.get(AUDIT_ENTRIES) {
            match text.parse() {
                Ok(entries) if (AUDIT_ENTRIES_MIN..=AUDIT_ENTRIES_MAX).contains(&entries) => kept.entries = entries,
                _ => self.problems.note(format!(
                    "{AUDIT_ENTRIES} is a number from {AUDIT_ENTRIES_MIN} to {AUDIT_ENTRIES_MAX}, not {text:?}"
                )),
            }
        }
        kept
    }

    fn breakers(&mut self, read_file: ReadFile<'_>) -> Breakers {
        let Some(path) = self.required(BREAKERS, "the path of the file that declares the breakers") else {
            return Breakers::default();
        };
        let breakers = match read_file(Path::new(path)) {
            Ok(text) => breakers::parse(path, &text),
            Err(error) => {
                self.problems.note(format!("{BREAKERS}: the file {path} cannot be read: {error}"));
                return Breakers::default();
            }
        };
        breakers.unwrap_or_else(|problems| {
            self.problems.extend(problems);
            Breakers::default()
        })
    }

    fn notify(&mut self, breakers: &Breakers) -> Vec<Destination> {
        let destinations = destination::read(self.variables, &mut self.problems);
        // A file with mistakes may lack names for that reason alone.
        if !breakers.declarations.is_empty() {
            let wanted: Vec<_> = destinations.iter().map(Destination::wanted).collect();
            for mistake in destination::undeclared(&wanted, breakers) {
                self.problems.note(mistake);
            }
        }
        destinations
    }

    fn secrets(&mut self) -> Vec<Secret> {
        let what = "the secret, or secrets, that callbacks are signed with (whsec_…, parted by commas)";
        let mut secrets = Vec::new();
        for (place, text) in
            self.required(SIGNING_SECRETS, what).into_iter().flat_map(|all| all.split(',')).enumerate()
        {
            match text.trim().parse() {
                Ok(secret) => secrets.push(secret),
                Err(error) => {
                    self.problems.note(format!("{SIGNING_SECRETS}, entry {}: {error}", place + 1));
                }
            }
        }
        secrets
    }

    fn public_url(&mut self) -> Option<Url> {
        let text = self.get(PUBLIC_URL)?;
        let usable = |url: &Url| {
            matches!(url.scheme(), "https" | "http") && url.username().is_empty() && url.password().is_none()
        };
        let url = Url::parse(text).ok().filter(usable);
        if url.is_none() {
            // The text is not shown: somebody may have written a password into it.
            let what = "the whole URL that monitors name, such as https://service-a.example/dd_circuit_breaker/callback";
            self.problems
                .note(format!("{PUBLIC_URL} is not an http(s) URL without user and password: it is {what}"));
        }
        url
    }

    /// The store, which connects when it is first used.
    fn store(&mut self, listen: SocketAddr) -> Option<Arc<dyn Store>> {
        let what =
            "the Redis that keeps the flags, such as redis://redis.internal:6379, or rediss:// for TLS";
        let url = self.required(REDIS_URL, what)?;
        if url == MEMORY_URL && !listen.ip().is_loopback() {
            self.problems.note(format!(
                "{REDIS_URL} is {MEMORY_URL}, which serves one process and forgets at its end: name a Redis, or let {LISTEN} be a loopback address"
            ));
            return None;
        }
        if url == MEMORY_URL {
            tracing::warn!(
                "flags are kept in memory: no other process sees them, and they are lost at the end"
            );
        }
        match cutout_flags::open(url, self.get(SCOPE).unwrap_or(SCOPE_DEFAULT)) {
            Ok(store) => Some(store),
            Err(StoreError::Unusable { mistakes }) => {
                for Mistake { setting, problem } in mistakes {
                    let name = if setting == Setting::Scope { SCOPE } else { REDIS_URL };
                    self.problems.note(format!("{name} cannot be used: {problem}"));
                }
                None
            }
            Err(error) => {
                self.problems.note(format!("{REDIS_URL}, {SCOPE}: {}", Chain(&error)));
                None
            }
        }
    }
}

/// Whether Kubernetes or Docker set this variable for a service that happens to be named `cutout…`.
fn is_service_link(name: &str) -> bool {
    let marks = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"];
    marks.iter().any(|mark| name.contains(mark)) || name.ends_with("_PORT")
}

#[cfg(test)]
mod tests;
