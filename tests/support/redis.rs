//! A real Redis for one test: a free port on loopback, a folder of its own, gone when the test ends.
//!
//! A test that needs Redis fails without `redis-server`; it never passes by being skipped.

use crate::canary::REDIS_PASSWORD;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_EVERY: Duration = Duration::from_millis(5);
/// How often another free port is tried, should somebody take the first one meanwhile.
const PORTS_MAX: usize = 5;

/// A running `redis-server`, or one that was killed and may come back.
pub struct RedisServer {
    process: Child,
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    password: Option<String>,
}

impl RedisServer {
    /// One that keeps nothing on disk and asks for no password.
    #[must_use]
    pub fn start() -> RedisServer {
        RedisServer::launch(Vec::new(), None)
    }

    /// One that writes each change to disk before it answers, so that a kill loses nothing.
    #[must_use]
    pub fn start_durable() -> RedisServer {
        let settings = ["--appendonly", "yes", "--appendfsync", "always"];
        RedisServer::launch(settings.map(str::to_owned).into(), None)
    }

    /// One that hands each change to the system before it answers, and to the disk once a second.
    #[must_use]
    pub fn start_everysec() -> RedisServer {
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// One that copies `primary`, and has done so.
    ///
    /// # Panics
    /// If it does not become a replica in time.
    #[must_use]
    pub fn start_replica_of(primary: &RedisServer) -> RedisServer {
        let port = primary.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        replica.wait_for_link();
        replica
    }

    /// One with these settings.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> RedisServer {
        RedisServer::launch(settings.iter().map(|setting| (*setting).to_owned()).collect(), None)
    }

    /// One with these settings, whose folder lies in `parent`.
    ///
    /// # Panics
    /// If no folder can be made there.
    #[must_use]
    pub fn start_in(parent: &Path, settings: &[&str]) -> RedisServer {
        let folder = tempfile::tempdir_in(parent).expect("a folder in the one given");
        RedisServer::launch_in(folder, settings.iter().map(|setting| (*setting).to_owned()).collect(), None)
    }

    /// One that asks for a password.
    #[must_use]
    pub fn start_with_password(password: &str) -> RedisServer {
        let settings = vec!["--requirepass".to_owned(), password.to_owned()];
        RedisServer::launch(settings, Some(password.to_owned()))
    }

    /// Its URL, with the password if it has one.
    #[must_use]
    pub fn url(&self) -> String {
        let userinfo = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("redis://{}127.0.0.1:{}", userinfo.unwrap_or_default(), self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it answers to a command that must succeed.
    ///
    /// # Panics
    /// If it refuses or does not answer.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// What it answers to a command.
    ///
    /// # Errors
    /// If it refuses or does not answer.
    pub fn try_ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(ANSWER_TIMEOUT)?;
        connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let (name, arguments) = command.split_first().expect("a command has a name");
        redis::cmd(name).arg(arguments).query(&mut connection)
    }

    /// Makes it a primary.
    pub fn promote(&self) {
        let () = self.ask(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Makes it a replica of the server at a port.
    pub fn demote(&self, primary_port: u16) {
        let () = self.ask(&["REPLICAOF", "127.0.0.1", &primary_port.to_string()]);
    }

    /// Waits until it, a replica, has copied its primary and follows it.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_for_link(&self) {
        let deadline = Instant::now() + START_TIMEOUT;
        let is_up = |info: String| info.contains("master_link_status:up");
        // One that becomes a replica closes its connections.
        while !self.try_ask(&["INFO", "replication"]).is_ok_and(is_up) {
            assert!(Instant::now() < deadline, "the replica does not follow\n{}", self.log());
            thread::sleep(POLL_EVERY);
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops it without closing a connection: it takes what is sent and says nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Starts it again on the same port and folder.
    pub fn restart(&mut self) {
        self.spawn_again();
        assert!(self.becomes_ready(), "redis-server did not come back on port {}\n{}", self.port, self.log());
    }

    /// The same without waiting until it answers.
    pub fn spawn_again(&mut self) {
        self.kill();
        self.process = spawn(self.port, &self.folder, &self.settings);
    }

    fn launch(settings: Vec<String>, password: Option<String>) -> RedisServer {
        RedisServer::launch_in(tempfile::tempdir().expect("a temporary folder"), settings, password)
    }

    fn launch_in(folder: TempDir, settings: Vec<String>, password: Option<String>) -> RedisServer {
        let (port, process) = launch_once(&folder, &settings);
        let mut server = RedisServer { process, folder, port, settings, password };
        for _ in 1..PORTS_MAX {
            if server.becomes_ready() {
                return server;
            }
            server.kill();
            (server.port, server.process) = launch_once(&server.folder, &server.settings);
        }
        assert!(server.becomes_ready(), "redis-server did not start\n{}", server.log());
        server
    }

    /// Waits until this very process answers; false if it ended instead.
    fn becomes_ready(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.answers() {
                return true;
            }
            if self.process.try_wait().expect("the state of redis-server").is_some() {
                return false;
            }
            thread::sleep(POLL_EVERY);
        }
        false
    }

    /// Whether it is this process that answers, having loaded its data; somebody else may have the port.
    fn answers(&self) -> bool {
        let login = self.password.as_ref().map(|password| format!("AUTH {password}\r\n")).unwrap_or_default();
        let request = format!("{login}PING\r\nINFO server\r\nQUIT\r\n");
        let process_id = format!("process_id:{}\r\n", self.process.id());
        exchange(self.port, &request)
            .is_ok_and(|answer| answer.contains("+PONG\r\n") && answer.contains(&process_id))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Creates the users of docs/redis.md, by the lines that stand there.
///
/// # Panics
/// If there are none, or the server refuses one.
pub fn documented_users(server: &RedisServer) {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/redis.md");
    let document = std::fs::read_to_string(document).expect("docs/redis.md");
    let lines: Vec<&str> = document.lines().filter(|line| line.starts_with("ACL SETUSER ")).collect();
    assert_eq!(lines.len(), 3, "service, caller and poller");
    for line in lines {
        let is_password = |word: &str| word.starts_with('>');
        let password = format!(">{REDIS_PASSWORD}");
        let words = line.split(' ').map(|word| if is_password(word) { &password } else { word });
        let () = server.ask(&words.collect::<Vec<_>>());
    }
}

/// The URL of one of [`documented_users`].
#[must_use]
pub fn url_of(server: &RedisServer, user: &str) -> String {
    format!("redis://{user}:{REDIS_PASSWORD}@127.0.0.1:{}", server.port())
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch_once(folder: &TempDir, settings: &[String]) -> (u16, Child) {
    let port = free_port();
    (port, spawn(port, folder, settings))
}

/// A port of loopback that nobody listens on now.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    probe.local_addr().expect("its number").port()
}

fn spawn(port: u16, folder: &TempDir, settings: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--logfile", "log"]);
    // A replica that asks is served at once, not after the five seconds in which others may come.
    command.args(["--repl-diskless-sync-delay", "0"]);
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder.path()).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("redis-server does not start ({error}): apt-get install redis-server, or run tests/run")
    })
}

/// Sends `request` and reads what comes back until the server hangs up.
fn exchange(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
