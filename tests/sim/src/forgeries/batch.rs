//! Ten thousand messages, posted to one service that knows what was signed. First come those that were signed, so that
//! whatever is posted later can only be a replay of them, which changes nothing.

use crate::corpus::{self, BREAKERS, Corpus};
use crate::forge::{self, Kind};
use crate::judge;
use crate::message::Message;
use axum::Router;
use cutout_flags::{MemoryStore, Snapshot, Store};
use cutout_service::{Parts, Service, breakers};
use http::StatusCode;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tower::ServiceExt;

/// How many messages are posted before all is signed anew, so that the tolerance never matters by accident.
pub(crate) const BATCH: u64 = 10_000;

/// What was posted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) posted: u64,
    /// How many were the same as a signed one.
    pub(crate) same: u64,
    /// Of those with one step, by that step: how many, and how many of these are the same as a signed one.
    pub(crate) kinds: BTreeMap<Kind, (u64, u64)>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.posted += other.posted;
        self.same += other.same;
        for (kind, (posted, same)) in &other.kinds {
            let sum = self.kinds.entry(*kind).or_default();
            (sum.0, sum.1) = (sum.0 + posted, sum.1 + same);
        }
    }

    fn count(&mut self, kinds: &[Kind], same: bool) {
        self.posted += 1;
        self.same += u64::from(same);
        if let [kind] = kinds {
            let sum = self.kinds.entry(*kind).or_default();
            (sum.0, sum.1) = (sum.0 + 1, sum.1 + u64::from(same));
        }
    }
}

/// What must not be.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// The service and the rule differ.
    Verdict { kinds: Vec<Kind>, message: Message, status: StatusCode, same: bool },
    /// Nothing new was signed, and yet something else stands in the store.
    Changed { before: Box<Snapshot>, after: Box<Snapshot> },
    /// It could not be tried.
    Untried(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Verdict { kinds, message, status, same } => {
                let is = if *same { "the same as a signed one" } else { "forged" };
                writeln!(
                    f,
                    "this message is {is}, and was answered {status}; what was done to it: {kinds:?}"
                )?;
                message.headers.iter().try_for_each(|(name, value)| writeln!(f, "{name}: {value:?}"))?;
                write!(f, "{:?}", String::from_utf8_lossy(&message.body))
            }
            Wrong::Changed { before, after } => {
                write!(f, "replays changed the store.\nbefore: {before:?}\nafter: {after:?}")
            }
            Wrong::Untried(why) => f.write_str(why),
        }
    }
}

fn untried(what: &str) -> impl Fn(&dyn fmt::Display) -> Wrong {
    let what = what.to_owned();
    move |error| Wrong::Untried(format!("{what}: {error}"))
}

/// Posts one batch.
pub(crate) fn post(seed: u64, count: u64) -> Result<Tally, Wrong> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| untried("a runtime")(&error))?;
    runtime.block_on(post_to_one_service(seed, count))
}

async fn post_to_one_service(seed: u64, count: u64) -> Result<Tally, Wrong> {
    let now = Timestamp::now();
    let corpus = Corpus::signed_at(now);
    // Time alone would change flags, too: the store's stands still.
    let store = MemoryStore::with_clock(Arc::new(move || now.as_millisecond()));
    let breakers =
        breakers::parse("breakers.toml", BREAKERS).map_err(|error| untried("the breakers")(&error))?;
    let public_url = corpus::URL.parse().ok();
    let parts = Parts { store: Arc::new(store.clone()), breakers, secrets: corpus::secrets(), public_url };
    let router = Service::new(parts).router();
    let mut tally = Tally::default();
    for signed in &corpus.signed {
        judge(&router, &corpus, &[], &signed.message()).await?;
    }
    let before = snapshot(&store).await?;
    let mut rng = fastrand::Rng::with_seed(seed);
    while tally.posted < count {
        let (kinds, message) = forge::forged(&mut rng, &corpus);
        if let Some(same) = judge(&router, &corpus, &kinds, &message).await? {
            tally.count(&kinds, same);
        }
    }
    let after = snapshot(&store).await?;
    if before != after {
        return Err(Wrong::Changed { before: before.into(), after: after.into() });
    }
    Ok(tally)
}

async fn snapshot(store: &MemoryStore) -> Result<Snapshot, Wrong> {
    store.snapshot().await.map_err(|error| untried("reading the store")(&error))
}

/// Posts a message: whether it is the same as a signed one, as the rule and the service both say. None: HTTP cannot
/// carry it.
async fn judge(
    router: &Router,
    corpus: &Corpus,
    kinds: &[Kind],
    message: &Message,
) -> Result<Option<bool>, Wrong> {
    let Some(request) = message.request() else { return Ok(None) };
    let status = match router.clone().oneshot(request).await {
        Ok(answer) => answer.status(),
        Err(never) => match never {},
    };
    let (same, believed) = (judge::is_signed(message, corpus), status != StatusCode::UNAUTHORIZED);
    if same != believed || status.is_server_error() {
        return Err(Wrong::Verdict { kinds: kinds.to_vec(), message: message.clone(), status, same });
    }
    Ok(Some(same))
}
