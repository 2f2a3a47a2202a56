//! The command as people and programs use it: what it reads, what it prints, how it ends.

use crate::{Given, HANDLE, URL, blocks};
use cutout_cli::fake_datadog::{FakeDatadog, Fault};
use cutout_tests::binaries::binary;
use cutout_tests::process::Program;
use serde_json::{Value, json};
use std::path::Path;

const KEYS: [(&str, &str); 2] =
    [("DD_API_KEY", "canary-secret-dd-api-key"), ("DD_APP_KEY", "canary-secret-dd-app-key")];

/// Runs `cutout lint`: how it ends, and all its lines.
fn lint(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Program::command(&binary("cutout"), environment);
    command.arg("lint").args(arguments);
    let mut program = Program::start(command);
    let status = program.wait();
    program.read_to_end();
    (status.code().unwrap(), program.lines().join("\n"))
}

/// What it printed, without the line on standard error that says why it ended so.
fn printed(told: &str) -> String {
    told.lines().filter(|line| !line.starts_with("cutout: ")).collect::<Vec<_>>().join("\n")
}

/// A folder with files, and their paths.
struct Files(tempfile::TempDir);

impl Files {
    fn of(given: &Given) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.write("monitors.json", &format!("{:#}", given.monitor));
        files.write("breakers.toml", &given.breakers);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        Path::new(self.0.path()).join(name).to_str().unwrap().to_owned()
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn it_ends_with_0_where_all_is_right_1_where_something_is_wrong_2_where_it_cannot_tell() {
    let files = Files::of(&Given::right());
    files.write("wrong.json", &Given::right().message(|it| it.replace(HANDLE, "")).monitor.to_string());
    files.write("warned.json", &Given::right().with("draft_status", json!("draft")).monitor.to_string());
    files.write("noted.json", &Given::right().option("include_tags", json!(false)).monitor.to_string());
    files.write("broken.json", "{");
    files.write("other.json", "{\"a\": 1}");
    files.write("broken.toml", "[[breaker]]\nnam = \"b\"\n");
    files.write("accept.toml", "[[accept]]\nrule = \"draft\"\nreason = \"until the bank is live\"\n");
    files.write("vain.toml", "[[accept]]\nrule = \"draft\"\nreason = \" \"\n");
    files.write("unknown.toml", "[[accept]]\nrule = \"drafts\"\nreason = \"x\"\n");
    let path = |name: &str| files.path(name);
    for (arguments, code, told) in [
        (vec![path("monitors.json")], 0, "1 monitors, 0 breakers: 0 errors, 0 warnings, 0 notes"),
        (
            vec![path("monitors.json"), "--breakers".into(), path("breakers.toml"), "--strict".into()],
            0,
            "1 breakers",
        ),
        (vec![path("wrong.json")], 1, "error[handle-missing]"),
        (vec![path("monitors.json"), path("wrong.json")], 1, "2 monitors"),
        (vec![path("warned.json")], 0, "warning[draft]"),
        (vec![path("warned.json"), "--strict".into()], 1, "1 warnings"),
        (
            vec![path("warned.json"), "--strict".into(), "--accept".into(), path("accept.toml")],
            0,
            "1 accepted",
        ),
        (
            vec![path("monitors.json"), "--strict".into(), "--accept".into(), path("accept.toml")],
            1,
            "acceptance-unused",
        ),
        (vec![path("noted.json"), "--strict".into()], 0, "note[tags-hidden]"),
        (vec![path("monitors.json"), "--allow".into(), "a.example".into()], 1, "error[host-not-allowed]"),
        (vec![path("monitors.json"), "--handle".into(), "@sns-other".into()], 1, "error[handle-missing]"),
        (vec![path("monitors.json"), "--monitor".into(), "5200001".into()], 0, "1 monitors"),
        (vec![path("monitors.json"), "--monitor".into(), "7".into()], 2, "called 7"),
        (vec![path("none.json")], 2, "none.json"),
        (vec![path("broken.json")], 2, "not JSON"),
        (vec![path("other.json")], 2, "no monitor"),
        (vec![], 2, "no monitors to read"),
        (
            vec![path("monitors.json"), "--breakers".into(), path("broken.toml")],
            2,
            "line 2: unknown setting nam",
        ),
        (vec![path("monitors.json"), "--accept".into(), path("vain.toml")], 2, "line 2: the reason is empty"),
        (vec![path("monitors.json"), "--accept".into(), path("unknown.toml")], 2, "drafts"),
        (vec![path("monitors.json"), "--allow".into(), "https://a".into()], 2, "CUTOUT_CALLBACK_ALLOW"),
        (vec!["--datadog".into()], 2, "DD_API_KEY is not set"),
        (vec!["--no-such".into()], 2, "--no-such"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (ended, printed) = lint(&arguments, &[]);
        assert!(ended == code && printed.contains(told), "{arguments:?}: {ended}\n{printed}");
    }
}

#[test]
fn findings_are_told_for_people_programs_and_github() {
    let name = "Bank\n::error::100 %, \u{1b}[31m";
    let given = Given::right()
        .with("name", json!(name))
        .message(|it| it.replace("#is_recovery", "#is_no_data").replace("/is_recovery", "/is_no_data"));
    let files = Files::of(&given);
    let path = files.path("monitors.json");
    let line =
        1 + format!("{:#}", given.monitor).lines().position(|line| line.contains("\"message\"")).unwrap();

    let (ended, text) = lint(&[&path], &[]);
    assert_eq!(ended, 1);
    let first = format!(
        "{path}:{line}: error[no-directive-on-recovery] monitor 5200001 \"Bank\u{fffd}::error::100 %, \u{fffd}[31m\", message line 1"
    );
    assert!(printed(&text).starts_with(&first), "{text}");
    assert!(text.contains("why:  on ALERT to OK, WARN to OK") && text.contains("mend: "), "{text}");

    let (ended, json) = lint(&[&path, "--format", "json"], &[]);
    let json: Value = serde_json::from_str(&printed(&json)).unwrap();
    assert_eq!(
        (ended, &json["errors"], &json["monitors"], &json["hosts_judged"]),
        (1, &json!(1), &json!(1), &json!(false))
    );
    let finding = &json["findings"][0];
    assert_eq!(finding["monitor"], json!({"id": 5_200_001, "name": name, "address": null}));
    assert_eq!(
        (&finding["rule"], &finding["severity"]),
        (&json!("no-directive-on-recovery"), &json!("error"))
    );
    assert_eq!(
        (&finding["line"], &finding["message_line"], &finding["accepted"]),
        (&json!(line), &json!(1), &Value::Null)
    );

    let (ended, github) = lint(&[&path, "--format", "github"], &[]);
    assert_eq!(ended, 1);
    let commands: Vec<&str> = github.lines().filter(|line| line.starts_with("::")).collect();
    let [command] = &commands[..] else { panic!("one command, whatever the name holds:\n{github}") };
    let start =
        format!("::error file={path},line={line},title=cutout no-directive-on-recovery::monitor 5200001");
    assert!(command.starts_with(&start) && command.contains("100 %25"), "{command}");
}

#[test]
fn what_is_accepted_is_told_to_programs_with_its_reason() {
    let files = Files::of(&Given::right().with("draft_status", json!("draft")));
    let reason = "until the bank is live";
    files.write(
        "accept.toml",
        &format!("[[accept]]\nrule = \"draft\"\nmonitor = \"Bank API error rate\"\nreason = \"{reason}\"\n"),
    );
    let arguments = [
        &files.path("monitors.json"),
        "--accept",
        &files.path("accept.toml"),
        "--strict",
        "--format",
        "json",
    ];
    let (ended, json) = lint(&arguments, &[]);
    let json: Value = serde_json::from_str(&printed(&json)).unwrap();
    assert_eq!((ended, &json["warnings"], &json["findings"][0]["accepted"]), (0, &json!(0), &json!(reason)));
}

#[test]
fn the_fixed_text_is_printed_alone_and_lints_clean() {
    let given =
        Given::right().message(|_| format!("The bank fails.\ncircuit-breaker-callback: {URL}, {HANDLE}."));
    let files = Files::of(&given);
    let (ended, text) = lint(&[&files.path("monitors.json"), "--fix-text"], &[]);
    let usual = blocks(&["is_alert", "is_warning", "is_recovery"]);
    assert_eq!((ended, text.as_str()), (0, format!("{usual}\n\nThe bank fails.").as_str()));
    files.write("again.json", &given.with("message", json!(text)).monitor.to_string());
    let (ended, printed) = lint(&[&files.path("again.json"), "--strict"], &[]);
    assert_eq!(ended, 0, "{printed}");

    files.write("none.json", &Given::right().with("message", json!("")).monitor.to_string());
    let (ended, told) = lint(&[&files.path("none.json"), "--fix-text"], &[]);
    assert!(ended == 2 && told.contains("--url"), "{told}");
    let (ended, told) = lint(&[&files.path("none.json"), "--fix-text", "--url", URL], &[]);
    assert!(ended == 2 && told.contains("--handle"), "{told}");
    let (ended, told) =
        lint(&[&files.path("none.json"), "--fix-text", "--url", "http://a/", "--handle", HANDLE], &[]);
    assert!(ended == 2 && told.contains("plain http"), "{told}");
    let (ended, told) =
        lint(&[&files.path("none.json"), "--fix-text", "--url", URL, "--handle", HANDLE], &[]);
    assert_eq!((ended, told), (0, usual));
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_are_read_from_datadog_page_by_page_or_by_number() {
    let datadog = FakeDatadog::start().await.unwrap();
    let usual = blocks(&["is_alert", "is_warning", "is_recovery"]);
    for id in 1..=130 {
        datadog.create_monitor(id, &format!("bank {id}"), &["cutout"]);
        datadog.set_message(id, &usual);
    }
    datadog.set_message(130, "nothing");
    datadog.create_monitor(500, "unmanaged", &[]);
    let url = datadog.url();
    let environment = [&KEYS[..], &[("CUTOUT_DATADOG_URL", url.as_str())]].concat();
    let run = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tokio::task::block_in_place(|| lint(&arguments, &environment))
    };

    let (ended, told) = run(&["--datadog"]);
    assert!(ended == 1 && told.contains("130 monitors") && told.contains("2 errors"), "{told}");
    assert!(told.contains("Datadog: error[directive-missing] monitor 130 \"bank 130\""), "{told}");
    assert_eq!(datadog.reads().list, 3, "two pages, and the empty one that ends the list");

    let (ended, told) = run(&["--datadog", "--monitor", "500"]);
    assert!(ended == 1 && told.contains("error[tag-missing] monitor 500"), "{told}");
    let (ended, told) = run(&["--datadog", "--monitor", "bank 7"]);
    assert!(ended == 0 && told.contains("1 monitors"), "{told}");
    let (ended, told) = run(&["--datadog", "--monitor", "999"]);
    assert!(ended == 2 && told.contains("monitor 999"), "{told}");

    datadog.fail_monitor_reads(Some(Fault::BadGateway));
    let (ended, told) = run(&["--datadog"]);
    assert!(ended == 3 && told.contains("status 502"), "{told}");
    datadog.fail_monitor_reads(None);
    datadog.fail_list_page(1, Some(Fault::Forbidden));
    let (ended, told) = run(&["--datadog"]);
    assert!(ended == 4 && told.contains("page 1") && !told.contains("canary"), "{told}");
}
