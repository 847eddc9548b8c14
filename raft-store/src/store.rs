//! The handle that users hold. Owns the public surface of a replica; the work is done by the modules below it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::{LinearizerOption, ReadPolicy, ServerState};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backup::Backup;
use crate::config::{Config, NodeId, Peer};
use crate::error::{
    AskError, BootstrapError, HandOverError, JoinError, MembershipError, OpenError, ProposeError, ReadError,
    SnapshotError,
};
use crate::leadership::quorum_contact;
use crate::machine::StateMachine;
use crate::membership::Changes;
use crate::mutants::{self, Mutant};
use crate::network::joining::Stranger;
use crate::node::Node;
use crate::roster::{Expelled, Members};
use crate::seat::Seat;
use crate::status::{Applied, Lead, Leadership, SnapshotTaken, Status, Storage};
use crate::types::Metrics;
use crate::{handover, join, membership, read};

/// How long a snapshot may take before waiting for it is given up.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(120);
/// How long others may take to say whether they belong to a cluster.
const HELLO_WITHIN: Duration = Duration::from_secs(1);

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

    /// Opens a replica on the runtime of the caller, in simulated surroundings.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) async fn open_in<S: StateMachine>(
        surroundings: &dyn crate::surroundings::Surroundings,
        config: Config,
        state_machine: S,
    ) -> Result<RaftStore, OpenError> {
        let node = Node::open_in(surroundings, config, Box::new(state_machine)).await?;
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
        let (me, incarnation) = (self.node.config.node_id, self.node.roster.incarnation());
        let stranger = Stranger::new(self.node.config.secret.clone());
        let stranger = stranger.map_err(|e| BootstrapError::Failed(e.to_string()))?;
        let work = async move {
            // Strangers are asked over sockets of their own, which a simulated replica has none of.
            if !crate::chance::is_simulated() {
                ask_the_others(&stranger, me, cluster.id(), &members).await?;
            }
            let cluster_id = cluster.create().await?;
            let newest = members.keys().copied().max().unwrap_or_default();
            let seat = |(id, peer)| {
                let incarnation = (id == me).then_some(incarnation);
                (id, Seat { peer, incarnation, newest })
            };
            match raft.initialize(members.into_iter().map(seat).collect::<BTreeMap<_, _>>()).await {
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
        let levels = self.node.cluster.levels().all();
        let silent = membership::silent(&metrics, self.node.config.node_id, self.node.config.fresh());
        Status { levels, silent, ..status(&metrics, self.cluster_id()) }
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
        self.hand(None, within).await
    }

    /// The same to a voter of the caller's choice.
    ///
    /// # Errors
    /// See [`HandOverError`]; `Unfit` if it could not take over.
    pub async fn hand_over_to(&self, to: NodeId, within: Duration) -> Result<NodeId, HandOverError> {
        self.hand(Some(to), within).await
    }

    async fn hand(&self, to: Option<NodeId>, within: Duration) -> Result<NodeId, HandOverError> {
        let node = &self.node;
        let (raft, gate, me) = (node.raft.clone(), Arc::clone(&node.gate), node.config.node_id);
        let fresh = node.config.fresh();
        let work = async move { handover::hand_over(&raft, &gate, me, to, fresh, within).await };
        node.run(work).await.unwrap_or_else(|| Err(HandOverError::Failed(closed())))
    }

    /// Takes a snapshot now and waits until it is on disk. Returns which entry it ends with and how large it is.
    ///
    /// # Errors
    /// When nothing was applied yet or the snapshot could not be written.
    pub async fn trigger_snapshot(&self) -> Result<SnapshotTaken, SnapshotError> {
        let (raft, snapshots) = (self.node.raft.clone(), self.node.snapshots.clone());
        let work = async move {
            let mut metrics = raft.metrics();
            let index = |id: Option<crate::types::LogId>| id.map(|id| id.index);
            let target = index(metrics.borrow_watched().last_applied)
                .ok_or_else(|| SnapshotError("nothing was applied yet".to_owned()))?;
            loop {
                let done = index(metrics.borrow_watched().snapshot);
                if done.is_some_and(|done| done >= target)
                    && let Some(file) = snapshots.current()
                {
                    let bytes = file.bytes().map_err(|e| SnapshotError(e.to_string()))?;
                    return Ok(SnapshotTaken { index: file.header.last_index().unwrap_or_default(), bytes });
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
        if mutants::on(Mutant::ReadAlone) {
            return Ok(self.status().applied_index.unwrap_or(0));
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

    /// Gets the number of the replica in this folder: the one that it has, or else a new one from the cluster, which from then
    /// on counts it as a member without a vote. Asking again gives the same number. `me` must be where it will be reached;
    /// `contacts` are `host:port` of peer listeners of members. The replica is then opened with that number and
    /// [`Config::join`].
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn claim(
        dir: &Path,
        me: Peer,
        contacts: &[String],
        secret: Option<String>,
        within: Duration,
    ) -> Result<NodeId, JoinError> {
        join::claim(dir, me, contacts, secret, within).await
    }

    /// Adds a voter under a number of the caller's choice, which no member may ever have had. Its log is brought up to date
    /// before it gets its vote. On the leader.
    ///
    /// # Errors
    /// See [`MembershipError`]. After `Unknown` and `Busy`, `status` tells whether it is a member, and
    /// [`promote_member`](Self::promote_member) goes on.
    pub async fn add_member(&self, id: NodeId, peer: Peer, within: Duration) -> Result<(), MembershipError> {
        self.change(async move |changes| {
            let begun = tokio::time::Instant::now();
            changes.seat(Some(id), peer, None, within).await?;
            changes.promote(id, within.saturating_sub(begun.elapsed())).await
        })
        .await
    }

    /// Gives a member without a vote its vote, once it lacks but little of the log. On the leader.
    ///
    /// # Errors
    /// See [`MembershipError`]; `Busy` tells how much it lacks.
    pub async fn promote_member(&self, id: NodeId, within: Duration) -> Result<(), MembershipError> {
        self.change(async move |changes| changes.promote(id, within).await).await
    }

    /// Removes a member for good; its number is never given again. On the leader, and not for the leader itself.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove_member(&self, id: NodeId, within: Duration) -> Result<(), MembershipError> {
        self.change(async move |changes| changes.remove(id, within).await).await
    }

    /// Tells all members where one of them is reached from now on. On the leader.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn relocate_member(
        &self,
        id: NodeId,
        peer: Peer,
        within: Duration,
    ) -> Result<(), MembershipError> {
        self.change(async move |changes| changes.relocate(id, peer, within).await).await
    }

    async fn change<F>(&self, work: impl FnOnce(Changes) -> F) -> Result<(), MembershipError>
    where
        F: Future<Output = Result<(), MembershipError>> + Send + 'static,
    {
        let work = work(self.node.changes.clone());
        self.node.run(work).await.unwrap_or_else(|| Err(MembershipError::Unknown(closed())))
    }

    /// Why this replica has no place in its cluster any more, once it learned so; [`fatal`](Self::fatal) then tells the rest.
    pub fn expelled(&self) -> Option<Expelled> {
        self.node.roster.expelled()
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

/// A replica that lost its folder must not found a second cluster beside the first.
async fn ask_the_others(
    stranger: &Stranger,
    me: NodeId,
    own: Option<String>,
    members: &BTreeMap<NodeId, Peer>,
) -> Result<(), BootstrapError> {
    let others = members.iter().filter(|(id, _)| **id != me);
    let asking =
        others.map(async |(id, peer)| (*id, peer, stranger.hello(&peer.peer_addr, HELLO_WITHIN).await));
    for (id, peer, answer) in futures::future::join_all(asking).await {
        // Whoever is not there yet cannot belong to anything.
        let there = answer.ok().and_then(|hello| hello.cluster_id);
        if let Some(cluster_id) = there.filter(|there| own.as_ref() != Some(there)) {
            return Err(BootstrapError::OtherCluster { id, addr: peer.peer_addr.clone(), cluster_id });
        }
    }
    Ok(())
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
        leader_peer: metrics
            .current_leader
            .and_then(|id| membership.get_node(&id))
            .map(|seat| seat.peer.clone()),
        last_log_index: metrics.last_log_index,
        committed_index: metrics.local_committed.map(|id| id.index),
        applied_index: metrics.last_applied.map(|id| id.index),
        snapshot_index: metrics.snapshot.map(|id| id.index),
        members: membership
            .nodes()
            .map(|(id, seat)| (*id, (seat.peer.clone(), voters.contains(id))))
            .collect(),
        changing: membership.get_joint_config().len() > 1,
        silent: Vec::new(),
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
