//! The libraries of the specification in other languages, each a process that is asked line by line.

use cutout_core::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use cutout_tests::process::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use tempfile::TempDir;

/// A language with a library of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// PyPI's `standardwebhooks`.
    Python,
    /// npm's `standardwebhooks`.
    Node,
}

/// Both of them.
pub(crate) const LANGUAGES: [Language; 2] = [Language::Python, Language::Node];

/// A message as it travels.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signatures: String,
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn headers(&self) -> [(&'static str, String); 3] {
        [
            (ID_HEADER, self.id.clone()),
            (TIMESTAMP_HEADER, self.timestamp.clone()),
            (SIGNATURE_HEADER, self.signatures.clone()),
        ]
    }
}

/// A library, running; ended when dropped.
pub(crate) struct Library {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    _folder: TempDir,
}

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/trust").join(path);
    assert!(path.exists(), "{} is missing: tests/run installs it", path.display());
    path
}

impl Library {
    pub(crate) fn start(language: Language) -> Library {
        let folder = tempfile::tempdir().unwrap();
        let (mut command, driver) = match language {
            Language::Python => (Command::new(installed("python/bin/python")), "drive.py"),
            Language::Node => {
                // Node looks for modules beside the file that imports them.
                let modules = installed("node/node_modules");
                std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
                (Command::new("node"), "drive.mjs")
            }
        };
        let copied = folder.path().join(driver);
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("trust").join(driver), &copied).unwrap();
        let command = command.arg(copied).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (sender, lines) = mpsc::channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Library { child, input, lines, _folder: folder }
    }

    fn ask(&mut self, asked: &Value) -> Value {
        writeln!(self.input, "{asked}").unwrap();
        let line = self.lines.recv_timeout(PATIENCE).expect("an answer in time");
        serde_json::from_str(&line).expect("JSON")
    }

    /// The message that it makes of a body with these secrets, one signature each.
    pub(crate) fn sign(&mut self, secrets: &[&str], id: &str, at_secs: i64, body: &str) -> Message {
        let signature = |secret: &&str| {
            let answer = self
                .ask(&json!({"act": "sign", "secret": secret, "id": id, "at_secs": at_secs, "body": body}));
            answer["signature"].as_str().expect("a signature").to_owned()
        };
        let signatures = secrets.iter().map(signature).collect::<Vec<_>>().join(" ");
        Message { id: id.to_owned(), timestamp: at_secs.to_string(), signatures, body: body.to_owned() }
    }

    /// What it reads in a message's body once it has verified it with a secret, or why it refuses.
    pub(crate) fn verify(&mut self, secret: &str, message: &Message) -> Result<Value, String> {
        let headers: Value =
            message.headers().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let asked = json!({"act": "verify", "secret": secret, "headers": headers, "body": message.body});
        let mut answer = self.ask(&asked);
        match answer["refused"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer["read"].take()),
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
