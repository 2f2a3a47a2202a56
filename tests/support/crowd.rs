//! Many clients in one process of their own, which tells for each breaker that opens when the first and when the last of them
//! began to refuse.
//!
//! The process is the bench itself, started again with the argument `WORD`. Moments are told by the system's clock, which all
//! processes of a machine share; who compares them watches that nobody sets it meanwhile. Each client has connections of its own.

use crate::process::Program;
use cutout::{Client, State};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// The argument that makes a bench this process.
const WORD: &str = "crowd";
/// How long a client, and all of them, may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The running process, seen from the bench.
#[derive(Debug)]
pub struct Crowd {
    program: Program,
    heard: usize,
}

/// When a breaker was refused, nanoseconds of Unix time.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// By the first client.
    pub first_ns: u64,
    /// By the last one.
    pub last_ns: u64,
}

impl Crowd {
    /// Starts `size` clients of the breakers `name/…` on the store at `url`, and waits until all of them follow.
    ///
    /// # Panics
    /// If they do not in time.
    #[must_use]
    pub fn start(url: &str, name: &str, size: usize) -> Crowd {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env_clear().args([WORD, url, name, &size.to_string()]);
        let program = Program::start(command);
        let following = |line: &Value| (line["following"] == size).then_some(());
        program.wait_within(START_TIMEOUT, "all clients follow", 0, following);
        Crowd { heard: program.count(), program }
    }

    /// Waits until all clients refuse a breaker that has opened.
    ///
    /// # Panics
    /// If they do not in time.
    pub fn refused(&mut self, breaker: &str) -> Refused {
        let refused = self.program.wait_for(&format!("all refuse {breaker}"), self.heard, |line| {
            let of = |name: &str| line[name].as_u64();
            let told = line["breaker"] == breaker;
            told.then(|| Some(Refused { first_ns: of("first_ns")?, last_ns: of("last_ns")? }))?
        });
        self.heard = self.program.count();
        refused
    }
}

/// Now, nanoseconds of Unix time.
///
/// # Panics
/// If the clock stands before 1970.
#[must_use]
pub fn now_ns() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap()
}

/// Becomes the crowd if the arguments ask for it, and then never returns.
pub fn become_one_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, url, name, size] = arguments.as_slice()
        && word == WORD
    {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        });
        let size = size.parse().unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(follow(url, name, size));
        std::process::exit(0);
    }
}

async fn follow(url: &str, name: &str, size: usize) {
    let connect = |_| Client::builder(url).breaker(name).start_timeout(START_TIMEOUT).connect();
    let clients: Vec<Client> =
        join_all((0..size).map(connect)).await.into_iter().collect::<Result<_, _>>().unwrap();
    let (seen, mut all_seen) = mpsc::unbounded_channel();
    for client in &clients {
        tokio::spawn(listen(client.clone(), name.to_owned(), seen.clone()));
    }
    println!("{}", json!({"following": size}));
    let mut refusing: HashMap<String, (usize, Refused)> = HashMap::new();
    while let Some((breaker, at_ns)) = all_seen.recv().await {
        let (count, refused) =
            refusing.entry(breaker.clone()).or_insert((0, Refused { first_ns: at_ns, last_ns: at_ns }));
        *count += 1;
        refused.first_ns = refused.first_ns.min(at_ns);
        refused.last_ns = refused.last_ns.max(at_ns);
        if *count == size {
            let Refused { first_ns, last_ns } = *refused;
            println!("{}", json!({"breaker": breaker, "first_ns": first_ns, "last_ns": last_ns}));
            refusing.remove(&breaker);
        }
    }
}

/// One client: notes the moment from which it refuses.
async fn listen(client: Client, name: String, seen: mpsc::UnboundedSender<(String, u64)>) {
    let (family, mut transitions) = (client.family(&name).unwrap(), client.transitions());
    while let Some(told) = transitions.next().await {
        let told = told.unwrap();
        if told.to == State::Open {
            let breaker = told.breaker.as_str();
            let key = breaker.strip_prefix(&name).and_then(|key| key.strip_prefix('/')).unwrap();
            assert!(family.admit(&[key]).is_err(), "{breaker} is open");
            seen.send((breaker.to_owned(), now_ns())).unwrap();
        }
    }
}
