//! The `cutout` command as a person uses it: what it prints, and how it ends.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod dispatch;
mod document;
mod drill;
mod operators;
mod tutorial;

use cutout_tests::binaries::binary;
use cutout_tests::process::{PATIENCE, Program};
use cutout_tests::redis::RedisServer;
use serde_json::Value;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

fn cutout(arguments: &[&str]) -> Program {
    let path = std::env::var("PATH").unwrap();
    let mut command = Program::command(&binary("cutout"), &[("PATH", path.as_str())]);
    command.args(arguments);
    Program::start(command)
}

/// Runs a command to its end: whether it succeeded, and all its lines.
fn run(arguments: &[&str]) -> (bool, String) {
    let mut program = cutout(arguments);
    let succeeded = program.wait().success();
    program.read_to_end();
    (succeeded, program.lines().join("\n"))
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn fixture(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/constructed/sns").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_demo_shows_every_step_on_memory_and_on_redis() {
    let redis = RedisServer::start();
    for arguments in [&["demo"][..], &["demo", "--redis", &redis.url()]] {
        let (succeeded, told) = run(arguments);
        assert!(succeeded, "{told}");
        for step in [
            "bank 0002 goes down",
            "is open",
            "the others go on",
            "is half-open",
            "is closed",
            "Every step was as it should be",
        ] {
            assert!(told.contains(step), "{step} is missing in:\n{told}");
        }
    }
}

#[test]
fn the_demo_without_its_redis_ends_with_an_error_that_says_so() {
    let (succeeded, told) = run(&["demo", "--redis", "redis://127.0.0.1:1"]);
    assert!(!succeeded && told.contains("cannot be reached"), "{told}");
}

#[test]
fn one_event_is_fed_and_what_came_of_it_is_told() {
    let (succeeded, told) = run(&["demo", "--event", &fixture("two_records.json")]);
    assert!(succeeded && told.contains("monitor-7300001/0001/prod is open"), "{told}");
    assert!(told.contains("monitor-7300001/0002/prod is open"), "{told}");

    let (succeeded, told) = run(&["demo", "--event", &fixture("text_hide_all_no_ids.json")]);
    assert!(!succeeded && told.contains("hide_all"), "{told}");

    let (succeeded, told) = run(&["demo", "--event", "no-such-file.json"]);
    assert!(!succeeded && told.contains("no-such-file.json"), "{told}");
}

#[tokio::test]
async fn dev_takes_messages_of_ones_own_and_lets_other_processes_follow() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut dev = cutout(&["dev", "--redis", "auto"]);
    let value_of = |name: &'static str| {
        dev.wait_for(name, 0, |line| line.as_str()?.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let (door, flags) = (value_of("the function"), value_of("flags"));
    dev.wait_for("it is ready", 0, |line| line.as_str()?.contains("Ctrl-C").then_some(()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();

    let alert = format!("{door}monitors/5200001/bank_code:0002,env:prod/Alert");
    assert!(http.post(alert).send().await.unwrap().status().is_success());
    let answer =
        http.get(format!("{door}breakers/bank-charge/0002")).send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["breaker"], "bank-charge/0002");

    let client = cutout::Client::builder(&flags).breaker("bank-charge").connect().await.unwrap();
    assert_eq!(client.breaker("bank-charge", &["0002"]).unwrap().state(), cutout::State::Open);

    let foreign = std::fs::read(fixture("text_alert.json")).unwrap();
    let refused = http.post(&door).body(foreign).send().await.unwrap();
    assert_eq!(refused.status(), 502);
    assert!(refused.text().await.unwrap().contains("CUTOUT_CALLBACK_ALLOW"));

    let port = port_of(&flags);
    drop(client);
    assert!(Command::new("kill").args(["-TERM", &dev.id().to_string()]).status().unwrap().success());
    assert!(dev.wait().success());
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "its private Redis outlives it");
    }
}
