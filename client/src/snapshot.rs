//! What a process knows of its breakers, for a debug page or a test: a list, and one JSON text.
//!
//! Reading it looks at every breaker under the lock that news come through, so it is for people and not for the path of a call.
//! Left out: secrets and addresses. The store's URL is not in it.

use cutout_core::flag::ForcedUntil;
use cutout_core::{BreakerId, Fault, Forced, State};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

use crate::reason::Reason;

/// How many breakers a [`Snapshot`] shows; those that are not closed come first.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = cutout::FakeClient::new(["bank-charge"]).client();
/// let handles: Vec<_> = (0..=cutout::SNAPSHOT_BREAKERS_MAX)
///     .map(|bank| client.breaker("bank-charge", &[bank.to_string()]))
///     .collect::<Result<_, _>>()?;
/// let snapshot = client.snapshot();
/// assert_eq!((snapshot.breakers.len(), snapshot.left_out), (1_000, 1));
/// # drop(handles);
/// # Ok(())
/// # }
/// ```
pub const SNAPSHOT_BREAKERS_MAX: usize = 1_000;

/// The form of a [`Snapshot`]'s JSON.
const SCHEMA: &str = "cutout.client/1";

/// What this process knows of one breaker at one moment. Times are Unix milliseconds of the store's clock. With the store gone it is
/// what calls go by then.
///
/// ```
/// # fn main() -> Result<(), cutout::UnknownBreaker> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// fake.open("bank-charge", &["0001"])?;
/// let known = fake.client().breakers();
/// assert_eq!((known[0].breaker.as_str(), known[0].state), ("bank-charge/0001", cutout::State::Open));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KnownBreaker {
    /// Which.
    pub breaker: BreakerId,
    /// What calls get, whatever their class.
    pub state: State,
    /// Why they are refused; none while it is closed.
    pub reason: Option<Reason>,
    /// The share of calls that is admitted, parts per million. Probes by the clock come on top.
    pub share_ppm: u32,
    /// Since when the decision stands; none: the store never showed this breaker, which is closed.
    pub since_ms: Option<i64>,
    /// When time alone will change the state; none: only news will.
    pub until_ms: Option<i64>,
    /// What was decided, where that is not carried out: in watch mode, or because openings are held back.
    pub would: Option<State>,
    /// Whether it is in watch mode: it decides and counts but refuses nobody.
    pub watch: bool,
    /// The operation classes that are refused; empty: all.
    pub refuse: Vec<String>,
    /// A person's decision in force.
    #[serde(rename = "override")]
    pub forced: Option<Override>,
    /// A fault that a person injects now into calls through an [`Upstream`](crate::Upstream).
    pub fault: Option<KnownFault>,
}

/// A fault that is in force. Who set it, and why, is the service's to tell.
///
/// ```
/// # fn main() -> Result<(), cutout::UnknownBreaker> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// fake.inject("bank-charge", &["0001"], cutout::FakeFault::delay(std::time::Duration::from_millis(300)))?;
/// let fault = fake.client().breakers().remove(0).fault;
/// assert_eq!(fault.map(|fault| fault.delay_ms), Some(300));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KnownFault {
    /// When it ends, Unix milliseconds of the store's clock.
    pub until_ms: i64,
    /// The share of calls that end unsent, parts per million.
    pub abort_ppm: u32,
    /// The share of calls that wait before they are sent, parts per million.
    pub delay_ppm: u32,
    /// How long they wait, milliseconds.
    pub delay_ms: i64,
    /// Only requests that bear this header; none: any call.
    pub header: Option<FaultHeader>,
}

/// The header of the requests that a fault is for.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout::{FakeClient, FakeFault, FaultHeader};
///
/// let fake = FakeClient::new(["bank-charge"]);
/// fake.inject("bank-charge", &["0001"], FakeFault::abort().for_header("x-drill", Some("yes")))?;
/// let FaultHeader { name, value, .. } =
///     fake.client().breakers().remove(0).fault.and_then(|fault| fault.header).ok_or("no header")?;
/// assert_eq!((name.as_str(), value.as_deref()), ("x-drill", Some("yes")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FaultHeader {
    /// Its name, lower-case.
    pub name: String,
    /// Its value; none: any.
    pub value: Option<String>,
}

impl From<&Fault> for KnownFault {
    fn from(fault: &Fault) -> KnownFault {
        let header = fault.only.as_ref();
        KnownFault {
            until_ms: fault.ends_ms(),
            abort_ppm: fault.abort_ppm,
            delay_ppm: fault.delay_ppm,
            delay_ms: fault.delay_ms,
            header: header.map(|mark| FaultHeader { name: mark.name.clone(), value: mark.value.clone() }),
        }
    }
}

/// A person's decision in force.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// fake.force_open("bank-charge", &["0001"])?;
/// let forced: cutout::Override = fake.client().breakers().remove(0).forced.ok_or("nothing is forced")?;
/// assert_eq!((forced.state, forced.until_ms), (cutout::State::Open, None));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Override {
    /// To which state it forces: closed or open.
    pub state: State,
    /// When it ends, Unix milliseconds of the store's clock; none: when a person ends it.
    pub until_ms: Option<i64>,
}

impl From<ForcedUntil> for Override {
    fn from(ForcedUntil { state, until_ms }: ForcedUntil) -> Override {
        let state = match state {
            Forced::Open => State::Open,
            Forced::Closed => State::Closed,
        };
        Override { state, until_ms }
    }
}

/// A local breaker ([`LocalBreaker`](crate::LocalBreaker)) that is not closed. The fleet's breaker beside it is another thing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = cutout::FakeClient::new(["bank-charge"]).client();
/// use cutout::{KnownLocal, LocalBreaker, State, Upstream, Window};
///
/// let rules = LocalBreaker::over(Window::Calls(20)).consecutive_failures(1);
/// let bank = Upstream::builder("bank-charge").local_breaker(rules).build(&client)?.lane(&["0001"]);
/// assert!(bank.call(|| async { Err::<(), _>("no route") }).await.is_err());
/// let tripped: KnownLocal = client.snapshot().local.remove(0);
/// assert_eq!((tripped.breaker.as_str(), tripped.class, tripped.state), ("bank-charge/0001", None, State::Open));
/// assert!(tripped.retry_after_ms <= 5_000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KnownLocal {
    /// The breaker beside which it stands.
    pub breaker: BreakerId,
    /// The class of the upstream's calls.
    pub class: Option<String>,
    /// Open, or half-open: it would let trials through, or waits for those that it let through.
    pub state: State,
    /// How long it stays open at the least, milliseconds; 0 while it is half-open.
    pub retry_after_ms: u64,
}

impl KnownLocal {
    pub(crate) fn new(
        breaker: &BreakerId,
        class: Option<&str>,
        state: State,
        retry_after: Duration,
    ) -> KnownLocal {
        let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        KnownLocal { breaker: breaker.clone(), class: class.map(str::to_owned), state, retry_after_ms }
    }
}

/// A client's knowledge at one moment. It serialises, and its `Display` is JSON in one line:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// fake.open("bank-charge", &["0001"])?;
/// let json = fake.client().snapshot().to_string(); // for a debug page of your own
/// assert!(json.contains(r#""breaker":"bank-charge/0001","state":"open""#));
/// # Ok(())
/// # }
/// ```
///
/// With the store gone it shows what breakers go on by, and `age_ms` grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The form of this: `cutout.client/1`.
    pub schema: &'static str,
    /// The scope that is followed.
    pub scope: String,
    /// Whether the store answers now.
    pub connected: bool,
    /// How long ago it last answered, milliseconds; none: it never did, and every breaker counts as closed.
    pub age_ms: Option<u64>,
    /// Whether a [`MaxStaleness`](crate::MaxStaleness) acts.
    pub over_max_staleness: bool,
    /// How often the store came back without its data.
    pub losses: u64,
    /// At most [`SNAPSHOT_BREAKERS_MAX`], those that are not closed first.
    pub breakers: Vec<KnownBreaker>,
    /// How many more there are.
    pub left_out: usize,
    /// The local breakers that are not closed, at most [`SNAPSHOT_BREAKERS_MAX`].
    pub local: Vec<KnownLocal>,
    /// How many more there are.
    pub local_left_out: usize,
}

impl Snapshot {
    pub(crate) fn new(
        scope: &str,
        health: crate::Health,
        mut breakers: Vec<KnownBreaker>,
        mut local: Vec<KnownLocal>,
    ) -> Snapshot {
        breakers.sort_by(|one, other| {
            let calm = |known: &KnownBreaker| known.state == State::Closed && known.would.is_none();
            (calm(one), &one.breaker).cmp(&(calm(other), &other.breaker))
        });
        let left_out = breakers.len().saturating_sub(SNAPSHOT_BREAKERS_MAX);
        breakers.truncate(SNAPSHOT_BREAKERS_MAX);
        let local_left_out = local.len().saturating_sub(SNAPSHOT_BREAKERS_MAX);
        local.truncate(SNAPSHOT_BREAKERS_MAX);
        Snapshot {
            schema: SCHEMA,
            scope: scope.to_owned(),
            connected: health.connected,
            age_ms: health.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            over_max_staleness: health.over_max_staleness,
            losses: health.losses,
            breakers,
            left_out,
            local,
            local_left_out,
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
