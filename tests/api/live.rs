//! Changes as they happen: in order, once, going on after a break at any instance, and ending when they should.

use cutout_tests::canary;
use cutout_tests::rig::{DEADLINE, Instance, Kept, MONITOR, Rig, Who, on_each_store};
use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_each_store!(a_change_reaches_who_follows, who_comes_back_is_told_what_changed_meanwhile);

/// An event.
#[derive(Debug, Clone)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// Somebody who follows.
struct Stream {
    response: reqwest::Response,
    read: String,
}

impl Stream {
    async fn open(instance: &Instance, last: Option<&str>) -> Stream {
        let mut request = instance.request(Who::Vic, Method::GET, "/v1/changes");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { response, read: String::new() }
    }

    /// The next event; none: the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        // Comments that keep the connection alive are no events.
        tokio::time::timeout(DEADLINE, self.read_event()).await.expect("no event came")
    }

    async fn read_event(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .trim()
                        .to_owned()
                };
                let (name, id, data) = (field("event:"), field("id:"), field("data:"));
                self.read = rest.to_owned();
                if !name.is_empty() {
                    return Some(Event { name, id, data: serde_json::from_str(&data).unwrap() });
                }
                continue;
            }
            self.read += std::str::from_utf8(&self.response.chunk().await.unwrap_or_default()?).unwrap();
        }
    }

    /// The next event of this name.
    async fn next_of(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }

    async fn flag(&mut self) -> (String, String) {
        let flag = self.next_of("flag").await.data;
        (flag["breaker"].as_str().unwrap().to_owned(), flag["state"].as_str().unwrap().to_owned())
    }
}

fn pair(breaker: &str, state: &str) -> (String, String) {
    (breaker.to_owned(), state.to_owned())
}

async fn a_change_reaches_who_follows(kept: Kept) {
    let rig = Rig::start(kept).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    let mut stream = Stream::open(&rig, None).await;
    let reset = stream.next().await.unwrap();
    assert_eq!((&*reset.name, &reset.data["rev"]), ("reset", &json!(1)), "it begins with: read the list");
    assert_eq!(stream.next_of("pause").await.data, json!({"pause": null}));
    rig.say(MONITOR, &[("0002", "Alert")]).await;
    let flag = stream.next_of("flag").await;
    assert_eq!(flag.data, rig.until_state("bank-charge/0002", "open").await, "as the list shows it");
    assert_eq!(flag.id, flag.data["version"].as_str().unwrap());
    let body = json!({"state": "closed", "why": "x", "until": "never"});
    rig.put(Who::Ann, "/v1/overrides/bank-charge/0001", &body).await;
    assert_eq!(stream.flag().await, pair("bank-charge/0001", "closed"));
}

async fn who_comes_back_is_told_what_changed_meanwhile(kept: Kept) {
    let rig = Rig::start(kept).await;
    let mut stream = Stream::open(&rig, None).await;
    assert_eq!(stream.next().await.unwrap().name, "reset");
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    let seen = stream.next_of("flag").await.id;
    drop(stream);
    rig.say(MONITOR, &[("0001", "OK"), ("0002", "OK")]).await;
    rig.say(MONITOR, &[("0002", "Alert")]).await;
    rig.until_state("bank-charge/0002", "open").await;

    // At another instance, if there can be one.
    let other = match kept {
        Kept::Redis => Some(rig.another().await),
        Kept::Memory => None,
    };
    let instance = other.as_ref().unwrap_or(&rig);
    instance.until_state("bank-charge/0002", "open").await;
    let mut stream = Stream::open(instance, Some(&seen)).await;
    assert_eq!(stream.flag().await, pair("bank-charge/0001", "half-open"));
    assert_eq!(stream.flag().await, pair("bank-charge/0002", "open"), "the newest alone");
    rig.say(MONITOR, &[("0003", "Alert")]).await;
    assert_eq!(stream.flag().await, pair("bank-charge/0003", "open"));
    for unknown in ["nonsense", "0000000000000000-1", &format!("{}9", seen)] {
        let mut stream = Stream::open(instance, Some(unknown)).await;
        assert_eq!(stream.next().await.unwrap().name, "reset", "{unknown}");
    }
}

#[tokio::test]
async fn a_pause_is_told_at_once_at_every_instance_and_so_is_its_end() {
    /// Less than any time between two snapshots (24 s), and what an instance with nothing to do needs is 1 s.
    const SOON: Duration = Duration::from_secs(20);
    let rig = Rig::start(Kept::Redis).await;
    let other = rig.another().await;
    let (mut here, mut there) = (Stream::open(&rig, None).await, Stream::open(&other, None).await);
    for stream in [&mut here, &mut there] {
        assert_eq!(stream.next_of("pause").await.data, json!({"pause": null}));
    }
    let started = Instant::now();
    let told = async |by: &Value, here: &mut Stream, there: &mut Stream| {
        for stream in [here, there] {
            assert_eq!(stream.next_of("pause").await.data["pause"]["by"], *by);
        }
    };
    rig.put(Who::Ann, "/v1/pause", &json!({"why": "x", "until": "1h"})).await;
    told(&json!("ann"), &mut here, &mut there).await;
    assert_eq!(rig.delete(Who::Ann, "/v1/pause?why=over").await.status, 204);
    told(&Value::Null, &mut here, &mut there).await;
    // One that ends by its time.
    rig.put(Who::Bob, "/v1/pause", &json!({"why": "x", "until": "4s"})).await;
    told(&json!("bob"), &mut here, &mut there).await;
    told(&Value::Null, &mut here, &mut there).await;
    assert!(started.elapsed() < SOON, "after {:?}", started.elapsed());
    // Who comes now is told it with the first events, or right after them.
    rig.put(Who::Ann, "/v1/pause", &json!({"why": "x", "until": "never"})).await;
    told(&json!("ann"), &mut here, &mut there).await;
    let mut late = Stream::open(&rig.another().await, None).await;
    assert_eq!(late.next_of("pause").await.data["pause"]["by"], json!("ann"));
}

#[tokio::test]
async fn who_follows_a_store_that_lost_its_data_is_told_to_start_over() {
    let mut rig = Rig::start(Kept::Redis).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    let mut stream = Stream::open(&rig, None).await;
    let before = stream.next().await.unwrap();
    rig.redis.as_mut().unwrap().restart();
    // The loss itself is told, and with the next change the new epoch.
    let mut after = stream.next_of("reset").await;
    let answers = async || rig.get(Who::Vic, "/v1/pause").await.status == 200;
    cutout_tests::rig::until("the store answers again", answers).await;
    rig.say(MONITOR, &[("0002", "Alert")]).await;
    while after.data["epoch"] == before.data["epoch"] {
        after = stream.next_of("reset").await;
    }
    rig.say(MONITOR, &[("0003", "Alert")]).await;
    while stream.flag().await != pair("bank-charge/0003", "open") {}
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    // Its building is not to eat up the time.
    let _ = cutout_tests::binaries::binary("cutout-service");
    let ends = Timestamp::now() + 10.seconds();
    let operators = canary::operators().replace("2999-01-01", &ends.to_string());
    let rig = Rig::start_with(Kept::Memory, &[("CUTOUT_OPERATORS", &operators)]).await;
    let mut stream = Stream::open(&rig, None).await;
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("the stream goes on without its token");
    assert!(Timestamp::now() >= ends);
    assert_eq!(rig.get(Who::Vic, "/v1/status").await.problem(), (401, "token"));
}

#[tokio::test]
async fn a_stream_does_not_hold_up_the_end_of_the_service() {
    let mut rig = Rig::start(Kept::Memory).await;
    let mut stream = Stream::open(&rig, None).await;
    stream.next().await.unwrap();
    let started = Instant::now();
    rig.terminate();
    while stream.next().await.is_some() {}
    rig.ended();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "the drain's limit is 15 s: {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn there_are_so_many_streams_and_no_more() {
    let rig = Rig::start(Kept::Memory).await;
    let mut streams = Vec::new();
    for _ in 0..cutout_service::api::STREAMS_MAX {
        streams.push(Stream::open(&rig, None).await);
    }
    for path in ["/v1/changes", "/v1/history/export"] {
        let full = rig.get(Who::Vic, path).await;
        assert_eq!((full.problem(), full.header("retry-after")), ((503, "streams"), "2"), "{path}");
    }
    assert_eq!(rig.get(Who::Vic, "/v1/status").await.status, 200, "everything else is answered");
    streams.clear();
    cutout_tests::rig::until("a place is free again", async || {
        rig.get(Who::Vic, "/v1/history/export").await.status == 200
    })
    .await;
}
