//! What becomes of a message that the report does not show yet.

use crate::fixtures::{self, constructed};
use crate::world::{AMPLE, CALLBACK_PATH, DATE, MONITOR_ID, World, ok};
use cutout_core::report::{Callback, Status};
use cutout_lambda::function::{InvocationError, REREADS_MAX};
use cutout_lambda::guard::SystemResolver;
use cutout_lambda::{Function, Settings};
use cutout_tests::doubles::Answer;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAMED: &str = "bank_code:0001,env:prod";

/// The monitor while its named group still alerts, and after it has recovered.
fn lagging() -> Answer {
    ok(fixtures::text(&constructed("api"), "monitor_v1_groups_all"))
}

fn recovered() -> Answer {
    let text = fixtures::text(&constructed("api"), "monitor_v1_groups_all");
    let mut monitor: serde_json::Value = serde_json::from_str(&text).unwrap();
    monitor["state"]["groups"][NAMED]["status"] = "OK".into();
    ok(monitor.to_string())
}

/// Sends a recovery through a function that reads again after so long.
async fn recovery(world: &World, reread_after: &str, time: Duration) -> Result<(), InvocationError> {
    let mut variables = world.variables();
    variables.insert("CUTOUT_REREAD_AFTER".to_owned(), reread_after.to_owned());
    let function = Function::new(Settings::read(variables).unwrap(), Arc::new(SystemResolver)).unwrap();
    let event = world.here(&fixtures::read(&constructed("sns"), "text_recovered"));
    function.handle(event, Instant::now() + time).await
}

/// The status of the named group in each callback.
fn told(world: &World) -> Vec<Option<Status>> {
    let status = |callback: Callback| {
        let groups = callback.report?.groups;
        groups.into_iter().find(|group| group.name == NAMED).map(|group| group.status)
    };
    world.callbacks().into_iter().map(status).collect()
}

#[tokio::test]
async fn a_recovery_that_reads_do_not_show_yet_is_sent_as_soon_as_they_do() {
    for (answers, reads, statuses) in [
        (vec![recovered()], 1, vec![Status::Ok]),
        (vec![lagging(), recovered()], 2, vec![Status::Alert, Status::Ok]),
        (vec![lagging(), Answer::new(500, "{}"), recovered()], 3, vec![Status::Alert, Status::Ok]),
        (vec![lagging()], 1 + REREADS_MAX, vec![Status::Alert]),
    ] {
        let world = World::start().await;
        world.monitor_answers(MONITOR_ID, answers);
        recovery(&world, "10ms", AMPLE).await.unwrap();
        assert_eq!(told(&world), statuses.into_iter().map(Some).collect::<Vec<_>>());
        assert_eq!(world.monitor_reads(), reads);
    }
}

#[tokio::test]
async fn nothing_is_read_again_without_the_time_for_it_for_an_old_message_or_when_switched_off() {
    let later = DATE.replace("00:00:18", "00:02:11");
    let much_later = Answer::new(200, fixtures::text(&constructed("api"), "monitor_v1_groups_all"));
    for (reread_after, time, answer) in [
        ("5s", Duration::from_secs(4), lagging()),
        ("0s", AMPLE, lagging()),
        ("10ms", AMPLE, much_later.header("date", &later)),
    ] {
        let world = World::start().await;
        world.monitor_answers(MONITOR_ID, [answer, recovered()]);
        recovery(&world, reread_after, time).await.unwrap();
        assert_eq!((world.monitor_reads(), told(&world)), (1, vec![Some(Status::Alert)]), "{reread_after}");
    }
}

#[tokio::test]
async fn a_second_callback_that_is_not_committed_fails_the_invocation() {
    let world = World::start().await;
    world.monitor_answers(MONITOR_ID, [lagging(), recovered()]);
    world.services[0].answer(CALLBACK_PATH, [Answer::new(200, ""), Answer::new(503, "")]);
    assert!(recovery(&world, "10ms", AMPLE).await.unwrap_err().is_retryable());
}
