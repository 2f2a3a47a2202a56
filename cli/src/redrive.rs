//! `cutout redrive`: what stands in the dead-letter queue, and its way back.
//!
//! Sending it again is safe at any age: newer wins, and an old hint opens nothing. So a message is sent first and deleted
//! then; one that is sent twice changes nothing. Nothing moves without `--go`, and never more than was there at the start.
//!
//! With a queue before the function (the default) messages go back to that queue. With direct delivery there is none: then
//! `--function` invokes it with each message, and deletes what it has handled.

use crate::aws::{Aws, Invoked};
use crate::ended::Failed;
use crate::terminal::{Terminal, age, plain};
use clap::Args;
use cutout_lambda::notification::notifications;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How many messages SQS gives at a time.
const BATCH_MAX: usize = 10;
/// How many messages one run sends at the most.
const MESSAGES_MAX: usize = 100_000;
/// For how long a message that is taken is hidden from others; if it is not deleted by then it is there again.
const HIDDEN_SECS: u32 = 120;
/// For how long one that is only looked at is hidden.
const LOOKED_AT_SECS: u32 = 5;
/// How often in a row the queue may give nothing although it counts messages: its counts are approximate.
const EMPTY_MAX: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The dead-letter queue: its name or its URL.
    #[arg(long, value_name = "QUEUE")]
    queue: String,
    /// Send them; without it they are only shown.
    #[arg(long)]
    go: bool,
    /// The queue they go back to; without it the one whose dead letters these are.
    #[arg(long, value_name = "QUEUE", conflicts_with = "function")]
    to: Option<String>,
    /// Invoke this function with each message instead: for direct delivery, which has no queue before it.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// How many at the most; without it, as many as there are at the start.
    #[arg(long, value_name = "NUMBER")]
    max: Option<usize>,
    /// AWS's region; without it AWS_REGION.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// Where messages go.
enum Way {
    Queue(String),
    Function(String),
}

/// Shows the messages, or sends them.
///
/// # Errors
/// What AWS refused, or that not all were sent.
pub(crate) async fn run(asked: &Arguments) -> Result<(), Failed> {
    let aws = Aws::of_environment(asked.region.as_deref()).await?;
    let terminal = Terminal::of_environment();
    let dead = queue_url(&aws, &asked.queue).await?;
    let way = way(&aws, &dead, asked).await?;
    let held = held(&aws, &dead).await?;
    terminal.line(&format!("{held} messages in {}", plain(&dead)))?;
    terminal.line(&match &way {
        Way::Queue(url) => format!("their way back is {}", plain(url)),
        Way::Function(name) => format!("their way back is the function {}", plain(name)),
    })?;
    let count = held.min(asked.max.unwrap_or(MESSAGES_MAX)).min(MESSAGES_MAX);
    if asked.go {
        go(&aws, terminal, &dead, &way, count).await
    } else {
        look(&aws, terminal, &dead, held).await
    }
}

/// Shows some of the messages, and lets them be there again.
async fn look(aws: &Aws, terminal: Terminal, dead: &str, held: usize) -> Result<(), Failed> {
    let messages = take(aws, dead, BATCH_MAX, LOOKED_AT_SECS).await?;
    for message in &messages {
        terminal.line(&format!("  {}", described(message)))?;
        let shown =
            json!({"QueueUrl": dead, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0});
        aws.sqs("ChangeMessageVisibility", &shown).await?;
    }
    let more = held.saturating_sub(messages.len());
    if more > 0 {
        terminal.line(&format!("  and {more} more"))?;
    }
    Ok(terminal.line(if held == 0 { "nothing to do" } else { "nothing was sent; --go sends them" })?)
}

/// Sends up to `count` messages, each deleted once it is sent. One that the function fails on stays.
async fn go(aws: &Aws, terminal: Terminal, dead: &str, way: &Way, count: usize) -> Result<(), Failed> {
    let (mut sent, mut failed, mut empty) = (0, 0, 0);
    while sent + failed < count && empty < EMPTY_MAX {
        let messages = take(aws, dead, BATCH_MAX.min(count - sent - failed), HIDDEN_SECS).await?;
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        for message in &messages {
            let outcome = send(aws, way, message).await?;
            match &outcome {
                None => {
                    let done = json!({"QueueUrl": dead, "ReceiptHandle": message["ReceiptHandle"]});
                    aws.sqs("DeleteMessage", &done).await?;
                    sent += 1;
                }
                Some(_) => failed += 1,
            }
            let told = outcome.map_or_else(|| "sent".to_owned(), |why| format!("FAILED, it stays: {why}"));
            terminal.line(&format!("{} of {count}  {}  {told}", sent + failed, described(message)))?;
        }
    }
    terminal.line(&format!("{sent} sent, {failed} failed"))?;
    match failed {
        0 => Ok(()),
        _ => Err(Failed::refused(format!("{failed} messages failed again and stay in the queue"))),
    }
}

/// Sends one message its way; what the function says against it, if it does.
async fn send(aws: &Aws, way: &Way, message: &Value) -> Result<Option<String>, Failed> {
    match way {
        Way::Queue(url) => {
            let mut again = json!({"QueueUrl": url, "MessageBody": message["Body"]});
            if let attributes @ Value::Object(_) = &message["MessageAttributes"] {
                again["MessageAttributes"] = attributes.clone();
            }
            aws.sqs("SendMessage", &again).await?;
            Ok(None)
        }
        Way::Function(name) => match aws.invoke(name, &event(message)).await? {
            Invoked::Done => Ok(None),
            Invoked::Failed(told) => Ok(Some(told)),
        },
    }
}

/// The function's event for a dead letter: what it was invoked with, or a record of SQS.
fn event(message: &Value) -> Value {
    let body = message["Body"].as_str().unwrap_or_default();
    // What Lambda itself gave up is wrapped, with the event as it was.
    let wrapped: Option<Value> = serde_json::from_str(body).ok();
    if let Some(event @ Value::Object(_)) = wrapped.map(|mut wrapped| wrapped["requestPayload"].take()) {
        return event;
    }
    json!({"Records": [{
        "messageId": message["MessageId"], "body": body, "attributes": message["Attributes"], "eventSource": "aws:sqs",
    }]})
}

/// What a message is about, in one line.
fn described(message: &Value) -> String {
    let sent_ms = message["Attributes"]["SentTimestamp"].as_str().and_then(|text| text.parse::<i64>().ok());
    let old = sent_ms.map(|ms| age(Timestamp::now().as_millisecond().saturating_sub(ms)));
    let old = old.unwrap_or_else(|| "?".to_owned());
    match notifications(event(message)).into_iter().next() {
        Some(Ok(found)) => {
            let monitor =
                found.monitor_id.map_or_else(|| "no monitor".to_owned(), |id| format!("monitor {id}"));
            let hint = found.notified.map(|hint| {
                let group = hint.tags.map(|tags| format!(" of {tags}")).unwrap_or_default();
                format!(", {:?}{group}", hint.transition)
            });
            let urls = found.callback_urls.join(" ");
            plain(&format!("{monitor}{}, {old} old, for {urls}", hint.unwrap_or_default()))
        }
        Some(Err(error)) => plain(&format!("not readable ({error}), {old} old")),
        None => format!("nothing in it, {old} old"),
    }
}

async fn take(aws: &Aws, queue: &str, count: usize, hidden_secs: u32) -> Result<Vec<Value>, Failed> {
    let asked = json!({
        "QueueUrl": queue, "MaxNumberOfMessages": count, "VisibilityTimeout": hidden_secs, "WaitTimeSeconds": 1,
        "AttributeNames": ["All"], "MessageAttributeNames": ["All"],
    });
    let mut answer = aws.sqs("ReceiveMessage", &asked).await?;
    let messages = answer["Messages"].take();
    Ok(messages.as_array().cloned().unwrap_or_default())
}

async fn queue_url(aws: &Aws, queue: &str) -> Result<String, Failed> {
    if queue.starts_with("https://") || queue.starts_with("http://") {
        return Ok(queue.to_owned());
    }
    let answer = aws.sqs("GetQueueUrl", &json!({"QueueName": queue})).await?;
    answer["QueueUrl"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failed::refused("SQS names no URL of the queue"))
}

/// How many messages wait there.
async fn held(aws: &Aws, queue: &str) -> Result<usize, Failed> {
    let name = "ApproximateNumberOfMessages";
    let answer = aws.sqs("GetQueueAttributes", &json!({"QueueUrl": queue, "AttributeNames": [name]})).await?;
    let count = answer["Attributes"][name].as_str().and_then(|text| text.parse().ok());
    count.ok_or_else(|| Failed::refused("SQS does not tell how many messages there are"))
}

async fn way(aws: &Aws, dead: &str, asked: &Arguments) -> Result<Way, Failed> {
    if let Some(function) = &asked.function {
        return Ok(Way::Function(function.clone()));
    }
    if let Some(to) = &asked.to {
        return Ok(Way::Queue(queue_url(aws, to).await?));
    }
    let answer = aws.sqs("ListDeadLetterSourceQueues", &json!({"QueueUrl": dead})).await?;
    let queues = answer["queueUrls"].as_array().map(Vec::as_slice).unwrap_or_default();
    match queues {
        [Value::String(one)] => Ok(Way::Queue(one.clone())),
        [] => Err(Failed::usage(
            "no queue sends its dead letters there: give --function for direct delivery, or --to, or look whether it is the dead-letter queue",
        )),
        _ => Err(Failed::usage("several queues send their dead letters there: say with --to where they go")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lambda_gave_up_is_unwrapped_and_all_else_is_a_record_of_sqs() {
        let records = json!({"Records": [{"Sns": {"Message": "x"}}]});
        let given_up = json!({"version": "1.0", "requestContext": {}, "requestPayload": records}).to_string();
        assert_eq!(event(&json!({"Body": given_up})), records);
        let event = event(&json!({"Body": "plain", "MessageId": "m", "Attributes": {"SentTimestamp": "1"}}));
        assert_eq!(event["Records"][0]["body"], "plain");
        assert_eq!(event["Records"][0]["messageId"], "m");
    }
}
