//! A real, headless browser, driven line by line. `tests/run` installs what it needs, from the lock file beside this.

use cutout_tests::process::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use tempfile::TempDir;

/// A browser with one window; ended when dropped.
pub(crate) struct Browser {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    _folder: TempDir,
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/page")
}

impl Browser {
    pub(crate) fn start() -> Browser {
        let modules = target().join("node/node_modules");
        assert!(modules.exists(), "{} is missing: tests/run installs it", modules.display());
        let shots = target().join("screenshots");
        std::fs::create_dir_all(&shots).unwrap();
        // Node looks for modules beside the file that imports them.
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
        let driver = folder.path().join("drive.mjs");
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("page/drive.mjs"), &driver).unwrap();
        let mut command = Command::new("node");
        let command = command.arg(driver).arg(shots).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, lines) = mpsc::channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Browser { child, input, lines, _folder: folder }
    }

    /// Lets the browser do something, and gives what it says of it.
    pub(crate) fn act(&mut self, act: &str, details: Value) -> Value {
        let mut line = details;
        line["act"] = json!(act);
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        // Longer than the browser's own patience, which tells more.
        let answer = self.lines.recv_timeout(2 * PATIENCE).unwrap_or_else(|_| panic!("no answer to {line}"));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["failed"].is_null(), "{line}: {}", answer["failed"]);
        answer["done"].clone()
    }

    pub(crate) fn window(&mut self, how: Value) {
        self.act("window", how);
    }

    pub(crate) fn open(&mut self, url: &str) -> u64 {
        self.act("open", json!({"url": url})).as_u64().unwrap()
    }

    pub(crate) fn fill(&mut self, at: &str, text: &str) {
        self.act("fill", json!({"at": at, "text": text}));
    }

    pub(crate) fn click(&mut self, at: &str) {
        self.act("click", json!({"at": at}));
    }

    pub(crate) fn press(&mut self, key: &str) {
        self.act("press", json!({"key": key}));
    }

    pub(crate) fn text(&mut self, at: &str) -> String {
        self.act("text", json!({"at": at})).as_str().unwrap().to_owned()
    }

    pub(crate) fn count(&mut self, at: &str) -> u64 {
        self.act("count", json!({"at": at})).as_u64().unwrap()
    }

    /// Waits until something is there and shown.
    pub(crate) fn seen(&mut self, at: &str) {
        self.act("seen", json!({"at": at}));
    }

    /// Waits until an expression of the page holds.
    pub(crate) fn until(&mut self, holds: &str) {
        self.act("until", json!({"holds": holds}));
    }

    /// What an expression of the page is.
    pub(crate) fn value(&mut self, of: &str) -> Value {
        self.act("value", json!({"of": of}))
    }

    /// Keeps what the window shows as target/page/screenshots/<name>.png.
    pub(crate) fn shot(&mut self, name: &str) {
        self.act("shot", json!({"name": name}));
    }

    /// What the browser complained of since the last time.
    pub(crate) fn complaints(&mut self) -> Value {
        self.act("complaints", json!({}))
    }

    /// Comes in by the form.
    pub(crate) fn sign_in(&mut self, base: &str, token: &str) {
        self.open(&format!("{base}/login"));
        self.fill("#token", token);
        self.click("button[type=submit]");
        self.seen(".who");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of its input is the end of the driver, which takes the browser along.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
