//! The owning service's binary as a child process, on a free port of loopback.

use crate::binaries::binary;
use crate::canary;
use crate::process::Program;
use serde_json::Value;
use std::cell::Cell;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// A running service; killed when dropped.
#[derive(Debug)]
pub struct ServiceProcess {
    program: Program,
    at: SocketAddr,
    variables: Vec<(String, String)>,
    folder: TempDir,
}

impl ServiceProcess {
    /// Starts the binary for the breakers of a breakers' file (`breakers` is its text), with more variables than it needs at
    /// the least, and waits until it listens.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn start(redis_url: &str, breakers: &str, more: &[(&str, &str)]) -> ServiceProcess {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("breakers.toml");
        std::fs::write(&file, breakers).expect("the folder can be written");
        let needed = [
            ("CUTOUT_REDIS_URL", redis_url),
            ("CUTOUT_BREAKERS", file.to_str().expect("a plain path")),
            ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
        ];
        let variables =
            needed.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: Vec<_> = variables.collect();
        let (program, at) = listening("127.0.0.1:0", &variables);
        ServiceProcess { program, at, variables, folder }
    }

    /// Ends it at once, as a crash does, and starts it again at the same address.
    pub fn kill_and_restart(&mut self) {
        // The place must be free before it is taken again.
        self.program.kill();
        (self.program, self.at) = listening(&self.at.to_string(), &self.variables);
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// How much of its memory is resident, bytes.
    ///
    /// # Panics
    /// If the system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id()));
        let status = status.expect("the process is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1_024
    }

    /// Where operators are served: `CUTOUT_OPERATORS` and `CUTOUT_OPERATORS_LISTEN` must be set.
    #[must_use]
    pub fn operators_at(&self) -> SocketAddr {
        self.program
            .wait_for("where operators are served", 0, |line| line["operators_listen"].as_str()?.parse().ok())
    }

    /// Everything that it printed since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.lines().join("\n")
    }

    /// Waits until it has printed at least `count` lines with this message, and gives all of them.
    #[must_use]
    pub fn lines_at_least(&self, count: usize, message: &str) -> Vec<Value> {
        let seen = Cell::new(0);
        self.program.wait_for(&format!("{count} lines {message:?}"), 0, |line| {
            seen.set(seen.get() + usize::from(line["message"] == message));
            (seen.get() >= count).then_some(())
        });
        self.lines(message)
    }

    /// The lines with this message so far.
    ///
    /// # Panics
    /// If a line that it printed is not JSON.
    #[must_use]
    pub fn lines(&self, message: &str) -> Vec<Value> {
        let lines = self.program.lines().into_iter().map(|line| {
            serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("not a line of JSON: {line}"))
        });
        lines.filter(|line| line["message"] == message).collect()
    }

    /// Writes another breakers' file in the place of its own.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn rewrite(&self, breakers: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join("breakers.toml"), breakers)
            .expect("the folder can be written");
    }

    /// Takes its breakers' file away.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove_file(&self) {
        std::fs::remove_file(self.folder.path().join("breakers.toml")).expect("the file is there");
    }

    /// Asks it to end, as an orchestrator does.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Asks it to look at its file.
    ///
    /// # Panics
    /// If it cannot be asked.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.program.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("kill is there");
        assert!(status.success());
    }

    /// Waits until it has ended.
    #[must_use]
    pub fn ended(&mut self) -> ExitStatus {
        self.program.wait()
    }
}

/// Starts the binary at an address and waits until it tells where it listens.
fn listening(listen: &str, variables: &[(String, String)]) -> (Program, SocketAddr) {
    let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let variables: Vec<_> = [("CUTOUT_LISTEN", listen)].into_iter().chain(variables).collect();
    let program = Program::start(Program::command(&binary("cutout-service"), &variables));
    let at = program.wait_for("where it listens", 0, |line| line["listen"].as_str()?.parse().ok());
    (program, at)
}
