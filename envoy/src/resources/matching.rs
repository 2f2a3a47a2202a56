//! Matchers: from a request to the action for its key, by hash maps, so that a thousand open keys cost a request no more than one.
//!
//! Values of headers are compared as they were sent, in lower case and in upper case: Envoy's maps know no other way.

use crate::hooks::{Hook, Source};
use cutout_core::BreakerId;
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::FilterStateInput;
use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig as XdsConfig;
pub(super) use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::single_predicate;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, PredicateList, SinglePredicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_tree::{MatchMap, TreeType};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{
    MatcherList, MatcherTree, MatcherType, OnMatch, on_match,
};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::xds::r#type::matcher::v3::{RegexMatcher, StringMatcher, regex_matcher};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::collections::{BTreeMap, BTreeSet};

/// The pseudo header that holds path and query.
const PATH: &str = ":path";
/// What a path spells otherwise than it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is done for one key.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) action: XdsConfig,
    /// The classes it is for; empty: all.
    pub(super) classes: BTreeSet<String>,
    /// The header it is for, and its value; none: any.
    pub(super) only: Option<(String, Option<String>)>,
    /// Whether it is for requests that are not refused.
    pub(super) unrefused: bool,
}

/// A key's values, and what is done for it.
#[derive(Clone)]
pub(super) struct Keyed {
    values: Vec<String>,
    leaf: Leaf,
}

impl Keyed {
    /// None: the key has not as many parts as the hook.
    pub(super) fn new(hook: &Hook, id: &BreakerId, leaf: Leaf) -> Option<Keyed> {
        let decoded = |value| percent_decode_str(value).decode_utf8_lossy().into_owned();
        let values: Vec<_> = id.as_str().split('/').skip(1).map(decoded).collect();
        (values.len() == hook.key.len()).then_some(Keyed { values, leaf })
    }
}

/// The matcher of a hook; none: there is nothing to do.
pub(super) fn matcher(hook: &Hook, keyed: Vec<Keyed>, others: Option<Leaf>) -> Option<Matcher> {
    let matcher = match (hook.key.as_slice(), keyed.is_empty()) {
        ([], true) => always(leaf(hook, others?)),
        ([], false) => always(leaf(hook, keyed.into_iter().next()?.leaf)),
        (_, true) => rest(hook, others?),
        (_, false) => level(hook, 0, keyed, others.as_ref()),
    };
    let Some(prefix) = &hook.path_prefix else { return Some(matcher) };
    let under = [(prefix.clone(), nested(matcher))].into();
    Some(tree(PATH, TreeType::PrefixMatchMap(MatchMap { map: under }), None))
}

/// Looks up the part of the key that stands at `depth`.
fn level(hook: &Hook, depth: usize, keyed: Vec<Keyed>, others: Option<&Leaf>) -> Matcher {
    let mut by_value = BTreeMap::<String, Vec<Keyed>>::new();
    for keyed in keyed {
        by_value.entry(keyed.values.get(depth).cloned().unwrap_or_default()).or_default().push(keyed);
    }
    let below = by_value.into_iter().map(|(value, mut keyed)| {
        let on_match = match keyed.pop() {
            Some(last) if depth + 1 == hook.key.len() => leaf(hook, last.leaf),
            last => {
                keyed.extend(last);
                nested(level(hook, depth + 1, keyed, others))
            }
        };
        (value, on_match)
    });
    let otherwise = others.map(|others| nested(rest(hook, others.clone())));
    match &hook.key[depth] {
        Source::Header(name) => {
            let spelled = below.flat_map(|(value, on_match)| {
                spellings(value).into_iter().map(move |value| (value, on_match.clone()))
            });
            tree(name, TreeType::ExactMatchMap(MatchMap { map: spelled.collect() }), otherwise)
        }
        Source::Path(prefix) => in_path(prefix, below.collect(), otherwise),
    }
}

/// As a key's value may be sent: it is known in lower case.
fn spellings(value: String) -> BTreeSet<String> {
    [value.to_uppercase(), value].into()
}

/// A segment of the path ends with a slash, a question mark, or the path.
fn in_path(prefix: &str, below: Vec<(String, OnMatch)>, otherwise: Option<OnMatch>) -> Matcher {
    let spelled = below.into_iter().flat_map(|(value, on_match)| {
        let paths = spellings(value).into_iter();
        paths
            .map(move |value| (format!("{prefix}{}", utf8_percent_encode(&value, IN_PATH)), on_match.clone()))
    });
    let whole: BTreeMap<_, _> = spelled.collect();
    let begun = whole
        .iter()
        .flat_map(|(path, on_match)| ['/', '?'].map(|end| (format!("{path}{end}"), on_match.clone())));
    let begun = tree(PATH, TreeType::PrefixMatchMap(MatchMap { map: begun.collect() }), otherwise);
    let whole = TreeType::ExactMatchMap(MatchMap { map: whole.into_iter().collect() });
    tree(PATH, whole, Some(nested(begun)))
}

/// What is done for requests that bear a key, whichever.
fn rest(hook: &Hook, others: Leaf) -> Matcher {
    let bears = hook.key.iter().map(|source| match source {
        Source::Header(name) => present(header(name)),
        Source::Path(prefix) => single(header(PATH), MatchPattern::Prefix(prefix.clone())),
    });
    listed(all(bears.collect()), leaf(hook, others))
}

fn leaf(hook: &Hook, leaf: Leaf) -> OnMatch {
    let mut conditions = Vec::new();
    if let Some(name) = hook.class_header.as_ref().filter(|_| !leaf.classes.is_empty()) {
        // A request without a class counts as listed.
        let listed =
            leaf.classes.iter().map(|class| single(header(name), MatchPattern::Exact(class.clone())));
        conditions.push(any([not(present(header(name)))].into_iter().chain(listed).collect()));
    }
    if let Some((name, value)) = &leaf.only {
        conditions.push(match value {
            Some(value) => single(header(name), MatchPattern::Exact(value.clone())),
            None => present(header(name)),
        });
    }
    if leaf.unrefused {
        let state = FilterStateInput { key: super::REFUSED.to_owned(), ..FilterStateInput::default() };
        conditions.push(not(present(super::named("state", &state))));
    }
    let action = OnMatch { on_match: Some(on_match::OnMatch::Action(leaf.action)), keep_matching: false };
    if conditions.is_empty() { action } else { nested(listed(all(conditions), action)) }
}

fn always(on_match: OnMatch) -> Matcher {
    Matcher { on_no_match: Some(Box::new(on_match)), matcher_type: None }
}

fn nested(matcher: Matcher) -> OnMatch {
    OnMatch { on_match: Some(on_match::OnMatch::Matcher(Box::new(matcher))), keep_matching: false }
}

fn listed(predicate: Predicate, on_match: OnMatch) -> Matcher {
    let matcher = FieldMatcher { predicate: Some(predicate), on_match: Some(on_match) };
    let list = MatcherList { matchers: vec![matcher] };
    Matcher { on_no_match: None, matcher_type: Some(MatcherType::MatcherList(list)) }
}

fn tree(input: &str, tree_type: TreeType, otherwise: Option<OnMatch>) -> Matcher {
    let tree = MatcherTree { input: Some(header(input)), tree_type: Some(tree_type) };
    Matcher { on_no_match: otherwise.map(Box::new), matcher_type: Some(MatcherType::MatcherTree(tree)) }
}

fn header(name: &str) -> XdsConfig {
    super::named(name, &HttpRequestHeaderMatchInput { header_name: name.to_owned() })
}

fn present(input: XdsConfig) -> Predicate {
    let engine_type = Some(regex_matcher::EngineType::GoogleRe2(regex_matcher::GoogleRe2 {}));
    single(input, MatchPattern::SafeRegex(RegexMatcher { regex: ".+".to_owned(), engine_type }))
}

fn single(input: XdsConfig, pattern: MatchPattern) -> Predicate {
    let pattern = StringMatcher { ignore_case: false, match_pattern: Some(pattern) };
    let matcher = Some(single_predicate::Matcher::ValueMatch(pattern));
    predicate(MatchType::SinglePredicate(SinglePredicate { input: Some(input), matcher }))
}

fn not(negated: Predicate) -> Predicate {
    predicate(MatchType::NotMatcher(Box::new(negated)))
}

fn all(predicates: Vec<Predicate>) -> Predicate {
    one_or(predicates, MatchType::AndMatcher)
}

fn any(predicates: Vec<Predicate>) -> Predicate {
    one_or(predicates, MatchType::OrMatcher)
}

/// A list of one is refused by Envoy.
fn one_or(mut predicates: Vec<Predicate>, several: fn(PredicateList) -> MatchType) -> Predicate {
    match predicates.pop() {
        Some(only) if predicates.is_empty() => only,
        last => {
            predicates.extend(last);
            predicate(several(PredicateList { predicate: predicates }))
        }
    }
}

fn predicate(match_type: MatchType) -> Predicate {
    Predicate { match_type: Some(match_type) }
}
