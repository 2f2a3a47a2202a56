//! `kill -9` at random points under a storm of callbacks: of a Redis with AOF, and of the service itself.
//!
//! What was acknowledged must be in the store afterwards, whatever was on the way when the process died, and never an older
//! change over a newer one. Half of the storms go on after the kill, so that work is done on what was kept; the other half end
//! with it, so that what was on the way can be seen in the store.

use crate::stage::Stage;
use crate::table::Table;
use cutout_tests::redis::RedisServer;
use fastrand::Rng;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Instant;
use tokio::task::block_in_place;

/// How long a storm lasts before the kill, and after the first callback that was acknowledged again.
const BEFORE_MS: RangeInclusive<u64> = 5..=250;
const AFTER_MS: RangeInclusive<u64> = 0..=100;
/// Small enough that kills also fall into a rewrite of the file.
const REWRITE_AT: &str = "256kb";
/// Of so many kills of Redis one also takes an instance of the service along, where there are two.
const SERVICE_TOO_ONE_OF: u32 = 5;

/// When Redis has its file written to the disk, and where that file lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fsync<'a> {
    /// Before it answers.
    Always,
    /// Once a second. While that is on the way Redis answers before it writes, so nothing is lost only where it takes no time:
    /// in a folder in memory.
    EverySecond(&'a Path),
}

impl Fsync<'_> {
    fn word(self) -> &'static str {
        match self {
            Fsync::Always => "always",
            Fsync::EverySecond(_) => "everysec",
        }
    }

    fn start(self) -> RedisServer {
        let file = ["--appendonly", "yes", "--appendfsync", self.word()];
        let rewrite = ["--auto-aof-rewrite-min-size", REWRITE_AT, "--auto-aof-rewrite-percentage", "50"];
        let settings = [file, rewrite].concat();
        match self {
            Fsync::Always => RedisServer::start_with(&settings),
            Fsync::EverySecond(folder) => RedisServer::start_in(folder, &settings),
        }
    }
}

/// Kills Redis so often under so many instances of the service.
pub(crate) async fn of_redis(
    table: &mut Table,
    rng: &mut Rng,
    kills: usize,
    instances: usize,
    fsync: Fsync<'_>,
) {
    let mut redis = fsync.start();
    let place = match fsync {
        Fsync::Always => String::new(),
        Fsync::EverySecond(folder) => format!(" in {}", folder.display()),
    };
    let name = format!("Redis killed, appendfsync {}{place}, {instances} instance(s)", fsync.word());
    let urls = vec![redis.url(); instances];
    let mut stage = Stage::start(&name, rng, &urls, &urls).await;
    for _ in 0..kills {
        let service_too = instances > 1 && stage.rng.u32(..SERVICE_TOO_ONE_OF) == 0;
        let victim = stage.rng.usize(..instances);
        let kill = |stage: &mut Stage, redis: &mut RedisServer| {
            redis.kill();
            if service_too {
                stage.services[victim].kill_and_restart();
            }
            redis.restart();
        };
        storm(table, &mut stage, &mut redis, kill).await;
    }
    report(table, stage, &redis, kills).await;
}

/// Kills one of two instances of the service so often.
pub(crate) async fn of_service(table: &mut Table, rng: &mut Rng, kills: usize) {
    let mut redis = Fsync::Always.start();
    let urls = vec![redis.url(); 2];
    let mut stage = Stage::start("service killed, 2 instances", rng, &urls, &urls).await;
    for _ in 0..kills {
        let victim = stage.rng.usize(..urls.len());
        let kill = |stage: &mut Stage, _: &mut RedisServer| stage.services[victim].kill_and_restart();
        storm(table, &mut stage, &mut redis, kill).await;
    }
    report(table, stage, &redis, kills).await;
}

/// One storm with one kill in it, which `kill` does and undoes.
async fn storm(
    table: &mut Table,
    stage: &mut Stage,
    redis: &mut RedisServer,
    kill: impl FnOnce(&mut Stage, &mut RedisServer),
) {
    let storm = stage.storm(BEFORE_MS).await;
    let goes_on = stage.rng.bool();
    if !goes_on {
        storm.stop();
    }
    let killed = Instant::now();
    block_in_place(|| kill(stage, redis));
    if goes_on {
        stage.back(table, &storm, killed).await;
        stage.pass(AFTER_MS).await;
    }
    stage.end(storm).await;
    stage.audit(table, redis, None).await;
}

async fn report(table: &mut Table, mut stage: Stage, redis: &RedisServer, kills: usize) {
    stage.reconcile(table).await;
    stage.clients_agree(table, redis).await;
    stage.report(table, "kills", kills);
    table.none(&stage.name, "losses counted by a client", stage.losses_seen());
}
