//! What the compiled function sends, the libraries verify: every kind of message, with each secret of a rotation.

use crate::library::{LANGUAGES, Library, Message};
use cutout_cli::fake_datadog::{FakeDatadog, sns_event};
use cutout_core::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use cutout_tests::binaries::binary;
use cutout_tests::canary::{
    DD_API_KEY, DD_APP_KEY, OTHER_SIGNING_SECRET, SIGNING_SECRET, THIRD_SIGNING_SECRET,
};
use cutout_tests::doubles::{Answer, Asked, Double};
use cutout_tests::process::Program;
use cutout_tests::runtime_api::RuntimeApi;
use serde_json::{Value, json};
use std::time::Duration;

const MONITOR: u64 = 5_200_001;
const PATH: &str = "/dd_circuit_breaker/callback";
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the function posts about one alert, on a notification and on a scheduled run, signed with the first two secrets.
async fn sent() -> Vec<Message> {
    let (datadog, service) = (FakeDatadog::start().await.unwrap(), Double::start("127.0.0.1").await);
    service.answer(PATH, [Answer::new(200, "")]);
    let directive = format!("circuit-breaker-callback: {}{PATH} @sns-dd-circuit-breaker", service.url());
    datadog.create_monitor(MONITOR, "銀行API 🏦 <&>", &["cutout"]);
    datadog.set_message(MONITOR, &directive);
    let alert = datadog.set(MONITOR, "bank_code:0001,env:prod", "Alert");
    let runtime = RuntimeApi::start().await;
    let mut command = runtime.command(&binary("bootstrap"));
    command.envs([
        ("DD_API_KEY", DD_API_KEY),
        ("DD_APP_KEY", DD_APP_KEY),
        ("CUTOUT_DATADOG_URL", &datadog.url()),
        ("CUTOUT_SIGNING_SECRETS", &format!("{SIGNING_SECRET},{OTHER_SIGNING_SECRET}")),
        ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
        ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
    ]);
    let _function = Program::start(command.into_std());
    for event in [sns_event(&[alert], &directive), json!({"cutout": "reconcile"})] {
        runtime.invoke(event, TIMEOUT).await.expect("the function delivers");
    }
    service.asked().into_iter().map(message).collect()
}

fn message(asked: Asked) -> Message {
    let [id, timestamp, signatures] =
        [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER].map(|name| asked.header(name).to_owned());
    Message { id, timestamp, signatures, body: String::from_utf8(asked.body).expect("UTF-8") }
}

/// The message with one thing changed, in all the ways that matter.
fn forged(message: &Message) -> Vec<Message> {
    let Message { id, timestamp, signatures, body } = message.clone();
    let later = (timestamp.parse::<i64>().unwrap() + 1).to_string();
    vec![
        Message { id: format!("{id}0"), ..message.clone() },
        Message { timestamp: later, ..message.clone() },
        Message { body: body.replace("Alert", "OK").replace(&MONITOR.to_string(), "1"), ..message.clone() },
        Message { signatures: signatures.replace("v1,", "v2,"), ..message.clone() },
    ]
}

#[tokio::test]
async fn the_libraries_verify_every_message_of_the_function_with_either_secret() {
    let sent = sent().await;
    let kinds: Vec<Value> = sent
        .iter()
        .map(|message| {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            json!([body["schema"], body["reason"]])
        })
        .collect();
    let callback = |reason: &str| json!(["cutout.callback/1", reason]);
    let inventory = json!(["cutout.inventory/1", null]);
    assert_eq!(kinds, [callback("notification"), callback("reconcile"), inventory]);
    for language in LANGUAGES {
        let mut library = Library::start(language);
        for message in &sent {
            let read: Value = serde_json::from_str(&message.body).unwrap();
            for secret in [SIGNING_SECRET, OTHER_SIGNING_SECRET] {
                assert_eq!(library.verify(secret, message).as_ref(), Ok(&read), "{language:?}: {message:?}");
                for forged in forged(message) {
                    let verdict = library.verify(secret, &forged);
                    assert!(verdict.is_err(), "{language:?} takes {forged:?} for {message:?}");
                }
            }
            let verdict = library.verify(THIRD_SIGNING_SECRET, message);
            assert!(verdict.is_err(), "{language:?} with a secret that did not sign: {message:?}");
        }
    }
}
