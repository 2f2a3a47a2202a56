//! A breaker within a breaker: what the one within refuses says nothing about the vendor of the one outside.

use crate::counted::Counted;
use crate::vendor::{Down, GOOD, Vendor, force_open, ms, upstream};
use crate::world::World;
use cutout::{CallError, LocalBreaker, Nested, Retries, Upstream, Window};
use cutout_core::Policy;
use cutout_tests::doubles::{Answer, Double};
use tower::{BoxError, Layer, ServiceExt, service_fn};

const CALLS: &str = "cutout_client_calls_total";
const ASKED: usize = 5;

/// One breaker for both, which lets the outer one's class through. The outer one would trip at once, and try again.
async fn both(counted: &Counted) -> (World, Upstream, Upstream) {
    assert!(counted.all(CALLS).is_empty());
    let mut world = World::new(Policy { refuse: ["charge".to_owned()].into(), ..Policy::default() }).await;
    let at_once = LocalBreaker::over(Window::Calls(20)).consecutive_failures(1);
    let retries = Retries::up_to(2).budget(100, 10).backoff(ms(1), ms(1));
    let outer = upstream(&world, |it| it.class("country").local_breaker(at_once).retries(retries));
    let inner = upstream(&world, |it| it.class("charge"));
    force_open(&mut world).await;
    (world, outer, inner)
}

/// All that was counted: the outer ones as not sent, the inner ones as refused, and nothing else.
async fn told(counted: &Counted, world: &World) {
    world.until(5).await;
    let of = |class: &str, outcome: &str| {
        counted.get(&format!("{CALLS}{{breaker=bank-charge,class={class},outcome={outcome}}}"))
    };
    assert_eq!((of("country", "not_sent"), of("charge", "refused")), (5.0, 5.0), "{:?}", counted.all(CALLS));
    let beside = ["cutout_client_retries", "cutout_client_local_trips"].map(|name| counted.all(name));
    assert_eq!((counted.all(CALLS).len(), beside), (2, [vec![], vec![]]), "{:?}", counted.all(CALLS));
    assert!(counted.all("cutout_client_call_seconds").is_empty(), "no latency of what was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_lane_around_a_lane_is_told_so() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let (world, outer, inner) = both(&counted).await;
    let (outer, inner, vendor) = (outer.lane(&["0001"]), inner.lane(&["0001"]), Vendor::new([GOOD]));
    for _ in 0..ASKED {
        let ended = outer.call_idempotent_by(Nested, || inner.call(|| vendor.ask())).await.unwrap_err();
        let within: CallError<Down> = ended.into_failed().unwrap();
        assert!(matches!(within, CallError::Refused(_)), "{within:?}");
    }
    assert_eq!(vendor.count(), 0);
    told(&counted, &world).await;
}

#[tokio::test(start_paused = true)]
async fn two_layers_whoever_classifies_and_a_service_that_asks_by_itself() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let (world, outer, inner) = both(&counted).await;
    let vendor =
        service_fn(async |_: http::Request<String>| Ok::<_, BoxError>(http::Response::new(String::new())));
    let within = cutout::tower::protect_http(&inner).key(|_| Some("0001")).layer(vendor);
    let any_error_fails = |ended: &Result<_, BoxError>| match ended {
        Ok(_) => cutout::Outcome::Success,
        Err(_) => cutout::Outcome::Failure,
    };
    let outer = cutout::tower::protect_http(&outer).key(|_| Some("0001")).classify(any_error_fails);
    let queued = outer.clone().fall_back(|error| {
        error.is_not_sent().then(|| http::Response::builder().status(202).body(String::new()).unwrap())
    });
    let request = || http::Request::get("/").body(String::new()).unwrap();
    for _ in 0..ASKED - 2 {
        let error = outer.layer(within.clone()).oneshot(request()).await.unwrap_err();
        assert!(matches!(cutout::tower::told(&error), Some(CallError::Refused(_))), "{error}");
    }
    let answer = queued.layer(within).oneshot(request()).await.unwrap();
    assert_eq!(answer.status(), 202, "a fallback outside sees that nothing was sent");
    let bank = world.bank.for_class("charge");
    let asks = service_fn(move |_| {
        let asked = bank.admit().map(|_| http::Response::new(String::new())).map_err(BoxError::from);
        std::future::ready(asked)
    });
    let error = outer.layer(asks).oneshot(request()).await.unwrap_err();
    assert!(matches!(cutout::tower::told(&error), Some(CallError::Refused(_))), "{error}");
    told(&counted, &world).await;
}

#[tokio::test]
async fn two_middlewares() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let (world, outer, inner) = both(&counted).await;
    let bank = Double::start("127.0.0.1").await;
    bank.answer("/", [Answer::new(200, "paid")]);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest_middleware::ClientBuilder::new(cutout::reqwest::client_builder(&outer).build().unwrap())
            .with(cutout::reqwest::protect(&outer).key(|_| Some("0001")))
            .with(cutout::reqwest::protect(&inner).key(|_| Some("0001")))
            .build();
    for _ in 0..ASKED {
        let error = client.get(bank.url()).send().await.unwrap_err();
        let Some(CallError::Refused(refused)) = cutout::reqwest::told(&error) else { panic!("{error}") };
        assert_eq!(refused.breaker().as_str(), "bank-charge/0001");
    }
    assert!(bank.asked().is_empty());
    tokio::time::pause();
    told(&counted, &world).await;
}

#[tokio::test]
async fn a_request_that_cannot_be_built_is_not_sent() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let bank = upstream(&world, |it| it.retries(Retries::up_to(2)));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = cutout::reqwest::protect(&bank).client(reqwest::Client::builder()).unwrap();
    let error = client.get("ftp://127.0.0.1/").send().await.unwrap_err();
    assert!(error.is_builder() && cutout::reqwest::told(&error).is_none(), "{error}");
    tokio::time::pause();
    world.until(5).await;
    assert_eq!(
        counted.get(&format!("{CALLS}{{breaker=bank-charge,class=none,outcome=not_sent}}")),
        1.0,
        "{:?}",
        counted.all(CALLS)
    );
}
