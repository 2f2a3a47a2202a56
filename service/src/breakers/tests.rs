use super::*;

const WHOLE: &str = r#"
[[breaker]]
name     = "bank-charge"
key      = ["Bank_Code"]
monitors = { ids = [5200001, 0x10], tags = ["cutout:Bank-Charge", "team:pay"] }
where    = { Env = ["Prod", "canary"] }
open_on  = "warn"
no_data  = "open"
ramp     = "90s"
on_vanished = "close"
min_open = "1m"
muted    = "hold"

[[breaker]]
name = "cards"
[breaker.monitors]
ids = [7]
"#;

fn set(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

/// The mistakes of a file, without the file's name.
fn mistakes(text: &str) -> Vec<String> {
    let problems = parse("b.toml", text).expect_err(text);
    problems.iter().map(|told| told.strip_prefix("b.toml, ").expect("the file is named").to_owned()).collect()
}

#[test]
fn every_setting_arrives_and_what_is_not_set_has_its_default() {
    let declarations = parse("b.toml", WHOLE).unwrap();
    let bank = Declaration {
        name: "bank-charge".into(),
        key: vec!["bank_code".into()],
        monitor_ids: [5_200_001, 16].into(),
        monitor_tags: set(&["cutout:bank-charge", "team:pay"]),
        only: [("env".to_owned(), set(&["prod", "canary"]))].into(),
        policy: Policy {
            open_on: OpenOn::Warn,
            no_data: NoData::Open,
            min_open_ms: 60_000,
            ramp_ms: 90_000,
            muted: Muted::Hold,
            on_vanished: OnVanished::Close,
        },
    };
    let cards = Declaration {
        name: "cards".into(),
        key: vec![],
        monitor_ids: [7].into(),
        monitor_tags: BTreeSet::new(),
        only: BTreeMap::new(),
        policy: Policy {
            open_on: OpenOn::Alert,
            no_data: NoData::Hold,
            min_open_ms: 30_000,
            ramp_ms: 300_000,
            muted: Muted::Follow,
            on_vanished: OnVanished::HalfOpen,
        },
    };
    assert_eq!(declarations, [bank, cards]);
}

#[test]
fn three_mistakes_in_one_file_are_all_told_with_their_lines() {
    let text = r#"
[[breaker]]
name = "bank-charge"
monitor = { ids = [1] }
ramp = "5 minutes"

[[breaker]]
name = "bank-charge"
monitors = { tags = ["x"] }
"#;
    assert_eq!(
        mistakes(text),
        [
            "line 2: monitors of breaker bank-charge is missing: which monitors does it listen to?",
            "line 4: unknown setting monitor of breaker bank-charge: did you mean monitors?",
            "line 5: ramp is \"5 minutes\": a duration is a whole number and ms, s, m or h, such as 30s",
            "line 8: the name bank-charge is already taken in line 3",
        ]
    );
}

#[test]
fn each_mistake_has_its_line_and_its_words() {
    let breaker =
        |settings: &str| format!("[[breaker]]\nname = \"a\"\nmonitors = {{ ids = [1] }}\n{settings}\n");
    let cases = [
        (breaker("ramp = \"0s\""), 4, "ramp is from 1s to 24h, not 0s"),
        (breaker("ramp = \"999ms\""), 4, "ramp is from 1s to 24h"),
        (breaker("ramp = \"25h\""), 4, "ramp is from 1s to 24h, not 25h"),
        (breaker("min_open = \"11m\""), 4, "min_open is from 0s to 10m, not 11m"),
        (breaker("muted = \"ignore\""), 4, "muted"),
        (breaker("ramp = 30"), 4, "ramp is a text, not this integer"),
        (breaker("open_on = [\"alert\"]"), 4, "open_on is a text, not this array"),
        (breaker("open_on = \"Alert\""), 4, "open_on is one of alert, warn, not \"Alert\""),
        (breaker("no_data = \"ok\""), 4, "no_data is one of hold, open, close"),
        (breaker("key = \"bank_code\""), 4, "key is a list, not this string"),
        (breaker("key = []"), 4, "key is empty: leave it out"),
        (breaker("key = [\"a\", \"A\"]"), 4, "key names a tag twice"),
        (breaker("key = [\"a\",\n \" \"]"), 5, "an entry of key is empty"),
        (breaker("where = { env = [] }"), 4, "where.env is empty, so no group would be let in"),
        (breaker("where = { env = \"prod\" }"), 4, "where.env is a list, not this string"),
        (breaker("where = { Env = [\"a\"], env = [\"b\"] }"), 4, "where.env is there twice"),
        (breaker("where = [\"env\"]"), 4, "where is a table"),
        (breaker("[breaker.where]\nenv = [1]"), 5, "an entry of where.env is a text, not this integer"),
        ("[[breaker]]\nname = \"a\"\nmonitors = {}".into(), 3, "monitors of breaker a names no monitor"),
        ("[[breaker]]\nname = \"a\"\nmonitors = { ids = [], tags = [] }".into(), 3, "names no monitor"),
        ("[[breaker]]\nname = \"a\"\nmonitors = [1]".into(), 3, "monitors is a table, not this array"),
        ("[[breaker]]\nname = \"a\"\nmonitors = { ids = [1], tag = [] }".into(), 3, "did you mean tags?"),
        ("[[breaker]]\nname = \"a\"\nmonitors = { ids = [\"1\"] }".into(), 3, "a whole number from 1"),
        ("[[breaker]]\nname = \"a\"\nmonitors = { ids = [0] }".into(), 3, "a whole number from 1"),
        ("[[breaker]]\nname = \"a\"\nmonitors = { ids = [-1] }".into(), 3, "a whole number from 1"),
        (
            "[[breaker]]\nname = \"a\"\nmonitors = { ids = [99999999999999999999] }".into(),
            3,
            "a whole number",
        ),
        ("[[breaker]]\nname = \"A\"\nmonitors = { ids = [1] }".into(), 2, "not \"A\""),
        ("[[breaker]]\nname = 7\nmonitors = { ids = [1] }".into(), 2, "name is a text"),
        ("\n[[breaker]]\nmonitors = { ids = [1] }".into(), 2, "name of a breaker is missing"),
        ("\nbreaker = 3".into(), 2, "breaker is a list"),
        ("breaker = [3]".into(), 1, "breaker is a table"),
        ("".into(), 1, "no breaker is declared"),
        (
            format!("{}x = 1", breaker("\n[[breakers]]")),
            5,
            "unknown setting breakers of the file: did you mean breaker?",
        ),
    ];
    for (text, line, words) in cases {
        let told = mistakes(&text);
        let found =
            told.iter().any(|told| told.starts_with(&format!("line {line}: ")) && told.contains(words));
        assert!(found, "{text}\n{told:#?}");
    }
}

#[test]
fn what_this_version_does_not_know_yet_is_refused_and_not_ignored() {
    let later = [
        "probe = \"1%\"",
        "max_age = \"15m\"",
        "on_stale = \"half-open\"",
        "mode = \"watch\"",
        "refuse = [\"charge\"]",
        "max_open = \"100%\"",
        "max_keys = 10000",
    ];
    for setting in later {
        let text = format!("[[breaker]]\nname = \"a\"\nmonitors = {{ ids = [1] }}\n{setting}");
        let name = setting.split(' ').next().unwrap();
        let told = format!("line 4: {name} of breaker a is not yet supported by this version: remove it");
        assert_eq!(mistakes(&text), [told]);
    }
    let told = mistakes("revision = 7\n[[breaker]]\nname = \"a\"\nmonitors = { ids = [1] }");
    assert_eq!(told, ["line 1: revision of the file is not yet supported by this version: remove it"]);
}

#[test]
fn broken_syntax_is_told_with_its_line() {
    for (text, line) in [
        ("[[breaker]]\nname = \"a\nmonitors = { ids = [1] }", 2),
        ("[[breaker]]\nname = \"a\"\nname = \"b\"", 3),
        ("[[breaker]\nname = \"a\"", 1),
    ] {
        let told = mistakes(text);
        assert!(told.iter().any(|told| told.starts_with(&format!("line {line}: "))), "{text}\n{told:#?}");
    }
}
