//! The consensus library's type parameters, filled in once. Everything else here speaks these aliases.
//!
//! Owns the wrappers for commands and answers. Their serde forms exist because the library asks for them; nothing is
//! persisted or sent through them, see `codec.rs`.

use std::fmt;

use bytes::Bytes;
use openraft::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::seat::Seat;

openraft::declare_raft_types!(
    /// The library's view of this package.
    pub(crate) TypeConfig:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = Seat,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type LeaderId = alias::LeaderIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type RaftEntry = alias::EntryOf<TypeConfig>;
pub(crate) type Payload = alias::PayloadOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, Seat>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = alias::SnapshotOf<TypeConfig, crate::snapshot::SnapshotFile>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::state::Replica>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// A log id from its three numbers.
pub(crate) fn log_id(term: u64, node_id: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id }, index)
}

/// An opaque command, and the term in which alone it may take effect: an entry that the same replica appends as the leader of
/// another term is skipped by every replica alike.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) term: u64,
    #[serde(serialize_with = "opaque", deserialize_with = "from_opaque")]
    pub(crate) bytes: Bytes,
}

/// What became of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The answer of the state machine; empty for entries that are not commands.
    Applied(#[serde(serialize_with = "opaque", deserialize_with = "from_opaque")] Bytes),
    /// A command of another term: it had no effect.
    Stale,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in term {}", self.bytes.len(), self.term)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn opaque<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

fn from_opaque<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    Ok(Vec::<u8>::deserialize(deserializer)?.into())
}
