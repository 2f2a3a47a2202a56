//! A client and an instance of the service are cut off from Redis by a network that falls silent, and get it back.
//!
//! No connection breaks and nobody is told, so only deadlines can notice. What was held back arrives when the network speaks
//! again, writes of the instance among it. The client must answer at once all the time, by what it last knew.

use crate::stage::{Stage, breaker, until};
use crate::table::Table;
use cutout::{Breaker, Client, State};
use cutout_core::BreakerId;
use cutout_tests::forward::{Forwarder, Silent};
use cutout_tests::redis::RedisServer;
use fastrand::Rng;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long a storm lasts before the network falls silent.
const BEFORE_MS: RangeInclusive<u64> = 5..=500;
/// What was delivered before has come through to the client by then.
const DELIVERED_MS: RangeInclusive<u64> = 100..=100;
/// How long the silence lasts after the client has noticed it.
const MORE_MS: RangeInclusive<u64> = 0..=3_000;
/// By then a client knows that it is cut off: the deadlines of a read of the stream, and some more.
const NOTICE_MAX: Duration = Duration::from_secs(10);
/// An answer from memory takes no time; one that waits for the network takes a second or more.
const ADMIT_MAX: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// The client that is cut off.
const FAR: usize = 1;

/// Cuts them off so often.
pub(crate) async fn of_a_client_and_an_instance(table: &mut Table, rng: &mut Rng, partitions: usize) {
    let redis = RedisServer::start();
    let (to_service, to_client) =
        (Forwarder::start(redis.port()).await, Forwarder::start(redis.port()).await);
    let (services, clients) = ([redis.url(), to_service.url()], [redis.url(), to_client.url()]);
    let mut stage = Stage::start("client and instance cut off", rng, &services, &clients).await;
    let (mut noticed, mut followed, mut longest) = (Vec::new(), Vec::new(), Duration::ZERO);
    for _ in 0..partitions {
        let storm = stage.storm(BEFORE_MS).await;
        let silent = Instant::now();
        to_service.silence(stage.rng.choice([Silent::Requests, Silent::Answers, Silent::Both]).unwrap());
        to_client.silence(stage.rng.choice([Silent::Answers, Silent::Both]).unwrap());
        stage.pass(DELIVERED_MS).await;
        let watch = Watch::start(&stage.clients[FAR], &stage.ids);
        stage.back(table, &storm, silent).await;
        until(|| !stage.clients[FAR].health().connected).await;
        noticed.push(silent.elapsed());
        stage.pass(MORE_MS).await;
        let looks = watch.end().await;
        table.check(&stage.name, looks.changed == 0, "a client that is cut off changed its answer");
        longest = longest.max(looks.longest_admit);
        stage.end(storm).await;
        let healed = Instant::now();
        to_service.heal();
        to_client.heal();
        stage.reconcile(table).await;
        followed.extend(stage.clients_agree(table, &redis).await.map(|_| healed.elapsed()));
        stage.audit(table, &redis, None).await;
    }
    let in_time = noticed.iter().all(|noticed| *noticed < NOTICE_MAX);
    table.check(&stage.name, in_time, "a client did not notice in time that it is cut off");
    table.check(&stage.name, longest < ADMIT_MAX, "an answer to \"may I call?\" waited for something");
    stage.report(table, "partitions", partitions);
    table.times(&stage.name, "until the client says that it is cut off", noticed);
    table.figure(&stage.name, "longest answer of the client meanwhile, ms", longest.as_millis());
    table.times(&stage.name, "from the healed network to all clients right", followed);
    table.none(&stage.name, "losses counted by a client", stage.losses_seen());
}

/// Asks a client all the time.
struct Watch {
    ended: Arc<AtomicBool>,
    task: JoinHandle<Looks>,
}

#[derive(Default)]
struct Looks {
    /// How often it said something else than at first.
    changed: u64,
    longest_admit: Duration,
}

impl Watch {
    fn start(client: &Client, ids: &[BreakerId]) -> Watch {
        let breakers: Vec<Breaker> = ids.iter().map(|id| breaker(client, id)).collect();
        let ended = Arc::<AtomicBool>::default();
        let end = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            let opens = || breakers.iter().map(|breaker| breaker.state() == State::Open).collect::<Vec<_>>();
            let (first, mut looks) = (opens(), Looks::default());
            while !end.load(Ordering::SeqCst) {
                for breaker in &breakers {
                    let asked = Instant::now();
                    let _ = breaker.admit();
                    looks.longest_admit = looks.longest_admit.max(asked.elapsed());
                }
                looks.changed += u64::from(opens() != first);
                tokio::time::sleep(LOOK_EVERY).await;
            }
            looks
        });
        Watch { ended, task }
    }

    async fn end(self) -> Looks {
        self.ended.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}
