//! A picture in Envoy's own types: the only place that spells them.
//!
//! A hook is two resources, and two more for faults. The *filter* (extension discovery) is a composite filter whose matcher looks a
//! request's key up in a hash map; what it finds notes the refusal in the request's filter state, upon which the user's first
//! route answers 503. The *shares* (runtime discovery) say how often that is done, by one runtime key a breaker.
//!
//! Left out: when a resource is sent (`ads`).

mod matching;

use crate::hooks::{Hook, Stale};
use crate::picture::{Injected, Picture, Refusal};
use crate::tally::Tally;
use cutout_core::BreakerId;
use cutout_core::flag::ALL_PPM;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, RuntimeFractionalPercent, SubstitutionFormatString, TypedExtensionConfig, data_source,
};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::{FaultDelay, fault_delay};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::{
    FilterStateValue, filter_state_value,
};
use envoy_types::pb::envoy::extensions::filters::http::composite::v3::{Composite, ExecuteFilterAction};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault, fault_abort};
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config as SetFilterState;
use envoy_types::pb::envoy::service::discovery::v3::Resource as Wrapped;
use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::value::Kind as JsonKind;
use envoy_types::pb::google::protobuf::{Any, Duration as WireDuration, Struct, Value};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig as XdsConfig;
use matching::{Keyed, Leaf};
use prost::{Message, Name};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long injected faults outlive the last word from here.
pub(crate) const FAULTS_TTL: Duration = Duration::from_secs(15);
/// Where the refusal of a request is noted, for routes and access logs.
pub(crate) const REFUSED: &str = "cutout.refused";
/// Where it is noted that a request would have been refused.
pub(crate) const WOULD: &str = "cutout.would";
/// What an aborted request is answered.
const ABORT_STATUS: u32 = 503;

/// One kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Shares: sent first, so that no filter is without them.
    Shares,
    /// Filters.
    Filters,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Shares, Kind::Filters];

    pub(crate) fn type_url(self) -> String {
        match self {
            Kind::Shares => Runtime::type_url(),
            Kind::Filters => TypedExtensionConfig::type_url(),
        }
    }
}

/// One resource, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub(crate) version: u64,
    pub(crate) any: Any,
    /// After how long Envoy is to forget it, unless told again.
    pub(crate) ttl: Option<Duration>,
}

/// All resources by kind and name.
pub(crate) type Resources = BTreeMap<(Kind, String), Arc<Resource>>;

/// The four resources of one hook; what `before` holds in the same version is taken from there.
pub(crate) fn of(hook: &Hook, picture: &Picture, before: &Resources, tally: &Tally) -> Resources {
    let (own, faults) = (format!("cutout/{}", hook.breaker), format!("cutout-faults/{}", hook.breaker));
    let others = picture.others_ppm.is_some();
    let shares = (&picture.refused_ppm, picture.others_ppm);
    let fault_keys: Vec<_> = picture.faults.keys().collect();
    // By what is said and not by its bytes: these are maps in no order.
    let wanted = [
        ((Kind::Filters, own.clone()), version(&format!("{hook:?} {others} {:?}", picture.refusals))),
        ((Kind::Filters, faults.clone()), version(&format!("{hook:?} {:?}", picture.faults))),
        ((Kind::Shares, own), version(&format!("{:?} {shares:?}", hook.stale))),
        ((Kind::Shares, faults.clone()), version(&format!("{fault_keys:?}"))),
    ];
    let made = wanted.into_iter().map(|(key, version)| {
        let known = before.get(&key).filter(|resource| resource.version == version).cloned();
        let resource = known.unwrap_or_else(|| {
            Arc::new(match (key.0, key.1 == faults) {
                (Kind::Filters, false) => refusals(hook, picture, &key.1, version, tally),
                (Kind::Filters, true) => injections(hook, picture, &key.1, version),
                (Kind::Shares, is_faults) => shares_of(hook, picture, &key.1, version, is_faults),
            })
        });
        (key, resource)
    });
    made.collect()
}

fn refusals(hook: &Hook, picture: &Picture, name: &str, version: u64, tally: &Tally) -> Resource {
    let keyed: Vec<_> = picture
        .refusals
        .iter()
        .filter_map(|(id, refusal)| Keyed::new(hook, id, refusing(hook, id, refusal)))
        .collect();
    let unusable = u64::try_from(picture.refusals.len() - keyed.len()).unwrap_or(u64::MAX);
    tally.unusable.fetch_add(unusable, Relaxed);
    let others = picture.others_ppm.map(|_| others(hook));
    filter(name, version, matching::matcher(hook, keyed, others))
}

fn injections(hook: &Hook, picture: &Picture, name: &str, version: u64) -> Resource {
    let keyed =
        picture.faults.iter().filter_map(|(id, injected)| Keyed::new(hook, id, injecting(id, injected)));
    filter(name, version, matching::matcher(hook, keyed.collect(), None))
}

fn filter(name: &str, version: u64, matcher: Option<matching::Matcher>) -> Resource {
    let composite = Composite { matcher, named_filter_chains: HashMap::new() };
    let config = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(pack(&composite)) };
    Resource { version, any: pack(&config), ttl: None }
}

fn shares_of(hook: &Hook, picture: &Picture, name: &str, version: u64, is_faults: bool) -> Resource {
    if is_faults {
        let shares = picture.faults.keys().map(|id| (fault_key(id), ALL_PPM)).collect();
        return Resource { version, any: pack(&runtime(name, shares)), ttl: Some(FAULTS_TTL) };
    }
    let mut shares: Vec<_> =
        picture.refused_ppm.iter().map(|(id, ppm)| (runtime_key(id.as_str()), *ppm)).collect();
    shares.extend(picture.others_ppm.map(|ppm| (others_key(hook), ppm)));
    Resource { version, any: pack(&runtime(name, shares)), ttl: hook.stale.after() }
}

impl Resource {
    /// The resource with its time to live, where it has one.
    pub(crate) fn lapsing(&self, name: &str) -> Any {
        let Some(ttl) = self.ttl else { return self.any.clone() };
        pack(&Wrapped {
            name: name.to_owned(),
            version: format!("{:016x}", self.version),
            resource: Some(self.any.clone()),
            ttl: wire(ttl),
            ..Wrapped::default()
        })
    }
}

/// The hash by which what is served is told apart, by each control plane in the same way.
pub(crate) fn version(said: &str) -> u64 {
    let mut hash = Sha256::new();
    // Another release may spell the same otherwise.
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(said);
    hash.finalize().iter().take(8).fold(0, |version, byte| version << 8 | u64::from(*byte))
}

/// The filter that notes a refusal, or what would be one.
fn refusing(hook: &Hook, id: &BreakerId, refusal: &Refusal) -> Leaf {
    let object = if refusal.enforced { REFUSED } else { WOULD };
    // Nobody is refused before the share has arrived, nor after it has fallen away; but where a hook says open, it is open.
    let default_ppm = if refusal.enforced { default_ppm(hook) } else { 0 };
    let noting = pack(&noting(object, id.as_str(), refusal.enforced));
    let action = action("refuse", noting, default_ppm, runtime_key(id.as_str()));
    Leaf { action, classes: refusal.classes.clone(), only: None, unrefused: false }
}

/// The same for all keys of a hook that have no entry of their own.
fn others(hook: &Hook) -> Leaf {
    let noting = pack(&noting(REFUSED, &hook.breaker, true));
    let action = action("refuse", noting, ALL_PPM, others_key(hook));
    Leaf { action, classes: BTreeSet::new(), only: None, unrefused: false }
}

fn injecting(id: &BreakerId, injected: &Injected) -> Leaf {
    let abort = (injected.abort_ppm > 0).then(|| FaultAbort {
        percentage: Some(percent(injected.abort_ppm)),
        error_type: Some(fault_abort::ErrorType::HttpStatus(ABORT_STATUS)),
        ..FaultAbort::default()
    });
    let delay = (injected.delay_ppm > 0).then(|| FaultDelay {
        percentage: Some(percent(injected.delay_ppm)),
        fault_delay_secifier: wire(Duration::from_millis(injected.delay_ms))
            .map(fault_delay::FaultDelaySecifier::FixedDelay),
    });
    let fault = HttpFault { abort, delay, disable_downstream_cluster_stats: true, ..HttpFault::default() };
    let action = action("fault", pack(&fault), 0, fault_key(id));
    Leaf { action, classes: injected.classes.clone(), only: injected.only.clone(), unrefused: true }
}

fn default_ppm(hook: &Hook) -> u32 {
    if matches!(hook.stale, Stale::OpenAfter(_)) { ALL_PPM } else { 0 }
}

fn noting(object: &str, text: &str, reroutes: bool) -> SetFilterState {
    // A percent sign would begin a command of the format.
    let text = text.replace('%', "%%");
    let source =
        DataSource { specifier: Some(data_source::Specifier::InlineString(text)), ..DataSource::default() };
    let format = SubstitutionFormatString {
        format: Some(Format::TextFormatSource(source)),
        ..SubstitutionFormatString::default()
    };
    let value = FilterStateValue {
        key: Some(filter_state_value::Key::ObjectKey(object.to_owned())),
        factory_key: "envoy.string".to_owned(),
        value: Some(filter_state_value::Value::FormatString(format)),
        ..FilterStateValue::default()
    };
    SetFilterState { on_request_headers: vec![value], clear_route_cache: reroutes }
}

fn action(name: &str, config: Any, default_ppm: u32, runtime_key: String) -> XdsConfig {
    let filter = TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) };
    let share = RuntimeFractionalPercent { default_value: Some(percent(default_ppm)), runtime_key };
    let execute = ExecuteFilterAction {
        typed_config: Some(filter),
        sample_percent: Some(share),
        ..ExecuteFilterAction::default()
    };
    named(name, &execute)
}

fn runtime(name: &str, shares: Vec<(String, u32)>) -> Runtime {
    let number = |value: u32| Value { kind: Some(JsonKind::NumberValue(f64::from(value))) };
    let fraction = |ppm: u32| {
        let million = Value { kind: Some(JsonKind::StringValue("MILLION".to_owned())) };
        let fields = [("numerator".to_owned(), number(ppm)), ("denominator".to_owned(), million)];
        Value { kind: Some(JsonKind::StructValue(Struct { fields: fields.into() })) }
    };
    let fields = shares.into_iter().map(|(key, ppm)| (key, fraction(ppm))).collect();
    Runtime { name: name.to_owned(), layer: Some(Struct { fields }) }
}

fn runtime_key(id: &str) -> String {
    format!("cutout.refuse.{id}")
}

fn others_key(hook: &Hook) -> String {
    format!("cutout.others.{}", hook.breaker)
}

fn fault_key(id: &BreakerId) -> String {
    format!("cutout.fault.{}", id.as_str())
}

fn percent(ppm: u32) -> FractionalPercent {
    FractionalPercent { numerator: ppm, denominator: DenominatorType::Million.into() }
}

fn wire(duration: Duration) -> Option<WireDuration> {
    let nanos = i32::try_from(duration.subsec_nanos()).unwrap_or(0);
    Some(WireDuration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos })
}

fn named<M: Message + Name>(name: &str, message: &M) -> XdsConfig {
    XdsConfig { name: name.to_owned(), typed_config: Some(pack(message)) }
}

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Source;

    fn hook() -> Hook {
        let header = |name: &str| Source::Header(name.to_owned());
        let key = vec![header("x-bank"), Source::Path("/networks/".to_owned())];
        Hook { breaker: "bank".into(), key, class_header: None, path_prefix: None, stale: Stale::LastKnown }
    }

    fn picture(ids: &[BreakerId], ppm: u32) -> Picture {
        let refusal = Refusal { enforced: true, classes: BTreeSet::new() };
        Picture {
            refusals: ids.iter().map(|id| (id.clone(), refusal.clone())).collect(),
            refused_ppm: ids.iter().map(|id| (id.clone(), ppm)).collect(),
            ..Picture::default()
        }
    }

    fn text(resource: &Resource) -> String {
        String::from_utf8_lossy(&resource.any.value).into_owned()
    }

    #[test]
    fn a_share_that_moves_makes_new_shares_and_no_new_filter() {
        let ids = [BreakerId::new("bank", &["0001", "visa"])];
        let tally = Tally::default();
        let before = of(&hook(), &picture(&ids, 900_000), &Resources::new(), &tally);
        let after = of(&hook(), &picture(&ids, 500_000), &before, &tally);
        let changed: Vec<_> =
            before.keys().filter(|key| before[*key].version != after[*key].version).collect();
        assert_eq!(changed, [&(Kind::Shares, "cutout/bank".to_owned())]);
        let again = of(&hook(), &picture(&ids, 900_000), &Resources::new(), &tally);
        let versions = |resources: &Resources| resources.values().map(|one| one.version).collect::<Vec<_>>();
        assert_eq!(versions(&again), versions(&before), "each control plane gives the same version");
    }

    #[test]
    fn keys_are_looked_up_as_they_are_sent_and_one_that_does_not_fit_is_counted() {
        let ids = [BreakerId::new("bank", &["Ab%/", "vi sa"]), BreakerId::new("bank", &["alone"])];
        let tally = Tally::default();
        let made = of(&hook(), &picture(&ids, ALL_PPM), &Resources::new(), &tally);
        let filter = text(&made[&(Kind::Filters, "cutout/bank".to_owned())]);
        for expected in ["ab%/", "AB%/", "/networks/vi%20sa/", "/networks/vi%20sa?", "bank/ab%%25%%2f/vi sa"]
        {
            assert!(filter.to_lowercase().contains(&expected.to_lowercase()), "{expected}: {filter}");
        }
        assert!(!filter.contains("alone") && tally.unusable.load(Relaxed) == 1, "{filter}");
    }
}
