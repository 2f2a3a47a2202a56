//! What people order, through the service and its store.

use super::readiness::Log;
use super::*;
use crate::OrderError;
use cutout_core::{Act, Forced, Order};

fn order(act: Act) -> Order {
    Order { by: "ann".into(), why: "vendor maintenance".into(), act }
}

fn force(state: Forced, until_ms: Option<i64>) -> Order {
    order(Act::Force { state, until_ms })
}

async fn shown(store: &MemoryStore, breaker: &str) -> (State, Option<State>) {
    let flag = &flags(store).await[breaker].flag;
    (flag.state, flag.would)
}

fn alert(bank: &str, ago_s: i64) -> Value {
    callback(MONITOR, &[(bank, "Alert")], ago_s)
}

#[tokio::test]
async fn a_sweep_does_not_publish_again_what_another_instance_has_just_published() {
    let store = Disturbed::new(Disturbance::None);
    let service = service(store.clone());
    send(&service, &callback(MONITOR, &[("bank_code:0001", "OK")], 9)).await;
    store.disturb(Disturbance::RivalAfterSnapshot);
    service.resume("ann", "to see").await.unwrap();
    assert_eq!(flags(&*store).await["bank-charge/0001"].flag.state, State::Open);
    assert_eq!(
        store.snapshot().await.unwrap().meta.unwrap().rev,
        2,
        "one change each, of the report and of the rival"
    );
}

#[tokio::test]
async fn an_override_outlives_callbacks_and_ends_in_the_store_at_its_time() {
    let (store, shift_ms) = shifted_store();
    let service = service(Arc::new(store.clone()));
    let bank = id("bank-charge/0001");
    let until_ms = store.read(&[], None).await.unwrap().now_ms + 60_000;
    let flag = service.order(&bank, &force(Forced::Closed, Some(until_ms))).await.unwrap();
    assert_eq!(
        (flag.state, flag.forced.map(|forced| forced.until_ms)),
        (State::Closed, Some(Some(until_ms)))
    );
    send(&service, &alert("bank_code:0001", 5)).await;
    assert_eq!(shown(&store, "bank-charge/0001").await, (State::Closed, None), "a signal undoes nothing");

    let _running = Running::start(&service);
    shift_ms.store(61_000, SeqCst);
    wait_for(&store, State::Open).await;
}

#[tokio::test]
async fn an_order_without_a_name_a_reason_or_a_breaker_is_refused_and_writes_nothing() {
    let store = MemoryStore::new();
    let service = service(Arc::new(store.clone()));
    let unsigned = [
        Order { by: " ".into(), ..force(Forced::Open, None) },
        Order { why: String::new(), ..force(Forced::Open, None) },
        Order { why: "x".repeat(crate::WHY_MAX_BYTES + 1), ..force(Forced::Open, None) },
    ];
    for order in unsigned {
        assert!(matches!(service.order(&id("fleet"), &order).await, Err(OrderError::Unsigned)));
    }
    let unknown = service.order(&id("card-charge/x"), &force(Forced::Open, None)).await;
    assert!(matches!(unknown, Err(OrderError::Undeclared(_))));
    assert!(matches!(service.pause("", "drill", None).await, Err(OrderError::Unsigned)));
    assert!(flags(&store).await.is_empty() && store.snapshot().await.unwrap().meta.is_none());
}

#[tokio::test]
async fn two_people_and_a_storm_of_callbacks_lose_nothing() {
    let store = Arc::new(MemoryStore::new());
    let service = service(store.clone());
    let mut storm = tokio::task::JoinSet::new();
    for round in 0..16 {
        let service = service.clone();
        storm.spawn(async move {
            let status = if round % 2 == 0 { "Alert" } else { "OK" };
            assert_eq!(
                send(&service, &callback(MONITOR, &[("bank_code:0001", status)], 40 - round)).await.0,
                200
            );
        });
    }
    for state in [Forced::Open, Forced::Closed] {
        let service = service.clone();
        storm.spawn(async move {
            service.order(&id("bank-charge/0001"), &force(state, None)).await.unwrap();
        });
    }
    storm.join_all().await;
    let flag = flags(&*store).await["bank-charge/0001"].flag.clone();
    assert_eq!(Some(flag.state), flag.forced.map(|forced| forced.state.into()), "the later order holds");
    let cleared = service.order(&id("bank-charge/0001"), &order(Act::Clear)).await.unwrap();
    assert_ne!(cleared.state, State::Open, "the newest report says OK");
}

#[tokio::test]
async fn a_pause_holds_openings_back_until_somebody_resumes() {
    let store = MemoryStore::new();
    let service = service(Arc::new(store.clone()));
    send(&service, &alert("bank_code:0002", 30)).await;
    let pause = service.pause("ann", "Datadog is wrong", None).await.unwrap();
    assert_eq!((pause.by.as_str(), pause.until_ms), ("ann", None));
    send(&service, &alert("bank_code:0001", 20)).await;
    assert_eq!(shown(&store, "bank-charge/0001").await, (State::Closed, Some(State::Open)));
    assert_eq!(flags(&store).await["bank-charge/0002"].flag.state, State::Open, "what is open stays");
    service.resume("ann", "it was right").await.unwrap();
    assert_eq!(shown(&store, "bank-charge/0001").await, (State::Open, None), "without another report");
}

#[tokio::test]
async fn what_a_pause_held_back_opens_when_it_ends_by_its_time() {
    let store = MemoryStore::new();
    let service = service(Arc::new(store.clone()));
    let until_ms = Timestamp::now().as_millisecond() + 500;
    service.pause("ann", "drill", Some(until_ms)).await.unwrap();
    send(&service, &alert("bank_code:0001", 5)).await;
    assert_eq!(shown(&store, "bank-charge/0001").await, (State::Closed, Some(State::Open)));
    let _running = Running::start(&service);
    wait_for(&store, State::Open).await;
}

/// The line of the log that tells it.
const RESTORED: &str = "a pause that the store lost is restored";

#[tokio::test]
async fn what_people_ordered_outlives_the_loss_of_all_data() {
    let (log, _logged) = Log::start();
    let store = MemoryStore::new();
    let instances = [service(Arc::new(store.clone())), service(Arc::new(store.clone()))];
    let _running = instances.each_ref().map(Running::start);
    let bank = id("bank-charge/0001");
    instances[0].order(&bank, &force(Forced::Open, None)).await.unwrap();
    instances[0].pause("bob", "drill", None).await.unwrap();
    for instance in &instances {
        let started = Instant::now();
        while !instance.shared.people.knows(&bank) || !instance.shared.people.knows_pause() {
            assert!(started.elapsed() < 2 * DEADLINE, "the instance never learns of it");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    store.lose_everything();
    // A callback is the first to touch the store: not even for a moment is the override gone.
    send(&instances[1], &callback(MONITOR, &[("bank_code:0001", "OK")], 5)).await;
    assert_eq!(flags(&store).await["bank-charge/0001"].flag.state, State::Open);
    let read = store.read(std::slice::from_ref(&bank), None).await.unwrap();
    let forced = read.breakers[0].as_ref().unwrap().value.forced().cloned().unwrap();
    assert_eq!((forced.by.as_str(), forced.why.as_str()), ("ann", "vendor maintenance"));
    assert_eq!(read.pause.map(|pause| pause.by), Some("bob".to_owned()));
    // The log tells what was written back as it told it at first.
    let text = log.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let restored = lines.map(|line| line["fields"].clone()).find(|line| line["message"] == RESTORED).unwrap();
    let told = [&restored["act"], &restored["by"], &restored["why"]];
    assert_eq!(told, ["restore", "bob", "drill"], "{restored}");
}

#[tokio::test]
async fn what_a_person_has_ended_is_not_restored() {
    let store = MemoryStore::new();
    let service = service(Arc::new(store.clone()));
    let running = Running::start(&service);
    let bank = id("bank-charge/0001");
    service.order(&bank, &force(Forced::Open, None)).await.unwrap();
    let learned = async |known: bool| {
        let started = Instant::now();
        while service.shared.people.knows(&bank) != known {
            assert!(started.elapsed() < DEADLINE, "known: {known}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    learned(true).await;
    service.order(&bank, &order(Act::Clear)).await.unwrap();
    learned(false).await;
    store.lose_everything();
    send(&service, &callback(MONITOR, &[("bank_code:0001", "OK")], 5)).await;
    assert_eq!(flags(&store).await["bank-charge/0001"].flag.state, State::Closed);
    drop(running);
}
