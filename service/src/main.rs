//! The `cutout-service` binary: settings from the environment, one router, until a signal. `cutout-service health` asks a
//! running one whether it lives.

use cutout_service::reload::follow;
use cutout_service::settings::OperatorsAt;
use cutout_service::{Exposition, Limits, Service, Settings, health, serve};
use std::collections::BTreeMap;
use std::future::pending;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// A callback is many small allocations, freed by another thread than made them as often as not, for which glibc's takes a lock: with it
/// the service takes half as many callbacks a second (docs/benchmarks.md).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for settings that cannot be used.
const EXIT_SETTINGS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == "health") {
        return told(health(std::env::var("CUTOUT_LISTEN").ok().as_deref()));
    }
    // Before anything may use TLS. An error means that there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    log_as_json();
    let variables = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    let settings =
        match Settings::read(&variables.collect::<BTreeMap<_, _>>(), &|path| std::fs::read_to_string(path)) {
            Ok(settings) => settings,
            Err(problems) => {
                // If standard error is closed there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "{problems}");
                return ExitCode::from(EXIT_SETTINGS);
            }
        };
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the service ends");
            ExitCode::FAILURE
        }
    }
}

/// The verdict as an exit code.
fn told(healthy: std::io::Result<()>) -> ExitCode {
    match healthy {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "the service is not healthy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The program: listen, serve and run until a signal, drain.
async fn run(settings: Settings) -> std::io::Result<()> {
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(settings.listen).await?;
    tracing::info!(listen = %listener.local_addr()?, "listening");
    let operators = match settings.operators {
        Some(OperatorsAt { listen, operators, page }) => {
            Some((listen_for_operators(listen).await?, operators, page))
        }
        None => None,
    };
    let metrics = match settings.metrics_listen {
        Some(listen) => Some((listen_for_metrics(listen).await?, count()?)),
        None => None,
    };
    let service = Service::new(settings.parts);
    let (stop, stopped) = watch::channel(());
    let router = service.parting(service.router().merge(service.readiness()));
    let callbacks = serve(listener, router, Limits::default(), ended(stopped.clone()));
    let operators = async {
        if let Some((listener, operators, page)) = operators {
            let router = service.parting(service.page(operators, page));
            serve(listener, router, Limits::default(), ended(stopped)).await;
        }
    };
    let stopping = async {
        let wait = if signals.next().await == Asked::ToEnd { settings.drain } else { Duration::ZERO };
        service.drain();
        tracing::info!(drain_ms = wait.as_millis(), "not ready any more");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = signals.next() => return,
        }
        drop(stop);
        service.end_streams();
        signals.next().await;
    };
    let mut hangup = signal(SignalKind::hangup())?;
    let reloads = follow(&service, &settings.breakers_file, async || {
        hangup.recv().await;
    });
    let notifications = service.notify(settings.notify);
    let metrics = async {
        if let Some((listener, exposition)) = metrics {
            let router = service.metrics(exposition.clone()).merge(service.readiness());
            tokio::join!(serve(listener, router, Limits::default(), pending()), exposition.run());
        }
    };
    tokio::select! {
        _ = async { tokio::join!(callbacks, operators) } => {}
        () = stopping => return Err(std::io::Error::other("cut short by a second signal")),
        // None of them ends: they are dropped when serving has ended.
        _ = async { tokio::join!(service.run(), metrics, reloads, notifications) } => {}
    }
    tracing::info!("stopped");
    Ok(())
}

async fn listen_for_operators(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(operators_listen = %listener.local_addr()?, "listening for operators");
    if !listen.ip().is_loopback() {
        tracing::warn!(
            "the operators' API can be reached from outside: put TLS in front of it, tokens come in plain text"
        );
    }
    Ok(listener)
}

async fn listen_for_metrics(listen: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(metrics_listen = %listener.local_addr()?, "listening for metrics");
    Ok(listener)
}

/// From now on what is counted is kept.
fn count() -> std::io::Result<Exposition> {
    Exposition::install().map_err(std::io::Error::other)
}

/// Until the other side is dropped.
async fn ended(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

/// What a signal asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// An orchestrator's: it needs time to send requests elsewhere.
    ToEnd,
    /// A person's at a terminal: nobody else is waiting.
    ToEndAtOnce,
}

/// The signals that end the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::ToEndAtOnce,
            _ = self.terminate.recv() => Asked::ToEnd,
        }
    }
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
