//! The `cutout-envoy` binary: settings from the environment, until a signal. `cutout-envoy health` asks a running one whether it
//! lives.

use cutout_envoy::{Settings, ask, serve};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The exit code for settings that cannot be used.
const EXIT_SETTINGS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == "health") {
        return match ask(std::env::var("CUTOUT_ENVOY_HTTP_LISTEN").ok().as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => told(&format!("cutout-envoy is not healthy: {error}"), ExitCode::FAILURE),
        };
    }
    // Before anything may use TLS. An error means that there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    log_as_json();
    let variables = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    let variables = variables.collect::<BTreeMap<_, _>>();
    let settings = match Settings::read(&variables, &|path| std::fs::read_to_string(path)) {
        Ok(settings) => settings,
        Err(problems) => return told(&problems.to_string(), ExitCode::from(EXIT_SETTINGS)),
    };
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Tells a person why the program ends.
fn told(text: &str, code: ExitCode) -> ExitCode {
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}

/// The program: listen, serve until a signal.
async fn run(settings: Settings) -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (xds, http) =
        (TcpListener::bind(settings.listen).await?, TcpListener::bind(settings.http_listen).await?);
    tracing::info!(
        listen = %xds.local_addr()?, http_listen = %http.local_addr()?, hooks = settings.hooks.len(), "listening"
    );
    let signalled = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    serve(settings, xds, http, signalled).await?;
    tracing::info!("stopped");
    Ok(())
}

/// JSON lines on standard output, panics among them; `RUST_LOG` chooses, `info` unless set.
fn log_as_json() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, error = panic.payload_as_str(), "panic");
    }));
}
