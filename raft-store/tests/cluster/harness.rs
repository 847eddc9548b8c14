//! What the tests of this folder share: a state machine, replicas that can be killed and opened again, and waiting.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tepui_raft_store::{
    Applied, Config, Entry, Join, Lead, Leadership, NodeId, OpenError, Peer, ProposeError, RaftStore,
    StateMachine, Timing,
};

/// Generous: only a hang fails a test by time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a replica applied, seen from outside.
pub(crate) type Seen = Arc<Mutex<Vec<(u64, String)>>>;

/// Keeps all commands; answers with their number.
pub(crate) struct Journal {
    seen: Seen,
}

impl Journal {
    pub(crate) fn new(seen: &Seen) -> Journal {
        Journal { seen: Arc::clone(seen) }
    }
}

impl StateMachine for Journal {
    type Frozen = Vec<(u64, String)>;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let mut seen = self.seen.lock().unwrap();
        let mut answers = Vec::new();
        for entry in entries {
            seen.push((entry.index, String::from_utf8(entry.command.to_vec()).unwrap()));
            answers.push(seen.len().to_string().into());
        }
        answers
    }

    fn freeze(&self) -> Self::Frozen {
        self.seen.lock().unwrap().clone()
    }

    fn write_snapshot(frozen: &Self::Frozen, out: &mut dyn Write) -> std::io::Result<()> {
        frozen.iter().try_for_each(|(index, text)| writeln!(out, "{index} {text}"))
    }

    fn answer(&self, question: &[u8]) -> Bytes {
        format!("{} after {}", String::from_utf8_lossy(question), self.seen.lock().unwrap().len()).into()
    }

    fn install(&mut self, input: &mut dyn Read, last_index: u64) -> Result<(), anyhow::Error> {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let mut seen = self.seen.lock().unwrap();
        seen.clear();
        for line in text.lines() {
            let (index, command) =
                line.split_once(' ').ok_or_else(|| anyhow::anyhow!("line without a blank"))?;
            seen.push((index.parse()?, command.to_owned()));
        }
        anyhow::ensure!(seen.last().is_none_or(|(index, _)| *index <= last_index), "newer than its name");
        Ok(())
    }
}

/// One replica that is running.
pub(crate) struct Running {
    pub(crate) store: RaftStore,
    pub(crate) seen: Seen,
}

/// Replicas, running or not, each with a folder and an address that stay.
pub(crate) struct Cluster {
    dir: TempDir,
    peers: BTreeMap<NodeId, Peer>,
    pub(crate) running: BTreeMap<NodeId, Running>,
    joins: BTreeMap<NodeId, Join>,
    adjust: fn(&mut Config),
}

impl Cluster {
    /// `adjust` changes the configuration of every replica.
    pub(crate) fn with(count: u64, adjust: fn(&mut Config)) -> Cluster {
        let peers = (1..=count).map(|id| (id, free_peer(id))).collect();
        Cluster {
            dir: tempfile::tempdir().unwrap(),
            peers,
            running: BTreeMap::new(),
            joins: BTreeMap::new(),
            adjust,
        }
    }

    /// All replicas running as one cluster.
    pub(crate) async fn started(count: u64, adjust: fn(&mut Config)) -> Cluster {
        let mut cluster = Cluster::with(count, adjust);
        for id in 1..=count {
            cluster.start(id).await;
        }
        cluster.store(1).bootstrap(cluster.peers.clone()).await.unwrap();
        cluster
    }

    pub(crate) fn peers(&self) -> BTreeMap<NodeId, Peer> {
        self.peers.clone()
    }

    pub(crate) fn add_peer(&mut self, id: NodeId) -> Peer {
        let peer = free_peer(id);
        self.peers.insert(id, peer.clone());
        peer
    }

    pub(crate) fn folder(&self, id: NodeId) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) fn config(&self, id: NodeId) -> Config {
        let peer = self.peers[&id].clone();
        let listen: SocketAddr = peer.peer_addr.parse().unwrap();
        let mut config = Config::new(id, self.folder(id), listen, peer);
        config.timing = Timing { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 1000 };
        config.leader_contact_timeout = Duration::from_secs(3);
        config.join = self.joins.get(&id).cloned();
        (self.adjust)(&mut config);
        config
    }

    pub(crate) async fn try_start(&mut self, id: NodeId) -> Result<(), OpenError> {
        let config = self.config(id);
        let seen = Seen::default();
        let store = RaftStore::open(config, Journal::new(&seen)).await?;
        self.running.insert(id, Running { store, seen });
        Ok(())
    }

    /// Starts a replica; waits for a former self to let go of folder and port.
    pub(crate) async fn start(&mut self, id: NodeId) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_start(id).await {
                Ok(()) => return,
                Err(OpenError::InUse { .. } | OpenError::Listen { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(e) => panic!("replica {id}: {e}"),
            }
        }
    }

    /// Ends a replica without any farewell.
    pub(crate) fn kill(&mut self, id: NodeId) {
        self.running.remove(&id);
    }

    /// Starts a replica on an empty folder that asks replica `contact` for its number.
    pub(crate) async fn join(&mut self, contact: NodeId, vote: bool) -> NodeId {
        let (folder, peer) = (self.dir.path().join("joining"), free_peer(0));
        let contacts = [self.peers[&contact].peer_addr.clone()];
        let claim = || RaftStore::claim(&folder, peer.clone(), &contacts, None, PATIENCE);
        let id = claim().await.unwrap();
        assert_eq!(claim().await.unwrap(), id, "the same folder asks again");
        std::fs::rename(&folder, self.folder(id)).unwrap();
        self.peers.insert(id, peer);
        self.joins.insert(id, Join { contacts: contacts.to_vec(), vote });
        self.start(id).await;
        id
    }

    /// Empties the folder of a replica that does not run.
    pub(crate) fn wipe(&self, id: NodeId) {
        assert!(!self.running.contains_key(&id));
        std::fs::remove_dir_all(self.folder(id)).unwrap();
    }

    /// Gives a replica that does not run another address.
    pub(crate) fn move_away(&mut self, id: NodeId) -> Peer {
        assert!(!self.running.contains_key(&id));
        self.add_peer(id)
    }

    /// Who votes, as far as this replica knows for certain.
    pub(crate) fn voters(&self, id: NodeId) -> Vec<NodeId> {
        let members = self.store(id).members().borrow().clone();
        members.list.into_iter().filter(|(_, member)| member.voter).map(|(id, _)| id).collect()
    }

    /// Waits until all running replicas agree on who votes.
    pub(crate) async fn all_know_voters(&self, expected: &[NodeId]) {
        for id in self.running.keys() {
            until(&format!("replica {id} to know the voters {expected:?}"), || {
                (self.voters(*id) == expected && !self.store(*id).status().changing).then_some(())
            })
            .await;
        }
    }

    pub(crate) async fn shutdown(&mut self, id: NodeId) {
        if let Some(running) = self.running.remove(&id) {
            running.store.shutdown().await;
        }
    }

    pub(crate) fn store(&self, id: NodeId) -> &RaftStore {
        &self.running[&id].store
    }

    pub(crate) fn seen(&self, id: NodeId) -> Vec<(u64, String)> {
        self.running[&id].seen.lock().unwrap().clone()
    }

    /// The replica that reports to lead.
    pub(crate) fn leading(&self) -> Option<(NodeId, Lead)> {
        self.running.iter().find_map(|(id, running)| match &*running.store.leadership().borrow() {
            Leadership::Leading(lead) => Some((*id, lead.clone())),
            Leadership::Following { .. } => None,
        })
    }

    /// The replica that reports to lead, as soon as there is one.
    pub(crate) async fn leader(&self) -> (NodeId, Lead) {
        until("a leader", || self.leading()).await
    }

    /// Proposes wherever the leader is until somebody accepts it for sure.
    pub(crate) async fn write(&self, text: &str) -> Applied {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let (id, lead) = self.leader().await;
            match self.store(id).propose(&lead, Bytes::from(text.to_owned())).await {
                Ok(applied) => return applied,
                Err(ProposeError::NotLeading { .. }) => {}
                Err(e) => panic!("{text}: {e}"),
            }
        }
        panic!("{text} was not accepted in time");
    }

    /// Waits until all running replicas have applied exactly these commands.
    pub(crate) async fn all_have(&self, expected: &[String]) {
        for id in self.running.keys() {
            self.has(*id, expected).await;
        }
    }

    pub(crate) async fn has(&self, id: NodeId, expected: &[String]) {
        until(&format!("replica {id} to have {} commands", expected.len()), || {
            let seen = self.seen(id);
            (seen.len() >= expected.len()).then_some(())
        })
        .await;
        let seen: Vec<String> = self.seen(id).into_iter().map(|(_, text)| text).collect();
        assert_eq!(seen, expected, "replica {id}");
    }

    pub(crate) fn others(&self, id: NodeId) -> Vec<NodeId> {
        self.running.keys().copied().filter(|other| *other != id).collect()
    }
}

/// An address that was free a moment ago.
fn free_peer(id: NodeId) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Peer { peer_addr: listener.local_addr().unwrap().to_string(), api_addr: format!("api-{id}") }
}

/// Waits for something, with a deadline that only a hang reaches.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|i| format!("command-{i}")).collect()
}
