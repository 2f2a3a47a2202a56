//! One callback of a monitor after the other, within this instance.
//!
//! Callbacks of one monitor decide the same breakers. Of many at once each round of reading and writing lets one through and sends all
//! others back to read again, until some give up; in line each needs one round. Several instances, and monitors that share a breaker,
//! still meet in the store, whose compare stays what decides.
//!
//! Left out: how many wait; that is the limit of requests at once (`limits`), and of their time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;

type Line = Arc<tokio::sync::Mutex<()>>;

/// A line for each monitor that is being worked on.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    lines: Mutex<HashMap<u64, Line>>,
}

/// A place in a monitor's line, at first its end and then its head. Dropped to leave the line.
pub(crate) struct Turn<'a> {
    queues: &'a Queues,
    monitor_id: u64,
    head: Option<OwnedMutexGuard<()>>,
}

impl Queues {
    /// Waits for the monitor's turn, in the order of asking.
    pub(crate) async fn turn(&self, monitor_id: u64) -> Turn<'_> {
        // Made first, so that who gives up waiting leaves nothing behind.
        let mut turn = Turn { queues: self, monitor_id, head: None };
        let line = Arc::clone(self.lines().entry(monitor_id).or_default());
        turn.head = Some(line.lock_owned().await);
        turn
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<u64, Line>> {
        // Every change is one step, so a panic leaves it whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.head = None;
        let mut lines = self.queues.lines();
        // Whoever waits holds the line too, and can only join it under this lock.
        if lines.get(&self.monitor_id).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.monitor_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn those_of_one_monitor_come_one_after_the_other_and_nothing_is_left() {
        let queues = Queues::default();
        let first = queues.turn(1).await;
        let other = queues.turn(2).now_or_never().expect("another monitor waits for nobody");
        let (mut second, mut third) = (Box::pin(queues.turn(1)), Box::pin(queues.turn(1)));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "it came later");
        let second = second.await;
        // Its request ends while it waits.
        drop(third);
        assert!(queues.turn(1).now_or_never().is_none(), "the second is at work");
        drop(second);
        drop(queues.turn(1).now_or_never().expect("all have left"));
        drop(other);
        assert!(queues.lines().is_empty());
    }
}
