//! Whatever a monitor's author wrote: lint ends, and the text that it prints instead is clean.

use crate::{Given, HANDLE, URL};
use cutout_cli::lint::{Subject, fixed_text, judge};
use proptest::prelude::*;
use serde_json::json;

/// What texts are made of: right parts, wrong parts, and whatever else people write.
fn part() -> impl Strategy<Value = String> {
    const PARTS: [&str; 40] = [
        "circuit-breaker-callback:",
        "Circuit-Breaker-Callback: ",
        URL,
        "http://a.example/",
        "https://{{env.name}}.example/cb",
        "{{#is_alert}}",
        "{{/is_alert}}",
        "{{#is_warning}}",
        "{{/is_warning}}",
        "{{#is_recovery}}",
        "{{/is_recovery}}",
        "{{^is_no_data}}",
        "{{/is_no_data}}",
        "{{else}}",
        "{{#is_match \"a.name\" \"b\"}}",
        "{{/is_match}}",
        "{{#is_odd}}",
        "{{/is_odd}}",
        "{{!--",
        "--}}",
        "{{! x }}",
        "{{",
        "}}",
        "{{{{raw}}}}",
        "{{{{/raw}}}}",
        "{{value}}",
        " ",
        "\n",
        "\r\n",
        HANDLE,
        "@sns-other",
        "@sns-",
        "@slack-bank",
        "@",
        ",",
        "(",
        "<",
        ">",
        "銀行",
        "the bank fails",
    ];
    prop_oneof![
        8 => proptest::sample::select(&PARTS[..]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ]
}

fn message() -> impl Strategy<Value = String> {
    proptest::collection::vec(part(), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fixed_text_of_any_monitor_is_clean(
        message in message(),
        own_url in any::<bool>(),
        warns in any::<bool>(),
        missing in proptest::sample::select(&["show_no_data", "show_and_notify_no_data", "resolve", "default"][..]),
        policy in proptest::sample::select(&["", "no_data = \"open\"", "no_data = \"close\"\nopen_on = \"warn\""][..]),
        declared in any::<bool>(),
    ) {
        let thresholds = if warns { json!({"critical": 1, "warning": 0.5}) } else { json!({"critical": 1}) };
        let mut given = Given::right().breaker(policy).option("thresholds", thresholds).option("on_missing_data", json!(missing));
        given.handles = vec![HANDLE.to_owned()];
        if !declared {
            given.breakers = String::new();
        }
        let message = if own_url { format!("circuit-breaker-callback: {URL}\n{message}") } else { message };
        let given = given.with("message", json!(message));
        let (monitor, context) = (given.monitors().remove(0), given.context());
        let fixed = fixed_text(&monitor, Some(URL), &context).unwrap();
        prop_assert!(fixed.text.contains(URL));
        let again = given.with("message", json!(&fixed.text));
        let found = judge(&again.monitors(), &context, true).findings;
        prop_assert!(found.iter().all(|it| it.rule.subject() != Subject::Text), "{found:?}\n{}", fixed.text);
    }
}

#[test]
fn an_authors_own_words_stay_where_they_can() {
    for (message, fixed_words, lost) in [
        (
            format!(
                "circuit-breaker-callback: {URL}\nThe bank fails: {{{{value}}}} %\n\nCall @slack-bank {HANDLE}"
            ),
            "The bank fails: {{value}} %\n\nCall @slack-bank",
            false,
        ),
        (
            format!(
                "{{{{#is_alert}}}}circuit-breaker-callback: {URL} {{{{/is_alert}}}}{{{{#is_alert}}}}It fails.{{{{/is_alert}}}} {HANDLE}"
            ),
            "{{#is_alert}}It fails.{{/is_alert}}",
            false,
        ),
        (
            format!("{{{{#is_alert}}}}\ncircuit-breaker-callback: {URL}\n{{{{/is_alert}}}}\n{HANDLE}"),
            "",
            false,
        ),
        (format!("circuit-breaker-callback: {URL} {HANDLE} {{{{#is_alert}}}}never closed"), "", true),
    ] {
        let given = Given::right().with("message", json!(message));
        let fixed = fixed_text(&given.monitors()[0], None, &given.context()).unwrap();
        let words = fixed.text.split_once(HANDLE).unwrap().1.trim();
        assert_eq!((words, fixed.words_lost), (fixed_words, lost), "{message}\n->\n{}", fixed.text);
    }
}
