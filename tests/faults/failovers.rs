//! A replica takes over under a storm of callbacks: promoted by hand behind a name, and by real sentinels.
//!
//! Copies are made after the answer, so what was acknowledged in the last second before the fault may be lost; it is counted,
//! and the next scheduled run brings it again. Nothing older may be lost, and afterwards everything is right.

use crate::stage::{LAST_SECOND, Stage, until};
use crate::table::Table;
use cutout_tests::forward::Forwarder;
use cutout_tests::redis::RedisServer;
use cutout_tests::sentinel::Sentinels;
use fastrand::Rng;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// How long a storm lasts before the fault: longer than what may be lost.
const BEFORE_MS: RangeInclusive<u64> = 1_200..=2_000;
/// How long it goes on after the first callback that was acknowledged again.
const AFTER_MS: RangeInclusive<u64> = 0..=300;
/// How long the old and the new primary both take writes.
const BOTH_MS: RangeInclusive<u64> = 0..=50;
const INSTANCES: usize = 2;
const SENTINELS: usize = 3;

/// Promotes a replica so often, and gives it the name under which all know the primary.
pub(crate) async fn by_promotion(table: &mut Table, rng: &mut Rng, promotions: usize) {
    let mut primary = RedisServer::start();
    let mut replica = RedisServer::start_replica_of(&primary);
    let name = Forwarder::start(primary.port()).await;
    let urls = vec![name.url(); INSTANCES];
    let mut stage = Stage::start("replica promoted", rng, &urls, &urls).await;
    let mut followed = Vec::new();
    for _ in 0..promotions {
        let storm = stage.storm(BEFORE_MS).await;
        let promoted = Instant::now();
        block_in_place(|| replica.promote());
        name.point_at(replica.port());
        stage.pass(BOTH_MS).await;
        block_in_place(|| primary.demote(replica.port()));
        stage.back(table, &storm, promoted).await;
        stage.pass(AFTER_MS).await;
        stage.end(storm).await;
        std::mem::swap(&mut primary, &mut replica);
        followed.extend(settle(table, &mut stage, &primary, promoted).await);
        block_in_place(|| replica.wait_for_link());
    }
    report(table, stage, "promotions", promotions, followed);
}

/// Kills the primary so often, or stops it for a while, and lets sentinels put its replica in its place.
pub(crate) async fn by_sentinels(table: &mut Table, rng: &mut Rng, faults: usize) {
    let first = RedisServer::start();
    let mut servers = [RedisServer::start_replica_of(&first), first];
    let sentinels = block_in_place(|| Sentinels::start(SENTINELS, &servers[1], 1));
    let urls = vec![sentinels.url(); INSTANCES];
    let mut stage = Stage::start("fail-over by 3 sentinels", rng, &urls, &urls).await;
    let mut followed = Vec::new();
    for _ in 0..faults {
        let old = place_of_primary(&servers, &sentinels).await;
        let storm = stage.storm(BEFORE_MS).await;
        let (fault, dies) = (Instant::now(), stage.rng.bool());
        if dies {
            servers[old].kill();
        } else {
            servers[old].pause();
        }
        stage.back(table, &storm, fault).await;
        stage.pass(AFTER_MS).await;
        stage.end(storm).await;
        let new = &servers[1 - old];
        // They tell each other of a fail-over, so the last one may be a moment behind the services.
        let agree = until(|| sentinels.primary_port() == Some(new.port())).await;
        let named = sentinels.primary_port();
        let what = format!("the sentinels do not agree on the replica as the new primary: {named:?}");
        table.check(&stage.name, agree.is_some(), &what);
        followed.extend(settle(table, &mut stage, new, fault).await);
        block_in_place(|| {
            if dies {
                servers[old].restart();
            } else {
                servers[old].resume();
            }
            servers[old].wait_for_link();
            sentinels.wait_until_they_know(1);
        });
    }
    report(table, stage, "primaries killed or stopped", faults, followed);
}

async fn place_of_primary(servers: &[RedisServer; 2], sentinels: &Sentinels) -> usize {
    let mut place = None;
    until(|| {
        place = servers.iter().position(|server| sentinels.primary_port() == Some(server.port()));
        place.is_some()
    })
    .await;
    place.expect("the sentinels agree on one of the two")
}

/// Compares the books with the new primary, then lets a scheduled run set right what was lost. Gives how long the clients took
/// to follow from there.
async fn settle(
    table: &mut Table,
    stage: &mut Stage,
    primary: &RedisServer,
    fault: Instant,
) -> Option<Duration> {
    stage.audit(table, primary, fault.checked_sub(LAST_SECOND)).await;
    stage.reconcile(table).await;
    let followed = stage.clients_agree(table, primary).await;
    stage.audit(table, primary, None).await;
    followed
}

fn report(table: &mut Table, mut stage: Stage, faults: &str, count: usize, followed: Vec<Duration>) {
    stage.report(table, faults, count);
    table.times(&stage.name, "from the end of the scheduled run to all clients right", followed);
    table.figure(&stage.name, "losses counted by clients", stage.losses_seen());
}
