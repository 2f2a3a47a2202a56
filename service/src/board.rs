//! All flags as this instance follows them, for lists and for live changes.
//!
//! A list is answered from memory, so that it costs the store nothing and is there when the store is away, with its age.
//! Whoever follows changes is told, for each breaker, the newest flag beyond the change number that he has seen: nothing is
//! queued for a slow reader, and one who comes back goes on at any instance.
//!
//! Left out: what is decided (the record, in the store).

use cutout_core::{BreakerId, Pause};
use cutout_flags::{Epoch, LocalClock, Published, Synced, Update};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The flags of one scope.
#[derive(Debug)]
pub(crate) struct Board {
    flags: Mutex<Flags>,
    changed: watch::Sender<()>,
    clock: LocalClock,
}

#[derive(Debug, Default)]
struct Flags {
    by_id: BTreeMap<BreakerId, Published>,
    /// Those of the epoch in force, by the number of their change.
    by_rev: BTreeMap<u64, BreakerId>,
    synced: Option<Synced>,
    /// The pause, as whoever looked last found it: the follower's snapshot, or `pause`. Also one whose time is over.
    pause: Option<Pause>,
}

/// How far a reader has followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) epoch: Epoch,
    pub(crate) rev: u64,
    /// How many losses the board knew of then.
    pub(crate) losses: u64,
}

/// What a reader has not seen yet.
#[derive(Debug, PartialEq)]
pub(crate) enum News {
    /// These flags, in the order of their changes.
    Flags(Vec<(BreakerId, Published)>),
    /// What he knows is of another epoch, or was lost: read everything again, and go on from here.
    Reset(Seen),
}

/// What is known of the scope besides its flags.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scope {
    pub(crate) synced: Synced,
    /// The store's clock now, Unix milliseconds.
    pub(crate) now_ms: i64,
    /// The number of the newest change.
    pub(crate) rev: u64,
    pause: Option<Pause>,
}

impl Scope {
    /// How long ago the store last answered, milliseconds.
    pub(crate) fn age_ms(&self) -> i64 {
        self.now_ms.saturating_sub(self.synced.local_ms.saturating_add(self.synced.offset_ms)).max(0)
    }

    /// The pause in force.
    pub(crate) fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| pause.holds_at(self.now_ms))
    }
}

impl Board {
    /// An empty one.
    pub(crate) fn new(clock: LocalClock) -> Board {
        Board { flags: Mutex::default(), changed: watch::Sender::new(()), clock }
    }

    fn flags(&self) -> MutexGuard<'_, Flags> {
        // Nothing in here panics between two steps that belong together.
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in flags that changed.
    pub(crate) fn update(&self, updates: &[Update]) {
        let mut flags = self.flags();
        for Update { id, flag } in updates {
            flags.set(id, flag.clone());
        }
        drop(flags);
        self.changed.send_replace(());
    }

    /// Takes in that the store answered.
    pub(crate) fn synced(&self, at: &Synced) {
        let mut flags = self.flags();
        let before = flags.synced.replace(at.clone());
        let same_epoch = before.as_ref().is_some_and(|before| before.epoch == at.epoch);
        if !same_epoch {
            flags.number_anew();
        }
        // The follower repeats what its last snapshot showed; only what differs from the one before is news.
        if before.as_ref().is_none_or(|before| before.pause != at.pause) {
            flags.pause.clone_from(&at.pause);
        }
        drop(flags);
        let told = |synced: &Synced| (synced.epoch.clone(), synced.losses, synced.pause.clone());
        if before.as_ref().map(told) != Some(told(at)) {
            self.changed.send_replace(());
        }
    }

    /// Takes in the pause that is in force by the store's clock.
    pub(crate) fn look_at_pause(&self, pause: Option<Pause>) {
        let mut flags = self.flags();
        if flags.pause != pause {
            flags.pause = pause;
            drop(flags);
            self.changed.send_replace(());
        }
    }

    /// Whether anybody follows changes.
    pub(crate) fn is_watched(&self) -> bool {
        self.changed.receiver_count() > 0
    }

    /// Tells when something changed.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What is known of the scope; none before the store first answered.
    pub(crate) fn scope(&self) -> Option<Scope> {
        let flags = self.flags();
        let synced = flags.synced.clone()?;
        let now_ms = self.clock.now_ms().saturating_add(synced.offset_ms);
        Some(Scope { synced, now_ms, rev: flags.rev(), pause: flags.pause.clone() })
    }

    /// Looks at every flag in the order of the breakers' names.
    pub(crate) fn each(&self, mut look: impl FnMut(&BreakerId, &Published)) {
        self.flags().by_id.iter().for_each(|(id, published)| look(id, published));
    }

    /// Where a reader who knows nothing starts; none before the store had an epoch.
    pub(crate) fn start(&self) -> Option<Seen> {
        self.flags().start()
    }

    /// What is new beyond `seen`, at most `count` flags at a time; none before the store had an epoch.
    pub(crate) fn news(&self, seen: &Seen, count: usize) -> Option<News> {
        let flags = self.flags();
        let start = flags.start()?;
        if start.epoch != seen.epoch || start.losses != seen.losses || seen.rev > start.rev {
            return Some(News::Reset(start));
        }
        let newer = flags.by_rev.range(seen.rev.saturating_add(1)..).take(count);
        let newer =
            newer.filter_map(|(_, id)| flags.by_id.get(id).map(|published| (id.clone(), published.clone())));
        Some(News::Flags(newer.collect()))
    }
}

impl Flags {
    fn set(&mut self, id: &BreakerId, published: Option<Published>) {
        let before = match &published {
            Some(published) => self.by_id.insert(id.clone(), published.clone()),
            None => self.by_id.remove(id),
        };
        if let Some(before) = before
            && self.by_rev.get(&before.rev) == Some(id)
        {
            self.by_rev.remove(&before.rev);
        }
        if let Some(published) = published.filter(|published| Some(&published.epoch) == self.epoch()) {
            self.by_rev.insert(published.rev, id.clone());
        }
    }

    /// Numbers belong to an epoch: under another one only its own count.
    fn number_anew(&mut self) {
        let epoch = self.epoch().cloned();
        let own = self.by_id.iter().filter(|(_, published)| Some(&published.epoch) == epoch.as_ref());
        self.by_rev = own.map(|(id, published)| (published.rev, id.clone())).collect();
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.synced.as_ref()?.epoch.as_ref()
    }

    fn rev(&self) -> u64 {
        self.by_rev.last_key_value().map_or(0, |(rev, _)| *rev)
    }

    fn start(&self) -> Option<Seen> {
        let synced = self.synced.as_ref()?;
        Some(Seen { epoch: synced.epoch.clone()?, rev: self.rev(), losses: synced.losses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutout_core::{Flag, State};
    use cutout_flags::PUBLISHED_VERSION;

    fn epoch(name: &str) -> Epoch {
        Epoch::from_stored(name.to_owned())
    }

    fn update(key: &str, epoch_name: &str, rev: u64) -> Update {
        let flag = Flag { state: State::Open, ..Flag::default() };
        let published = Published { v: PUBLISHED_VERSION, epoch: epoch(epoch_name), rev, flag };
        Update { id: BreakerId::new("bank", &[key]), flag: Some(published) }
    }

    fn synced(epoch_name: &str, losses: u64) -> Synced {
        let epoch = Some(epoch(epoch_name));
        Synced { local_ms: 0, offset_ms: 0, declared: None, losses, epoch, pause: None }
    }

    fn seen(rev: u64) -> Seen {
        Seen { epoch: epoch("a"), rev, losses: 0 }
    }

    fn revs(board: &Board, seen: &Seen, count: usize) -> Vec<u64> {
        match board.news(seen, count) {
            Some(News::Flags(flags)) => flags.into_iter().map(|(_, published)| published.rev).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn board() -> Board {
        let board = Board::new(LocalClock::default());
        board.update(&[update("1", "a", 7), update("2", "a", 3), update("3", "a", 5)]);
        board.synced(&synced("a", 0));
        board
    }

    #[test]
    fn a_reader_gets_the_newest_of_each_breaker_in_order_and_nothing_twice() {
        let board = board();
        assert_eq!(revs(&board, &seen(0), 10), [3, 5, 7]);
        assert_eq!(revs(&board, &seen(3), 1), [5]);
        board.update(&[update("2", "a", 8), update("2", "a", 9)]);
        assert_eq!(revs(&board, &seen(0), 10), [5, 7, 9], "what was passed over is history");
        assert_eq!(revs(&board, &seen(9), 10), [0; 0]);
        board.update(&[Update { flag: None, ..update("2", "a", 9) }]);
        assert_eq!(revs(&board, &seen(0), 10), [5, 7]);
    }

    #[test]
    fn a_reader_of_another_epoch_or_beyond_what_is_known_starts_over() {
        let board = board();
        let start = board.start().unwrap();
        assert_eq!(start, seen(7));
        assert_eq!(
            board.news(&seen(8), 1),
            Some(News::Reset(start.clone())),
            "the store came back without it"
        );
        let other = Seen { epoch: epoch("b"), ..seen(3) };
        assert_eq!(board.news(&other, 1), Some(News::Reset(start)));
        board.synced(&synced("a", 1));
        assert!(matches!(board.news(&seen(7), 1), Some(News::Reset(_))), "a loss under the same epoch");
    }

    #[test]
    fn a_new_epoch_counts_its_own_changes_alone() {
        let board = board();
        board.update(&[update("1", "b", 1)]);
        board.synced(&synced("b", 1));
        let start = Seen { epoch: epoch("b"), rev: 1, losses: 1 };
        assert_eq!(board.news(&seen(7), 9), Some(News::Reset(start.clone())));
        assert_eq!(revs(&board, &Seen { rev: 0, ..start }, 9), [1]);
        let mut known = 0;
        board.each(|_, _| known += 1);
        assert_eq!(known, 3, "what was lost is still shown");
    }

    #[test]
    fn before_the_store_answered_nothing_is_known() {
        let board = Board::new(LocalClock::default());
        assert!(board.scope().is_none() && board.start().is_none() && board.news(&seen(0), 1).is_none());
    }
}
