//! Where monitors come from: JSON of Datadog's API (a monitor, or a list of them), and what `terraform show -json` prints of a
//! plan or a state.
//!
//! Values are kept as slices of the text, so that each finding can name the line of what it is about. Left out: Terraform's
//! own language, which only Terraform can evaluate.

use super::monitor::Monitor;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A JSON object whose values are not read yet.
pub(super) type Object<'a> = BTreeMap<String, &'a RawValue>;

/// Settings whose lines are remembered.
const LINED: [&str; 4] = ["message", "query", "tags", "options"];

/// Where a monitor was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file's name, or `Datadog`.
    pub file: String,
    /// Its line, counted from 1; none if the text was no file.
    pub line: Option<usize>,
    /// Terraform's address of the resource.
    pub address: Option<String>,
    lines: BTreeMap<&'static str, usize>,
}

impl Place {
    /// The line of one of its settings, or of itself.
    #[must_use]
    pub fn line_of(&self, setting: &str) -> Option<usize> {
        self.lines.get(setting).copied().or(self.line)
    }
}

/// Why a text holds no monitors.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is not JSON.
    #[error("{file} is not JSON")]
    Json {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// It is JSON of something else.
    #[error(
        "{file}, line {line}: this is no monitor: give a monitor or a list of them as Datadog's API tells them, or what \
         `terraform show -json` prints of a plan"
    )]
    Other {
        /// The file's name.
        file: String,
        /// Where.
        line: usize,
    },
}

/// The monitors in a text. `file` is its name; `lined` says whether its lines mean anything to people.
///
/// # Errors
/// [`SourceError`]
pub fn read(file: &str, text: &str, lined: bool) -> Result<Vec<Monitor>, SourceError> {
    let source = Source::new(file, text, lined);
    let root: &RawValue = source.parse(text)?;
    if root.get().starts_with('[') {
        let list: Vec<&RawValue> = source.parse(root.get())?;
        return list.into_iter().map(|entry| source.monitor(entry)).collect();
    }
    match source.parse::<Object<'_>>(root.get()) {
        Ok(object) if is_terraform(&object) => source.of_terraform(&object),
        _ => Ok(vec![source.monitor(root)?]),
    }
}

fn is_terraform(object: &Object<'_>) -> bool {
    object.contains_key("planned_values")
        || object.contains_key("values") && object.contains_key("format_version")
}

struct Source<'a> {
    file: &'a str,
    text: &'a str,
    /// Where lines end; none if they mean nothing.
    line_ends: Option<Vec<usize>>,
}

impl<'a> Source<'a> {
    fn new(file: &'a str, text: &'a str, lined: bool) -> Source<'a> {
        let line_ends = lined.then(|| text.match_indices('\n').map(|(at, _)| at).collect());
        Source { file, text, line_ends }
    }

    fn parse<T: serde::Deserialize<'a>>(&self, text: &'a str) -> Result<T, SourceError> {
        serde_json::from_str(text).map_err(|cause| SourceError::Json { file: self.file.to_owned(), cause })
    }

    /// The line of a part of the text, counted from 1.
    fn line_of(&self, part: &str) -> Option<usize> {
        let offset = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        self.line_ends.as_ref().map(|ends| 1 + ends.partition_point(|end| *end < offset))
    }

    fn monitor(&self, value: &'a RawValue) -> Result<Monitor, SourceError> {
        let other = || {
            let line = self.line_of(value.get()).unwrap_or(1);
            SourceError::Other { file: self.file.to_owned(), line }
        };
        let object: Object<'a> = serde_json::from_str(value.get()).map_err(|_| other())?;
        Monitor::read(&object, self.place(value, &object, None)).ok_or_else(other)
    }

    fn place(&self, value: &RawValue, object: &Object<'_>, address: Option<String>) -> Place {
        let line = |name| Some((name, self.line_of(object.get(name)?.get())?));
        let lines = LINED.into_iter().filter_map(line).collect();
        Place { file: self.file.to_owned(), line: self.line_of(value.get()), address, lines }
    }

    /// The monitors of all modules.
    fn of_terraform(&self, document: &Object<'a>) -> Result<Vec<Monitor>, SourceError> {
        let values = document.get("planned_values").or_else(|| document.get("values"));
        let values: Object<'a> =
            values.map(|values| self.parse(values.get())).transpose()?.unwrap_or_default();
        let mut modules: Vec<&'a RawValue> = values.get("root_module").copied().into_iter().collect();
        let mut monitors = Vec::new();
        while let Some(module) = modules.pop() {
            let module: Object<'a> = self.parse(module.get())?;
            let list = |name| match module.get(name) {
                Some(list) => self.parse::<Vec<&'a RawValue>>(list.get()),
                None => Ok(Vec::new()),
            };
            for resource in list("resources")? {
                monitors.extend(self.resource(resource)?);
            }
            modules.extend(list("child_modules")?.into_iter().rev());
        }
        Ok(monitors)
    }

    /// The monitor of a resource; none if it is of another type. What is not known before it is applied is not there.
    fn resource(&self, resource: &'a RawValue) -> Result<Option<Monitor>, SourceError> {
        let object: Object<'a> = self.parse(resource.get())?;
        let text = |name| object.get(name).and_then(|text| serde_json::from_str::<String>(text.get()).ok());
        let Some(values) = object.get("values") else { return Ok(None) };
        match text("type").as_deref() {
            Some("datadog_monitor") => {
                let values: Object<'a> = self.parse(values.get())?;
                Ok(Monitor::read(&values, self.place(resource, &values, text("address"))))
            }
            Some("datadog_monitor_json") => {
                let values: BTreeMap<String, serde_json::Value> = self.parse(values.get())?;
                let Some(json) = values.get("monitor").and_then(serde_json::Value::as_str) else {
                    return Ok(None);
                };
                let place = self.place(resource, &Object::new(), text("address"));
                let inner: Result<Object<'_>, _> = serde_json::from_str(json);
                let cause = |cause| SourceError::Json { file: self.file.to_owned(), cause };
                Ok(Monitor::read(&inner.map_err(cause)?, place))
            }
            _ => Ok(None),
        }
    }
}
