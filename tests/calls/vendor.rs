//! A vendor that does what it is told to, and keeps count.

use crate::world::World;
use cutout::{Lane, Upstream, UpstreamBuilder};
use cutout_core::{Act, Forced};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// How one call goes: how long it takes, and how it ends.
pub(crate) type Turn = (Duration, Result<u32, Down>);

/// The vendor is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Down;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Answers 1 at once.
pub(crate) const GOOD: Turn = (Duration::ZERO, Ok(1));
/// Fails at once.
pub(crate) const BAD: Turn = (Duration::ZERO, Err(Down));

/// Plays turns one after the other, the last one for ever.
#[derive(Debug)]
pub(crate) struct Vendor {
    turns: Mutex<VecDeque<Turn>>,
    asked: Mutex<Vec<tokio::time::Instant>>,
}

impl Vendor {
    pub(crate) fn new(turns: impl IntoIterator<Item = Turn>) -> Vendor {
        Vendor { turns: Mutex::new(turns.into_iter().collect()), asked: Mutex::default() }
    }

    pub(crate) async fn ask(&self) -> Result<u32, Down> {
        self.asked.lock().unwrap().push(tokio::time::Instant::now());
        let (takes, answer) = {
            let mut turns = self.turns.lock().unwrap();
            if turns.len() > 1 { turns.pop_front().unwrap() } else { *turns.front().unwrap() }
        };
        tokio::time::sleep(takes).await;
        answer
    }

    /// When it was asked.
    pub(crate) fn asked(&self) -> Vec<tokio::time::Instant> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.asked().len()
    }
}

/// An upstream of the world's breakers, set so.
pub(crate) fn upstream(world: &World, set: impl FnOnce(UpstreamBuilder) -> UpstreamBuilder) -> Upstream {
    set(Upstream::builder("bank-charge")).build(&world.client).unwrap()
}

/// Its lane of the breaker that the world moves.
pub(crate) fn lane(world: &World, set: impl FnOnce(UpstreamBuilder) -> UpstreamBuilder) -> Lane {
    upstream(world, set).lane(&["0001"])
}

/// A person forces the breaker open: every call is refused, without probes.
pub(crate) async fn force_open(world: &mut World) {
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
}
