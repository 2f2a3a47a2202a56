//! The function's secrets: given by the environment, or kept by AWS and read when they are needed.
//!
//! A secret that AWS keeps is read at its first use, never at the start (the extension answers only while an event is
//! handled), stays in memory for [`SECRET_AGE_MAX`], and is read anew at once where Datadog refuses a key. So a rotation
//! needs no deployment. When it cannot be read anew, the known one stays in use: a store that is away for a while must
//! not stop what works.
//!
//! Left out: the API of AWS and its signatures, which the extension has; and the extension's own cache, which cannot be
//! told to forget: the templates turn it off.

mod extension;

pub use extension::{ANSWER_BYTES_MAX, Extension, ExtensionSettings, PORT_DEFAULT, READ_TIMEOUT};

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a secret is used before it is read anew.
pub const SECRET_AGE_MAX: Duration = Duration::from_secs(300);
/// How long the known secret is used once it could not be read anew.
pub const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Where AWS keeps a secret. Names are no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The ARN of a secret in Secrets Manager.
    SecretsManager(String),
    /// The name of a parameter in Parameter Store.
    ParameterStore(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::SecretsManager(arn) => write!(f, "the secret {arn}"),
            Reference::ParameterStore(name) => write!(f, "the parameter {name}"),
        }
    }
}

/// A secret, or where it is kept.
#[derive(Debug, Clone)]
pub enum Source<T> {
    /// As the environment gave it.
    Given(T),
    /// Where to read it.
    Kept(Reference),
}

/// What can be read from a secret's text. The mistake never repeats the text.
pub trait FromSecret: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the text, to be put behind the name of where it stands.
    fn from_secret(text: &str) -> Result<Self, String>;
}

/// Why a secret is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("reading {name} from {reference} failed")]
pub struct SecretError {
    /// The setting.
    pub name: &'static str,
    /// Where it is kept.
    pub reference: Reference,
    /// Why it cannot be read.
    #[source]
    pub cause: SecretFailure,
}

/// Why a secret cannot be read. What the extension answered is not repeated, for it may be the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFailure {
    /// The function has no way to the extension.
    #[error("the settings hold no session token, so the extension would not answer")]
    NoExtension,
    /// The extension refuses.
    #[error(
        "the AWS parameters-and-secrets extension answered status {status}: check that it exists in this region, and \
         that the function's role may read it (secretsmanager:GetSecretValue or ssm:GetParameter, and kms:Decrypt for a \
         key of your own)"
    )]
    Status {
        /// The status.
        status: u16,
    },
    /// No connection, or a broken one.
    #[error("the AWS parameters-and-secrets extension cannot be reached: add its layer to the function")]
    Unreachable(#[source] reqwest::Error),
    /// No whole answer in time.
    #[error("the AWS parameters-and-secrets extension did not answer in time")]
    Timeout,
    /// The answer is not what AWS documents, is too large, or holds no text.
    #[error("the AWS parameters-and-secrets extension answered no text")]
    Unreadable,
    /// The text is not what the setting needs.
    #[error("what is kept there {0}")]
    Mistake(String),
}

impl SecretError {
    /// Whether reading it again, unchanged, may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.cause,
            SecretFailure::Status { .. } | SecretFailure::Unreachable(_) | SecretFailure::Timeout
        )
    }
}

/// One secret of the function.
#[derive(Debug)]
pub struct SecretSetting<T> {
    /// The setting, for errors.
    name: &'static str,
    source: Source<T>,
    extension: Option<Arc<Extension>>,
    latest: Mutex<Option<Known<T>>>,
}

/// A secret as it was read last.
#[derive(Debug, Clone)]
pub struct Known<T> {
    /// The secret.
    pub value: T,
    /// How often it had been read.
    reads: u64,
    /// When it is to be read anew.
    due_at: Instant,
}

impl<T: FromSecret + Clone + PartialEq> SecretSetting<T> {
    /// The secret of the setting `name`.
    #[must_use]
    pub fn new(name: &'static str, source: Source<T>, extension: Option<Arc<Extension>>) -> SecretSetting<T> {
        SecretSetting { name, source, extension, latest: Mutex::new(None) }
    }

    /// The secret, read if it is not known or too old at `now`. A read ends at `until`.
    ///
    /// # Errors
    /// [`SecretError`], if it was never read.
    pub async fn current(&self, now: Instant, until: Instant) -> Result<Known<T>, SecretError> {
        let reference = match &self.source {
            Source::Given(value) => {
                return Ok(Known { value: value.clone(), reads: 0, due_at: now });
            }
            Source::Kept(reference) => reference,
        };
        let mut latest = self.latest.lock().await;
        if let Some(known) = latest.as_ref().filter(|known| now < known.due_at) {
            return Ok(known.clone());
        }
        match self.read(reference, latest.as_ref(), now, until).await {
            Ok(known) => Ok(latest.insert(known).clone()),
            Err(error) => {
                let known = latest.as_mut().ok_or(error)?;
                known.due_at = now + READ_AGAIN_AFTER;
                Ok(known.clone())
            }
        }
    }

    /// Another secret than the `refused` one, if there is by now. It is read at most once for all that were refused at
    /// the same time.
    pub async fn renewed(&self, refused: &Known<T>, now: Instant, until: Instant) -> Option<Known<T>> {
        let Source::Kept(reference) = &self.source else { return None };
        let mut latest = self.latest.lock().await;
        if latest.as_ref().is_none_or(|known| known.reads == refused.reads) {
            *latest = Some(self.read(reference, latest.as_ref(), now, until).await.ok()?);
        }
        latest.as_ref().filter(|known| known.value != refused.value).cloned()
    }

    async fn read(
        &self,
        reference: &Reference,
        before: Option<&Known<T>>,
        now: Instant,
        until: Instant,
    ) -> Result<Known<T>, SecretError> {
        let read = async {
            let extension = self.extension.as_ref().ok_or(SecretFailure::NoExtension)?;
            let text = extension.text(reference, until).await?;
            T::from_secret(text.trim()).map_err(SecretFailure::Mistake)
        };
        let reads = before.map_or(1, |known| known.reads + 1);
        match read.await {
            Ok(value) => Ok(Known { value, reads, due_at: now + SECRET_AGE_MAX }),
            Err(cause) => {
                let error = SecretError { name: self.name, reference: reference.clone(), cause };
                if before.is_some() {
                    let error = cutout_core::Chain(&error).to_string();
                    tracing::warn!(step = "secret", error, "the known secret stays in use");
                }
                Err(error)
            }
        }
    }
}
