//! A network namespace of a test's own, in which every address of the world is this machine's.
//!
//! A test of who may be dialled needs addresses like 169.254.169.254 and 93.184.216.34 that answer, and must never send
//! a packet to them. So the test runs itself again inside a fresh namespace whose only interface is loopback and where
//! both address families are routed to it: what a hole lets out arrives at the test's own listeners, and nowhere else.
//!
//! A machine that cannot make namespaces fails such a test, with what to enable: skipping would look like passing.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

const INSIDE: &str = "CUTOUT_TEST_INSIDE_NAMESPACE";

/// Exit code of the set-up when `ip` fails; no test binary uses it.
const SET_UP_FAILED: i32 = 97;
const SET_UP: &str = "PATH=$PATH:/usr/sbin:/sbin
    { ip link set lo up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo; } || exit 97
    exec \"$@\"";

/// With root's rights a network namespace is enough; without, a user namespace gives them.
const WAYS_IN: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];

/// Whether this process is the one inside.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs the test `name` of this binary again, inside a namespace and with `variables` in its environment.
///
/// # Panics
/// If the test fails there, if there is no test of that name, or if the machine cannot make such a namespace.
pub fn rerun_inside(name: &str, variables: &[(&str, &OsStr)]) {
    let itself = env::current_exe().expect("the path of this test binary");
    let output = Command::new("unshare")
        .args(way_in())
        .args(["sh", "-c", SET_UP, "sh"])
        .arg(itself)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .expect("starting unshare");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_ne!(
        output.status.code(),
        Some(SET_UP_FAILED),
        "`ip` could not route every address to loopback: install iproute2, and enable IPv6 \
         (sysctl net.ipv6.conf.all.disable_ipv6=0)"
    );
    assert!(output.status.success(), "{name} failed inside the namespace: {}", output.status);
    assert!(told.contains("1 passed"), "{name} is no test of this binary, so nothing was tested");
}

fn way_in() -> &'static [&'static str] {
    let works = |way: &&&[&str]| {
        let probe = Command::new("unshare").args(**way).arg("true").stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    };
    WAYS_IN.iter().find(works).copied().unwrap_or_else(|| {
        panic!(
            "this test needs a network namespace, and `unshare --net` is refused. Install util-linux, and either run \
             as root with CAP_SYS_ADMIN or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
             kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    })
}
