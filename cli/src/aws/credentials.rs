//! Who signs: the keys in the environment, those of a profile in the shared file, or those that a container is given.
//!
//! In this order, as AWS's own tools look. Left out: single sign-on, assumed roles, credential processes and EC2's
//! metadata; `eval "$(aws configure export-credentials --format env)"` turns any of them into variables.

use crate::api::{client, is_loopback, read, secret_of, unreached};
use crate::ended::Failed;
use reqwest::Url;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a container asks by a relative address.
const CONTAINER_HOST: &str = "http://169.254.170.2";
/// Other hosts that may be asked in plain http: EKS's agent, by IPv4 and IPv6.
const AGENT_HOSTS: [&str; 2] = ["169.254.170.23", "[fd00:ec2::23]"];
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// One set of keys.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) async fn of_environment() -> Result<Credentials, Failed> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let (Some(access_key_id), Some(secret_access_key)) =
            (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok(Credentials {
                access_key_id,
                secret_access_key,
                session_token: variable("AWS_SESSION_TOKEN"),
            });
        }
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let file = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home);
        let profile = variable("AWS_PROFILE");
        if let Some(found) = file.and_then(|file| of_file(&file, profile.as_deref().unwrap_or("default"))) {
            return Ok(found);
        }
        if let Some(relative) = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return of_container(&format!("{CONTAINER_HOST}{relative}")).await;
        }
        if let Some(full) = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            return of_container(&full).await;
        }
        Err(Failed::usage(
            "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for keys in ~/.aws/credentials; \
             for single sign-on and roles: eval \"$(aws configure export-credentials --format env)\"",
        ))
    }
}

/// The keys of one profile, if the file has them.
fn of_file(file: &Path, profile: &str) -> Option<Credentials> {
    of_text(&secret_of(file).ok()?, profile)
}

fn of_text(text: &str, profile: &str) -> Option<Credentials> {
    let heading = |line: &str| line.strip_prefix('[')?.strip_suffix(']').map(|name| name.trim().to_owned());
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| heading(line).is_some_and(|name| name == profile))?;
    let own: Vec<(&str, &str)> = lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let value =
        |wanted: &str| own.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    Some(Credentials {
        access_key_id: value("aws_access_key_id")?,
        secret_access_key: value("aws_secret_access_key")?,
        session_token: value("aws_session_token"),
    })
}

/// What the container's own address gives. It is asked in plain http where AWS says that this may be.
async fn of_container(address: &str) -> Result<Credentials, Failed> {
    let wrong = |why: &str| Failed::usage(format!("the address of the container's AWS credentials {why}"));
    let url = Url::parse(address).map_err(|_| wrong("is no URL"))?;
    let host = url.host_str().unwrap_or_default();
    let is_near = is_loopback(&url) || address.starts_with(CONTAINER_HOST) || AGENT_HOSTS.contains(&host);
    if url.scheme() != "https" && !is_near {
        return Err(wrong("is plain http to another machine"));
    }
    let mut request = client(&url)?.get(url).timeout(ANSWER_TIMEOUT);
    let token = match std::env::var_os("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(secret_of(Path::new(&file))?),
        None => std::env::var("AWS_CONTAINER_AUTHORIZATION_TOKEN").ok(),
    };
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let place = "the container's AWS credentials";
    let answer = request.send().await.map_err(|error| unreached(place, error))?;
    let body = read(answer, ANSWER_MAX_BYTES).await.map_err(|error| unreached(place, error))?;
    let given: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    match (text("AccessKeyId"), text("SecretAccessKey")) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Ok(Credentials { access_key_id, secret_access_key, session_token: text("Token") })
        }
        _ => Err(Failed::unreachable("the container's address gives no AWS credentials")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiles_own_keys_are_found_and_none_is_shown() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key = canary-a\n\n[ops]\n# old = x\naws_access_key_id=B\naws_secret_access_key=canary-b\naws_session_token=canary-t\n[empty]\n";
        let found = of_text(text, "ops").unwrap();
        assert_eq!((found.access_key_id.as_str(), found.session_token.as_deref()), ("B", Some("canary-t")));
        assert_eq!(of_text(text, "default").unwrap().session_token, None);
        assert!(of_text(text, "empty").is_none() && of_text(text, "other").is_none());
        assert!(!format!("{found:?}").contains("canary"), "{found:?}");
    }
}
