//! Asking a breaker allocates nothing, whatever its state. Counted for the asking thread alone: the follower may allocate.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with the tests of the client")]
mod world;

use cutout_core::{Act, BreakerId, Declared, Flag, Forced, Hold, Mode, Policy};
use cutout_flags::{Epoch, FlagTable, MemoryStore, Meta, Published, Snapshot, Store};
use world::World;

const ASKED: u64 = 1_000;

/// Allocations of [`ASKED`] questions on `breaker`. The first one on a thread may set up the thread's own state.
fn allocations(breaker: &cutout::Breaker) -> u64 {
    let _ = breaker.admit();
    let counted = allocation_counter::measure(|| {
        for _ in 0..ASKED {
            let _ = std::hint::black_box(breaker.admit());
        }
    });
    counted.count_total
}

/// The same for calls that do nothing.
fn called(breaker: &cutout::Breaker) -> u64 {
    let call = || drop(std::hint::black_box(breaker.call_blocking(|| Ok::<_, std::fmt::Error>(()))));
    call();
    allocation_counter::measure(|| (0..ASKED).for_each(|_| call())).count_total
}

#[tokio::test]
async fn no_answer_allocates() {
    // The counter counts at all.
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);

    let mut world = World::new(Policy::default()).await;
    let [charge, unknown] =
        [world.bank.for_class("charge"), world.client.breaker("bank-charge", &["0002"]).unwrap()];
    assert_eq!((allocations(&charge), allocations(&unknown)), (0, 0), "no flag");
    assert_eq!(called(&charge), 0, "a call, with its counts");
    world.reported("Alert").await;
    assert_eq!(charge.state(), cutout::State::Open);
    assert_eq!(called(&charge), 0, "a call that is refused");
    assert_eq!((allocations(&charge), allocations(&unknown)), (0, 0), "open");
    world.reported("OK").await;
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
    assert_eq!(allocations(&charge), 0, "forced");
    world.ordered(Act::Clear).await;
    assert_eq!(charge.state(), cutout::State::HalfOpen);
    assert_eq!(allocations(&charge), 0, "half-open");

    let policy = Policy { mode: Mode::Watch, refuse: ["charge".to_owned()].into(), ..Policy::default() };
    let mut watched = World::new(policy).await;
    watched.reported("Alert").await;
    let classes = ["charge", "refund"].map(|class| allocations(&watched.bank.for_class(class)));
    assert_eq!(classes, [0, 0], "watch mode");

    let banks = world.client.family("bank-charge").unwrap();
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
    let by_key = |key: &str| {
        assert_eq!(banks.admit(&[key]).is_err(), key == "0001");
        allocation_counter::measure(|| (0..ASKED).for_each(|_| drop(banks.admit(&[key])))).count_total
    };
    assert_eq!((by_key("0001"), by_key("0002")), (0, 0), "keys that come with the call");
    let asked = |banks: &cutout::Family, key: &[&str]| {
        let _ = banks.admit(key);
        allocation_counter::measure(|| (0..ASKED).for_each(|_| drop(banks.admit(key)))).count_total
    };
    let keys: [&[&str]; 4] = [&["VISA"], &["50%"], &["0001", "eu"], &["0001", "EU"]];
    assert_eq!(keys.map(|key| asked(&banks, key)), [0; 4], "keys that are spelled otherwise than they come");

    let mut held = World::new(Policy::default()).await;
    held.hold = Some(Hold::Paused);
    held.reported("Alert").await;
    assert_eq!(allocations(&held.bank), 0, "held");

    let open_after = cutout::MaxStaleness::OpenAfter(cutout::MAX_STALENESS_MIN);
    let silent = World::with(Policy::default(), |builder| builder.max_staleness(open_after)).await;
    silent.cut();
    tokio::time::pause();
    silent.until(600).await;
    let family = silent.client.family("bank-charge").unwrap();
    assert!(family.admit(&["0009"]).is_err());
    assert_eq!(asked(&family, &["0009"]), 0, "a key that nobody has heard of, while nobody hears anything");
}

/// Keys of the figures of bytes.
const KEYS: usize = 100_000;
/// The most that one breaker may take that is held and has a flag in the store, in bytes asked of the allocator; what the allocator adds is shown by `cargo bench -p cutout`.
const BYTES_MAX: usize = 150;

fn bytes_each(run: impl FnOnce()) -> usize {
    usize::try_from(allocation_counter::measure(run).bytes_current).unwrap() / KEYS
}

#[tokio::test]
async fn a_breaker_takes_few_bytes_though_there_are_very_many() {
    let fake = cutout::FakeClient::new(["bank-charge"]);
    let (client, keys) = (fake.client(), (0..KEYS).map(|key| format!("{key:06}")).collect::<Vec<_>>());
    let mut handles = Vec::with_capacity(KEYS);
    let kept = bytes_each(|| {
        handles.extend(keys.iter().map(|key| client.breaker("bank-charge", &[key]).unwrap()));
    });
    let held = kept + size_of::<cutout::Breaker>();

    // All of them have a flag in the store, which says closed: nothing more in the client, a little in its follower.
    let empty = MemoryStore::new().snapshot().await.unwrap();
    let epoch = Epoch::random();
    let flag = |key: &String| {
        let published = Published { v: 1, epoch: epoch.clone(), rev: 1, flag: Flag::default() };
        (BreakerId::new("bank-charge", &[key]), published)
    };
    let mut table = FlagTable::default();
    let followed = bytes_each(|| {
        let meta = Meta { epoch: epoch.clone(), rev: 1, declared: Declared::default(), pause: None };
        let flags = keys.iter().map(flag).collect();
        let snapshot = Snapshot { meta: Some(meta), flags, ..empty };
        assert_eq!(table.snapshot(snapshot, 0).len(), KEYS);
    });
    let both = held + followed;
    assert!(both <= BYTES_MAX, "{both} bytes for one that is held and followed");
    println!("{held} bytes for a breaker that is held, {followed} for a flag that is followed");
}
