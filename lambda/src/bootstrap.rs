//! The function on AWS Lambda: settings from the environment, log lines to stdout, then [`Function::handle`] for every
//! invocation. If it cannot start, one log line says all that is wrong and the process ends.

use cutout_core::Chain;
use cutout_lambda::function::InvocationError;
use cutout_lambda::guard::SystemResolver;
use cutout_lambda::{Function, Settings};
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is kept of an invocation's time to tell its failures before AWS ends the process.
const DEADLINE_MARGIN: Duration = Duration::from_millis(500);
/// Tells a failure a second time, as the runtime sees it.
const REPEATING_TARGET: &str = "lambda_runtime::layers::panic";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Only an earlier installation makes this fail, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    log_to_stdout();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(step = "start", error = %Chain(&*error), "the function cannot run");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let settings = Settings::read(environment())?;
    let function = &Function::new(settings, Arc::new(SystemResolver))?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| async move {
        match function.handle(event.payload, deadline(&event.context)).await {
            Ok(()) => Ok(None),
            Err(error) => error.batch_answer().cloned().map(Some).ok_or_else(|| diagnostic(&error)),
        }
    }))
    .await
}

/// One JSON object a line. The level is fixed: below it, libraries log requests and payloads.
fn log_to_stdout() {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    let shown =
        Targets::new().with_default(LevelFilter::INFO).with_target(REPEATING_TARGET, LevelFilter::OFF);
    tracing_subscriber::registry().with(lines).with(shown).init();
}

fn environment() -> impl Iterator<Item = (String, String)> {
    // A value that is not Unicode is read as good as it goes, and then refused by its setting's own rule.
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// When to be done: AWS tells the end of the invocation in Unix milliseconds.
fn deadline(context: &Context) -> Instant {
    let end = SystemTime::UNIX_EPOCH + Duration::from_millis(context.deadline);
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now() + left.saturating_sub(DEADLINE_MARGIN)
}

fn diagnostic(error: &InvocationError) -> Diagnostic {
    Diagnostic { error_type: error.kind(), error_message: error.to_string() }
}
