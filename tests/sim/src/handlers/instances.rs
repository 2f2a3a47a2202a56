//! Instances of the service: each a process of its own, which can crash and come back.

use super::ways::InstanceWay;
use super::{Rig, clock};
use crate::history::StoreFault;
use crate::world::{Event, World};
use axum::Router;
use cutout_core::webhook::Secret;
use cutout_service::{Breakers, Parts, Service};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::task::JoinHandle;

/// Signs every message.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One instance; none of it while it is down.
#[derive(Default)]
pub(super) struct Instance {
    pub(super) up: Option<Up>,
}

/// A running one.
pub(super) struct Up {
    pub(super) service: Service,
    pub(super) router: Router,
    run: JoinHandle<()>,
    /// What it works on, by the number of the message.
    pub(super) tasks: Vec<(u64, JoinHandle<()>)>,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.run.abort();
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }
}

/// What signs every message.
pub(super) fn secrets() -> Vec<Secret> {
    SECRET.parse().into_iter().collect()
}

impl World<'_> {
    pub(crate) fn start_instance(&mut self, nth: usize) {
        let declarations = self.declarations.clone();
        let Some(rig) = &mut self.rig else { return };
        let way = InstanceWay { disk: rig.disk.clone(), instance: nth, breaks: AtomicU64::new(0) };
        let breakers = Breakers { revision: 0, declarations };
        let parts = Parts { store: Arc::new(way), breakers, secrets: secrets(), public_url: None };
        let service = Service::with_clock(parts, clock(rig.disk.time, &mut rig.dice));
        let (router, run) = (service.router(), tokio::spawn(service.run()));
        rig.instances[nth].up = Some(Up { service, router, run, tasks: Vec::new() });
        self.trace(|| format!("service: instance {nth} starts"));
    }

    /// An instance dies in the middle of what it does, and comes back.
    pub(super) fn crashed(&mut self, nth: usize) {
        let Some(rig) = &mut self.rig else { return };
        let Some(up) = rig.instances[nth].up.take() else { return };
        let again_ms = rig.dice.ms(500..=8_000);
        let lost: Vec<_> = up.tasks.iter().filter_map(|(post, _)| rig.posted.remove(post)).collect();
        drop(up);
        self.tally.crashes += 1;
        self.trace(|| format!("service: instance {nth} crashes"));
        lost.into_iter().for_each(|posted| self.fail(posted.job.origin));
        self.plan(self.now_ms + again_ms, Event::Start(nth));
    }
}

impl Rig {
    /// All data are lost, and with them what people ordered; instances remember.
    pub(crate) fn lose(&mut self) {
        self.losses += 1;
        self.disk.store().lose_everything();
    }

    /// A replica takes over.
    pub(crate) fn fail_over(&mut self) {
        self.losses += 1;
        self.disk.fail_over();
    }
}

impl World<'_> {
    /// Before a fault of the store: what people have ordered for longer than instances take to learn of it.
    pub(crate) fn remember_orders(&mut self, fault: StoreFault) {
        let (StoreFault::Lost, Some(rig)) = (fault, &mut self.rig) else { return };
        let known_ms = self.now_ms + self.history.store_skew_ms - super::judged::LEARNT_AFTER_MS;
        let known = self.ordered.iter().filter(|(_, ordered)| ordered.since_ms <= known_ms);
        rig.restores.extend(known.map(|(id, ordered)| (id.clone(), *ordered)));
    }
}
