//! Waits between tries: longer each time, and different in each instance.

use std::time::Duration;

/// The first wait, at most.
const FIRST_MS: u64 = 50;
/// The longest wait.
const LONGEST_MS: u64 = 2000;

/// A row of waits. Each is drawn evenly from half its length to the whole.
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next_ms: FIRST_MS }
    }
}

impl Backoff {
    /// Waits, longer than the time before.
    pub(crate) async fn wait(&mut self) {
        let wait_ms = fastrand::u64(self.next_ms / 2..=self.next_ms);
        self.next_ms = (self.next_ms * 2).min(LONGEST_MS);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
}
