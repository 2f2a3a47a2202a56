//! What one wild monitor cannot do: open a whole business, or fill the store with keys.

use super::*;
use crate::OrderError;
use cutout_core::{Act, Forced, Order};

/// Banks 0 to `count`, in one status.
fn banks(count: usize, status: &'static str, ago_s: i64) -> Value {
    let names: Vec<String> = (0..count).map(|bank| format!("bank_code:{bank:04}")).collect();
    let groups: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), status)).collect();
    callback(MONITOR, &groups, ago_s)
}

async fn count(store: &MemoryStore, counts: impl Fn(&cutout_core::Flag) -> bool) -> usize {
    flags(store).await.values().filter(|published| counts(&published.flag)).count()
}

#[tokio::test]
async fn beyond_the_share_openings_wait_for_a_person() {
    let store = MemoryStore::new();
    let breakers = breakers_with(0, |policy| policy.max_open_ppm = 400_000);
    let service = service_of(Arc::new(store.clone()), breakers);
    send(&service, &banks(10, "OK", 60)).await;
    send(&service, &banks(10, "Alert", 50)).await;
    let open = async || count(&store, |flag| flag.state == State::Open).await;
    let held =
        async || count(&store, |flag| flag.state == State::Closed && flag.would == Some(State::Open)).await;
    assert_eq!((open().await, held().await), (4, 6));
    send(&service, &banks(10, "Alert", 40)).await;
    assert_eq!((open().await, held().await), (4, 6), "the same again opens no more");

    let waiting =
        flags(&store).await.into_iter().find(|(_, published)| published.flag.would.is_some()).unwrap().0;
    let release = Order { by: "ann".into(), why: "it is true".into(), act: Act::Release };
    assert_eq!(service.order(&id(&waiting), &release).await.unwrap().state, State::Open);
    assert_eq!((open().await, held().await), (5, 5));

    send(&service, &banks(10, "OK", 30)).await;
    assert_eq!((open().await, held().await), (0, 0), "what rests waits for nothing");
}

#[tokio::test]
async fn what_opens_again_at_the_end_of_its_ramp_takes_its_own_place_and_no_more() {
    // Not run, so that no timer closes what the next report opens again.
    for (max_open_ppm, open) in [(1_000_000, 4), (500_000, 2)] {
        let (store, shift_ms) = shifted_store();
        let breakers = breakers_with(0, |policy| policy.max_open_ppm = max_open_ppm);
        let service = service_of(Arc::new(store.clone()), breakers);
        send(&service, &banks(4, "OK", 60)).await;
        send(&service, &banks(open, "Alert", 50)).await;
        assert_eq!(count(&store, |flag| flag.state == State::Open).await, open);
        send(&service, &banks(4, "OK", 40)).await;
        assert_eq!(count(&store, |flag| flag.state == State::HalfOpen).await, open);
        shift_ms.fetch_add(RAMP_MS, SeqCst);
        send(&service, &banks(open, "Alert", 30)).await;
        assert_eq!(count(&store, |flag| flag.state == State::Open).await, open, "{max_open_ppm}");
        send(&service, &banks(4, "Alert", 20)).await;
        assert_eq!(count(&store, |flag| flag.state == State::Open).await, open, "others have no place");
    }
}

#[tokio::test]
async fn new_keys_beyond_the_limit_are_not_taken_in_and_known_ones_go_on() {
    let store = MemoryStore::new();
    let service = service_of(Arc::new(store.clone()), breakers_with(0, |policy| policy.max_keys = 3));
    assert_eq!(send(&service, &banks(2, "OK", 60)).await.1, json!({"applied": 2, "changed": 2}));
    assert_eq!(send(&service, &banks(5, "Alert", 50)).await.1, json!({"applied": 3, "changed": 3}));
    assert_eq!(send(&service, &banks(5, "OK", 40)).await.1, json!({"applied": 3, "changed": 3}));
    assert_eq!(flags(&store).await.len(), 3);
    let force =
        Order { by: "ann".into(), why: "x".into(), act: Act::Force { state: Forced::Open, until_ms: None } };
    assert!(matches!(service.order(&id("bank-charge/0009"), &force).await, Err(OrderError::TooManyKeys(_))));
    assert!(service.order(&id("bank-charge/0001"), &force).await.is_ok());
}
