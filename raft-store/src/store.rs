//! The handle that users hold. Owns the public surface of a replica; the work is done by the modules below it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::{LinearizerOption, ReadPolicy, ServerState};
use tokio::sync::watch;

use crate::backup::Backup;
use crate::config::{Config, NodeId, Peer};
use crate::error::{
    AskError, BootstrapError, HandOverError, MembershipError, OpenError, ProposeError, ReadError,
    SnapshotError,
};
use crate::leadership::quorum_contact;
use crate::machine::StateMachine;
use crate::node::Node;
use crate::roster::Members;
use crate::status::{Applied, Lead, Leadership, Status, Storage};
use crate::types::Metrics;
use crate::{handover, membership, read};

/// How long a snapshot may take before waiting for it is given up.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(120);

/// One replica. Cheap to clone; all clones are the same replica. Dropping the last one stops it at once, like a crash;
/// [`shutdown`](Self::shutdown) stops it in order.
#[derive(Clone)]
pub struct RaftStore {
    node: Arc<Node>,
}

impl RaftStore {
    /// Opens or creates the replica in `config.dir`, recovers its state and starts to listen for peers. A fresh replica
    /// waits, until it is bootstrapped or a member of a cluster reaches it. It works on a runtime of its own.
    ///
    /// # Errors
    /// When a file is damaged, foreign or in use, or the listener cannot be bound. Nothing is ever repaired.
    pub async fn open<S: StateMachine>(config: Config, state_machine: S) -> Result<RaftStore, OpenError> {
        let node = Node::open(config, Box::new(state_machine)).await?;
        Ok(RaftStore { node: Arc::new(node) })
    }

    /// Creates the cluster: exactly once, on exactly one replica. Draws and returns the cluster id. Returns before a leader
    /// is elected.
    ///
    /// # Errors
    /// [`BootstrapError::AlreadyBootstrapped`] if this replica belongs to a cluster.
    pub async fn bootstrap(&self, members: BTreeMap<NodeId, Peer>) -> Result<String, BootstrapError> {
        membership::check_first(self.node.config.node_id, &members)?;
        let (cluster, raft) = (self.node.cluster.clone(), self.node.raft.clone());
        let work = async move {
            let cluster_id = cluster.create().await?;
            match raft.initialize(members).await {
                Ok(()) => Ok(cluster_id),
                Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                    Err(BootstrapError::AlreadyBootstrapped { cluster_id })
                }
                Err(e) => Err(BootstrapError::Failed(e.to_string())),
            }
        };
        self.node.run(work).await.unwrap_or_else(|| Err(BootstrapError::Failed(closed())))
    }

    /// The cluster this replica belongs to, if any.
    pub fn cluster_id(&self) -> Option<String> {
        self.node.cluster.id()
    }

    /// The address on which the peer listener really is bound.
    pub fn peer_listen_addr(&self) -> SocketAddr {
        self.node.listen
    }

    /// Who leads, as it changes. `Leading` is reported once everything that earlier leaders committed is applied here, and
    /// taken back when the quorum is out of reach for `leader_contact_timeout`. Clone what is borrowed from it before anything
    /// else of this store is called: a borrow is a read lock, and a second one behind a waiting change never ends.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.node.gate.watch()
    }

    /// Who belongs to the cluster, as it changes: what committed entries say, as far as they are applied here. Empty until
    /// the first such entry was applied after the start, or came with a snapshot.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.node.roster.watch()
    }

    /// Proposes a command; resolves when it has been applied here. The command takes its place in the order of proposals
    /// when `propose` is called, not when the future is first polled: many may be in flight, and from one task the order of
    /// the calls is the order in the log. Dropping the future does not take the command back.
    ///
    /// # Errors
    /// See [`ProposeError`]: only `Unknown` leaves open whether the command will be applied. It is returned at the latest
    /// when the lead ends.
    pub fn propose(
        &self,
        lead: &Lead,
        command: Bytes,
    ) -> impl Future<Output = Result<Applied, ProposeError>> + Send + use<> {
        self.node.proposer.propose(lead, command)
    }

    /// What there is to show to an operator.
    pub fn status(&self) -> Status {
        let metrics = self.node.raft.metrics();
        let metrics = metrics.borrow_watched();
        Status { levels: self.node.cluster.levels().all(), ..status(&metrics, self.cluster_id()) }
    }

    /// How the disk of this replica fares.
    pub fn storage(&self) -> Storage {
        self.node.storage()
    }

    /// Hands the leadership to the most caught-up other voter and waits until somebody else leads. From the call on, this
    /// replica reports that it follows; what is in flight is still decided.
    ///
    /// # Errors
    /// See [`HandOverError`]; after an error this replica may still lead.
    pub async fn hand_over(&self, within: Duration) -> Result<NodeId, HandOverError> {
        let node = &self.node;
        let (raft, gate, me) = (node.raft.clone(), Arc::clone(&node.gate), node.config.node_id);
        let fresh = Duration::from_millis(2 * node.config.timing.election_max_ms);
        let work = async move { handover::hand_over(&raft, &gate, me, fresh, within).await };
        node.run(work).await.unwrap_or_else(|| Err(HandOverError::Failed(closed())))
    }

    /// Takes a snapshot now and waits until it is on disk. Returns the index of its last entry.
    ///
    /// # Errors
    /// When nothing was applied yet or the snapshot could not be written.
    pub async fn trigger_snapshot(&self) -> Result<u64, SnapshotError> {
        let raft = self.node.raft.clone();
        let work = async move {
            let mut metrics = raft.metrics();
            let index = |id: Option<crate::types::LogId>| id.map(|id| id.index);
            let target = index(metrics.borrow_watched().last_applied)
                .ok_or_else(|| SnapshotError("nothing was applied yet".to_owned()))?;
            loop {
                let done = index(metrics.borrow_watched().snapshot);
                if let Some(done) = done.filter(|done| *done >= target) {
                    return Ok(done);
                }
                // Again after every change: raft ignores it while an older snapshot is being written.
                raft.trigger().snapshot().await.map_err(|e| SnapshotError(e.to_string()))?;
                metrics.changed().await.map_err(|_| SnapshotError(closed()))?;
            }
        };
        let timed = async move { tokio::time::timeout(SNAPSHOT_WITHIN, work).await };
        match self.node.run(timed).await {
            Some(Ok(taken)) => taken,
            Some(Err(_)) => {
                Err(SnapshotError(format!("not finished within {} s", SNAPSHOT_WITHIN.as_secs())))
            }
            None => Err(SnapshotError(closed())),
        }
    }

    /// A copy of the present state, verified and on disk, for keeping elsewhere. Any replica can give one, at no cost to the
    /// leader; that of a follower may lack the newest entries.
    ///
    /// # Errors
    /// When nothing was applied yet or the snapshot could not be written.
    pub async fn backup(&self) -> Result<Backup, SnapshotError> {
        self.trigger_snapshot().await?;
        let raft = self.node.raft.clone();
        let newest = self.node.run(async move { raft.get_snapshot().await }).await;
        match newest {
            Some(Ok(Some(newest))) => Backup::of(newest.snapshot).map_err(SnapshotError),
            Some(Ok(None)) => Err(SnapshotError("nothing was applied yet".to_owned())),
            Some(Err(e)) => Err(SnapshotError(e.to_string())),
            None => Err(SnapshotError(closed())),
        }
    }

    /// A barrier for linearizable reads: after it, the local state contains every write that was acknowledged before the
    /// call. Returns the applied index.
    ///
    /// # Errors
    /// `NotLeading` if this replica cannot prove that it still leads.
    pub async fn read_barrier(&self, lead: &Lead) -> Result<u64, ProposeError> {
        let not_leading = || ProposeError::NotLeading { leader: self.node.gate.other_leader() };
        if !self.node.gate.holds(lead) {
            return Err(not_leading());
        }
        let (raft, within) = (self.node.raft.clone(), self.node.config.contact_timeout());
        let work = async move {
            let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(within);
            let linearizer = raft.get_read_linearizer(option).await.ok()?;
            let ready = linearizer.try_await_ready(&raft, Some(within)).await.ok()?.ok()?;
            ready.applied().map(|id| (id.leader_id, id.index))
        };
        match self.node.run(work).await.flatten() {
            Some((leader, index)) if leader.term == lead.term && self.node.gate.holds(lead) => Ok(index),
            _ => Err(not_leading()),
        }
    }

    /// The same on any replica: asks the leader how far the log is committed and waits until that much is applied here. Returns the applied index.
    ///
    /// # Errors
    /// See [`ReadError`]: nobody leads, the leader does not answer, or it takes longer than `leader_contact_timeout`.
    pub async fn settle(&self) -> Result<u64, ReadError> {
        let node = &self.node;
        let (raft, network, within) =
            (node.raft.clone(), node.network.clone(), node.config.contact_timeout());
        let work = async move { read::settle(&raft, &network, within).await };
        node.run(work).await.unwrap_or(Err(ReadError::Closed))
    }

    /// How long ago this replica surely had applied everything that was committed: on the leader since its quorum last followed, elsewhere since
    /// the leader's latest word that is applied. `None` if there is no such moment.
    pub fn age(&self) -> Option<Duration> {
        let metrics = self.node.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state == ServerState::Leader {
            let alone = metrics.membership_config.membership().voter_ids().eq([self.node.config.node_id]);
            return if alone { Some(Duration::ZERO) } else { quorum_contact(&metrics) };
        }
        let applied = metrics.last_applied.map_or(0, |id| id.index);
        self.node.freshness.age(Instant::now(), applied)
    }

    /// Asks the state machine of another replica, whatever that understands: bytes there and back, at most 1 MiB each.
    ///
    /// # Errors
    /// When it cannot be reached, refuses, or does not answer in time.
    pub async fn ask(
        &self,
        target: NodeId,
        peer: Peer,
        question: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError> {
        let node = Arc::clone(&self.node);
        let work = async move { node.asker.ask(target, &peer, question, within).await };
        self.node.run(work).await.unwrap_or_else(|| Err(AskError(closed())))
    }

    /// Adds a voter, which must be running and empty. Its log is brought up to date before it gets its vote. On the leader.
    ///
    /// # Errors
    /// See [`MembershipError`]. After `Unknown`, `status` tells whether it is a member.
    pub async fn add_member(&self, id: NodeId, peer: Peer, within: Duration) -> Result<(), MembershipError> {
        let raft = self.node.raft.clone();
        let work = async move { membership::add(&raft, id, peer, within).await };
        self.node.run(work).await.unwrap_or_else(|| Err(MembershipError::Unknown(closed())))
    }

    /// Removes a member for good; its number must not be used again. On the leader, and not for the leader itself.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove_member(&self, id: NodeId, within: Duration) -> Result<(), MembershipError> {
        let (raft, me) = (self.node.raft.clone(), self.node.config.node_id);
        let work = async move { membership::remove(&raft, me, id, within).await };
        self.node.run(work).await.unwrap_or_else(|| Err(MembershipError::Unknown(closed())))
    }

    /// Becomes `Some` if the replica cannot go on (disk error, corrupt entry): the process must exit non-zero with the text.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.node.fatal.watch()
    }

    /// Stops everything in order; afterwards the folder can be opened again. Later calls fail; a second `shutdown` does
    /// nothing.
    pub async fn shutdown(&self) {
        self.node.close().await;
    }
}

impl std::fmt::Debug for RaftStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftStore").field("node_id", &self.node.config.node_id).finish_non_exhaustive()
    }
}

fn closed() -> String {
    "the store is closed".to_owned()
}

fn status(metrics: &Metrics, cluster_id: Option<String>) -> Status {
    let membership = metrics.membership_config.membership();
    let voters: std::collections::BTreeSet<NodeId> = membership.voter_ids().collect();
    let leads = metrics.state == ServerState::Leader;
    let role = match metrics.state {
        ServerState::Leader => "leader",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Learner => "learner",
        ServerState::Shutdown => "stopped",
    };
    Status {
        node_id: metrics.id,
        cluster_id,
        levels: BTreeMap::new(),
        role: role.to_owned(),
        term: metrics.current_term,
        leader: metrics.current_leader,
        leader_peer: metrics.current_leader.and_then(|id| membership.get_node(&id)).cloned(),
        last_log_index: metrics.last_log_index,
        committed_index: metrics.local_committed.map(|id| id.index),
        applied_index: metrics.last_applied.map(|id| id.index),
        snapshot_index: metrics.snapshot.map(|id| id.index),
        members: membership.nodes().map(|(id, peer)| (*id, (peer.clone(), voters.contains(id)))).collect(),
        replication: metrics
            .replication
            .iter()
            .flatten()
            .map(|(id, matched)| (*id, matched.map(|id| id.index)))
            .collect(),
        last_quorum_contact_ms: leads
            .then(|| if voters.len() == 1 { Some(Duration::ZERO) } else { quorum_contact(metrics) })
            .flatten()
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
    }
}
