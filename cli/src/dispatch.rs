//! `cutout dispatch`: the function without AWS. Datadog's webhook comes in by HTTP, the same handler does the rest, and
//! a timer of its own makes the scheduled runs.
//!
//! Several instances may run side by side: they send the same reports, and newer wins. Nothing is kept: a message that is
//! lost when the process dies is healed by the next scheduled run, here or elsewhere.
//!
//! Left out: TLS, which ends in front of it.

mod door;
mod settings;
mod webhook;

pub(crate) use door::SECRET_HEADER;
pub(crate) use settings::VARIABLES;

use crate::ended::Failed;
use cutout_core::Chain;
use cutout_lambda::Function;
use cutout_lambda::guard::SystemResolver;
use cutout_service::{Limits, serve};
use door::Door;
use serde_json::json;
use settings::Settings;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How long one message may be worked on: what `infra/` gives the function.
pub(crate) const HANDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a scheduled run may take: what `infra/` gives the function for it.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(55);
/// How long messages at work are awaited at the end: what a message may take, and a little.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// Connections at once: Datadog's webhooks and health checks, nothing else.
const CONNECTIONS_MAX: usize = 256;

/// How the scheduled runs go.
#[derive(Debug, Default)]
pub(crate) struct Reconciled(Mutex<Option<(Instant, bool)>>);

impl Reconciled {
    fn note(&self, is_complete: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), is_complete));
    }

    /// How long ago the last run ended, and whether it was complete; none: none has ended.
    pub(crate) fn last(&self) -> Option<(Duration, bool)> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(at, is_complete)| (at.elapsed(), is_complete))
    }
}

/// Runs until it is told to stop.
///
/// # Errors
/// Every mistake in the settings, or that the address cannot be taken.
pub(crate) async fn run() -> Result<(), Failed> {
    let settings = Settings::read(crate::environment()).map_err(Failed::usage)?;
    let function = Arc::new(Function::new(settings.function, Arc::new(SystemResolver))?);
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| Failed::refused(format!("listening on {}: {error}", settings.listen)))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (stop, stopping) = watch::channel(false);
    let reconciled = Arc::new(Reconciled::default());
    let door = Door::new(Arc::clone(&function), &settings.secrets, Arc::clone(&reconciled), stopping);
    tracing::info!(listen = %listener.local_addr()?, "listening");
    let timer = reconcile_for_ever(&function, &reconciled, settings.reconcile_every);
    let told_to_stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Nobody listens only once the door is gone.
        let _ = stop.send(true);
    };
    let limits =
        Limits { connections_max: CONNECTIONS_MAX, drain_timeout: DRAIN_TIMEOUT, ..Limits::default() };
    // The timer ends with the accepting: what a run has not sent is sent by the next one, here or elsewhere.
    tokio::select! {
        () = serve(listener, door.router(), limits, told_to_stop) => {}
        () = timer => {}
    }
    door.drained(DRAIN_TIMEOUT).await;
    tracing::info!("stopped");
    Ok(())
}

/// A scheduled run at once, and then at each tick. A run that takes longer than a tick delays the next.
async fn reconcile_for_ever(function: &Function, reconciled: &Reconciled, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ended = function.handle(json!({"cutout": "reconcile"}), Instant::now() + RECONCILE_TIMEOUT).await;
        if let Err(error) = &ended {
            tracing::error!(
                error = %Chain(error),
                retryable = error.is_retryable(),
                "the scheduled run failed"
            );
        }
        reconciled.note(ended.is_ok());
    }
}
