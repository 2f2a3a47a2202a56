//! Flags as anybody may have written them into Redis: read, followed, and applied by a client.
//!
//! An input is lines `breaker<TAB>flag`, which are a snapshot; a line `--`; and messages of the channel, parted by an empty line.

use super::{NOW_SECS, text};
use async_trait::async_trait;
use cutout::Client;
use cutout_core::fault::{FAULT_DELAY_MAX_MS, FAULT_SHARE_MAX_PPM};
use cutout_core::flag::ALL_PPM;
use cutout_core::{BreakerId, Cause, Declared, Flag, Mode, MonitorSeen, Pause, State};
use cutout_flags::{
    Change, Committed, Epoch, FlagTable, LOST_HOLD_MS, LocalClock, MemoryStore, Meta, Position, Published,
    Read, Snapshot, Step, Store, StoreError, Stored, Term, Write,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const EPOCH: &str = "9f3a6c0d5e1b7a42";
const REV: u64 = 10;
const NOW_MS: i64 = NOW_SECS * 1_000;
/// Longer than a judge takes on a machine that is busy.
const JUDGED_WITHIN_MS: i64 = 60_000;

pub(super) fn judge(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (stored, told) = text.split_once("\n--\n").unwrap_or((text, ""));
    let fields = stored.lines().filter_map(|line| line.split_once('\t'));
    let mut flags = BTreeMap::new();
    for (id, json) in fields {
        if let Ok(published) = Published::read(json.as_bytes()) {
            flag(&published);
            flags.insert(BreakerId::from_stored(id.to_owned()), published);
        }
    }
    let changes: Vec<Change> =
        told.split("\n\n").filter_map(|message| Change::of_message(message.as_bytes())).collect();
    changes.iter().for_each(|change| flag(&change.published));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let snapshot = snapshot(flags).await;
        follow(&snapshot, &changes);
        client(snapshot).await;
    });
}

async fn snapshot(flags: BTreeMap<BreakerId, Published>) -> Snapshot {
    let meta = Meta {
        epoch: Epoch::from_stored(EPOCH.to_owned()),
        rev: REV,
        declared: Declared::default(),
        pause: None,
    };
    let empty = MemoryStore::new().snapshot().await.expect("a snapshot");
    Snapshot { now_ms: NOW_MS, meta: Some(meta), flags: flags.into_iter().collect(), ..empty }
}

/// A flag that is read, written and read again is the same, and whatever it says, its answers keep their limits.
fn flag(published: &Published) {
    let json = serde_json::to_vec(published).expect("a flag is JSON");
    assert_eq!(&Published::read(&json).expect("it is read again"), published);
    let flag = &published.flag;
    assert!(flag.is_refresh_of(flag));
    let next_ms = flag.next_change_ms().unwrap_or(NOW_MS);
    let ramp_ms = flag.ramp.map_or(NOW_MS, |ramp| ramp.to_ms);
    let times =
        [i64::MIN, NOW_MS, next_ms.saturating_sub(1), next_ms, ramp_ms.saturating_sub(1), ramp_ms, i64::MAX];
    times.into_iter().for_each(|now_ms| at(flag, now_ms));
}

fn at(flag: &Flag, now_ms: i64) {
    let (state, share_ppm) = (flag.state_at(now_ms), flag.share_ppm(now_ms));
    assert!(
        share_ppm <= ALL_PPM && flag.would_share_ppm(now_ms) <= ALL_PPM,
        "a share of more than all: {flag:?}"
    );
    let admits = |draw_ppm| flag.admits(None, now_ms, draw_ppm);
    match state {
        State::Closed => assert!(admits(ALL_PPM - 1), "closed means that calls flow"),
        State::Open if flag.is_forced_at(now_ms) => {
            assert!(!admits(0) && !flag.probes_at(now_ms), "a person refuses all");
        }
        State::Open | State::HalfOpen => assert_eq!(admits(0), share_ppm > 0),
    }
    assert!(flag.mode == Mode::Enforce || state == State::Closed, "watch mode refuses nobody");
    if let Some(injection) = flag.injects(None, now_ms, (0, 0), |_| true) {
        assert!(
            (0..=FAULT_DELAY_MAX_MS).contains(&injection.delay_ms)
                && (injection.aborts || injection.delay_ms > 0)
        );
    }
    let marked = flag.fault.as_ref().is_some_and(|fault| fault.only.is_some());
    let late = (FAULT_SHARE_MAX_PPM, FAULT_SHARE_MAX_PPM);
    assert!(
        marked || flag.injects(None, now_ms, late, |_| true).is_none(),
        "half of the calls meet no fault"
    );
}

/// What was seen is not news; what comes twice is stale; what is gone is told; what is lost is kept for a while.
fn follow(snapshot: &Snapshot, changes: &[Change]) {
    let mut table = FlagTable::default();
    assert_eq!(table.snapshot(snapshot.clone(), 0).len(), snapshot.flags.len());
    assert_eq!(table.snapshot(snapshot.clone(), 0), []);
    let mut rev = REV;
    let mut known: BTreeMap<BreakerId, Published> = snapshot.flags.iter().cloned().collect();
    for change in changes {
        let is_next = change.published.epoch.as_str() == EPOCH && change.published.rev == rev + 1;
        match table.change(change.clone()) {
            Step::Applied(update) => {
                assert!(is_next, "{change:?} after {rev}");
                assert_eq!((&update.id, update.flag.as_ref()), (&change.id, Some(&change.published)));
                assert_eq!(table.change(change.clone()), Step::Stale, "twice");
                known.insert(change.id.clone(), change.published.clone());
                rev += 1;
            }
            Step::Stale | Step::Gap => assert!(!is_next, "{change:?} after {rev}"),
        }
    }
    let lost = Snapshot { meta: None, flags: Vec::new(), ..snapshot.clone() };
    assert_eq!(table.snapshot(lost.clone(), 1), [], "a lost store keeps the last known");
    let gone = table.snapshot(lost, 1 + LOST_HOLD_MS);
    assert!(
        gone.iter().map(|update| &update.id).eq(known.keys())
            && gone.iter().all(|update| update.flag.is_none())
    );
}

/// A client of a store with these flags says of each what the flag says.
async fn client(snapshot: Snapshot) {
    let store = Arc::new(Shown(snapshot.clone()));
    let clock = LocalClock::new(|| NOW_MS);
    let client = Client::builder_on(store).clock(clock).allow_undeclared().connect().await.expect("a client");
    serde_json::to_string(&client.snapshot()).expect("a snapshot is JSON");
    let known: BTreeMap<BreakerId, _> =
        client.breakers().into_iter().map(|known| (known.breaker.clone(), known)).collect();
    for (id, Published { flag, .. }) in snapshot.flags.iter().filter(|(_, published)| stands(&published.flag))
    {
        let forced = flag.is_forced_at(NOW_MS);
        if let Some(known) = known.get(id) {
            assert_eq!(
                (known.state, known.share_ppm),
                (flag.state_at(NOW_MS), flag.share_ppm(NOW_MS)),
                "{id}"
            );
            assert_eq!((known.watch, known.forced.is_some()), (flag.mode == Mode::Watch, forced), "{id}");
        } else {
            assert_eq!(flag.share_ppm(NOW_MS), ALL_PPM, "{id} is not known, and calls do not flow");
        }
        let values: Vec<&str> = id.key().split('/').filter(|_| id.key_len() > 0).collect();
        // An id that no caller can spell is nobody's.
        if BreakerId::new(id.name(), &values) == *id {
            admission(&client, id, &values, flag);
        }
    }
}

/// Whether a flag says the same for as long as a judge may take: the client's clock goes on.
fn stands(flag: &Flag) -> bool {
    let soon = NOW_MS..=NOW_MS + JUDGED_WITHIN_MS;
    let (next_ms, ramp_ms) = (flag.next.map(|next| next.at_ms), flag.ramp.map(|ramp| ramp.to_ms));
    let until_ms = flag.forced.and_then(|forced| forced.until_ms);
    let changes = [next_ms, ramp_ms, until_ms, flag.stale_at_ms];
    let says = |now_ms| (flag.state_at(now_ms), flag.share_ppm(now_ms), flag.is_forced_at(now_ms));
    !changes.into_iter().flatten().any(|at_ms| soon.contains(&at_ms))
        && says(*soon.start()) == says(*soon.end())
}

fn admission(client: &Client, id: &BreakerId, values: &[&str], flag: &Flag) {
    let breaker = client.breaker(id.name(), values).expect("any name is allowed");
    assert_eq!((breaker.id(), breaker.state()), (id, flag.state_at(NOW_MS)));
    let admitted = breaker.admit();
    match (flag.state_at(NOW_MS), flag.share_ppm(NOW_MS)) {
        (_, ALL_PPM) => assert!(admitted.is_ok()),
        (state, 0) => {
            let refused = admitted.expect_err("no share, and admitted");
            assert_eq!((refused.state(), refused.breaker()), (state, id));
        }
        _ => {}
    }
}

/// A store that shows one snapshot, and then nothing more.
#[derive(Debug)]
struct Shown(Snapshot);

#[async_trait]
impl Store for Shown {
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(self.0.clone())
    }

    async fn tail(&self, _: &mut Position, _: Duration) -> Result<Vec<Change>, StoreError> {
        std::future::pending().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn declare(&self, _: &Declared) -> Result<Term, StoreError> {
        unreachable!("a client writes nothing")
    }

    async fn read(&self, _: &[BreakerId], _: Option<u64>) -> Result<Read, StoreError> {
        unreachable!("a client reads flags only")
    }

    async fn monitors(&self) -> Result<Vec<(u64, Stored<MonitorSeen>)>, StoreError> {
        unreachable!("a client reads flags only")
    }

    async fn commit(&self, _: &Term, _: &[Write]) -> Result<Committed, StoreError> {
        unreachable!("a client writes nothing")
    }

    async fn set_pause(&self, _: Option<&Pause>, _: &Cause, _: i64) -> Result<(), StoreError> {
        unreachable!("a client writes nothing")
    }
}
