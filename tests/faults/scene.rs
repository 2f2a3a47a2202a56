//! What every scene is made of: instances of the service, a client, and the table of figures with its violations.

use crate::store::Found;
use crate::wire::{Sender, URL};
use crate::world::{BREAKER, Monitor};
use cutout::{Client, State};
use cutout_tests::service::ServiceProcess;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long anything may take before its absence is a violation.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A storm's callbacks would fill the memory with their lines.
const LOG: &str = "warn,cutout_service=info,cutout_service::callback=warn,cutout_service::decision=warn";

/// Starts instances of the service for a breakers' file, and a sender to all of them.
pub(crate) fn services(count: usize, redis_url: &str, breakers: &str) -> (Vec<ServiceProcess>, Sender) {
    let more = [("CUTOUT_PUBLIC_URL", URL), ("RUST_LOG", LOG)];
    let start = |_| ServiceProcess::start(redis_url, breakers, &more);
    let services: Vec<ServiceProcess> = (0..count).map(start).collect();
    for service in &services {
        let _ = service.lines_at_least(1, "declared");
    }
    let sender = Sender::to(services.iter().map(ServiceProcess::at));
    (services, sender)
}

/// A process that follows the flags.
pub(crate) async fn client(redis_url: &str) -> Client {
    Client::builder(redis_url).breaker(BREAKER).connect().await.unwrap()
}

/// How many breakers are open for this client without reason, or not open.
pub(crate) fn wrong_for(client: &Client, monitors: &[Monitor]) -> usize {
    let all = monitors.iter().flat_map(Monitor::must_be_open);
    all.filter(|(id, open)| is_open(client, id) != *open).count()
}

/// Whether a breaker is open for this client.
pub(crate) fn is_open(client: &Client, id: &cutout_core::BreakerId) -> bool {
    let key: Vec<&str> = id.as_str().split('/').skip(1).collect();
    client.breaker(BREAKER, &key).unwrap().state() == State::Open
}

/// How many groups are not as they should be in the store.
pub(crate) fn wrong_in(found: &Found, monitors: &[Monitor]) -> usize {
    monitors.iter().map(|monitor| monitor.wrong(found)).sum()
}

/// Waits until `holds`, and tells how long that took; none: it does not come.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) -> Option<Duration> {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > PATIENCE {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Some(started.elapsed())
}

/// Lets a time drawn by chance pass.
pub(crate) async fn pass(range_ms: std::ops::RangeInclusive<u64>) {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(range_ms))).await;
}

/// The figures of all scenes, and what must not be.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(String, String, String)>,
    violations: Vec<String>,
}

impl Table {
    /// A figure.
    pub(crate) fn figure(&mut self, scene: &str, what: &str, value: impl Display) {
        self.rows.push((scene.to_owned(), what.to_owned(), value.to_string()));
    }

    /// The middle and the longest of some times.
    pub(crate) fn times(&mut self, scene: &str, what: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let (Some(middle), Some(longest)) = (times.get(times.len() / 2), times.last()) else { return };
        let value = format!("{} / {}", middle.as_millis(), longest.as_millis());
        self.figure(scene, &format!("{what}, ms (median / max)"), value);
    }

    /// A figure that must be 0.
    pub(crate) fn none(&mut self, scene: &str, what: &str, count: u64) {
        self.figure(scene, what, count);
        self.check(scene, count == 0, &format!("{what}: {count}"));
    }

    /// A violation unless `holds`.
    pub(crate) fn check(&mut self, scene: &str, holds: bool, what: &str) {
        if !holds {
            println!("VIOLATION  {scene}: {what}");
            self.violations.push(format!("{scene}: {what}"));
        }
    }

    /// Prints everything. True: there is no violation.
    pub(crate) fn print(&self) -> bool {
        let width = |place: fn(&(String, String, String)) -> &str| {
            self.rows.iter().map(|row| place(row).chars().count()).max().unwrap_or(0)
        };
        let (scene_width, what_width) = (width(|row| &row.0), width(|row| &row.1));
        println!();
        for (place, (scene, what, value)) in self.rows.iter().enumerate() {
            let known = place > 0 && self.rows[place - 1].0 == *scene;
            let scene = if known { "" } else { scene.as_str() };
            println!("{scene:scene_width$}  {what:what_width$}  {value}");
        }
        println!("\n{} violation(s)", self.violations.len());
        self.violations.iter().for_each(|violation| println!("  {violation}"));
        self.violations.is_empty()
    }
}
