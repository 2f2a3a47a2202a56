//! What the time lines must show between them: each setting of the breakers' file, each word that it may say, and
//! each order of a person. The parser itself tells which there are, in what it says of a wrong file.

use crate::document::{Block, at};
use crate::events::{self, ACTS};
use crate::timeline;
use cutout_service::breakers;
use std::collections::BTreeSet;

/// No setting and no word.
const NOTHING: &str = "qqqqqqqqqqqq";

/// Settings, words and orders that no time line has.
pub(crate) fn missing(blocks: &[Block]) -> Vec<String> {
    let mut missing = Vec::new();
    for setting in known(&format!("{NOTHING} = 1"), "known are ").into_iter().chain(["revision".to_owned()]) {
        let values: Vec<String> = blocks.iter().flat_map(|block| values(block, &setting)).collect();
        if values.is_empty() {
            missing.push(at(1, format!("no time line sets {setting}")));
        }
        let words = known(&format!("{setting} = [\"{NOTHING}\"]"), " is one of ");
        let words: BTreeSet<String> =
            words.into_iter().chain(known(&format!("{setting} = \"{NOTHING}\""), " is one of ")).collect();
        for word in
            words.iter().filter(|word| !values.iter().any(|value| value.contains(&format!("\"{word}\""))))
        {
            missing.push(at(1, format!("no time line sets {setting} to {word}")));
        }
    }
    let cells: Vec<&str> =
        blocks.iter().flat_map(|block| &block.rows).map(|row| row.arrives.as_str()).collect();
    let items: Vec<String> = cells.iter().flat_map(|cell| events::items(cell)).collect();
    for act in ACTS.iter().filter(|act| !items.iter().any(|item| item.contains(&format!(": {act}")))) {
        missing.push(at(1, format!("no time line shows the order `{act}`")));
    }
    missing
}

/// What `setting` is set to in a block: in its settings, or by a deploy.
fn values(block: &Block, setting: &str) -> Vec<String> {
    let deployed = block.rows.iter().flat_map(|row| events::items(&row.arrives));
    let deployed =
        deployed.filter_map(|item| item.strip_prefix("deploy: ").map(|list| list.replace(", ", "\n")));
    let settings: Vec<String> = deployed.chain([block.settings.clone()]).collect();
    let assigned = settings.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('='));
    assigned.filter(|(name, _)| name.trim() == setting).map(|(_, value)| value.to_owned()).collect()
}

/// The words that the parser lists after `introduction`, when a breaker has this wrong setting.
fn known(setting: &str, introduction: &str) -> Vec<String> {
    let Err(problems) = breakers::parse("x", &timeline::file(setting)) else { return Vec::new() };
    let problems = problems.to_string();
    let Some((_, list)) = problems.split_once(introduction) else { return Vec::new() };
    let list = list.lines().next().unwrap_or_default();
    list.split_once(", not ").map_or(list, |(list, _)| list).split(", ").map(str::to_owned).collect()
}

#[test]
fn the_parser_tells_all_settings_and_words() {
    assert_eq!(known(&format!("{NOTHING} = 1"), "known are ").len(), 18);
    assert_eq!(known(&format!("no_data = \"{NOTHING}\""), " is one of "), ["hold", "open", "close"]);
    assert_eq!(known(&format!("open_on = [\"{NOTHING}\"]"), " is one of "), ["alert", "warn"]);
}
