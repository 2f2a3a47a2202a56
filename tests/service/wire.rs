//! Callbacks as the function would send them, and HTTP by hand where a client would be too polite.

use cutout_core::webhook::{self, Secret};
use cutout_tests::canary;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const PATH: &str = "/dd_circuit_breaker/callback";
/// The service's own URL, as monitors name it.
pub(crate) const URL: &str = "https://service-a.example/dd_circuit_breaker/callback";
pub(crate) const MONITOR: u64 = 5_200_001;
/// How long any level may take to be reached.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A callback about one bank, whose group took `status` `ago_s` seconds before now.
pub(crate) fn callback(bank: &str, status: &str, ago_s: i64) -> Value {
    let at = Timestamp::now() - ago_s.seconds();
    json!({
        "schema": "cutout.callback/1", "source": "datadog", "reason": "notification", "to": URL,
        "event_id": "6618108885455469409", "monitor_id": MONITOR, "notified": null, "event": null,
        "report": {
            "as_of": at,
            "monitor": {"name": "Bank API", "type": "query alert", "tags": [], "url": ""},
            "groups": [{"name": format!("bank_code:{bank}"), "tags": {"bank_code": [bank]},
                        "status": status, "changed_at": at, "muted": false}],
        },
    })
}

/// The same with another value at a key.
pub(crate) fn with(mut callback: Value, key: &str, value: Value) -> Value {
    callback[key] = value;
    callback
}

/// The three headers of a body signed with `secret` at `sent_secs`.
pub(crate) fn signature(secret: &str, body: &[u8], sent_secs: i64) -> [(&'static str, String); 3] {
    let secret: Secret = secret.parse().expect("the test's secret is one");
    let id = webhook::message_id(URL, body);
    let signature = webhook::sign(&[secret], &id, sent_secs, body);
    [
        (webhook::ID_HEADER, id),
        (webhook::TIMESTAMP_HEADER, sent_secs.to_string()),
        (webhook::SIGNATURE_HEADER, signature),
    ]
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
}

/// Sends a body with headers as they are given.
pub(crate) async fn post(at: SocketAddr, headers: &[(&'static str, String)], body: Vec<u8>) -> Answer {
    // Without TLS no provider is used, but the client wants to have one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = reqwest::Client::new().post(format!("http://{at}{PATH}")).body(body);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    answer(request.send().await.expect("the service answers")).await
}

/// Sends a callback as the function does.
pub(crate) async fn send(at: SocketAddr, callback: &Value) -> Answer {
    let body = callback.to_string().into_bytes();
    let headers = signature(canary::SIGNING_SECRET, &body, Timestamp::now().as_second());
    post(at, &headers, body).await
}

pub(crate) async fn get(at: SocketAddr, path: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::get(format!("http://{at}{path}")).await.expect("the service answers").status().as_u16()
}

/// What a path answers, status and text.
pub(crate) async fn read(at: SocketAddr, path: &str) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let response = reqwest::get(format!("http://{at}{path}")).await.expect("the service answers");
    (response.status().as_u16(), response.text().await.expect("the answer has a body"))
}

async fn answer(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after");
    let retry_after = header.map(|value| value.to_str().unwrap().parse().expect("whole seconds"));
    let body = response.text().await.expect("the answer has a body");
    Answer { status, retry_after, body: serde_json::from_str(&body).unwrap_or(Value::String(body)) }
}

/// Waits until `reached` says so.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !reached().await {
        assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection that sends what it is told and nothing more.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(at: SocketAddr) -> Raw {
        Raw(TcpStream::connect(at).await.expect("the service listens"))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the connection is open");
    }

    /// Reads until what came contains `wanted`.
    pub(crate) async fn read_until(&mut self, wanted: &str) -> String {
        let reading = async {
            let mut read = Vec::new();
            while !String::from_utf8_lossy(&read).contains(wanted) {
                let count = self.0.read_buf(&mut read).await.expect("the connection can be read");
                assert!(count > 0, "{wanted:?} never came, only {:?}", String::from_utf8_lossy(&read));
            }
            String::from_utf8_lossy(&read).into_owned()
        };
        tokio::time::timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("{wanted:?} never came"))
    }

    /// Reads to the end of the connection, which the other side brings.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut read = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, self.0.read_to_end(&mut read)).await;
        let ended = ended.expect("the service never closed the connection");
        // A reset is an end as well.
        drop(ended);
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// The head of a signed callback with a body of this length, to be followed by that body or not.
pub(crate) fn head(at: SocketAddr, body: &[u8], more: &str) -> String {
    let headers = signature(canary::SIGNING_SECRET, body, Timestamp::now().as_second());
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!("POST {PATH} HTTP/1.1\r\nhost: {at}\r\ncontent-length: {length}\r\n{headers}{more}\r\n")
}
