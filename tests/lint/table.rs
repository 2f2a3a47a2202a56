//! The table of rules. The compiler asks for each rule here: a rule that is added without a monitor that breaks it and one
//! that does not cannot be built.

use crate::{Given, HANDLE, URL, block, blocks};
use cutout_cli::lint::{Finding, Rule, Severity, Subject, TEXT_LEN_MAX, fixed_text, judge};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// What breaks a rule, and what comes near and does not.
#[allow(clippy::too_many_lines, reason = "a table")]
fn cases(rule: Rule) -> (Given, Given) {
    let right = Given::right;
    let text = |message: &str| right().with("message", json!(message));
    let usual = ["is_alert", "is_warning", "is_recovery"];
    match rule {
        Rule::DirectiveMissing => (
            text(&format!("The bank fails. circuit_breaker_callback: {URL} {HANDLE}")),
            text(&format!("Circuit-Breaker-Callback:{URL} {HANDLE}")),
        ),
        Rule::DirectiveCommented => (
            right().message(|it| format!("{{{{!-- circuit-breaker-callback: {URL} --}}}}{it}")),
            right().message(|it| format!("{{{{!-- the directive comes first --}}}}{it}")),
        ),
        Rule::NoDirectiveOnAlert => (
            text(&blocks(&["is_warning", "is_recovery"])),
            text(&blocks(&["is_warning", "is_recovery"]).replace("#is_recovery", "^is_warning").replace("/is_recovery", "/is_warning")),
        ),
        Rule::NoDirectiveOnWarning => (
            text(&blocks(&["is_alert", "is_recovery"])),
            // It never warns.
            text(&blocks(&["is_alert", "is_recovery"])).option("thresholds", json!({"critical": 0.5})),
        ),
        Rule::NoDirectiveOnRecovery => (
            text(&blocks(&["is_alert", "is_warning"])),
            // The breaker does not move from a warning to OK.
            text(&blocks(&["is_alert", "is_warning", "is_alert_recovery"])),
        ),
        Rule::NoDirectiveOnNoData => (
            right().option("on_missing_data", json!("show_and_notify_no_data")).breaker("no_data = \"open\""),
            text(&blocks(&[&usual[..], &["is_no_data"]].concat()))
                .option("on_missing_data", json!("show_and_notify_no_data"))
                .breaker("no_data = \"open\""),
        ),
        Rule::DirectiveConditional => (
            right().message(|it| format!("{{{{#is_match \"env.name\" \"prod\"}}}}{it}{{{{/is_match}}}}\n{HANDLE}")),
            right().message(|it| format!("{it}\n{{{{#is_match \"env.name\" \"prod\"}}}}call the bank{{{{/is_match}}}}")),
        ),
        Rule::DirectiveOutsideBlocks => (
            text(&format!("circuit-breaker-callback: {URL}\n{HANDLE}")),
            text(&format!("{{{{^is_no_data}}}}circuit-breaker-callback: {URL} {{{{/is_no_data}}}}\n{HANDLE}")),
        ),
        Rule::DirectiveLate => (
            right().message(|it| "銀".repeat(TEXT_LEN_MAX - 80) + "\n" + &it),
            right().message(|it| it + "\n" + &"銀".repeat(TEXT_LEN_MAX)),
        ),
        Rule::BlockUnbalanced => (
            right().message(|it| it + "\n{{#is_no_data}}no data"),
            right().message(|it| it + "\n{{#is_no_data}}no data{{else}}data{{/is_no_data}}"),
        ),
        Rule::BlockUnknown => (
            right().message(|it| it.replace(HANDLE, &format!("{{{{#is_alerting}}}}{HANDLE} {{{{/is_alerting}}}}"))),
            right().message(|it| it + "\n{{#is_wednesday}}nobody is there{{/is_wednesday}}"),
        ),
        Rule::UrlMissing => (
            right().message(|it| it.replace(URL, "")),
            right().message(|it| it.replace(URL, &format!("<{URL}>"))),
        ),
        Rule::UrlTemplate => (
            right().message(|it| it.replace("service-a", "{{env.name}}")),
            right().message(|it| it + "\n{{bank_code.name}} fails"),
        ),
        Rule::UrlUnusable => (
            right().message(|it| it.replace("https://", "ftp://")),
            right().message(|it| it.replace(URL, &format!("[call]({URL})"))),
        ),
        Rule::UrlNotHttps => (
            right().message(|it| it.replace("https://", "http://")),
            right().message(|it| it.replace("https://", "HTTPS://")),
        ),
        Rule::UrlGlued => (
            right().message(|it| it.replace(" {{/is_alert}}\n", "{{/is_alert}}next: ")),
            right().message(|it| it.replace(" {{/is_alert}}\n", "{{/is_alert}}\n")),
        ),
        Rule::HostNotAllowed => (
            right().message(|it| it.replace("service-a.example.internal", "example.internal")),
            right().message(|it| it.replace("service-a.example.internal", "b.c.example.internal:443")),
        ),
        Rule::SeveralUrls => (
            right().message(|it| it.replacen("service-a", "service-b", 1)),
            right().message(|it| block("is_alert_recovery") + &it),
        ),
        Rule::HandleMissing => (
            right().message(|it| it.replace(HANDLE, "@sns- @slack-bank sns-dd-circuit-breaker")),
            Given { handles: vec!["webhook-cutout".to_owned()], ..right().message(|it| it.replace(HANDLE, "@webhook-cutout")) },
        ),
        Rule::HandleGlued => (
            right().message(|it| it + ", the bank fails"),
            right().message(|it| it.replace(HANDLE, &format!("the bank fails {HANDLE}{{{{#is_alert}}}} now{{{{/is_alert}}}}"))),
        ),
        Rule::HandleNotAlways => (
            right().message(|it| it.replace(HANDLE, &format!("{{{{#is_alert}}}}{HANDLE} {{{{/is_alert}}}}"))),
            right().message(|it| it.replace(HANDLE, &format!("{{{{^is_no_data}}}}{HANDLE} {{{{/is_no_data}}}}"))),
        ),
        Rule::PresetHidesFooter => (
            right().option("notification_preset_name", json!("hide_all")),
            right().option("notification_preset_name", json!("hide_query")),
        ),
        Rule::TagMissing => (
            right().with("tags", json!(["cutout:bank-charge"])),
            right().with("tags", json!(["team:pay", "Cutout"])),
        ),
        Rule::RenotifyOff => (
            right().with("tags", json!(["cutout:bank-charge"])),
            right().with("tags", json!(["cutout:bank-charge"])).option("renotify_interval", json!(10)),
        ),
        Rule::TagsHidden => (right().option("include_tags", json!(false)), right().option("include_tags", json!(null))),
        Rule::Draft => (right().with("draft_status", json!("draft")), right().with("draft_status", json!("published"))),
        Rule::NotifyByCoarser => (
            right().option("notify_by", json!(["env"])),
            right().option("notify_by", json!(["Bank_Code"])),
        ),
        Rule::KeyTagMissing => (
            right().with("query", json!("avg(last_5m):sum:vendor.errors{bank_code:0001} by {env} > 0.5")),
            right().with("query", json!("\"bank\".over(\"*\").by(\"bank_code\").last(4).count_by_status()")),
        ),
        Rule::WhereTagMissing => (
            right().breaker("where = { region = [\"jp\"] }"),
            right().breaker("where = { env = [\"prod\"] }"),
        ),
        Rule::MonitorUndeclared => (
            right().with("id", json!(7)),
            right().with("id", json!(7)).breaker("[[breaker]]\nname = \"b\"\nmonitors = { tags = [\"cutout:bank-charge\"] }"),
        ),
        Rule::MonitorNumberUnknown => (
            right().with("id", json!(null)),
            right().with("id", json!(null)).breaker("[[breaker]]\nname = \"b\"\nmonitors = { tags = [\"cutout:bank-charge\"] }"),
        ),
        Rule::BreakerWithoutMonitor => (
            right().breaker("[[breaker]]\nname = \"b\"\nmonitors = { ids = [8] }"),
            right().breaker("[[breaker]]\nname = \"b\"\nmonitors = { tags = [\"cutout:bank-charge\"] }"),
        ),
        Rule::DeclaredByTags => (
            right().breaker("[[breaker]]\nname = \"b\"\nmonitors = { tags = [\"cutout:bank-charge\"] }"),
            right().breaker("[[breaker]]\nname = \"b\"\nmonitors = { ids = [5200001], tags = [\"cutout:bank-charge\"] }"),
        ),
        Rule::DeclaredTwice => (
            right().breaker("[[breaker]]\nname = \"b\"\nmonitors = { ids = [5200001] }"),
            right()
                .breaker("where = { env = [\"prod\"] }\n[[breaker]]\nname = \"b\"\nmonitors = { ids = [5200001] }\nwhere = { env = [\"stg\"] }"),
        ),
        Rule::NoDataPolicy => (
            right().option("on_missing_data", json!("resolve")),
            right().option("on_missing_data", json!("resolve")).breaker("no_data = \"close\""),
        ),
        Rule::WarningThresholdMissing => (
            right().option("thresholds", json!({"critical": 0.5})).breaker("open_on = \"warn\""),
            right().breaker("open_on = \"warn\""),
        ),
        Rule::AcceptanceUnused => {
            let accepted = "[[accept]]\nrule = \"tags-hidden\"\nmonitor = 5200001\nreason = \"we like it\"\n".to_owned();
            (
                Given { accepted: accepted.clone(), ..right() },
                Given { accepted, ..right().option("include_tags", json!(false)) },
            )
        }
    }
}

#[test]
fn a_right_monitor_with_its_breaker_has_no_finding() {
    assert_eq!(Given::right().found(), [""; 0]);
    assert_eq!(Given { breakers: String::new(), ..Given::right() }.found(), [""; 0]);
}

#[test]
fn each_rule_has_a_monitor_that_breaks_it_and_one_that_comes_near() {
    let mut odd = Vec::new();
    for rule in Rule::ALL {
        let (breaks, passes) = cases(*rule);
        let (found, near) = (breaks.found(), passes.found());
        if !found.contains(&rule.name()) {
            odd.push(format!("{} finds nothing: {found:?}", rule.name()));
        }
        if near.contains(&rule.name()) {
            odd.push(format!("{} finds what is right: {near:?}", rule.name()));
        }
        let judged = breaks.judged();
        let told = |it: &&Finding| it.line.is_some() && !it.reason.is_empty() && !it.mend.is_empty();
        if !judged.findings.iter().filter(|it| it.rule == *rule).all(|it| told(&it)) {
            odd.push(format!("{} does not tell where, why and what to do", rule.name()));
        }
    }
    assert_eq!(odd, [""; 0]);
}

/// What the near ones do find, so that none of them passes a rule only because another one came first.
#[test]
fn what_comes_near_breaks_nothing_else_but_what_it_must() {
    let else_found = |rule: Rule| match rule {
        Rule::DirectiveMissing => vec!["directive-outside-blocks"],
        Rule::RenotifyOff => vec!["tag-missing"],
        Rule::DirectiveOutsideBlocks => vec![],
        Rule::MonitorUndeclared | Rule::MonitorNumberUnknown => {
            vec!["breaker-without-monitor", "declared-by-tags"]
        }
        Rule::BreakerWithoutMonitor => vec!["declared-by-tags"],
        Rule::DeclaredByTags => vec!["declared-twice"],
        _ => vec![],
    };
    let mut odd = Vec::new();
    for rule in Rule::ALL {
        let (_, passes) = cases(*rule);
        let found: BTreeSet<&str> = passes.found().into_iter().collect();
        if found != else_found(*rule).into_iter().collect() {
            odd.push(format!("{}: {found:?}", rule.name()));
        }
    }
    assert_eq!(odd, [""; 0]);
}

#[test]
fn names_are_told_apart_and_a_finding_is_where_it_is() {
    let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());

    let given = Given::right().message(|it| {
        it.replace(
            "{{#is_warning}}circuit-breaker-callback: https",
            "{{#is_warning}}circuit-breaker-callback: http",
        )
    });
    let judged = given.judged();
    let finding = judged.findings.iter().find(|it| it.rule == Rule::UrlNotHttps).unwrap();
    let text = format!("{:#}", given.monitor);
    let line = 1 + text.lines().position(|line| line.contains("\"message\"")).unwrap();
    assert_eq!(
        (finding.file.as_str(), finding.line, finding.message_line),
        ("monitors.json", Some(line), Some(2))
    );
    let (breaks, _) = cases(Rule::DeclaredTwice);
    let judged = breaks.judged();
    let finding = judged.findings.iter().find(|it| it.rule == Rule::DeclaredTwice).unwrap();
    assert_eq!((finding.file.as_str(), finding.line), ("breakers.toml", Some(6)));
}

#[test]
fn what_the_fixed_text_mends_is_every_rule_about_the_text() {
    for rule in Rule::ALL.iter().filter(|rule| rule.subject() == Subject::Text) {
        let (breaks, _) = cases(*rule);
        let given = Given { handles: vec![HANDLE.to_owned()], ..breaks };
        let (monitor, context) = (given.monitors().remove(0), given.context());
        let fixed = fixed_text(&monitor, Some(URL), &context)
            .unwrap_or_else(|error| panic!("{}: {error}", rule.name()));
        let again = given.with("message", json!(fixed.text));
        let left = judge(&again.monitors(), &context, true).findings;
        assert!(
            left.iter().all(|it| it.rule.subject() != Subject::Text),
            "{}: {left:?}\n{}",
            rule.name(),
            fixed.text
        );
    }
}

#[test]
fn the_documentation_lists_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/lint.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once("## The rules").unwrap();
    let listed: Vec<String> =
        text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let row = |rule: &Rule| format!("| `{}` | {} | {} |", rule.name(), rule.severity().name(), rule.wrong());
    let rows: Vec<String> = Rule::ALL.iter().map(row).collect();
    assert_eq!(listed, rows, "the table should be:\n{}", rows.join("\n"));
    assert!(Severity::Note < Severity::Warning && Severity::Warning < Severity::Error);
}
