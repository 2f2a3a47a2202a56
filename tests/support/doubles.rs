//! A stand-in for an HTTP server that a room calls: it answers what it was told to and keeps what it was asked.
//! It runs on one loopback address, plays Datadog or an owning service, and stops when dropped.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The running server.
pub struct Double {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, VecDeque<Answer>>>,
    asked: Mutex<Vec<Asked>>,
    demanded: Mutex<HashMap<&'static str, String>>,
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    hangs: bool,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Such as `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Asked {
    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Answer {
    /// An answer with a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, body: body.into(), ..Answer::default() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// No answer at all.
    pub fn hang() -> Answer {
        Answer { hangs: true, ..Answer::default() }
    }
}

impl Double {
    /// Starts it on a free port of a loopback address. Until told otherwise it answers 404.
    pub async fn start(address: &str) -> Double {
        let address: IpAddr = address.parse().unwrap();
        assert!(address.is_loopback());
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Double { address, shared, server }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on answers requests for this path (without query) by these answers in turn, the last one for ever.
    pub fn answer(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answers.into_iter().collect());
    }

    /// From now on refuses, with 403, who does not send this header with this value.
    pub fn demand(&self, header: &'static str, value: &str) {
        self.shared.demanded.lock().unwrap().insert(header, value.to_owned());
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: to_bytes(body, REQUEST_BYTES_MAX).await.unwrap().to_vec(),
    };
    let answer = if shared.admits(&asked) {
        shared.next(parts.uri.path())
    } else {
        Answer::new(403, "{\"errors\":[\"Forbidden\"]}")
    };
    shared.asked.lock().unwrap().push(asked);
    if answer.hangs {
        std::future::pending::<()>().await;
    }
    let headers = answer.headers.iter();
    let response =
        headers.fold(Response::builder().status(answer.status), |r, (name, value)| r.header(name, value));
    response.body(Body::from(answer.body)).unwrap()
}

impl Shared {
    fn admits(&self, asked: &Asked) -> bool {
        self.demanded.lock().unwrap().iter().all(|(header, value)| asked.header(header) == value)
    }

    fn next(&self, path: &str) -> Answer {
        let mut answers = self.answers.lock().unwrap();
        let queue = answers.get_mut(path);
        let next =
            queue.and_then(|queue| if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() });
        next.unwrap_or_else(|| Answer::new(StatusCode::NOT_FOUND.as_u16(), "{\"errors\":[\"not found\"]}"))
    }
}
