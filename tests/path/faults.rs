//! Parts that fail: what is delivered all the same, what ends in an error so that AWS tries again, and what heals.

use crate::rig::{BANK_MONITOR, Rig, bank};
use cutout_cli::fake_datadog::Fault;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_answered_500_is_an_error_and_the_retry_brings_it() {
    let rig = Rig::start().await;
    rig.way.fail_next(1);
    let alert = [rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert")];
    let error = rig.notify(&alert).await.unwrap_err();
    assert!(message(&error).contains("500"), "{error}");
    assert_eq!(rig.flag("bank-charge/0001"), Value::Null);
    let event_id = alert[0].event_id.to_string();
    rig.function.wait_for("one line with all that a person looks for", 0, |line| {
        let ids = line["monitor_id"] == BANK_MONITOR && line["event_id"] == *event_id;
        let place = line["callback_host"] == "127.0.0.1" && line["step"].is_string();
        (line["level"] == "ERROR" && ids && place && line["error"].as_str()?.contains("500")).then_some(())
    });
    rig.notify(&alert).await.unwrap();
    rig.caller_sees("0001", "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_datadog_leaves_the_hint_which_opens_at_once_and_the_retry_brings_the_report() {
    let faults = [Fault::Forbidden, Fault::RateLimited { reset_secs: 60 }, Fault::BadGateway, Fault::Hang];
    let rig = Rig::start().await;
    for fault in faults {
        rig.datadog.fail_monitor_reads(Some(fault));
        let alert = [rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert")];
        let error = rig.notify(&alert).await.unwrap_err();
        assert!(message(&error).contains("Datadog"), "{fault:?}: {error}");
        let hint = rig.way.seen().pop().unwrap();
        assert!(hint.report.is_none() && hint.notified.is_some(), "{fault:?}");
        rig.caller_sees("0001", "open");

        rig.datadog.fail_monitor_reads(None);
        rig.notify(&alert).await.unwrap();
        assert!(rig.way.seen().pop().unwrap().report.is_some());
        rig.happens(BANK_MONITOR, &bank("0001"), "OK").await.unwrap();
        rig.caller_sees("0001", "closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_rate_limit_is_waited_out() {
    let rig = Rig::start().await;
    rig.datadog.fail_monitor_reads(Some(Fault::RateLimited { reset_secs: 1 }));
    let alert = rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert");
    let notified = [alert];
    let (outcome, ()) = tokio::join!(rig.notify(&notified), async {
        while rig.datadog.reads().monitor == 0 {
            tokio::task::yield_now().await;
        }
        rig.datadog.fail_monitor_reads(None);
    });
    outcome.unwrap();
    assert_eq!(rig.datadog.reads().monitor, 2, "one refused, one after the limit's reset");
    rig.caller_sees("0001", "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_that_datadog_does_not_know_is_an_error_and_nothing_is_sent() {
    let rig = Rig::start().await;
    let alert = [rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert")];
    rig.datadog.delete_monitor(BANK_MONITOR);
    let error = rig.notify(&alert).await.unwrap_err();
    assert!(message(&error).contains(&BANK_MONITOR.to_string()), "{error}");
    assert!(rig.way.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_costs_only_itself() {
    let rig = Rig::start().await;
    for fault in [Fault::Forbidden, Fault::Hang] {
        rig.datadog.fail_event_reads(Some(fault));
        rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
        let sent = rig.way.seen().pop().unwrap();
        assert!(sent.event.is_none() && sent.report.is_some(), "{fault:?}");
    }
    rig.caller_sees("0001", "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_side_that_lags_does_not_delay_an_alert() {
    let rig = Rig::start().await;
    rig.datadog.lag_monitor_reads(true);
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    let report = rig.way.seen().pop().unwrap().report.unwrap();
    assert!(report.groups.iter().all(|group| group.status.as_str() == "OK"), "the read side lags");
    rig.caller_sees("0001", "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_without_its_data_leaves_callers_with_what_they_knew_until_reports_heal_it() {
    let mut rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    rig.caller_sees("0001", "open");
    rig.redis.kill();
    let count = rig.caller.count();
    rig.caller.wait_for("the caller tells that the store is gone", count, |line| {
        (line["connected"] == false).then_some(())
    });
    let error = rig.happens(BANK_MONITOR, &bank("0002"), "Alert").await.unwrap_err();
    assert!(message(&error).contains("503"), "{error}");

    rig.redis.restart();
    let count = rig.caller.count();
    rig.caller.wait_for("the caller tells that the store is back", count, |line| {
        (line["connected"] == true).then_some(())
    });
    assert_eq!(rig.last_seen("bank-charge/0001"), "open", "lost is not closed");
    rig.service_is_ready().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "OK").await.unwrap();
    rig.caller_sees("0001", "closed");
    rig.caller_sees("0002", "open");
}

fn message(error: &Value) -> &str {
    error["errorMessage"].as_str().unwrap_or_default()
}
