//! A real Redis Cluster of three primaries for one test, on free ports of loopback.

use crate::redis::{RedisServer, free_port};
use std::thread;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long a node is silent until the others take it for dead.
const NODE_TIMEOUT_MS: &str = "1000";
/// How many slots there are.
const SLOTS: u16 = 16_384;
const PRIMARIES: u16 = 3;

/// The running cluster.
pub struct RedisCluster {
    /// Its nodes; each owns a third of the slots.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts it and waits until all nodes agree on who owns what.
    #[must_use]
    pub fn start() -> RedisCluster {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in 0..PRIMARIES {
            // The usual port of the bus, ten thousand above the other one, may not exist or be taken.
            let bus = free_port().to_string();
            let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS];
            nodes.push(RedisServer::start_with(&[&settings[..], &["--cluster-port", &bus]].concat()));
            bus_ports.push(bus);
        }
        for (place, node) in (0..).zip(&nodes) {
            let (first, end) = (place * SLOTS / PRIMARIES, (place + 1) * SLOTS / PRIMARIES);
            let () = node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()]);
            let () = node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
        }
        for (node, bus) in nodes.iter().zip(&bus_ports).skip(1) {
            let () = nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
        let cluster = RedisCluster { nodes };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every node knows all slots and all nodes.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_whole(&self) {
        let whole = |info: String| {
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{PRIMARIES}"))
        };
        self.until("whole", |node| node.try_ask(&["CLUSTER", "INFO"]).is_ok_and(whole));
    }

    /// The place among the nodes of the one that owns a scope's slot.
    ///
    /// # Panics
    /// If none says so.
    #[must_use]
    pub fn owner(&self, scope: &str) -> usize {
        let key = format!("cutout:{{{scope}}}:meta");
        let owns = |node: &RedisServer| node.try_ask::<Option<String>>(&["HGET", &key, "epoch"]).is_ok();
        self.nodes.iter().position(owns).expect("a node owns the slot")
    }

    /// The URL of a node that does not own a scope's slot.
    #[must_use]
    pub fn url_beside(&self, scope: &str) -> String {
        self.nodes[(self.owner(scope) + 1) % self.nodes.len()].url()
    }

    /// Moves a scope's slot, and what stands in it, from its owner to the next node, as an operator does.
    ///
    /// # Panics
    /// If a node refuses.
    pub fn move_slot(&self, scope: &str) {
        let owner = self.owner(scope);
        let (from, to) = (&self.nodes[owner], &self.nodes[(owner + 1) % self.nodes.len()]);
        let slot: u16 = from.ask(&["CLUSTER", "KEYSLOT", &format!("{{{scope}}}")]);
        let slot = slot.to_string();
        let [from_id, to_id]: [String; 2] = [from, to].map(|node| node.ask(&["CLUSTER", "MYID"]));
        let () = to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        let () = from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        let port = to.port().to_string();
        for key in &keys {
            let _: String = from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "2000"]);
        }
        for node in [to, from] {
            let () = node.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
    }

    fn until(&self, what: &str, holds: impl Fn(&RedisServer) -> bool) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.nodes.iter().all(&holds) {
            assert!(Instant::now() < deadline, "the cluster does not become {what}");
            thread::sleep(POLL_EVERY);
        }
    }
}
