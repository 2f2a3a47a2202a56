//! Two breakers' files at work, and a file that is changed.

use super::*;
use cutout_core::Mode;

fn alert() -> Value {
    callback(MONITOR, &[("bank_code:0001", "Alert")], 5)
}

#[tokio::test]
async fn the_instance_with_the_older_file_stands_back_and_flips_nothing() {
    let store = Arc::new(MemoryStore::new());
    let old = service_of(store.clone(), breakers_with(6, |policy| policy.mode = Mode::Watch));
    assert_eq!(send(&old, &alert()).await.0, StatusCode::OK);
    let new = service_of(store.clone(), breakers_with(7, |_| ()));
    let _running = [Running::start(&old), Running::start(&new)];
    wait_for(&store, State::Open).await;

    let refused = send(&old, &callback(MONITOR, &[("bank_code:0001", "OK")], 1)).await;
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.1.to_string().contains("newer settings"), "{}", refused.1);
    assert_eq!(flags(&*store).await["bank-charge/0001"].flag.state, State::Open);
    assert_eq!(send(&new, &callback(MONITOR, &[("bank_code:0001", "OK")], 1)).await.0, StatusCode::OK);
    wait_for(&store, State::Closed).await;
    assert_eq!(flags(&*store).await["bank-charge/0001"].flag.mode, Mode::Enforce);
    assert_eq!(store.snapshot().await.unwrap().meta.unwrap().declared.revision, 7);
}

#[tokio::test]
async fn an_instance_that_stands_back_is_not_ready_and_a_newer_one_is() {
    let store = Arc::new(MemoryStore::new());
    store.declare(&breakers_with(7, |_| ()).declared()).await.unwrap();
    for (revision, expected) in [(8, StatusCode::OK), (7, StatusCode::SERVICE_UNAVAILABLE)] {
        let service = service_of(store.clone(), breakers_with(revision, |_| ()));
        let _running = Running::start(&service);
        let ready = async || {
            let request = Request::get("/readyz").body(Body::empty()).unwrap();
            service.readiness().oneshot(request).await.unwrap().status()
        };
        if expected == StatusCode::OK {
            let started = Instant::now();
            while ready().await != expected {
                assert!(started.elapsed() < DEADLINE, "never ready");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        } else {
            // A callback proves that it has had its turn with the store.
            assert_eq!(send(&service, &alert()).await.0, expected);
            assert_eq!(ready().await, expected);
        }
    }
}

#[tokio::test]
async fn changed_settings_reach_every_flag_when_the_service_starts_with_them() {
    let store = MemoryStore::new();
    let watching = service_of(Arc::new(store.clone()), breakers_with(1, |policy| policy.mode = Mode::Watch));
    let banks: Vec<String> = (0..1_100).map(|bank| format!("bank_code:{bank:04}")).collect();
    let groups: Vec<(&str, &str)> = banks.iter().map(|bank| (bank.as_str(), "Alert")).collect();
    send(&watching, &callback(MONITOR, &groups, 5)).await;
    let before = flags(&store).await;
    assert!(before.values().all(|published| published.flag.state == State::Closed));
    assert!(before.values().all(|published| published.flag.would == Some(State::Open)));

    let classes: std::collections::BTreeSet<String> = ["charge".to_owned()].into();
    let enforcing =
        service_of(Arc::new(store.clone()), breakers_with(2, |policy| policy.refuse = classes.clone()));
    let _running = Running::start(&enforcing);
    let started = Instant::now();
    loop {
        let flags = flags(&store).await;
        if flags
            .values()
            .all(|published| published.flag.state == State::Open && published.flag.refuse == classes)
        {
            assert_eq!(flags.len(), 1_100);
            break;
        }
        assert!(started.elapsed() < DEADLINE, "some flags still say what the old file meant");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
