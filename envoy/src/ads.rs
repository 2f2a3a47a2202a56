//! One Envoy's stream: what it asked for, what it has, and what it is sent next. Aggregated discovery, state of the world.
//!
//! At most one response of a kind is on its way; until it is answered, newer pictures replace each other, so a storm of flips or
//! a slow Envoy costs one response and no memory. What Envoy rejects is logged and not sent again; it keeps what it had.
//!
//! Left out: the connection (`serve`).

use crate::publish::Shown;
use crate::resources::{self, Kind, Resource};
use crate::tally::Tally;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How many names one Envoy may ask for of a kind.
pub(crate) const NAMES_MAX: usize = 1_000;
/// How much of Envoy's reason is logged, characters.
const REASON_MAX: usize = 2_000;

/// What is known of one Envoy.
#[derive(Debug)]
pub(crate) struct Stream {
    tally: Arc<Tally>,
    /// Its node's id, as it says itself.
    node: String,
    kinds: BTreeMap<Kind, Asked>,
    nonces: u64,
    warned: bool,
}

/// What it asked for of one kind.
#[derive(Debug, Default)]
struct Asked {
    names: BTreeSet<String>,
    /// The versions that were sent.
    sent: BTreeMap<String, u64>,
    /// The nonce of the last response.
    nonce: String,
    /// Whether that one waits for its answer.
    on_its_way: bool,
    /// The version that it took last: heartbeats must bear it.
    taken: String,
    /// The version on its way.
    offered: String,
}

impl Stream {
    pub(crate) fn new(tally: Arc<Tally>) -> Stream {
        Stream { tally, node: String::new(), kinds: BTreeMap::new(), nonces: 0, warned: false }
    }

    /// The node's id, for logs.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Takes in what Envoy says: a question, or an answer to a response.
    pub(crate) fn hear(&mut self, request: DiscoveryRequest) {
        if let Some(node) = request.node.filter(|_| self.node.is_empty()) {
            self.node = node.id.chars().take(128).collect();
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.type_url() == request.type_url) else {
            tracing::warn!(node = self.node, kind = request.type_url, "an Envoy asks for what is not served here");
            return;
        };
        let asked = self.kinds.entry(kind).or_default();
        if !request.response_nonce.is_empty() && request.response_nonce != asked.nonce {
            return; // An answer to what has been replaced.
        }
        if request.response_nonce.is_empty() {
            asked.sent.clear();
            asked.on_its_way = false;
        } else if asked.on_its_way {
            asked.on_its_way = false;
            match request.error_detail {
                None => {
                    self.tally.acks.fetch_add(1, Relaxed);
                    asked.taken = std::mem::take(&mut asked.offered);
                }
                Some(error) => {
                    self.tally.nacks.fetch_add(1, Relaxed);
                    let reason: String = error.message.chars().take(REASON_MAX).collect();
                    let kept = &asked.taken;
                    tracing::error!(node = self.node, ?kind, reason, kept, "an Envoy rejected what it was sent: it keeps what it had");
                }
            }
        }
        asked.names = request.resource_names.into_iter().take(NAMES_MAX).collect();
        asked.sent.retain(|name, _| asked.names.contains(name));
    }

    /// The next response, if there is one to send now.
    pub(crate) fn next(&mut self, shown: &Shown) -> Option<DiscoveryResponse> {
        let shown = shown.as_ref()?;
        for kind in Kind::ALL {
            let Some(asked) = self.kinds.get(&kind) else { continue };
            let new = asked.names.iter().filter_map(|name| {
                let resource = shown.get(&(kind, name.clone()))?;
                (asked.sent.get(name) != Some(&resource.version)).then_some((name, resource))
            });
            let new: Vec<(String, Arc<Resource>)> =
                new.map(|(name, resource)| (name.clone(), Arc::clone(resource))).collect();
            if new.is_empty() {
                continue;
            }
            if asked.on_its_way {
                // No filter overtakes the shares that it needs.
                return None;
            }
            return Some(self.respond(kind, new));
        }
        None
    }

    /// Tells Envoy that what it took still holds; none: nothing of it could lapse, or a response is on its way.
    pub(crate) fn heartbeat(&mut self, shown: &Shown) -> Option<DiscoveryResponse> {
        let asked = self.kinds.get(&Kind::Shares).filter(|asked| !asked.on_its_way && !asked.taken.is_empty())?;
        let lapses = asked.sent.keys().filter_map(|name| {
            let resource = shown.as_ref()?.get(&(Kind::Shares, name.clone()))?;
            Some(resources::heartbeat(name, resource.ttl?))
        });
        let resources: Vec<_> = lapses.collect();
        if resources.is_empty() {
            return None;
        }
        let version = asked.taken.clone();
        Some(self.offer(Kind::Shares, version, resources))
    }

    /// Whether this Envoy asks for a hook's filter but not for its shares: it would refuse nothing.
    pub(crate) fn warn_once(&mut self) {
        let names = |kind| self.kinds.get(&kind).map(|asked| &asked.names);
        let Some(filters) = names(Kind::Filters).filter(|_| !self.warned) else { return };
        let shares = names(Kind::Shares);
        for name in filters.iter().filter(|name| !shares.is_some_and(|shares| shares.contains(*name))) {
            tracing::error!(node = self.node, name, "an Envoy has the filter but no runtime layer of this name: it refuses nothing");
            self.warned = true;
        }
    }

    fn respond(&mut self, kind: Kind, new: Vec<(String, Arc<Resource>)>) -> DiscoveryResponse {
        let asked = self.kinds.entry(kind).or_default();
        let resources = new.iter().map(|(_, resource)| resource.any.clone()).collect();
        asked.sent.extend(new.into_iter().map(|(name, resource)| (name, resource.version)));
        // Of all that this Envoy holds, and the same from each control plane.
        let version = format!("{:016x}", resources::version(&format!("{:?}", asked.sent)));
        self.offer(kind, version, resources)
    }

    fn offer(
        &mut self,
        kind: Kind,
        version: String,
        resources: Vec<envoy_types::pb::google::protobuf::Any>,
    ) -> DiscoveryResponse {
        self.nonces += 1;
        let asked = self.kinds.entry(kind).or_default();
        asked.nonce = self.nonces.to_string();
        asked.on_its_way = true;
        asked.offered.clone_from(&version);
        self.tally.pushes.fetch_add(1, Relaxed);
        DiscoveryResponse {
            version_info: version,
            resources,
            type_url: kind.type_url(),
            nonce: asked.nonce.clone(),
            ..DiscoveryResponse::default()
        }
    }
}

/// How often what may lapse is told again: three times within the shortest time to live.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(resources::FAULTS_TTL.as_secs() / 3);
