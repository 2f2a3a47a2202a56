//! What is sent: signed callbacks, made before the clock runs, over connections that are kept.

use crate::served::secret;
use cutout_core::webhook;
use cutout_service::callback::CALLBACK_PATH;
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) const CONNECTIONS: usize = 32;
/// How many callbacks all connections send in a turn.
pub(crate) const OF_A_TURN: usize = 6_400;
/// How many monitors there are of each kind but the hot one.
const MONITORS: u64 = 400;
const FIRST_MONITOR: u64 = 5_200_000;
const TO: &str = "https://bench.example/dd_circuit_breaker/callback";
/// In the mix, one callback of so many changes a flag; the others are a scheduled run's, which confirm.
const MIX_CHANGES_ONE_IN: usize = 10;

/// What callbacks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mix,
    Confirmed,
    ConfirmedLarge,
    Changed,
    Hot,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] =
        [Kind::Mix, Kind::Confirmed, Kind::ConfirmedLarge, Kind::Changed, Kind::Hot];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Mix => "mix: 5 groups, 1 of 10 changes a flag",
            Kind::Confirmed => "confirmed, 1 group",
            Kind::ConfirmedLarge => "confirmed, 20 groups",
            Kind::Changed => "changed, 1 group",
            Kind::Hot => "changed, all of one monitor",
        }
    }

    /// The breaker's name, which the monitors bear as a tag too.
    pub(crate) fn breaker(self) -> &'static str {
        match self {
            Kind::Mix => "mix",
            Kind::Confirmed => "confirmed",
            Kind::ConfirmedLarge => "large",
            Kind::Changed => "changed",
            Kind::Hot => "hot",
        }
    }

    fn groups(self) -> u64 {
        match self {
            Kind::Mix => 5,
            Kind::ConfirmedLarge => 20,
            Kind::Confirmed | Kind::Changed | Kind::Hot => 1,
        }
    }

    fn monitors(self) -> u64 {
        if self == Kind::Hot { 1 } else { MONITORS }
    }

    /// Whether the callback of this number changes a flag.
    fn changes(self, number: usize) -> bool {
        match self {
            Kind::Mix => number.is_multiple_of(MIX_CHANGES_ONE_IN),
            Kind::Changed | Kind::Hot => true,
            Kind::Confirmed | Kind::ConfirmedLarge => false,
        }
    }
}

/// The breakers of all kinds.
pub(crate) fn breakers_file() -> String {
    let of_kind = |kind: Kind| {
        let name = kind.breaker();
        format!(
            "[[breaker]]\nname = \"{name}\"\nkey = [\"bank_code\"]\nmin_open = \"0s\"\nmonitors = {{ tags = [\"cutout:{name}\"] }}\n"
        )
    };
    Kind::ALL.map(of_kind).concat()
}

/// The requests of one turn, for each connection.
pub(crate) type Requests = Vec<Vec<Vec<u8>>>;

/// Makes callbacks of one kind.
pub(crate) struct Load {
    kind: Kind,
    start: Timestamp,
    sent: usize,
    /// For each monitor, how often its first group changed, and when last.
    flips: Vec<(u32, Timestamp)>,
}

impl Load {
    pub(crate) fn new(kind: Kind) -> Load {
        let start = Timestamp::now();
        let flips = (0..kind.monitors()).map(|_| (0, start)).collect();
        Load { kind, start, sent: 0, flips }
    }

    /// The next turn. The first one has every monitor.
    pub(crate) fn requests(&mut self) -> Requests {
        let mut requests: Requests = (0..CONNECTIONS).map(|_| Vec::new()).collect();
        for nth in 0..OF_A_TURN {
            let request = self.next();
            requests[nth % CONNECTIONS].push(request);
        }
        requests
    }

    fn next(&mut self) -> Vec<u8> {
        let number = self.sent;
        self.sent += 1;
        let monitors = self.flips.len();
        // Each once, so that all are known; then in any order.
        let monitor = if number < monitors { number } else { fastrand::usize(..monitors) };
        let at = self.start + i64::try_from(number).expect("not so many").milliseconds();
        let (count, changed_at) = &mut self.flips[monitor];
        if self.kind.changes(number) {
            (*count, *changed_at) = (*count + 1, at);
        }
        let (fires, changed_at) = (*count % 2 == 1, *changed_at);
        signed(&self.body(monitor, fires, changed_at, at))
    }

    /// What a report of the monitor says at `as_of`.
    fn body(&self, monitor: usize, fires: bool, changed_at: Timestamp, as_of: Timestamp) -> Vec<u8> {
        let name = self.kind.breaker();
        let group = |nth: u64| {
            let bank = format!("{monitor:03}-{nth:02}");
            let status = if fires && nth == 0 { "Alert" } else { "OK" };
            let changed_at = if nth == 0 { changed_at } else { self.start };
            json!({"name": format!("bank_code:{bank},env:prod"), "tags": {"bank_code": [bank], "env": ["prod"]},
                   "status": status, "changed_at": changed_at, "muted": false})
        };
        let groups: Vec<_> = (0..self.kind.groups()).map(group).collect();
        let monitor_id = FIRST_MONITOR + 10_000 * self.kind as u64 + monitor as u64;
        let url = format!("https://app.datadoghq.example/monitors/{monitor_id}");
        let monitor = json!({"name": "Bank API", "type": "query alert", "overall_state": "OK",
                             "tags": ["cutout", format!("cutout:{name}")], "url": url});
        let body = json!({"schema": "cutout.callback/1", "source": "datadog", "reason": "reconcile", "to": TO,
                          "event_id": null, "monitor_id": monitor_id, "notified": null, "event": null,
                          "report": {"as_of": as_of, "groups": groups, "monitor": monitor}});
        body.to_string().into_bytes()
    }
}

/// A request with its signature, as it goes over the wire.
fn signed(body: &[u8]) -> Vec<u8> {
    let (id, now_secs) = (webhook::message_id(TO, body), Timestamp::now().as_second());
    let signature = webhook::sign(&[secret()], &id, now_secs, body);
    let head = format!(
        "POST {CALLBACK_PATH} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}: {id}\r\n{}: {now_secs}\r\n{}: {signature}\r\n\r\n",
        body.len(),
        webhook::ID_HEADER,
        webhook::TIMESTAMP_HEADER,
        webhook::SIGNATURE_HEADER,
    );
    [head.as_bytes(), body].concat()
}

/// What one or more turns brought.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) took: Duration,
    pub(crate) each: Vec<Duration>,
    /// How many were answered with something else than 200.
    pub(crate) not_taken: usize,
    /// The processor time of the server, and of its Redis.
    pub(crate) processor_s: f64,
    pub(crate) redis_processor_s: f64,
}

impl Turn {
    pub(crate) fn add(&mut self, other: Turn) {
        self.took += other.took;
        self.each.extend(other.each);
        self.not_taken += other.not_taken;
        self.processor_s += other.processor_s;
        self.redis_processor_s += other.redis_processor_s;
    }

    /// Callbacks a second.
    pub(crate) fn rate(&self) -> f64 {
        self.each.len() as f64 / self.took.as_secs_f64()
    }

    /// How long a callback takes that so large a share is faster than; milliseconds.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut each = self.each.clone();
        each.sort_unstable();
        let nth = (each.len().saturating_sub(1) as f64 * share).round();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        each.get(nth as usize).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn print(&self, name: &str, who: &str, ratio: &str) {
        let of_one = |seconds: f64| seconds * 1e6 / self.each.len() as f64;
        println!(
            "{name:<40} {who:<10} {:>12.0} {:>8.2} {:>8.2} {:>9.0} {:>9.0} {:>8} {ratio:>7}",
            self.rate(),
            self.at(0.5),
            self.at(0.99),
            of_one(self.processor_s),
            of_one(self.redis_processor_s),
            self.not_taken
        );
    }
}

/// Sends each connection's requests one after the other, all connections at once.
pub(crate) async fn send(at: SocketAddr, requests: &Requests) -> Turn {
    let mut connections = JoinSet::new();
    let requests = requests.clone();
    let started = Instant::now();
    for requests in requests {
        connections.spawn(over_one(at, requests));
    }
    let mut turn = Turn::default();
    for (each, not_taken) in connections.join_all().await {
        turn.each.extend(each);
        turn.not_taken += not_taken;
    }
    turn.took = started.elapsed();
    turn
}

async fn over_one(at: SocketAddr, requests: Vec<Vec<u8>>) -> (Vec<Duration>, usize) {
    let mut stream = TcpStream::connect(at).await.expect("it listens");
    stream.set_nodelay(true).expect("a TCP stream");
    let (mut each, mut not_taken) = (Vec::with_capacity(requests.len()), 0);
    let mut answer = Vec::with_capacity(4_096);
    for request in requests {
        let started = Instant::now();
        stream.write_all(&request).await.expect("the connection is kept");
        not_taken += usize::from(!is_taken(&mut stream, &mut answer).await);
        each.push(started.elapsed());
    }
    (each, not_taken)
}

/// Reads one answer. Whether it is 200.
async fn is_taken(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    answer.clear();
    loop {
        let count = stream.read_buf(answer).await.expect("the connection is kept");
        let text = std::str::from_utf8(answer).expect("text");
        assert!(count > 0, "the connection was cut: {text}");
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.parse().expect("a number") {
            return head.starts_with("HTTP/1.1 200 ");
        }
    }
}
