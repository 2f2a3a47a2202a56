//! The breakers' file: whole, and with mistakes, all told at once.

use super::*;

const WHOLE: &str = r#"
revision = 7

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
max_age  = "10m"
on_stale = "close"
probe    = "0.5%"
mode     = "watch"
refuse   = ["charge", "Pre-Auth"]
max_open = "40%"
max_keys = 12
drill = true

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
    let Breakers { revision, declarations } = parse("b.toml", WHOLE).unwrap();
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
            max_age_ms: 600_000,
            on_stale: OnStale::Close,
            probe_ppm: 5_000,
            mode: Mode::Watch,
            refuse: set(&["charge", "Pre-Auth"]),
            max_open_ppm: 400_000,
            max_keys: 12,
            drill: true,
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
            max_age_ms: 900_000,
            on_stale: OnStale::HalfOpen,
            probe_ppm: 10_000,
            mode: Mode::Enforce,
            refuse: BTreeSet::new(),
            max_open_ppm: 1_000_000,
            max_keys: 10_000,
            drill: false,
        },
    };
    assert_eq!((revision, declarations), (7, vec![bank, cards]));
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
#[allow(clippy::too_many_lines, reason = "a table")]
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
        (breaker("open_on = []"), 4, "open_on is empty"),
        (breaker("open_on = [\"alert\", \"Warn\"]"), 4, "an entry of open_on is one of alert, warn"),
        (breaker("max_age = \"4m\""), 4, "max_age is from 5m to 168h, not 4m"),
        (breaker("on_stale = \"open\""), 4, "on_stale is one of half-open, hold, close"),
        (breaker("probe = 1"), 4, "probe is a text, not this integer"),
        (breaker("probe = \"101%\""), 4, "probe is from 0% to 100%"),
        (breaker("probe = \"-1%\""), 4, "probe is from 0% to 100%"),
        (breaker("probe = \"1e1%\""), 4, "probe is from 0% to 100%"),
        (breaker("max_open = \"50\""), 4, "max_open is from 0% to 100%, such as 1% or 0.5%, not \"50\""),
        (breaker("mode = \"dry-run\""), 4, "mode is one of enforce, watch"),
        (breaker("refuse = []"), 4, "refuse is empty: leave it out"),
        (breaker("refuse = [\" \"]"), 4, "an entry of refuse is empty"),
        (breaker("drill = \"yes\""), 4, "drill is true or false, without quotes"),
        (breaker("max_keys = 0"), 4, "max_keys is a whole number from 1 to 1000000"),
        (format!("revision = -1\n{}", breaker("")), 1, "revision is a whole number from 1"),
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
fn the_designs_own_spellings_are_read() {
    let text = |open_on: &str| {
        format!(
            "[[breaker]]\nname = \"a\"\nmonitors = {{ ids = [1] }}\nopen_on = {open_on}\nmax_open = \"100%\""
        )
    };
    for (open_on, expected) in [
        ("[\"alert\"]", OpenOn::Alert),
        ("[\"alert\", \"warn\"]", OpenOn::Warn),
        ("[\"warn\"]", OpenOn::Warn),
        ("\"warn\"", OpenOn::Warn),
    ] {
        let policy = parse("b.toml", &text(open_on)).unwrap().declarations.remove(0).policy;
        assert_eq!((policy.open_on, policy.max_open_ppm), (expected, 1_000_000), "{open_on}");
    }
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

#[test]
fn each_breakers_line_is_known() {
    assert_eq!(lines(WHOLE), BTreeMap::from([("bank-charge".to_owned(), 5), ("cards".to_owned(), 25)]));
    assert!(lines("[[breaker]]\nkey = [").is_empty());
}

/// The annotated file in docs/settings.md.
fn told() -> String {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, part) = page.split_once("## The breakers' file\n\n```toml\n").expect("a file is shown");
    part.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_reference_shows_every_setting_and_what_it_is_by_default() {
    let told = told();
    for setting in SETTINGS {
        let is_shown = |line: &str| line.split(['=', ' ']).next() == Some(setting);
        assert_eq!(told.lines().filter(|line| is_shown(line)).count(), 1, "{setting}");
    }
    // What is shown for these is no default.
    let examples = ["revision", "where", "refuse"];
    let defaults = |line: &&str| !examples.iter().any(|example| line.starts_with(example));
    let shown: Vec<&str> = told.lines().filter(defaults).collect();
    let needed = ["[[breaker]]", "name", "key", "monitors"];
    let bare: Vec<&str> =
        shown.iter().copied().filter(|line| needed.iter().any(|word| line.starts_with(word))).collect();
    assert!(bare.len() + 10 < shown.len(), "{bare:?}");
    let read = |lines: &[&str]| parse("shown", &lines.join("\n")).unwrap().declarations;
    assert_eq!(read(&shown), read(&bare));
}
