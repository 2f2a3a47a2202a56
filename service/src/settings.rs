//! The binary's settings, from environment variables and the breakers' file.
//!
//! All mistakes are told at once, those in the file too, so that a deployment is repaired in one go. Texts name the
//! variable and the remedy, never the value of a secret. Nothing here reads the environment or a file by itself: both
//! are arguments.

use crate::breakers::{self, Breakers};
use crate::chain::Chain;
use crate::notify::{Destination, destination};
use crate::operators::Operators;
use crate::{Parts, duration, nearest};
use cutout_core::Problems;
use cutout_core::webhook::Secret;
use cutout_flags::{AuditKept, MEMORY_URL, Mistake, Setting, Store, StoreError};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

const LISTEN: &str = "CUTOUT_LISTEN";
const REDIS_URL: &str = "CUTOUT_REDIS_URL";
const SCOPE: &str = "CUTOUT_SCOPE";
const BREAKERS: &str = "CUTOUT_BREAKERS";
const SIGNING_SECRETS: &str = "CUTOUT_SIGNING_SECRETS";
const PUBLIC_URL: &str = "CUTOUT_PUBLIC_URL";
const OPERATORS: &str = "CUTOUT_OPERATORS";
const OPERATORS_LISTEN: &str = "CUTOUT_OPERATORS_LISTEN";
const METRICS_LISTEN: &str = "CUTOUT_METRICS_LISTEN";
const DRAIN: &str = "CUTOUT_DRAIN";
const AUDIT_AGE: &str = "CUTOUT_AUDIT_AGE";
const AUDIT_ENTRIES: &str = "CUTOUT_AUDIT_ENTRIES";
const KNOWN: [&str; 12] = [
    AUDIT_AGE,
    AUDIT_ENTRIES,
    BREAKERS,
    DRAIN,
    LISTEN,
    METRICS_LISTEN,
    OPERATORS,
    OPERATORS_LISTEN,
    PUBLIC_URL,
    REDIS_URL,
    SCOPE,
    SIGNING_SECRETS,
];
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
        let Some(text) = self.get(OPERATORS) else {
            if self.get(OPERATORS_LISTEN).is_some() {
                self.problems
                    .note(format!("{OPERATORS_LISTEN} is set and {OPERATORS} is not: nobody may use it"));
            }
            return None;
        };
        let listen = listen.unwrap_or(OPERATORS_LISTEN_DEFAULT);
        if listen == callbacks && listen.port() != 0 {
            self.problems
                .note(format!("{OPERATORS_LISTEN} and {LISTEN} are both {listen}: they are two listeners"));
        }
        match Operators::parse(OPERATORS, text) {
            Ok(operators) => Some(OperatorsAt { listen, operators }),
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
        let names: Vec<&str> = breakers.declarations.iter().map(|declaration| &*declaration.name).collect();
        // A file with mistakes may lack names for that reason alone.
        for destination in destinations.iter().filter(|_| !names.is_empty()) {
            for name in destination.breakers.iter().filter(|name| !names.contains(&&***name)) {
                let (prefix, of) = (destination::PREFIX, destination.name.to_uppercase());
                let remedy = nearest::remedy(name, &names);
                self.problems.note(format!("{prefix}{of}_BREAKERS: no breaker {name} is declared: {remedy}"));
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
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const FILE: &str = "[[breaker]]\nname = \"a\"\nmonitors = { ids = [1] }\n";

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Problems> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&variables.collect(), &|path| match path.to_str() {
            Some("/etc/good.toml") => Ok(FILE.to_owned()),
            Some("/etc/bad.toml") => Ok(format!("{FILE}mode = \"dry-run\"\nramp = 5\n")),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    fn good() -> Vec<(&'static str, &'static str)> {
        vec![
            (REDIS_URL, "redis://user:redis-password@127.0.0.1:6379"),
            (BREAKERS, "/etc/good.toml"),
            (SIGNING_SECRETS, SECRET),
        ]
    }

    fn mistakes(variables: &[(&str, &str)]) -> Vec<String> {
        read(variables).expect_err("there is a mistake").iter().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn what_is_not_set_has_its_default_and_what_is_set_arrives() {
        let settings = read(&good()).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.parts.public_url, None);
        let mut all = good();
        all.extend([(LISTEN, "[::1]:9"), (PUBLIC_URL, "https://a.example/cb"), (SCOPE, "payments")]);
        all[2].1 = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let settings = read(&all).unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:9");
        assert_eq!(settings.parts.public_url.as_ref().map(Url::as_str), Some("https://a.example/cb"));
        assert_eq!((settings.parts.secrets.len(), settings.parts.breakers.declarations.len()), (2, 1));
    }

    #[test]
    fn every_mistake_is_told_at_once_those_of_the_file_too() {
        let told = mistakes(&[
            (LISTEN, "localhost:8080"),
            (BREAKERS, "/etc/bad.toml"),
            (SIGNING_SECRETS, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,,nonsense"),
            (PUBLIC_URL, "service-a"),
            ("CUTOUT_REDIS_ULR", "redis://x"),
            (OPERATORS, "ann:hash:admin"),
            (OPERATORS_LISTEN, "8081"),
            (METRICS_LISTEN, "9464"),
            (DRAIN, "1h"),
            (AUDIT_AGE, "90d"),
            (AUDIT_ENTRIES, "10"),
        ]);
        let expected = [
            "CUTOUT_REDIS_ULR is not a setting: did you mean CUTOUT_REDIS_URL?",
            "CUTOUT_LISTEN is an IP address and a port",
            "CUTOUT_OPERATORS_LISTEN is an IP address and a port",
            "CUTOUT_OPERATORS, entry 1: the second part is the SHA-256",
            "CUTOUT_METRICS_LISTEN is an IP address and a port",
            "CUTOUT_DRAIN is from 0s to 300s, such as 5s, not \"1h\"",
            "CUTOUT_AUDIT_AGE is from 1h to 87600h, such as 2160h, not \"90d\"",
            "CUTOUT_AUDIT_ENTRIES is a number from 1000 to 10000000, not \"10\"",
            "/etc/bad.toml, line 4: mode is one of enforce, watch",
            "/etc/bad.toml, line 5: ramp is a text",
            "CUTOUT_SIGNING_SECRETS, entry 2: a signing secret starts with whsec_",
            "CUTOUT_SIGNING_SECRETS, entry 3: a signing secret starts with whsec_",
            "CUTOUT_PUBLIC_URL is not an http(s) URL",
            "CUTOUT_REDIS_URL is not set",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn the_operators_api_is_there_for_operators_alone_and_on_loopback_unless_told_otherwise() {
        let of = |more: &[(&'static str, &'static str)]| {
            let mut variables = good();
            variables.extend(more);
            read(&variables)
        };
        let ann = "ann:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90:operator";
        assert!(of(&[]).unwrap().operators.is_none());
        let api = of(&[(OPERATORS, ann), (AUDIT_AGE, "24h"), (AUDIT_ENTRIES, "5000")]).unwrap();
        assert_eq!(api.parts.store.audit_kept(), AuditKept { entries: 5_000, age_ms: 86_400_000 });
        let api = api.operators.unwrap();
        assert_eq!((api.listen.to_string(), api.operators.len()), ("127.0.0.1:8081".to_owned(), 1));
        let api = of(&[(OPERATORS, ann), (OPERATORS_LISTEN, "[::1]:9")]).unwrap().operators.unwrap();
        assert_eq!(api.listen.to_string(), "[::1]:9");
        let told = of(&[(OPERATORS_LISTEN, "[::1]:9")]).unwrap_err().to_string();
        assert!(told.contains("nobody may use it"), "{told}");
        let told = of(&[(OPERATORS, ann), (OPERATORS_LISTEN, "127.0.0.1:8080")]).unwrap_err().to_string();
        assert!(told.contains("two listeners"), "{told}");
    }

    #[test]
    fn nothing_that_must_be_set_has_a_default() {
        for missing in [REDIS_URL, BREAKERS, SIGNING_SECRETS] {
            for value in [None, Some(""), Some("  ")] {
                let mut variables = good();
                variables.retain(|(name, _)| *name != missing);
                variables.extend(value.map(|value| (missing, value)));
                let told = mistakes(&variables);
                assert!(
                    told.len() == 1 && told[0].starts_with(&format!("{missing} is not set: ")),
                    "{told:?}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let mut variables = good();
        variables[1].1 = "/etc/none.toml";
        let told = mistakes(&variables);
        assert!(told.len() == 1 && told[0].contains("the file /etc/none.toml cannot be read"), "{told:?}");
    }

    #[test]
    fn memory_is_for_loopback_alone() {
        for (listen, allowed) in [
            ("127.0.0.1:0", true),
            ("127.8.0.1:0", true),
            ("[::1]:0", true),
            ("0.0.0.0:0", false),
            ("10.0.0.1:0", false),
        ] {
            let mut variables = good();
            variables[0].1 = "memory:";
            variables.push((LISTEN, listen));
            let told = read(&variables);
            assert_eq!(told.is_ok(), allowed, "{listen}");
            if let Err(told) = told {
                assert!(told.to_string().contains("serves one process"), "{told}");
            }
        }
    }

    #[test]
    fn a_store_that_is_no_store_is_told() {
        let form = "CUTOUT_REDIS_URL cannot be used: it has to be redis://";
        let scope = "CUTOUT_SCOPE cannot be used: it has to be";
        let sentinel = "CUTOUT_REDIS_URL cannot be used: a sentinel is";
        let primary = "CUTOUT_REDIS_URL cannot be used: behind the sentinels stands the primary's name";
        let cases: [(&str, &str, &[&str]); 5] = [
            ("http://127.0.0.1", "default", &[form]),
            ("redis", "a{b}", &[form, scope]),
            ("redis+sentinel://10.0.0.1:26379", "default", &[primary]),
            ("redis+sentinel://10.0.0.1:x,10.0.0.2/mymaster", "default", &[sentinel]),
            ("redis+sentinel://10.0.0.1:x", "a{b}", &[sentinel, primary, scope]),
        ];
        for (url, of_scope, expected) in cases {
            let mut variables = good();
            variables[0].1 = url;
            variables.push((SCOPE, of_scope));
            let told = mistakes(&variables);
            assert_eq!(told.len(), expected.len(), "{told:?}");
            assert!(told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected)), "{told:?}");
        }
        let mut variables = good();
        variables[0].1 = "redis+sentinel://:redis-password@10.0.0.1,10.0.0.2:26380/mymaster/1";
        assert!(read(&variables).is_ok());
    }

    #[test]
    fn what_an_orchestrator_sets_for_a_service_named_cutout_is_no_mistake() {
        let mut variables = good();
        variables.extend([
            ("CUTOUT_SERVICE_SERVICE_HOST", "10.0.0.1"),
            ("CUTOUT_SERVICE_SERVICE_PORT_HTTP", "80"),
            ("CUTOUT_SERVICE_PORT", "tcp://10.0.0.1:80"),
            ("CUTOUT_SERVICE_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("OTHER", "x"),
        ]);
        assert!(read(&variables).is_ok());
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", read(&good()).unwrap());
        assert!(shown.contains("127.0.0.1:8080"), "{shown}");
        let mut wrong = good();
        wrong[0].1 = "redis://user:redis-password@127.0.0.1:notaport";
        wrong[2].1 = "whsec_MfKQ9r8GKYqrTwjU";
        wrong.push((PUBLIC_URL, "https://user:url-password@a.example/"));
        let told = read(&wrong).unwrap_err().to_string();
        for secret in ["MfKQ9r8G", "redis-password", "url-password"] {
            assert!(!shown.contains(secret) && !told.contains(secret), "{shown} {told}");
        }
    }
}
