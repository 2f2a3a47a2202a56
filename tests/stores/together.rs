//! Many who ask and write at the same moment, whose requests a store may make as one: each must get what it would have got alone.

use crate::subject::{Subject, bank, commit, declare, flag, write};
use cutout_core::flag::State::Open;
use cutout_core::{Breaker, BreakerId, MonitorSeen};
use cutout_flags::{Committed, Epoch, Store, Term, Write};
use std::sync::Arc;

const MANY: usize = 60;

pub(crate) async fn each_of_many_at_once_gets_its_own_answer(subject: Subject) {
    let store = subject.store();
    let term = declare(&*store).await;
    let seen = |monitor: usize| MonitorSeen { name: format!("monitor {monitor}"), ..MonitorSeen::default() };
    for number in 0..MANY {
        commit(&*store, &term, write(&bank(number), 0, number as i64, None)).await;
        let monitor_id = number as u64;
        commit(&*store, &term, Write::Monitor { monitor_id, expected: 0, seen: seen(number) }).await;
    }
    let asking = (0..MANY).map(|number| {
        let store = subject.store();
        tokio::spawn(async move {
            // Of different lengths, some without a monitor, each with one that is not there.
            let ids: Vec<BreakerId> = (0..=number % 3).map(|more| bank(number + more)).collect();
            let monitor_id = (number % 2 == 0).then_some(number as u64);
            (number, ids.len(), store.read(&ids, monitor_id).await.unwrap())
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        let (number, count, read) = asked.await.unwrap();
        let expected: Vec<Option<Breaker>> = (number..number + count)
            .map(|number| (number < MANY).then(|| Breaker::new(number as i64)))
            .collect();
        let found: Vec<Option<Breaker>> =
            read.breakers.into_iter().map(|stored| stored.map(|stored| stored.value)).collect();
        assert_eq!(found, expected, "asked for {number}");
        let monitor = read.monitor.map(|stored| stored.value.name);
        assert_eq!(monitor, (number % 2 == 0).then(|| seen(number).name));
        assert_eq!((read.term, read.families.len()), (Some(term.clone()), 1));
    }
    of_many_who_write_one_breaker_one_is_taken(&store, &term).await;
}

async fn of_many_who_write_one_breaker_one_is_taken(store: &Arc<dyn Store>, term: &Term) {
    let lost = Term { epoch: Epoch::random(), revision: 0 };
    let writing = (0..MANY).map(|number| {
        let (store, of_another) = (Arc::clone(store), number % 10 == 9);
        let term = if of_another { lost.clone() } else { term.clone() };
        tokio::spawn(async move {
            let own = write(&bank(1_000 + number), 0, 1, Some(flag(Open)));
            let shared = write(&bank(999), 0, number as i64, Some(flag(Open)));
            (number, store.commit(&term, &[own, shared]).await.unwrap())
        })
    });
    let (mut taken, mut of_others) = (Vec::new(), 0);
    for written in writing.collect::<Vec<_>>() {
        match written.await.unwrap() {
            (_, Committed::OtherTerm) => of_others += 1,
            (number, Committed::Taken(of_both)) => {
                assert!(of_both[0], "nobody else writes it");
                taken.extend(of_both[1].then_some(number));
            }
        }
    }
    assert_eq!((taken.len(), of_others), (1, MANY / 10));
    let read = store.read(&[bank(999), bank(1_009)], None).await.unwrap();
    let stored =
        read.breakers.into_iter().map(|stored| stored.map(|stored| stored.value)).collect::<Vec<_>>();
    assert_eq!(
        stored,
        [Some(Breaker::new(taken[0] as i64)), None],
        "the one that was told so, and none of another term"
    );
}
