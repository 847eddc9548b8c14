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
    Damaged { file: PathBuf, reason: String },
    /// The files belong to another replica or need another version of this program.
    #[error("{} cannot be used: {reason}", file.display())]
    Foreign { file: PathBuf, reason: String },
    /// Another process has the folder open.
    #[error("{} is in use by another process", dir.display())]
    InUse { dir: PathBuf },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    /// The peer listener could not be bound.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen { addr: std::net::SocketAddr, source: std::io::Error },
    /// The state machine refused its own snapshot.
    #[error("{} does not install: {reason}", file.display())]
    Install { file: PathBuf, reason: String },
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
    TooLate { within: std::time::Duration },
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
    AlreadyBootstrapped { cluster_id: String },
    /// Another one of the list belongs to a cluster: this replica must have lost its folder.
    #[error("replica {id} at {addr} belongs to cluster {cluster_id} already")]
    OtherCluster { id: NodeId, addr: String, cluster_id: String },
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
    NotLeading { leader: Option<(NodeId, Peer)> },
    /// The command may or may not be committed; only the log can tell.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The disk of this replica has too little room; the command was not proposed. Reads go on.
    #[error("the disk of the leading master is full: {free_bytes} bytes are free; nothing was written")]
    DiskFull { free_bytes: u64 },
    /// Too much is in flight already; the command was not proposed.
    #[error("too many proposals in flight")]
    Busy,
    /// The command is longer than `max_command_bytes`; it was not proposed.
    #[error("command of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

/// Why the leadership was not handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Only a leader can hand over.
    #[error("not leading{}", leader_text(leader))]
    NotLeading { leader: Option<(NodeId, Peer)> },
    /// No other voter is there to take over.
    #[error("no other voter is in contact")]
    NoCandidate,
    /// The one that was named cannot take over: the text says why.
    #[error("replica {to} cannot take over: {reason}")]
    Unfit { to: NodeId, reason: String },
    /// Nobody took over in time; this replica may still lead.
    #[error("replica {to} did not take over within {within_ms} ms")]
    TimedOut { to: NodeId, within_ms: u128 },
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
    NotLeading { leader: Option<(NodeId, Peer)> },
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
    NoAnswer { within_s: u64, last: String },
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
