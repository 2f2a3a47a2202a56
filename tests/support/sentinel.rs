//! Real Redis Sentinels for one test, on free ports of loopback: they watch one primary and replace it when it dies.

use crate::redis::{RedisServer, free_port};
use std::collections::HashMap;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The name under which they know the primary.
pub const PRIMARY: &str = "mymaster";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long the primary is silent until a sentinel takes it for dead.
const DOWN_AFTER_MS: u32 = 1_000;
const FAILOVER_TIMEOUT_MS: u32 = 5_000;

/// Running sentinels. Killed when dropped.
pub struct Sentinels {
    all: Vec<Sentinel>,
}

struct Sentinel {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Sentinels {
    /// Starts so many sentinels of `primary`, of which a majority must agree, and waits until each knows the others and so many
    /// replicas.
    ///
    /// # Panics
    /// If that takes too long.
    #[must_use]
    pub fn start(count: usize, primary: &RedisServer, replicas: usize) -> Sentinels {
        let sentinels =
            Sentinels { all: (0..count).map(|_| Sentinel::start(primary.port(), count / 2 + 1)).collect() };
        sentinels.wait_until_they_know(replicas);
        sentinels
    }

    /// The URL of the primary that they know.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.all.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{PRIMARY}", hosts.join(","))
    }

    /// The port of the primary, as most of them say; none if they differ.
    #[must_use]
    pub fn primary_port(&self) -> Option<u16> {
        let told: Vec<u16> = self.all.iter().filter_map(Sentinel::primary_port).collect();
        let most = |port: &&u16| told.iter().filter(|other| other == port).count() * 2 > self.all.len();
        told.iter().find(most).copied()
    }

    /// Waits until all of them know each other and so many replicas that are well: only then a fail-over succeeds.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_they_know(&self, replicas: usize) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.all.iter().all(|sentinel| sentinel.knows(self.all.len() - 1, replicas)) {
            assert!(Instant::now() < deadline, "the sentinels do not find each other\n{}", self.log());
            thread::sleep(POLL_EVERY);
        }
    }

    /// Ends one of them, as a crash does.
    pub fn kill(&mut self, index: usize) {
        self.all[index].kill();
    }

    /// What they logged.
    #[must_use]
    pub fn log(&self) -> String {
        let logs =
            self.all.iter().map(|sentinel| std::fs::read_to_string(sentinel.folder.path().join("log")));
        logs.map(Result::unwrap_or_default).collect::<Vec<_>>().join("\n")
    }
}

impl Sentinel {
    fn start(primary_port: u16, quorum: usize) -> Sentinel {
        let (folder, port) = (tempfile::tempdir().expect("a temporary folder"), free_port());
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile log\n\
             sentinel monitor {PRIMARY} 127.0.0.1 {primary_port} {quorum}\n\
             sentinel down-after-milliseconds {PRIMARY} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {PRIMARY} {FAILOVER_TIMEOUT_MS}\n",
            folder = folder.path().display()
        );
        std::fs::write(&file, settings).expect("the folder can be written");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("redis-server starts");
        let mut sentinel = Sentinel { process, port, folder };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(sentinel.process.try_wait().expect("its state").is_none(), "a sentinel ended at once");
            assert!(Instant::now() < deadline, "a sentinel does not answer");
            thread::sleep(POLL_EVERY);
        }
        sentinel
    }

    fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(1))?;
        redis::cmd("SENTINEL").arg(command).query(&mut connection)
    }

    fn primary_port(&self) -> Option<u16> {
        let told: Option<(String, u16)> = self.ask(&["get-master-addr-by-name", PRIMARY]).ok()?;
        told.map(|(_, port)| port)
    }

    fn knows(&self, others: usize, replicas: usize) -> bool {
        self.count_well("sentinels") >= others && self.count_well("replicas") >= replicas
    }

    /// How many of these nodes it can reach.
    fn count_well(&self, what: &str) -> usize {
        let nodes: Vec<HashMap<String, String>> = self.ask(&[what, PRIMARY]).unwrap_or_default();
        let is_well = |node: &&HashMap<String, String>| {
            !["down", "disconnected"].iter().any(|word| node["flags"].contains(word))
        };
        nodes.iter().filter(is_well).count()
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}
