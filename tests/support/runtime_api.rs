//! A host of the Lambda Runtime API: what AWS is to a function's process.
//!
//! The process asks for the next invocation, and answers it with a response or an error; at start it may report an
//! init error. Source: AWS, "Using the Lambda runtime API for custom runtimes", version 2018-06-01. Left out: asynchronous retries,
//! extensions, response streaming. One invocation at a time is handed out, as AWS does to one process.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How much longer than its own deadline an invocation is awaited, before the test fails.
const ANSWER_GRACE: Duration = Duration::from_secs(30);

/// The running host. Stops when dropped.
pub struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

type Outcome = Result<Value, Value>;

struct Shared {
    waiting: mpsc::UnboundedSender<Invocation>,
    /// Taken by the process that polls.
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    init_error: Mutex<Option<Value>>,
    next_id: AtomicU64,
}

struct Invocation {
    id: String,
    deadline_ms: u128,
    event: Value,
}

impl RuntimeApi {
    /// Starts it on a free port of 127.0.0.1.
    pub async fn start() -> RuntimeApi {
        let (waiting, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            waiting,
            queue: tokio::sync::Mutex::new(queue),
            running: Mutex::default(),
            init_error: Mutex::default(),
            next_id: AtomicU64::new(1),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(shared.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        RuntimeApi { address, shared, server }
    }

    /// The command that runs a function's binary under this host, with nothing of the test's own environment but what
    /// AWS sets too. It is killed when its child is dropped.
    pub fn command(&self, binary: &FilePath) -> Command {
        let mut command = Command::new(binary);
        command.kill_on_drop(true).env_clear().envs([
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "cutout"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/cutout"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "test"),
        ]);
        command
    }

    /// Invokes the function and awaits its response, or the body of its error.
    ///
    /// # Panics
    /// If the process answers neither within `timeout` and a grace.
    pub async fn invoke(&self, event: Value, timeout: Duration) -> Result<Value, Value> {
        let id =
            format!("00000000-0000-4000-8000-{:012}", self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.shared.running.lock().unwrap().insert(id.clone(), answer);
        let end = SystemTime::now() + timeout;
        let deadline_ms = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        self.shared.waiting.send(Invocation { id, deadline_ms, event }).unwrap();
        let outcome = tokio::time::timeout(timeout + ANSWER_GRACE, answered).await;
        outcome.expect("the function answers before its deadline").expect("each invocation is answered")
    }

    /// What the process said was wrong at its start, if it did.
    pub fn init_error(&self) -> Option<Value> {
        self.shared.init_error.lock().unwrap().clone()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn finish(&self, id: &str, outcome: Outcome) -> StatusCode {
        let answer = self.running.lock().unwrap().remove(id);
        match answer.map(|answer| answer.send(outcome)) {
            Some(_) => StatusCode::ACCEPTED,
            None => StatusCode::BAD_REQUEST,
        }
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let invocation = shared.queue.lock().await.recv().await.unwrap();
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.id),
        ("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:ap-northeast-1:123456789012:function:cutout".into(),
        ),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".into()),
    ];
    (headers, Json(invocation.event)).into_response()
}

async fn response(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: String) -> StatusCode {
    shared.finish(&id, Ok(serde_json::from_str(&body).unwrap()))
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: String) -> StatusCode {
    shared.finish(&id, Err(serde_json::from_str(&body).unwrap()))
}

async fn init_error(State(shared): State<Arc<Shared>>, body: String) -> StatusCode {
    *shared.init_error.lock().unwrap() = Some(serde_json::from_str(&body).unwrap());
    StatusCode::ACCEPTED
}
