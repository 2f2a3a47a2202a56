//! The breakers' file: what was read and is written again means the same, and a mistake has a line of the file.

use super::text;
use cutout_core::breaker::{Muted, NoData, OnVanished, OpenOn};
use cutout_core::{Declaration, Declared, Mode, OnStale, Policy};
use cutout_service::Breakers;
use cutout_service::breakers::{lines, parse};
use cutout_service::duration::shown;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write;

const FILE: &str = "b.toml";

pub(super) fn judge(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let named = lines(text);
    let last = 1 + text.matches('\n').count();
    assert!(named.values().all(|line| (1..=last).contains(line)), "{named:?}");
    match parse(FILE, text) {
        Ok(breakers) => {
            assert!(breakers.declarations.iter().all(|declaration| named.contains_key(&declaration.name)));
            read(&breakers);
        }
        Err(problems) => {
            assert!(problems.iter().next().is_some(), "a file is refused for a reason");
            for problem in problems.iter() {
                let line = problem.strip_prefix("b.toml, line ").and_then(|rest| rest.split_once(": "));
                let line = line.and_then(|(line, _)| line.parse().ok()).expect("a mistake has a line");
                assert!((1..=last).contains(&line), "{problem}");
            }
        }
    }
}

fn read(breakers: &Breakers) {
    let names: BTreeSet<&str> =
        breakers.declarations.iter().map(|declaration| declaration.name.as_str()).collect();
    assert!(
        !names.is_empty() && names.len() == breakers.declarations.len(),
        "each breaker has a name of its own"
    );
    let declared = breakers.declared();
    let published = serde_json::to_string(&declared).expect("declarations are JSON");
    assert_eq!(serde_json::from_str::<Declared>(&published).expect("they are read again"), declared);
    let written = written(breakers);
    match parse(FILE, &written) {
        Ok(again) => assert_eq!(&again, breakers, "{written}"),
        Err(problems) => panic!("{problems:?} in\n{written}"),
    }
}

/// The file that a person might have written. Texts of JSON are texts of TOML.
fn written(breakers: &Breakers) -> String {
    let mut file = String::new();
    if breakers.revision > 0 {
        writeln!(file, "revision = {}", breakers.revision).expect("a text");
    }
    breakers.declarations.iter().for_each(|declaration| write_one(&mut file, declaration));
    file
}

fn write_one(file: &mut String, declaration: &Declaration) {
    let Declaration { name, key, monitor_ids, monitor_tags, only, policy } = declaration;
    let mut set = |name: &str, value: String| writeln!(file, "{name} = {value}").expect("a text");
    let list = |texts: &BTreeSet<String>| toml_texts(texts.iter());
    set("[[breaker]]\nname", toml_text(name));
    if !key.is_empty() {
        set("key", toml_texts(key.iter()));
    }
    let ids: Vec<u64> = monitor_ids.iter().copied().collect();
    set("monitors", format!("{{ ids = {ids:?}, tags = {} }}", list(monitor_tags)));
    let only: Vec<String> =
        only.iter().map(|(tag, values)| format!("{} = {}", toml_text(tag), list(values))).collect();
    set("where", format!("{{ {} }}", only.join(", ")));
    if !policy.refuse.is_empty() {
        set("refuse", list(&policy.refuse));
    }
    let word = |word: &str| format!("{word:?}");
    for (name, chosen) in choices(policy) {
        set(name, word(chosen));
    }
    set("min_open", word(&shown(policy.min_open_ms)));
    set("ramp", word(&shown(policy.ramp_ms)));
    set("max_age", word(&shown(policy.max_age_ms)));
    set("probe", percent(policy.probe_ppm));
    set("max_open", percent(policy.max_open_ppm));
    set("max_keys", policy.max_keys.to_string());
    set("drill", policy.drill.to_string());
}

/// The settings that are one of a few words.
fn choices(policy: &Policy) -> [(&'static str, &'static str); 6] {
    let open_on = match policy.open_on {
        OpenOn::Alert => "alert",
        OpenOn::Warn => "warn",
    };
    let no_data = match policy.no_data {
        NoData::Hold => "hold",
        NoData::Open => "open",
        NoData::Close => "close",
    };
    let muted = match policy.muted {
        Muted::Follow => "follow",
        Muted::Hold => "hold",
    };
    let mode = match policy.mode {
        Mode::Enforce => "enforce",
        Mode::Watch => "watch",
    };
    let on_vanished = match policy.on_vanished {
        OnVanished::HalfOpen => "half-open",
        OnVanished::Hold => "hold",
        OnVanished::Close => "close",
    };
    let on_stale = match policy.on_stale {
        OnStale::HalfOpen => "half-open",
        OnStale::Hold => "hold",
        OnStale::Close => "close",
    };
    [
        ("open_on", open_on),
        ("no_data", no_data),
        ("muted", muted),
        ("mode", mode),
        ("on_vanished", on_vanished),
        ("on_stale", on_stale),
    ]
}

/// A share in percent, with all its digits.
fn percent(ppm: u32) -> String {
    format!("\"{}.{:04}%\"", ppm / 10_000, ppm % 10_000)
}

/// A text in quotes. JSON leaves one character as it is that TOML does not.
fn toml_text(text: &str) -> String {
    json!(text).to_string().replace('\u{7f}', "\\u007f")
}

fn toml_texts<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    let texts: Vec<String> = texts.map(|text| toml_text(text)).collect();
    format!("[{}]", texts.join(", "))
}
