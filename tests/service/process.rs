//! The service's binary as a child process.

use crate::wire::URL;
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::process::Program;
use serde_json::Value;
use std::cell::Cell;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// `bank-charge` by bank, with the shortest ramp that a file may declare.
const BREAKERS: &str = r#"
[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "0s"
ramp = "1s"
"#;

/// A running service; killed when dropped.
pub(crate) struct ServiceProcess {
    program: Program,
    at: SocketAddr,
    _folder: TempDir,
}

impl ServiceProcess {
    /// Starts the binary on a free port of loopback and waits until it listens.
    pub(crate) fn start(redis_url: &str) -> ServiceProcess {
        let folder = TempDir::new().expect("a temporary folder");
        let breakers = folder.path().join("breakers.toml");
        std::fs::write(&breakers, BREAKERS).expect("the folder can be written");
        let program = Program::start(command(&[
            ("CUTOUT_LISTEN", "127.0.0.1:0"),
            ("CUTOUT_REDIS_URL", redis_url),
            ("CUTOUT_BREAKERS", breakers.to_str().expect("a plain path")),
            ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
            ("CUTOUT_PUBLIC_URL", URL),
        ]));
        let at = program.wait_for("where it listens", 0, |line| line["listen"].as_str()?.parse().ok());
        ServiceProcess { program, at, _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Everything that it printed.
    pub(crate) fn log(&self) -> String {
        self.program.lines().join("\n")
    }

    /// Waits until it has printed at least `count` lines with this message, and gives all of them.
    pub(crate) fn lines_at_least(&self, count: usize, message: &str) -> Vec<Value> {
        let seen = Cell::new(0);
        self.program.wait_for(&format!("{count} lines {message:?}"), 0, |line| {
            seen.set(seen.get() + usize::from(line["message"] == message));
            (seen.get() >= count).then_some(())
        });
        self.lines(message)
    }

    /// The lines with this message so far. Every line that it printed must be JSON.
    pub(crate) fn lines(&self, message: &str) -> Vec<Value> {
        let lines = self.program.lines().into_iter().map(|line| {
            serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("not a line of JSON: {line}"))
        });
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Asks it to end, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        let pid = self.program.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.program.wait()
    }
}

/// The binary with these variables and no others.
pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    Program::command(&binary("cutout-service"), variables)
}
