//! One history, drawn from its seed before anything happens: what is true at Datadog, which messages tell of it, and
//! what is planned to go wrong. Left out: what chance does on the way (`world`).

use crate::dice::{Dice, Stream};
use crate::profile::Profile;
use cutout_core::breaker::{Muted, NoData, OnVanished, OpenOn, SignalId};
use cutout_core::flag::{Forced, Mode, OnStale};
use cutout_core::report::{NotifiedTransition, Status};
use cutout_core::{BreakerId, Declaration, Policy, Tags};

/// When every history starts: Unix milliseconds.
pub(crate) const START_MS: i64 = 1_795_219_200_000;
/// How far a lagging read of Datadog is behind at the most.
pub(crate) const READ_LAG_MAX_MS: i64 = 30_000;
/// The breakers' declared name.
pub(crate) const BREAKER: &str = "bank";
const KEY: &str = "bank_code";
const FLIPS_MAX: i64 = 8;
/// How long it takes until what vanished is seen to have, besides one period: two more.
const VANISH_MS: i64 = 130_000;
/// Groups of a monitor: two share a breaker.
const GROUPS: [(&str, &str); 3] = [("0001", "a"), ("0001", "b"), ("0002", "a")];

/// A time from, and the first after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

impl Window {
    pub(crate) fn holds(&self, at_ms: i64) -> bool {
        (self.from_ms..self.to_ms).contains(&at_ms)
    }
}

/// What a read shows of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shows {
    pub(crate) status: Status,
    pub(crate) changed_ms: Option<i64>,
    pub(crate) muted: bool,
}

/// From when on a group shows what; none: it is not there.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    pub(crate) at_ms: i64,
    pub(crate) shows: Option<Shows>,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) tags: Tags,
    pub(crate) breaker: BreakerId,
    pub(crate) signal: SignalId,
    /// Whether Datadog never tells when it changed, as of a composite monitor.
    pub(crate) timeless: bool,
    pub(crate) levels: Vec<Level>,
}

impl Group {
    /// What is true at `at_ms`.
    pub(crate) fn at(&self, at_ms: i64) -> Option<&Shows> {
        self.levels.iter().rev().find(|level| level.at_ms <= at_ms).and_then(|level| level.shows.as_ref())
    }
}

#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) id: u64,
    pub(crate) groups: Vec<Group>,
    /// When it was deleted.
    pub(crate) gone_ms: Option<i64>,
}

/// One notification, and when each of its copies reaches the function; none: lost.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) monitor: usize,
    /// The group it names; none: it names none.
    pub(crate) group: Option<usize>,
    pub(crate) transition: NotifiedTransition,
    /// When SNS took it.
    pub(crate) at_ms: i64,
    pub(crate) copies_ms: Vec<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreFault {
    /// All data are lost, on live connections.
    Lost,
    /// A replica that misses the last so many milliseconds takes over.
    Failover { missing_ms: i64 },
}

/// What a person does.
#[derive(Debug, Clone)]
pub(crate) enum Ordering {
    /// Forces a state, for so long or until it is cleared.
    Force {
        breaker: BreakerId,
        state: Forced,
        for_ms: Option<i64>,
    },
    Clear {
        breaker: BreakerId,
    },
    Pause {
        for_ms: Option<i64>,
    },
    Resume,
}

/// What is planned for the caller.
#[derive(Debug, Default)]
pub(crate) struct CallerPlan {
    pub(crate) away: Vec<Window>,
    /// How long a change takes to be read, at the most.
    pub(crate) slow_ms: i64,
    /// How many changes the stream keeps.
    pub(crate) kept: usize,
}

#[derive(Debug)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) monitors: Vec<Monitor>,
    pub(crate) notes: Vec<Note>,
    pub(crate) outages: Vec<Window>,
    /// When the store does not answer.
    pub(crate) store_away: Vec<Window>,
    pub(crate) store_faults: Vec<(i64, StoreFault)>,
    pub(crate) caller: Option<CallerPlan>,
    /// What people do, and when.
    pub(crate) orders: Vec<(i64, Ordering)>,
    /// The store's clock less the true time.
    pub(crate) store_skew_ms: i64,
    /// When nothing changes and nothing fails any more; reads may still lag.
    pub(crate) quiet_ms: i64,
    /// How much longer than a period and the lag it takes until all must be right: what vanished is seen to twice.
    pub(crate) vanish_ms: i64,
    /// When old messages are sent again, long after.
    pub(crate) redrive_ms: Option<i64>,
    pub(crate) tick_phase_ms: i64,
}

impl History {
    pub(crate) fn draw(seed: u64, profile: Profile) -> History {
        let mut dice = Dice::new(seed, Stream::History);
        let dice = &mut dice;
        let rich = profile.rich;
        let mut history = History {
            seed,
            profile,
            declarations: vec![declaration(dice, rich)],
            monitors: monitors(dice, rich),
            notes: Vec::new(),
            outages: Vec::new(),
            store_away: Vec::new(),
            store_faults: Vec::new(),
            caller: None,
            orders: Vec::new(),
            store_skew_ms: 0,
            quiet_ms: 0,
            vanish_ms: 0,
            redrive_ms: None,
            tick_phase_ms: dice.ms(0..=59_999),
        };
        let last_ms = history.flip(dice);
        if rich {
            history.mute_and_vanish(dice, last_ms);
        }
        history.tell(dice);
        history.fail(dice, last_ms);
        history
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.declarations[0].policy
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.monitors.iter().flat_map(|monitor| &monitor.groups)
    }

    pub(crate) fn in_outage(&self, at_ms: i64) -> bool {
        self.outages.iter().any(|window| window.holds(at_ms))
    }

    pub(crate) fn store_is_away(&self, at_ms: i64) -> bool {
        self.store_away.iter().any(|window| window.holds(at_ms))
    }

    /// Lets groups change, and gives the time of the last change.
    fn flip(&mut self, dice: &mut Dice) -> i64 {
        let rich = self.profile.rich;
        let mut at_ms = START_MS + dice.ms(0..=60_000);
        for _ in 0..dice.ms(1..=FLIPS_MAX) {
            at_ms += gap_ms(dice, rich);
            let monitor = dice.below(self.monitors.len());
            let groups = &mut self.monitors[monitor].groups;
            let nth = dice.below(groups.len());
            let group = &mut groups[nth];
            let Some(shown) = group.at(i64::MAX).cloned() else { continue };
            let status = other_status(dice, &shown.status, rich);
            // Datadog keeps a time for triggered, resolved and No Data alone.
            let untold = group.timeless || matches!(status, Status::Other(_));
            let changed_ms = if untold { shown.changed_ms } else { Some(whole_secs(at_ms)) };
            let shows = Some(Shows { status, changed_ms, muted: shown.muted });
            group.levels.push(Level { at_ms, shows });
        }
        at_ms
    }

    fn mute_and_vanish(&mut self, dice: &mut Dice, last_ms: i64) {
        for monitor in &mut self.monitors {
            if dice.permille(50) {
                let gone_ms = dice.ms(START_MS + 60_000..=last_ms + 60_000);
                monitor.gone_ms = Some(gone_ms);
                monitor.groups.iter_mut().for_each(|group| group.leave(gone_ms));
                self.vanish_ms = VANISH_MS;
            }
            for group in &mut monitor.groups {
                if dice.permille(80) {
                    let from_ms = dice.ms(START_MS..=last_ms);
                    group.mute(Window { from_ms, to_ms: from_ms + dice.ms(10_000..=400_000) });
                }
                if dice.permille(60) {
                    let gone_ms = dice.ms(START_MS..=last_ms + 60_000);
                    group.leave(gone_ms);
                    self.vanish_ms = VANISH_MS;
                }
            }
        }
    }

    /// Which changes are told, and how the messages fare.
    fn tell(&mut self, dice: &mut Dice) {
        let profile = self.profile;
        let loss = match dice.permille(profile.heavy_loss) {
            true => dice.pick(&[300, 1000]),
            false => profile.loss,
        };
        for (monitor, nth, level, transition) in self.told_changes() {
            let sent_ms = level + dice.ms(100..=profile.publish_ms);
            let names_group = !profile.rich || !dice.permille(50);
            let copies =
                if dice.permille(loss) { 0 } else { 1 + usize::from(dice.permille(profile.doubled)) };
            let copies_ms = (0..copies).map(|_| sent_ms + delay_ms(dice, profile)).collect();
            let group = names_group.then_some(nth);
            self.notes.push(Note { monitor, group, transition, at_ms: sent_ms, copies_ms });
        }
    }

    /// The changes that Datadog sends messages of: when, of whom, and which transition.
    fn told_changes(&self) -> Vec<(usize, usize, i64, NotifiedTransition)> {
        let mut told = Vec::new();
        for (monitor, truth) in self.monitors.iter().enumerate() {
            for (nth, group) in truth.groups.iter().enumerate() {
                for pair in group.levels.windows(2) {
                    let (Some(before), Some(after)) = (&pair[0].shows, &pair[1].shows) else { continue };
                    if before.status != after.status && !after.muted {
                        let transition = transition(&before.status, &after.status);
                        told.push((monitor, nth, pair[1].at_ms, transition));
                    }
                }
            }
        }
        told
    }

    /// What is planned to go wrong, and when all of it ends.
    fn fail(&mut self, dice: &mut Dice, last_ms: i64) {
        let levels = self.groups().flat_map(|group| &group.levels).map(|level| level.at_ms);
        let mut quiet_ms = levels.chain([last_ms]).max().unwrap_or(last_ms);
        if dice.permille(self.profile.outage) {
            let from_ms = dice.ms(START_MS..=last_ms);
            let window = Window { from_ms, to_ms: from_ms + dice.ms(30_000..=400_000) };
            quiet_ms = quiet_ms.max(window.to_ms);
            self.outages.push(window);
        }
        if self.profile.store_faults {
            quiet_ms = quiet_ms.max(self.fail_store(dice, last_ms));
            if dice.permille(200) {
                self.order(dice, last_ms);
            }
            self.caller = dice.permille(500).then(|| caller_plan(dice, last_ms));
            let skew_max_ms = if dice.permille(100) { 40_000 } else { 500 };
            self.store_skew_ms = dice.ms(-skew_max_ms..=skew_max_ms);
        }
        let ordered = self.orders.iter().map(|(at_ms, _)| *at_ms);
        quiet_ms = ordered.chain([quiet_ms]).max().unwrap_or(quiet_ms);
        self.quiet_ms = quiet_ms;
        if self.profile.store_faults && dice.permille(30) {
            self.redrive_ms = Some(quiet_ms + dice.ms(3_600_000..=6 * 3_600_000));
        }
    }

    /// What people do meanwhile.
    fn order(&mut self, dice: &mut Dice, last_ms: i64) {
        let breakers: Vec<BreakerId> = self.groups().map(|group| group.breaker.clone()).collect();
        for _ in 0..dice.ms(1..=3) {
            let at_ms = dice.ms(START_MS..=last_ms);
            let for_ms = dice.permille(700).then(|| dice.ms(1_000..=400_000));
            let breaker = dice.pick(&breakers);
            if dice.permille(700) {
                let state = dice.pick(&[Forced::Open, Forced::Closed]);
                self.orders.push((at_ms, Ordering::Force { breaker: breaker.clone(), state, for_ms }));
                if dice.permille(400) {
                    self.orders.push((at_ms + dice.ms(100..=300_000), Ordering::Clear { breaker }));
                }
            } else {
                self.orders.push((at_ms, Ordering::Pause { for_ms }));
                self.orders.push((at_ms + dice.ms(1_000..=300_000), Ordering::Resume));
            }
        }
    }

    fn fail_store(&mut self, dice: &mut Dice, last_ms: i64) -> i64 {
        let mut until_ms = START_MS;
        if dice.permille(150) {
            let at_ms = dice.ms(START_MS + 5_000..=last_ms + 5_000);
            let fault = match dice.permille(500) {
                true => StoreFault::Lost,
                false => StoreFault::Failover { missing_ms: dice.ms(1..=2_000) },
            };
            let away = Window { from_ms: at_ms, to_ms: at_ms + dice.pick(&[0, 0, 1_000, 15_000]) };
            until_ms = away.to_ms;
            self.store_faults.push((at_ms, fault));
            self.store_away.push(away);
        }
        until_ms
    }
}

impl Group {
    /// From `at_ms` on it is not there.
    fn leave(&mut self, at_ms: i64) {
        self.levels.retain(|level| level.at_ms < at_ms);
        if self.levels.last().is_some_and(|level| level.shows.is_some()) {
            self.levels.push(Level { at_ms, shows: None });
        }
    }

    fn mute(&mut self, window: Window) {
        for edge_ms in [window.from_ms, window.to_ms] {
            let shows = self.at(edge_ms).cloned();
            self.levels.push(Level { at_ms: edge_ms, shows });
            self.levels.sort_by_key(|level| level.at_ms);
        }
        for level in &mut self.levels {
            if let Some(shows) = level.shows.as_mut().filter(|_| window.holds(level.at_ms)) {
                shows.muted = true;
            }
        }
    }
}

fn declaration(dice: &mut Dice, rich: bool) -> Declaration {
    let base = Policy { min_open_ms: 0, ramp_ms: 60_000, ..Policy::default() };
    let policy = match rich {
        false => base,
        true => Policy {
            open_on: dice.pick(&[OpenOn::Alert, OpenOn::Warn]),
            no_data: dice.pick(&[NoData::Hold, NoData::Open, NoData::Close]),
            min_open_ms: dice.pick(&[0, 30_000]),
            ramp_ms: dice.pick(&[20_000, 300_000]),
            muted: dice.pick(&[Muted::Follow, Muted::Hold]),
            on_vanished: dice.pick(&[OnVanished::HalfOpen, OnVanished::Hold, OnVanished::Close]),
            max_age_ms: dice.pick(&[300_000, 900_000]),
            on_stale: dice.pick(&[OnStale::HalfOpen, OnStale::Hold, OnStale::Close]),
            mode: dice.pick(&[Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Watch]),
            ..base
        },
    };
    Declaration {
        name: BREAKER.to_owned(),
        key: vec![KEY.to_owned()],
        monitor_ids: [1, 2].into(),
        monitor_tags: std::collections::BTreeSet::new(),
        only: std::collections::BTreeMap::new(),
        policy,
    }
}

fn monitors(dice: &mut Dice, rich: bool) -> Vec<Monitor> {
    let monitors = if rich { dice.ms(1..=2) } else { 1 };
    let mut drawn = Vec::new();
    for id in (1..).take(usize::try_from(monitors).unwrap_or(1)) {
        let first = if rich { dice.below(GROUPS.len()) } else { 0 };
        let groups = if rich { 1 + dice.below(GROUPS.len()) } else { 1 };
        let groups = (0..groups).map(|nth| group(dice, id, GROUPS[(first + nth) % GROUPS.len()], rich));
        drawn.push(Monitor { id, groups: groups.collect(), gone_ms: None });
    }
    drawn
}

fn group(dice: &mut Dice, monitor_id: u64, (bank, env): (&str, &str), rich: bool) -> Group {
    let tags: Tags = [(KEY, bank), ("env", env)].into_iter().collect();
    let timeless = rich && dice.permille(100);
    let never = timeless || rich && dice.permille(400);
    let changed_ms = (!never).then_some(START_MS - 3_600_000);
    let shows = Some(Shows { status: Status::Ok, changed_ms, muted: false });
    Group {
        breaker: BreakerId::new(BREAKER, &[bank]),
        signal: SignalId { monitor_id, group: tags.to_string() },
        tags,
        timeless,
        levels: vec![Level { at_ms: START_MS - 3_600_000, shows }],
    }
}

fn gap_ms(dice: &mut Dice, rich: bool) -> i64 {
    match dice.ms(0..=99) {
        0..=7 if rich => dice.ms(50..=1_200),
        0..=39 => dice.ms(2_000..=60_000),
        _ => dice.ms(60_000..=300_000),
    }
}

fn other_status(dice: &mut Dice, now: &Status, rich: bool) -> Status {
    if rich && dice.permille(200) {
        let odd = dice.pick(&[Status::Warn, Status::NoData, Status::Other("Skipped".to_owned())]);
        if odd != *now {
            return odd;
        }
    }
    match now {
        Status::Alert => Status::Ok,
        Status::Ok => Status::Alert,
        _ => dice.pick(&[Status::Ok, Status::Alert]),
    }
}

fn transition(before: &Status, after: &Status) -> NotifiedTransition {
    match (before, after) {
        (_, Status::Alert) => NotifiedTransition::Alert,
        (_, Status::Warn) => NotifiedTransition::Warn,
        (_, Status::NoData) => NotifiedTransition::NoData,
        (Status::Alert | Status::Warn | Status::NoData, Status::Ok) => NotifiedTransition::Recovery,
        _ => NotifiedTransition::Unknown,
    }
}

fn delay_ms(dice: &mut Dice, profile: Profile) -> i64 {
    if dice.permille(profile.delayed) { dice.ms(5_000..=125_000) } else { dice.ms(50..=profile.deliver_ms) }
}

fn caller_plan(dice: &mut Dice, last_ms: i64) -> CallerPlan {
    let away = (0..dice.below(3)).map(|_| {
        let from_ms = dice.ms(START_MS..=last_ms);
        Window { from_ms, to_ms: from_ms + dice.pick(&[500, 10_000, 200_000]) }
    });
    CallerPlan { away: away.collect(), slow_ms: dice.pick(&[50, 5_000]), kept: dice.pick(&[1, 3, 10_000]) }
}

/// Datadog tells whole seconds.
pub(crate) fn whole_secs(ms: i64) -> i64 {
    ms.div_euclid(1000) * 1000
}
