//! What a replica says about itself: who leads, under which leadership, how far the log is. Plain data, no decisions.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::config::{NodeId, Peer};

/// Whether this replica leads, as far as its user may rely on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Leadership {
    /// Another one leads, or nobody known, or this one lost contact with its quorum.
    Following { leader: Option<(NodeId, Peer)> },
    /// This replica leads and has applied everything that earlier leaders committed.
    Leading(Lead),
}

/// One leadership: from the moment it is reported until it is not. Proposals are conditional on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The raft term.
    pub term: u64,
    /// The leading replica, which is always this one.
    pub node_id: NodeId,
    /// Rises with every leadership reported by this process, also when the term stayed the same.
    pub serial: u64,
}

/// A command that has been applied here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its place in the log.
    pub index: u64,
    /// What the state machine answered.
    pub answer: Bytes,
}

/// A snapshot of everything worth showing to an operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    pub node_id: NodeId,
    pub cluster_id: Option<String>,
    /// `leader`, `follower`, `candidate`, `learner` or `stopped`.
    pub role: String,
    pub term: u64,
    pub leader: Option<NodeId>,
    pub leader_peer: Option<Peer>,
    pub last_log_index: Option<u64>,
    pub committed_index: Option<u64>,
    pub applied_index: Option<u64>,
    pub snapshot_index: Option<u64>,
    /// Every member, and whether it votes.
    pub members: BTreeMap<NodeId, (Peer, bool)>,
    /// On the leader: how far each member's log is known to agree.
    pub replication: BTreeMap<NodeId, Option<u64>>,
    /// What the builds of this replica and of those that it heard of can do; a leader hears of every follower that lives.
    pub levels: BTreeMap<NodeId, u32>,
    /// On the leader: how long ago a quorum last acknowledged it, in milliseconds.
    pub last_quorum_contact_ms: Option<u64>,
}
