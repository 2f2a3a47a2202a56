//! `kill -9` at random points under a storm of callbacks: of a Redis with AOF, and of the service itself.
//!
//! What was acknowledged must be in the store afterwards, whatever was on the way when the process died, and never an older
//! change over a newer one.

use crate::scene::{PATIENCE, Table, client, pass, services, until, wrong_for};
use crate::store::{find, stream_is_whole};
use crate::wire::Sender;
use crate::world::{Audit, Monitor, breakers, monitors};
use cutout::Client;
use cutout_tests::redis::RedisServer;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

const MONITORS: usize = 8;
const GROUPS: usize = 6;
/// How long a storm lasts before the kill, and after the restart.
const BEFORE_MS: std::ops::RangeInclusive<u64> = 5..=250;
const AFTER_MS: std::ops::RangeInclusive<u64> = 0..=100;
/// Small enough that kills also fall into a rewrite of the file.
const REWRITE_AT: &str = "256kb";

/// What goes on through all kills of one scene.
struct Stage {
    name: String,
    redis: RedisServer,
    sender: Sender,
    client: Client,
    monitors: Vec<Monitor>,
    total: Audit,
    away: Vec<Duration>,
    epoch: Option<String>,
}

impl Stage {
    /// Compares the books with the store.
    async fn audit(&mut self, table: &mut Table) {
        let found = find(&self.redis, &self.monitors).await;
        let mut audit = Audit::default();
        for monitor in &mut self.monitors {
            // No moment parts what was acknowledged: nothing may be lost at all.
            audit += monitor.audit(&found, Instant::now());
        }
        let lost = audit.lost_before + audit.lost_after;
        table.check(&self.name, lost == 0, &format!("{lost} acknowledged callbacks lost by one kill"));
        table.check(&self.name, !found.rev_is_behind, "a flag's rev is beyond the scope's");
        table.check(&self.name, stream_is_whole(&self.redis), "the stream does not end at the scope's rev");
        let kept = self.epoch.is_none() || self.epoch == found.epoch;
        table.check(&self.name, kept, "the epoch changed");
        self.epoch = found.epoch;
        self.total += audit;
    }

    /// One storm with one kill in it, which `kill` does and undoes. Half of the storms go on after it, so that work is done on
    /// what was kept; the other half end with it, so that what was on the way can be seen in the store.
    async fn storm(&mut self, table: &mut Table, kill: impl FnOnce(&mut RedisServer)) {
        let storm = self.sender.storm(std::mem::take(&mut self.monitors));
        pass(BEFORE_MS).await;
        let goes_on = fastrand::bool();
        if !goes_on {
            storm.stop();
        }
        let killed = Instant::now();
        block_in_place(|| kill(&mut self.redis));
        if goes_on {
            let back = storm.acknowledged_after(killed, PATIENCE).await;
            table.check(&self.name, back, "no callback is acknowledged after the restart");
            self.away.push(killed.elapsed());
            pass(AFTER_MS).await;
        }
        self.monitors = storm.end().await;
        self.audit(table).await;
    }

    /// What came of all kills.
    async fn report(mut self, table: &mut Table, kills: usize) {
        // The last reports may have been refused; one more of each makes the store's truth the monitors'.
        let refused = self.sender.reconcile(&mut self.monitors).await;
        table.check(&self.name, refused == 0, "callbacks refused while nothing is wrong");
        let follows = until(|| wrong_for(&self.client, &self.monitors) == 0).await;
        if follows.is_none() {
            let found = find(&self.redis, &self.monitors).await;
            for (id, open) in self.monitors.iter().flat_map(Monitor::must_be_open) {
                let client = crate::scene::is_open(&self.client, &id);
                if client != open {
                    println!("DBG {id:?} must {open} client {client} store {:?} rec {:?} flag {:?} meta {:?} fam {:?} health {:?}", found.is_open(&id), found.record(&id), self.redis.ask::<Option<String>>(&["HGET","cutout:{default}:flags",id.as_str()]), self.redis.ask::<Vec<String>>(&["HGETALL","cutout:{default}:meta"]), self.redis.ask::<Vec<String>>(&["HGETALL","cutout:{default}:families"]), self.client.health());
                }
            }
        }
        table.check(&self.name, follows.is_some(), "a client does not end with the store's flags");
        let losses = self.client.health().losses;
        let (name, total) = (self.name.as_str(), self.total);
        table.figure(name, "kills", kills);
        table.figure(name, "callbacks acknowledged", total.acknowledged);
        table.none(name, "acknowledged and lost", total.lost_before + total.lost_after);
        table.none(name, "groups with an older change over a newer one", total.older_over_newer);
        table.none(name, "groups at a change that never was", total.invented);
        table.none(name, "flags that contradict their record", total.wrong_flags);
        table.figure(name, "changes committed whose answer was cut off", total.kept_without_answer);
        table.none(name, "losses counted by a client", losses);
        table.times(name, "from the kill to the next acknowledged callback", self.away);
    }
}

async fn stage(name: &str, instances: usize) -> (Stage, Vec<cutout_tests::service::ServiceProcess>) {
    let rewrite = ["--auto-aof-rewrite-min-size", REWRITE_AT, "--auto-aof-rewrite-percentage", "50"];
    let everysec = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let redis = RedisServer::start_with(&[everysec, rewrite].concat());
    let (services, sender) = services(instances, &redis.url(), &breakers(MONITORS, "1s"));
    let client = client(&redis.url()).await;
    let (monitors, total) = (monitors(MONITORS, GROUPS), Audit::default());
    let (name, away, epoch) = (name.to_owned(), Vec::new(), None);
    (Stage { name, redis, sender, client, monitors, total, away, epoch }, services)
}

/// Kills Redis so often under so many instances of the service.
pub(crate) async fn of_redis(table: &mut Table, kills: usize, instances: usize) {
    let name = format!("Redis killed, {instances} instance(s)");
    println!("{name}: {kills} kills");
    let (mut stage, _services) = stage(&name, instances).await;
    for _ in 0..kills {
        stage.storm(table, RedisServer::restart).await;
    }
    stage.report(table, kills).await;
}

/// Kills one of two instances of the service so often.
pub(crate) async fn of_service(table: &mut Table, kills: usize) {
    let name = "service killed, 2 instances";
    println!("{name}: {kills} kills");
    let (mut stage, mut services) = stage(name, 2).await;
    for _ in 0..kills {
        let service = fastrand::choice(services.iter_mut()).unwrap();
        stage.storm(table, |_| service.kill_and_restart()).await;
    }
    stage.report(table, kills).await;
}
