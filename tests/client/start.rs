//! A start is bounded, whatever is wrong with the store: it goes on without it, or says what is wrong, by choice.

use crate::{declare, until};
use cutout::{Client, ClientBuilder, ConnectError, MaxStaleness, START_TIMEOUT, State, Upstream};
use cutout_flags::MemoryStore;
use cutout_tests::canary;
use cutout_tests::flips::{Flipper, KEY, NAME};
use cutout_tests::redis::{RedisServer, documented_users, url_of};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(2);
const NEVER_MIND: &str = "";

/// A server that speaks TLS, with a certificate that nobody trusts.
async fn tls_server() -> u16 {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
    port
}

/// Starts without the store, in time; `told` stands in the error of whoever requires it.
async fn starts_without(url: String, told: &str, within: Duration) {
    let shown = url.replace(canary::REDIS_PASSWORD, "…");
    let started = Instant::now();
    let builder = || -> ClientBuilder { Client::builder(&url).breaker("bank-charge") };
    let (lenient, strict) = tokio::join!(builder().connect(), builder().require_store().connect());
    let took = started.elapsed();
    assert!(took < within + SLACK, "{shown} took {took:?}");
    let client = lenient.unwrap();
    assert!(client.breaker("bank-charge", &["0001"]).unwrap().admit().is_ok(), "calls flow: {shown}");
    assert!(!client.health().connected && client.health().age.is_none(), "{shown}");
    let Err(ConnectError::NoStore(problem)) = strict else { panic!("{shown} is no error") };
    assert!(problem.contains(told), "{shown}: {problem}");
    assert!(!problem.contains(canary::REDIS_PASSWORD), "{shown}: the password is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_bounded_and_says_what_is_wrong_with_the_store() {
    // Another test of this binary may have been first.
    let _ = ring::default_provider().install_default();
    let plain = RedisServer::start();
    let hung = RedisServer::start();
    hung.pause();
    let guarded = RedisServer::start_with_password(canary::REDIS_PASSWORD);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let absent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let tls = tls_server().await;
    let wrong = format!("redis://:{}-wrong@127.0.0.1:{}", canary::REDIS_PASSWORD, guarded.port());
    let without = format!("redis://127.0.0.1:{}", guarded.port());
    let by_refusal = Duration::ZERO;
    tokio::join!(
        starts_without(format!("redis://127.0.0.1:{absent}"), "Connection refused", START_TIMEOUT),
        starts_without(format!("redis://127.0.0.1:{silent_port}"), "2000 ms", START_TIMEOUT),
        starts_without(hung.url(), "2000 ms", START_TIMEOUT),
        starts_without("redis://a.name.that.is.invalid".to_owned(), NEVER_MIND, START_TIMEOUT),
        starts_without(wrong, "authentication failed", by_refusal),
        starts_without(without, "NOAUTH", by_refusal),
        // TLS on one side alone, both ways, and a certificate that nobody signed.
        starts_without(format!("rediss://127.0.0.1:{}", plain.port()), "cannot be reached", START_TIMEOUT),
        // Its alert is no answer of Redis, or the end of the connection comes first.
        starts_without(format!("redis://127.0.0.1:{tls}"), NEVER_MIND, START_TIMEOUT),
        starts_without(format!("rediss://127.0.0.1:{tls}"), "certificate", START_TIMEOUT),
    );
    hung.resume();
}

#[tokio::test]
async fn who_requires_the_store_and_has_it_starts() {
    let redis = RedisServer::start();
    let client = Client::builder(redis.url()).require_store().connect().await.unwrap();
    assert!(client.health().connected);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_channel_or_without_it_a_start_is_whole_and_a_hang_later_is_told_and_heals() {
    for less in [None, Some("-subscribe"), Some("resetchannels")] {
        let redis = RedisServer::start();
        documented_users(&redis);
        if let Some(less) = less {
            let () = redis.ask(&["ACL", "SETUSER", "cutout-caller", less]);
        }
        let mut flipper = Flipper::new(&redis.url()).await;
        flipper.set(State::Open).await;
        let started = Instant::now();
        let url = url_of(&redis, "cutout-caller");
        let client = Client::builder(url).breaker(NAME).require_store().connect().await.unwrap();
        let bank = client.breaker(NAME, &[KEY]).unwrap();
        assert!(started.elapsed() < START_TIMEOUT && bank.admit().is_err(), "{less:?}");

        redis.pause();
        until("the silence is told", || !client.health().connected).await;
        let asked = Instant::now();
        assert!(bank.admit().is_err() && asked.elapsed() < SLACK, "what was known stays: {less:?}");
        redis.resume();
        flipper.set(State::Closed).await;
        until("it follows again", || client.health().connected && bank.admit().is_ok()).await;
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let short = MaxStaleness::ClosedAfter(Duration::from_secs(1));
    let wrong = Client::builder("http://127.0.0.1/").max_staleness(short).max_staleness_of("rates", short);
    let error = wrong.connect().await.unwrap_err();
    let ConnectError::Several(all) = &error else { panic!("{error}") };
    assert!(
        matches!(&all[..], [ConnectError::Staleness(rates), ConnectError::Staleness(_), ConnectError::Store(_)] if rates == "`rates`"),
        "{all:?}"
    );
    for told in ["max_staleness of `rates`", "max_staleness of all breakers", "its URL is wrong"] {
        assert!(error.to_string().contains(told), "{error}");
    }

    let store = MemoryStore::new();
    declare(&store).await;
    let builder = || Client::builder_on(Arc::new(store.clone()));
    let error = builder().breaker("bank-chrage").breaker("rates").connect().await.unwrap_err();
    let ConnectError::Several(all) = &error else { panic!("{error}") };
    assert!(matches!(&all[..], [ConnectError::Unknown(_), ConnectError::Unknown(_)]), "{all:?}");
    assert!(error.to_string().contains("did you mean `bank-charge`"), "{error}");

    let client = builder().connect().await.unwrap();
    let mistakes = Upstream::builder("bank-chrage").class("").request_timeout(Duration::ZERO).build(&client);
    let settings: Vec<_> = mistakes.unwrap_err().all().iter().map(cutout::Mistake::setting).collect();
    assert_eq!(settings, ["builder", "class", "request_timeout"], "an unknown name beside the others");
}
