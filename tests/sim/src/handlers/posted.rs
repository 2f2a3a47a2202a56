//! Messages to the service, signed as the function signs them, and what people order through it.

use super::disk::{JOB, Told};
use super::instances::secrets;
use crate::checker::Verdict;
use crate::function::at;
use crate::history::Ordering as Ordered;
use crate::plants::Plant;
use crate::service::{Job, Origin, What};
use crate::world::World;
use axum::body::Body;
use cutout_core::hint::HINT_AGE_LIMIT_MS;
use cutout_core::observation::READ_LAG_LIMIT_SECS;
use cutout_core::report::{Group, INVENTORY_SCHEMA, Inventory, NotifiedTransition, Status};
use cutout_core::{Act, BreakerId, Callback, Order, Tags, webhook};
use cutout_service::callback::CALLBACK_PATH;
use http::Request;
use jiff::Timestamp;
use tower::ServiceExt;

const URL: &str = "https://service.example.internal/dd_circuit_breaker/callback";

/// A message on its way.
pub(crate) struct Posted {
    pub(super) job: Box<Job>,
    /// How often data had been lost before.
    pub(super) losses: u64,
}

impl World<'_> {
    /// Posts a message to an instance, or does what a person orders there.
    pub(crate) fn post(&mut self, job: Box<Job>) -> Verdict {
        let spared = job.origin == Origin::Tick && self.dice.permille(self.history.profile.outage_spares);
        if self.history.in_outage(self.now_ms) && !spared && !matches!(job.what, What::Order(..)) {
            self.trace(|| format!("service: cannot be reached by {job}"));
            self.fail(job.origin);
            return Ok(());
        }
        self.tally.callbacks += 1;
        let nth = self.dice.below(super::INSTANCES);
        let body = self.body(&job);
        let Some(rig) = &mut self.rig else { return Ok(()) };
        rig.posts += 1;
        let (post, losses) = (rig.posts, rig.losses);
        let Some(up) = &mut rig.instances[nth].up else {
            self.fail(job.origin);
            return Ok(());
        };
        let tell = rig.disk.told.clone();
        let task = match (&job.what, body) {
            (What::Order(id, order), _) => {
                let (service, id, order) = (up.service.clone(), id.clone(), order.clone());
                tokio::spawn(JOB.scope(post, async move {
                    let status = if service.order(&id, &order).await.is_ok() { 200 } else { 503 };
                    let _ = tell.send(Told::Answered { job: post, status });
                }))
            }
            (_, Some(body)) => {
                let router = up.router.clone();
                tokio::spawn(JOB.scope(post, async move {
                    let status = match router.oneshot(signed(body)).await {
                        Ok(response) => response.status().as_u16(),
                        Err(never) => match never {},
                    };
                    let _ = tell.send(Told::Answered { job: post, status });
                }))
            }
            (_, None) => return Ok(()),
        };
        up.tasks.retain(|(_, task)| !task.is_finished());
        up.tasks.push((post, task));
        self.trace(|| format!("function: posts {post} to instance {nth}: {job}"));
        let answered = self.plant == Some(Plant::AnswerBeforeCommit);
        if let Some(rig) = &mut self.rig {
            rig.posted.insert(post, Posted { job, losses });
        }
        if answered { self.must_be_committed(post) } else { Ok(()) }
    }

    /// A person orders something, at one instance.
    pub(crate) fn give_order(&mut self, order: Ordered) {
        self.trace(|| format!("person: {order:?}"));
        let now_ms = self.store_ms();
        let until_ms = |for_ms: Option<i64>| for_ms.map(|for_ms| now_ms + for_ms);
        match order {
            Ordered::Force { breaker, state, for_ms } => {
                let act = Act::Force { state, until_ms: until_ms(for_ms) };
                self.post_order(breaker, act);
            }
            Ordered::Clear { breaker } => self.post_order(breaker, Act::Clear),
            Ordered::Pause { for_ms } => self.pause(true, until_ms(for_ms)),
            Ordered::Resume => self.pause(false, None),
        }
    }

    fn post_order(&mut self, id: BreakerId, act: Act) {
        let order = Order { by: "somebody".to_owned(), why: "a test".to_owned(), act };
        let job = Job::new(What::Order(id, order), Origin::Nobody);
        self.plan(self.now_ms, crate::world::Event::Read(Box::new(job)));
    }

    /// Pauses or resumes the scope at the first instance that is up.
    fn pause(&mut self, pauses: bool, until_ms: Option<i64>) {
        let Some(rig) = &mut self.rig else { return };
        rig.posts += 1;
        let post = rig.posts;
        let Some(up) = rig.instances.iter_mut().find_map(|instance| instance.up.as_mut()) else { return };
        let service = up.service.clone();
        let task = tokio::spawn(JOB.scope(post, async move {
            // Where the store is away, a person gives up.
            let _ = match pauses {
                true => service.pause("somebody", "a test", until_ms).await.map(drop),
                false => service.resume("somebody", "a test").await,
            };
        }));
        up.tasks.push((post, task));
    }

    /// What is posted: the truth, unless a bug is planted.
    fn body(&self, job: &Job) -> Option<Vec<u8>> {
        match &job.what {
            What::Callback(callback) => {
                let mut callback = Callback { to: URL.to_owned(), ..Callback::clone(callback) };
                if let Some(plant) = self.plant {
                    self.falsify(&mut callback, plant, job.origin);
                }
                serde_json::to_vec(&callback).ok()
            }
            What::Inventory { monitor_ids, as_of_ms } => {
                let (schema, to, monitor_ids) =
                    (INVENTORY_SCHEMA.to_owned(), URL.to_owned(), monitor_ids.clone());
                serde_json::to_vec(&Inventory { schema, as_of: at(*as_of_ms), to, monitor_ids }).ok()
            }
            What::Gone { .. } | What::Order(..) | What::Timer => None,
        }
    }

    fn falsify(&self, callback: &mut Callback, plant: Plant, origin: Origin) {
        let now = at(self.store_ms());
        let groups = callback.report.iter_mut().flat_map(|report| &mut report.groups);
        match plant {
            Plant::ReceiversClock => {
                groups.for_each(|group| group.changed_at = Some(now));
                callback.report.iter_mut().for_each(|report| report.as_of = now);
            }
            Plant::ReconcilePlainSet if origin == Origin::Tick => {
                // Whatever is newer, beyond the read lag the later reading wins.
                let later = jiff::SignedDuration::from_secs(READ_LAG_LIMIT_SECS + 1);
                callback.report.iter_mut().for_each(|report| report.as_of += later);
            }
            Plant::KeyedByMonitor => groups.for_each(|group| group.tags = keyed(&group.tags)),
            Plant::OrDropped => callback.monitor_id = 1,
            Plant::OldHint => {
                let old = |told: Timestamp| now.as_millisecond() - told.as_millisecond() > HINT_AGE_LIMIT_MS;
                callback.notified.iter_mut().filter(|told| old(told.at)).for_each(|told| told.at = now);
            }
            Plant::HintAsReport => believe(callback),
            _ => {}
        }
    }
}

/// Only the tag that the breaker's key is made of.
fn keyed(tags: &Tags) -> Tags {
    let name = tags.to_string();
    let key = name.split(',').find(|tag| tag.starts_with("bank_code"));
    Tags::parse(key.unwrap_or_default())
}

/// The report shows what the message tells.
fn believe(callback: &mut Callback) {
    let (Some(told), Some(report)) = (&callback.notified, &mut callback.report) else { return };
    let named = |group: &&mut Group| Some(&group.tags) == told.tags.as_ref();
    for group in report.groups.iter_mut().filter(named) {
        group.status = match told.transition {
            NotifiedTransition::Alert => Status::Alert,
            _ => Status::Ok,
        };
        group.changed_at = Some(told.at);
    }
}

/// A message as the function sends it.
fn signed(body: Vec<u8>) -> Request<Body> {
    // Signatures are of this second by the system's clock: their age is no part of a history.
    let now_secs = Timestamp::now().as_second();
    let id = webhook::message_id(URL, &body);
    let signature = webhook::sign(&secrets(), &id, now_secs, &body);
    let request = Request::post(CALLBACK_PATH)
        .header("content-type", "application/json")
        .header(webhook::ID_HEADER, id)
        .header(webhook::TIMESTAMP_HEADER, now_secs)
        .header(webhook::SIGNATURE_HEADER, signature);
    request.body(Body::from(body)).unwrap_or_default()
}
