//! The real service over the memory store, on a clock that the time line moves.
//!
//! Callbacks are signed and go through the router, orders through the service's own functions, and a deploy is a new
//! instance that declares its file and sweeps. Only the timers' waiting is replaced: what a flag says is due is done at
//! that very moment, as the service's timers do it, and must be what callers compute from the flag they have.

use crate::world::START_MS;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use cutout_core::webhook::{self, Secret};
use cutout_core::{BreakerId, Flag, Hold, Order, State};
use cutout_flags::store::{Committed, Publish, Store, Write};
use cutout_flags::{AuditEntry, MemoryStore};
use cutout_service::{Breakers, Parts, Service, breakers};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// Where all callbacks go.
pub(crate) const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
const DEADLINE: Duration = Duration::from_secs(20);
/// More changes than these at one moment never end.
const CHANGES_MAX: usize = 1_000;

pub(crate) struct Rig {
    clock_ms: Arc<AtomicI64>,
    store: Arc<MemoryStore>,
    /// The last one is at work; an old one is still asked now and then.
    instances: Vec<Service>,
    breakers: Breakers,
}

impl Rig {
    /// A service with this breakers' file.
    pub(crate) async fn start(file: &str) -> Result<Rig, String> {
        let clock_ms = Arc::new(AtomicI64::new(START_MS));
        let clock = Arc::clone(&clock_ms);
        let store = Arc::new(MemoryStore::with_clock(Arc::new(move || clock.load(SeqCst))));
        let mut rig = Rig { clock_ms, store, instances: Vec::new(), breakers: Breakers::default() };
        rig.deploy(file).await?;
        Ok(rig)
    }

    /// Starts a new instance, which declares its file and makes the flags say what they mean by it.
    pub(crate) async fn deploy(&mut self, file: &str) -> Result<(), String> {
        self.breakers = breakers::parse("the settings", file).map_err(|problems| problems.to_string())?;
        let service = Service::new(Parts {
            store: self.store.clone(),
            breakers: self.breakers.clone(),
            secrets: vec![secret()],
            public_url: Some(URL.parse().unwrap()),
        });
        let (running, started) = (tokio::spawn(service.run()), Instant::now());
        loop {
            let ready = Request::get("/readyz").body(Body::empty()).unwrap();
            if service.readiness().oneshot(ready).await.unwrap().status() == StatusCode::OK {
                break;
            }
            assert!(started.elapsed() < DEADLINE, "the instance never declared its breakers");
            tokio::task::yield_now().await;
        }
        running.abort();
        self.instances.push(service);
        Ok(())
    }

    /// Posts something, signed, to the last instance or to the one before it. Yields the status of the answer.
    pub(crate) async fn post(&self, message: &impl Serialize, to_old: bool) -> u16 {
        let (body, now_secs) = (serde_json::to_vec(message).unwrap(), Timestamp::now().as_second());
        let id = webhook::message_id(URL, &body);
        let request = Request::post(cutout_service::callback::CALLBACK_PATH)
            .header(webhook::TIMESTAMP_HEADER, now_secs.to_string())
            .header(webhook::SIGNATURE_HEADER, webhook::sign(&[secret()], &id, now_secs, &body))
            .header(webhook::ID_HEADER, id)
            .body(Body::from(body))
            .unwrap();
        let instance = &self.instances[self.instances.len() - 1 - usize::from(to_old)];
        instance.router().oneshot(request).await.unwrap().status().as_u16()
    }

    /// The instance at work, for orders.
    pub(crate) fn service(&self) -> &Service {
        &self.instances[self.instances.len() - 1]
    }

    /// Orders something of a breaker.
    pub(crate) async fn order(&self, id: &str, order: &Order) -> Result<(), String> {
        let id = BreakerId::from_stored(id.to_owned());
        self.service().order(&id, order).await.map(drop).map_err(|error| error.to_string())
    }

    /// The flag in the store.
    pub(crate) async fn flag(&self, id: &str) -> Option<Flag> {
        self.flags().await.into_iter().find(|(known, _)| known.as_str() == id).map(|(_, flag)| flag)
    }

    async fn flags(&self) -> Vec<(BreakerId, Flag)> {
        let flags = self.store.snapshot().await.unwrap().flags;
        flags.into_iter().map(|(id, published)| (id, published.flag)).collect()
    }

    /// Lets time go on to `at_ms` of the time line, and what time alone brings happen at its moment.
    pub(crate) async fn wait_until(&self, at_ms: i64) -> Result<(), String> {
        for _ in 0..CHANGES_MAX {
            let flags = self.flags().await;
            let due = flags.iter().filter_map(|(id, flag)| Some((flag.next_change_ms()?, id, flag)));
            let Some((due_ms, id, flag)) =
                due.filter(|(due_ms, ..)| *due_ms <= START_MS + at_ms).min_by_key(|due| due.0)
            else {
                self.clock_ms.store(START_MS + at_ms, SeqCst);
                return Ok(());
            };
            self.clock_ms.store(due_ms, SeqCst);
            let written = self.advance(id).await;
            let seen = |flag: &Flag| (flag.state_at(due_ms), flag.share_ppm(due_ms));
            if seen(flag) != seen(&written) {
                return Err(format!(
                    "callers compute {:?} of {id}, and the service writes {:?}",
                    seen(flag),
                    seen(&written)
                ));
            }
        }
        Err("time alone brings changes without end".to_owned())
    }

    /// Does what time has brought to one breaker, and yields its flag then.
    async fn advance(&self, id: &BreakerId) -> Flag {
        let read = self.store.read(std::slice::from_ref(id), None).await.unwrap();
        let policy = &self.breakers.declaration(id).unwrap().policy;
        let hold = read.pause.as_ref().filter(|pause| pause.holds_at(read.now_ms)).map(|_| Hold::Paused);
        let stored = read.breakers[0].as_ref().unwrap();
        let mut record = stored.value.clone();
        let audit = record.advance(policy, hold, read.now_ms);
        let flag = record.flag(policy, hold);
        let closed = |state: State| i64::from(state == State::Closed);
        let write = Write::Breaker {
            id: id.clone(),
            expected: stored.revision,
            not_closed_by: closed(stored.value.state()) - closed(record.state()),
            record,
            flag: Some(Publish::Change(flag.clone())),
            audit: audit.into_iter().map(|transition| AuditEntry::new(transition, policy.mode)).collect(),
        };
        let committed = self.store.commit(&read.term.unwrap(), &[write]).await.unwrap();
        assert_eq!(committed, Committed::Taken(vec![true]));
        flag
    }
}

fn secret() -> Secret {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()
}
