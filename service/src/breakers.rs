//! The breakers' file: TOML in, declarations out.
//!
//! Somebody edits this file under stress, so all mistakes are told at once, each with its line and remedy. Nothing
//! is accepted and ignored: a setting that this version does not know yet is refused by its name, since a breaker
//! that quietly lacks its `max_age` or its watch mode would be worse than one that does not start.
//!
//! Left out: reading the file, and whether the monitors exist (the service never asks Datadog).

mod values;

use crate::duration;
use cutout_core::breaker::{MIN_OPEN_MAX_MS, Muted, NoData, OnVanished, OpenOn};
use cutout_core::declaration::{NAME_LEN_MAX, is_breaker_name};
use cutout_core::{BreakerId, Declaration, Declared, Mode, OnStale, Policy, Problems};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeTable;
use values::{Mistakes, Value};

/// The shortest ramp.
pub const RAMP_MIN_MS: i64 = 1000;
/// The longest ramp: a day.
pub const RAMP_MAX_MS: i64 = 86_400_000;

/// The shortest age at which a signal may go stale: several scheduled runs must have failed by then.
pub const MAX_AGE_MIN_MS: i64 = 300_000;
/// The longest one: a week.
pub const MAX_AGE_MAX_MS: i64 = 7 * 86_400_000;
/// The most keys that `max_keys` may allow.
pub const MAX_KEYS_LIMIT: u64 = 1_000_000;

const OPEN_ON: [(&str, OpenOn); 2] = [("alert", OpenOn::Alert), ("warn", OpenOn::Warn)];
const NO_DATA: [(&str, NoData); 3] =
    [("hold", NoData::Hold), ("open", NoData::Open), ("close", NoData::Close)];
const ON_VANISHED: [(&str, OnVanished); 3] =
    [("half-open", OnVanished::HalfOpen), ("hold", OnVanished::Hold), ("close", OnVanished::Close)];

const MUTED: [(&str, Muted); 2] = [("follow", Muted::Follow), ("hold", Muted::Hold)];

const ON_STALE: [(&str, OnStale); 3] =
    [("half-open", OnStale::HalfOpen), ("hold", OnStale::Hold), ("close", OnStale::Close)];
const MODE: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("watch", Mode::Watch)];

/// The settings of a breaker.
const SETTINGS: [&str; 18] = [
    "drill",
    "key",
    "max_age",
    "max_keys",
    "max_open",
    "min_open",
    "mode",
    "monitors",
    "muted",
    "name",
    "no_data",
    "on_stale",
    "on_vanished",
    "open_on",
    "probe",
    "ramp",
    "refuse",
    "where",
];

/// What a breakers' file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakers {
    /// Of several files at work the one with the highest revision rules; 0: the file has none.
    pub revision: u64,
    /// The breakers.
    pub declarations: Vec<Declaration>,
}

impl Breakers {
    /// The declaration of a breaker; none: it is not declared.
    #[must_use]
    pub fn declaration(&self, id: &BreakerId) -> Option<&Declaration> {
        self.declarations.iter().find(|declaration| declaration.name == id.name())
    }

    /// What is published of it.
    #[must_use]
    pub fn declared(&self) -> Declared {
        Declared::new(self.revision, &self.declarations)
    }
}

/// Reads the text of a breakers' file. `file` is its name, for the mistakes.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cutout_core::BreakerId;
/// use cutout_service::breakers::parse;
///
/// let bank = "[[breaker]]\nname = 'bank-charge'\nkey = ['bank_code']\nmonitors = { ids = [5200001] }\nmin_open = '1m'\n";
/// let breakers = parse("breakers.toml", bank)?;
/// let declared = breakers.declaration(&BreakerId::new("bank-charge", &["0001"]));
/// assert_eq!(declared.map(|declaration| declaration.policy.min_open_ms), Some(60_000));
/// let wrong = parse("breakers.toml", &bank.replace("1m", "a while")).unwrap_err();
/// assert!(wrong.to_string().contains("breakers.toml, line 5"), "{wrong}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// All mistakes, each with its line.
pub fn parse(file: &str, text: &str) -> Result<Breakers, Problems> {
    let mut mistakes = Mistakes::new(file, text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        mistakes.note(error.span().map_or(0, |span| span.start), error.message());
    }
    if !syntax.is_empty() {
        // What the parser made of a broken file would only bring mistakes that nobody made.
        return mistakes.or(Breakers::default());
    }
    let document = document.get_ref();
    mistakes.refuse_others(document, "the file", &["breaker", "revision"]);
    let revision =
        document.get("revision").and_then(|value| mistakes.number(value, "revision", 1, u64::MAX >> 12));
    let breakers = match document.get("breaker") {
        Some(value) => mistakes.list(value, "breaker").unwrap_or_default(),
        None => &[],
    };
    if breakers.is_empty() {
        mistakes.note(0, "no breaker is declared: add a [[breaker]]");
    }
    let mut declarations = Vec::new();
    let mut lines = BTreeMap::new();
    for breaker in breakers {
        let Some(table) = mistakes.table(breaker, "breaker") else { continue };
        let declaration = declaration(&mut mistakes, breaker, table, &mut lines);
        declarations.push(declaration);
    }
    mistakes.or(Breakers { revision: revision.unwrap_or_default(), declarations })
}

/// The line of each breaker's name in the text of a breakers' file, counted from 1, for programs that speak about the file.
#[must_use]
pub fn lines(text: &str) -> BTreeMap<String, usize> {
    let (document, _) = DeTable::parse_recoverable(text);
    let places = Mistakes::new("", text);
    let breakers = document.get_ref().get("breaker").and_then(|value| value.get_ref().as_array());
    let names = breakers.into_iter().flat_map(|list| list.iter()).filter_map(|breaker| {
        let name = breaker.get_ref().as_table()?.get("name")?;
        Some((name.get_ref().as_str()?.to_owned(), places.line_of(name.span().start)))
    });
    names.collect()
}

/// One `[[breaker]]`. `lines` holds the line of each name so far.
fn declaration(
    mistakes: &mut Mistakes<'_>,
    place: &Value<'_>,
    table: &DeTable<'_>,
    lines: &mut BTreeMap<String, usize>,
) -> Declaration {
    let name = name(mistakes, place, table, lines);
    let of = if name.is_empty() { "a breaker".to_owned() } else { format!("breaker {name}") };
    mistakes.refuse_others(table, &of, &SETTINGS);
    let (monitor_ids, monitor_tags) = match table.get("monitors") {
        Some(monitors) => monitors_of(mistakes, monitors, &of),
        None => {
            let what = format!("monitors of {of} is missing: which monitors does it listen to?");
            mistakes.note(place.span().start, what);
            Default::default()
        }
    };
    Declaration {
        key: table.get("key").map(|value| key(mistakes, value)).unwrap_or_default(),
        only: table.get("where").map(|value| only(mistakes, value)).unwrap_or_default(),
        policy: policy(mistakes, table),
        name,
        monitor_ids,
        monitor_tags,
    }
}

/// The name; empty if it cannot be read.
fn name(
    mistakes: &mut Mistakes<'_>,
    place: &Value<'_>,
    table: &DeTable<'_>,
    lines: &mut BTreeMap<String, usize>,
) -> String {
    let Some(value) = table.get("name") else {
        mistakes.note(place.span().start, "name of a breaker is missing");
        return String::new();
    };
    let Some(name) = mistakes.text(value, "name") else { return String::new() };
    let offset = value.span().start;
    if !is_breaker_name(name) {
        let form =
            format!("1 to {NAME_LEN_MAX} of a-z, 0-9, dot, underscore and hyphen, a letter or digit first");
        mistakes.note(offset, format!("name is {form}, not {name:?}"));
    } else if let Some(line) = lines.get(name) {
        mistakes.note(offset, format!("the name {name} is already taken in line {line}"));
    } else {
        lines.insert(name.to_owned(), mistakes.line_of(offset));
    }
    name.to_owned()
}

/// The numbers and the tags of `monitors`.
fn monitors_of(
    mistakes: &mut Mistakes<'_>,
    value: &Value<'_>,
    of: &str,
) -> (BTreeSet<u64>, BTreeSet<String>) {
    let Some(table) = mistakes.table(value, "monitors") else { return Default::default() };
    mistakes.refuse_others(table, "monitors", &["ids", "tags"]);
    let (ids, tags) = (table.get("ids"), table.get("tags"));
    let named = |value: Option<&Value<'_>>| {
        value.and_then(|value| value.get_ref().as_array()).is_some_and(|list| !list.is_empty())
    };
    if !named(ids) && !named(tags) {
        let what = format!("monitors of {of} names no monitor: list ids, or tags that the monitors bear");
        mistakes.note(value.span().start, what);
    }
    let ids = ids.map(|ids| mistakes.ids(ids, "monitors.ids")).unwrap_or_default();
    let tags = tags.map(|tags| mistakes.lower_case_texts(tags, "monitors.tags")).unwrap_or_default();
    (ids.into_iter().collect(), tags.into_iter().collect())
}

/// The group tags that make the key, in order.
fn key(mistakes: &mut Mistakes<'_>, value: &Value<'_>) -> Vec<String> {
    let tags = mistakes.lower_case_texts(value, "key");
    let offset = value.span().start;
    if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        mistakes.note(offset, "key is empty: leave it out for one breaker");
    }
    if tags.iter().collect::<BTreeSet<_>>().len() < tags.len() {
        mistakes.note(offset, "key names a tag twice");
    }
    tags
}

/// `where`: for each tag the values that let a group in.
fn only(mistakes: &mut Mistakes<'_>, value: &Value<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut only = BTreeMap::new();
    for (tag, values) in mistakes.table(value, "where").into_iter().flatten() {
        let setting = format!("where.{}", tag.get_ref());
        if values.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            mistakes.note(values.span().start, format!("{setting} is empty, so no group would be let in"));
        }
        let values = mistakes.lower_case_texts(values, &setting);
        if only.insert(tag.get_ref().to_lowercase(), values.into_iter().collect()).is_some() {
            mistakes.note(tag.span().start, format!("{setting} is there twice: tags have no upper case"));
        }
    }
    only
}

/// How the breaker decides; what is not set is as in [`Policy::default`].
fn policy(mistakes: &mut Mistakes<'_>, table: &DeTable<'_>) -> Policy {
    let default = Policy::default();
    let open_on = table.get("open_on").and_then(|value| open_on(mistakes, value));
    let min_open_ms = time_ms(mistakes, table, "min_open", 0, MIN_OPEN_MAX_MS);
    let ramp_ms = time_ms(mistakes, table, "ramp", RAMP_MIN_MS, RAMP_MAX_MS);
    let max_age_ms = time_ms(mistakes, table, "max_age", MAX_AGE_MIN_MS, MAX_AGE_MAX_MS);
    let probe_ppm = table.get("probe").and_then(|value| mistakes.percent(value, "probe"));
    let max_open_ppm = table.get("max_open").and_then(|value| mistakes.percent(value, "max_open"));
    let max_keys =
        table.get("max_keys").and_then(|value| mistakes.number(value, "max_keys", 1, MAX_KEYS_LIMIT));
    Policy {
        open_on: open_on.unwrap_or(default.open_on),
        no_data: mistakes.choice_of(table, "no_data", &NO_DATA).unwrap_or(default.no_data),
        min_open_ms: min_open_ms.unwrap_or(default.min_open_ms),
        ramp_ms: ramp_ms.unwrap_or(default.ramp_ms),
        muted: mistakes.choice_of(table, "muted", &MUTED).unwrap_or(default.muted),
        on_vanished: mistakes.choice_of(table, "on_vanished", &ON_VANISHED).unwrap_or(default.on_vanished),
        max_age_ms: max_age_ms.unwrap_or(default.max_age_ms),
        on_stale: mistakes.choice_of(table, "on_stale", &ON_STALE).unwrap_or(default.on_stale),
        probe_ppm: probe_ppm.unwrap_or(default.probe_ppm),
        mode: mistakes.choice_of(table, "mode", &MODE).unwrap_or(default.mode),
        refuse: table.get("refuse").map(|value| refuse(mistakes, value)).unwrap_or_default(),
        max_open_ppm: max_open_ppm.unwrap_or(default.max_open_ppm),
        max_keys: max_keys.unwrap_or(default.max_keys),
        drill: table
            .get("drill")
            .and_then(|value| mistakes.yes_or_no(value, "drill"))
            .unwrap_or(default.drill),
    }
}

/// `open_on`: a word, or a list of words of which the mildest counts; what is worse opens as well.
fn open_on(mistakes: &mut Mistakes<'_>, value: &Value<'_>) -> Option<OpenOn> {
    if value.get_ref().as_array().is_none() {
        return mistakes.choice(value, "open_on", &OPEN_ON);
    }
    let words = mistakes.list(value, "open_on").unwrap_or_default();
    if words.is_empty() {
        mistakes.note(value.span().start, "open_on is empty, so nothing would open it");
    }
    let chosen: Vec<Option<OpenOn>> =
        words.iter().map(|word| mistakes.choice(word, "an entry of open_on", &OPEN_ON)).collect();
    let warn = chosen.contains(&Some(OpenOn::Warn));
    chosen.into_iter().collect::<Option<Vec<_>>>().map(|_| if warn { OpenOn::Warn } else { OpenOn::Alert })
}

/// The operation classes that are refused.
fn refuse(mistakes: &mut Mistakes<'_>, value: &Value<'_>) -> BTreeSet<String> {
    if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
        mistakes.note(value.span().start, "refuse is empty: leave it out to refuse all classes");
    }
    mistakes.texts(value, "refuse").into_iter().collect()
}

/// A duration within its limits; none if it is not set, or wrong.
fn time_ms(
    mistakes: &mut Mistakes<'_>,
    table: &DeTable<'_>,
    name: &str,
    min_ms: i64,
    max_ms: i64,
) -> Option<i64> {
    let value = table.get(name)?;
    let text = mistakes.text(value, name)?;
    let offset = value.span().start;
    match duration::parse_ms(text) {
        Ok(time_ms) if (min_ms..=max_ms).contains(&time_ms) => Some(time_ms),
        Ok(_) => {
            let (min, max) = (duration::shown(min_ms), duration::shown(max_ms));
            mistakes.note(offset, format!("{name} is from {min} to {max}, not {text}"));
            None
        }
        Err(error) => {
            mistakes.note(offset, format!("{name} is {text:?}: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
