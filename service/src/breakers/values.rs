//! Typed values out of a parsed TOML file, each mistake noted with its line.
//!
//! Every reader here notes what is wrong and returns nothing, so that the walk goes on and finds the next mistake.

use crate::{nearest, share};
use cutout_core::Problems;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// The mistakes of one file. They come out in the order of the file, whatever the order of the walk.
pub(super) struct Mistakes<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Mistakes<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Mistakes<'a> {
        Mistakes { file, text, found: Vec::new() }
    }

    /// Notes a mistake at a byte of the file.
    pub(super) fn note(&mut self, offset: usize, what: impl Into<String>) {
        self.found.push((offset, what.into()));
    }

    /// The line of a byte of the file, counted from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// `value` if nothing was noted.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Problems> {
        self.found.sort();
        let mut problems = Problems::default();
        for (offset, what) in &self.found {
            problems.note(format!("{}, line {}: {what}", self.file, self.line_of(*offset)));
        }
        problems.or(value)
    }

    /// Notes each key of `table` that is not `known`.
    pub(super) fn refuse_others(&mut self, table: &DeTable<'_>, of: &str, known: &[&str]) {
        for key in table.keys() {
            let (name, offset) = (key.get_ref().as_ref(), key.span().start);
            if !known.contains(&name) {
                let remedy = nearest::remedy(name, known);
                self.note(offset, format!("unknown setting {name} of {of}: {remedy}"));
            }
        }
    }

    fn wrong_type(&mut self, value: &Value<'_>, setting: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        self.note(value.span().start, format!("{setting} is {wanted}, not this {found}"));
    }

    pub(super) fn text<'v>(&mut self, value: &'v Value<'_>, setting: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, setting, "a text");
        }
        text
    }

    pub(super) fn list<'v, 'i>(&mut self, value: &'v Value<'i>, setting: &str) -> Option<&'v [Value<'i>]> {
        let list = value.get_ref().as_array();
        if list.is_none() {
            self.wrong_type(value, setting, "a list");
        }
        list.map(|list| &**list)
    }

    pub(super) fn table<'v, 'i>(&mut self, value: &'v Value<'i>, setting: &str) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value, setting, "a table");
        }
        table
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(&mut self, value: &Value<'_>, setting: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for item in self.list(value, setting).unwrap_or_default() {
            match self.text(item, &format!("an entry of {setting}")) {
                Some(text) if text.trim().is_empty() => {
                    self.note(item.span().start, format!("an entry of {setting} is empty"));
                }
                Some(text) => texts.push(text.to_owned()),
                None => {}
            }
        }
        texts
    }

    /// The same, lower-cased as Datadog does with tags.
    pub(super) fn lower_case_texts(&mut self, value: &Value<'_>, setting: &str) -> Vec<String> {
        self.texts(value, setting).into_iter().map(|text| text.to_lowercase()).collect()
    }

    /// `true` or `false`.
    pub(super) fn yes_or_no(&mut self, value: &Value<'_>, setting: &str) -> Option<bool> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(value, setting, "true or false, without quotes");
        }
        found
    }

    /// A whole number within limits.
    pub(super) fn number(&mut self, value: &Value<'_>, setting: &str, min: u64, max: u64) -> Option<u64> {
        let integer = value.get_ref().as_integer();
        let number = integer.and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.note(value.span().start, format!("{setting} is a whole number from {min} to {max}"));
        }
        number
    }

    /// A share such as `1%` or `0.5%`, in parts per million.
    pub(super) fn percent(&mut self, value: &Value<'_>, setting: &str) -> Option<u32> {
        let text = self.text(value, setting)?;
        let share_ppm = share::parse_ppm(text);
        if share_ppm.is_none() {
            self.note(
                value.span().start,
                format!("{setting} is from 0% to 100%, such as 1% or 0.5%, not {text:?}"),
            );
        }
        share_ppm
    }

    /// A list of numbers of Datadog's objects: integers from 1.
    pub(super) fn ids(&mut self, value: &Value<'_>, setting: &str) -> Vec<u64> {
        let mut ids = Vec::new();
        for item in self.list(value, setting).unwrap_or_default() {
            let integer = item.get_ref().as_integer();
            let id = integer.and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
            match id {
                Some(id) if id > 0 => ids.push(id),
                _ => self.wrong_type(item, &format!("an entry of {setting}"), "a whole number from 1"),
            }
        }
        ids
    }

    /// One of a few words, if `name` is set.
    pub(super) fn choice_of<T: Copy>(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        table.get(name).and_then(|value| self.choice(value, name, choices))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        value: &Value<'_>,
        setting: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(value, setting)?;
        let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            self.note(value.span().start, format!("{setting} is one of {names}, not {text:?}"));
        }
        chosen
    }
}
