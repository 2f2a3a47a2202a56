//! What every store must do. Each part runs against memory, against a Redis of its own, and in a Redis Cluster, where the
//! store is always given a node that does not own the scope's slot.

use crate::audit::{
    a_group_hands_each_entry_to_one_reader_and_what_is_left_to_another,
    the_audit_stream_keeps_what_it_is_told_to, the_audit_stream_reads_in_both_directions_and_in_parts,
    what_a_group_can_not_finish_any_more_is_counted, what_was_let_go_before_a_group_began_is_not_lost_to_it,
};
use crate::subject::{
    DEADLINE, Following, Subject, WAIT, Watcher, bank, commit, declare, flag, tail_up_to, write,
};
use crate::together::each_of_many_at_once_gets_its_own_answer;
use cutout_core::declaration::DeclaredBreaker;
use cutout_core::flag::State::{Closed, HalfOpen, Open};
use cutout_core::{Breaker, BreakerId, Cause, Declared, EventSeen, Family, Flag, MonitorSeen, Pause};
use cutout_flags::{
    AuditFrom, CHANGES_KEPT, Committed, Epoch, Follower, Publish, Stored, Term, WRITES_PER_SCRIPT_MAX, Write,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Each part as a test of memory and as one of Redis; all parts as one test of a cluster, which takes seconds to start.
macro_rules! every_store {
    ($($part:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $part() { super::$part(super::Subject::memory()).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $part() { super::$part(super::Subject::redis()).await; })*
        }
        mod cluster {
            #[tokio::test] async fn every_part_in_a_scope_of_its_own() {
                let cluster = std::sync::Arc::new(cutout_tests::cluster::RedisCluster::start());
                let mut owners = std::collections::BTreeSet::new();
                $(
                    // Shown if the part fails.
                    println!("{}", stringify!($part));
                    let scope = stringify!($part);
                    owners.insert(cluster.owner(scope));
                    super::$part(super::Subject::in_cluster(&cluster, scope)).await;
                )*
                assert_eq!(owners.len(), cluster.nodes.len(), "every node owned the slot of a part");
            }
        }
    };
}

every_store!(
    the_first_declaration_sets_the_epoch_and_the_last_one_is_published,
    what_is_absent_reads_as_none,
    what_was_written_reads_back_in_the_order_asked_for,
    a_write_on_an_old_revision_is_refused_by_itself,
    another_epoch_writes_nothing,
    changes_are_numbered_without_holes_under_concurrent_writers,
    a_commit_may_be_larger_than_a_script,
    a_record_without_a_flag_is_no_change,
    a_snapshot_and_its_tail_show_every_change_once,
    a_position_is_a_place_to_come_back_to,
    a_tail_waits_and_wakes,
    two_tails_wait_side_by_side,
    a_monitor_is_remembered,
    a_lower_revision_declares_and_writes_nothing,
    a_refresh_keeps_its_number_and_is_no_change,
    families_are_counted_with_the_writes_that_are_taken,
    a_pause_is_shown_until_it_is_ended,
    a_pause_is_replaced_only_by_who_has_seen_it,
    the_audit_stream_reads_in_both_directions_and_in_parts,
    the_audit_stream_keeps_what_it_is_told_to,
    a_group_hands_each_entry_to_one_reader_and_what_is_left_to_another,
    what_a_group_can_not_finish_any_more_is_counted,
    what_was_let_go_before_a_group_began_is_not_lost_to_it,
    flags_read_back_in_the_order_asked_for,
    a_follower_sees_a_refresh_and_a_pause_in_its_next_snapshot,
    the_store_answers_a_ping,
    a_follower_tells_flags_names_clock_and_freshness,
    a_follower_heals_what_a_trimmed_stream_has_lost,
    a_follower_keeps_flags_that_the_store_lost_until_it_shows_them_again,
    each_of_many_at_once_gets_its_own_answer,
);

async fn the_first_declaration_sets_the_epoch_and_the_last_one_is_published(subject: Subject) {
    let store = subject.store();
    assert_eq!(store.snapshot().await.unwrap().meta, None, "nothing was declared yet");
    let first = declare(&*store).await;
    let breakers = [("bank".to_owned(), DeclaredBreaker { key: vec!["bank_code".into()] })].into();
    let declared = Declared { revision: 0, breakers };
    assert_eq!(store.declare(&declared).await.unwrap(), first);
    let meta = store.snapshot().await.unwrap().meta.unwrap();
    assert_eq!((meta.epoch, meta.rev, meta.declared), (first.epoch, 0, declared));
}

async fn what_is_absent_reads_as_none(subject: Subject) {
    let store = subject.store();
    let before = store.read(&[bank(1), bank(2)], Some(5)).await.unwrap();
    assert_eq!((before.term, before.breakers, before.monitor), (None, vec![None, None], None));
    let term = declare(&*store).await;
    let after = store.read(&[], None).await.unwrap();
    assert_eq!((after.term, after.breakers, after.monitor), (Some(term), vec![], None));
    let local_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    assert!(
        after.now_ms.abs_diff(i64::try_from(local_ms).unwrap()) < 60_000,
        "Unix milliseconds: {}",
        after.now_ms
    );
}

async fn what_was_written_reads_back_in_the_order_asked_for(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let odd = BreakerId::new("bank", &["ü %/{}\"\\ \n"]);
    let writes =
        [write(&bank(1), 0, 10, None), write(&odd, 0, 20, Some(flag(Open))), write(&bank(3), 0, 30, None)];
    assert_eq!(store.commit(&term, &writes).await.unwrap(), Committed::Taken(vec![true; 3]));
    let read = store.read(&[bank(3), bank(2), odd.clone(), bank(1)], None).await.unwrap();
    let stored = |mark| Some(Stored { revision: 1, value: Breaker::new(mark) });
    assert_eq!(read.breakers, [stored(30), None, stored(20), stored(10)]);
    let flags = store.snapshot().await.unwrap().flags;
    assert_eq!(flags.len(), 1);
    assert_eq!((&flags[0].0, flags[0].1.flag.clone()), (&odd, flag(Open)));
}

async fn a_write_on_an_old_revision_is_refused_by_itself(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let writes = [
        write(&bank(1), 0, 2, Some(flag(Closed))),
        write(&bank(1), 1, 3, Some(flag(HalfOpen))),
        write(&bank(1), 1, 4, Some(flag(Closed))),
        write(&bank(2), 1, 5, Some(flag(Open))),
        write(&bank(3), 0, 6, Some(flag(Open))),
    ];
    let taken = vec![false, true, false, false, true];
    assert_eq!(store.commit(&term, &writes).await.unwrap(), Committed::Taken(taken));
    let read = store.read(&[bank(1), bank(2), bank(3)], None).await.unwrap();
    let stored = |revision, mark| Some(Stored { revision, value: Breaker::new(mark) });
    assert_eq!(read.breakers, [stored(2, 3), None, stored(1, 6)]);
    let snapshot = store.snapshot().await.unwrap();
    let flags: BTreeMap<_, _> =
        snapshot.flags.into_iter().map(|(id, p)| (id, (p.rev, p.flag.state))).collect();
    assert_eq!(flags, [(bank(1), (2, HalfOpen)), (bank(3), (3, Open))].into(), "a refused write has no flag");
    assert_eq!(snapshot.meta.unwrap().rev, 3);
}

async fn another_epoch_writes_nothing(subject: Subject) {
    let store = subject.store();
    let (stranger, writes) = (
        Term { epoch: Epoch::from_stored("another".into()), revision: 0 },
        [write(&bank(1), 0, 1, Some(flag(Open)))],
    );
    assert_eq!(store.commit(&stranger, &writes).await.unwrap(), Committed::OtherTerm, "none was declared");
    let lost = declare(&*store).await;
    subject.lose_everything().await;
    let term = declare(&*store).await;
    assert_ne!(lost, term);
    assert_eq!(store.commit(&lost, &writes).await.unwrap(), Committed::OtherTerm);
    assert_eq!(store.read(&[bank(1)], None).await.unwrap().breakers, [None]);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.flags.len(), snapshot.meta.unwrap().rev), (0, 0));
}

async fn changes_are_numbered_without_holes_under_concurrent_writers(subject: Subject) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 20;
    let store = subject.store();
    let term = declare(&*store).await;
    let mut position = store.snapshot().await.unwrap().position;
    let writers = (0..WRITERS).map(|writer| {
        let (store, term) = (subject.store(), term.clone());
        tokio::spawn(async move {
            let mut taken = 0;
            for round in 0..ROUNDS {
                // One breaker that all of them want, one of its own.
                let read = store.read(&[bank(0)], None).await.unwrap();
                let expected = read.breakers[0].as_ref().map_or(0, |stored| stored.revision);
                let shared = write(&bank(0), expected, 1, Some(flag(Open)));
                let own = write(&bank(writer + 1), round as u64, 1, Some(flag(Open)));
                let Committed::Taken(of_both) = store.commit(&term, &[shared, own]).await.unwrap() else {
                    panic!("the epoch is the same")
                };
                assert!(of_both[1], "nobody else writes it");
                taken += of_both.iter().filter(|taken| **taken).count() as u64;
            }
            taken
        })
    });
    let mut taken = 0;
    for writer in writers.collect::<Vec<_>>() {
        taken += writer.await.unwrap();
    }
    let changes = tail_up_to(&*store, &mut position, taken).await;
    let revs: Vec<u64> = changes.iter().map(|change| change.published.rev).collect();
    assert_eq!(revs, (1..=taken).collect::<Vec<_>>());
    let shared = changes.iter().filter(|change| change.id == bank(0)).count() as u64;
    let stored = store.read(&[bank(0)], None).await.unwrap().breakers[0].clone().unwrap();
    assert_eq!(stored.revision, shared, "each write that was taken is one revision and one change");
}

async fn a_commit_may_be_larger_than_a_script(subject: Subject) {
    const WRITES: usize = 1_200;
    const { assert!(WRITES > 2 * WRITES_PER_SCRIPT_MAX) };
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(700), 0, 1, None)).await;
    let ids: Vec<BreakerId> = (0..WRITES).map(bank).collect();
    let writes: Vec<Write> = ids.iter().map(|id| write(id, 0, 2, Some(flag(Open)))).collect();
    let Committed::Taken(taken) = store.commit(&term, &writes).await.unwrap() else { panic!("same epoch") };
    let refused: Vec<usize> = (0..taken.len()).filter(|index| !taken[*index]).collect();
    assert_eq!((taken.len(), refused), (WRITES, vec![700]));
    let read = store.read(&ids, None).await.unwrap();
    assert!(read.breakers.iter().all(Option::is_some));
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.flags.len(), snapshot.meta.unwrap().rev), (WRITES - 1, WRITES as u64 - 1));
}

async fn a_record_without_a_flag_is_no_change(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let mut position = store.snapshot().await.unwrap().position;
    commit(&*store, &term, write(&bank(1), 0, 1, None)).await;
    commit(&*store, &term, write(&bank(1), 1, 2, None)).await;
    assert_eq!(store.tail(&mut position, WAIT).await.unwrap(), []);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.flags.len(), snapshot.meta.unwrap().rev), (0, 0));
}

async fn a_snapshot_and_its_tail_show_every_change_once(subject: Subject) {
    const CHANGES: usize = 300;
    let store = subject.store();
    let term = declare(&*store).await;
    let writing = async {
        for number in 0..CHANGES {
            commit(&*store, &term, write(&bank(number), 0, 1, Some(flag(Open)))).await;
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let mut revs: BTreeSet<u64> = BTreeSet::new();
        let reader = subject.store();
        loop {
            let mut snapshot = reader.snapshot().await.unwrap();
            let rev = snapshot.meta.unwrap().rev;
            if rev == CHANGES as u64 {
                break;
            }
            let mut shown: Vec<u64> = snapshot.flags.iter().map(|(_, published)| published.rev).collect();
            let after = tail_up_to(&*reader, &mut snapshot.position, rev + 1).await;
            shown.extend(after.iter().map(|change| change.published.rev));
            shown.sort_unstable();
            let expected: Vec<u64> = (1..=shown.len() as u64).collect();
            assert_eq!(shown, expected, "a snapshot at {rev} and its tail");
            revs.insert(rev);
        }
        revs.len()
    };
    let ((), snapshots) = tokio::join!(writing, reading);
    assert!(snapshots > 1, "no snapshot fell between two changes");
}

async fn a_position_is_a_place_to_come_back_to(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let start = store.snapshot().await.unwrap().position;
    commit(&*store, &term, write(&bank(2), 0, 1, Some(flag(Open)))).await;
    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;

    let (mut first, mut again) = (start.clone(), start);
    let changes = tail_up_to(&*store, &mut first, 3).await;
    let told: Vec<_> = changes.iter().map(|c| (&c.id, c.published.rev, c.published.flag.state)).collect();
    assert_eq!(told, [(&bank(2), 2, Open), (&bank(1), 3, Closed)]);
    assert!(changes.iter().all(|change| change.published.epoch == term.epoch));
    assert_eq!(tail_up_to(&*store, &mut again, 3).await, changes, "whoever comes back reads the same");
    assert_eq!(first, again);
    assert_eq!(store.tail(&mut first, WAIT).await.unwrap(), [], "and nothing twice");
}

async fn a_tail_waits_and_wakes(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let start = store.snapshot().await.unwrap().position;
    let mut position = start.clone();
    assert_eq!(store.tail(&mut position, Duration::ZERO).await.unwrap(), []);
    assert_eq!(store.tail(&mut position, WAIT).await.unwrap(), []);
    assert_eq!(position, start);
    // The wait is longer than the deadline, so only the change can end it.
    let waiting = timeout(DEADLINE, store.tail(&mut position, 10 * DEADLINE));
    let writing = async {
        tokio::task::yield_now().await;
        commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    };
    let (changes, ()) = tokio::join!(waiting, writing);
    assert_eq!(changes.expect("woken").unwrap()[0].id, bank(1));
}

async fn two_tails_wait_side_by_side(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let start = store.snapshot().await.unwrap().position;
    let (mut one, mut other) = (start.clone(), start);
    assert_eq!(store.tail(&mut one, WAIT).await.unwrap(), []);
    let mut patient = std::pin::pin!(timeout(DEADLINE, store.tail(&mut one, 10 * DEADLINE)));
    tokio::select! {
        biased; // The patient one asks first.
        answer = &mut patient => panic!("nothing has changed: {answer:?}"),
        answer = store.tail(&mut other, WAIT) => assert_eq!(answer.unwrap(), [], "held up by the other"),
    }
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    let told = patient.await.expect("woken").unwrap();
    assert_eq!(told, store.tail(&mut other, WAIT).await.unwrap());
    assert_eq!(told.len(), 1);
}

async fn a_monitor_is_remembered(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let tags = || ["cutout".to_owned()].into();
    let breakers = || [(bank(1), None), (bank(2), Some(5))].into();
    let seen = |as_of_ms| MonitorSeen {
        tags: tags(),
        as_of_ms,
        latest_change_ms: Some(7),
        managed: true,
        breakers: breakers(),
        name: "Bank API".to_owned(),
        url: "https://dd.example/monitors/7".to_owned(),
        event: Some(EventSeen { at_ms: 6, url: "https://dd.example/event/8".to_owned() }),
    };
    let remember =
        |expected, as_of_ms| Write::Monitor { monitor_id: u64::MAX, expected, seen: seen(as_of_ms) };
    commit(&*store, &term, remember(0, 1)).await;
    let writes = [remember(0, 2), remember(1, 3)];
    assert_eq!(store.commit(&term, &writes).await.unwrap(), Committed::Taken(vec![false, true]));
    let stored = store.read(&[], Some(u64::MAX)).await.unwrap().monitor;
    assert_eq!(stored, Some(Stored { revision: 2, value: seen(3) }));
    assert_eq!(store.read(&[], Some(1)).await.unwrap().monitor, None);
    assert_eq!(store.monitors().await.unwrap(), [(u64::MAX, Stored { revision: 2, value: seen(3) })]);
    assert_eq!(store.snapshot().await.unwrap().meta.unwrap().rev, 0, "a monitor is no flag");
}

async fn a_lower_revision_declares_and_writes_nothing(subject: Subject) {
    let store = subject.store();
    let declared = |revision, name: &str| Declared {
        revision,
        breakers: [(name.to_owned(), DeclaredBreaker::default())].into(),
    };
    let seventh = store.declare(&declared(7, "seven")).await.unwrap();
    assert_eq!(seventh.revision, 7);
    assert_eq!(store.declare(&declared(6, "six")).await.unwrap(), seventh, "the one in force is told");
    assert_eq!(store.snapshot().await.unwrap().meta.unwrap().declared, declared(7, "seven"));
    assert_eq!(store.read(&[], None).await.unwrap().term, Some(seventh.clone()));
    let sixth = Term { revision: 6, ..seventh.clone() };
    let writes = [write(&bank(1), 0, 1, Some(flag(Open)))];
    assert_eq!(store.commit(&sixth, &writes).await.unwrap(), Committed::OtherTerm);
    let tenth = store.declare(&declared(10, "ten")).await.unwrap();
    assert_eq!((tenth.revision, &tenth.epoch), (10, &seventh.epoch), "by number and not by text");
    assert_eq!(store.commit(&seventh, &writes).await.unwrap(), Committed::OtherTerm);
    commit(&*store, &tenth, writes[0].clone()).await;
}

/// A flag that goes stale then.
fn stale_at(stale_at_ms: i64) -> Flag {
    Flag { stale_at_ms: Some(stale_at_ms), ..flag(Open) }
}

fn publish(id: &BreakerId, expected: u64, flag: Publish) -> Write {
    let (record, flag, audit) = (Breaker::new(1), Some(flag), Vec::new());
    Write::Breaker { id: id.clone(), expected, record, flag, not_closed_by: 0, audit }
}

async fn a_refresh_keeps_its_number_and_is_no_change(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, publish(&bank(1), 0, Publish::Change(stale_at(5)))).await;
    commit(&*store, &term, publish(&bank(2), 0, Publish::Change(stale_at(5)))).await;
    let mut position = store.snapshot().await.unwrap().position;
    commit(&*store, &term, publish(&bank(1), 1, Publish::Refresh(stale_at(9)))).await;
    assert_eq!(store.tail(&mut position, WAIT).await.unwrap(), []);
    let snapshot = store.snapshot().await.unwrap();
    let shown: BTreeMap<_, _> =
        snapshot.flags.into_iter().map(|(id, p)| (id, (p.rev, p.flag.stale_at_ms))).collect();
    assert_eq!(shown, [(bank(1), (1, Some(9))), (bank(2), (2, Some(5)))].into());
    assert_eq!(snapshot.meta.unwrap().rev, 2);

    commit(&*store, &term, publish(&bank(3), 0, Publish::Refresh(stale_at(9)))).await;
    let changes = tail_up_to(&*store, &mut position, 3).await;
    assert_eq!(changes[0].id, bank(3), "a flag that was not there is a change");
}

async fn families_are_counted_with_the_writes_that_are_taken(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let turned = |number, expected, not_closed_by| {
        let (id, record, audit) = (bank(number), Breaker::new(1), Vec::new());
        Write::Breaker { id, expected, record, flag: None, not_closed_by, audit }
    };
    let writes = [turned(1, 0, 1), turned(2, 0, 0), turned(3, 5, 1), turned(2, 1, 1), turned(1, 1, -1)];
    let taken = vec![true, true, false, true, true];
    assert_eq!(store.commit(&term, &writes).await.unwrap(), Committed::Taken(taken));
    let other = BreakerId::new("other", &["x"]);
    let families = store.read(&[bank(1), other, bank(9)], None).await.unwrap().families;
    let expected = [("bank-charge", Family { known: 2, not_closed: 1 }), ("other", Family::default())];
    assert_eq!(families, expected.map(|(name, family)| (name.to_owned(), family)).into());
}

async fn a_pause_is_shown_until_it_is_ended(subject: Subject) {
    let store = subject.store();
    declare(&*store).await;
    let pause = Pause { by: "ann".into(), why: "drill".into(), since_ms: 5, until_ms: Some(9) };
    let cause = Cause::Person { by: "ann".into(), why: "drill".into(), act: "pause" };
    store.set_pause(Some(&pause), &cause, 5).await.unwrap();
    assert_eq!(store.read(&[], None).await.unwrap().pause, Some(pause.clone()));
    assert_eq!(store.snapshot().await.unwrap().meta.unwrap().pause, Some(pause));
    declare(&*store).await;
    assert!(store.read(&[], None).await.unwrap().pause.is_some(), "a declaration ends no pause");
    store.set_pause(None, &cause, 6).await.unwrap();
    assert_eq!(store.read(&[], None).await.unwrap().pause, None);
}

async fn a_pause_is_replaced_only_by_who_has_seen_it(subject: Subject) {
    let store = subject.store();
    declare(&*store).await;
    let pause = |by: &str| Pause { by: by.into(), why: "a \"drill\"".into(), since_ms: 5, until_ms: None };
    let (ann, bob) = (pause("ann"), pause("bob"));
    let cause = Cause::Person { by: "x".into(), why: "drill".into(), act: "pause" };
    assert!(!store.replace_pause(Some(&ann), Some(&bob), &cause, 5).await.unwrap(), "there is none");
    assert!(store.replace_pause(None, Some(&ann), &cause, 5).await.unwrap());
    for unseen in [None, Some(&bob), Some(&Pause { until_ms: Some(9), ..ann.clone() })] {
        assert!(!store.replace_pause(unseen, None, &cause, 6).await.unwrap(), "{unseen:?}");
    }
    assert_eq!(store.read(&[], None).await.unwrap().pause.as_ref(), Some(&ann));
    assert!(store.replace_pause(Some(&ann), Some(&bob), &cause, 7).await.unwrap());
    assert!(store.replace_pause(Some(&bob), None, &cause, 8).await.unwrap());
    assert_eq!(store.read(&[], None).await.unwrap().pause, None);
    let told = store.audit(AuditFrom::Before(None), 9).await.unwrap();
    let told: Vec<_> = told.iter().map(|entry| (entry.breaker.clone(), &entry.entry["at_ms"])).collect();
    assert_eq!(
        told,
        [(None, &json!(8)), (None, &json!(7)), (None, &json!(5))],
        "what was refused is not told"
    );
}

async fn flags_read_back_in_the_order_asked_for(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    commit(&*store, &term, write(&bank(2), 0, 1, Some(flag(HalfOpen)))).await;
    let read = store.flags(&[bank(2), bank(9), bank(1)]).await.unwrap();
    let shown: Vec<_> =
        read.into_iter().map(|flag| flag.map(|shown| (shown.rev, shown.flag.state))).collect();
    assert_eq!(shown, [Some((2, HalfOpen)), None, Some((1, Open))]);
    assert_eq!(store.flags(&[]).await.unwrap(), []);
}

async fn a_follower_sees_a_refresh_and_a_pause_in_its_next_snapshot(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, publish(&bank(1), 0, Publish::Change(stale_at(5)))).await;
    commit(&*store, &term, publish(&bank(1), 1, Publish::Refresh(stale_at(9)))).await;
    let pause = Pause { by: "ann".into(), why: "drill".into(), since_ms: 5, until_ms: None };
    let cause = Cause::Person { by: "ann".into(), why: "drill".into(), act: "pause" };
    store.set_pause(Some(&pause), &cause, 5).await.unwrap();
    let following = Following::start(subject.store()).await;
    let shown =
        |seen: &crate::subject::Seen| seen.flags.get(&bank(1)).map(|published| published.flag.stale_at_ms);
    following.watcher.until("the refreshed flag", |seen| shown(seen) == Some(Some(9))).await;
    let synced = following.watcher.now(|seen| seen.synced.clone().unwrap());
    assert_eq!((synced.pause, synced.epoch), (Some(pause), Some(term.epoch)));
}

async fn the_store_answers_a_ping(subject: Subject) {
    subject.store().ping().await.unwrap();
}

async fn a_follower_tells_flags_names_clock_and_freshness(subject: Subject) {
    let store = subject.store();
    let following = Following::start(subject.store()).await;
    assert_eq!(following.watcher.now(|seen| seen.synced.clone().unwrap().declared), None);
    let declared =
        Declared { revision: 0, breakers: [("bank".to_owned(), DeclaredBreaker::default())].into() };
    let term = store.declare(&declared).await.unwrap();
    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Open)))).await;
    following.watcher.until("the first flag", |seen| seen.state(&bank(1)) == Some(Open)).await;
    let synced = following.watcher.now(|seen| seen.synced.clone().unwrap());
    assert_eq!(synced.declared.as_deref(), Some(&declared));
    assert!(synced.offset_ms.abs() < 1_000, "both clocks are this machine's: {} ms", synced.offset_ms);

    commit(&*store, &term, write(&bank(1), 1, 2, Some(flag(Closed)))).await;
    following.watcher.until("the next change", |seen| seen.state(&bank(1)) == Some(Closed)).await;
    let fresher = |synced: &cutout_flags::Synced, than_ms| synced.local_ms > than_ms;
    let last_ms = following.watcher.now(|seen| seen.synced.as_ref().unwrap().local_ms);
    let quiet = |seen: &crate::subject::Seen| fresher(seen.synced.as_ref().unwrap(), last_ms);
    following.watcher.until("fresh though nothing changes", quiet).await;
    assert_eq!(following.watcher.now(|seen| (seen.connected, seen.failures, seen.losses())), (true, 0, 0));
}

async fn a_follower_heals_what_a_trimmed_stream_has_lost(subject: Subject) {
    const FLAGS: usize = WRITES_PER_SCRIPT_MAX;
    // More than the stream keeps, one read of it, and what a cap in whole nodes leaves over.
    const ROUNDS: u64 = (CHANGES_KEPT / FLAGS + 6) as u64;
    let store = subject.store();
    let term = declare(&*store).await;
    let watcher = Arc::new(Watcher::default());
    let mut follower = std::pin::pin!(Follower::new(subject.store(), Arc::clone(&watcher) as _).run());
    tokio::select! {
        () = &mut follower => panic!("a follower never ends"),
        () = watcher.until("the first snapshot", |seen| seen.synced.is_some()) => {}
    }
    // Nobody polls the follower meanwhile, as on a machine that is suspended.
    let mut position = store.snapshot().await.unwrap().position;
    for round in 0..ROUNDS {
        let state = if round + 1 == ROUNDS { HalfOpen } else { Open };
        let writes: Vec<Write> = (0..FLAGS).map(|n| write(&bank(n), round, 1, Some(flag(state)))).collect();
        assert_eq!(store.commit(&term, &writes).await.unwrap(), Committed::Taken(vec![true; FLAGS]));
    }
    let oldest = store.tail(&mut position, WAIT).await.unwrap()[0].published.rev;
    assert!(oldest > 2 * FLAGS as u64, "the stream was not trimmed: {oldest} is still there");
    tokio::select! {
        () = &mut follower => panic!("a follower never ends"),
        () = watcher.until("all flags as they are now", |seen| {
            (0..FLAGS).all(|n| seen.state(&bank(n)) == Some(HalfOpen))
        }) => {}
    }
    // Who was suspended for longer than a read may take finds that one read timed out; the gap itself is no error.
    let (failures, losses) = watcher.now(|seen| (seen.failures, seen.losses()));
    assert!(
        failures <= 1 && losses == 0,
        "a gap is no error and no loss: {failures} failures, {losses} losses"
    );
}

async fn a_follower_keeps_flags_that_the_store_lost_until_it_shows_them_again(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    for number in [1, 2] {
        commit(&*store, &term, write(&bank(number), 0, 1, Some(flag(Open)))).await;
    }
    let following = Following::start(subject.store()).await;
    following.watcher.until("both open", |seen| seen.flags.len() == 2).await;

    subject.lose_everything().await;
    let term = declare(&*store).await;
    commit(&*store, &term, write(&bank(3), 0, 1, Some(flag(Open)))).await;
    following
        .watcher
        .until("the loss", |seen| seen.losses() == 1 && seen.state(&bank(3)) == Some(Open))
        .await;
    let kept = following.watcher.now(|seen| [1, 2].map(|number| seen.state(&bank(number))));
    assert_eq!(kept, [Some(Open); 2], "lost is not closed");

    commit(&*store, &term, write(&bank(1), 0, 1, Some(flag(Closed)))).await;
    following.watcher.until("what the store shows again", |seen| seen.state(&bank(1)) == Some(Closed)).await;
    assert_eq!(following.watcher.now(|seen| (seen.state(&bank(2)), seen.losses())), (Some(Open), 1));
}
