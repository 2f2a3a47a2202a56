//! By which tags a monitor alerts, as its query says.
//!
//! Only the grouping is looked for: `by {bank_code,env}` of metric queries, `.by("bank_code","env")` of all others. Datadog
//! evaluates the rest. Composites, synthetics and SLOs take their groups from elsewhere: nothing is known of those.

use super::monitor::Monitor;
use cutout_core::{Declaration, Tags};

/// Types whose query does not tell their groups.
const GROUPED_ELSEWHERE: [&str; 3] = ["composite", "slo alert", "synthetics alert"];
/// What stands for a value of a tag.
const ANY_VALUE: &str = "any";

/// The tags by which a monitor alerts; empty: by none. None: its query does not tell.
pub(super) fn tags(monitor: &Monitor) -> Option<Vec<String>> {
    if GROUPED_ELSEWHERE.contains(&monitor.kind.as_str()) {
        return None;
    }
    if monitor.multi == Some(false) {
        return Some(Vec::new());
    }
    let mut tags: Vec<String> = Vec::new();
    let query = &monitor.query;
    for list in lists(query, "by", '{', '}').chain(lists(query, ".by", '(', ')')) {
        for tag in list.split(',').map(|tag| tag.trim().trim_matches(['"', '\'']).trim().to_lowercase()) {
            if !tag.is_empty() && tag != "*" && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    Some(tags)
}

/// What stands in brackets behind each `word`.
fn lists<'a>(query: &'a str, word: &'a str, open: char, close: char) -> impl Iterator<Item = &'a str> {
    query.match_indices(word).filter_map(move |(at, _)| {
        let within_word = query.get(..at)?.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = query.get(at + word.len()..)?.trim_start().strip_prefix(open)?;
        // `.by(…)` follows a call's bracket, `by {…}` a blank or a bracket.
        (!within_word || word.starts_with('.')).then(|| rest.split(close).next()).flatten()
    })
}

/// A group that such a monitor may have, and that the breaker's `where` would let in if only it bore the tags.
pub(super) fn example(tags: &[String], declaration: &Declaration) -> Tags {
    let value = |tag: &String| {
        let allowed = declaration.only.get(tag).and_then(|values| values.iter().next());
        allowed.map_or(ANY_VALUE, String::as_str)
    };
    tags.iter().map(|tag| (tag.as_str(), value(tag))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::source;

    fn of(kind: &str, query: &str) -> Option<Vec<String>> {
        let json = serde_json::json!({"type": kind, "query": query, "message": ""}).to_string();
        tags(&source::read("x", &json, true).unwrap()[0])
    }

    #[test]
    fn the_grouping_is_found_in_each_language_of_queries() {
        for (query, tags) in [
            (
                "avg(last_5m):sum:a.b{env:prod} by {Bank_Code, env}.as_rate() / sum:a.c{*} by {bank_code,env}.as_rate() > 1",
                vec!["bank_code", "env"],
            ),
            ("avg(last_5m):avg:standby{by:x} by{host} > 1", vec!["host"]),
            ("avg(last_5m):avg:a{*} > 1", vec![]),
            (
                "\"http.can_connect\".over(\"env:prod\").by(\"bank_code\", \"env\").last(4).count_by_status()",
                vec!["bank_code", "env"],
            ),
            ("\"http.can_connect\".over(\"*\").by(\"*\").last(4).count_by_status()", vec![]),
            (
                "logs(\"a\").index(\"main\").rollup(\"count\").by(\"@bank,env\").last(\"5m\") > 2",
                vec!["@bank", "env"],
            ),
            ("processes('a').over('b').rollup('count').by('host').last('5m') < 1", vec!["host"]),
        ] {
            assert_eq!(of("query alert", query).unwrap(), tags, "{query}");
        }
        assert_eq!(of("composite", "1 && 2"), None);
    }
}
