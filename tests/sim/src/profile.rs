//! How hard the world is: named sets of fault rates.

/// A world's fault rates. Shares in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// Several monitors and groups, other statuses than Alert and OK, muting, vanishing, groups without times, flapping
    /// within a second.
    pub(crate) rich: bool,
    /// Loss of the store's data, failovers, away followers, trimmed streams, people, skewed clocks, redrives.
    pub(crate) store_faults: bool,
    /// Notifications lost, where the history has no special share.
    pub(crate) loss: u32,
    /// Histories in which a third or all of the notifications are lost.
    pub(crate) heavy_loss: u32,
    /// Notifications that come twice.
    pub(crate) doubled: u32,
    /// Notifications that take up to 125 s.
    pub(crate) delayed: u32,
    /// How long a message takes until SNS has it, and from there to the function, at the most; ms.
    pub(crate) publish_ms: i64,
    pub(crate) deliver_ms: i64,
    /// For how long the end is watched: what is wrong then would stay so; ms.
    pub(crate) rest_ms: i64,
    /// Invocations that fail before they send anything.
    pub(crate) attempt_fails: u32,
    /// Reads of Datadog that fail.
    pub(crate) read_fails: u32,
    /// Reads that are up to 30 s behind.
    pub(crate) read_lags: u32,
    /// Whether all reads within half a minute lag alike, so that reading again soon shows the same.
    pub(crate) lag_stays: bool,
    /// Histories in which callbacks fail for 30 to 400 s.
    pub(crate) outage: u32,
    /// Callbacks of scheduled runs that get through an outage all the same.
    pub(crate) outage_spares: u32,
    /// Callbacks whose write comes up to 33 s after the read.
    pub(crate) slow_write: u32,
    /// Crashes of the service between read and write, and as many between write and answer.
    pub(crate) crash: u32,
}

/// Every fault that there is.
pub(crate) const HARSH: Profile = Profile {
    name: "harsh",
    rich: true,
    store_faults: true,
    loss: 10,
    heavy_loss: 200,
    doubled: 100,
    delayed: 200,
    publish_ms: 3_000,
    deliver_ms: 5_000,
    rest_ms: 0,
    attempt_fails: 50,
    read_fails: 50,
    read_lags: 300,
    lag_stays: false,
    outage: 300,
    outage_spares: 0,
    slow_write: 50,
    crash: 10,
};

/// The plain world against which designs are compared: one monitor with one group, and the faults of delivery alone.
pub(crate) const DELIVERY: Profile = Profile {
    name: "delivery",
    rich: false,
    store_faults: false,
    heavy_loss: 0,
    delayed: 50,
    doubled: 50,
    publish_ms: 300,
    deliver_ms: 1_500,
    rest_ms: 1_030_000,
    read_fails: 0,
    outage_spares: 500,
    ..HARSH
};

/// The same with Datadog's reads never behind.
pub(crate) const NO_LAG: Profile = Profile { name: "no-lag", read_lags: 0, ..DELIVERY };

/// The same as [`DELIVERY`] with a lag that stays for a while.
pub(crate) const LAG_STAYS: Profile = Profile { name: "lag-stays", lag_stays: true, ..DELIVERY };

/// A good month.
pub(crate) const MILD: Profile = Profile {
    name: "mild",
    loss: 1,
    doubled: 10,
    delayed: 10,
    attempt_fails: 5,
    read_lags: 0,
    outage: 10,
    slow_write: 1,
    crash: 1,
    ..DELIVERY
};

pub(crate) const ALL: [Profile; 5] = [HARSH, DELIVERY, NO_LAG, LAG_STAYS, MILD];
