//! Messages that were signed: who signed what, when. The rule and the forger both start from these.

use crate::message::Message;
use cutout_core::webhook::{self, Secret};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// Where the service is, as it was told.
pub(crate) const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
/// The monitor of [`BREAKERS`].
pub(crate) const MONITOR: u64 = 5_200_001;
/// The service's file.
pub(crate) const BREAKERS: &str =
    "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmonitors = { ids = [5200001] }\n";
/// Secrets: two that the service knows, as during a rotation, and one that it does not.
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const FOREIGN: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl0Yp5ZKlp";
/// Ages beside which the limit of 300 s is far enough, so that no clock decides a verdict.
const TOO_OLD_SECS: i64 = 700;
const OLDEST_SECS: i64 = 120;

/// A message that was signed.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) id: String,
    pub(crate) sent_secs: i64,
    pub(crate) body: Vec<u8>,
    /// One signature for each secret that signed.
    pub(crate) signatures: Vec<String>,
    /// Those of them that the service can verify.
    pub(crate) known: Vec<String>,
}

impl Signed {
    /// How it travels.
    pub(crate) fn message(&self) -> Message {
        Message::new(&self.id, &self.sent_secs.to_string(), &self.signatures.join(" "), &self.body)
    }
}

/// Everything that was ever signed, as far as the forger heard of it.
#[derive(Debug)]
pub(crate) struct Corpus {
    pub(crate) signed: Vec<Signed>,
    pub(crate) now_secs: i64,
}

/// The secrets that the service knows.
pub(crate) fn secrets() -> Vec<Secret> {
    [OLD, NEW].iter().filter_map(|text| text.parse().ok()).collect()
}

impl Corpus {
    /// What is signed at a moment.
    pub(crate) fn signed_at(now: Timestamp) -> Corpus {
        let now_secs = now.as_second();
        let report =
            |bank: &str, status: &str, ago_secs: i64| callback(bank, status, now - ago_secs.seconds());
        let inventory =
            json!({"schema": "cutout.inventory/1", "as_of": now, "to": URL, "monitor_ids": [MONITOR]});
        // A body that could be read as a time and a body, were the dots of the signed text moved.
        let dotted = format!("{now_secs}.{}", report("0009", "Alert", 5));
        let text = |value: &Value| value.to_string().into_bytes();
        let made: [(&[&str], i64, Vec<u8>); 11] = [
            (&[NEW], 0, text(&report("0001", "Alert", 5))),
            (&[OLD, NEW], 1, text(&report("0002", "Alert", 5))),
            (&[OLD], 2, text(&report("0001", "OK", 90))),
            (&[NEW, FOREIGN], OLDEST_SECS, text(&report("0003", "Warn", 100))),
            (&[NEW], 0, text(&inventory)),
            (&[NEW], -OLDEST_SECS, text(&hint("0004", now))),
            (&[OLD], 0, dotted.into_bytes()),
            (&[NEW], 3, Vec::new()),
            (&[FOREIGN], 0, text(&report("0005", "Alert", 5))),
            (&[OLD, NEW], TOO_OLD_SECS, text(&report("0006", "Alert", 5))),
            (&[NEW], -TOO_OLD_SECS, text(&report("0007", "Alert", 5))),
        ];
        let signed = made.into_iter().map(|(by, ago_secs, body)| sign(by, now_secs - ago_secs, body));
        Corpus { signed: signed.collect(), now_secs }
    }
}

/// A signature that the forger can make: with a secret of its own.
pub(crate) fn sign_as_foreigner(id: &str, sent_secs: i64, body: &[u8]) -> String {
    signature(FOREIGN, id, sent_secs, body)
}

fn signature(by: &str, id: &str, sent_secs: i64, body: &[u8]) -> String {
    let secrets: Vec<Secret> = by.parse().into_iter().collect();
    webhook::sign(&secrets, id, sent_secs, body)
}

fn sign(by: &[&str], sent_secs: i64, body: Vec<u8>) -> Signed {
    let id = webhook::message_id(URL, &body);
    let each = |secret: &&str| (signature(secret, &id, sent_secs, &body), *secret != FOREIGN);
    let each: Vec<(String, bool)> = by.iter().map(each).collect();
    let known = each.iter().filter(|(_, known)| *known).map(|(text, _)| text.clone()).collect();
    let signatures = each.into_iter().map(|(text, _)| text).collect();
    Signed { id, sent_secs, body, signatures, known }
}

fn callback(bank: &str, status: &str, at: Timestamp) -> Value {
    json!({
        "schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": URL,
        "event_id": "6618108885455469409", "monitor_id": MONITOR, "notified": null, "event": null,
        "report": {
            "as_of": at,
            "monitor": {"name": "銀行API", "type": "query alert", "tags": [], "url": ""},
            "groups": [{"name": format!("bank_code:{bank}"), "tags": {"bank_code": [bank]},
                        "status": status, "changed_at": at, "muted": false}],
        },
    })
}

fn hint(bank: &str, at: Timestamp) -> Value {
    let mut hint = callback(bank, "Alert", at);
    hint["report"] = Value::Null;
    hint["notified"] = json!({"at": at, "transition": "alert", "tags": {"bank_code": [bank]}});
    hint
}
