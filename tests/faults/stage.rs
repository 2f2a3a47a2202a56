//! What every scene is made of: instances of the service, clients, monitors with their books, and what is asked of them all.

use crate::store::{Found, find, stream_is_whole};
use crate::table::Table;
use crate::wire::{Sender, Storm, URL};
use crate::world::{Audit, BREAKER, Monitor, breakers, monitors};
use cutout::{Breaker, Client, State};
use cutout_core::BreakerId;
use cutout_tests::redis::RedisServer;
use cutout_tests::service::ServiceProcess;
use fastrand::Rng;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long anything may take before its absence is a violation: longer than a follower goes from one snapshot to the next.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);
/// What an asynchronous fail-over may lose: what was asked so shortly before it.
pub(crate) const LAST_SECOND: Duration = Duration::from_secs(1);
const MONITORS: usize = 8;
const GROUPS: usize = 6;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// A storm's callbacks would fill the memory with their lines.
const LOG: &str = "warn,cutout_service=info,cutout_service::callback=warn,cutout_service::decision=warn";

/// Who is on it, and what goes on through the whole scene.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) rng: Rng,
    pub(crate) services: Vec<ServiceProcess>,
    pub(crate) sender: Sender,
    pub(crate) clients: Vec<Client>,
    pub(crate) monitors: Vec<Monitor>,
    /// The breakers of all groups.
    pub(crate) ids: Vec<BreakerId>,
    /// The text of the breakers' file.
    pub(crate) breakers: String,
    /// From each fault to the next callback that was acknowledged.
    away: Vec<Duration>,
    total: Audit,
    epoch: Option<String>,
}

impl Stage {
    /// An instance of the service and a client for each of these URLs.
    pub(crate) async fn start(name: &str, rng: &mut Rng, services: &[String], clients: &[String]) -> Stage {
        println!("{name}");
        let (mut rng, breakers) = (rng.fork(), breakers(MONITORS, "1s"));
        let more = [("CUTOUT_PUBLIC_URL", URL), ("RUST_LOG", LOG)];
        let services: Vec<_> =
            services.iter().map(|url| ServiceProcess::start(url, &breakers, &more)).collect();
        services.iter().for_each(|service| drop(service.lines_at_least(1, "declared")));
        let sender = Sender::to(services.iter().map(ServiceProcess::at));
        let mut following = Vec::new();
        for url in clients {
            following.push(Client::builder(url).breaker(BREAKER).connect().await.unwrap());
        }
        let monitors = monitors(&mut rng, MONITORS, GROUPS);
        let ids = monitors.iter().flat_map(Monitor::must_be_open).map(|(id, _)| id).collect();
        let (name, clients) = (name.to_owned(), following);
        let (away, total, epoch) = (Vec::new(), Audit::default(), None);
        Stage { name, rng, services, sender, clients, monitors, ids, breakers, away, total, epoch }
    }

    /// Lets a storm of callbacks begin, and some time of it pass.
    pub(crate) async fn storm(&mut self, before_ms: RangeInclusive<u64>) -> Storm {
        let storm = self.sender.storm(std::mem::take(&mut self.monitors));
        self.pass(before_ms).await;
        storm
    }

    /// Waits until a callback is acknowledged that was sent after a fault.
    pub(crate) async fn back(&mut self, table: &mut Table, storm: &Storm, fault: Instant) {
        let back = storm.acknowledged_after(fault, PATIENCE).await;
        self.away.push(fault.elapsed());
        table.check(&self.name, back, "no callback is acknowledged after the fault");
    }

    /// Ends a storm; what is on the way comes to its end.
    pub(crate) async fn end(&mut self, storm: Storm) {
        self.monitors = storm.end().await;
    }

    /// Compares the books with a store. What was asked before `sure` must stand there; none: everything that was acknowledged.
    pub(crate) async fn audit(&mut self, table: &mut Table, redis: &RedisServer, sure: Option<Instant>) {
        let found = find(redis, &self.monitors).await;
        let mut audit = Audit::default();
        for monitor in &mut self.monitors {
            audit += monitor.audit(&found, sure.unwrap_or_else(Instant::now));
        }
        let lost = audit.lost_before;
        table.check(&self.name, lost == 0, &format!("{lost} acknowledged callbacks lost by one fault"));
        table.check(&self.name, !found.rev_is_behind, "a flag's rev is beyond the scope's");
        table.check(&self.name, stream_is_whole(redis), "the stream does not end at the scope's rev");
        let kept = self.epoch.is_none() || self.epoch == found.epoch;
        table.check(&self.name, kept, "the epoch changed");
        self.epoch = found.epoch;
        self.total += audit;
    }

    /// Takes note of the epoch after a loss, which must be another one than before.
    pub(crate) async fn has_new_epoch(&mut self, table: &mut Table, redis: &RedisServer) {
        let found = find(redis, &[]).await;
        table.check(
            &self.name,
            found.epoch.is_some() && found.epoch != self.epoch,
            "no new epoch after a loss",
        );
        self.epoch = found.epoch;
    }

    /// Sends what a scheduled run sends until nothing of it is refused; then the store's truth is the monitors'.
    pub(crate) async fn reconcile(&mut self, table: &mut Table) {
        let started = Instant::now();
        while self.sender.reconcile(&mut self.monitors).await > 0 {
            if started.elapsed() > PATIENCE {
                return table.check(&self.name, false, "scheduled runs are refused though nothing is wrong");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until all clients say what the monitors say, and tells how long that took.
    pub(crate) async fn clients_agree(&self, table: &mut Table, redis: &RedisServer) -> Option<Duration> {
        let agree = until(|| self.disagreeing().is_empty()).await;
        for (client, id) in self.disagreeing().into_iter().filter(|_| agree.is_none()) {
            let (state, health) =
                (breaker(&self.clients[client], &id).state(), self.clients[client].health());
            let [flag, record] = ["flags", "breakers"].map(|hash| field(redis, hash, id.as_str()));
            let meta: Vec<String> = redis.ask(&["HGETALL", "cutout:{default}:meta"]);
            let families: Vec<String> = redis.ask(&["HGETALL", "cutout:{default}:families"]);
            let what = format!("client {client} says {id} is {state} for ever ({health:?})");
            table.check(&self.name, false, &what);
            println!("  flag {flag:?}\n  record {record:?}\n  meta {meta:?}\n  families {families:?}");
        }
        agree
    }

    /// The clients that disagree with a monitor, and the breakers.
    fn disagreeing(&self) -> Vec<(usize, BreakerId)> {
        let all = self.monitors.iter().flat_map(Monitor::must_be_open);
        let each = all.flat_map(|of| (0..self.clients.len()).map(move |client| (client, of.clone())));
        let says_open =
            |client: &usize, id: &BreakerId| breaker(&self.clients[*client], id).state() == State::Open;
        each.filter(|(client, (id, open))| says_open(client, id) != *open)
            .map(|(client, (id, _))| (client, id))
            .collect()
    }

    /// How many groups are not as they should be in the store.
    pub(crate) fn wrong_in(&self, found: &Found) -> usize {
        self.monitors.iter().map(|monitor| monitor.wrong(found)).sum()
    }

    /// How often the clients say that the store lost its data.
    pub(crate) fn losses_seen(&self) -> u64 {
        self.clients.iter().map(|client| client.health().losses).sum()
    }

    /// Lets a time drawn by chance pass.
    pub(crate) async fn pass(&mut self, range_ms: RangeInclusive<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(range_ms))).await;
    }

    /// What came of all faults.
    pub(crate) fn report(&mut self, table: &mut Table, faults: &str, count: usize) {
        let (name, total) = (self.name.as_str(), self.total);
        table.figure(name, faults, count);
        table.figure(name, "callbacks acknowledged", total.acknowledged);
        table.none(name, "acknowledged and lost", total.lost_before);
        if total.lost_after > 0 {
            table.figure(
                name,
                "acknowledged in the last second before the fault, and lost",
                total.lost_after,
            );
        }
        table.none(name, "groups with an older change over a newer one", total.older_over_newer);
        table.none(name, "groups at a change that never was", total.invented);
        table.none(name, "flags that contradict their record", total.wrong_flags);
        table.figure(name, "changes committed whose answer was cut off", total.kept_without_answer);
        let away = std::mem::take(&mut self.away);
        table.times(name, "from the fault to the next acknowledged callback", away);
    }
}

/// What stands in a field of one of the scope's hashes.
fn field(redis: &RedisServer, hash: &str, field: &str) -> Option<String> {
    redis.ask(&["HGET", &format!("cutout:{{default}}:{hash}"), field])
}

/// A client's handle.
pub(crate) fn breaker(client: &Client, id: &BreakerId) -> Breaker {
    let key: Vec<&str> = id.as_str().split('/').skip(1).collect();
    client.breaker(BREAKER, &key).unwrap()
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
