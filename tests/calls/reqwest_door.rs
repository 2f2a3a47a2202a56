//! The door for reqwest, against a real server.

use crate::counted::Counted;
use crate::vendor::{force_open, ms, upstream};
use crate::world::World;
use cutout::http::Idempotent;
use cutout::reqwest::Outgoing;
use cutout::{CallError, FakeClient, Protection, Retries, TimedOut, Timeout, Upstream, UpstreamBuilder};
use cutout_core::{Act, Fault, Mark, Policy};
use cutout_tests::doubles::{Answer, Asked, Double};
use cutout_tests::process::PATIENCE;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

const CALLS: &str = "cutout_client_calls_total";

/// How many calls ended so.
fn calls(counted: &Counted, outcome: &str) -> f64 {
    counted.get(&format!("{CALLS}{{breaker=bank-charge,class=none,outcome={outcome}}}"))
}

/// Such retries as take no time.
fn two() -> Retries {
    Retries::up_to(2).budget(100, 10).backoff(ms(1), ms(1))
}

fn protect(upstream: &Upstream) -> Protection<Outgoing, reqwest::Response, reqwest_middleware::Error> {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cutout::reqwest::protect(upstream).key(|asked| asked.header("x-bank-code"))
}

fn plain() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy()
}

fn client(upstream: &Upstream) -> ClientWithMiddleware {
    protect(upstream).client(plain()).unwrap()
}

/// The same, as it is built where other middlewares stand around it.
fn chained(upstream: &Upstream) -> ClientWithMiddleware {
    let protection = protect(upstream);
    let plain = cutout::reqwest::client_builder(upstream).no_proxy().build().unwrap();
    ClientBuilder::new(plain).with(protection).build()
}

async fn at_work(
    set: impl FnOnce(UpstreamBuilder) -> UpstreamBuilder,
) -> (World, Double, ClientWithMiddleware) {
    let (world, bank) = (World::new(Policy::default()).await, Double::start("127.0.0.1").await);
    bank.answer("/", [Answer::new(200, "paid")]);
    bank.answer("/down", [Answer::new(503, "down")]);
    let client = client(&upstream(&world, set));
    (world, bank, client)
}

#[tokio::test]
async fn the_key_comes_from_the_request_and_a_refusal_sends_nothing() {
    let (mut world, bank, client) = at_work(|it| it).await;
    let charge = |code: &str| client.post(bank.url()).header("x-bank-code", code).send();
    assert_eq!(charge("0001").await.unwrap().text().await.unwrap(), "paid");
    force_open(&mut world).await;
    let error = charge("0001").await.unwrap_err();
    let Some(CallError::Refused(refused)) = cutout::reqwest::told(&error) else { panic!("{error}") };
    assert_eq!(refused.breaker().as_str(), "bank-charge/0001");
    assert!(charge("0002").await.unwrap().status().is_success());
    assert_eq!(bank.asked().len(), 2);
}

#[tokio::test]
async fn only_what_may_be_done_twice_is_retried_and_only_failures() {
    let (_world, bank, client) = at_work(|it| it.retries(two())).await;
    let down = format!("{}/down", bank.url());
    let tries = async |request: reqwest_middleware::RequestBuilder| {
        let before = bank.asked().len();
        let status = request.send().await.unwrap().status().as_u16();
        (status, bank.asked().len() - before)
    };
    assert_eq!(tries(client.get(&down)).await, (503, 3));
    assert_eq!(tries(client.post(&down).body("1 EUR")).await, (503, 1));
    assert_eq!(tries(client.post(&down).body("1 EUR").with_extension(Idempotent)).await, (503, 3));
    assert_eq!(tries(client.get(format!("{}/none", bank.url()))).await, (404, 1));
    assert!(bank.asked().iter().filter(|asked| asked.method == "POST").all(|asked| asked.body == b"1 EUR"));
}

#[tokio::test]
async fn each_try_sends_the_same_request() {
    let (_world, bank, client) = at_work(|it| it.retries(two())).await;
    let down = format!("{}/down?day=1&day=2", bank.url());
    bank.answer("/down?day=1&day=2", [Answer::new(503, "down")]);
    let timed = |request: reqwest_middleware::RequestBuilder| request.timeout(ms(60_000));
    let many = |request: reqwest_middleware::RequestBuilder| {
        request.header("x-many", "1").header("x-many", "2").header("accept", "text/plain")
    };
    let tried = async |request: reqwest_middleware::RequestBuilder| {
        let before = bank.asked().len();
        assert_eq!(request.send().await.unwrap().status().as_u16(), 503);
        let asked = bank.asked().split_off(before);
        let parts = |asked: &Asked| {
            (asked.method.clone(), asked.path.clone(), asked.headers.clone(), asked.body.clone())
        };
        let parts: Vec<_> = asked.iter().map(parts).collect();
        assert!(parts.len() == 3 && parts.iter().all(|one| one == &parts[0]), "{parts:?}");
        assert_eq!(asked[0].headers.get_all("x-many").iter().count(), 2);
        asked[0].method.clone()
    };
    // Copied in one way and in the other.
    assert_eq!(tried(many(client.delete(&down))).await, "DELETE");
    assert_eq!(tried(timed(many(client.get(&down)))).await, "GET");
    assert_eq!(tried(many(client.put(&down)).body("1 EUR")).await, "PUT");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_retried_and_the_error_is_reqwests_own() {
    let (_world, _bank, client) = at_work(|it| it.retries(two())).await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client.get(format!("http://127.0.0.1:{port}/")).send().await.unwrap_err();
    assert!(error.is_connect() && cutout::reqwest::told(&error).is_none(), "{error}");
}

#[tokio::test]
async fn the_calls_time_bounds_a_server_that_hangs_and_a_body_that_trickles() {
    for build in [client, chained] {
        let counted = Counted::default();
        let _counting = metrics::set_default_local_recorder(&counted);
        let (world, bank, _) = at_work(|it| it).await;
        let client = build(&upstream(&world, |it| it.request_timeout(ms(300))));
        bank.answer("/hangs", [Answer::hang()]);
        for own in [None, Some(ms(100)), Some(ms(60_000))] {
            let request = client.get(format!("{}/hangs", bank.url()));
            let request = own.into_iter().fold(request, reqwest_middleware::RequestBuilder::timeout);
            let error = request.send().await.unwrap_err();
            let Some(CallError::TimedOut(told)) = cutout::reqwest::told(&error) else { panic!("{error}") };
            assert_eq!(told.timeout(), Timeout::Request);
            let is_sooner = own.is_some_and(|own| own < ms(300));
            assert!(if is_sooner { told.after() < ms(300) } else { told.after() == ms(300) }, "{told:?}");
        }
        world.until(3).await;
        assert_eq!(
            (calls(&counted, "timeout"), counted.all(CALLS).len()),
            (3.0, 1),
            "{:?}",
            counted.all(CALLS)
        );

        let answer = client.get(trickles()).send().await.unwrap();
        let read = tokio::time::timeout(PATIENCE, answer.bytes()).await.expect("the body's time is bounded");
        let error = read.unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }
}

/// The URL of a server whose answer to one request has no end.
fn trickles() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        // Ends when the client has gone.
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(ms(20));
        }
    });
    url
}

#[tokio::test]
async fn all_tries_of_a_call_have_its_time_together() {
    let (world, ..) = at_work(|it| it).await;
    let set = |it: UpstreamBuilder| it.retries(two()).try_timeout(ms(1_000)).request_timeout(ms(2_500));
    let upstream = upstream(&world, set);
    for client in [client(&upstream), chained(&upstream)] {
        let bank = Double::start("127.0.0.1").await;
        bank.answer("/", [Answer::new(200, "paid")]);
        let (told, took) = hangs(&bank, &client).await;
        assert_eq!((told.timeout(), bank.asked().len()), (Timeout::Request, 4), "one answered, three tried");
        assert!((ms(2_500)..ms(2_510)).contains(&took), "{took:?}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_second_upstream_has_its_own_time() {
    let (mut world, bank, _) = at_work(|it| it).await;
    let first = upstream(&world, |it| it.class("charge").request_timeout(ms(1_000)));
    let second = Upstream::builder("elsewhere").request_timeout(ms(30_000));
    let second = second.build(&FakeClient::new(["elsewhere"]).client()).unwrap();
    let client = protect(&first).failover(second, |outgoing| outgoing);
    let client = client.client(plain()).unwrap();
    force_open(&mut world).await;
    let (told, _) = hangs(&bank, &client).await;
    assert_eq!((told.breaker().as_str(), told.after()), ("elsewhere/0001", ms(30_000)));
}

/// The URL of a server that sends this in answer to one request, and is silent from then on; and what tells that its client has gone.
fn silent_after(answer: &'static [u8]) -> (String, oneshot::Receiver<()>) {
    let (tell, gone) = oneshot::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer);
        // Until the client has gone.
        while stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0) {}
        let _ = tell.send(());
    });
    (url, gone)
}

/// What is told of a request to a server that never answers, once a connection stands. Time passes by itself where nothing else is to be done.
/// Yields also how long the call took.
async fn hangs(bank: &Double, client: &ClientWithMiddleware) -> (TimedOut, Duration) {
    bank.answer("/hangs", [Answer::hang()]);
    let ask = |url: String| client.get(url).header("x-bank-code", "0001").send();
    ask(bank.url()).await.unwrap().text().await.unwrap();
    tokio::time::pause();
    let started = Instant::now();
    let error = ask(format!("{}/hangs", bank.url())).await.unwrap_err();
    match cutout::reqwest::told(&error) {
        Some(CallError::TimedOut(told)) => (told.clone(), started.elapsed()),
        _ => panic!("{error}"),
    }
}

#[tokio::test]
async fn silence_ends_no_call_before_its_time_unless_that_is_asked_for() {
    let (_world, bank, client) = at_work(|it| it).await;
    let (told, _) = hangs(&bank, &client).await;
    assert_eq!((told.timeout(), told.after()), (Timeout::Request, cutout::REQUEST_TIMEOUT));
}

#[tokio::test]
async fn a_late_header_is_silence_and_a_time_out() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let (world, bank, client) = at_work(|it| it.idle_timeout(ms(2_000))).await;
    let (told, _) = hangs(&bank, &client).await;
    assert_eq!(told.timeout(), Timeout::Idle);
    assert!((ms(2_000)..ms(2_100)).contains(&told.after()), "{told:?}");
    world.until(20).await;
    let outcomes = ["success", "timeout"].map(|outcome| calls(&counted, outcome));
    assert_eq!((outcomes, counted.all(CALLS).len()), ([1.0, 1.0], 2), "{:?}", counted.all(CALLS));
}

#[tokio::test]
async fn a_silent_body_ends_at_the_idle_time() {
    let (_world, _bank, client) = at_work(|it| it.idle_timeout(ms(200))).await;
    let (url, _gone) = silent_after(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx");
    let answer = client.get(url).send().await.unwrap();
    let started = Instant::now();
    let error = answer.bytes().await.unwrap_err();
    assert!(error.is_timeout() && started.elapsed() < cutout::REQUEST_TIMEOUT / 2, "{error}");
}

/// A listener that lets nobody in any more, with those who fill its queue.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap().into_std().unwrap();
    let address = listener.local_addr().unwrap();
    let mut within = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, ms(200)) {
        within.push(stream);
        assert!(within.len() < 100, "its queue has no end");
    }
    (listener, within)
}

#[tokio::test]
async fn connecting_has_a_limit_of_its_own() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let (world, _bank, client) = at_work(|it| it.connect_timeout(ms(300))).await;
    let (listener, _within) = full();
    let error = client.get(format!("http://{}/", listener.local_addr().unwrap())).send().await.unwrap_err();
    let Some(CallError::TimedOut(told)) = cutout::reqwest::told(&error) else { panic!("{error}") };
    assert_eq!(told.timeout(), Timeout::Connect);
    assert!(told.after() >= ms(300) && told.after() < cutout::CONNECT_TIMEOUT, "{told:?}");
    tokio::time::pause();
    world.until(20).await;
    assert_eq!((calls(&counted, "timeout"), counted.all(CALLS).len()), (1.0, 1), "{:?}", counted.all(CALLS));
}

#[tokio::test]
async fn an_unused_connection_is_closed_in_its_time() {
    let (_world, _bank, client) = at_work(|it| it.pool_idle_timeout(ms(200))).await;
    let (url, gone) = silent_after(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npaid");
    assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "paid");
    let gone = tokio::time::timeout(PATIENCE, gone);
    gone.await.expect("it stays open").unwrap();
}

#[tokio::test]
async fn a_refused_request_goes_to_the_second_upstream_and_a_fallback_answers_at_last() {
    let mut world = World::new(Policy { refuse: ["charge".to_owned()].into(), ..Policy::default() }).await;
    let [first_bank, second_bank] = [Double::start("127.0.0.1").await, Double::start("127.0.0.1").await];
    for bank in [&first_bank, &second_bank] {
        bank.answer("/", [Answer::new(200, "paid")]);
    }
    let (first, second) =
        (upstream(&world, |it| it.class("charge")), upstream(&world, |it| it.class("other-route")));
    let elsewhere = second_bank.url();
    let rewrite = move |mut outgoing: Outgoing| {
        *outgoing.request_mut().url_mut() = elsewhere.parse().unwrap();
        outgoing
    };
    let both = protect(&first);
    let fails_over = both.clone().failover(second, rewrite).client(plain()).unwrap();
    let falls_back = both
        .fall_back(|error| {
            error.is_not_sent().then(|| http::Response::builder().status(202).body("later").unwrap().into())
        })
        .client(plain())
        .unwrap();
    force_open(&mut world).await;
    let charge = |client: &ClientWithMiddleware| {
        client.post(first_bank.url()).header("x-bank-code", "0001").body("1 EUR").send()
    };
    assert_eq!(charge(&fails_over).await.unwrap().text().await.unwrap(), "paid");
    assert_eq!((first_bank.asked().len(), second_bank.asked().len()), (0, 1));
    assert_eq!(second_bank.asked()[0].body, b"1 EUR");
    let answer = charge(&falls_back).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (202, "later"));
}

#[tokio::test]
async fn a_fault_for_a_header_meets_the_requests_on_the_wire_that_bear_it_and_no_others() {
    let (mut world, bank, client) = at_work(|it| it.retries(two())).await;
    let now_ms = world.now_ms();
    let only = Some(Mark { name: "x-drill".to_owned(), value: Some("bank down".to_owned()) });
    let all = Fault {
        since_ms: 0,
        until_ms: now_ms + 60_000,
        abort_ppm: 1_000_000,
        delay_ppm: 0,
        delay_ms: 0,
        only,
    };
    world.ordered(Act::Inject(all)).await;
    let ask = async |drill: Option<&str>| {
        let request = client.get(bank.url()).header("x-bank-code", "0001");
        let request = drill.into_iter().fold(request, |request, value| request.header("X-Drill", value));
        let before = bank.asked().len();
        let ended = request.send().await;
        (ended, bank.asked().len() - before)
    };
    for _ in 0..20 {
        let (ended, sent) = ask(Some("bank down")).await;
        let error = ended.unwrap_err();
        let Some(CallError::Injected(injected)) = cutout::reqwest::told(&error) else { panic!("{error}") };
        assert_eq!((injected.breaker().as_str(), injected.after(), sent), ("bank-charge/0001", ms(0), 0));
        for others in [None, Some("bank up"), Some("")] {
            let (ended, sent) = ask(others).await;
            assert_eq!((ended.unwrap().text().await.unwrap().as_str(), sent), ("paid", 1), "{others:?}");
        }
    }
    world.ordered(Act::EndFault).await;
    assert!(ask(Some("bank down")).await.0.is_ok());
}

/// Notes how large the future behind it is.
struct Weighing(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Middleware for Weighing {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let call = next.run(request, extensions);
        self.0.store(size_of_val(&*call), Ordering::Relaxed);
        call.await
    }
}

#[tokio::test]
async fn the_future_of_a_call_fits_where_allocating_is_quick() {
    /// glibc keeps blocks up to this size at hand for each thread; larger ones cost a search, and joining them again.
    const QUICK_MAX_BYTES: usize = 1_032;
    let (world, bank, _) = at_work(|it| it).await;
    let (upstream, weight) = (upstream(&world, |it| it.retries(two())), Arc::default());
    let client = ClientBuilder::new(plain().build().unwrap())
        .with(Weighing(Arc::clone(&weight)))
        .with(protect(&upstream))
        .build();
    assert_eq!(client.get(bank.url()).send().await.unwrap().status(), 200);
    let bytes = weight.load(Ordering::Relaxed);
    assert!((1..=QUICK_MAX_BYTES).contains(&bytes), "{bytes} bytes");
}
