//! One step of a drill: a signed message to the owning service, without a monitor and without Datadog.
//!
//! It is asked for by invoking the function with `{"cutout": "drill", …}`, which IAM allows or not. A message of SNS or SQS
//! arrives as a record inside an event, never as the event itself, so no text of a monitor can ask for one. The URL
//! goes through the guard like any other.

use super::failure::{FailureCause, Failures, InvocationError};
use super::{Function, encode};
use cutout_core::Drill;
use cutout_core::drill::{DRILL_MAX_MS, DRILL_SCHEMA, DRILL_SOURCE};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::time::Instant;

/// What is asked for.
#[derive(Debug, Deserialize)]
struct Asked {
    to: String,
    breaker: String,
    opens: bool,
    /// How long it may hold the breaker open, seconds.
    for_secs: u32,
    #[serde(default)]
    by: String,
    #[serde(default)]
    why: String,
}

/// Whether an event asks for a drill. What has records is a message, whatever else it holds.
pub(super) fn is_asked_by(event: &Value) -> bool {
    event.get("cutout").is_some_and(|asked| asked == "drill") && event.get("Records").is_none()
}

impl Function {
    /// Sends one step. `Ok`: the service has committed it.
    ///
    /// # Errors
    /// Why it was not sent or not committed; the service's status stands in it.
    pub(super) async fn drill(&self, event: Value, deadline: Instant) -> Result<(), InvocationError> {
        let mut failures = Failures::default();
        match serde_json::from_value::<Asked>(event) {
            Ok(asked) => self.drill_step(asked, deadline, &mut failures).await,
            Err(error) => failures.note(FailureCause::Drill(error)),
        }
        InvocationError::of(failures.told())
    }

    async fn drill_step(&self, asked: Asked, deadline: Instant, failures: &mut Failures) {
        let urls = self.guarded(std::slice::from_ref(&asked.to), failures);
        let Some(url) = urls.first() else { return };
        let signing = match self.signing.current(Instant::now(), deadline).await {
            Ok(known) => known.value,
            Err(error) => return failures.note(FailureCause::Signing(error)),
        };
        let lasts =
            SignedDuration::from_secs(asked.for_secs.into()).min(SignedDuration::from_millis(DRILL_MAX_MS));
        let or = |text: String, default: &str| if text.trim().is_empty() { default.to_owned() } else { text };
        let drill = Drill {
            schema: DRILL_SCHEMA.to_owned(),
            source: DRILL_SOURCE.to_owned(),
            to: url.as_str().to_owned(),
            breaker: asked.breaker,
            opens: asked.opens,
            until: Timestamp::now() + lasts,
            by: or(asked.by, "unknown"),
            why: or(asked.why, "a drill"),
        };
        let sent = match encode(&drill) {
            Ok(body) => self.post(url, &body, &signing, deadline).await,
            Err(cause) => Err(cause),
        };
        match sent {
            Ok(()) => {
                let (callback_host, breaker) = (url.host(), drill.breaker.as_str());
                tracing::info!(callback_host, breaker, opens = drill.opens, by = drill.by, "drill");
            }
            Err(cause) => failures.note_at(Some(url.host().to_owned()), cause),
        }
    }
}
