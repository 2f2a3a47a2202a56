//! The whole path with real parts: compiled function under a Runtime API host, compiled service, a Redis of its own, clients in a
//! process of their own; a Datadog that answers at once.
//!
//! Everybody who notes a moment reads the system's clock, which all processes here share; the bench ends if somebody sets it.

use crate::wire::Wire;
use cutout_cli::fake_datadog::{FakeDatadog, sns_event};
use cutout_core::directive::KEYWORD;
use cutout_service::callback::CALLBACK_PATH;
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::crowd::{Crowd, now_ns};
use cutout_tests::process::{PATIENCE, Program};
use cutout_tests::redis::RedisServer;
use cutout_tests::runtime_api::RuntimeApi;
use cutout_tests::service::ServiceProcess;
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) const NAME: &str = "bank-charge";
const FIRST_MONITOR: u64 = 5_200_000;
/// How many groups each monitor has: every report bears them all.
const GROUPS: usize = 20;
/// How long Lambda gives an invocation.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(20);
/// Without probes: a client that admits one has heard of the opening as well, but cannot be told from one that has not.
const BREAKERS: &str = r#"
[[breaker]]
name     = "bank-charge"
key      = ["bank_code"]
monitors = { tags = ["cutout"] }
max_keys = 200000
probe    = "0%"
"#;
/// A scheduled run over all breakers may take so long.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(300);
/// The two clocks of this process may drift apart so far during one event.
const CLOCK_STEP_MAX_NS: u64 = 1_000_000;

/// The running parts. Each event is about a breaker of its own: all are known, and closed until it comes.
pub(crate) struct Rig {
    datadog: FakeDatadog,
    runtime: RuntimeApi,
    wire: Wire,
    crowd: Crowd,
    heard: mpsc::Receiver<(String, u64)>,
    directive: String,
    nth: usize,
    pub(crate) redis: RedisServer,
    pub(crate) service: ServiceProcess,
    _parts: (Program, tempfile::TempDir),
}

/// What a path is measured with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// How many follow.
    pub(crate) clients: usize,
    /// How many breakers are known; each event opens another one.
    pub(crate) breakers: usize,
    /// Whether callbacks go through TLS.
    pub(crate) tls: bool,
}

/// The hops of one event, milliseconds. The first three add up to the sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hops {
    /// From the event's arrival until the first bytes of the callback come out of the function.
    pub(crate) function: f64,
    /// From there until somebody knows of the commit.
    pub(crate) commit: f64,
    /// From there until the last client refuses.
    pub(crate) clients: f64,
    /// From the event's arrival until the last client refuses.
    pub(crate) sum: f64,
    /// From the callback until the service's answer to it.
    pub(crate) answer: f64,
    /// From the event's arrival until the function has answered that all is done.
    pub(crate) invocation: f64,
}

impl Rig {
    /// Starts all parts, and waits until all breakers are known and all clients follow.
    pub(crate) async fn start(size: Size) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let redis = RedisServer::start_everysec();
        let operators = canary::operators();
        let more = [("CUTOUT_OPERATORS", operators.as_str()), ("CUTOUT_OPERATORS_LISTEN", "127.0.0.1:0")];
        let service = ServiceProcess::start(&redis.url(), BREAKERS, &more);
        let _declared = service.lines_at_least(1, "declared");
        let wire = Wire::start(service.at(), size.tls.then_some(folder.path())).await;
        let directive = format!("{KEYWORD} {}{CALLBACK_PATH}", wire.url());
        let datadog = datadog(size.breakers, &directive).await;
        let runtime = RuntimeApi::start().await;
        let function = start_function(&runtime, &datadog, &wire);
        let heard = listen(&redis);
        let crowd = Crowd::start(&redis.url(), NAME, size.clients);
        let parts = (function, folder);
        let rig =
            Rig { datadog, runtime, wire, crowd, heard, directive, nth: 0, redis, service, _parts: parts };
        rig.reconcile().await;
        rig
    }

    /// A scheduled run over all monitors: how long it takes, milliseconds.
    pub(crate) async fn reconcile(&self) -> f64 {
        let started = Instant::now();
        let answered = self.runtime.invoke(json!({"cutout": "reconcile"}), RECONCILE_TIMEOUT).await;
        assert_eq!(answered, Ok(Value::Null));
        started.elapsed().as_secs_f64() * 1e3
    }

    /// The next group turns to alert: what its notification takes from end to end.
    pub(crate) async fn event(&mut self) -> Hops {
        let monitor = FIRST_MONITOR + (self.nth / GROUPS) as u64;
        let breaker = format!("{NAME}/{}", key(self.nth));
        let change = self.datadog.set(monitor, &group(self.nth), "Alert");
        let event = sns_event(&[change], &self.directive);
        self.nth += 1;
        self.wire.reset();
        let (started, started_ns) = (Instant::now(), now_ns());
        let answered = self.runtime.invoke(event, INVOCATION_TIMEOUT).await;
        let (took, ended_ns) = (started.elapsed(), now_ns());
        assert_eq!(answered, Ok(Value::Null));
        let by_clock = ended_ns.abs_diff(started_ns);
        let step = by_clock.abs_diff(u64::try_from(took.as_nanos()).unwrap());
        assert!(step < CLOCK_STEP_MAX_NS, "somebody set the system's clock");

        let refused = self.crowd.refused(&breaker);
        let (request_ns, answer_ns) = self.wire.passed_ns();
        // 200 means committed.
        let committed_ns = self.heard(&breaker, started_ns).min(refused.first_ns).min(answer_ns);
        let ms =
            |from_ns: u64, to_ns: u64| to_ns.checked_sub(from_ns).expect("one after the other") as f64 / 1e6;
        Hops {
            function: ms(started_ns, request_ns),
            commit: ms(request_ns, committed_ns),
            clients: ms(committed_ns, refused.last_ns),
            sum: ms(started_ns, refused.last_ns),
            answer: ms(request_ns, answer_ns),
            invocation: ms(started_ns, ended_ns),
        }
    }

    /// How many connections the function has opened to the service so far.
    pub(crate) fn connections(&self) -> u64 {
        self.wire.connections()
    }

    /// When the first commit about the breaker since a moment was heard, nanoseconds of Unix time.
    fn heard(&self, breaker: &str, since_ns: u64) -> u64 {
        loop {
            let (of, at_ns) = self.heard.recv_timeout(PATIENCE).expect("the commit is heard");
            if of == breaker && at_ns >= since_ns {
                return at_ns;
            }
        }
    }
}

/// A Datadog with so many groups, none of which fires.
async fn datadog(groups: usize, directive: &str) -> FakeDatadog {
    let datadog = FakeDatadog::start().await.unwrap();
    for monitor in 0..groups.div_ceil(GROUPS) {
        let id = FIRST_MONITOR + monitor as u64;
        datadog.create_monitor(id, &format!("Bank API error rate {monitor}"), &["cutout", "team:pay"]);
        datadog.set_message(id, directive);
        let own = monitor * GROUPS..groups.min((monitor + 1) * GROUPS);
        own.for_each(|nth| drop(datadog.set(id, &group(nth), "OK")));
    }
    datadog
}

/// The key of a breaker by its number.
pub(crate) fn key(nth: usize) -> String {
    format!("{nth:04}")
}

fn group(nth: usize) -> String {
    format!("bank_code:{},env:prod", key(nth))
}

fn start_function(runtime: &RuntimeApi, datadog: &FakeDatadog, wire: &Wire) -> Program {
    let mut command = runtime.command(&binary("bootstrap"));
    command.envs([
        ("DD_API_KEY", canary::DD_API_KEY),
        ("DD_APP_KEY", canary::DD_APP_KEY),
        ("CUTOUT_DATADOG_URL", &datadog.url()),
        ("CUTOUT_SIGNING_SECRETS", canary::SIGNING_SECRET),
        ("CUTOUT_CALLBACK_ALLOW_CIDR", "127.0.0.0/8"),
        ("CUTOUT_CALLBACK_ALLOW_HTTP", "true"),
    ]);
    command.envs(wire.authority().map(|file| ("SSL_CERT_FILE", file)));
    Program::start(command.into_std())
}

/// A bare subscriber of the commits' channel, in a thread of its own: the breaker of each change, and when it was heard.
fn listen(redis: &RedisServer) -> mpsc::Receiver<(String, u64)> {
    let channel: String = redis.ask(&["HGET", "cutout:{default}:meta", "channel"]);
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let (ready, is_ready) = mpsc::channel();
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut subscriber = connection.as_pubsub();
        subscriber.subscribe(channel).unwrap();
        ready.send(()).unwrap();
        // Ends with Redis, or with the bench.
        while let Ok(message) = subscriber.get_message() {
            let at_ns = now_ns();
            let text: String = message.get_payload().unwrap();
            let breaker = text.lines().nth(1).expect("a change names its breaker").to_owned();
            if tell.send((breaker, at_ns)).is_err() {
                return;
            }
        }
    });
    is_ready.recv_timeout(PATIENCE).expect("the channel is there");
    heard
}
