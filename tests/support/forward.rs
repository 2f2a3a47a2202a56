//! A name for a server that can be given to another one, and a network that can break: a TCP forwarder on loopback.
//!
//! Pointed elsewhere it leads new connections there and leaves the open ones, as a name in the DNS does. Cut, it closes
//! all of them and takes no more. Silent, it loses what is sent in the directions named, without a word to anybody, and
//! delivers it when it speaks again, as TCP does after a partition. Runs on the tokio runtime that started it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

const CHUNK_BYTES: usize = 16 * 1024;

/// The running forwarder. Everything through it ends when it is dropped.
pub struct Forwarder {
    port: u16,
    network: Arc<watch::Sender<Network>>,
    task: JoinHandle<()>,
}

/// What goes on in the network.
#[derive(Debug, Clone, Copy)]
struct Network {
    to: SocketAddr,
    /// Neither open connections nor new ones.
    cut: bool,
    /// Grows with each cut, so that one that was healed at once is not missed.
    cuts: u64,
    silent: Silent,
}

/// Which directions are silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silent {
    /// None.
    #[default]
    Nothing,
    /// What clients send does not arrive.
    Requests,
    /// What the server sends does not arrive.
    Answers,
    /// Neither arrives.
    Both,
}

impl Forwarder {
    /// Starts one that leads to a port of loopback.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(to_port: u16) -> Forwarder {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let network = Network { to: local(to_port), cut: false, cuts: 0, silent: Silent::Nothing };
        let network = Arc::new(watch::Sender::new(network));
        let task = tokio::spawn(accept(listener, Arc::clone(&network)));
        Forwarder { port, network, task }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the Redis behind it, without a password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Leads new connections to another port of loopback; open ones stay.
    pub fn point_at(&self, to_port: u16) {
        self.network.send_modify(|network| network.to = local(to_port));
    }

    /// Closes all connections, and each new one at once.
    pub fn cut(&self) {
        self.network.send_modify(|network| {
            network.cut = true;
            network.cuts += 1;
        });
    }

    /// Loses what is sent in these directions from now on.
    pub fn silence(&self, silent: Silent) {
        self.network.send_modify(|network| network.silent = silent);
    }

    /// Undoes cut and silence.
    pub fn heal(&self) {
        self.network.send_modify(|network| {
            network.cut = false;
            network.silent = Silent::Nothing;
        });
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn accept(listener: TcpListener, network: Arc<watch::Sender<Network>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        // A cut one is closed at once.
        if !network.borrow().cut {
            connections.spawn(forward(client, network.subscribe()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on both directions until one side ends or the network is cut.
async fn forward(client: TcpStream, mut network: watch::Receiver<Network>) {
    let Network { to, cuts, .. } = *network.borrow();
    // In silence not even a connection comes about; the client sees an open one that says nothing.
    let speaks = |silent: Silent| silent == Silent::Nothing;
    if network.clone().wait_for(|network| speaks(network.silent)).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pass(from_client, to_server, network.clone(), |silent| {
        matches!(silent, Silent::Nothing | Silent::Answers)
    });
    let answers = pass(from_server, to_client, network.clone(), |silent| {
        matches!(silent, Silent::Nothing | Silent::Requests)
    });
    tokio::select! {
        () = requests => {}
        () = answers => {}
        _ = network.wait_for(|network| network.cuts != cuts) => {}
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut network: watch::Receiver<Network>,
    speaks: impl Fn(Silent) -> bool,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(count @ 1..) = from.read(&mut chunk).await else { return };
        if network.wait_for(|network| speaks(network.silent)).await.is_err() {
            return;
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}
