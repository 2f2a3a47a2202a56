//! What the examples share: three banks that can fail, a story in which one of them does, and the way from its failing calls to the
//! refusals.
//!
//! With `CUTOUT_REDIS_URL` set the examples follow that store for a while, in the scope `CUTOUT_SCOPE`, and whoever owns the breakers there opens
//! them (`cutout dev --redis URL`, for example). Without it the whole path runs in this process, with a fake Datadog, and plays the story.

#![allow(dead_code, reason = "each example uses its part")]

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use cutout::Client;
use cutout_cli::fake_datadog::sns_event;
use cutout_cli::stack::{Keep, Stack};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The banks' codes, as the monitor's groups name them.
pub(crate) const BANKS: [&str; 3] = ["0001", "0002", "0003"];
/// The bank that fails.
pub(crate) const FAILING: &str = "0002";
const BANKS_MONITOR: u64 = 5_200_001;
/// Watches the second way to the banks.
const AGGREGATOR_MONITOR: u64 = 5_200_002;
const AGGREGATOR: &str = "env:prod";
const BREAKERS: &str = r#"
[[breaker]]
name     = "bank-charge"
key      = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "1s"
ramp     = "2s"
probe    = "0%"
refuse   = ["charge"]

[[breaker]]
name     = "aggregator"
monitors = { ids = [5200002] }
min_open = "1s"
ramp     = "2s"
probe    = "0%"
"#;
/// How long any step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a store of somebody else's is followed.
const FOLLOW_FOR: Duration = Duration::from_secs(20);
const BETWEEN: Duration = Duration::from_millis(5);

/// What became of one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Paid {
    Charged,
    /// By the second way, since the first refused.
    Elsewhere,
    /// Written down to be charged later.
    Later,
    Refused,
    Failed,
}

/// The stage of an example.
pub(crate) struct Stage {
    pub(crate) client: Client,
    /// The banks' base URL; a charge is a POST to `<base>/<bank>`.
    pub(crate) banks: String,
    down: Arc<[AtomicBool; BANKS.len()]>,
    path: Option<Stack>,
}

impl Stage {
    pub(crate) async fn set() -> Result<Stage, BoxError> {
        // Before anything may use TLS. An error means that there is a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (banks, down) = open_banks().await?;
        let (client, path) = match std::env::var("CUTOUT_REDIS_URL") {
            Ok(url) if !url.is_empty() => {
                let scope =
                    std::env::var("CUTOUT_SCOPE").unwrap_or_else(|_| cutout::DEFAULT_SCOPE.to_owned());
                (Client::builder(url).scope(scope).allow_undeclared().connect().await?, None)
            }
            _ => {
                let stack = Stack::start(&Keep::Memory, "example", BREAKERS).await?;
                stack.datadog.create_monitor(BANKS_MONITOR, "Bank API error rate", &["cutout"]);
                BANKS.iter().for_each(|bank| drop(stack.datadog.set(BANKS_MONITOR, &group(bank), "OK")));
                stack.datadog.create_monitor(AGGREGATOR_MONITOR, "Aggregator error rate", &["cutout"]);
                let _ = stack.datadog.set(AGGREGATOR_MONITOR, AGGREGATOR, "OK");
                (stack.client.clone(), Some(stack))
            }
        };
        Ok(Stage { client, banks, down, path })
    }

    /// Charges all the time while the story goes on. `refused`: what becomes of a payment while its bank's breaker is open; `at_last`: while the
    /// aggregator's is open too, if the example has to do with it.
    pub(crate) async fn play(
        &self,
        charge: impl AsyncFn(&str) -> Paid,
        refused: Paid,
        at_last: Option<Paid>,
    ) -> Result<(), BoxError> {
        if self.path.is_none() {
            return follow(charge).await;
        }
        let well = |it: &Scene| BANKS.iter().all(|bank| it.count(bank, Paid::Charged) > 20);
        told("all banks are well", &charge_until(&charge, "all are charged", well).await?)?;
        self.down(true)?;
        let fails = |it: &Scene| it.count(FAILING, Paid::Failed) >= 20;
        told("bank 0002 fails", &charge_until(&charge, "failures", fails).await?)?;
        self.alert(BANKS_MONITOR, &group(FAILING), "Alert").await?;
        let open = charge_until(&charge, "refusals", |it| it.count(FAILING, refused) >= 50).await?;
        told("its monitor has alerted", &open)?;
        let mut others = BANKS.iter().filter(|bank| **bank != FAILING);
        check(
            others.all(|bank| open.only(bank, Paid::Charged)),
            "a payment of another bank was not charged",
        )?;
        if let Some(at_last) = at_last {
            self.alert(AGGREGATOR_MONITOR, AGGREGATOR, "Alert").await?;
            let both = charge_until(&charge, "both refuse", |it| it.count(FAILING, at_last) >= 50).await?;
            told("the aggregator's too", &both)?;
        }
        self.down(false)?;
        self.alert(BANKS_MONITOR, &group(FAILING), "OK").await?;
        let ramp = charge_until(&charge, "the ramp", |it| it.last(FAILING, Paid::Charged) >= 200).await?;
        told("bank 0002 has recovered", &ramp)?;
        check(ramp.count(FAILING, at_last.unwrap_or(refused)) > 0, "recovery is gradual")?;
        writeln!(std::io::stdout(), "as it should be")?;
        Ok(())
    }

    fn down(&self, down: bool) -> Result<(), BoxError> {
        let of = BANKS.iter().zip(self.down.iter()).find(|(bank, _)| **bank == FAILING);
        of.ok_or("no such bank")?.1.store(down, Ordering::Relaxed);
        Ok(())
    }

    /// The monitor's group changes, and its message goes the way of all messages.
    async fn alert(&self, monitor: u64, group: &str, status: &str) -> Result<(), BoxError> {
        let stack = self.path.as_ref().ok_or("there is no path here")?;
        let change = stack.datadog.set(monitor, group, status);
        stack.invoke(sns_event(std::slice::from_ref(&change), &stack.directive())).await?;
        Ok(())
    }
}

/// What became of the payments of one scene.
#[derive(Debug, Default)]
struct Scene {
    counts: BTreeMap<(&'static str, Paid), u64>,
    /// How many payments in a row ended like the last one.
    in_a_row: BTreeMap<&'static str, (Option<Paid>, u64)>,
}

impl Scene {
    fn add(&mut self, bank: &'static str, paid: Paid) {
        *self.counts.entry((bank, paid)).or_default() += 1;
        let (last, times) = self.in_a_row.entry(bank).or_default();
        *times = if *last == Some(paid) { *times + 1 } else { 1 };
        *last = Some(paid);
    }

    fn count(&self, bank: &'static str, paid: Paid) -> u64 {
        self.counts.get(&(bank, paid)).copied().unwrap_or_default()
    }

    fn only(&self, bank: &'static str, paid: Paid) -> bool {
        self.counts.keys().filter(|(of, _)| *of == bank).all(|(_, ended)| *ended == paid)
    }

    /// How many of the last payments in a row ended so.
    fn last(&self, bank: &str, paid: Paid) -> u64 {
        self.in_a_row.get(bank).filter(|(last, _)| *last == Some(paid)).map_or(0, |(_, times)| *times)
    }
}

/// Charges every bank in turn until something holds.
async fn charge_until(
    charge: &impl AsyncFn(&str) -> Paid,
    what: &str,
    holds: impl Fn(&Scene) -> bool,
) -> Result<Scene, BoxError> {
    let (mut scene, deadline) = (Scene::default(), Instant::now() + STEP_TIMEOUT);
    while !holds(&scene) {
        check(Instant::now() < deadline, &format!("not within {STEP_TIMEOUT:?}: {what}"))?;
        for bank in BANKS {
            scene.add(bank, charge(bank).await);
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(scene)
}

/// Charges while others decide.
async fn follow(charge: impl AsyncFn(&str) -> Paid) -> Result<(), BoxError> {
    let end = Instant::now() + FOLLOW_FOR;
    while Instant::now() < end {
        let second = Instant::now() + Duration::from_secs(1);
        let scene = charge_until(&charge, "a second", |_| Instant::now() >= second).await?;
        told("a second", &scene)?;
    }
    Ok(())
}

fn told(what: &str, scene: &Scene) -> Result<(), BoxError> {
    let counts = scene.counts.iter().map(|((bank, paid), count)| format!("{bank} {count} {paid:?}"));
    writeln!(std::io::stdout(), "{what:<26} {}", counts.collect::<Vec<_>>().join(" · "))?;
    Ok(())
}

fn check(holds: bool, otherwise: &str) -> Result<(), BoxError> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn group(bank: &str) -> String {
    format!("bank_code:{bank},env:prod")
}

/// The banks: one server on loopback, a path for each.
async fn open_banks() -> Result<(String, Arc<[AtomicBool; BANKS.len()]>), BoxError> {
    let down = Arc::<[AtomicBool; BANKS.len()]>::default();
    let router = Router::new().route("/{bank}", post(charged)).with_state(Arc::clone(&down));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    // It ends with the program.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((base, down))
}

async fn charged(
    State(down): State<Arc<[AtomicBool; BANKS.len()]>>,
    Path(bank): Path<String>,
) -> (StatusCode, &'static str) {
    let of = BANKS.iter().zip(down.iter()).find(|(code, _)| **code == bank);
    match of {
        None if bank == "aggregator" => (StatusCode::OK, "charged"),
        None => (StatusCode::NOT_FOUND, "no such bank"),
        Some((_, down)) if down.load(Ordering::Relaxed) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        Some(_) => (StatusCode::OK, "charged"),
    }
}
