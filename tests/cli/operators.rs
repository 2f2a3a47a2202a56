//! The operators' commands against a running service on a real Redis: what they print, and the code that they end with.

use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::doubles::{Answer, Double};
use cutout_tests::process::Program;
use cutout_tests::redis::RedisServer;
use cutout_tests::rig::{Kept, Rig};
use cutout_tests::service::ServiceProcess;
use serde_json::{Value, json};
use std::process::Command;

const BREAKERS: &str = r#"
revision = 3

[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "0s"

[[breaker]]
name = "fleet"
monitors = { ids = [5200003] }
mode = "watch"
"#;

struct World {
    service: ServiceProcess,
    _redis: RedisServer,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) told: String,
}

impl World {
    fn start() -> World {
        World::start_at("127.0.0.1:0")
    }

    /// With operators served at this address.
    fn start_at(listen: &str) -> World {
        let redis = RedisServer::start();
        let operators = canary::operators();
        let more = [("CUTOUT_OPERATORS", operators.as_str()), ("CUTOUT_OPERATORS_LISTEN", listen)];
        let service = ServiceProcess::start(&redis.url(), BREAKERS, &more);
        // The API answers once the flags were read.
        let _ = service.lines_at_least(1, "declared");
        let world = World { service, _redis: redis };
        cutout_tests::process::until("the API answers", || world.ann(&["status"]).code == 0);
        world
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.operators_at())
    }

    fn command(&self, token: &str, arguments: &[&str]) -> Program {
        command_at(&self.url(), token, arguments)
    }

    fn run(&self, token: &str, arguments: &[&str]) -> Ended {
        run_at(&self.url(), token, arguments)
    }

    fn ann(&self, arguments: &[&str]) -> Ended {
        self.run(canary::OPERATOR_TOKEN, arguments)
    }

    fn bob(&self, arguments: &[&str]) -> Ended {
        self.run(canary::OTHER_OPERATOR_TOKEN, arguments)
    }
}

/// The command against the service at `url`.
fn command_at(url: &str, token: &str, arguments: &[&str]) -> Program {
    let path = std::env::var("PATH").unwrap();
    let environment = [("CUTOUT_URL", url), ("CUTOUT_TOKEN", token), ("PATH", path.as_str())];
    let mut command = Program::command(&binary("cutout"), &environment);
    command.args(arguments);
    Program::start(command)
}

fn run_at(url: &str, token: &str, arguments: &[&str]) -> Ended {
    let mut program = command_at(url, token, arguments);
    let code = program.wait().code().unwrap();
    program.read_to_end();
    Ended { code, told: program.lines().join("\n") }
}

impl Ended {
    /// It ended so, and told all of this.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, told: &[&str]) {
        assert_eq!(self.code, code, "{}", self.told);
        for told in told {
            assert!(self.told.contains(told), "{told:?} is missing in:\n{}", self.told);
        }
    }

    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.told);
        serde_json::from_str(&self.told).unwrap_or_else(|_| panic!("no JSON: {}", self.told))
    }
}

#[test]
fn people_force_and_end_and_read_who_did() {
    let world = World::start();
    world.ann(&["status", "bank-charge/0001"]).is(0, &["is closed", "touched"]);
    world.ann(&["status", "--fail-if-open"]).is(0, &["0 open"]);

    let open = ["open", "bank-charge/0001", "--why", "the bank has maintenance", "--until", "30m"];
    world
        .ann(&open)
        .is(0, &["bank-charge/0001  open", "forced open by ann until", "the bank has maintenance"]);
    world.ann(&["status"]).is(0, &["bank-charge/0001  open", "1 open, 0 half-open, 0 closed"]);
    world.ann(&["status", "--fail-if-open"]).is(1, &["1 open"]);
    world.ann(&["status", "bank-charge/0001", "--fail-if-open"]).is(1, &["open"]);
    world.ann(&["status", "--name", "fleet", "--fail-if-open"]).is(0, &["0 open"]);
    world.ann(&["status", "--state", "closed"]).is(0, &["0 open, 0 half-open, 0 closed"]);
    let listed = world.ann(&["status", "--overridden", "--json"]).json();
    assert_eq!(listed["items"][0]["override"]["state"], "open", "{listed}");
    assert_eq!(listed["service"]["revision"], 3, "{listed}");

    let clear = ["clear", "bank-charge/0001", "--why", "maintenance is over"];
    world.ann(&clear).is(0, &["bank-charge/0001  half-open"]);
    world.ann(&clear).is(1, &["nobody forces"]);
    let close = ["close", "fleet", "--why", "known", "--until", "never", "--json"];
    assert_eq!(world.ann(&close).json()["forced_by"]["why"], "known");

    let history = world.ann(&["history"]);
    history.is(
        0,
        &["closed -> open  force by ann: the bank has maintenance", "clear by ann: maintenance is over"],
    );
    let newest = world.ann(&["history", "fleet", "--limit", "1", "--json"]).json();
    assert_eq!((&newest["breaker"], &newest["cause"]["why"]), (&"fleet".into(), &"known".into()));
    let export = world.ann(&["history", "--export"]);
    export.is(0, &[]);
    let lines: Vec<Value> = export.told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{}", export.told);
    let after = lines[1]["id"].as_str().unwrap();
    let rest = world.ann(&["history", "--export", "--after", after]);
    assert_eq!(rest.told.lines().count(), 1, "{}", rest.told);
}

/// A service that has not reached its store for long shows the last that it knows; a test cannot wait for that, so a stand-in says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whether_anything_is_open_is_not_told_from_a_list_that_is_old() {
    let api = Double::start("127.0.0.1").await;
    let json = |body: Value| [Answer::new(200, body.to_string()).header("content-type", "application/json")];
    let item = |state: &str| json!({"breaker": "fleet", "state": state, "since": "2026-11-21T01:15:18Z"});
    api.answer("/v1/pause", json(json!({"pause": null})));
    let ended = |age_ms: i64, state: &str| {
        api.answer("/v1/status", json(json!({"now": "2026-11-21T01:20:00Z", "age_ms": age_ms, "losses": 0})));
        api.answer("/v1/breakers", json(json!({"items": [item(state)], "next": null})));
        run_at(&api.url(), canary::VIEWER_TOKEN, &["status", "--fail-if-open"])
    };
    ended(89_999, "closed").is(0, &["0 open"]);
    ended(89_999, "open").is(1, &["1 open"]);
    for state in ["open", "closed", "half-open"] {
        ended(90_000, state).is(3, &[&format!("fleet  {state}"), "nobody can tell what is open now"]);
    }
    run_at(&api.url(), canary::VIEWER_TOKEN, &["status"]).is(0, &["what follows is that old"]);
}

#[test]
fn two_operators_do_not_undo_each_other_unseen() {
    let world = World::start();
    let forced = world.ann(&["open", "fleet", "--why", "mine", "--until", "1h", "--json"]).json();
    let close = ["close", "fleet", "--why", "no, mine", "--until", "1h"];
    world.bob(&close).is(1, &["--expect", "--force", "request"]);
    world.bob(&[&close[..], &["--expect", "e-1"]].concat()).is(1, &["look again"]);
    let version = forced["version"].as_str().unwrap();
    world.bob(&[&close[..], &["--expect", version]].concat()).is(0, &["forced closed by bob"]);
    world.ann(&["clear", "fleet", "--why", "enough", "--force"]).is(0, &[]);
    // Also where nobody has decided, and nothing was there yet.
    let untouched = ["open", "bank-charge/0077", "--why", "drill", "--until", "1h", "--force"];
    world.bob(&untouched).is(0, &["bank-charge/0077  open"]);
}

#[test]
fn a_pause_is_set_shown_and_ended() {
    let world = World::start();
    world.ann(&["resume", "--why", "x"]).is(1, &["not paused"]);
    world
        .ann(&["pause", "--why", "Datadog lies", "--until", "2h"])
        .is(0, &["paused by ann until", "Datadog lies"]);
    world.ann(&["status"]).is(0, &["PAUSED by ann until", "Datadog lies"]);
    world.bob(&["resume", "--why", "no"]).is(1, &["--force"]);
    world.ann(&["resume", "--why", "it is well again"]).is(0, &["ended"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_max_open_holds_is_shown_and_released() {
    let rig = Rig::start(Kept::Redis).await;
    let url = format!("http://{}", rig.operators_at());
    let ann = |arguments: &[&str]| run_at(&url, canary::OPERATOR_TOKEN, arguments);
    let release = ["release", "bank-charge/0001", "--why", "x"];
    ann(&release).is(1, &["max_open does not hold breaker bank-charge/0001"]);
    // `capped` may open a third of its keys.
    rig.say(5_200_002, &[("a", "Alert"), ("b", "Alert"), ("c", "OK")]).await;
    let held = rig.until_held().await;
    ann(&["status", "--held"]).is(0, &[&held, "held by max_open", "0 open, 0 half-open, 1 closed"]);
    ann(&["release", &held, "--why", "it is real"]).is(0, &[&format!("{held}  open")]);
    rig.until_state(&held, "open").await;
    ann(&["status", "--held"]).is(0, &["0 open, 0 half-open, 0 closed"]);
    ann(&["history", &held]).is(0, &["closed -> open  release by ann: it is real"]);
    ann(&["release", &held, "--why", "again"]).is(1, &["max_open does not hold"]);
}

#[test]
fn a_fault_is_set_shown_and_cleared() {
    let world = World::start();
    let set = ["fault", "set", "bank-charge/0001", "--why", "does the till fall back?", "--until", "10m"];
    let with = |more: &[&'static str]| [&set[..], more].concat();
    let both = with(&["--abort", "10%", "--delay", "300ms", "--delay-share", "2.5%"]);
    let told = "fault by ann: 10 % end unsent, 2.5 % wait 300 ms: does the till fall back?";
    world.ann(&both).is(0, &["bank-charge/0001  closed", "a fault is injected until", told]);
    world.ann(&["status", "bank-charge/0001"]).is(0, &[told]);
    world.ann(&["history"]).is(0, &["inject by ann: does the till fall back?"]);
    // Somebody else's is replaced by who has seen it, and ended by anybody.
    let marked = with(&["--abort", "100%", "--header", "x-drill: yes"]);
    world.bob(&marked).is(1, &["--expect", "--force"]);
    world
        .bob(&[&marked[..], &["--force"]].concat())
        .is(0, &["fault by bob", "of requests with x-drill: yes"]);
    let clear = ["fault", "clear", "bank-charge/0001", "--why", "it does"];
    let cleared = world.ann(&[&clear[..], &["--json"]].concat()).json();
    assert!(cleared["fault"].is_null() && cleared["fault_by"].is_null(), "{cleared}");
    world.ann(&clear).is(1, &["no fault"]);

    world.ann(&set).is(2, &["--abort"]);
    world.ann(&with(&["--delay", "1s"])).is(2, &["--delay-share"]);
    world.ann(&with(&["--abort", "10"])).is(2, &["a share is from 0% to 100%"]);
    world.ann(&with(&["--abort", "60%"])).is(1, &["at most 500000 of a million"]);
    world.ann(&["fault", "set", "fleet", "--abort", "1%", "--why", "x"]).is(2, &["--until"]);
    let never = ["fault", "set", "fleet", "--abort", "1%", "--why", "x", "--until", "never"];
    world.ann(&never).is(1, &["a fault has an end"]);
    world.run(canary::VIEWER_TOKEN, &with(&["--abort", "1%"])).is(4, &[]);
}

#[test]
fn each_mistake_has_its_code_and_says_what_to_do() {
    let world = World::start();
    let open = ["open", "fleet", "--why", "x", "--until", "1m"];
    world.run(canary::VIEWER_TOKEN, &open).is(4, &[]);
    world.run("a-token-that-nobody-has-drawn", &["status"]).is(4, &["CUTOUT_TOKEN or --token-file"]);
    world.run("", &["status"]).is(2, &["CUTOUT_TOKEN", "--token-file"]);
    world.ann(&["status", "no-such-breaker"]).is(1, &["no breaker no-such-breaker is declared"]);
    world.ann(&["status", "bank-charge"]).is(1, &["bank-charge/<bank_code>"]);
    world.ann(&["status", "bank-charge/.."]).is(2, &["bank-charge/0001"]);
    world.ann(&["open", "fleet", "--until", "1m"]).is(2, &["--why"]);
    world.ann(&["open", "fleet", "--why", " ", "--until", "1m"]).is(1, &["why is a reason"]);
    world.ann(&["open", "fleet", "--why", "x", "--until", "soon"]).is(1, &["until is a time"]);
    world.ann(&["status", "--url", "http://127.0.0.1:1"]).is(3, &["cannot be reached"]);
    world.ann(&["status", "--url", "ftp://127.0.0.1"]).is(2, &["http://"]);
    let callbacks = format!("http://{}", world.service.at());
    world.ann(&["status", "--url", &callbacks]).is(1, &["operators' address"]);
}

#[test]
fn a_token_in_a_file_does_as_well_and_is_never_shown() {
    let world = World::start();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", canary::OPERATOR_TOKEN)).unwrap();
    let file = file.to_str().unwrap();
    world.run("", &["status", "--token-file", file]).is(0, &["0 open"]);
    let ended = world.run("", &["status", "--token-file", file, "--url", "http://ann:canary-secret-x@h/"]);
    ended.is(2, &["no login"]);
    assert!(!ended.told.contains("canary"), "{}", ended.told);
}

#[test]
fn colours_are_for_terminals_and_what_others_wrote_moves_no_cursor() {
    let world = World::start();
    let why = "x\u{1b}[2Jgone";
    let piped = world.ann(&["open", "fleet", "--why", why, "--until", "1m"]);
    assert!(piped.code == 0 && !piped.told.contains('\u{1b}'), "{:?}", piped.told);
    // `script` gives it a terminal.
    let on_terminal = |no_colour: &str| {
        let line = format!("{} status fleet", binary("cutout").display());
        let output = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env_clear()
            .envs([("CUTOUT_URL", world.url().as_str()), ("CUTOUT_TOKEN", canary::VIEWER_TOKEN)])
            .envs([("NO_COLOR", no_colour), ("TERM", "xterm"), ("SHELL", "/bin/sh")])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let coloured = on_terminal("");
    assert!(coloured.contains("\u{1b}[32mclosed"), "{coloured:?}");
    assert!(!coloured.contains("\u{1b}[2J") && coloured.contains("gone"), "{coloured:?}");
    assert!(!on_terminal("1").contains('\u{1b}'));
}

#[test]
fn watch_shows_changes_outlives_the_service_and_ends_by_ctrl_c() {
    // An address that the service comes back at.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut world = World::start_at(&free);
    world.ann(&["open", "bank-charge/0001", "--why", "x", "--until", "1h"]).is(0, &[]);
    let mut all = world.command(canary::VIEWER_TOKEN, &["watch"]);
    let one = world.command(canary::VIEWER_TOKEN, &["watch", "fleet", "--json"]);
    let shows = |watch: &Program, skip: usize, text: &'static str| {
        watch.wait_for(text, skip, |line| line.to_string().contains(text).then_some(()));
    };
    shows(&all, 0, "bank-charge/0001");
    shows(&one, 0, "reset");
    let seen = all.count();
    world.ann(&["close", "fleet", "--why", "x", "--until", "1h"]).is(0, &[]);
    shows(&all, seen, "forced closed");
    let flag = one.wait_for("the flag", 0, |line| (line["event"] == "flag").then(|| line["data"].clone()));
    assert_eq!(flag["breaker"], "fleet");

    let seen = all.count();
    world.service.kill_and_restart();
    shows(&all, seen, "coming back");
    shows(&all, seen, "connected again");
    cutout_tests::process::until("the API answers again", || world.ann(&["status"]).code == 0);
    world.ann(&["open", "bank-charge/0002", "--why", "x", "--until", "1h"]).is(0, &[]);
    shows(&all, seen, "bank-charge/0002");
    // Taken up where it ended: what has not changed since is not told again.
    assert!(!all.lines()[seen..].iter().any(|line| line.contains("bank-charge/0001")), "{:?}", all.lines());
    assert!(one.lines().iter().all(|line| !line.contains("bank-charge")), "{:?}", one.lines());

    let interrupted = Command::new("kill").args(["-INT", &all.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(all.wait().code(), Some(0));
    let mut refused = world.command("a-token-that-nobody-has-drawn", &["watch"]);
    assert_eq!(refused.wait().code(), Some(4));
}
