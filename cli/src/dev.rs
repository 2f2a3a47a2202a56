//! `cutout dev`: the whole path left running, with a door for one's own messages.
//!
//! What Lambda would do is a POST here: its body is the event. A second route changes a group at the fake Datadog and sends
//! the message that Datadog would send. The ports are the same each time unless they are taken, so that what a page tells to
//! type can be typed.

use crate::api::TOKEN_VARIABLE;
use crate::fake_datadog::sns_event;
use crate::private_redis::PrivateRedis;
use crate::stack::{BoxError, Keep, Stack};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cutout_service::operators::TOKEN_MIN_BYTES;
use cutout_service::{Limits, Operators, Page, serve};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::future::pending;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

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
/// The door's port, unless it is taken.
const DOOR_PORT: u16 = 8090;
/// The port of the operators' API and page, unless it is taken: where the operators' commands ask.
const OPERATORS_PORT: u16 = 8081;
/// The port of the private Redis, unless it is taken.
const REDIS_PORT: u16 = 6390;
/// Whoever bears the token.
const OPERATOR: &str = "you";

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
            let private = PrivateRedis::start(REDIS_PORT).await?;
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
    let mut tasks = JoinSet::new();
    let operators = operators(&stack, &mut tasks).await?;
    let listener = listen(DOOR_PORT).await?;
    tell(&stack, &keep, &operators, &format!("http://{}", listener.local_addr()?))?;
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

/// A listener on this port of loopback, or on any free one if that is taken.
pub(crate) async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(("127.0.0.1", 0)).await
        }
        bound => bound,
    }
}

/// Serves the operators' API and page to whoever bears the token of the environment; yields what to tell of it.
async fn operators(stack: &Stack, tasks: &mut JoinSet<()>) -> Result<String, BoxError> {
    let Some(token) = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty()) else {
        return Ok(format!("nobody ({TOKEN_VARIABLE}, {TOKEN_MIN_BYTES} characters or more, lets you in)"));
    };
    let token = token.trim();
    if token.len() < TOKEN_MIN_BYTES {
        return Err(format!("{TOKEN_VARIABLE} is shorter than {TOKEN_MIN_BYTES} characters").into());
    }
    let hash: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let operators = Operators::parse(TOKEN_VARIABLE, &format!("{OPERATOR}:{hash}:operator"))?;
    let listener = listen(OPERATORS_PORT).await?;
    let told = format!("http://{}", listener.local_addr()?);
    let page = stack.owner.page(operators, Page::default());
    tasks.spawn(serve(listener, page, Limits::default(), pending()));
    Ok(told)
}

fn tell(stack: &Stack, keep: &Keep, operators: &str, door: &str) -> Result<(), BoxError> {
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
         operators           {operators}\n\
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
