//! The other level: the service's real handlers, timers and sweeps, its real followers and the real client live the same
//! histories, in the virtual time of a runtime of their own, over the real memory store.
//!
//! Messages are signed and posted to the service's own router; two instances take turns, crash and come back, and have clocks
//! of their own. What the disk took is written to the model's store as well, so that both must agree, and the same checker
//! judges it. Left out: the function, which is the model's, and the wire.

mod disk;
mod instances;
mod judged;
mod posted;
mod ways;

use crate::caller::Must;
use crate::checker::{Violation, broken};
use crate::dice::{Dice, Stream};
use crate::history::History;
use crate::plants::Plant;
use crate::wiring::WHOLE;
use crate::world::{Lived, Wanted, World};
use cutout::Client;
use cutout_core::BreakerId;
use cutout_flags::{Follower, LocalClock, MemoryStore, Published, Sink, Synced, Update};
use disk::{Disk, SharedDisk, Told, TrueTime};
use instances::Instance;
use posted::Posted;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use ways::FollowerWay;

/// How many instances of the service there are.
const INSTANCES: usize = 2;
/// How far a machine's clock may be off, either way.
const SKEW_MAX_MS: i64 = 40_000;
/// The longest time until a late message is sent again, at this level: all followers run meanwhile.
const REDRIVE_MAX_MS: i64 = 1_200_000;

/// The bugs that can be planted at this level: around the handlers, in what they are told, given and allowed to write.
pub(crate) const PLANTS: [Plant; 16] = [
    Plant::NoCompareAndSet,
    Plant::ReceiversClock,
    Plant::AnswerBeforeCommit,
    Plant::ReconcileOff,
    Plant::ReconcilePlainSet,
    Plant::KeyedByMonitor,
    Plant::NoKey,
    Plant::OrDropped,
    Plant::LostIsClosed,
    Plant::FullClose,
    Plant::OldHint,
    Plant::HintAsReport,
    Plant::NoTimers,
    Plant::NoMinOpen,
    Plant::OverrideNotRestored,
    Plant::PauseIgnored,
];

/// The real parts.
pub(crate) struct Rig {
    pub(crate) disk: SharedDisk,
    instances: Vec<Instance>,
    posted: BTreeMap<u64, Posted>,
    posts: u64,
    /// How often data were lost or rolled back.
    losses: u64,
    /// What people had ordered when data were lost, and instances must bring back.
    restores: BTreeMap<BreakerId, crate::shadow::Ordered>,
    /// Whether the decision that is judged now was made in a paused scope.
    pub(crate) saw_pause: bool,
    dice: Dice,
    view: Arc<View>,
    must: Must,
    client: Option<Client>,
    _follower: Option<JoinHandle<()>>,
}

/// What the real follower tells.
#[derive(Default)]
struct View(Mutex<BTreeMap<BreakerId, Published>>);

impl View {
    fn flags(&self) -> BTreeMap<BreakerId, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for View {
    fn update(&self, updates: &[Update]) {
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Update { id, flag } in updates {
            match flag {
                Some(published) => flags.insert(id.clone(), published.clone()),
                None => flags.remove(id),
            };
        }
    }

    fn synced(&self, _: &Synced) {}
}

/// Lives a history with the real parts.
pub(crate) fn live(history: &mut History, plant: Option<Plant>, wanted: Wanted) -> Lived {
    // All chance of the real parts comes from here too.
    fastrand::seed(history.seed);
    if let Some(redrive_ms) = &mut history.redrive_ms {
        *redrive_ms = (*redrive_ms).min(history.quiet_ms + REDRIVE_MAX_MS);
    }
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let world = World::new(history, WHOLE, plant, Wanted { score: false, ..wanted });
    match (runtime, world) {
        (Ok(runtime), Some(world)) => runtime.block_on(live_in(world)),
        _ => Lived::impossible(),
    }
}

async fn live_in(mut world: World<'_>) -> Lived {
    let (tell, mut told) = unbounded_channel();
    let time = TrueTime::start();
    let disk = Arc::new(disk_of(&world, time, tell));
    let rig = Rig::new(&world, disk).await;
    world.caller = None;
    world.rig = Some(Box::new(rig));
    (0..INSTANCES).for_each(|instance| world.start_instance(instance));
    world.plan_history();
    let verdict = run(&mut world, time, &mut told).await;
    world.end(verdict)
}

/// Lets everything happen in its order: what the real parts do as soon as they do it, what is planned at its time.
async fn run(
    world: &mut World<'_>,
    time: TrueTime,
    told: &mut UnboundedReceiver<Told>,
) -> Result<(), Violation> {
    while let Some(next_ms) = world.next_ms() {
        tokio::select! {
            biased;
            Some(told) = told.recv() => {
                world.now_ms = world.now_ms.max(time.now_ms());
                world.hear(told)?;
            }
            () = sleep_until(time.at(next_ms)) => world.step()?,
        }
    }
    Ok(())
}

fn disk_of(world: &World<'_>, time: TrueTime, told: tokio::sync::mpsc::UnboundedSender<Told>) -> Disk {
    let (history, skew_ms) = (world.history, world.history.store_skew_ms);
    let store = MemoryStore::with_clock(Arc::new(move || time.now_ms() + skew_ms));
    let lost =
        history.store_faults.iter().any(|(_, fault)| matches!(fault, crate::history::StoreFault::Lost));
    // What people ordered is remembered by instances alone once the store has lost it: one must live on.
    let crash = if lost && !history.orders.is_empty() { 0 } else { history.profile.crash };
    let mut disk = Disk::new(store, Dice::new(history.seed, Stream::Disk), time, told);
    disk.away.clone_from(&history.store_away);
    (disk.quiet_ms, disk.crash, disk.plant) = (history.quiet_ms, crash, world.plant);
    disk
}

impl Rig {
    async fn new(world: &World<'_>, disk: SharedDisk) -> Rig {
        let mut dice = Dice::new(world.history.seed, Stream::Rig);
        let (view, mut client, mut follower) = (Arc::new(View::default()), None, None);
        if let Some(plan) = &world.history.caller {
            let mut way = |is_watched| {
                let (away, slow_ms, kept) = (plan.away.clone(), plan.slow_ms, plan.kept);
                let (breaks, rev, disk) = (AtomicU64::new(0), AtomicU64::new(0), disk.clone());
                let clock = clock(disk.time, &mut dice);
                (Arc::new(FollowerWay { disk, away, slow_ms, kept, is_watched, breaks, rev }), clock)
            };
            let (watched, clock) = way(true);
            follower = Some(tokio::spawn(Follower::with_clock(watched, Arc::clone(&view) as _, clock).run()));
            let (unwatched, clock) = way(false);
            client = Client::builder_on(unwatched).clock(clock).connect().await.ok();
        }
        Rig {
            disk,
            instances: (0..INSTANCES).map(|_| Instance::default()).collect(),
            posted: BTreeMap::new(),
            posts: 0,
            losses: 0,
            restores: BTreeMap::new(),
            saw_pause: false,
            dice,
            view,
            must: Must::default(),
            client,
            _follower: follower,
        }
    }
}

/// A machine's clock, which is off and stays so.
fn clock(time: TrueTime, dice: &mut Dice) -> LocalClock {
    let skew_ms = dice.ms(-SKEW_MAX_MS..=SKEW_MAX_MS);
    LocalClock::new(move || time.now_ms() + skew_ms)
}

impl Lived {
    fn impossible() -> Lived {
        Lived { verdict: broken("setup", "no runtime or no store"), ..Lived::panicked() }
    }
}
