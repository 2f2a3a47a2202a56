//! The judged URLs and the three policies they are judged by. The files' own headers explain them.

use crate::guard;
use cutout_lambda::guard::Guard;
use std::path::Path;
use std::sync::Arc;

/// What must happen to a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is dialled, and the guard says why.
    Deny,
    /// The vetted address is dialled, once.
    Allow,
    /// The first answer of the name is dialled, never a later one.
    Pin,
    /// The answer's hint to go elsewhere is not followed.
    NoFollow,
}

pub(crate) struct Row {
    pub(crate) id: u32,
    /// In the order of [`policies`].
    pub(crate) verdicts: [Verdict; 3],
    pub(crate) url: String,
}

pub(crate) fn rows() -> Vec<Row> {
    lines("ssrf_urls.tsv").map(|line| row(&line)).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let [id, strict, lenient, vpc, _category, url, ..] = fields[..] else {
        panic!("not a row: {line}");
    };
    Row {
        id: id.parse().unwrap(),
        verdicts: [verdict(strict), verdict(lenient), verdict(vpc)],
        url: serde_json::from_str(url).unwrap(),
    }
}

fn verdict(text: &str) -> Verdict {
    match text {
        "deny" | "deny-not-listed" => Verdict::Deny,
        "allow" | "allow-cidr" => Verdict::Allow,
        "pin" => Verdict::Pin,
        "no-follow" => Verdict::NoFollow,
        other => panic!("not a verdict: {other}"),
    }
}

/// Name and guard of each policy, in the columns' order.
pub(crate) fn policies() -> [(&'static str, Arc<Guard>); 3] {
    [
        ("strict", guard("*", "", false)),
        ("lenient", guard("*:*", "", true)),
        ("vpc", guard("*.svc.internal.example:*,servicea:*", "10.0.0.0/8", true)),
    ]
}

/// The lines of a file in `tests/fixtures/security` that are no comments.
pub(crate) fn lines(file: &str) -> impl Iterator<Item = String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/security").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    lines.into_iter()
}
