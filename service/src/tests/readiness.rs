//! What whoever asks for readiness gets, however often, and that a defect is answered and told.

use super::*;
use crate::readiness::LOOK_HOLDS;
use crate::{Limits, serve};
use axum::Router;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What was logged by this thread.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn start() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let kept = log.clone();
        let logging = tracing_subscriber::fmt().json().with_writer(move || kept.clone()).finish();
        (log, tracing::subscriber::set_default(logging))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn readyz(router: &Router) -> (StatusCode, Value) {
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    answer(router.clone().oneshot(request).await.unwrap()).await
}

#[tokio::test]
async fn readiness_asks_the_store_once_for_all_who_ask_within_half_a_second() {
    let store = Disturbed::new(Disturbance::None);
    let service = service(store.clone());
    // Two listeners have it, and both share one look.
    let routers = [service.readiness(), service.readiness()];
    let started = Instant::now();
    let asked = (0..200).map(|nth| readyz(&routers[nth % 2]));
    for (_, told) in futures_util::future::join_all(asked).await {
        assert_eq!(told["store"]["ok"], true);
    }
    let looks = started.elapsed().as_millis() / LOOK_HOLDS.as_millis() + 1;
    assert!(store.reads().len() as u128 <= looks, "{} reads, {looks} looks", store.reads().len());
    // What is no matter of the store is told at once, and what it says after a moment.
    service.drain();
    assert_eq!(readyz(&routers[0]).await.1["draining"], true);
    store.disturb(Disturbance::Away);
    while readyz(&routers[0]).await.1["store"]["ok"] == true {
        assert!(started.elapsed() < DEADLINE, "the store is away, and that is never told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_defect_behind_a_probe_is_answered_and_logged_and_the_next_one_is_asked() {
    let (log, _logged) = Log::start();
    let store = Disturbed::new(Disturbance::Panic);
    let service = service(store.clone());
    let router = service.readiness();
    assert_eq!(
        readyz(&router).await,
        (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "internal error"}))
    );
    assert!(
        log.text().contains("\"panicked\"") && log.text().contains("a defect of the store"),
        "{}",
        log.text()
    );
    store.disturb(Disturbance::None);
    assert_eq!(readyz(&router).await.1["store"]["ok"], true);
}

#[tokio::test]
async fn a_connection_that_a_defect_ended_is_logged() {
    let (log, _logged) = Log::start();
    // Nothing catches it here: what a team mounts beside the service may panic.
    let panicking = axum::routing::get(async || -> &'static str { panic!("a defect beside the service") });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving =
        tokio::spawn(serve(listener, Router::new().route("/", panicking), Limits::default(), async {
            let _ = ended.await;
        }));
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answered = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answered)).await.unwrap().unwrap();
    assert!(answered.is_empty(), "cut off");
    end.send(()).unwrap();
    tokio::time::timeout(DEADLINE, serving).await.unwrap().unwrap();
    assert!(log.text().contains("a connection ended by a defect"), "{}", log.text());
    assert!(log.text().contains("panicked"), "{}", log.text());
}
