//! `cutout send callback`: what the function would post, with a hint and no report.

use super::{CallbackArguments, post, secret, target};
use crate::ended::Failed;
use cutout_core::report::{CALLBACK_SCHEMA, Notified, NotifiedTransition, Reason};
use cutout_core::webhook::{self, Secret};
use cutout_core::{Callback, Tags};
use jiff::Timestamp;

const SECRET_VARIABLE: &str = "CUTOUT_SIGNING_SECRET";
/// Where it comes from, as the service's log may tell.
const SOURCE: &str = "cutout send";

pub(super) async fn run(asked: &CallbackArguments) -> Result<(), Failed> {
    let url = target(&asked.to)?;
    let missing = || {
        Failed::usage(format!("no signing secret: set {SECRET_VARIABLE}, or name a file with --secret-file"))
    };
    let text = secret(asked.secret_file.as_deref(), SECRET_VARIABLE)?.ok_or_else(missing)?;
    let secret: Secret =
        text.parse().map_err(|error| Failed::usage(format!("the signing secret cannot be used: {error}")))?;
    let now = Timestamp::now();
    let callback = Callback {
        schema: CALLBACK_SCHEMA.to_owned(),
        source: SOURCE.to_owned(),
        reason: Reason::Notification,
        to: url.as_str().to_owned(),
        event_id: None,
        monitor_id: asked.what.monitor,
        notified: Some(Notified {
            at: now,
            transition: asked.what.transition.map_or(NotifiedTransition::Unknown, Into::into),
            tags: asked.what.group.as_deref().map(Tags::parse),
        }),
        report: None,
        event: None,
    };
    let body = serde_json::to_vec(&callback)?;
    let id = webhook::message_id(url.as_str(), &body);
    let signature = webhook::sign(&[secret], &id, now.as_second(), &body);
    let headers = [
        (webhook::ID_HEADER, id),
        (webhook::TIMESTAMP_HEADER, now.as_second().to_string()),
        (webhook::SIGNATURE_HEADER, signature),
    ];
    post(&url, body, &headers).await
}
