//! The seam between the log and whatever keeps it: what can be changed, in which unit, and what comes back after a crash.
//!
//! Owns the vocabulary only. An implementation blocks, is called by one writer thread at a time and by any number of readers,
//! and either makes a whole [`Commit`] durable or fails for good.

use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::pace::Pace;
use crate::codec::{LogIdRecord, VoteRecord};
use crate::types::RaftEntry;

/// Who the files belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) node_id: u64,
    pub(crate) cluster_id: Option<String>,
    /// Whether this replica created the cluster, rather than being found by it.
    pub(crate) created_here: bool,
}

/// One change of the log, in the order in which it was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Append(Vec<RaftEntry>),
    /// Removes this index and everything behind it.
    TruncateFrom(u64),
    /// Removes everything up to and including this one.
    PurgeThrough(LogIdRecord),
    Vote(VoteRecord),
    Committed(LogIdRecord),
    Identity(Identity),
}

/// Where the log ends after a commit; written with it, so that a log that lost its end is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// Counts commits.
    pub(crate) serial: u64,
    /// The last entry, or the last purged one if there is none.
    pub(crate) last: Option<LogIdRecord>,
}

/// Changes that become durable together, or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) changes: Vec<Change>,
    pub(crate) tail: Tail,
}

/// What was found at start, all of it verified.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) identity: Option<Identity>,
    pub(crate) vote: Option<VoteRecord>,
    pub(crate) committed: Option<LogIdRecord>,
    pub(crate) purged: Option<LogIdRecord>,
    pub(crate) tail: Tail,
    /// The end of the log, as much as fits the asked-for number of bytes.
    pub(crate) recent: Vec<RaftEntry>,
}

/// Something is wrong with what is on disk; the text says what and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(crate) String);

/// Keeps the log.
pub(crate) trait LogDisk: Send + Sync + 'static {
    /// Reads and verifies everything; keeps the end of the log up to `recent_bytes`.
    fn recover(&self, recent_bytes: usize) -> Result<Recovered, Damage>;

    /// Makes a commit durable. An error is final: what is on disk is unknown from then on.
    fn commit(&self, commit: &Commit) -> io::Result<()>;

    /// Entries of this range in order, at least the first of them, at most `max_bytes` beyond it; verified. Entries that were
    /// never written or are purged are missing at the ends.
    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<RaftEntry>>;

    /// How many bytes the files take.
    fn size(&self) -> u64 {
        0
    }

    /// How long commits take, if that is measured.
    fn pace(&self) -> Option<&Pace> {
        None
    }

    /// Releases the files. Later calls fail.
    fn close(&self);
}
