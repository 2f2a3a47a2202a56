//! What the command prints: for people, for programs, and as annotations of a pull request on GitHub.

use super::Judged;
use super::finding::{Finding, Named};
use super::rules::Severity;
use crate::terminal::plain;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object, with the accepted findings and their reasons.
    Json,
    /// Commands of GitHub's workflows, which become annotations.
    Github,
}

/// All that is printed.
#[must_use]
pub fn shown(judged: &Judged, format: Format) -> String {
    let open = judged.findings.iter().filter(|finding| finding.accepted.is_none());
    match format {
        Format::Text => open.map(for_people).collect::<String>() + &summary(judged) + "\n",
        Format::Json => format!("{:#}\n", for_programs(judged)),
        Format::Github => open.map(for_github).collect::<String>() + &summary(judged) + "\n",
    }
}

fn summary(judged: &Judged) -> String {
    let accepted = judged.findings.iter().filter(|finding| finding.accepted.is_some()).count();
    let mut text = format!(
        "{} monitors, {} breakers: {} errors, {} warnings, {} notes",
        judged.monitors,
        judged.breakers,
        judged.count(Severity::Error),
        judged.count(Severity::Warning),
        judged.count(Severity::Note)
    );
    // Writing to a String does not fail.
    if accepted > 0 {
        let _ = write!(text, "; {accepted} accepted");
    }
    if judged.others > 0 {
        let _ = write!(text, "; {} monitors are not Cutout's", judged.others);
    }
    if !judged.knows_hosts {
        text.push_str("; hosts were not judged (--allow, or CUTOUT_CALLBACK_ALLOW)");
    }
    text
}

fn for_people(finding: &Finding) -> String {
    let Finding { rule, file, line, message_line, monitor, breaker, reason, mend, .. } = finding;
    let mut text = plain(file);
    // Writing to a String does not fail.
    if let Some(line) = line {
        let _ = write!(text, ":{line}");
    }
    let _ = write!(text, ": {}[{}]", rule.severity().name(), rule.name());
    let about: Vec<String> = [
        monitor.as_ref().map(called),
        message_line.map(|line| format!("message line {line}")),
        breaker.as_ref().map(|breaker| format!("breaker {breaker}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let _ = write!(
        text,
        " {}\n    {}\n    why:  {}\n    mend: {}\n",
        about.join(", "),
        rule.wrong(),
        plain(reason),
        mend
    );
    text
}

fn called(monitor: &Named) -> String {
    let Named { id, name, address } = monitor;
    let id = id.map(|id| format!(" {id}")).unwrap_or_default();
    let address = address.as_ref().map(|address| format!(" ({})", plain(address))).unwrap_or_default();
    format!("monitor{id} \"{}\"{address}", plain(name))
}

fn for_programs(judged: &Judged) -> Value {
    let finding = |finding: &Finding| {
        let monitor = finding.monitor.as_ref();
        json!({
            "rule": finding.rule.name(), "severity": finding.rule.severity().name(),
            "file": finding.file, "line": finding.line, "message_line": finding.message_line,
            "monitor": monitor.map(|it| json!({"id": it.id, "name": it.name, "address": it.address})),
            "breaker": finding.breaker, "wrong": finding.rule.wrong(), "reason": finding.reason, "mend": finding.mend,
            "accepted": finding.accepted,
        })
    };
    json!({
        "monitors": judged.monitors, "others": judged.others, "breakers": judged.breakers, "hosts_judged": judged.knows_hosts,
        "errors": judged.count(Severity::Error), "warnings": judged.count(Severity::Warning),
        "notes": judged.count(Severity::Note),
        "findings": judged.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

/// A workflow command. Its own characters are escaped, so that no monitor's name can write another one.
fn for_github(finding: &Finding) -> String {
    let command = match finding.rule.severity() {
        Severity::Note => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let line = finding.line.map(|line| format!(",line={line}")).unwrap_or_default();
    let about = finding.monitor.as_ref().map(|it| called(it) + ": ").unwrap_or_default();
    let about = about + &finding.breaker.as_ref().map(|it| format!("breaker {it}: ")).unwrap_or_default();
    let text = format!("{about}{} {}. {}.", finding.rule.wrong(), finding.reason, finding.mend);
    format!(
        "::{command} file={}{line},title=cutout {}::{}\n",
        property(&finding.file),
        finding.rule.name(),
        data(&text)
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
