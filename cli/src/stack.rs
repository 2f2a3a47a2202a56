//! The whole path in one process: fake Datadog, function, service, store, client.
//!
//! Every part is the real one but Datadog; they speak over loopback as they would over a network, with a signing
//! secret made at the start. Left out: SNS, whose message is handed to the function directly.

use crate::fake_datadog::FakeDatadog;
use cutout::Client;
use cutout_core::webhook::Secret;
use cutout_flags::{MemoryStore, Store};
use cutout_lambda::Function;
use cutout_lambda::guard::SystemResolver;
use cutout_service::{Limits, Parts, Service, callback::CALLBACK_PATH, serve};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How long the function may take for one event.
pub const INVOCATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Any error, for a person to read.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The running parts. All stop when it is dropped.
pub struct Stack {
    /// Datadog, and its monitors.
    pub datadog: FakeDatadog,
    /// The function that reads it.
    pub function: Function,
    /// The service's address.
    pub service: SocketAddr,
    /// The service itself, for its other routes.
    pub owner: Service,
    /// A caller's client, which follows the store.
    pub client: Client,
    _tasks: JoinSet<()>,
}

/// Where flags are kept.
#[derive(Debug, Clone)]
pub enum Keep {
    /// In this process.
    Memory,
    /// In the Redis of this URL.
    Redis(String),
}

impl Keep {
    fn open(&self, scope: &str) -> Result<Arc<dyn Store>, BoxError> {
        match self {
            Keep::Memory => Ok(Arc::new(MemoryStore::new())),
            Keep::Redis(url) => Ok(cutout_flags::open(url, scope)?),
        }
    }
}

impl Stack {
    /// Starts everything for the breakers of a breakers' file (`breakers` is its text) and waits until the client follows.
    ///
    /// # Errors
    /// What could not be started, and why.
    pub async fn start(keep: &Keep, scope: &str, breakers: &str) -> Result<Stack, BoxError> {
        let store = keep.open(scope)?;
        let breakers = cutout_service::breakers::parse("the demo's breakers", breakers)?;
        let names: Vec<String> =
            breakers.declarations.iter().map(|declaration| declaration.name.clone()).collect();
        let signing = random_signing_secret();
        let secrets = vec![signing.parse::<Secret>()?];

        // A callback is refused until the breakers are declared, and so is a client that asks for one: declare first.
        store.declare(&breakers.declared()).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let service = Service::new(Parts { store: Arc::clone(&store), breakers, secrets, public_url: None });
        let router = service.router().merge(service.readiness());
        let mut tasks = JoinSet::new();
        tasks.spawn(service.run());
        tasks.spawn(serve(listener, router, Limits::default(), std::future::pending()));

        let datadog = FakeDatadog::start().await?;
        let function = Function::new(function_settings(&datadog, &signing)?, Arc::new(SystemResolver))?;
        let mut client = Client::builder_on(store);
        for name in names {
            client = client.breaker(name);
        }
        let client = client.connect().await?;
        Ok(Stack { datadog, function, service: address, owner: service, client, _tasks: tasks })
    }

    /// The line to put into a monitor's message.
    #[must_use]
    pub fn directive(&self) -> String {
        format!("{} {}", cutout_core::directive::KEYWORD, self.callback_url())
    }

    /// Where callbacks go.
    #[must_use]
    pub fn callback_url(&self) -> String {
        format!("http://{}{CALLBACK_PATH}", self.service)
    }

    /// Hands an event to the function, as Lambda would.
    ///
    /// # Errors
    /// The function's own.
    pub async fn invoke(&self, event: Value) -> Result<(), cutout_lambda::function::InvocationError> {
        self.function.handle(event, Instant::now() + INVOCATION_TIMEOUT).await
    }
}

/// What the function's environment would hold, for a service on loopback.
fn function_settings(datadog: &FakeDatadog, signing: &str) -> Result<cutout_lambda::Settings, BoxError> {
    let variables = [
        ("DD_API_KEY", "demo".to_owned()),
        ("DD_APP_KEY", "demo".to_owned()),
        ("CUTOUT_DATADOG_URL", datadog.url()),
        ("CUTOUT_SIGNING_SECRETS", signing.to_owned()),
        ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8".to_owned()),
        ("CUTOUT_CALLBACK_ALLOW_HTTP", "true".to_owned()),
    ];
    Ok(cutout_lambda::Settings::read(variables.map(|(name, value)| (name.to_owned(), value)))?)
}

/// A signing secret for this run. It never leaves the process, so a fast generator will do.
fn random_signing_secret() -> String {
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
    format!("whsec_{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
}
