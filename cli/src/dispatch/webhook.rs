//! Datadog's webhook as an event of the function: the payload becomes the message of one SNS record.
//!
//! The function reads any JSON whose strings hold the monitor's text and links. The one thing that is decided here is
//! when the message was sent: by `date` (`$DATE`) or `last_updated` of the payload, Unix milliseconds. Datadog tries again for a while, so
//! the time of arrival will not do: an old alert would look like a new one. A payload without either brings a report and no hint.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Where a payload tells when it was sent. Both stand in Datadog's own default payload.
const TIME_FIELDS: [&str; 2] = ["date", "last_updated"];
/// Numbers below are Unix seconds (`$DATE_POSIX`): as milliseconds they would be before 1973.
const SECONDS_BELOW: i64 = 100_000_000_000;

/// The function's event for a payload that arrived at `now`.
///
/// # Errors
/// If the payload is no JSON object.
pub(crate) fn event(payload: &[u8], now: Timestamp) -> Result<Value, serde_json::Error> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(payload)?;
    let mut sns = json!({"Message": Value::Object(fields.clone()).to_string()});
    if let Some(at) = TIME_FIELDS.iter().find_map(|name| time(fields.get(*name)?)) {
        // Its clock may be ahead of this one; the future holds no message.
        sns["Timestamp"] = json!(at.min(now));
    }
    Ok(json!({"Records": [{"EventSource": "cutout:dispatch", "Sns": sns}]}))
}

/// A number, or its text, as a time.
fn time(value: &Value) -> Option<Timestamp> {
    let number = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())?;
    match number {
        ..=0 => None,
        1..SECONDS_BELOW => Timestamp::from_second(number).ok(),
        _ => Timestamp::from_millisecond(number).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::report::NotifiedTransition;
    use cutout_lambda::notification::notifications;

    const NOW: &str = "2026-11-21T01:15:20Z";

    fn read(payload: &str) -> cutout_lambda::notification::Notification {
        let event = event(payload.as_bytes(), NOW.parse().unwrap()).unwrap();
        notifications(event).remove(0).unwrap()
    }

    #[test]
    fn the_payload_of_the_documentation_is_understood_whole() {
        let found = read(
            r#"{"title": "[P2] [Triggered on {bank_code:0001,env:prod}] Bank API", "body": "%%%\ncircuit-breaker-callback: https://a.example/cb \n\n[[Monitor Status](https://app.datadoghq.com/monitors/5200001?group=bank_code%3A0001%2Cenv%3Aprod)]\n%%%",
                "date": "1795223719000", "event_id": "6618108885455469409", "monitor_id": "5200001", "alert_transition": "Triggered",
                "alert_scope": "bank_code:0001,env:prod", "link": "https://app.datadoghq.com/event/event?id=6618108885455469409"}"#,
        );
        assert_eq!(found.callback_urls, ["https://a.example/cb"]);
        assert_eq!((found.monitor_id, found.event_id), (Some(5_200_001), Some(6_618_108_885_455_469_409)));
        let hint = found.notified.unwrap();
        assert_eq!((hint.transition, hint.at.as_second()), (NotifiedTransition::Alert, 1_795_223_719));
        assert_eq!(hint.tags.unwrap().to_string(), "bank_code:0001,env:prod");
    }

    #[test]
    fn the_time_is_the_senders_or_there_is_no_hint() {
        for (payload, at) in [
            (r#"{"date": 1795223719000}"#, Some(1_795_223_719)),
            (r#"{"date": "1795223719"}"#, Some(1_795_223_719)),
            (r#"{"last_updated": "1795223719000"}"#, Some(1_795_223_719)),
            // Ahead of this clock.
            (r#"{"date": "1995223719000"}"#, Some(1_795_223_720)),
            (r#"{"date": "soon"}"#, None),
            (r#"{"date": 0}"#, None),
            (r#"{"date": null}"#, None),
            ("{}", None),
        ] {
            assert_eq!(read(payload).notified.map(|hint| hint.at.as_second()), at, "{payload}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for payload in ["", "x", "[]", "\"x\"", "{"] {
            assert!(event(payload.as_bytes(), NOW.parse().unwrap()).is_err(), "{payload}");
        }
    }
}
