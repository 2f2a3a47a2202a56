//! The door for tower stacks.

use crate::vendor::{force_open, ms, upstream};
use crate::world::World;
use cutout::http::Idempotent;
use cutout::{CallError, Protection, Retries, Upstream};
use cutout_core::Policy;
use std::sync::{Arc, Mutex};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

type Request = http::Request<String>;
type Response = http::Response<String>;

/// An HTTP service that answers by the request's body, a status, and keeps the paths that it was asked for.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<String>>>);

impl Server {
    fn behind(
        &self,
        protection: &Protection<Request, Response, BoxError>,
    ) -> impl Service<Request, Response = Response, Error = BoxError> + Clone {
        let asked = Arc::clone(&self.0);
        protection.layer(service_fn(move |request: Request| {
            asked.lock().unwrap().push(request.uri().path().to_owned());
            let status: Option<u16> = request.body().parse().ok();
            async move {
                let status = status.ok_or("the connection was reset")?;
                Ok::<_, BoxError>(http::Response::builder().status(status).body(String::new()).unwrap())
            }
        }))
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn protect(upstream: &Upstream) -> Protection<Request, Response, BoxError> {
    cutout::tower::protect_http(upstream).key(|request| request.headers().get("x-bank-code")?.to_str().ok())
}

fn request(method: &str, path: &str, bank: &str, body: &str) -> Request {
    http::Request::builder()
        .method(method)
        .uri(path)
        .header("x-bank-code", bank)
        .body(body.to_owned())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_key_comes_from_the_request_and_refusals_are_found_in_the_boxed_error() {
    let mut world = World::new(Policy::default()).await;
    let (server, protection) = (Server::default(), protect(&upstream(&world, |it| it)));
    let service = server.behind(&protection);
    let post = |bank: &str, body: &str| service.clone().oneshot(request("POST", "/charges", bank, body));
    assert_eq!(post("0001", "200").await.unwrap().status(), 200);
    force_open(&mut world).await;
    let error = post("0001", "200").await.unwrap_err();
    let Some(CallError::Refused(refused)) = cutout::tower::told(&error) else { panic!("{error}") };
    assert_eq!(refused.breaker().as_str(), "bank-charge/0001");
    assert_eq!(post("0002", "402").await.unwrap().status(), 402);
    let error = post("0002", "reset").await.unwrap_err();
    assert!(cutout::tower::told(&error).is_none() && error.to_string() == "the connection was reset");
    assert_eq!(server.taken().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_done_twice_is_retried_and_only_failures() {
    let world = World::new(Policy::default()).await;
    let retries = Retries::up_to(2).budget(100, 10).backoff(ms(1), ms(1));
    let (server, protection) = (Server::default(), protect(&upstream(&world, |it| it.retries(retries))));
    let service = server.behind(&protection);
    let tried = async |request: Request| {
        let result = service.clone().oneshot(request).await;
        (result.map(|answer| answer.status().as_u16()).ok(), server.taken().len())
    };
    assert_eq!(tried(request("GET", "/", "0001", "503")).await, (Some(503), 3));
    assert_eq!(tried(request("GET", "/", "0001", "reset")).await, (None, 3));
    assert_eq!(tried(request("PUT", "/", "0001", "404")).await, (Some(404), 1));
    assert_eq!(tried(request("POST", "/", "0001", "503")).await, (Some(503), 1));
    let mut by_key = request("POST", "/", "0001", "503");
    by_key.extensions_mut().insert(Idempotent);
    assert_eq!(tried(by_key).await, (Some(503), 3));
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_goes_to_the_second_upstream_rewritten_and_then_to_the_fallback() {
    // Both upstreams go by the same breaker, which lets the second one's class through.
    let mut world = World::new(Policy { refuse: ["charge".to_owned()].into(), ..Policy::default() }).await;
    let (first, second) =
        (upstream(&world, |it| it.class("charge")), upstream(&world, |it| it.class("other-route")));
    let rewrite = |mut request: Request| {
        *request.uri_mut() = "/second".parse().unwrap();
        request
    };
    let server = Server::default();
    let both = protect(&first).failover(second, rewrite);
    let service = server.behind(&both);
    let get = || service.clone().oneshot(request("GET", "/first", "0001", "200"));
    get().await.unwrap();
    assert_eq!(server.taken(), ["/first"]);
    force_open(&mut world).await;
    get().await.unwrap();
    assert_eq!(server.taken(), ["/second"]);

    let none = upstream(&world, |it| it.class("charge"));
    let falls_back = protect(&first).failover(none, rewrite).fall_back(|error| {
        error.is_not_sent().then(|| http::Response::builder().status(202).body("later".to_owned()).unwrap())
    });
    let answer = server.behind(&falls_back).oneshot(request("GET", "/first", "0001", "200")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (202, "later"));
    assert_eq!(server.taken(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_wait_for_a_service_that_is_not_ready() {
    let mut world = World::new(Policy::default()).await;
    force_open(&mut world).await;
    let never =
        tower::limit::ConcurrencyLimit::new(service_fn(async |_: &'static str| Ok::<_, BoxError>(())), 0);
    let protection = cutout::tower::protect(&upstream(&world, |it| it)).key(|bank: &&str| Some(bank));
    let mut service = protection.layer(never);
    let started = tokio::time::Instant::now();
    let ready = tokio::time::timeout(ms(1), service.ready()).await.expect("it asks its breaker first");
    let error = ready.unwrap().call("0001").await.unwrap_err();
    assert!(matches!(cutout::tower::told(&error), Some(CallError::Refused(_))));
    let error = service.ready().await.unwrap().call("0002").await.unwrap_err();
    assert!(
        matches!(cutout::tower::told(&error), Some(CallError::TimedOut(_))),
        "and waiting for it is bounded"
    );
    assert!(started.elapsed() < ms(10_100));
}
