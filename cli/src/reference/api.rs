//! The operators' API as tables, made of its own description (OpenAPI).

use serde_json::{Map, Value};
use std::fmt::Write;

/// The methods of a path, in the order of the table.
const METHODS: [&str; 3] = ["get", "put", "delete"];
/// Where the description keeps what its parts share.
const SCHEMAS: &str = "#/components/schemas/";

/// Every operation: what it does, what may be said in the query and in headers, the body, what it may answer.
pub(super) fn operations(description: &Value) -> String {
    let mut table = "| operation | what | takes | body | answers |\n|---|---|---|---|---|\n".to_owned();
    for (path, item) in object(&description["paths"]) {
        for method in METHODS {
            let operation = &item[method];
            if operation.is_object() {
                let body = reference(&operation["requestBody"]["content"]["application/json"]["schema"]);
                let answers: Vec<&str> = object(&operation["responses"]).map(|(status, _)| status).collect();
                // Writing to a String cannot fail.
                let _ = writeln!(
                    table,
                    "| `{} {path}` | {} | {} | {} | {} |",
                    method.to_uppercase(),
                    told(operation),
                    parameters(operation),
                    body.map(|name| format!("`{name}`")).unwrap_or_default(),
                    answers.join(", "),
                );
            }
        }
    }
    table
}

/// Every body that an operation takes, field by field.
pub(super) fn bodies(description: &Value) -> String {
    let paths = object(&description["paths"]);
    let operations = paths.flat_map(|(_, item)| METHODS.map(|method| &item[method]));
    let bodies = operations.filter_map(|operation| {
        reference(&operation["requestBody"]["content"]["application/json"]["schema"])
    });
    let mut names: Vec<&str> = bodies.collect();
    names.sort_unstable();
    names.dedup();
    let mut tables = String::new();
    for name in names {
        let schema = &description["components"]["schemas"][name];
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = writeln!(tables, "`{name}`:\n\n| field | | what |\n|---|---|---|");
        for (field, property) in object(&schema["properties"]) {
            let is_required = if required.contains(&field) { "required" } else { "" };
            let what = field_told(description, property);
            let _ = writeln!(tables, "| `{field}` | {is_required} | {what} |");
        }
        tables.push('\n');
    }
    tables
}

/// What a field says of itself, or else its type: in words, or the values that there are.
fn field_told(description: &Value, field: &Value) -> String {
    let own = told(field);
    let kinds = ["oneOf", "anyOf", "allOf"].iter().flat_map(|kinds| field[*kinds].as_array()).flatten();
    let Some(name) = std::iter::once(field).chain(kinds).find_map(reference).filter(|_| own.is_empty())
    else {
        return own;
    };
    let schema = &description["components"]["schemas"][name];
    let values: Vec<String> = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|value| format!("`{value}`"))
        .collect();
    let fields = object(&schema["properties"]).map(|(field, property)| match told(property) {
        what if what.is_empty() => format!("`{field}`."),
        what => format!("`{field}`: {what}"),
    });
    let fields: Vec<String> = fields.collect();
    let of = if values.is_empty() { String::new() } else { format!("One of {}.", values.join(", ")) };
    [told(schema), of, fields.join(" ")]
        .iter()
        .filter(|text| !text.is_empty())
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

/// The schema that a value refers to.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(SCHEMAS)
}

/// What a part says of itself, in one line.
fn told(part: &Value) -> String {
    let texts = [&part["summary"], &part["description"]].map(|text| text.as_str().unwrap_or_default());
    let text = texts.join(" ");
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

/// What may be said in the query and in headers; what stands in the path is seen there.
fn parameters(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let shown = parameters.filter(|parameter| parameter["in"] != "path").map(|parameter| {
        let name = parameter["name"].as_str().unwrap_or_default();
        let form = if parameter["in"] == "header" { format!("header `{name}`") } else { format!("`{name}`") };
        if parameter["required"] == true { format!("{form} (required)") } else { form }
    });
    shown.collect::<Vec<_>>().join(", ")
}
