//! Which secrets sign a callback to which host.
//!
//! An entry `whsec_…` is for every host, an entry `host=whsec_…` for one, so that the owner of one service cannot sign
//! for another's. Several entries for the same host all sign: that is how a secret is rotated.

use crate::secrets::FromSecret;
use cutout_core::webhook::{SIGNATURES_MAX, Secret, SecretError};
use std::collections::BTreeMap;
use url::Host;

const SECRET_START: &str = "whsec_";

/// The signing secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningSecrets {
    general: Vec<Secret>,
    by_host: BTreeMap<String, Vec<Secret>>,
}

impl FromSecret for SigningSecrets {
    fn from_secret(text: &str) -> Result<SigningSecrets, String> {
        if text.starts_with('{') {
            return Err("is a JSON object: keep the entries alone, as plain text".to_owned());
        }
        let mut mistakes = Vec::new();
        let secrets = SigningSecrets::read(text, &mut mistakes);
        match secrets.by_host.is_empty() && secrets.general.is_empty() {
            true if mistakes.is_empty() => Err("is empty".to_owned()),
            _ if mistakes.is_empty() => Ok(secrets),
            _ => Err(mistakes.join("; ")),
        }
    }
}

impl SigningSecrets {
    /// The secrets for a host in its canonical spelling: its own if it has any, else the general ones. Empty: none.
    #[must_use]
    pub fn of(&self, host: &str) -> &[Secret] {
        self.by_host.get(host).unwrap_or(&self.general)
    }

    /// Reads entries parted by commas. Mistakes name an entry by its position and host, never by its secret.
    pub(super) fn read(text: &str, mistakes: &mut Vec<String>) -> SigningSecrets {
        let mut secrets = SigningSecrets::default();
        let entries = text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
        for (index, entry) in entries {
            if let Err(mistake) = secrets.add(entry) {
                mistakes.push(format!("entry {}: {mistake}", index + 1));
            }
        }
        let lists = secrets.by_host.values().chain([&secrets.general]);
        if lists.into_iter().any(|list| list.len() > SIGNATURES_MAX) {
            mistakes.push(format!(
                "has more than {SIGNATURES_MAX} secrets for one host: remove the retired ones"
            ));
        }
        secrets
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        // Base64 may end in `=`, so what starts like a secret is one.
        let (host, secret) = match entry.split_once('=') {
            Some((host, secret)) if !entry.starts_with(SECRET_START) => (Some(host.trim()), secret.trim()),
            _ => (None, entry),
        };
        let secret: Secret = secret.parse().map_err(|error: SecretError| error.to_string())?;
        match host {
            None => self.general.push(secret),
            Some(host) => {
                let canonical =
                    Host::parse(host).map_err(|_| "what stands before = is not a host".to_owned())?;
                self.by_host.entry(canonical.to_string()).or_default().push(secret);
            }
        }
        Ok(())
    }
}
