//! The service's binary as these tests start it.

use crate::wire::URL;
use cutout_tests::binaries::binary;
use cutout_tests::process::Program;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::process::Command;

/// `bank-charge` by bank, with the shortest ramp that a file may declare; `watched` refuses nobody.
const BREAKERS: &str = r#"
[[breaker]]
name = "bank-charge"
key = ["bank_code"]
monitors = { ids = [5200001] }
min_open = "0s"
ramp = "1s"

[[breaker]]
name = "watched"
monitors = { ids = [5200003] }
mode = "watch"
"#;

/// A running service; killed when dropped.
pub(crate) struct ServiceProcess(cutout_tests::service::ServiceProcess);

impl ServiceProcess {
    /// Starts the binary on a free port of loopback and waits until it listens.
    pub(crate) fn start(redis_url: &str) -> ServiceProcess {
        ServiceProcess::start_with(redis_url, &[])
    }

    /// The same with more settings.
    pub(crate) fn start_with(redis_url: &str, more: &[(&str, &str)]) -> ServiceProcess {
        let more: Vec<_> = [("CUTOUT_PUBLIC_URL", URL)].iter().chain(more).copied().collect();
        ServiceProcess(cutout_tests::service::ServiceProcess::start(redis_url, BREAKERS, &more))
    }

    /// Where its metrics listen.
    pub(crate) fn metrics_at(&self) -> SocketAddr {
        let line = self.lines_at_least(1, "listening for metrics").remove(0);
        line["metrics_listen"].as_str().expect("an address").parse().expect("an address")
    }
}

impl Deref for ServiceProcess {
    type Target = cutout_tests::service::ServiceProcess;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ServiceProcess {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The binary with these variables and no others.
pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    Program::command(&binary("cutout-service"), variables)
}
