//! The scheduled run heals what messages left wrong: lost ones, and ones that never come.

use crate::rig::{BANK_MONITOR, CARD_MONITOR, Rig, bank};
use serde_json::{Value, json};

impl Rig {
    /// Lets the monitors' own messages name the service, as a scheduled run finds it, and runs one.
    async fn reconcile(&self) -> Result<Value, Value> {
        for monitor in [BANK_MONITOR, CARD_MONITOR] {
            self.datadog
                .set_message(monitor, &format!("{{{{#is_alert}}}}{}{{{{/is_alert}}}}", self.directive()));
        }
        self.invoke(json!({"cutout": "reconcile"})).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_and_a_recovery_that_no_message_told_arrive_with_the_next_run() {
    let rig = Rig::start().await;
    rig.datadog.set(BANK_MONITOR, &bank("0001"), "Alert");
    rig.reconcile().await.unwrap();
    rig.caller_sees("0001", "open");
    rig.datadog.set(BANK_MONITOR, &bank("0001"), "OK");
    rig.reconcile().await.unwrap();
    rig.caller_sees("0001", "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_what_is_known_changes_nothing() {
    let rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    rig.reconcile().await.unwrap();
    let changes = rig.changes();
    rig.reconcile().await.unwrap();
    assert_eq!(rig.changes(), changes);
    rig.caller_sees("0001", "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_is_right_again_after_one_run() {
    let mut rig = Rig::start().await;
    rig.happens(BANK_MONITOR, &bank("0001"), "Alert").await.unwrap();
    rig.caller_sees("0001", "open");
    rig.redis.kill();
    rig.redis.restart();
    rig.service_is_ready().await;
    rig.datadog.set(BANK_MONITOR, &bank("0002"), "Alert");
    rig.reconcile().await.unwrap();
    assert_eq!(rig.flag("bank-charge/0001")["state"], "open");
    rig.caller_sees("0002", "open");
    assert_eq!(rig.last_seen("bank-charge/0001"), "open");
}
