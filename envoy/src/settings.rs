//! The binary's settings, from environment variables and the hooks' file. All mistakes are told at once; secrets are never shown.

use crate::hooks::{self, Hook};
use cutout_core::Problems;
use cutout_core::reference::{Variable, names};
use cutout_flags::{MEMORY_URL, Setting, Store, StoreError};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;

const LISTEN: &str = "CUTOUT_ENVOY_LISTEN";
const HTTP_LISTEN: &str = "CUTOUT_ENVOY_HTTP_LISTEN";
const HOOKS: &str = "CUTOUT_ENVOY_HOOKS";
const TOKEN_HASHES: &str = "CUTOUT_ENVOY_TOKEN_HASHES";
const TLS_CERT: &str = "CUTOUT_ENVOY_TLS_CERT";
const TLS_KEY: &str = "CUTOUT_ENVOY_TLS_KEY";
const TLS_CLIENT_CA: &str = "CUTOUT_ENVOY_TLS_CLIENT_CA";
const REDIS_URL: &str = "CUTOUT_REDIS_URL";
const SCOPE: &str = "CUTOUT_SCOPE";
/// What it reads, in the order of the reference.
pub const VARIABLES: [Variable; 9] = [
    Variable { name: HOOKS, default: "required", meaning: "path of the file of hooks" },
    Variable { name: REDIS_URL, default: "required", meaning: "as for the service; `memory:` is refused" },
    Variable { name: SCOPE, default: "`default`", meaning: "as for the service" },
    Variable { name: LISTEN, default: "`127.0.0.1:18000`", meaning: "where Envoys are served (gRPC)" },
    Variable {
        name: HTTP_LISTEN,
        default: "`127.0.0.1:18001`",
        meaning: "`/healthz`, `/readyz`, `/metrics`; `cutout-envoy health` asks the first",
    },
    Variable {
        name: TOKEN_HASHES,
        default: "none",
        meaning: "SHA-256 of each token, hexadecimal, comma separated; Envoy sends `authorization: Bearer <token>`",
    },
    Variable {
        name: TLS_CERT,
        default: "none",
        meaning: "path of a PEM file with the certificate: serve by TLS",
    },
    Variable { name: TLS_KEY, default: "none", meaning: "path of a PEM file with its key" },
    Variable {
        name: TLS_CLIENT_CA,
        default: "none",
        meaning: "path of a PEM file: only clients whose certificate it signed",
    },
];
const KNOWN: [&str; 9] = names(&VARIABLES);
/// What begins so and is not known is a mistake; other programs of Cutout may share the environment.
const PREFIX: &str = "CUTOUT_ENVOY_";

/// Where Envoys are served unless told otherwise: not reachable from outside.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_000);
/// Where health and metrics are served unless told otherwise.
pub const HTTP_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18_001);
/// The scope unless told otherwise.
pub const SCOPE_DEFAULT: &str = "default";

/// Everything that the binary needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where Envoys are served.
    pub listen: SocketAddr,
    /// Where health and metrics are served.
    pub http_listen: SocketAddr,
    /// What Envoys ask about.
    pub hooks: Vec<Hook>,
    /// Where the flags are.
    pub store: Arc<dyn Store>,
    /// Who may ask.
    pub access: Access,
}

/// Who may ask.
#[derive(Debug, Default)]
pub struct Access {
    /// SHA-256 of each token; empty: no token is asked for.
    token_hashes: Vec<[u8; 32]>,
    /// The certificate, and whose clients are let in.
    pub tls: Option<Tls>,
}

/// What TLS needs, as PEM.
pub struct Tls {
    /// The chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Whoever it signed may ask; none: clients need no certificate.
    pub client_ca: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Access {
    /// Whether whoever sends this `authorization` header may ask.
    #[must_use]
    pub fn admits(&self, authorization: Option<&str>) -> bool {
        if self.token_hashes.is_empty() {
            return true;
        }
        let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
        let hash: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        // All of them are compared, whichever it is.
        self.token_hashes.iter().filter(|known| bool::from(known.ct_eq(&hash))).count() > 0
    }

    fn asks(&self) -> bool {
        !self.token_hashes.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }
}

/// Reads a file; [`std::fs::read_to_string`] in the binary.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

impl Settings {
    /// Reads the settings. An empty variable counts as not set.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(variables: &BTreeMap<String, String>, read_file: ReadFile<'_>) -> Result<Settings, Problems> {
        let mut reader = Reader { variables, read_file, problems: Problems::default() };
        reader.refuse_others();
        let listen = reader.address(LISTEN, LISTEN_DEFAULT);
        let http_listen = reader.address(HTTP_LISTEN, HTTP_LISTEN_DEFAULT);
        let hooks = reader.hooks();
        let access = reader.access(listen);
        let Some(store) = reader.store() else { return Err(reader.problems) };
        reader.problems.or(Settings { listen, http_listen, hooks, store, access })
    }
}

/// Reads one variable after the other and notes what is wrong.
struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    read_file: ReadFile<'a>,
    problems: Problems,
}

impl<'a> Reader<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn refuse_others(&mut self) {
        let unknown = |name: &&String| name.starts_with(PREFIX) && !KNOWN.contains(&name.as_str());
        for name in self.variables.keys().filter(unknown) {
            self.problems.note(format!("{name} is not a setting: there are {}", KNOWN.join(", ")));
        }
    }

    fn address(&mut self, name: &str, default: SocketAddr) -> SocketAddr {
        let Some(text) = self.get(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.problems
                .note(format!("{name} is an IP address and a port, such as {default}, not {text:?}"));
            default
        })
    }

    fn file(&mut self, name: &str) -> Option<String> {
        let path = self.get(name)?;
        match (self.read_file)(Path::new(path)) {
            Ok(text) => Some(text),
            Err(error) => {
                self.problems.note(format!("{name}: the file {path} cannot be read: {error}"));
                None
            }
        }
    }

    fn hooks(&mut self) -> Vec<Hook> {
        let Some(path) = self.get(HOOKS) else {
            self.problems.note(format!("{HOOKS} is not set: the path of the file of hooks"));
            return Vec::new();
        };
        let Some(text) = self.file(HOOKS) else { return Vec::new() };
        hooks::read(&text).unwrap_or_else(|problems| {
            for problem in problems.iter() {
                self.problems.note(format!("{path}: {problem}"));
            }
            Vec::new()
        })
    }

    fn access(&mut self, listen: SocketAddr) -> Access {
        let access = Access { token_hashes: self.token_hashes(), tls: self.tls() };
        if !listen.ip().is_loopback() && !access.asks() && self.problems.iter().next().is_none() {
            self.problems.note(format!(
                "{LISTEN} can be reached from outside and anybody could ask: set {TOKEN_HASHES}, or {TLS_CLIENT_CA}"
            ));
        }
        access
    }

    fn token_hashes(&mut self) -> Vec<[u8; 32]> {
        let Some(text) = self.get(TOKEN_HASHES) else { return Vec::new() };
        let mut hashes = Vec::new();
        for (place, hash) in text.split(',').map(str::trim).enumerate() {
            match hex(hash) {
                Some(hash) => hashes.push(hash),
                None => self.problems.note(format!(
                    "{TOKEN_HASHES}, entry {}: the SHA-256 of a token, 64 hexadecimal digits",
                    place + 1
                )),
            }
        }
        hashes
    }

    fn tls(&mut self) -> Option<Tls> {
        let set = [TLS_CERT, TLS_KEY, TLS_CLIENT_CA].map(|name| self.get(name).is_some());
        match set {
            [false, false, false] => None,
            [true, true, _] => {
                let (certificate, key) = (self.file(TLS_CERT), self.file(TLS_KEY));
                let client_ca = self.file(TLS_CLIENT_CA);
                Some(Tls { certificate: certificate?, key: key?, client_ca })
            }
            _ => {
                self.problems
                    .note(format!("{TLS_CERT} and {TLS_KEY} belong together, {TLS_CLIENT_CA} to both"));
                None
            }
        }
    }

    fn store(&mut self) -> Option<Arc<dyn Store>> {
        let Some(url) = self.get(REDIS_URL) else {
            self.problems
                .note(format!("{REDIS_URL} is not set: where the flags are, such as redis://redis.internal"));
            return None;
        };
        if url == MEMORY_URL {
            self.problems.note(format!(
                "{REDIS_URL}: {MEMORY_URL} serves one process, and the flags come from another"
            ));
            return None;
        }
        match cutout_flags::open(url, self.get(SCOPE).unwrap_or(SCOPE_DEFAULT)) {
            Ok(store) => Some(store),
            Err(StoreError::Unusable { mistakes }) => {
                for mistake in mistakes {
                    let name = if mistake.setting == Setting::Scope { SCOPE } else { REDIS_URL };
                    self.problems.note(format!("{name} cannot be used: {}", mistake.problem));
                }
                None
            }
            Err(error) => {
                self.problems.note(format!("{REDIS_URL}, {SCOPE}: {}", cutout_core::Chain(&error)));
                None
            }
        }
    }
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::reference::{SETTINGS_HEAD, Setting, VARIABLES_HEAD, placed};

    const TOKEN: &str = "a-token";

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Problems> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::read(&variables.collect(), &|path| match path.to_str() {
            Some("hooks.toml") => Ok("[[hook]]\nbreaker = \"bank-charge\"\n".to_owned()),
            Some("bad.toml") => Ok("[[hook]]\nbreaker = \"a/b\"\n".to_owned()),
            Some("x.pem") => Ok("pem".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    /// The metrics as a table, made of what `/metrics` tells of them.
    fn metrics() -> String {
        let text = crate::tally::Tally::default().text(0);
        let rows = text.lines().filter_map(|line| {
            let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
            let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")))?;
            Some(format!("| `{name}` | {kind} | {help} |\n"))
        });
        "| metric | kind | what |\n|---|---|---|\n".to_owned() + &rows.collect::<String>()
    }

    #[test]
    fn the_pages_hold_every_variable_setting_and_metric() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let variables: String = VARIABLES.iter().map(ToString::to_string).collect();
        let variables = VARIABLES_HEAD.to_owned() + &variables;
        let hooks: String = hooks::reference().iter().map(Setting::to_string).collect();
        let parts = [
            ("envoy.md", "settings of a hook", SETTINGS_HEAD.to_owned() + &hooks),
            ("settings.md", "variables of cutout-envoy", variables),
            ("envoy.md", "metrics of cutout-envoy", metrics()),
        ];
        for (page, name, text) in parts {
            let old = std::fs::read_to_string(docs.join(page)).unwrap();
            let made = placed(&old, name, &text).unwrap();
            assert!(old == made, "docs/{page} has fallen behind: put this between its markers\n{text}");
        }
    }

    #[test]
    fn a_told_default_is_the_default() {
        let without = format!("{:?}", read(&GOOD).unwrap());
        for variable in VARIABLES {
            let Some(default) = variable.default_value() else { continue };
            let mut with = GOOD.to_vec();
            with.push((variable.name, default));
            assert_eq!(format!("{:?}", read(&with).unwrap()), without, "{variable}");
        }
    }

    const GOOD: [(&str, &str); 2] = [(REDIS_URL, "redis://:redis-password@127.0.0.1"), (HOOKS, "hooks.toml")];

    #[test]
    fn what_is_not_set_has_its_default_and_every_mistake_is_told_at_once() {
        let settings = read(&GOOD).unwrap();
        assert_eq!((settings.listen, settings.hooks.len()), (LISTEN_DEFAULT, 1));
        assert!(!format!("{settings:?}").contains("redis-password"));
        let told = read(&[
            (LISTEN, "18000"),
            (HOOKS, "bad.toml"),
            ("CUTOUT_ENVOY_HOKS", "x"),
            (TOKEN_HASHES, "a-secret"),
            (TLS_KEY, "x.pem"),
        ])
        .unwrap_err()
        .to_string();
        for name in
            ["CUTOUT_ENVOY_HOKS is not", LISTEN, "bad.toml: hook", "entry 1", "belong together", REDIS_URL]
        {
            assert!(told.contains(name), "{name}: {told}");
        }
        assert!(!told.contains("a-secret"), "{told}");
        let told = read(&[(REDIS_URL, "memory:"), (HOOKS, "hooks.toml")]).unwrap_err().to_string();
        assert!(told.contains("one process"), "{told}");
    }

    #[test]
    fn who_can_be_reached_from_outside_asks_for_a_token_or_a_certificate() {
        let hash = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let outside = (LISTEN, "0.0.0.0:18000");
        let with = |more: &[(&'static str, &str)]| read(&[&GOOD[..], &[outside], more].concat());
        assert!(with(&[]).unwrap_err().to_string().contains("anybody could ask"));
        let tls = [(TLS_CERT, "x.pem"), (TLS_KEY, "x.pem")];
        assert!(with(&tls).is_err(), "TLS alone asks nobody who he is");
        assert!(with(&[tls[0], tls[1], (TLS_CLIENT_CA, "x.pem")]).is_ok());
        let access = with(&[(TOKEN_HASHES, &hash)]).unwrap().access;
        assert!(access.admits(Some("Bearer a-token")));
        for other in [None, Some("a-token"), Some("Bearer "), Some("Bearer a-tokem")] {
            assert!(!access.admits(other), "{other:?}");
        }
        assert!(Access::default().admits(None));
    }
}
