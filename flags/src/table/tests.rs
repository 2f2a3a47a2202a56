//! The follower's table: gaps, new epochs, what was lost.

use super::*;
use crate::store::{Meta, PUBLISHED_VERSION, Position};
use cutout_core::flag::State::{Closed, Open};
use cutout_core::{Flag, State};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn id(number: u8) -> BreakerId {
    BreakerId::new("bank", &[number.to_string()])
}

fn published(epoch: &str, rev: u64, state: State) -> Published {
    let flag = Flag { state, ..Flag::default() };
    Published { v: PUBLISHED_VERSION, epoch: Epoch::from_stored(epoch.into()), rev, flag }
}

fn change(number: u8, epoch: &str, rev: u64, state: State) -> Change {
    Change { id: id(number), published: published(epoch, rev, state) }
}

fn update(number: u8, published: Published) -> Update {
    Update { id: id(number), flag: Some(published) }
}

fn gone(number: u8) -> Update {
    Update { id: id(number), flag: None }
}

fn empty() -> Snapshot {
    let position = Position("0".into());
    Snapshot { now_ms: 0, meta: None, flags: vec![], unreadable: vec![], position }
}

/// A snapshot of `epoch` at `rev` with these flags, each open since that rev.
fn snapshot(epoch: &str, rev: u64, open: &[(u8, u64)]) -> Snapshot {
    let meta =
        Meta { epoch: Epoch::from_stored(epoch.into()), rev, declared: Declared::default(), pause: None };
    let flags = open.iter().map(|(number, rev)| (id(*number), published(epoch, *rev, Open))).collect();
    Snapshot { meta: Some(meta), flags, ..empty() }
}

/// A table that knows 1 and 2 as open, at rev 2 of epoch `a`.
fn two_open() -> FlagTable {
    let mut table = FlagTable::default();
    let updates = table.snapshot(snapshot("a", 2, &[(1, 1), (2, 2)]), 0);
    assert_eq!(updates, [update(1, published("a", 1, Open)), update(2, published("a", 2, Open))]);
    table
}

#[test]
fn only_what_changed_is_told() {
    let mut table = two_open();
    assert_eq!(table.snapshot(snapshot("a", 2, &[(1, 1), (2, 2)]), 1), []);
    assert_eq!(table.snapshot(snapshot("a", 3, &[(1, 3), (2, 2)]), 2), [update(1, published("a", 3, Open))]);
}

#[test]
fn what_is_retracted_goes_with_the_next_snapshot_and_is_no_loss() {
    let mut table = two_open();
    assert!(matches!(table.change(change(1, "a", 3, Closed)), Step::Applied(_)));
    assert!(matches!(table.change(change(3, "a", 4, Open)), Step::Applied(_)));
    // One snapshot in between may have been taken for one of a replica that lags.
    assert_eq!(table.snapshot(snapshot("a", 2, &[(1, 1), (2, 2)]), 1), []);
    table.retract(3);
    let updates = table.snapshot(snapshot("a", 2, &[(1, 1), (2, 2)]), 2);
    assert_eq!(updates, [update(1, published("a", 1, Open)), gone(3)]);
    assert_eq!(table.losses(), 0);
    assert!(matches!(table.change(change(1, "a", 3, Closed)), Step::Applied(_)), "the true one");
    table.retract(u64::MAX);
    assert_eq!(table.change(change(1, "a", 3, Closed)), Step::Stale, "what came before stays");
}

#[test]
fn absent_under_the_same_epoch_is_closed() {
    assert_eq!(two_open().snapshot(snapshot("a", 2, &[(1, 1)]), 1), [gone(2)]);
}

#[test]
fn changes_are_taken_in_their_order_and_anything_else_asks_for_a_snapshot() {
    let mut table = two_open();
    let next = change(1, "a", 3, Closed);
    assert_eq!(FlagTable::default().change(next.clone()), Step::Gap, "nothing is known yet");
    assert_eq!(table.change(next.clone()), Step::Applied(update(1, next.published.clone())));
    assert_eq!(table.change(next), Step::Stale);
    assert_eq!(table.change(change(1, "a", 5, Open)), Step::Gap, "4 is missing");
    assert_eq!(table.change(change(1, "b", 4, Open)), Step::Gap, "another epoch");
    let after = change(2, "a", 4, Closed);
    assert_eq!(
        table.change(after.clone()),
        Step::Applied(update(2, after.published)),
        "a gap changes nothing"
    );
}

#[test]
fn lost_flags_are_held_until_they_show_again_or_their_time_is_over() {
    let mut table = two_open();
    assert_eq!(table.snapshot(snapshot("b", 0, &[]), 10), []);
    assert_eq!((table.losses(), table.snapshot(snapshot("b", 1, &[(1, 1)]), 20).len()), (1, 1));
    assert_eq!(
        table.snapshot(snapshot("b", 1, &[]), 30),
        [gone(1)],
        "1 was shown again, so absent is closed"
    );
    assert_eq!(table.snapshot(snapshot("b", 1, &[]), 9 + LOST_HOLD_MS), []);
    assert_eq!(table.snapshot(snapshot("b", 1, &[]), 10 + LOST_HOLD_MS), [gone(2)]);
    assert_eq!(table.losses(), 1);
}

#[test]
fn a_store_without_an_epoch_is_lost_once_however_often_it_is_read() {
    let mut table = two_open();
    for now_ms in [10, 20, 30] {
        assert_eq!(table.snapshot(empty(), now_ms), []);
    }
    assert_eq!(table.change(change(1, "a", 3, Closed)), Step::Gap, "nothing follows on what is lost");
    assert_eq!(table.snapshot(snapshot("b", 0, &[]), 40), []);
    assert_eq!(table.losses(), 1, "the new epoch is the same loss");
    assert_eq!(table.snapshot(snapshot("b", 0, &[]), 10 + LOST_HOLD_MS).sorted(), [gone(1), gone(2)]);
}

#[test]
fn losses_in_a_row_do_not_prolong_the_hold() {
    let mut table = two_open();
    for (loss, epoch) in ["b", "c", "d", "e"].into_iter().enumerate() {
        assert_eq!(table.snapshot(snapshot(epoch, 0, &[]), 10 + 30_000 * loss as i64), []);
    }
    assert_eq!(table.losses(), 4);
    assert_eq!(table.snapshot(snapshot("f", 0, &[]), 10 + LOST_HOLD_MS).sorted(), [gone(1), gone(2)]);
}

#[test]
fn a_flag_shown_again_is_held_anew_at_the_next_loss() {
    let mut table = two_open();
    table.snapshot(snapshot("b", 1, &[(1, 1)]), 10);
    table.snapshot(snapshot("c", 0, &[]), 100_000);
    assert_eq!(table.snapshot(snapshot("c", 0, &[]), 10 + LOST_HOLD_MS), [gone(2)]);
    assert_eq!(table.snapshot(snapshot("c", 0, &[]), 100_000 + LOST_HOLD_MS), [gone(1)]);
}

#[test]
fn data_that_come_back_are_the_truth_again() {
    let mut table = two_open();
    table.snapshot(empty(), 10);
    assert_eq!(table.snapshot(snapshot("a", 3, &[(1, 3), (2, 2)]), 20), [update(1, published("a", 3, Open))]);
    let next = change(2, "a", 4, Closed);
    assert_eq!(table.change(next.clone()), Step::Applied(update(2, next.published)));
}

#[test]
fn an_older_snapshot_undoes_nothing() {
    let mut table = two_open();
    assert_eq!(table.snapshot(snapshot("a", 1, &[(1, 1)]), 10), []);
    assert_eq!(table.change(change(2, "a", 2, Open)), Step::Stale, "its stream repeats what is known");
    assert_eq!(
        table.change(change(2, "a", 3, Closed)),
        Step::Gap,
        "and does not say what follows on what is known"
    );
    assert_eq!(table.snapshot(snapshot("a", 2, &[(1, 1), (2, 2)]), 20), []);
    assert_eq!(table.losses(), 0);
}

#[test]
fn a_store_that_stays_behind_has_lost_its_last_writes() {
    let mut table = two_open();
    let behind = || snapshot("a", 1, &[(1, 1), (3, 1)]);
    assert_eq!(table.snapshot(behind(), 10), []);
    assert_eq!(table.snapshot(behind(), 9 + BEHIND_LIMIT_MS), [], "the time counts from the first");
    assert_eq!(
        table.snapshot(behind(), 10 + BEHIND_LIMIT_MS),
        [update(3, published("a", 1, Open))],
        "2 is held"
    );
    assert_eq!(table.losses(), 1);
    let next = change(2, "a", 2, Closed);
    assert_eq!(
        table.change(next.clone()),
        Step::Applied(update(2, next.published)),
        "numbers go on from there"
    );
}

#[test]
fn what_cannot_be_read_is_not_absent() {
    let mut table = two_open();
    let unreadable = Snapshot { unreadable: vec![id(2), id(9)], ..snapshot("a", 3, &[(1, 1)]) };
    assert_eq!(table.snapshot(unreadable.clone(), 10), []);
    let after_loss = Snapshot { unreadable: vec![id(2)], ..snapshot("b", 1, &[]) };
    assert_eq!(table.snapshot(after_loss.clone(), 20), []);
    assert_eq!(table.snapshot(after_loss, 20 + LOST_HOLD_MS), [gone(1)], "2 stands there");
    assert_eq!(table.snapshot(snapshot("b", 1, &[]), 30 + LOST_HOLD_MS), [gone(2)]);
}

#[test]
fn the_last_declarations_outlive_a_loss() {
    let mut table = two_open();
    assert_eq!(table.declared().map(|declared| declared.breakers.len()), Some(0));
    table.snapshot(empty(), 10);
    assert!(table.declared().is_some());
}

trait Sorted {
    fn sorted(self) -> Vec<Update>;
}

impl<I: IntoIterator<Item = Update>> Sorted for I {
    fn sorted(self) -> Vec<Update> {
        let mut updates: Vec<Update> = self.into_iter().collect();
        updates.sort_by(|one, other| one.id.cmp(&other.id));
        updates
    }
}

/// What may happen to a store and its follower.
#[derive(Debug, Clone)]
enum Turn {
    Write(u8, bool),
    Lose,
    Declare,
    Pass(i64),
    ReadSnapshot,
    /// A snapshot that was taken before the last one and arrives after it.
    ReadOldSnapshot,
    ReadChanges(usize),
    TrimChanges,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (0..4_u8, any::<bool>()).prop_map(|(number, open)| Turn::Write(number, open)),
        1 => Just(Turn::Lose),
        2 => Just(Turn::Declare),
        3 => (0..LOST_HOLD_MS).prop_map(Turn::Pass),
        3 => Just(Turn::ReadSnapshot),
        1 => Just(Turn::ReadOldSnapshot),
        4 => (1..4_usize).prop_map(Turn::ReadChanges),
        1 => Just(Turn::TrimChanges),
    ];
    prop::collection::vec(turn, 1..120)
}

/// A store as a plain model, the table that follows it, and the rules in their plainest form.
#[derive(Default)]
struct World {
    now_ms: i64,
    epochs: u32,
    epoch: Option<String>,
    rev: u64,
    flags: BTreeMap<BreakerId, Published>,
    stream: Vec<Change>,
    old: Option<Snapshot>,

    table: FlagTable,
    /// Where the follower stands in the stream; none: it needs a snapshot.
    place: Option<usize>,
    /// What the follower's sink knows.
    told: BTreeMap<BreakerId, Published>,
    known_epoch: Option<String>,
    /// When the follower first saw a loss after it was last shown this flag.
    lost_ms: BTreeMap<BreakerId, i64>,
}

impl World {
    fn happen(&mut self, turn: &Turn) {
        match turn {
            Turn::Write(number, open) => self.write(*number, if *open { Open } else { Closed }),
            Turn::Lose => {
                (self.epoch, self.rev, self.old) = (None, 0, None);
                self.flags.clear();
            }
            Turn::Declare => {
                self.epochs += 1;
                let new = format!("epoch {}", self.epochs);
                self.epoch.get_or_insert(new);
            }
            Turn::Pass(ms) => self.now_ms += ms,
            Turn::ReadSnapshot => self.read_snapshot(),
            Turn::ReadOldSnapshot => self.read_old_snapshot(),
            Turn::ReadChanges(count) => self.read_changes(*count),
            Turn::TrimChanges => {
                // Places count from the stream's beginning, so what is trimmed is a change nobody can read.
                self.place = self.place.map(|_| self.stream.len());
            }
        }
    }

    fn write(&mut self, number: u8, state: State) {
        let Some(epoch) = &self.epoch else { return };
        self.old = Some(self.snapshot());
        self.rev += 1;
        let change = change(number, epoch, self.rev, state);
        self.flags.insert(change.id.clone(), change.published.clone());
        self.stream.push(change);
    }

    fn snapshot(&self) -> Snapshot {
        let meta = self.epoch.clone().map(|epoch| Meta {
            epoch: Epoch::from_stored(epoch),
            rev: self.rev,
            declared: Declared::default(),
            pause: None,
        });
        let flags = self.flags.iter().map(|(id, published)| (id.clone(), published.clone())).collect();
        Snapshot { meta, flags, ..empty() }
    }

    fn read_snapshot(&mut self) {
        if self.known_epoch.is_some() && self.known_epoch != self.epoch {
            for id in self.told.keys() {
                self.lost_ms.entry(id.clone()).or_insert(self.now_ms);
            }
        }
        let may_go =
            |id: &BreakerId| self.lost_ms.get(id).is_none_or(|lost_ms| self.now_ms - lost_ms >= LOST_HOLD_MS);
        let mut expected = self.told.clone();
        expected.retain(|id, _| !may_go(id));
        expected.extend(self.flags.clone());

        let updates = self.table.snapshot(self.snapshot(), self.now_ms);
        self.tell(updates);
        assert_eq!(self.told, expected, "absent is closed only under a known epoch");
        self.lost_ms.retain(|id, _| expected.contains_key(id) && !self.flags.contains_key(id));
        self.known_epoch.clone_from(&self.epoch.clone().or(self.known_epoch.clone()));
        self.place = Some(self.stream.len());
    }

    fn read_old_snapshot(&mut self) {
        let Some(old) = self.old.clone() else { return };
        self.read_snapshot();
        assert_eq!(self.table.snapshot(old, self.now_ms), [], "older undoes nothing");
        self.read_snapshot();
    }

    fn read_changes(&mut self, count: usize) {
        for _ in 0..count {
            let Some(place) = self.place.filter(|place| *place < self.stream.len()) else { return };
            self.place = Some(place + 1);
            match self.table.change(self.stream[place].clone()) {
                Step::Applied(update) => {
                    self.lost_ms.remove(&update.id);
                    self.tell(vec![update]);
                }
                Step::Stale => panic!("a stream read from a snapshot on repeats nothing"),
                Step::Gap => self.place = None,
            }
        }
    }

    fn tell(&mut self, updates: Vec<Update>) {
        for Update { id, flag } in updates {
            let before = match flag.clone() {
                Some(published) => self.told.insert(id, published),
                None => self.told.remove(&id),
            };
            assert_ne!(before, flag, "told though nothing changed");
            if let (Some(before), Some(after)) = (before, flag) {
                assert!(before.epoch != after.epoch || before.rev < after.rev, "newer wins");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_absent_is_not_lost_and_in_the_end_the_store_is_right(turns in turns()) {
        let mut world = World::default();
        for turn in &turns {
            world.happen(turn);
        }
        world.happen(&Turn::Declare);
        world.read_snapshot();
        world.now_ms += LOST_HOLD_MS;
        world.read_snapshot();
        prop_assert_eq!(&world.told, &world.flags);
    }
}
