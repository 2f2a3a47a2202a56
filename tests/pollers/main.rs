//! The pollers of docs/redis.md, as they stand there and with the rights that stand there, against a real Redis: they let through what the Rust client would.
//!
//! `tests/run` installs what they need, from the lock files beside this, below `target/pollers`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use cutout_core::flag::{ALL_PPM, ForcedUntil, Next, Ramp};
use cutout_core::{Flag, Forced, Mode, OnStale, State};
use cutout_tests::flips::{Flipper, ID};
use cutout_tests::process::PATIENCE;
use cutout_tests::redis::{RedisServer, documented_users, url_of};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::SystemTime;
use tempfile::TempDir;

/// How far a share may be from what it is, since a ramp goes on while the poller reads.
const NEAR: f64 = 0.02;
const OPERATIONS: [Option<&str>; 3] = [None, Some("charge"), Some("refund")];

struct Language {
    fence: &'static str,
    module: &'static str,
    driver: &'static str,
}

const PYTHON: Language = Language { fence: "```python", module: "breakers.py", driver: "drive.py" };
const NODE: Language = Language { fence: "```javascript", module: "breakers.mjs", driver: "drive.mjs" };

/// A poller of the document, running.
struct Poller {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    _folder: TempDir,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn installed(path: &str) -> PathBuf {
    let path = root().join("target/pollers").join(path);
    assert!(path.exists(), "{} is missing: tests/run installs it", path.display());
    path
}

/// The one block of the document in this language.
fn documented(fence: &str) -> String {
    let document = std::fs::read_to_string(root().join("docs/redis.md")).unwrap();
    let fence = format!("{fence}\n");
    let mut blocks = document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.next().expect("a block").to_owned();
    assert_eq!(blocks.next(), None, "more than one block of {fence}");
    // A template literal of JavaScript has back-ticks too, but never three.
    block
}

impl Poller {
    fn start(language: &Language, url: &str) -> Poller {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(language.module), documented(language.fence)).unwrap();
        let driver = folder.path().join(language.driver);
        std::fs::copy(root().join("tests/pollers").join(language.driver), &driver).unwrap();
        let mut command = if language.module.ends_with(".py") {
            Command::new(installed("python/bin/python"))
        } else {
            // Node looks for modules beside the file that imports them.
            let modules = installed("node/node_modules");
            std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
            Command::new("node")
        };
        let command = command.arg(driver).arg(url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, lines) = mpsc::channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Poller { child, input, lines, _folder: folder }
    }

    /// The shares of [`OPERATIONS`] after one more poll, and what went wrong with it.
    fn poll(&mut self) -> (Vec<f64>, Option<String>) {
        writeln!(self.input, "{}", json!({"breaker": ID, "operations": OPERATIONS})).unwrap();
        let line = self.lines.recv_timeout(PATIENCE).expect("an answer in time");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        let shares = told["shares"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap());
        (shares.collect(), told["problem"].as_str().map(str::to_owned))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now_ms() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis().try_into().unwrap()
}

/// What the Rust client lets through, probes by the clock apart.
fn expected(flag: &Flag) -> Vec<f64> {
    let share = |operation| if flag.is_for(operation) { flag.share_ppm(now_ms()) } else { ALL_PPM };
    OPERATIONS.map(|operation| f64::from(share(operation)) / 1e6).into()
}

fn flags() -> Vec<Flag> {
    let now_ms = now_ms();
    let open = || Flag { state: State::Open, since_ms: now_ms, probe_ppm: 10_000, ..Flag::default() };
    let ramp = Some(Ramp { from_ms: now_ms - 400_000, to_ms: now_ms + 600_000, from_ppm: 100_000 });
    let forced = |state, until_ms| Some(ForcedUntil { state, until_ms });
    let over = Some(Ramp { from_ms: now_ms - 2_000, to_ms: now_ms - 1_000, from_ppm: 0 });
    let then = |state| Some(Next { at_ms: now_ms - 1_000, state });
    vec![
        open(),
        Flag { refuse: ["charge".to_owned()].into(), ..open() },
        Flag { mode: Mode::Watch, state: State::Closed, would: Some(State::Open), ..open() },
        Flag { forced: forced(Forced::Open, None), ..open() },
        Flag {
            forced: forced(Forced::Open, Some(now_ms + 600_000)),
            stale_at_ms: Some(now_ms - 1),
            ..open()
        },
        Flag {
            forced: forced(Forced::Open, Some(now_ms - 1_000)),
            next: then(State::HalfOpen),
            ramp,
            ..open()
        },
        Flag { forced: forced(Forced::Closed, None), state: State::Closed, ..open() },
        Flag { state: State::HalfOpen, ramp, ..open() },
        Flag { state: State::HalfOpen, ..open() },
        Flag { state: State::HalfOpen, ramp: over, ..open() },
        Flag { next: then(State::HalfOpen), ramp, ..open() },
        Flag { state: State::Closed, next: then(State::Open), ..open() },
        Flag { stale_at_ms: Some(now_ms - 1_000), ..open() },
        Flag { stale_at_ms: Some(now_ms + 600_000), ..open() },
        Flag { stale_at_ms: Some(now_ms - 1_000), on_stale: OnStale::Hold, ..open() },
        Flag { stale_at_ms: Some(now_ms - 1_000), on_stale: OnStale::Close, ramp, ..open() },
        Flag::default(),
    ]
}

/// Flags with absent fields, and some that cannot be read: what was known of those stays, and the others are read.
fn reads_what_others_wrote(redis: &RedisServer, poller: &mut Poller) {
    let write = |breaker: &str, flag: &str| {
        let () = redis.ask(&["HSET", "cutout:{default}:flags", breaker, flag]);
    };
    let sparse = [
        (r#"{"state":"closed"}"#, 1.0),
        (r#"{"state":"half-open"}"#, 0.1),
        (r#"{"state":"half-open","ramp":null,"refuse":null,"mode":null}"#, 0.1),
        (r#"{"state":"open","next":{"at_ms":1,"state":"closed"}}"#, 1.0),
        (r#"{"state":"open","probe_ppm":10000,"override":{"state":"open"}}"#, 0.0),
        (r#"{"state":"open","stale_at_ms":1}"#, 0.1),
        (r#"{"state":"open"}"#, 0.0),
    ];
    for (flag, share) in sparse {
        write(ID, flag);
        assert_eq!(poller.poll(), (vec![share; 3], None), "{flag}");
    }
    for unreadable in ["", "{", "null", "[]", "17", r#"{"since_ms":1}"#, r#"{"state":"ajar"}"#] {
        write(ID, unreadable);
        write("bank-charge/0002", unreadable);
        assert_eq!(poller.poll(), (vec![0.0; 3], None), "open is what was known: {unreadable:?}");
    }
    write(ID, sparse[0].0);
    assert_eq!(poller.poll(), (vec![1.0; 3], None), "the others are read");
}

async fn lets_through_what_the_client_does(language: &Language) {
    let mut redis = RedisServer::start();
    documented_users(&redis);
    let mut poller = Poller::start(language, &url_of(&redis, "cutout-poller"));
    assert_eq!(poller.poll(), (vec![1.0; 3], None), "nothing was ever declared");
    let mut flipper = Flipper::new(&redis.url()).await;
    assert_eq!(poller.poll().0, [1.0; 3], "absent under a known epoch is closed");
    for flag in flags() {
        flipper.publish(flag.clone()).await;
        let (shares, problem) = poller.poll();
        let wanted = expected(&flag);
        let near = shares.iter().zip(&wanted).all(|(share, wanted)| (share - wanted).abs() < NEAR);
        assert!(near && problem.is_none(), "{shares:?} {problem:?} instead of {wanted:?} for {flag:?}");
    }
    reads_what_others_wrote(&redis, &mut poller);
    let open = || Flag { state: State::Open, ..Flag::default() };
    flipper.publish(open()).await;
    assert_eq!(poller.poll().0, [0.0; 3]);
    redis.restart();
    documented_users(&redis);
    // Nothing persists there: what was known is kept, before the service declares again and after.
    let (mut shares, mut problem) = poller.poll();
    for _ in 0..50 {
        if problem.is_none() {
            break;
        }
        assert_eq!(shares, [0.0; 3], "unreachable is not closed");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        (shares, problem) = poller.poll();
    }
    assert_eq!((shares, problem), (vec![0.0; 3], None), "lost is not closed");
    let mut flipper = Flipper::new(&redis.url()).await;
    assert_eq!(poller.poll().0, [0.0; 3], "a new epoch does not make absent closed");
    flipper.publish(Flag::default()).await;
    assert_eq!(poller.poll().0, [1.0; 3], "the key shows again");
    redis.kill();
    let (shares, problem) = poller.poll();
    assert!(problem.is_some() && shares == [1.0; 3], "{shares:?} {problem:?}");
}

#[tokio::test]
async fn the_python_poller_of_the_document_lets_through_what_the_client_does() {
    lets_through_what_the_client_does(&PYTHON).await;
}

#[tokio::test]
async fn the_node_poller_of_the_document_lets_through_what_the_client_does() {
    lets_through_what_the_client_does(&NODE).await;
}
