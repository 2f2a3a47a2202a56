//! Words: one thing has one word, in code, logs, metrics, docs and the names of files. docs/contributing.md tells what each means;
//! here stands what others say for it, and where that is right because it means something else.
//!
//! A word counts as a whole and in any spelling: `kill switch` is also `KillSwitch`, `kill_switch` and the plural of each.
//! Left out: what is broken over two lines, and words that name so much else that they say nothing (`check`, `deny`, `rule`).

use crate::{files, root, text};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

/// Where the words are explained, by a table with one in each row.
const TABLE: &str = "docs/contributing.md";

/// A word of this house, and what is not said for it.
struct Word {
    say: &'static str,
    not: &'static [&'static str],
    /// Where: paths that begin so. None: everywhere.
    within: &'static [&'static str],
    /// What means something else, and what it means: a path that begins so, or the text around it, in lower case.
    but: &'static [(&'static str, &'static str)],
}

const ANYWHERE: Word = Word { say: "", not: &[], within: &[], but: &[] };

const ROOMS: &[&str] = &["cli/", "client/", "core/", "envoy/", "flags/", "lambda/", "service/", "tests/"];
const AWS: &str = "AWS's word";
const ENVOY: &str = "Envoy's word for what it does not take";
const LOCAL: &str = "the local breaker, which has words of its own";
const REDIS: &str = "Redis's word for a reader that waits";
const ROUND: &str = "the way to Redis and back";
const DATADOGS_WEBHOOK: &str = "Datadog's, a way in without SNS";
const OUTGOING: &str = "what tells people and programs of transitions";
const SIGNATURE: &str = "the standard by which callbacks are signed";
const SERVER_SENT: &str = "server-sent events";
const DATADOGS_EVENT: &str = "the event itself";

const WORDS: [Word; 15] = [
    Word {
        say: "monitor",
        not: &["alarm", "alarmed"],
        within: ROOMS,
        but: &[
            ("alarm on ", "what people should watch of Cutout itself"),
            ("and alarm beyond", "what people should watch of Cutout itself"),
            ("tests/aws/", "CloudWatch's, over Cutout itself"),
            ("foreign_cloudwatch_alarm", "a message that is not for us"),
        ],
    },
    Word {
        say: "status",
        not: &["group state"],
        but: &[("group_states", "a parameter of Datadog's")],
        ..ANYWHERE
    },
    Word { say: "state", not: &["breaker status", "flag status"], ..ANYWHERE },
    Word { say: "directive", not: &["callback line", "magic comment"], ..ANYWHERE },
    Word {
        say: "callback",
        not: &["webhook", "postback"],
        but: &[
            ("core/src/lib.rs", SIGNATURE),
            ("core/src/webhook.rs", SIGNATURE),
            ("webhook::", SIGNATURE),
            ("::webhook", SIGNATURE),
            (", webhook}", SIGNATURE),
            ("webhook.rs", SIGNATURE),
            ("webhook_headers", SIGNATURE),
            ("webhook-id", SIGNATURE),
            ("webhook-signature", SIGNATURE),
            ("tests/sim/src/forgeries/", SIGNATURE),
            ("standard webhooks", SIGNATURE),
            ("tests/trust/", SIGNATURE),
            ("docs/settings.md", OUTGOING),
            ("incoming webhook", OUTGOING),
            ("signed webhook", OUTGOING),
            ("service/src/notify/destination.rs", OUTGOING),
            ("tests/service/notify.rs", OUTGOING),
            ("@webhook", DATADOGS_WEBHOOK),
            ("datadog's webhook", DATADOGS_WEBHOOK),
            ("its webhook", DATADOGS_WEBHOOK),
            ("cli/src/dispatch", DATADOGS_WEBHOOK),
            ("cli/src/send", DATADOGS_WEBHOOK),
            ("docs/cli.md", DATADOGS_WEBHOOK),
            ("docs/install.md", DATADOGS_WEBHOOK),
            ("lambda/src/notification/message.rs", DATADOGS_WEBHOOK),
            ("tests/cli/dispatch.rs", DATADOGS_WEBHOOK),
            ("tests/lint/", DATADOGS_WEBHOOK),
            ("tests/wire/notifications.rs", DATADOGS_WEBHOOK),
        ],
        ..ANYWHERE
    },
    Word {
        say: "breaker",
        not: &["circuit", "kill switch"],
        but: &[
            ("circuit-breaker", "the word whole"),
            ("circuit_breaker", "the word whole"),
            ("circuit breaker", "the word whole"),
            ("circuitbreaker", "other breakers' names"),
            ("interrupts a circuit", "where the name comes from"),
            ("a switch in a circuit", "where the name comes from"),
            ("docs/peers.md", "what others do"),
        ],
        ..ANYWHERE
    },
    Word { say: "signal", not: &["vote"], ..ANYWHERE },
    Word {
        say: "override",
        not: &["manual", "manually"],
        but: &[("redirect: \"manual\"", "a browser's word")],
        ..ANYWHERE
    },
    Word { say: "flag", not: &["feature flag", "feature toggle", "toggle"], ..ANYWHERE },
    Word {
        say: "open",
        not: &["trip", "tripped", "tripping"],
        but: &[
            ("round trip", ROUND),
            ("round_trip", ROUND),
            ("tests/benches/commit.rs", ROUND),
            ("client/src/call", LOCAL),
            ("client/src/lib.rs", LOCAL),
            ("client/src/local", LOCAL),
            ("client/src/metrics.rs", LOCAL),
            ("client/src/reqwest.rs", LOCAL),
            ("client/src/snapshot.rs", LOCAL),
            ("client/src/tally.rs", LOCAL),
            ("client/src/tower.rs", LOCAL),
            ("client/src/upstream", LOCAL),
            ("docs/client.md", LOCAL),
            ("docs/decisions.md", LOCAL),
            ("local breaker trips", LOCAL),
            ("process trips by itself", LOCAL),
            ("which would never trip", LOCAL),
            ("tests/calls/", LOCAL),
            ("tests/examples/", LOCAL),
            ("docs/peers.md", "what others do"),
        ],
        ..ANYWHERE
    },
    Word {
        say: "ramp",
        not: &["slow start", "warm up"],
        but: &[("docs/peers.md", "what others do"), ("tests/benches/", "before what is measured")],
        ..ANYWHERE
    },
    Word {
        say: "probe",
        not: &["trial", "health probe", "liveness probe", "readiness probe"],
        but: &[
            ("client/src/local", LOCAL),
            ("client/src/snapshot.rs", LOCAL),
            ("client/src/upstream", LOCAL),
            ("docs/client.md", LOCAL),
            ("docs/decisions.md", LOCAL),
            ("tests/calls/", LOCAL),
        ],
        ..ANYWHERE
    },
    Word {
        say: "refused",
        not: &["blocked", "denied", "reject", "rejected", "short circuit"],
        but: &[
            ("docs/benchmarks.md", REDIS),
            ("docs/redis.md", REDIS),
            ("read that blocked", REDIS),
            ("tests/stores/", REDIS),
            ("envoy rejects", ENVOY),
            ("docs/envoy.md", ENVOY),
            ("envoy/src/", ENVOY),
            ("tests/mesh/", ENVOY),
            ("accessdenied", AWS),
            ("cli/src/aws.rs", AWS),
            ("infra/terraform/roles.tf", AWS),
            ("interfaces are denied", AWS),
            ("tests/aws/", AWS),
            ("warnings denied", "the compiler's word"),
        ],
        ..ANYWHERE
    },
    Word {
        say: "watch mode",
        not: &["audit mode", "dry run", "monitor mode", "observe mode", "shadow mode"],
        but: &[
            ("mode = \\\"dry-run\\\"", "a mode that does not exist"),
            ("tests/aws/", "`cutout redrive` without `--send`"),
        ],
        ..ANYWHERE
    },
    Word {
        say: "event",
        not: &["event"],
        // The function is handed events by AWS, and the command by the service's streams.
        within: &["client/", "core/", "envoy/", "flags/", "service/"],
        but: &[
            ("eventseen", DATADOGS_EVENT),
            ("core/src/plan.rs", DATADOGS_EVENT),
            ("core/src/report.rs", DATADOGS_EVENT),
            ("flags/src/audit.rs", DATADOGS_EVENT),
            ("service/src/api/history.rs", DATADOGS_EVENT),
            ("service/src/api/model.rs", DATADOGS_EVENT),
            ("service/src/apply.rs", DATADOGS_EVENT),
            ("service/src/decision.rs", DATADOGS_EVENT),
            ("service/src/notify/message.rs", DATADOGS_EVENT),
            ("service/src/page/assets/page.js", "a browser's word"),
            ("service/src/page/", DATADOGS_EVENT),
            ("service/src/tests.rs", DATADOGS_EVENT),
            ("service/src/api/live.rs", SERVER_SENT),
            ("client/benches/tripswitch/", SERVER_SENT),
            ("flatten_event", "tracing's word for a line of the log"),
        ],
    },
];

/// Texts that others wrote, by how their path begins or ends.
const FOREIGN: [&str; 5] = [".lock", "-lock.json", "LICENSE", "tests/corpus/", "tests/fixtures/"];
const THIS: &str = "tests/house/words.rs";
/// Words in a name that say nothing of what it does.
const EMPTY: [&str; 8] = ["helper", "helpers", "manager", "managers", "misc", "processor", "util", "utils"];

/// A file that speaks our language.
struct Spoken {
    file: String,
    /// Its name, so that this is line 0, and its text.
    lines: String,
    lower: String,
}

impl Spoken {
    fn new(file: String, text: &str) -> Spoken {
        let lines = format!("{file}\n{text}");
        Spoken { file, lower: lines.to_ascii_lowercase(), lines }
    }
}

/// What is no text says nothing.
fn spoken() -> &'static [Spoken] {
    static SPOKEN: OnceLock<Vec<Spoken>> = OnceLock::new();
    SPOKEN.get_or_init(read)
}

fn read() -> Vec<Spoken> {
    let named = files("").into_iter().filter_map(|file| file.to_str().map(str::to_owned));
    let is_ours = |file: &String| {
        file != THIS && !FOREIGN.iter().any(|edge| file.starts_with(edge) || file.ends_with(edge))
    };
    let read =
        |file: String| std::fs::read_to_string(root().join(&file)).ok().map(|text| Spoken::new(file, &text));
    named.filter(is_ours).filter_map(read).collect()
}

/// Where the words of a line stand: `HTTPServer_2` has three. What `'s` belongs to is a word alone.
fn words(line: &str) -> Vec<Range<usize>> {
    let bytes = line.as_bytes();
    let is = |at: Option<usize>, kind: fn(&u8) -> bool| at.and_then(|at| bytes.get(at)).is_some_and(kind);
    let begins = |at: usize| {
        let (before, after) = (at.checked_sub(1), Some(at + 1));
        let is_hump = is(Some(at), u8::is_ascii_uppercase)
            && (!is(before, u8::is_ascii_uppercase) || is(after, u8::is_ascii_lowercase));
        is_hump || !is(before, u8::is_ascii_alphanumeric)
    };
    let mut words: Vec<Range<usize>> = Vec::new();
    for at in (0..bytes.len()).filter(|at| is(Some(*at), u8::is_ascii_alphanumeric)) {
        match words.last_mut() {
            Some(last) if !begins(at) => last.end = at + 1,
            _ => words.push(at..at + 1),
        }
    }
    words.retain(|word| &line[word.clone()] != "s" || !line[..word.start].ends_with('\''));
    words
}

/// Where a line says a phrase: one word or more, the last of them also with an s.
fn said(line: &str, phrase: &str) -> Vec<Range<usize>> {
    let lower = line.to_ascii_lowercase();
    let phrase: Vec<&str> = phrase.split(' ').collect();
    let (last, first) = phrase.split_last().unwrap();
    let is_joined =
        |pair: &[Range<usize>]| ["", " ", "-", "_", "'s "].contains(&&lower[pair[0].end..pair[1].start]);
    let is_said = |of: &&[Range<usize>]| {
        let mut spelt = of.iter().map(|word| &lower[word.clone()]);
        let is_begun = first.iter().all(|word| spelt.next() == Some(word));
        let spelt = spelt.next().unwrap_or_default();
        is_begun && (spelt == *last || spelt.strip_suffix('s') == Some(last)) && of.windows(2).all(is_joined)
    };
    words(line).windows(phrase.len()).filter(is_said).map(|of| of[0].start..of[of.len() - 1].end).collect()
}

/// What a file says for a word: in which line, and which exception lets it.
fn found<'w>(word: &'w Word, spoken: &Spoken) -> Vec<(usize, &'w str, Option<&'w str>)> {
    let mut found = Vec::new();
    let may_be = |text: &str, not: &str| text.contains(not.split(' ').next().unwrap());
    for not in word.not.iter().filter(|not| may_be(&spoken.lower, not)) {
        let lines = spoken.lines.lines().zip(spoken.lower.lines()).enumerate();
        for (nth, (line, lower)) in lines.filter(|(_, (_, lower))| may_be(lower, not)) {
            for at in said(line, not) {
                let stands_within = |but: &str| {
                    lower.match_indices(but).any(|(from, _)| (from..from + but.len()).contains(&at.start))
                };
                let lets = |but: &&str| spoken.file.starts_with(but) || stands_within(but);
                found.push((nth, *not, word.but.iter().map(|(but, _)| *but).find(lets)));
            }
        }
    }
    found
}

#[test]
fn one_thing_has_one_word() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for spoken in spoken() {
        let file = &spoken.file;
        let is_asked =
            |word: &&Word| word.within.is_empty() || word.within.iter().any(|room| file.starts_with(room));
        for word in WORDS.iter().filter(is_asked) {
            for (line, not, exception) in found(word, spoken) {
                match exception {
                    Some(exception) => _ = used.insert((word.say, exception)),
                    None => wrong.push(format!(
                        "{file}:{line}: `{not}`: say `{}`, and mean what {TABLE} says",
                        word.say
                    )),
                }
            }
        }
    }
    wrong.dedup(); // of a line that says it twice
    assert!(wrong.is_empty(), "another word, or one that means something else here:\n{}", wrong.join("\n"));
    for word in &WORDS {
        for (exception, why) in word.but {
            assert!(
                used.contains(&(word.say, exception)),
                "{exception} ({why}) is excepted in vain: {}",
                word.say
            );
        }
    }
}

#[test]
fn every_word_that_is_asked_for_is_explained() {
    let table = text(Path::new(TABLE));
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let explained: Vec<&str> = rows.flat_map(|cell| cell.split(", ")).collect();
    for word in &WORDS {
        assert!(explained.contains(&word.say), "{TABLE} does not explain `{}`: {explained:?}", word.say);
    }
}

/// What a line declares, if it is a type or a module.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let is_keyword = |word: &&str| ["struct", "enum", "trait", "type", "mod"].contains(word);
    let name = words.by_ref().skip_while(|word| !is_keyword(word)).nth(1);
    name.filter(|_| !line.starts_with("//") && !line.contains('"'))
}

fn is_empty(name: &str) -> bool {
    words(name).into_iter().any(|word| EMPTY.contains(&name[word].to_ascii_lowercase().as_str()))
}

#[test]
fn names_say_something() {
    for Spoken { file, lines, .. } in spoken() {
        assert!(!is_empty(file), "{file} says nothing about what stands in it");
        let lines = lines.lines().enumerate().filter(|_| file.ends_with(".rs"));
        for (nth, name) in lines.filter_map(|(nth, line)| Some((nth, declared(line)?))) {
            assert!(!is_empty(name), "{file}:{nth}: {name} says nothing about what it does");
        }
    }
}

#[test]
fn what_counts_as_said() {
    let times = |phrase, line| said(line, phrase).len();
    assert_eq!(
        times("kill switch", "KillSwitch, kill_switches? kill-switch; a kill switch and KILL_SWITCHS"),
        4
    );
    assert_eq!(
        times("breaker status", "the breaker's status, but breaker(status) and no breaker. Status"),
        1
    );
    assert_eq!(times("trip", "strips, Tripwire, tripswitch, triple"), 0, "no whole word");
    assert_eq!(times("trip", "LocalTrip, local_trips_total, `trips`"), 3);
    assert_eq!(
        times("server", "HTTPServer2 ブレーカーserver。"),
        1,
        "a number belongs to the word before it"
    );
    let word =
        Word { say: "open", not: &["trip"], but: &[("round trip", ROUND), ("client/", LOCAL)], ..ANYWHERE };
    let exceptions = |file: &str, text: &str| -> Vec<_> {
        found(&word, &Spoken::new(file.to_owned(), text))
            .into_iter()
            .map(|(line, _, exception)| (line, exception))
            .collect()
    };
    assert_eq!(
        exceptions("core/trip.rs", "one\na round trip, a trip"),
        [(0, None), (2, Some("round trip")), (2, None)]
    );
    assert_eq!(exceptions("client/x.rs", "trips"), [(1, Some("client/"))]);
    assert!(is_empty("KeyManager") && is_empty("client/src/util.rs") && is_empty("IdProcessorPool"));
    assert!(!is_empty("Utility") && !is_empty("SecretsManaged"));
    assert_eq!(declared("    pub(crate) struct Room<'a> {"), Some("Room"));
    assert_eq!(declared("// a type of room"), None);
}
