//! Every error that leaves this package. Owns their types and texts; decides nothing.

use std::path::PathBuf;

use crate::config::{NodeId, Peer};

/// Why a replica could not start. Each of them needs a person: nothing here goes away by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error("configuration refused: {0}")]
    Config(String),
    /// A file is damaged, or acknowledged entries are missing from it.
    #[error("{} is damaged: {reason}", file.display())]
    Damaged {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files belong to another replica or need another version of this program.
    #[error("{} cannot be used: {reason}", file.display())]
    Foreign {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has the folder open.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The folder of the replica.
        dir: PathBuf,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What it was refused for.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The peer listener could not be bound.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen {
        /// The address.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The state machine refused its own snapshot.
    #[error("{} does not install: {reason}", file.display())]
    Install {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The consensus layer did not start.
    #[error("raft did not start: {0}")]
    Raft(String),
}

/// Why a read cannot be proven to miss nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nobody is known to lead, or this replica leads and cannot prove it.
    #[error("nobody is known to lead")]
    NoLeader,
    /// The leading replica did not answer the question.
    #[error("the leader could not be asked: {0}")]
    Leader(String),
    /// The proof, or what has to be applied here, took too long.
    #[error("not proven within {} ms", within.as_millis())]
    TooLate {
        /// How long was waited.
        within: std::time::Duration,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Why a cluster was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// This replica already belongs to a cluster.
    #[error("already part of cluster {cluster_id}")]
    AlreadyBootstrapped {
        /// The cluster it belongs to.
        cluster_id: String,
    },
    /// Another one of the list belongs to a cluster: this replica must have lost its folder.
    #[error("replica {id} at {addr} belongs to cluster {cluster_id} already")]
    OtherCluster {
        /// That replica.
        id: NodeId,
        /// Where it was reached.
        addr: String,
        /// The cluster it belongs to.
        cluster_id: String,
    },
    /// The list of members cannot be right.
    #[error("members refused: {0}")]
    Members(String),
    /// The store failed or is shutting down.
    #[error("bootstrap failed: {0}")]
    Failed(String),
}

/// What became of a command that was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This replica does not lead, or no longer under that leadership. The command is surely not committed and never will be.
    #[error("not leading{}", leader_text(leader))]
    NotLeading {
        /// The one that leads, if known.
        leader: Option<(NodeId, Peer)>,
    },
    /// The command may or may not be committed; only the log can tell.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The disk of this replica has too little room; the command was not proposed. Reads go on.
    #[error("the disk of the leading master is full: {free_bytes} bytes are free; nothing was written")]
    DiskFull {
        /// What is left, in bytes.
        free_bytes: u64,
    },
    /// Too much is in flight already; the command was not proposed.
    #[error("too many proposals in flight")]
    Busy,
    /// The command is longer than `max_command_bytes`; it was not proposed.
    #[error("command of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// `max_command_bytes`.
        limit: usize,
    },
}

/// Why the leadership was not handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Only a leader can hand over.
    #[error("not leading{}", leader_text(leader))]
    NotLeading {
        /// The one that leads, if known.
        leader: Option<(NodeId, Peer)>,
    },
    /// No other voter is there to take over.
    #[error("no other voter is in contact")]
    NoCandidate,
    /// The one that was named cannot take over: the text says why.
    #[error("replica {to} cannot take over: {reason}")]
    Unfit {
        /// The replica that was named.
        to: NodeId,
        /// Why not.
        reason: String,
    },
    /// Nobody took over in time; this replica may still lead.
    #[error("replica {to} did not take over within {within_ms} ms")]
    TimedOut {
        /// The replica that was to take over.
        to: NodeId,
        /// How long was waited, in milliseconds.
        within_ms: u128,
    },
    /// The store failed or is shutting down.
    #[error("hand-over failed: {0}")]
    Failed(String),
}

/// Why the masters' membership was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Only a leader can change it.
    #[error("not leading{}", leader_text(leader))]
    NotLeading {
        /// The one that leads, if known.
        leader: Option<(NodeId, Peer)>,
    },
    /// The change makes no sense: the text says why.
    #[error("change refused: {0}")]
    Refused(String),
    /// Not now: nothing was changed, and trying again soon may help.
    #[error("not now: {0}")]
    Busy(String),
    /// The change may or may not take effect.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Why a replica got no number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Asking again does not help.
    #[error("the cluster does not let this replica in: {0}")]
    Refused(String),
    /// Nobody who could decide was found.
    #[error("no leader of the cluster answered within {within_s} s; the last answer: {last}")]
    NoAnswer {
        /// How long was waited, in seconds.
        within_s: u64,
        /// What came of the last attempt.
        last: String,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] OpenError),
}

/// Why no snapshot was taken.
#[derive(Debug, thiserror::Error)]
#[error("no snapshot: {0}")]
pub struct SnapshotError(pub String);

fn leader_text(leader: &Option<(NodeId, Peer)>) -> String {
    match leader {
        Some((id, peer)) => format!("; replica {id} at {peer} does"),
        None => "; no leader is known".to_owned(),
    }
}

/// Why another replica did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ask another replica: {0}")]
pub struct AskError(pub String);
