//! The tree's own monitors, and the ones that the other tests read.

use crate::Given;
use cutout_cli::lint::{Accepted, Context, Declared, Handles, judge, read};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rules that find something in a file, with these breakers.
fn found(file: &str, breakers: &str) -> Vec<&'static str> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let variables =
        [("CUTOUT_CALLBACK_ALLOW".to_owned(), "*.svc.example.com,service-a.example.internal".to_owned())];
    let guard = cutout_lambda::settings::guard(variables).unwrap();
    let mut declared = Declared::default();
    if !breakers.is_empty() {
        declared.add("breakers.toml", breakers).unwrap();
    }
    let context = Context::new(guard, Handles::default(), "cutout".to_owned(), declared, Accepted::default());
    let judged = judge(&read(file, &text, true).unwrap(), &context, true);
    assert!(judged.monitors > 0);
    judged.findings.iter().map(|finding| finding.rule.name()).collect()
}

/// They lack the bare tag, for they are older than it; nothing repeats what they say.
const OF_ALL_FIXTURES: [&str; 2] = ["tag-missing", "renotify-off"];

#[test]
fn the_fixtures_lint_as_expected() {
    let breaker =
        "[[breaker]]\nname = \"bank-charge\"\nkey = [\"bank_code\"]\nmonitors = { ids = [7300001] }\n";
    let folder = root().join("tests/fixtures/constructed/api");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("monitor_"))
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    for name in &names {
        let file = format!("tests/fixtures/constructed/api/{name}");
        assert_eq!(found(&file, ""), OF_ALL_FIXTURES, "{name}");
        // By breaker: one is not grouped, though its query has tags.
        let keyless: &[&str] = if name == "monitor_v1_simple.json" { &["key-tag-missing"] } else { &[] };
        let mut all = found(&file, breaker);
        all.retain(|rule| !OF_ALL_FIXTURES.contains(rule));
        assert_eq!(all, keyless, "{name}");
    }
}

#[test]
fn the_ready_monitors_lint_clean() {
    for file in ["infra/datadog/monitor.json", "tests/lint/plan.json"] {
        assert_eq!(found(file, ""), [""; 0], "{file}");
    }
    let by_tags = |name: &str, key: &str, more: &str| {
        format!(
            "[[breaker]]\nname = \"{name}\"\nkey = [\"{key}\"]\nmonitors = {{ tags = [\"cutout:{name}\"] }}\n{more}\n"
        )
    };
    // Before it is made, a monitor is known by its tags alone.
    let ready = found(
        "infra/datadog/monitor.json",
        &by_tags("bank-charge", "bank_code", "where = { env = [\"prod\"] }"),
    );
    assert_eq!(ready, ["declared-by-tags"]);
    let both =
        by_tags("bank-charge", "bank_code", "") + &by_tags("card-charge", "network", "no_data = \"open\"");
    assert_eq!(found("tests/lint/plan.json", &both), ["declared-by-tags", "declared-by-tags"]);
}

#[test]
fn a_plan_tells_what_each_resource_is_called_and_what_is_wrong_with_it() {
    let text = std::fs::read_to_string(root().join("tests/lint/plan.json")).unwrap();
    let text = text.replacen("@sns-cutout-notifications", "the bank fails", 1);
    let monitors = read("plan.json", &text, true).unwrap();
    assert_eq!(monitors.len(), 6, "two of the example, three on Cutout itself, the ready one");
    let judged = judge(&monitors, &Given { breakers: String::new(), ..Given::right() }.context(), true);
    let findings: Vec<_> = judged.findings.iter().filter(|it| it.rule.name() == "handle-missing").collect();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    let address = finding.monitor.as_ref().unwrap().address.as_deref();
    assert_eq!(address, Some("module.monitors.datadog_monitor.breaker[\"Bank API error rate\"]"));
    assert!(text.lines().nth(finding.line.unwrap() - 1).unwrap().contains("\"message\""));
}

#[test]
fn what_is_no_monitor_is_not_passed_over() {
    let unreadable = |text: &str| read("x.json", text, true).unwrap_err().to_string();
    assert!(unreadable("{").contains("not JSON"));
    assert!(unreadable("[\n{\"id\": 1}]").contains("x.json, line 2"));
    assert!(unreadable("{\"errors\": [\"Forbidden\"]}").contains("no monitor"));
    assert!(unreadable("7").contains("no monitor"));
    assert_eq!(read("x.json", "[]", true).unwrap().len(), 0);
    let state = r#"{"format_version":"1.0","values":{"root_module":{"resources":[
        {"type":"datadog_monitor_json","address":"a.b","values":{"monitor":"{\"id\":1,\"message\":\"m\"}"}},
        {"type":"aws_sns_topic","values":{"message":"x"}}, {"type":"datadog_monitor","address":"c.d","values":{"id":"77","message":""}}]}}}"#;
    let ids: Vec<_> = read("x.json", state, true).unwrap().iter().map(|monitor| monitor.id).collect();
    assert_eq!(ids, [Some(1), Some(77)]);
}
