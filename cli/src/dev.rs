//! `cutout dev`: the whole path left running, with a door for one's own messages.
//!
//! What Lambda would do is a POST here: its body is the event. A second route changes a group at the fake Datadog and sends
//! the message that Datadog would send.

use crate::fake_datadog::sns_event;
use crate::private_redis::PrivateRedis;
use crate::stack::{BoxError, Keep, Stack};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The breakers unless a file is given.
const BREAKERS: &str = r#"
[[breaker]]
name     = "bank-charge"
key      = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "5s"
ramp     = "30s"
"#;
const MONITOR_ID: u64 = 5_200_001;
const SCOPE: &str = "default";

/// Which Redis to use.
#[derive(Debug, Clone)]
pub(crate) enum RedisChoice {
    /// None: memory.
    None,
    /// Start a private one.
    Auto,
    /// The one of this URL.
    Url(String),
}

/// Runs until interrupted.
///
/// # Errors
/// If a part cannot be started.
pub(crate) async fn run(redis: RedisChoice, breakers: Option<PathBuf>) -> Result<(), BoxError> {
    let (keep, _private) = match redis {
        RedisChoice::None => (Keep::Memory, None),
        RedisChoice::Url(url) => (Keep::Redis(url), None),
        RedisChoice::Auto => {
            let private = PrivateRedis::start().await?;
            (Keep::Redis(private.url()), Some(private))
        }
    };
    let breakers = match &breakers {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?
        }
        None => BREAKERS.to_owned(),
    };
    let stack = Arc::new(Stack::start(&keep, SCOPE, &breakers).await?);
    stack.datadog.create_monitor(MONITOR_ID, "Bank API error rate", &["cutout"]);
    for code in crate::banks::CODES {
        stack.datadog.set(MONITOR_ID, &format!("bank_code:{code},env:prod"), "OK");
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    tell(&stack, &keep, &format!("http://{}", listener.local_addr()?))?;
    let door = Router::new()
        .route("/", post(posted))
        .route("/monitors/{id}/{group}/{status}", post(change))
        .route("/breakers/{*id}", get(state))
        .with_state(stack);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(axum::serve(listener, door).with_graceful_shutdown(ended).await?)
}

fn tell(stack: &Stack, keep: &Keep, door: &str) -> Result<(), BoxError> {
    let flags = match keep {
        Keep::Memory => "in memory (--redis auto lets other processes follow)".to_owned(),
        Keep::Redis(url) => without_login(url),
    };
    writeln!(
        std::io::stdout(),
        "the function        {door}/\n\
         the service         {callback}\n\
         the fake Datadog    {datadog}\n\
         flags               {flags}\n\
         \n\
         Let a monitor's group alert, and send the message that Datadog would send:\n\
         \x20 curl -X POST '{door}/monitors/{MONITOR_ID}/bank_code:0002,env:prod/Alert'\n\
         See what a caller would be told:\n\
         \x20 curl '{door}/breakers/bank-charge/0002'\n\
         Post a message of your own, a Lambda event with SNS or SQS records; its directive is\n\
         \x20 {directive}\n\
         \x20 curl -X POST --data-binary @event.json '{door}/'\n\
         \n\
         Ctrl-C ends it.",
        callback = stack.callback_url(),
        datadog = stack.datadog.url(),
        directive = stack.directive(),
    )?;
    Ok(())
}

/// A Redis URL as it may be shown: what stands before the @, and the options, may hold a password.
fn without_login(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let (scheme, place) = url.split_once("://").unwrap_or(("", url));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}://{place}")
}

type Answer = (StatusCode, Json<Value>);

/// An event as it was posted, whatever its content type: curl's default one would be refused as JSON.
async fn posted(stack: State<Arc<Stack>>, body: String) -> Answer {
    match serde_json::from_str(&body) {
        Ok(event) => invoke(&stack, event).await,
        Err(error) => {
            (StatusCode::BAD_REQUEST, Json(json!({"error": format!("the event is not JSON: {error}")})))
        }
    }
}

/// What Lambda does: hand over an event, and tell how it ended.
async fn invoke(stack: &Stack, event: Value) -> Answer {
    match stack.invoke(event).await {
        Ok(()) => (StatusCode::OK, Json(json!({"result": "the invocation succeeded"}))),
        Err(error) => {
            let chain: Vec<String> = causes(&error).collect();
            let result = "the invocation failed: Lambda would retry it";
            (StatusCode::BAD_GATEWAY, Json(json!({"result": result, "error": chain})))
        }
    }
}

/// Changes a group at the fake Datadog, and sends its message.
async fn change(stack: State<Arc<Stack>>, Path((id, group, status)): Path<(u64, String, String)>) -> Answer {
    let change = stack.datadog.set(id, &group, &status);
    invoke(&stack, sns_event(&[change], &stack.directive())).await
}

/// What a caller of this breaker is told now.
async fn state(State(stack): State<Arc<Stack>>, Path(id): Path<String>) -> Answer {
    let mut parts = id.split('/');
    let name = parts.next().unwrap_or_default();
    match stack.client.breaker(name, &parts.collect::<Vec<_>>()) {
        Ok(breaker) => {
            let admitted = breaker.admit().is_ok();
            (
                StatusCode::OK,
                Json(json!({"breaker": breaker.id(), "state": breaker.state(), "admitted": admitted})),
            )
        }
        Err(unknown) => (StatusCode::NOT_FOUND, Json(json!({"error": unknown.to_string()}))),
    }
}

pub(crate) fn causes<'a>(error: &'a (dyn std::error::Error + 'static)) -> impl Iterator<Item = String> + 'a {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::without_login;

    #[test]
    fn a_shown_url_holds_no_password() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("rediss://app:p@ss@h/1", "rediss://h/1"),
            ("redis+sentinel://:a@h,i:7/m/0?sentinel_password=b", "redis+sentinel://h,i:7/m/0"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
