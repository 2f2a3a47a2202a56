//! Computes the picture whenever it may have changed, and shows the newest to all streams: a slow Envoy skips what lies between.

use crate::hooks::Hook;
use crate::known::Known;
use crate::picture;
use crate::resources::{self, Resources};
use crate::tally::Tally;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

/// The shortest time between two pictures: a storm of changes becomes one.
pub(crate) const PICTURE_PAUSE: Duration = Duration::from_millis(10);

/// What is served now; none: the store has not answered yet.
pub(crate) type Shown = Option<Arc<Resources>>;

/// Runs for ever.
pub(crate) async fn run(hooks: &[Hook], known: &Known, tally: &Tally, shown: &watch::Sender<Shown>) {
    let mut now = Resources::new();
    loop {
        let due = show(hooks, known, tally, shown, &mut now);
        tokio::time::sleep(PICTURE_PAUSE).await;
        let due = async {
            match due {
                Some(due) => tokio::time::sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = known.news() => {}
            () = due => {}
        }
    }
}

/// Shows the picture of now, if it is another one, and says when it may change by itself.
fn show(
    hooks: &[Hook],
    known: &Known,
    tally: &Tally,
    shown: &watch::Sender<Shown>,
    now: &mut Resources,
) -> Option<Duration> {
    let pictures = known.now(|flags, moment| {
        hooks.iter().map(|hook| picture::of(hook, flags.get(&hook.breaker), moment)).collect::<Vec<_>>()
    })?;
    let mut next = Resources::new();
    let (mut refused, mut faults) = (0, 0);
    for (hook, (picture, _)) in hooks.iter().zip(&pictures) {
        next.extend(resources::of(hook, picture, now, tally));
        refused += picture.refusals.values().filter(|refusal| refusal.enforced).count();
        faults += picture.faults.len();
    }
    tally.refused_keys.store(u64::try_from(refused).unwrap_or(u64::MAX), Relaxed);
    tally.fault_keys.store(u64::try_from(faults).unwrap_or(u64::MAX), Relaxed);
    let is_new = next.len() != now.len()
        || next.iter().any(|(key, resource)| now.get(key).map(|now| now.version) != Some(resource.version));
    if is_new {
        tally.pictures.fetch_add(1, Relaxed);
        now.clone_from(&next);
        shown.send_replace(Some(Arc::new(next)));
    }
    pictures.into_iter().filter_map(|(_, due)| due).min()
}
