//! The AWS parameters-and-secrets extension: a process beside the function that reads Secrets Manager and Parameter
//! Store for it. It listens on this machine alone, and answers who shows the function's session token.

use super::{Reference, SecretFailure};
use crate::function::SetupError;
use crate::trust;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use url::Url;

/// The port that it listens on, unless `PARAMETERS_SECRETS_EXTENSION_HTTP_PORT` says otherwise.
pub const PORT_DEFAULT: u16 = 2773;
/// The longest that one read takes.
pub const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer that is read: a secret has at most 64 KiB, which JSON may escape.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;

const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-aws-parameters-secrets-token");

/// How to reach the extension.
#[derive(Debug, Clone)]
pub struct ExtensionSettings {
    /// `PARAMETERS_SECRETS_EXTENSION_HTTP_PORT`.
    pub port: u16,
    /// `AWS_SESSION_TOKEN`. Marked as sensitive.
    pub token: HeaderValue,
}

/// A way to the extension.
#[derive(Debug)]
pub struct Extension {
    client: Client,
    settings: ExtensionSettings,
}

#[derive(Deserialize)]
struct SecretAnswer {
    #[serde(rename = "SecretString")]
    text: String,
}

#[derive(Deserialize)]
struct ParameterAnswer {
    #[serde(rename = "Parameter")]
    parameter: Parameter,
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(rename = "Value")]
    text: String,
}

impl Extension {
    /// A way to it; nothing is asked yet. The process must have installed its rustls crypto provider.
    ///
    /// # Errors
    /// [`SetupError`], if the CA certificates or the HTTP client are not to be had.
    pub fn new(settings: ExtensionSettings) -> Result<Extension, SetupError> {
        // It speaks plain HTTP, but a client without TLS of ours would read the machine's certificates.
        let tls = trust::tls().map_err(SetupError::Trust)?;
        let client = Client::builder().tls_backend_preconfigured(tls).no_proxy();
        let client = client.redirect(redirect::Policy::none()).build().map_err(SetupError::Extension)?;
        Ok(Extension { client, settings })
    }

    /// The text that is kept there.
    pub(super) async fn text(&self, reference: &Reference, until: Instant) -> Result<String, SecretFailure> {
        let read = async {
            match reference {
                Reference::SecretsManager(arn) => {
                    let answer: SecretAnswer = self.get("/secretsmanager/get", &[("secretId", arn)]).await?;
                    Ok(answer.text)
                }
                Reference::ParameterStore(name) => {
                    let query = [("name", name.as_str()), ("withDecryption", "true")];
                    let answer: ParameterAnswer = self.get("/systemsmanager/parameters/get", &query).await?;
                    Ok(answer.parameter.text)
                }
            }
        };
        let until = until.min(Instant::now() + READ_TIMEOUT);
        tokio::time::timeout_at(until.into(), read).await.unwrap_or(Err(SecretFailure::Timeout))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, SecretFailure> {
        let base = format!("http://localhost:{}{path}", self.settings.port);
        let url = Url::parse_with_params(&base, query).map_err(|_| SecretFailure::Unreadable)?;
        let request = self.client.get(url).header(TOKEN_HEADER, self.settings.token.clone());
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            // The text of serde's error would repeat what was read.
            StatusCode::OK => {
                serde_json::from_slice(&body(response).await?).map_err(|_| SecretFailure::Unreadable)
            }
            other => Err(SecretFailure::Status { status: other.as_u16() }),
        }
    }
}

/// The URL is left out of errors: the reference says as much.
fn unreachable(error: reqwest::Error) -> SecretFailure {
    SecretFailure::Unreachable(error.without_url())
}

async fn body(mut response: Response) -> Result<Vec<u8>, SecretFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(SecretFailure::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
