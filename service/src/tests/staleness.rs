//! Confirmations, and what becomes of a breaker without them.

use super::*;
use cutout_core::OnStale;

const MAX_AGE_MS: i64 = 400_000;

fn aging(store: &MemoryStore) -> Service {
    service_of(Arc::new(store.clone()), breakers_with(0, |policy| policy.max_age_ms = MAX_AGE_MS))
}

/// A report of an alert that changed long ago, read just now.
fn alert_confirmed() -> Value {
    let mut callback = callback(MONITOR, &[("bank_code:0001", "Alert")], 0);
    callback["report"]["groups"][0]["changed_at"] = json!("2026-01-01T00:00:00Z");
    callback
}

#[tokio::test]
async fn a_confirmation_is_written_once_it_is_a_quarter_of_the_age_and_is_no_change() {
    let (store, shift_ms) = shifted_store();
    let service = aging(&store);
    let bank = id("bank-charge/0001");
    send(&service, &alert_confirmed()).await;
    let look = async || {
        let revision = store.read(std::slice::from_ref(&bank), None).await.unwrap().breakers[0]
            .clone()
            .unwrap()
            .revision;
        let published = flags(&store).await[bank.as_str()].clone();
        (revision, published.rev, published.flag.stale_at_ms.unwrap())
    };
    let (revision, rev, first_ms) = look().await;
    shift_ms.store(MAX_AGE_MS / 4 - 30_000, SeqCst);
    send(&service, &alert_confirmed()).await;
    assert_eq!(look().await, (revision, rev, first_ms), "nothing is written");
    shift_ms.store(MAX_AGE_MS / 4 + 1_000, SeqCst);
    let mut position = store.snapshot().await.unwrap().position;
    let answered = send(&service, &alert_confirmed()).await;
    assert_eq!(answered.1, json!({"applied": 1, "changed": 0}));
    let (later_revision, later_rev, later_ms) = look().await;
    assert_eq!((later_revision, later_rev), (revision + 1, rev));
    assert!(later_ms - first_ms >= MAX_AGE_MS / 4, "{first_ms} -> {later_ms}");
    assert_eq!(store.tail(&mut position, Duration::from_millis(1)).await.unwrap(), []);
}

#[tokio::test]
async fn what_nothing_confirms_follows_its_policy_in_the_store_when_it_is_due() {
    for (on_stale, end) in [(OnStale::HalfOpen, State::HalfOpen), (OnStale::Close, State::Closed)] {
        let store = MemoryStore::new();
        // Short enough to wait for in a test; a file may not declare it.
        let breakers = breakers_with(0, |policy| (policy.max_age_ms, policy.on_stale) = (500, on_stale));
        let service = service_of(Arc::new(store.clone()), breakers);
        let _running = Running::start(&service);
        send(&service, &alert_confirmed()).await;
        wait_for(&store, end).await;
    }
}
