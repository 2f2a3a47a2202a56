//! One stream of an Envoy: what it asked for, what it has, and what it is sent next. State of the world.
//!
//! What may lapse has its time to live on a stream of its own only: an Envoy that has several runtime layers on one aggregated
//! stream *ends* when one of them lapses (1.40: "Unexpected removal of unknown RTDS runtime layer"), and we cannot know its others.
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

/// How an Envoy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// For everything on one stream.
    Aggregated,
    /// For one runtime layer.
    OneLayer,
}

/// What is known of one Envoy.
#[derive(Debug)]
pub(crate) struct Stream {
    way: Way,
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
    /// The version that it took last.
    taken: String,
    /// The version on its way.
    offered: String,
}

impl Stream {
    pub(crate) fn new(way: Way, tally: Arc<Tally>) -> Stream {
        Stream { way, tally, node: String::new(), kinds: BTreeMap::new(), nonces: 0, warned: false }
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
            tracing::warn!(
                node = self.node,
                kind = request.type_url,
                "an Envoy asks for what is not served here"
            );
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
                    tracing::error!(
                        node = self.node,
                        ?kind,
                        reason,
                        kept,
                        "an Envoy rejected what it was sent: it keeps what it had"
                    );
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
            // One at a time: what Envoy rejects takes nothing else along.
            let new = asked.names.iter().find_map(|name| {
                let resource = shown.get(&(kind, name.clone()))?;
                let is_new = asked.sent.get(name) != Some(&resource.version);
                is_new.then(|| (name.clone(), Arc::clone(resource)))
            });
            let Some(new) = new else { continue };
            if asked.on_its_way {
                // No filter overtakes the shares that it needs.
                return None;
            }
            return Some(self.respond(kind, vec![new]));
        }
        None
    }

    /// Tells Envoy again what would lapse; none: there is no such thing, or a response is on its way.
    pub(crate) fn refresh(&mut self, shown: &Shown) -> Option<DiscoveryResponse> {
        let asked = self.kinds.get(&Kind::Shares).filter(|_| self.way == Way::OneLayer)?;
        let lapses = asked.sent.keys().filter_map(|name| {
            let resource = shown.as_ref()?.get(&(Kind::Shares, name.clone()))?;
            resource.ttl.map(|_| (name.clone(), Arc::clone(resource)))
        });
        let again: Vec<_> = lapses.collect();
        (!asked.on_its_way && !again.is_empty()).then(|| self.respond(Kind::Shares, again))
    }

    /// Tells, once, what an Envoy's configuration lacks.
    pub(crate) fn warn_once(&mut self, shown: &Shown) {
        let Some(shown) = shown.as_ref().filter(|_| self.way == Way::Aggregated && !self.warned) else {
            return;
        };
        let names = |kind| self.kinds.get(&kind).map(|asked| asked.names.clone()).unwrap_or_default();
        let (filters, shares) = (names(Kind::Filters), names(Kind::Shares));
        let lapses = |name: &String| {
            shown.get(&(Kind::Shares, name.clone())).is_some_and(|resource| resource.ttl.is_some())
        };
        for name in filters.iter().filter(|name| !shares.contains(*name) && !lapses(name)) {
            tracing::error!(
                node = self.node,
                name,
                "an Envoy has the filter but not the runtime layer of this name: it refuses nothing"
            );
            self.warned = true;
        }
        for name in shares.iter().filter(|name| lapses(name)) {
            tracing::error!(
                node = self.node,
                name,
                "this runtime layer has to lapse without us, but does not on the aggregated stream: give it a stream of its own"
            );
            self.warned = true;
        }
    }

    fn respond(&mut self, kind: Kind, new: Vec<(String, Arc<Resource>)>) -> DiscoveryResponse {
        let asked = self.kinds.entry(kind).or_default();
        let resources = new.iter().map(|(name, resource)| match self.way {
            Way::Aggregated => resource.any.clone(),
            Way::OneLayer => resource.lapsing(name),
        });
        let resources = resources.collect();
        asked.sent.extend(new.into_iter().map(|(name, resource)| (name, resource.version)));
        // Of all that this Envoy holds, and the same from each control plane.
        let version = format!("{:016x}", resources::version(&format!("{:?}", asked.sent)));
        self.nonces += 1;
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
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(resources::FAULTS_TTL.as_secs() / 3);

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::core::v3::Node;
    use envoy_types::pb::google::protobuf::Any;
    use envoy_types::pb::google::rpc::Status;

    const NAME: &str = "cutout/bank";

    fn shown(shares: u64, filters: u64, ttl: Option<Duration>) -> Shown {
        let resource = |version, ttl| Arc::new(Resource { version, any: Any::default(), ttl });
        let shares = ((Kind::Shares, NAME.to_owned()), resource(shares, ttl));
        Some(Arc::new([shares, ((Kind::Filters, NAME.to_owned()), resource(filters, None))].into()))
    }

    fn asks(kind: Kind, nonce: &str) -> DiscoveryRequest {
        DiscoveryRequest {
            node: Some(Node { id: "envoy-1".into(), ..Node::default() }),
            type_url: kind.type_url(),
            resource_names: vec![NAME.into(), "another's".into()],
            response_nonce: nonce.into(),
            ..DiscoveryRequest::default()
        }
    }

    fn asked(way: Way) -> (Stream, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        let mut stream = Stream::new(way, Arc::clone(&tally));
        stream.hear(asks(Kind::Filters, ""));
        stream.hear(asks(Kind::Shares, ""));
        (stream, tally)
    }

    #[test]
    fn shares_come_before_filters_and_nothing_comes_twice() {
        let (mut stream, tally) = asked(Way::Aggregated);
        assert_eq!(stream.next(&None), None, "the store has not answered yet: Envoy keeps what it has");
        let sent = [stream.next(&shown(1, 1, None)), stream.next(&shown(1, 1, None))].map(Option::unwrap);
        assert_eq!(
            sent.each_ref().map(|sent| &sent.type_url),
            [&Kind::Shares.type_url(), &Kind::Filters.type_url()]
        );
        assert_eq!(stream.next(&shown(1, 1, None)), None);
        for (kind, sent) in Kind::ALL.into_iter().zip(&sent) {
            stream.hear(asks(kind, &sent.nonce));
        }
        assert_eq!((stream.next(&shown(1, 1, None)), tally.acks.load(Relaxed)), (None, 2));
        assert_eq!((stream.node(), tally.pushes.load(Relaxed)), ("envoy-1", 2));
    }

    #[test]
    fn one_response_of_a_kind_is_on_its_way_and_the_newest_follows() {
        let (mut stream, _) = asked(Way::Aggregated);
        let first = stream.next(&shown(1, 1, None)).unwrap();
        stream.next(&shown(1, 1, None)).unwrap();
        // Filters are not sent before the shares that belong to them.
        assert_eq!(stream.next(&shown(2, 2, None)), None);
        stream.hear(asks(Kind::Shares, "an old nonce"));
        assert_eq!(stream.next(&shown(9, 2, None)), None);
        stream.hear(asks(Kind::Shares, &first.nonce));
        let next = stream.next(&shown(9, 2, None)).unwrap();
        assert_eq!(next.type_url, Kind::Shares.type_url());
        assert_ne!(next.version_info, first.version_info);
    }

    #[test]
    fn what_was_rejected_is_counted_and_not_sent_again() {
        let (mut stream, tally) = asked(Way::Aggregated);
        let sent = stream.next(&shown(1, 1, None)).unwrap();
        let error_detail = Some(Status { message: "no".repeat(REASON_MAX), ..Status::default() });
        stream.hear(DiscoveryRequest { error_detail, ..asks(Kind::Shares, &sent.nonce) });
        assert_eq!((tally.nacks.load(Relaxed), tally.acks.load(Relaxed)), (1, 0));
        assert_eq!(
            stream.next(&shown(1, 1, None)).unwrap().type_url,
            Kind::Filters.type_url(),
            "the rest goes on"
        );
        assert!(stream.next(&shown(2, 1, None)).is_some(), "and what is new is tried");
        // A new stream, or one that asks anew, gets everything.
        stream.hear(asks(Kind::Shares, ""));
        assert!(stream.next(&shown(2, 1, None)).is_some());
    }

    #[test]
    fn what_may_lapse_does_so_on_a_stream_of_its_own_only() {
        let lapsing = shown(1, 1, Some(Duration::from_secs(15)));
        let sent = |way| {
            let (mut stream, _) = asked(way);
            let response = stream.next(&lapsing).unwrap();
            assert_eq!(stream.refresh(&lapsing), None, "it is on its way");
            stream.hear(asks(Kind::Shares, &response.nonce));
            (response.resources[0].type_url.clone(), stream.refresh(&lapsing).is_some())
        };
        assert_eq!(sent(Way::Aggregated), (String::new(), false));
        let wrapper = "type.googleapis.com/envoy.service.discovery.v3.Resource".to_owned();
        assert_eq!(sent(Way::OneLayer), (wrapper, true));
        let (mut stream, _) = asked(Way::OneLayer);
        let response = stream.next(&shown(1, 1, None)).unwrap();
        stream.hear(asks(Kind::Shares, &response.nonce));
        assert_eq!(stream.refresh(&shown(1, 1, None)), None, "this one never lapses");
    }
}
