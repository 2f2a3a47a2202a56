//! What monitors do, and what callers see of it.

use crate::rig::{BANK_MONITOR, CARD_MONITOR, Rig, bank, card};

#[tokio::test(flavor = "multi_thread")]
async fn one_bank_alerts_and_recovers_while_the_others_go_on() {
    let rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    assert_eq!(rig.flag("bank-charge/0001")["state"], "open", "200 means committed");
    rig.caller_sees("0001", "open");
    assert_eq!(rig.last_seen("bank-charge/0002"), "closed");
    rig.service.wait_for("a line tells the transition", 0, |line| {
        let told = line["breaker"] == "bank-charge/0001" && line["from"] == "closed" && line["to"] == "open";
        (told && line["cause"] == "report" && line["monitor_id"] == BANK_MONITOR).then_some(())
    });

    rig.happens(BANK_MONITOR, &bank("0001"), "OK").await.unwrap();
    rig.caller_sees("0001", "half-open");
    rig.caller_sees("0001", "closed");
    // A poller that only looks at `state` sees the end too: the service writes what time brings.
    wait_until("the service writes that half-open ended", || {
        rig.flag("bank-charge/0001")["state"] == "closed"
    });
    assert_eq!(rig.flag("bank-charge/0002")["state"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_opens_only_where_it_is_told_to() {
    let rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "Warn").await.unwrap();
    assert_eq!(rig.flag("bank-charge/0001")["state"], "closed");
    rig.happens(CARD_MONITOR, &card("visa"), "Warn").await.unwrap();
    assert_eq!(rig.flag("card/visa")["state"], "open");
    rig.happens(CARD_MONITOR, &card("visa"), "OK").await.unwrap();
    assert_ne!(rig.flag("card/visa")["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_falls_to_a_warning_recovers() {
    let rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    rig.happens(BANK_MONITOR, &bank("0001"), "Warn").await.unwrap();
    rig.caller_sees("0001", "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_data_holds_what_was() {
    let rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "No Data").await.unwrap();
    assert_eq!(rig.flag("bank-charge/0001")["state"], "closed");
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    rig.happens(BANK_MONITOR, &bank("0001"), "No Data").await.unwrap();
    assert_eq!(rig.flag("bank-charge/0001")["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_message_changes_nothing() {
    let rig = Rig::start().await;
    let alert = [rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert")];
    rig.notify(&alert).await.unwrap();
    let (flag, changes) = (rig.flag("bank-charge/0001"), rig.changes());
    rig.notify(&alert).await.unwrap();
    assert_eq!((rig.flag("bank-charge/0001"), rig.changes()), (flag, changes));

    // And after the recovery an old alert does not open again.
    rig.happens(BANK_MONITOR, &bank("0001"), "OK").await.unwrap();
    rig.notify(&alert).await.unwrap();
    assert_ne!(rig.flag("bank-charge/0001")["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_groups_in_one_event_open_both() {
    let rig = Rig::start().await;
    let both = ["0001", "0002"].map(|code| rig.datadog.set(BANK_MONITOR, &bank(code), "Alert"));
    rig.notify(&both).await.unwrap();
    rig.caller_sees("0001", "open");
    rig.caller_sees("0002", "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_brings_what_datadog_knows_of_all_groups() {
    let rig = Rig::start().await;
    // Datadog joins notifications that come close together, so the message of one group may stand for several.
    rig.datadog.set(BANK_MONITOR, &bank("0002"), "Alert");
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    rig.caller_sees("0002", "open");
}

pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + cutout_tests::process::PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
