//! What the API shows and takes, as JSON. Times are RFC 3339, durations milliseconds, shares parts per million.
//!
//! These are forms of their own and not core's types, so that what programs rely on does not move with the inside.

use crate::apply::web_link;
use crate::operators::{Operator, Role};
use crate::order::version_of;
use cutout_core::breaker::{Asks, Heard, Hint, SignalId};
use cutout_core::{
    Breaker, BreakerId, Declaration, EventSeen, Fault, Flag, Forced, Hold, InjectedFault, Mark, Mode,
    OnStale, State,
};
use cutout_core::{MonitorSeen, Override, Pause, Policy};
use cutout_flags::Published;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Unix milliseconds as a time; what no calendar holds becomes its end.
pub(crate) fn time(unix_ms: i64) -> Timestamp {
    let end = if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(unix_ms).unwrap_or(end)
}

/// A breaker's state. Closed: calls flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = State)]
pub(crate) enum StateName {
    Closed,
    Open,
    HalfOpen,
}

impl From<State> for StateName {
    fn from(state: State) -> StateName {
        match state {
            State::Closed => StateName::Closed,
            State::Open => StateName::Open,
            State::HalfOpen => StateName::HalfOpen,
        }
    }
}

/// To which state a person forces a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Forced)]
pub(crate) enum ForcedName {
    Open,
    Closed,
}

impl From<Forced> for ForcedName {
    fn from(forced: Forced) -> ForcedName {
        match forced {
            Forced::Open => ForcedName::Open,
            Forced::Closed => ForcedName::Closed,
        }
    }
}

impl From<ForcedName> for Forced {
    fn from(name: ForcedName) -> Forced {
        match name {
            ForcedName::Open => Forced::Open,
            ForcedName::Closed => Forced::Closed,
        }
    }
}

/// Whether a breaker's decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Mode)]
pub(crate) enum ModeName {
    Enforce,
    Watch,
}

impl From<Mode> for ModeName {
    fn from(mode: Mode) -> ModeName {
        match mode {
            Mode::Enforce => ModeName::Enforce,
            Mode::Watch => ModeName::Watch,
        }
    }
}

/// Why a breaker is not open although a signal fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Held)]
pub(crate) enum HeldName {
    Paused,
    MaxOpen,
}

impl From<Hold> for HeldName {
    fn from(hold: Hold) -> HeldName {
        match hold {
            Hold::Paused => HeldName::Paused,
            Hold::MaxOpen => HeldName::MaxOpen,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Asks)]
pub(crate) enum AsksName {
    Closed,
    HalfOpen,
    Open,
}

/// What becomes of an open breaker whose signals are stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OnStale)]
pub(crate) enum OnStaleName {
    HalfOpen,
    Hold,
    Close,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = Role)]
pub(crate) enum RoleName {
    Viewer,
    Operator,
}

/// An override as callers see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OverrideShown {
    pub(crate) state: ForcedName,
    /// When it ends; null: when somebody ends it.
    #[schema(required)]
    pub(crate) until: Option<Timestamp>,
}

/// The header of the requests that a fault is for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FaultHeader)]
pub(crate) struct HeaderView {
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$", example = "x-drill")]
    pub(crate) name: String,
    /// Null: any.
    #[serde(default)]
    #[schema(max_length = 128, pattern = "^[ -~]*$")]
    pub(crate) value: Option<String>,
}

impl From<&Mark> for HeaderView {
    fn from(mark: &Mark) -> HeaderView {
        HeaderView { name: mark.name.clone(), value: mark.value.clone() }
    }
}

/// What a person injects into a breaker's calls, as callers see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = FaultShown)]
pub(crate) struct FaultView {
    /// The share of calls that end unsent, parts per million.
    pub(crate) abort_ppm: u32,
    /// The share of calls that wait before they are sent, parts per million.
    pub(crate) delay_ppm: u32,
    /// How long they wait, milliseconds.
    pub(crate) delay_ms: i64,
    /// Only requests that bear this header; null: any call.
    #[schema(required)]
    pub(crate) header: Option<HeaderView>,
    pub(crate) since: Timestamp,
    /// When it ends.
    pub(crate) until: Timestamp,
}

impl From<&Fault> for FaultView {
    fn from(fault: &Fault) -> FaultView {
        FaultView {
            abort_ppm: fault.abort_ppm,
            delay_ppm: fault.delay_ppm,
            delay_ms: fault.delay_ms,
            header: fault.only.as_ref().map(Into::into),
            since: time(fault.since_ms),
            until: time(fault.ends_ms()),
        }
    }
}

/// Who injects a fault, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FaultBy {
    pub(crate) by: String,
    pub(crate) why: String,
}

impl From<&InjectedFault> for FaultBy {
    fn from(injected: &InjectedFault) -> FaultBy {
        FaultBy { by: injected.by.clone(), why: injected.why.clone() }
    }
}

/// A change that time alone brings.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct NextChange {
    pub(crate) at: Timestamp,
    pub(crate) state: StateName,
}

/// A breaker as callers see it now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct BreakerSummary {
    /// Its name, with its key if it has one: what other paths call `{id}`.
    #[schema(example = "bank-charge/0001")]
    pub(crate) breaker: String,
    #[schema(example = "bank-charge")]
    pub(crate) name: String,
    #[schema(required, example = "0001")]
    pub(crate) key: Option<String>,
    pub(crate) state: StateName,
    /// Since when that was decided.
    pub(crate) since: Timestamp,
    /// What it would be if that were carried out: in watch mode, in a pause, or held back by `max_open`. Null: the same.
    #[schema(required)]
    pub(crate) would: Option<StateName>,
    pub(crate) mode: ModeName,
    /// The share of calls that is admitted now, parts per million.
    pub(crate) share_ppm: u32,
    /// A person's decision in force.
    #[serde(rename = "override")]
    #[schema(required)]
    pub(crate) forced: Option<OverrideShown>,
    #[schema(required)]
    pub(crate) next: Option<NextChange>,
    /// What a person injects into its calls now.
    #[schema(required)]
    pub(crate) fault: Option<FaultView>,
    /// When an open breaker goes stale unless a report confirms it.
    #[schema(required)]
    pub(crate) stale_at: Option<Timestamp>,
    /// The number of its last change.
    pub(crate) rev: u64,
    /// What `If-Match` takes, without its quotes.
    pub(crate) version: String,
}

impl BreakerSummary {
    pub(crate) fn of(id: &BreakerId, published: &Published, now_ms: i64) -> BreakerSummary {
        let Published { flag, rev, .. } = published;
        let (state, would) = (flag.state_at(now_ms), flag.would_at(now_ms));
        let forced = flag.forced_at(now_ms);
        let next = flag.next.filter(|next| now_ms < next.at_ms);
        BreakerSummary {
            breaker: id.as_str().to_owned(),
            name: id.name().to_owned(),
            key: (id.key_len() > 0).then(|| id.key().to_owned()),
            state: state.into(),
            since: time(since_ms(flag, now_ms)),
            would: (would != state).then(|| would.into()),
            mode: flag.mode.into(),
            share_ppm: flag.share_ppm(now_ms),
            forced: forced
                .map(|forced| OverrideShown { state: forced.state.into(), until: forced.until_ms.map(time) }),
            next: next.map(|next| NextChange { at: time(next.at_ms), state: next.state.into() }),
            fault: flag.fault.as_deref().filter(|fault| fault.holds_at(now_ms)).map(Into::into),
            stale_at: flag.stale_at_ms.map(time),
            rev: *rev,
            version: version_of(published),
        }
    }
}

/// Since when the state of now is there, for what time alone has changed too.
fn since_ms(flag: &Flag, now_ms: i64) -> i64 {
    flag.next.filter(|next| now_ms >= next.at_ms).map_or(flag.since_ms, |next| next.at_ms)
}

/// One page of breakers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerList {
    /// In the order of their names.
    pub(crate) items: Vec<BreakerSummary>,
    /// How many there are that fit, on all pages.
    pub(crate) total: usize,
    /// How many of these there are in each state.
    pub(crate) states: BTreeMap<String, usize>,
    /// What `after` takes for the next page; null: there is none.
    #[schema(required)]
    pub(crate) next: Option<String>,
    /// How long ago the store last answered, milliseconds.
    pub(crate) age_ms: i64,
}

/// A person's decision.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OverrideFull {
    pub(crate) state: ForcedName,
    pub(crate) by: String,
    pub(crate) why: String,
    pub(crate) since: Timestamp,
    /// When it ends; null: when somebody ends it.
    #[schema(required)]
    pub(crate) until: Option<Timestamp>,
}

impl From<&Override> for OverrideFull {
    fn from(forced: &Override) -> OverrideFull {
        OverrideFull {
            state: forced.state.into(),
            by: forced.by.clone(),
            why: forced.why.clone(),
            since: time(forced.since_ms),
            until: forced.until_ms.map(time),
        }
    }
}

/// A monitor, as far as it is known.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MonitorView {
    pub(crate) id: u64,
    #[schema(required)]
    pub(crate) name: Option<String>,
    /// Where a person sees it.
    #[schema(required)]
    pub(crate) url: Option<String>,
    /// Where a person sees the newest event behind one of its notifications.
    #[schema(required)]
    pub(crate) event_url: Option<String>,
}

impl MonitorView {
    pub(crate) fn of(id: u64, seen: Option<&MonitorSeen>) -> MonitorView {
        let event = seen.and_then(|seen| seen.event.as_ref());
        MonitorView {
            id,
            name: seen.map(|seen| seen.name.clone()).filter(|name| !name.is_empty()),
            url: seen.and_then(|seen| web_link(&seen.url)),
            event_url: event.and_then(|EventSeen { url, .. }| web_link(url)),
        }
    }
}

/// What one monitor group says to the breaker.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SignalView {
    pub(crate) monitor: MonitorView,
    /// The group's tags in their canonical spelling; `*` for an ungrouped monitor.
    pub(crate) group: String,
    /// As Datadog writes it.
    #[schema(example = "Alert")]
    pub(crate) status: String,
    pub(crate) asks: AsksName,
    pub(crate) muted: bool,
    /// Whether the group, or its monitor, is gone.
    pub(crate) vanished: bool,
    /// When it took its status, by Datadog's clock; null: Datadog does not tell.
    #[schema(required)]
    pub(crate) changed_at: Option<Timestamp>,
    /// When Datadog last showed it so.
    pub(crate) as_of: Timestamp,
    /// How long ago a report last confirmed it, milliseconds. Confirmations are written every quarter of `max_age`.
    pub(crate) age_ms: i64,
    /// When it is stale unless a report confirms it.
    pub(crate) stale_at: Timestamp,
}

impl SignalView {
    fn of(heard: &Heard<'_>, monitor: MonitorView, now_ms: i64) -> SignalView {
        let latest = &heard.signal.latest;
        SignalView {
            monitor,
            group: heard.id.group.clone(),
            status: latest.status.as_str().to_owned(),
            asks: match heard.asks {
                Asks::Rest => AsksName::Closed,
                Asks::Doubt => AsksName::HalfOpen,
                Asks::Fire => AsksName::Open,
            },
            muted: latest.muted,
            vanished: heard.signal.vanished,
            changed_at: latest.changed_at_ms.map(time),
            as_of: time(latest.as_of_ms),
            age_ms: now_ms.saturating_sub(heard.signal.refreshed_ms).max(0),
            stale_at: time(heard.stale_at_ms),
        }
    }
}

/// A notification that holds the breaker open until a report agrees.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HintView {
    pub(crate) monitor: MonitorView,
    pub(crate) group: String,
    /// When the message was taken.
    pub(crate) at: Timestamp,
    /// When it lapses.
    pub(crate) until: Timestamp,
}

/// How a breaker decides; see the breakers' file in docs/settings.md.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PolicyView {
    pub(crate) min_open_ms: i64,
    pub(crate) ramp_ms: i64,
    pub(crate) max_age_ms: i64,
    pub(crate) on_stale: OnStaleName,
    pub(crate) probe_ppm: u32,
    pub(crate) max_open_ppm: u32,
    pub(crate) max_keys: u64,
    /// The operation classes that are refused; empty: all.
    pub(crate) refuse: BTreeSet<String>,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> PolicyView {
        PolicyView {
            min_open_ms: policy.min_open_ms,
            ramp_ms: policy.ramp_ms,
            max_age_ms: policy.max_age_ms,
            on_stale: match policy.on_stale {
                OnStale::HalfOpen => OnStaleName::HalfOpen,
                OnStale::Hold => OnStaleName::Hold,
                OnStale::Close => OnStaleName::Close,
            },
            probe_ppm: policy.probe_ppm,
            max_open_ppm: policy.max_open_ppm,
            max_keys: policy.max_keys,
            refuse: policy.refuse.clone(),
        }
    }
}

/// Everything that is known of a breaker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerDetail {
    #[serde(flatten)]
    pub(crate) summary: BreakerSummary,
    /// Who forces it, why, and until when.
    #[schema(required)]
    pub(crate) forced_by: Option<OverrideFull>,
    /// Who injects the fault, and why.
    #[schema(required)]
    pub(crate) fault_by: Option<FaultBy>,
    /// Why it is not open although a signal fires.
    #[schema(required)]
    pub(crate) held: Option<HeldName>,
    /// What its monitors' groups say.
    pub(crate) signals: Vec<SignalView>,
    pub(crate) hints: Vec<HintView>,
    pub(crate) policy: PolicyView,
    /// The store's clock.
    pub(crate) now: Timestamp,
}

/// A breaker as it stands in the store.
pub(crate) struct Stored<'a> {
    pub(crate) id: &'a BreakerId,
    pub(crate) declaration: &'a Declaration,
    pub(crate) record: &'a Breaker,
    pub(crate) published: &'a Published,
    pub(crate) monitors: &'a BTreeMap<u64, MonitorSeen>,
    pub(crate) now_ms: i64,
}

impl BreakerDetail {
    pub(crate) fn of(stored: &Stored<'_>) -> BreakerDetail {
        let Stored { id, declaration, record, published, monitors, now_ms } = stored;
        let (policy, now_ms) = (&declaration.policy, *now_ms);
        let monitor = |id: &SignalId| MonitorView::of(id.monitor_id, monitors.get(&id.monitor_id));
        let signals = record.heard(policy, now_ms);
        let hint = |(id, hint): (&SignalId, &Hint)| HintView {
            monitor: monitor(id),
            group: id.group.clone(),
            at: time(hint.at_ms),
            until: time(hint.until_ms),
        };
        BreakerDetail {
            summary: BreakerSummary::of(id, published, now_ms),
            forced_by: record.forced().filter(|forced| forced.holds_at(now_ms)).map(Into::into),
            fault_by: record.fault().filter(|injected| injected.fault.holds_at(now_ms)).map(Into::into),
            held: record.held().map(Into::into),
            signals: signals.map(|heard| SignalView::of(&heard, monitor(heard.id), now_ms)).collect(),
            hints: record.hints().iter().map(hint).collect(),
            policy: policy.into(),
            now: time(now_ms),
        }
    }
}

/// A pause of the scope.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PauseView {
    pub(crate) by: String,
    pub(crate) why: String,
    pub(crate) since: Timestamp,
    /// When it ends; null: when somebody ends it.
    #[schema(required)]
    pub(crate) until: Option<Timestamp>,
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> PauseView {
        PauseView {
            by: pause.by.clone(),
            why: pause.why.clone(),
            since: time(pause.since_ms),
            until: pause.until_ms.map(time),
        }
    }
}

/// Whether the scope is paused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PauseState {
    /// Null: it is not.
    #[schema(required)]
    pub(crate) pause: Option<PauseView>,
}

/// Who asks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Me {
    pub(crate) name: String,
    pub(crate) role: RoleName,
    /// When the token ends; null: it does not.
    #[schema(required)]
    pub(crate) expires: Option<Timestamp>,
}

impl From<&Operator> for Me {
    fn from(operator: &Operator) -> Me {
        let role = match operator.role {
            Role::Viewer => RoleName::Viewer,
            Role::Operator => RoleName::Operator,
        };
        Me { name: operator.name.clone(), role, expires: operator.expires_at }
    }
}

/// One breaker, or family of breakers, of the breakers' file.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DeclaredView {
    pub(crate) name: String,
    /// The group tags whose values make the key.
    pub(crate) key: Vec<String>,
    pub(crate) mode: ModeName,
}

/// How the service itself is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusView {
    pub(crate) you: Me,
    /// The store's clock.
    pub(crate) now: Timestamp,
    /// How long ago the store last answered, milliseconds.
    pub(crate) age_ms: i64,
    /// Another one means that the store lost its data.
    #[schema(required)]
    pub(crate) epoch: Option<String>,
    /// The number of the newest change.
    pub(crate) rev: u64,
    /// How often this instance saw the store lose data.
    pub(crate) losses: u64,
    /// The revision of this instance's breakers' file; 0: it has none.
    pub(crate) revision: u64,
    #[schema(required)]
    pub(crate) pause: Option<PauseView>,
    pub(crate) breakers: Vec<DeclaredView>,
    pub(crate) file: FileView,
}

/// The breakers' file that is at work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileView {
    /// Since when, by this instance's clock.
    pub(crate) since: Timestamp,
    /// How many mistakes a newer file has, so that it was not taken; the log tells them. 0: the newest one is at work.
    pub(crate) mistakes: usize,
}
