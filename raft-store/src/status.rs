//! What a replica says about itself: who leads, under which leadership, how far the log is. Plain data, no decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::config::{NodeId, Peer};
use crate::space::DiskLevel;

/// Whether this replica leads, as far as its user may rely on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Leadership {
    /// Another one leads, or nobody known, or this one lost contact with its quorum.
    Following {
        /// The one that leads, if it was heard lately.
        leader: Option<(NodeId, Peer)>,
    },
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

/// A snapshot on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTaken {
    /// The last entry whose effect it holds.
    pub index: u64,
    /// Its size on disk.
    pub bytes: u64,
}

/// A snapshot of everything worth showing to an operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The replica.
    pub node_id: NodeId,
    /// The cluster it belongs to, if any.
    pub cluster_id: Option<String>,
    /// `leader`, `follower`, `candidate`, `learner` or `stopped`.
    pub role: String,
    /// The raft term.
    pub term: u64,
    /// Who leads, as far as raft knows; it may be gone.
    pub leader: Option<NodeId>,
    /// Where that one is reached.
    pub leader_peer: Option<Peer>,
    /// The last entry of the log here.
    pub last_log_index: Option<u64>,
    /// The last entry that is known here to be committed.
    pub committed_index: Option<u64>,
    /// The last entry that was applied here.
    pub applied_index: Option<u64>,
    /// The last entry in the newest snapshot here.
    pub snapshot_index: Option<u64>,
    /// Every member, and whether it votes.
    pub members: BTreeMap<NodeId, (Peer, bool)>,
    /// Whether a change of voters is half done: both the old and the new majority are needed until it is finished.
    pub changing: bool,
    /// On the leader: members that did not answer lately.
    pub silent: Vec<NodeId>,
    /// On the leader: how far each member's log is known to agree.
    pub replication: BTreeMap<NodeId, Option<u64>>,
    /// What the builds of this replica and of those that it heard of can do; a leader hears of every follower that lives.
    pub levels: BTreeMap<NodeId, u32>,
    /// On the leader: how long ago a quorum last acknowledged it, in milliseconds.
    pub last_quorum_contact_ms: Option<u64>,
}

/// How a replica's disk fares, for operators.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    /// Commits of the log so far in this process.
    pub syncs: u64,
    /// Median and 99th percentile of their times within the last ten seconds; absent without commits.
    pub sync_p50: Option<Duration>,
    /// See `sync_p50`.
    pub sync_p99: Option<Duration>,
    /// Whether the disk counts as slow, so that this replica does not lead if another one can.
    pub slow: bool,
    /// For how long no entry was committed although some wait for it.
    pub commit_stall: Duration,
    /// Bytes of the log's files.
    pub log_bytes: u64,
    /// Age and bytes of the newest snapshot.
    pub snapshot_age: Option<Duration>,
    /// See `snapshot_age`.
    pub snapshot_bytes: Option<u64>,
    /// Bytes that are free on the disk, as of the last look; absent where nothing is watched.
    pub free_bytes: Option<u64>,
    /// What that means.
    pub level: DiskLevel,
    /// On the leader: members that should not be made the leader, because of their disks.
    pub unfit_members: BTreeSet<NodeId>,
}
