//! Messages by way of a queue, several at once: what fails comes again, what is done does not.

use crate::fixtures::{self, constructed};
use crate::world::{AMPLE, CALLBACK_PATH, World};
use cutout_tests::binaries::binary;
use cutout_tests::doubles::Answer;
use cutout_tests::runtime_api::RuntimeApi;
use serde_json::{Value, json};
use std::process::Stdio;

/// The constructed alert as SQS hands it over where SNS wrapped it.
fn queued(world: &World, sqs_id: &str) -> Value {
    let alert = world.here(&fixtures::read(&constructed("sns"), "text_alert"));
    let mut sns = alert["Records"][0]["Sns"].clone();
    sns["Type"] = json!("Notification");
    of_sqs(sqs_id, &sns.to_string())
}

fn of_sqs(sqs_id: &str, body: &str) -> Value {
    let attributes = json!({"SentTimestamp": "1748736011000", "ApproximateReceiveCount": "1"});
    json!({"messageId": sqs_id, "eventSource": "aws:sqs", "body": body, "attributes": attributes, "messageAttributes": {}})
}

/// A message that has a directive but names no monitor: it fails whenever it comes.
fn hopeless(world: &World, sqs_id: &str) -> Value {
    of_sqs(sqs_id, &format!("circuit-breaker-callback: {}{CALLBACK_PATH}", world.services[0].url()))
}

/// A function on AWS, the same process for all that it is asked.
struct Deployed {
    world: World,
    api: RuntimeApi,
    _process: tokio::process::Child,
}

impl Deployed {
    async fn start() -> Deployed {
        let (world, api) = (World::start().await, RuntimeApi::start().await);
        let mut command = api.command(&binary("bootstrap"));
        let process = command.envs(world.variables()).stdout(Stdio::null()).spawn().unwrap();
        Deployed { world, api, _process: process }
    }

    async fn answer(&self, records: &[Value]) -> Result<Value, Value> {
        self.api.invoke(json!({"Records": records}), AMPLE).await
    }
}

#[tokio::test]
async fn of_a_batch_only_the_messages_that_failed_come_again() {
    let function = Deployed::start().await;
    let world = &function.world;
    let batch = [
        queued(world, "id-1"),
        hopeless(world, "id-2"),
        of_sqs("id-3", "no directive"),
        json!({"messageId": "id-4", "eventSource": "aws:sqs", "body": 7}),
    ];
    let mut answer = function.answer(&batch).await.unwrap();
    let failed = answer["batchItemFailures"].as_array_mut().unwrap();
    failed.sort_by_key(Value::to_string);
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "id-2"}, {"itemIdentifier": "id-4"}]})
    );
    assert_eq!(world.callbacks().len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_done_is_answered_with_nothing_and_one_that_failed_whole_is_an_error() {
    let function = Deployed::start().await;
    let world = &function.world;
    let done = function.answer(&[queued(world, "id-1"), of_sqs("id-2", "no directive")]).await;
    assert_eq!(done, Ok(Value::Null));

    world.services[0].answer(CALLBACK_PATH, [Answer::new(503, "")]);
    let error = function.answer(&[queued(world, "id-1")]).await.unwrap_err();
    assert_eq!(error["errorType"], "Cutout.deliver");
    let error = function.answer(&[queued(world, "id-1"), hopeless(world, "id-2")]).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("no monitor id"), "{error}");
}

#[tokio::test]
async fn where_not_all_messages_can_be_named_one_failure_fails_the_event() {
    let function = Deployed::start().await;
    let world = &function.world;
    let alert = world.here(&fixtures::read(&constructed("sns"), "text_alert"));
    let unnamed = json!({"eventSource": "aws:sqs", "body": "no directive"});
    for other in [alert["Records"][0].clone(), unnamed] {
        let outcome = function.answer(&[other.clone(), hopeless(world, "id-2")]).await;
        assert_eq!(outcome.unwrap_err()["errorType"], "Cutout.ids", "{other}");
    }
}
