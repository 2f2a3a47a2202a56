//! `cutout-service health`, as a container's health check runs it.

use crate::process::{ServiceProcess, command};
use cutout_tests::redis::RedisServer;

#[test]
fn the_health_command_tells_a_running_service_from_a_dead_one() {
    let redis = RedisServer::start();
    let service = ServiceProcess::start(&redis.url());
    let listen = service.at().to_string();
    let asked = || command(&[("CUTOUT_LISTEN", &listen)]).arg("health").output().unwrap();
    assert!(asked().status.success());
    drop(service);
    let output = asked();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the service is not healthy"), "{output:?}");
}
