//! A counter on three replicas. It is raised, its leader is killed, it is raised further, the killed one comes back and has everything.
//!
//!     cargo run -p tepui-raft-store --example counter
//!
//! The three replicas are three stores in one process here, so that the example runs by one command; each has a folder and a port of its
//! own, and three processes would do the same.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tepui_raft_store::{
    Config, Entry, Lead, Leadership, OpenError, Peer, ProposeError, RaftStore, StateMachine,
};

/// The state: one number.
#[derive(Default)]
struct Counter(u64);

impl StateMachine for Counter {
    type Frozen = u64;

    /// A command is two numbers: what the counter must be, and what it becomes. The answer is what it is afterwards. So a command
    /// whose outcome is unknown may be sent again: it never counts twice.
    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let mut answers = Vec::new();
        for entry in entries {
            let (from, to) = (number(&entry.command, 0), number(&entry.command, 8));
            if self.0 == from {
                self.0 = to;
            }
            answers.push(Bytes::copy_from_slice(&self.0.to_le_bytes()));
        }
        answers
    }

    fn freeze(&self) -> u64 {
        self.0
    }

    fn write_snapshot(frozen: &u64, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&frozen.to_le_bytes())
    }

    fn install(&mut self, input: &mut dyn Read, _last_index: u64) -> Result<(), anyhow::Error> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes)?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

type Replicas = BTreeMap<u64, RaftStore>;

/// Opens one replica. One that was killed a moment ago may still hold its folder or port.
async fn open(id: u64, dir: &Path, peers: &BTreeMap<u64, Peer>) -> anyhow::Result<RaftStore> {
    let me = peers[&id].clone();
    let listen: SocketAddr = me.peer_addr.parse()?;
    loop {
        let config = Config::new(id, dir.join(id.to_string()), listen, me.clone());
        match RaftStore::open(config, Counter::default()).await {
            Ok(store) => return Ok(store),
            Err(OpenError::InUse { .. } | OpenError::Listen { .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The replica that leads, once there is one.
async fn leader(replicas: &Replicas) -> (u64, Lead) {
    loop {
        for (id, store) in replicas {
            let leadership = store.leadership().borrow().clone();
            if let Leadership::Leading(lead) = leadership {
                return (*id, lead);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Raises the counter by one and returns what it is then.
async fn raise(replicas: &Replicas, from: u64) -> anyhow::Result<u64> {
    let command = Bytes::from([from.to_le_bytes(), (from + 1).to_le_bytes()].concat());
    loop {
        let (id, lead) = leader(replicas).await;
        match replicas[&id].propose(&lead, command.clone()).await {
            // On disk at a majority, and applied here.
            Ok(applied) => return Ok(number(&applied.answer, 0)),
            // Surely without effect: somebody else leads, or will soon.
            Err(ProposeError::NotLeading { .. } | ProposeError::Busy) => {}
            // With effect or without: this command may be sent again.
            Err(ProposeError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut peers = BTreeMap::new();
    for id in 1..=3 {
        // A port that was free a moment ago.
        let peer_addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        peers.insert(id, Peer { peer_addr, api_addr: String::new() });
    }
    let mut replicas = Replicas::new();
    for id in 1..=3 {
        replicas.insert(id, open(id, dir.path(), &peers).await?);
    }
    // Exactly once in the life of the cluster, on exactly one replica.
    replicas[&1].bootstrap(peers.clone()).await?;

    let mut count = 0;
    while count < 100 {
        count = raise(&replicas, count).await?;
    }
    let (killed, _) = leader(&replicas).await;
    writeln!(std::io::stdout(), "counted to {count}; replica {killed} leads and is killed")?;
    drop(replicas.remove(&killed));

    while count < 200 {
        count = raise(&replicas, count).await?;
    }
    let (leads, lead) = leader(&replicas).await;
    writeln!(std::io::stdout(), "counted to {count}; replica {leads} leads in term {}", lead.term)?;
    anyhow::ensure!(count == 200 && leads != killed, "the counter must go on elsewhere");

    replicas.insert(killed, open(killed, dir.path(), &peers).await?);
    let everything = replicas[&leads].read_barrier(&lead).await?;
    while replicas[&killed].status().applied_index < Some(everything) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    writeln!(std::io::stdout(), "replica {killed} is back and has everything")?;
    for store in replicas.values() {
        store.shutdown().await;
    }
    Ok(())
}
