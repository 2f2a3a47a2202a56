//! A Redis that keeps nothing on disk is killed and comes back empty.
//!
//! Clients must go on by what they last knew, the service must bring back what people had ordered, and with the next scheduled
//! run every flag must be right again, also those whose groups changed meanwhile without a word. Metric and log must tell.
//!
//! The period of the runs is scaled down from a minute. How long clients hold what they last knew is not.

use crate::stage::{PATIENCE, Stage, breaker, until};
use crate::store::find;
use crate::table::Table;
use crate::wire::URL;
use crate::world::{Monitor, parsed_breakers};
use cutout::{Client, State};
use cutout_core::{Act, BreakerId, Forced, Order};
use cutout_flags::follower::LOSSES_METRIC;
use cutout_service::{Parts, Service};
use cutout_tests::canary;
use cutout_tests::metrics::Counters;
use cutout_tests::redis::RedisServer;
use fastrand::Rng;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, block_in_place};

/// From one scheduled run to the next; a minute outside of tests.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);
/// How long a run of a few monitors may take, and its way to the clients.
const RUN_MAX: Duration = Duration::from_secs(1);
const INSTANCES: usize = 2;
/// The instance that made the scope sees its epoch with the first change, after the pause that a gap asks for. Before that
/// there is nothing that it could miss.
const SEEN_BY_ALL_MS: RangeInclusive<u64> = 500..=500;
/// How long the store is away.
const AWAY_MS: RangeInclusive<u64> = 0..=500;
const LOOK_EVERY: Duration = Duration::from_millis(2);
const LOSS_TOLD: &str = "the store of flags lost its data";
const BY: &str = "night shift";
const WHY: &str = "a drill";

/// Lets Redis lose everything so often.
pub(crate) async fn of_all_data(table: &mut Table, rng: &mut Rng, losses: usize, counters: &Counters) {
    let mut redis = RedisServer::start();
    let urls = vec![redis.url(); INSTANCES];
    let mut stage = Stage::start("Redis without persistence killed", rng, &urls, &urls).await;
    stage.reconcile(table).await;
    stage.pass(SEEN_BY_ALL_MS).await;
    let overrides = force_two(&redis, &mut stage).await;
    let (mut right_after, mut not_as_known) = (Vec::new(), 0);
    for number in 1..=losses {
        stage.clients_agree(table, &redis).await;
        stage.audit(table, &redis, None).await;
        let known = Known::of(&mut stage);
        let watch = Watch::start(&stage.clients, known);
        block_in_place(|| redis.kill());
        stage.pass(AWAY_MS).await;
        block_in_place(|| redis.restart());
        right_after.extend(scheduled_runs(table, &mut stage, &redis, &watch).await);
        not_as_known += watch.end().await;
        stage.has_new_epoch(table, &redis).await;
        check_overrides(table, &stage, &redis, &overrides).await;
        check_told(table, &stage, number, counters).await;
    }
    stage.audit(table, &redis, None).await;
    stage.report(table, "losses of all data", losses);
    table.none(
        &stage.name,
        "looks at a client that said neither the last known nor the new truth",
        not_as_known,
    );
    table.figure(&stage.name, "scheduled run every, ms", RECONCILE_EVERY.as_millis());
    table.times(&stage.name, "from the empty Redis to all flags right", right_after);
}

/// Forces one breaker open and another one closed, against what their groups say. Through a service of its own, which is gone
/// when the store is lost: what it ordered must come back from the others.
async fn force_two(redis: &RedisServer, stage: &mut Stage) -> Vec<BreakerId> {
    let store = cutout_flags::open(&redis.url(), "default").unwrap();
    let secrets = vec![canary::SIGNING_SECRET.parse().unwrap()];
    let breakers = parsed_breakers(&stage.breakers);
    let service = Service::new(Parts { store, breakers, secrets, public_url: Some(URL.parse().unwrap()) });
    let mut ids = Vec::new();
    for (group, state) in [(0, Forced::Open), (1, Forced::Closed)] {
        let monitor = &mut stage.monitors[0];
        monitor.set(group, state == Forced::Closed);
        monitor.force(group, state == Forced::Open);
        let (id, _) = monitor.must_be_open().nth(group).unwrap();
        let act = Act::Force { state, until_ms: None };
        service.order(&id, &Order { by: BY.into(), why: WHY.into(), act }).await.unwrap();
        ids.push(id);
    }
    ids
}

/// Sends scheduled runs, the first at some point of the period, until one is taken. Gives how long it took from now until store
/// and clients are right.
async fn scheduled_runs(
    table: &mut Table,
    stage: &mut Stage,
    redis: &RedisServer,
    watch: &Watch,
) -> Option<Duration> {
    let back = Instant::now();
    let mut next = RECONCILE_EVERY.mul_f64(stage.rng.f64());
    loop {
        tokio::time::sleep_until((back + next).into()).await;
        watch.run_begins();
        if stage.sender.reconcile(&mut stage.monitors).await == 0 || back.elapsed() > PATIENCE {
            break;
        }
        next += RECONCILE_EVERY;
    }
    let wrong = stage.wrong_in(&find(redis, &stage.monitors).await);
    table.check(
        &stage.name,
        wrong == 0,
        &format!("{wrong} groups wrong in the store after a whole scheduled run"),
    );
    stage.clients_agree(table, redis).await?;
    let took = back.elapsed();
    let in_time = took <= RECONCILE_EVERY + RUN_MAX;
    table.check(&stage.name, in_time, &format!("all flags were right only {} ms later", took.as_millis()));
    Some(took)
}

/// Whether what people had ordered stands in the store again, with who and why.
async fn check_overrides(table: &mut Table, stage: &Stage, redis: &RedisServer, ids: &[BreakerId]) {
    let found = find(redis, &stage.monitors).await;
    for id in ids {
        let forced = found.forced(id);
        table.check(
            &stage.name,
            forced == Some((BY, WHY)),
            &format!("the override of {id} is now {forced:?}"),
        );
    }
}

/// Whether each client counted each loss once, and each instance told it once.
async fn check_told(table: &mut Table, stage: &Stage, losses: usize, counters: &Counters) {
    let told = || stage.services.iter().map(|service| service.log().matches(LOSS_TOLD).count());
    let all_told = until(|| told().all(|lines| lines >= losses)).await.is_some();
    let exact = all_told && told().all(|lines| lines == losses);
    table.check(
        &stage.name,
        exact,
        &format!("{losses} losses, lines of the instances: {:?}", told().collect::<Vec<_>>()),
    );
    let (counted, expected) = (counters.value(LOSSES_METRIC), (losses * stage.clients.len()) as u64);
    table.check(
        &stage.name,
        counted == expected,
        &format!("{LOSSES_METRIC} is {counted} and not {expected}"),
    );
}

/// What a breaker was when the store was lost, and what it has to become without a word of it.
struct Known {
    id: BreakerId,
    before: bool,
    after: bool,
}

impl Known {
    /// Lets groups change of which nobody is told.
    fn of(stage: &mut Stage) -> Vec<Known> {
        let all = |stage: &Stage| stage.monitors.iter().flat_map(Monitor::must_be_open).collect::<Vec<_>>();
        let before = all(stage);
        stage.monitors.iter_mut().for_each(Monitor::change_some);
        let both = before.into_iter().zip(all(stage));
        both.map(|((id, before), (_, after))| Known { id, before, after }).collect()
    }
}

/// Looks at clients all the time.
struct Watch {
    run_began: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Watch {
    fn start(clients: &[Client], known: Vec<Known>) -> Watch {
        let (run_began, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (clients, began, end) = (clients.to_vec(), Arc::clone(&run_began), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            let mut wrong = 0;
            while !end.load(Ordering::SeqCst) {
                let opens = |client, id| breaker(client, id).state() == State::Open;
                for client in &clients {
                    let says =
                        known.iter().map(|known| (known, opens(client, &known.id))).collect::<Vec<_>>();
                    // Asked after the look, so that the run cannot have begun unseen.
                    let may_be_new = began.load(Ordering::SeqCst);
                    let is_wrong = |(known, open): &&(&Known, bool)| {
                        *open != known.before && (!may_be_new || *open != known.after)
                    };
                    wrong += says.iter().filter(is_wrong).count() as u64;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            wrong
        });
        Watch { run_began, ended, task }
    }

    /// From now on clients may also say the new truth.
    fn run_begins(&self) {
        self.run_began.store(true, Ordering::SeqCst);
    }

    /// Ends it, and gives how many looks showed something else.
    async fn end(self) -> u64 {
        self.ended.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}
