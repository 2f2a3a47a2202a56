//! Callback in, flag out.
//!
//! [`Service::router`] takes signed callbacks and commits what follows from them; [`Service::run`] declares the
//! breakers and does what time alone brings. A team mounts both in its own axum service, or runs the
//! `cutout-service` binary, which adds [`Service::readiness`], [`Settings`] and [`serve()`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use cutout_service::{Parts, Service, breakers, callback::CALLBACK_PATH};
//! use tower::ServiceExt;
//!
//! let file = r#"
//!     [[breaker]]
//!     name     = "bank-charge"
//!     key      = ["bank_code"]
//!     monitors = { ids = [5200001] }
//! "#;
//! let service = Service::new(Parts {
//!     store: cutout_flags::open("memory:", "default")?, // one process; otherwise a Redis
//!     breakers: breakers::parse("breakers.toml", file)?,
//!     secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?],
//!     public_url: None,
//! });
//! let own: Router = Router::new().route("/charges", get(async || "the team's own"));
//! let app = own.merge(service.router());
//! tokio::spawn(service.run()); // declares the breakers, and does what time alone brings
//!
//! let unsigned = Request::post(CALLBACK_PATH).body(Body::from("{}"))?;
//! assert_eq!(app.clone().oneshot(unsigned).await?.status(), 401);
//! assert_eq!(app.oneshot(Request::get("/charges").body(Body::empty())?).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! With the store gone a callback is answered 503, so that it comes again, and callers go on by what they know.
//!
//! Every instance is alike: what they do at once is kept apart by the store's compare-and-set. The service never
//! calls Datadog or the function.

pub mod api;
pub mod breakers;
pub mod callback;
pub mod duration;
pub mod limits;
pub mod metrics;
pub mod notify;
pub mod operators;
pub mod page;
pub mod reload;
pub mod serve;
pub mod settings;
pub mod share;

mod answer;
mod apply;
mod backoff;
mod board;
mod decision;
mod drill;
mod health;
mod nearest;
mod order;
mod pause;
mod people;
mod pulse;
mod queue;
mod readiness;
mod sweep;
mod term;
mod timers;

use axum::Router;
use axum::routing::post;
use cutout_core::webhook::Secret;
use cutout_core::{BreakerId, Chain, Flag, Order, Pause, Problems};
use cutout_flags::{Follower, LocalClock, Sink, Store, Synced, Update};
use order::Caution;
use std::fmt;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use url::Url;

pub use breakers::Breakers;
pub use health::{HEALTH_TIMEOUT, health};
pub use metrics::{Exposition, ExpositionError};
pub use notify::Destination;
pub use operators::{Operator, Operators, Role};
pub use order::{BY_MAX_BYTES, OrderError, WHY_MAX_BYTES};
pub use page::Page;
pub use reload::Reloaded;
pub use serve::{Limits, serve};
pub use settings::Settings;
pub use term::StandsBack;

/// How soon the flags are followed although the breakers could not be declared yet.
const FOLLOW_WITHIN: Duration = Duration::from_secs(1);

/// What a service is made of.
pub struct Parts {
    /// Where breakers and flags are kept.
    pub store: Arc<dyn Store>,
    /// The breakers.
    pub breakers: Breakers,
    /// Any of these may have signed a callback.
    pub secrets: Vec<Secret>,
    /// The URL that monitors name; callbacks sent to another are refused. None: not checked.
    pub public_url: Option<Url>,
}

impl fmt::Debug for Parts {
    /// Without the store, whose URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("breakers", &self.breakers)
            .field("secrets", &self.secrets)
            .field("public_url", &self.public_url.as_ref().map(Url::as_str))
            .finish_non_exhaustive()
    }
}

/// The owning service: callbacks in, flags out. Cheap to clone: clones are one service.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, http::Request};
/// use cutout_core::{Act, BreakerId, Forced, Order, State};
/// use cutout_service::{Operators, Page, Parts, Service, breakers};
/// use tower::ServiceExt;
///
/// # let store = cutout_flags::open("memory:", "default")?;
/// # let breakers = breakers::parse("breakers.toml", "[[breaker]]\nname = 'rates'\nmonitors = { ids = [5200001] }\n")?;
/// let service = Service::new(Parts { store, breakers, secrets: Vec::new(), public_url: None });
/// let app = service.router().merge(service.readiness());
/// let operators: Router = service.page(Operators::default(), Page::default()); // and the API: on an address of its own
/// # drop(operators);
///
/// let act = Act::Force { state: Forced::Open, until_ms: None };
/// let order = Order { by: "ann".into(), why: "the vendor asked for it".into(), act };
/// let rates = BreakerId::new::<&str>("rates", &[]);
/// assert_eq!(service.order(&rates, &order).await?.state, State::Open, "what callers see from now on");
/// assert_eq!(service.pause("ann", "a migration", None).await?.by, "ann");
/// service.resume("ann", "it is done").await?;
///
/// service.drain(); // the process is about to end
/// assert_eq!(app.oneshot(Request::get("/readyz").body(Body::empty())?).await?.status(), 503);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

/// What of the parts never changes.
#[derive(Debug)]
struct Fixed {
    store: Arc<dyn Store>,
    secrets: Vec<Secret>,
    public_url: Option<Url>,
}

/// What all requests and timers share.
#[derive(Debug)]
struct Shared {
    parts: Fixed,
    /// The breakers, which a newer file replaces.
    in_use: reload::InUse,
    /// Whether the breakers were declared in the store since the start, and every flag says what they mean.
    declared: AtomicBool,
    /// Whether it is about to end: nothing new should come.
    draining: AtomicBool,
    /// Whether what the store acknowledges outlives its process, as it said when it was asked.
    durable: Mutex<Option<bool>>,
    /// What people have ordered.
    people: people::People,
    /// The flags as they are followed.
    board: board::Board,
    /// Asks for a look at the pause.
    pause_asked: Notify,
    /// The callbacks of each monitor, in line.
    queues: queue::Queues,
    /// The places for streams of the API.
    streams: Arc<Semaphore>,
    /// Whether streams are to end.
    closing: watch::Sender<bool>,
    /// When this instance last heard of what feeds it.
    pulse: pulse::Pulse,
    /// What was last seen of the store by who asks for readiness.
    looks: readiness::Looks,
    /// This machine's clock.
    clock: LocalClock,
}

impl Shared {
    /// How many streams of the API are open.
    fn streams_open(&self) -> usize {
        api::STREAMS_MAX - self.streams.available_permits()
    }

    /// The breakers at work. Whoever decides takes them once for each round, so that no decision mixes two files.
    fn breakers(&self) -> Arc<Breakers> {
        self.in_use.breakers()
    }

    fn durable(&self) -> MutexGuard<'_, Option<bool>> {
        // One word: a panic leaves it whole.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// A service that does nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Service {
        Service::with_clock(parts, LocalClock::default())
    }

    /// The same by a clock of one's own: when timers are looked at depends on it, what they decide only on the store's.
    /// The age of signatures is measured by the system's clock all the same.
    #[must_use]
    pub fn with_clock(parts: Parts, clock: LocalClock) -> Service {
        let (declared, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        let (durable, people) = (Mutex::default(), people::People::default());
        let board = board::Board::new(clock.clone());
        let (closing, streams) = (watch::Sender::new(false), Arc::new(Semaphore::new(api::STREAMS_MAX)));
        let pulse = pulse::Pulse::new(clock.now_ms());
        let Parts { store, breakers, secrets, public_url } = parts;
        let (parts, in_use) =
            (Fixed { store, secrets, public_url }, reload::InUse::new(breakers, clock.now_ms()));
        Service {
            shared: Arc::new(Shared {
                parts,
                in_use,
                declared,
                draining,
                durable,
                people,
                board,
                pause_asked: Notify::new(),
                queues: queue::Queues::default(),
                streams,
                closing,
                pulse,
                looks: readiness::Looks::default(),
                clock,
            }),
        }
    }

    /// The callback's route within its limits: what a team mounts.
    pub fn router(&self) -> Router {
        let route = post(callback::receive).with_state(self.shared.clone());
        let router = Router::new().route(callback::CALLBACK_PATH, route);
        let bounds = limits::Bounds {
            of: limits::Of::Callbacks,
            requests_max: limits::REQUESTS_MAX,
            request_timeout: limits::REQUEST_TIMEOUT,
            body_max_bytes: callback::BODY_MAX_BYTES,
            answer: answer::error,
        };
        limits::limited(router, bounds)
    }

    /// The operators' API under `/v1`, for these operators alone: to be nested or merged beside the rest, or served on an
    /// address of its own. It shows what [`Service::run`] follows.
    pub fn api(&self, operators: Operators) -> Router {
        api::router(api::Api::new(self.shared.clone(), operators, None))
    }

    /// The operators' page at `/`, and the API beside it: what [`Service::api`] gives, and what people see and do in a browser.
    /// Who mounts it at another path says so in `page`.
    pub fn page(&self, operators: Operators, page: Page) -> Router {
        page::router(self.shared.clone(), operators, page)
    }

    /// Puts other breakers in the place of those at work: every flag then says what they mean. What has mistakes, and what has a lower
    /// revision, changes nothing; the mistakes are logged and told by `/readyz`.
    pub fn reload(&self, read: Result<Breakers, Problems>) -> Reloaded {
        reload::reload(&self.shared, read)
    }

    /// From now on `/readyz` says that nothing new should come, while everything is still answered.
    pub fn drain(&self) {
        self.shared.draining.store(true, Relaxed);
    }

    /// `router`, whose answers ask their clients to leave the connection after [`Service::drain`]: otherwise one that is used again and
    /// again would be cut between two requests in the end.
    pub fn parting(&self, router: Router) -> Router {
        serve::parting(router, self.shared.clone())
    }

    /// Ends the streams of the API, which would otherwise hold up the end of a server for long.
    pub fn end_streams(&self) {
        self.shared.closing.send_replace(true);
    }

    /// `/healthz` (the process answers) and `/readyz` (a callback could be committed here now), with how things are as JSON.
    pub fn readiness(&self) -> Router {
        readiness::router(self.shared.clone())
    }

    /// `/metrics`: everything that was counted in this process, and how the breakers are now. Another recorder than
    /// [`Exposition`] gets the same from [`Service::run`].
    pub fn metrics(&self, exposition: Exposition) -> Router {
        metrics::router(self.shared.clone(), exposition)
    }

    /// Carries out what a person orders of one breaker, and yields the flag that callers see then. Whoever calls this has
    /// made sure who the person is.
    ///
    /// # Errors
    /// [`OrderError`]; then nothing was written.
    pub async fn order(&self, id: &BreakerId, order: &Order) -> Result<Flag, OrderError> {
        order::obey(&self.shared, id, order).await
    }

    /// Pauses the scope: until `until_ms` (Unix milliseconds of the store's clock; none: until somebody resumes) no signal
    /// opens anything. What is open recovers as its signals say, and people may still force states.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn pause(&self, by: &str, why: &str, until_ms: Option<i64>) -> Result<Pause, OrderError> {
        order::pause(&self.shared, by, why, until_ms, &Caution::Blind).await
    }

    /// Ends the pause: what fires opens at once.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn resume(&self, by: &str, why: &str) -> Result<(), OrderError> {
        order::resume(&self.shared, by, why, &Caution::Blind).await
    }

    /// Tells these destinations of transitions and of what people order, shared with all other instances of the store. Never returns; without
    /// destinations it does nothing. The process must have a TLS provider.
    pub fn notify(&self, destinations: Vec<Destination>) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move { notify::run(&shared, destinations).await }
    }

    /// Declares the breakers, follows their flags, does what time alone brings, and brings back what people had ordered
    /// when the store loses it. Never returns; dropped to stop. Callbacks are also taken without it, but half-open
    /// would then not end in the store.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.shared.clone();
        async move {
            let due = Arc::new(timers::Due::new(shared.clock.clone()));
            let watch = Arc::new(Watch { due: due.clone(), shared: shared.clone() });
            let follower = Follower::with_clock(shared.parts.store.clone(), watch, shared.clock.clone());
            let timers = timers::run(&shared, &due);
            let declared = Notify::new();
            let follower = async {
                // The first snapshot then shows the epoch, also of a store that was empty.
                let _ = tokio::time::timeout(FOLLOW_WITHIN, declared.notified()).await;
                follower.run().await;
            };
            let people = people::run(&shared);
            let others = async { tokio::join!(pause::run(&shared), metrics::run(&shared)) };
            tokio::join!(declare(&shared, &declared), follower, timers, people, others);
        }
    }
}

/// What this instance learns from the flags.
struct Watch {
    due: Arc<timers::Due>,
    shared: Arc<Shared>,
}

impl Sink for Watch {
    fn update(&self, updates: &[Update]) {
        self.due.update(updates);
        self.shared.people.update(updates);
        self.shared.board.update(updates);
    }

    fn synced(&self, at: &Synced) {
        self.due.synced(at);
        self.shared.people.synced(at);
        self.shared.board.synced(at);
    }
}

/// Declares the breakers, and again when others are put in their place. Never returns.
async fn declare(shared: &Shared, declared_once: &Notify) {
    declare_now(shared, declared_once).await;
    warn_if_it_forgets(shared).await;
    loop {
        shared.in_use.replaced.notified().await;
        declare_now(shared, declared_once).await;
        // A callback that was decided by the file before may have been written after the sweep.
        tokio::time::sleep(limits::REQUEST_TIMEOUT).await;
        if let Err(error) = sweep::sweep(shared).await {
            tracing::error!(error = %Chain(&error), "the flags cannot be looked at once more");
        }
    }
}

/// Declares the breakers, however long the store is away, and makes the flags say what they mean.
async fn declare_now(shared: &Shared, declared_once: &Notify) {
    let mut backoff = backoff::Backoff::default();
    let mut told = false;
    loop {
        let declared = async {
            let term = term::declare(shared).await?;
            declared_once.notify_one();
            sweep::sweep(shared).await?;
            Ok::<_, term::TermError>(term)
        };
        match declared.await {
            Ok(term) => {
                shared.declared.store(true, Relaxed);
                let breakers = shared.breakers().declarations.len();
                tracing::info!(breakers, epoch = term.epoch.as_str(), revision = term.revision, "declared");
                return;
            }
            Err(error) => {
                if !std::mem::replace(&mut told, matches!(error, term::TermError::StandsBack(_))) {
                    tracing::error!(error = %Chain(&error), "the breakers cannot be declared: trying again");
                }
                backoff.wait().await;
            }
        }
    }
}

/// Warns where it can be seen that the store keeps nothing. A store that may not be asked is believed.
async fn warn_if_it_forgets(shared: &Shared) {
    let is_durable = shared.parts.store.is_durable().await;
    *shared.durable() = is_durable.as_ref().copied().unwrap_or_default();
    match is_durable {
        Ok(Some(false)) => tracing::warn!(
            remedy = "set appendonly yes, and appendfsync always where the disk is slow",
            "the store keeps no append-only file: a restart loses all flags until the next scheduled run"
        ),
        Ok(_) => {}
        Err(error) => tracing::debug!(error = %Chain(&error), "the store does not tell what it keeps"),
    }
}

#[cfg(test)]
mod tests;
