//! `cutout send notification`: what Datadog would send, as its webhook or as SNS hands it to Lambda.

use super::{NotificationArguments, Shape, What, post, secret, target};
use crate::dispatch::SECRET_HEADER;
use crate::ended::Failed;
use cutout_core::directive::KEYWORD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::Write;

const SECRET_VARIABLE: &str = "CUTOUT_DISPATCH_SECRET";

pub(super) async fn run(asked: &NotificationArguments) -> Result<(), Failed> {
    let now = Timestamp::now();
    let (title, text) = (title(&asked.what), text(&asked.what, &asked.callback));
    let message = match asked.shape {
        Shape::Webhook => json!({
            "title": title, "body": text, "date": now.as_millisecond().to_string(), "monitor_id": asked.what.monitor,
        }),
        Shape::Event => event(&title, &text, now),
    };
    let Some(to) = &asked.to else { return Ok(writeln!(std::io::stdout(), "{message}")?) };
    let secret = secret(asked.secret_file.as_deref(), SECRET_VARIABLE)?;
    let headers: Vec<_> = secret.into_iter().map(|secret| (SECRET_HEADER, secret)).collect();
    post(&target(to)?, message.to_string().into_bytes(), &headers).await
}

/// The title as Datadog writes it; one that claims nothing is marked as a test, as Datadog's own tests are.
fn title(what: &What) -> String {
    let word = what.transition.map_or("TEST", super::Transition::word);
    match &what.group {
        Some(group) => format!("[{word} on {{{group}}}] sent by cutout send"),
        None => format!("[{word}] sent by cutout send"),
    }
}

fn text(what: &What, callback: &str) -> String {
    let link = format!("https://app.datadoghq.com/monitors/{}", what.monitor);
    format!("{KEYWORD} {callback}\n\nSent by hand, to see whether it arrives.\n\nMonitor Status: {link}")
}

/// Lambda's event with one record of SNS.
fn event(title: &str, text: &str, now: Timestamp) -> Value {
    let record = json!({
        "EventSource": "aws:sns", "EventVersion": "1.0",
        "Sns": {"Type": "Notification", "Subject": title, "Message": text, "Timestamp": now},
    });
    json!({"Records": [record]})
}

#[cfg(test)]
mod tests {
    use super::super::Transition;
    use super::*;
    use cutout_core::report::NotifiedTransition;
    use cutout_lambda::notification::notifications;

    #[test]
    fn a_message_claims_what_it_is_told_to_and_else_nothing() {
        for (transition, claimed) in [
            (Some(Transition::Alert), NotifiedTransition::Alert),
            (Some(Transition::Recovery), NotifiedTransition::Recovery),
            (None, NotifiedTransition::Unknown),
        ] {
            let what = What { monitor: 5_200_001, group: Some("bank_code:0001".to_owned()), transition };
            let event = event(&title(&what), &text(&what, "https://a.example/cb"), Timestamp::now());
            let found = notifications(event).remove(0).unwrap();
            assert_eq!(found.callback_urls, ["https://a.example/cb"]);
            assert_eq!(found.monitor_id, Some(5_200_001));
            let hint = found.notified.unwrap();
            assert_eq!(hint.transition, claimed);
            assert_eq!(hint.tags.unwrap().to_string(), "bank_code:0001");
        }
    }
}
