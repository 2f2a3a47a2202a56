//! A callback that may go out: what the receiver sees, and what the function is told.
//!
//! The receivers stand on loopback, which the guard of these tests opens by `127.0.0.0/8` and `::1/128`.

use crate::http::{Request, read_request};
use crate::names::Names;
use crate::{DEADLINE, NOW_SECS, callbacks, guard, secret, tls};
use cutout_core::webhook;
use cutout_lambda::callbacks::{Callbacks, DeliverError, RESPONSE_BODY_LEN_MAX};
use cutout_lambda::guard::{CallbackUrl, Guard, ResolveError};
use cutout_tests::canary::{OTHER_SIGNING_SECRET, SIGNING_SECRET};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// After so long a delivery hangs: less than [`DEADLINE`], which most senders here have for time-out.
const HANGS: Duration = Duration::from_secs(10);
/// Given to a callback whose receiver is made to be too slow.
const SHORT: Duration = Duration::from_secs(2);
const BODY: &[u8] = br#"{"schema":"cutout.callback/1"}"#;
const NAMES: [&str; 3] =
    ["service.example\t127.0.0.1", "empty.example\t", "metadata.example\t169.254.169.254"];

struct Sender {
    guard: Arc<Guard>,
    callbacks: Callbacks,
}

impl Sender {
    fn new(timeout: Duration) -> Sender {
        let guard = guard("*:*", "127.0.0.0/8,::1/128", true);
        let callbacks = callbacks(&guard, &Arc::new(Names::new(NAMES)), timeout);
        Sender { guard, callbacks }
    }

    fn url(&self, text: &str) -> CallbackUrl {
        self.guard.check(text).unwrap()
    }

    async fn deliver(&self, url: &str) -> Result<(), DeliverError> {
        let (url, secrets) = (self.url(url), [secret(SIGNING_SECRET)]);
        let delivery = self.callbacks.deliver(&url, &secrets, BODY, NOW_SECS);
        timeout(HANGS, delivery).await.expect("an end by one of the connector's own limits")
    }
}

/// A receiver that says the same to everyone, and keeps connections open.
struct Receiver {
    addr: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    connections: mpsc::UnboundedReceiver<SocketAddr>,
}

impl Receiver {
    async fn answering(answer: impl Into<Vec<u8>>) -> Receiver {
        Receiver::at(Ipv4Addr::LOCALHOST.into(), answer.into()).await
    }

    async fn at(ip: IpAddr, answer: Vec<u8>) -> Receiver {
        let (note_request, requests) = mpsc::unbounded_channel();
        let (note_connection, connections) = mpsc::unbounded_channel();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, by)) = listener.accept().await {
                let (note_request, answer) = (note_request.clone(), answer.clone());
                let _ = note_connection.send(by);
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        let _ = note_request.send(request);
                        let _ = stream.write_all(&answer).await;
                    }
                });
            }
        });
        Receiver { addr, requests, connections }
    }

    fn url(&self) -> String {
        format!("http://{}/cb?token=hush", self.addr)
    }

    async fn request(&mut self) -> Request {
        timeout(DEADLINE, self.requests.recv()).await.unwrap().unwrap()
    }

    fn connections(&mut self) -> usize {
        std::iter::from_fn(|| self.connections.try_recv().ok()).count()
    }
}

fn answer(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n")
}

/// All texts of an error: its own and its causes'.
fn told(error: &DeliverError) -> String {
    let mut told = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    told
}

#[tokio::test]
async fn only_200_means_committed() {
    let sender = Sender::new(DEADLINE);
    for (status, headers, expected) in [
        ("200 OK", "", None),
        ("201 Created", "", Some((201, false, None))),
        ("202 Accepted", "retry-after: 1\r\n", Some((202, false, Some(1)))),
        ("204 No Content", "", Some((204, false, None))),
        ("302 Found", "location: /else\r\n", Some((302, false, None))),
        ("400 Bad Request", "", Some((400, false, None))),
        ("401 Unauthorized", "", Some((401, false, None))),
        ("408 Request Timeout", "", Some((408, true, None))),
        ("422 Unprocessable", "", Some((422, false, None))),
        ("429 Too Many", "retry-after: 7\r\n", Some((429, true, Some(7)))),
        ("500 Oops", "retry-after: soon\r\n", Some((500, true, None))),
        // NOW_SECS is 01:35:18 of that day.
        ("503 Unavailable", "retry-after: Sat, 21 Nov 2026 01:35:48 GMT\r\n", Some((503, true, Some(30)))),
        ("503 Unavailable", "retry-after: Sat, 21 Nov 2026 01:00:00 GMT\r\n", Some((503, true, Some(0)))),
    ] {
        let receiver = Receiver::answering(answer(status, headers)).await;
        let outcome = sender.deliver(&receiver.url()).await;
        let seen = outcome.as_ref().err().map(|error| match error {
            DeliverError::Status { status, retry_after_secs, .. } => {
                (*status, error.is_retryable(), *retry_after_secs)
            }
            other => panic!("{status}: {other:?}"),
        });
        assert_eq!(seen, expected, "{status} {headers}");
    }
}

#[tokio::test]
async fn the_receiver_can_verify_and_the_same_body_bears_the_same_id() {
    let sender = Sender::new(DEADLINE);
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let url = sender.url(&receiver.url());
    let mut ids = Vec::new();
    for now_secs in [NOW_SECS, NOW_SECS + 60] {
        let both = [secret(SIGNING_SECRET), secret(OTHER_SIGNING_SECRET)];
        sender.callbacks.deliver(&url, &both, BODY, now_secs).await.unwrap();
        let request = receiver.request().await;
        assert_eq!(request.line(), "POST /cb?token=hush HTTP/1.1");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.body, BODY);
        let header = |name| request.header(name).unwrap();
        let (id, signature) = (header(webhook::ID_HEADER), header(webhook::SIGNATURE_HEADER));
        for known in both {
            let timestamp = header(webhook::TIMESTAMP_HEADER);
            let verdict = webhook::verify(&[known], id, timestamp, signature, &request.body, now_secs);
            assert_eq!(verdict, Ok(()));
        }
        ids.push(id.to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], webhook::message_id(url.as_str(), BODY));
}

#[tokio::test]
async fn nothing_is_sent_unsigned() {
    let sender = Sender::new(DEADLINE);
    let mut receiver = Receiver::answering(answer("200 OK", "")).await;
    let url = sender.url(&receiver.url());
    let error = sender.callbacks.deliver(&url, &[], BODY, NOW_SECS).await.unwrap_err();
    assert!(matches!(error, DeliverError::Unsigned { .. }) && !error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1=whsec_"), "{error}");
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_connection_serves_several_callbacks() {
    let sender = Sender::new(DEADLINE);
    let body = "x".repeat(RESPONSE_BODY_LEN_MAX);
    let full = format!("HTTP/1.1 500 Oops\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    for (said, ip) in [
        (answer("200 OK", ""), IpAddr::from(Ipv4Addr::LOCALHOST)),
        (answer("422 No", ""), Ipv6Addr::LOCALHOST.into()),
        (full, Ipv4Addr::LOCALHOST.into()),
    ] {
        let mut receiver = Receiver::at(ip, said.into()).await;
        for _ in 0..3 {
            let _ = sender.deliver(&receiver.url()).await;
            receiver.request().await;
        }
        assert_eq!(receiver.connections(), 1, "{ip}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let pouring = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    // The status was 200: committed, whatever follows.
    Sender::new(DEADLINE).deliver(&url).await.unwrap();
    // The pouring ends when the reader hangs up.
    timeout(DEADLINE, pouring).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_200_whose_body_never_ends_is_still_committed() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx").await;
    Sender::new(SHORT).deliver(&receiver.url()).await.unwrap();
}

#[tokio::test]
async fn each_way_to_fail_is_told_apart_and_names_the_host_alone() {
    // Bound and not listening: nobody else can take the port, and it refuses.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let silent = Receiver::answering("").await;
    let garbage = Receiver::answering("220 mail.example ESMTP\r\n\r\n").await;
    let hangs_up = hanging_up().await;
    let port = silent.addr.port();

    let (hasty, sender) = (Sender::new(SHORT), Sender::new(DEADLINE));
    type Is = fn(&DeliverError) -> bool;
    let cases: [(&Sender, String, &str, bool, Is); 8] = [
        (&hasty, silent.url(), "127.0.0.1", true, |error| matches!(error, DeliverError::Timeout { .. })),
        (&sender, format!("http://{}/?hush", closed.local_addr().unwrap()), "127.0.0.1", true, |error| {
            matches!(error, DeliverError::Connect { .. })
        }),
        (
            &sender,
            format!("https://service.example:{}/hush", hangs_up.port()),
            "service.example",
            true,
            |error| matches!(error, DeliverError::Connect { .. }),
        ),
        (&sender, format!("http://{hangs_up}/hush"), "127.0.0.1", true, |error| {
            matches!(error, DeliverError::Exchange { .. })
        }),
        (&sender, garbage.url(), "127.0.0.1", true, |error| matches!(error, DeliverError::Exchange { .. })),
        (&sender, format!("http://nowhere.example:{port}/hush"), "nowhere.example", true, |error| {
            matches!(error, DeliverError::Resolve { .. })
                && matches!(resolving(error), Some(ResolveError::Lookup { .. }))
        }),
        (&sender, format!("http://empty.example:{port}/hush"), "empty.example", true, |error| {
            matches!(error, DeliverError::Resolve { .. })
                && matches!(resolving(error), Some(ResolveError::Empty { .. }))
        }),
        (&sender, format!("http://metadata.example:{port}/hush"), "metadata.example", false, |error| {
            matches!(error, DeliverError::Refused(_)) && told(error).contains("CUTOUT_CALLBACK_ALLOW_CIDR")
        }),
    ];
    for (sender, url, host, is_retryable, is_it) in cases {
        let error = sender.deliver(&url).await.unwrap_err();
        let told = told(&error);
        assert!(is_it(&error), "{url}: {told}");
        assert_eq!(error.is_retryable(), is_retryable, "{url}");
        assert!(told.contains(host) && !told.contains("hush"), "{url}: {told}");
    }
}

#[tokio::test]
async fn a_certificate_by_an_unknown_ca_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    tls::make(folder.path(), vec!["service.example".to_owned()]);
    let acceptor = tls::acceptor(folder.path());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.ok()?;
        let request = read_request(&mut stream).await;
        let _ = stream.write_all(answer("200 OK", "").as_bytes()).await;
        request
    });
    let outcome = Sender::new(DEADLINE).deliver(&format!("https://service.example:{port}/")).await;
    assert!(matches!(outcome, Err(DeliverError::Connect { .. })), "{outcome:?}");
    assert!(timeout(DEADLINE, serving).await.unwrap().unwrap().is_none(), "the callback was sent");
}

/// Where every connection is closed at its first byte.
async fn hanging_up() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read_u8().await;
        }
    });
    addr
}

fn resolving(error: &DeliverError) -> Option<&ResolveError> {
    std::iter::successors(error.source(), |&error| error.source()).find_map(|error| error.downcast_ref())
}
