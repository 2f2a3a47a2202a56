//! What every store must do with the audit stream: parts of `conformance`.

use crate::subject::{DEADLINE, Subject, WAIT, bank, commit, declare};
use cutout_core::flag::State::{Closed, Open};
use cutout_core::{Breaker, BreakerId, Cause, Mode, Transition};
use cutout_flags::{AuditEntry, AuditFrom, AuditId, AuditKept, Audited, Committed, Links, Write};
use serde_json::json;
use std::time::Duration;

/// A write that tells of this many transitions, the first at `at_ms` 1.
fn telling(id: &BreakerId, expected: u64, transitions: i64) -> Write {
    let transition = |at_ms| Transition { from: Closed, to: Open, at_ms, cause: Cause::Stale, fault: None };
    let links = Links { monitor: Some("https://dd.example/monitors/7".into()), event: None };
    let entry = |at_ms| {
        let links = Some(links.clone());
        AuditEntry { transition: transition(at_ms), mode: Mode::Watch, links }
    };
    let audit = (1..=transitions).map(entry).collect();
    Write::Breaker { id: id.clone(), expected, record: Breaker::new(1), flag: None, not_closed_by: 0, audit }
}

pub(crate) async fn the_audit_stream_reads_in_both_directions_and_in_parts(subject: Subject) {
    let store = subject.store();
    assert_eq!(store.audit(AuditFrom::Before(None), 9).await.unwrap(), [], "nothing was told yet");
    let term = declare(&*store).await;
    commit(&*store, &term, telling(&bank(1), 0, 3)).await;
    commit(&*store, &term, telling(&bank(2), 0, 2)).await;
    let refused = store.commit(&term, &[telling(&bank(1), 0, 3)]).await.unwrap();
    assert_eq!(refused, Committed::Taken(vec![false]));

    let all = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap();
    let told = |entry: &Audited| (entry.breaker.clone().unwrap(), entry.entry["at_ms"].as_i64().unwrap());
    let expected = [(bank(1), 1), (bank(1), 2), (bank(1), 3), (bank(2), 1), (bank(2), 2)];
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(all.is_sorted_by_key(|entry| entry.id));
    let shown = json!({"from": "closed", "to": "open", "at_ms": 1, "cause": {"kind": "stale"},
                       "mode": "watch", "links": {"monitor": "https://dd.example/monitors/7"}});
    assert_eq!(all[0].entry, shown);

    let newest = store.audit(AuditFrom::Before(None), 2).await.unwrap();
    assert_eq!(newest, [all[4].clone(), all[3].clone()]);
    let before = store.audit(AuditFrom::Before(Some(newest[1].id)), 9).await.unwrap();
    assert_eq!(before, [all[2].clone(), all[1].clone(), all[0].clone()]);
    assert_eq!(store.audit(AuditFrom::After(all[1].id), 2).await.unwrap(), all[2..4]);
    assert_eq!(store.audit(AuditFrom::After(all[4].id), 2).await.unwrap(), []);
    assert_eq!(store.audit(AuditFrom::Before(Some(AuditId::FIRST)), 2).await.unwrap(), []);
    assert_eq!(store.audit(AuditFrom::After(AuditId::LAST), 2).await.unwrap(), []);
}

pub(crate) async fn a_group_hands_each_entry_to_one_reader_and_what_is_left_to_another(subject: Subject) {
    const IDLE: Duration = Duration::from_millis(500);
    let store = subject.store();
    let term = declare(&*store).await;
    commit(&*store, &term, telling(&bank(1), 0, 1)).await;
    store.audit_group("late", false).await.unwrap();
    store.audit_group("all", true).await.unwrap();
    commit(&*store, &term, telling(&bank(2), 0, 2)).await;
    store.audit_group("late", true).await.unwrap();
    let next = async |group, reader| store.audit_next(group, reader, WAIT).await.unwrap();
    let first = next("late", "a").await.expect("the first that was written after it");
    let second = next("late", "b").await.expect("the other one");
    assert_eq!((first.breaker.clone(), second.breaker.clone()), (Some(bank(2)), Some(bank(2))));
    assert!(first.id < second.id, "each goes to one reader");
    assert_eq!(next("all", "a").await.unwrap().breaker, Some(bank(1)), "from the start");

    let take_over = async |reader| store.audit_take_over("late", reader, IDLE).await.unwrap();
    store.audit_done("late", second.id).await.unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let taken = loop {
        if let Some(taken) = take_over("b").await.entry {
            break taken;
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody kept it, and nobody gets it");
        tokio::time::sleep(IDLE / 10).await;
    };
    assert_eq!(taken, first);
    // Kept again and again, it stays whose it is for much longer than a reader may be silent.
    for _ in 0..30 {
        tokio::time::sleep(IDLE / 10).await;
        store.audit_keep("late", "b", first.id).await.unwrap();
        assert_eq!(store.audit_take_over("late", "a", IDLE).await.unwrap().entry, None);
    }
    store.audit_done("late", first.id).await.unwrap();
    assert_eq!(store.audit_next("late", "a", IDLE).await.unwrap(), None, "that was all");
    assert_eq!(take_over("a").await, Default::default());
}

pub(crate) async fn what_a_group_can_not_finish_any_more_is_counted(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    store.audit_group("slow", false).await.unwrap();
    commit(&*store, &term, telling(&bank(1), 0, 900)).await;
    store.audit_next("slow", "a", WAIT).await.unwrap().expect("the first");
    store.keep_audit(AuditKept { entries: 200, age_ms: 86_400_000 });
    commit(&*store, &term, telling(&bank(1), 1, 1)).await;
    let taken = store.audit_take_over("slow", "b", Duration::ZERO).await.unwrap();
    assert_eq!((taken.entry, taken.trimmed), (None, 1));
    let again = store.audit_take_over("slow", "b", Duration::ZERO).await.unwrap();
    assert_eq!((again.trimmed, again.unread), (0, 0), "told once");

    // Of 901 entries one was read, and what is left now is what comes next.
    let left = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap();
    assert_eq!(taken.unread, 901 - 1 - left.len());
    let next = store.audit_next("slow", "b", WAIT).await.unwrap();
    assert_eq!(next.as_ref(), left.first(), "it goes on with the oldest that is there");
    store.audit_done("slow", left[0].id).await.unwrap();
    // All of it goes, what was read and what was not.
    store.keep_audit(AuditKept { entries: 10_000, age_ms: -60_000 });
    commit(&*store, &term, telling(&bank(1), 2, 1)).await;
    let last = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap().len();
    let taken = store.audit_take_over("slow", "b", Duration::ZERO).await.unwrap();
    assert_eq!((taken.entry, taken.trimmed, taken.unread), (None, 0, left.len() - 1 + 1 - last));
}

pub(crate) async fn what_was_let_go_before_a_group_began_is_not_lost_to_it(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    store.keep_audit(AuditKept { entries: 200, age_ms: 86_400_000 });
    commit(&*store, &term, telling(&bank(1), 0, 900)).await;
    store.audit_group("all", true).await.unwrap();
    store.audit_group("new", false).await.unwrap();
    let unread = async |group| store.audit_take_over(group, "a", Duration::ZERO).await.unwrap().unread;
    assert_eq!((unread("all").await, unread("new").await), (0, 0));
    let left = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap().len();
    commit(&*store, &term, telling(&bank(1), 1, 900)).await;
    let now_left = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap().len();
    assert_eq!((unread("all").await, unread("new").await), (left + 900 - now_left, 900 - now_left));
    assert_eq!((unread("all").await, unread("new").await), (0, 0), "told once");
}

pub(crate) async fn the_audit_stream_keeps_what_it_is_told_to(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    // Redis trims whole parts of a stream, of 100 entries each.
    store.keep_audit(AuditKept { entries: 200, age_ms: 86_400_000 });
    commit(&*store, &term, telling(&bank(1), 0, 900)).await;
    let kept = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap().len();
    assert!((200..=400).contains(&kept), "{kept}");
    store.keep_audit(AuditKept { entries: 10_000, age_ms: -60_000 });
    commit(&*store, &term, telling(&bank(1), 1, 1)).await;
    let kept = store.audit(AuditFrom::After(AuditId::default()), 1_000).await.unwrap().len();
    assert!(kept <= 100, "{kept} are older than may be");
}
