//! A redis-server of our own for `cutout dev --redis auto`: on loopback, nothing on disk, gone at the end.

use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long it may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct PrivateRedis {
    port: u16,
    _server: Child,
}

impl PrivateRedis {
    /// Starts it on this port, or on any free one if that is taken, and waits until it answers.
    ///
    /// # Errors
    /// If there is no redis-server on PATH, or it does not answer in time.
    pub(crate) async fn start(port: u16) -> std::io::Result<PrivateRedis> {
        // The port is free when we look; should another program take it before Redis does, Redis says so and ends.
        let port = crate::dev::listen(port).await?.local_addr()?.port();
        let mut server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| std::io::Error::new(error.kind(), "redis-server cannot be started: install it (apt-get install redis-server), or give --redis URL"))?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = server.try_wait()? {
                return Err(std::io::Error::other(format!("redis-server ended at once: {status}")));
            }
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(PrivateRedis { port, _server: server });
            }
            if Instant::now() > deadline {
                return Err(std::io::Error::other("redis-server does not answer"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
