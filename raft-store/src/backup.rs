//! Copies of the state for keeping: the newest snapshot as it lies on disk, and the check of such a copy.
//!
//! Owns what a copy says of itself and how it is read again. A copy is a snapshot file, byte for byte: it names its cluster and
//! its last entry, and every block of it carries a checksum. What the state means is the caller's.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::codec::LogIdRecord;
use crate::config::{NodeId, Peer};
use crate::error::OpenError;
use crate::snapshot::SnapshotFile;
use crate::types::StoredMembership;

/// A place in the log: under which leader, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The raft term of the leader that appended the entry.
    pub term: u64,
    /// That leader.
    pub node_id: NodeId,
    /// The entry's number.
    pub index: u64,
}

impl From<LogIdRecord> for Position {
    fn from(id: LogIdRecord) -> Self {
        Position { term: id.term, node_id: id.node, index: id.index }
    }
}

impl From<Position> for LogIdRecord {
    fn from(position: Position) -> Self {
        LogIdRecord { term: position.term, node: position.node_id, index: position.index }
    }
}

/// What a copy says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// The cluster whose state it is.
    pub cluster_id: String,
    /// The last entry whose effect it contains.
    pub last: Option<Position>,
    /// Who belonged to that cluster then, and whether they voted.
    pub members: BTreeMap<NodeId, (Peer, bool)>,
    /// Length of the whole file.
    pub bytes: u64,
}

/// A copy of the state that is ready to be carried away. As long as it is held its bytes can be read, whatever newer snapshots
/// take its place.
#[derive(Debug)]
pub struct Backup {
    info: BackupInfo,
    file: SnapshotFile,
}

impl Backup {
    pub(crate) fn of(file: SnapshotFile) -> Result<Backup, String> {
        let info = info(&file)?;
        Ok(Backup { info, file })
    }

    /// What the copy says of itself.
    pub fn info(&self) -> &BackupInfo {
        &self.info
    }

    /// All its bytes, from the first. Reading blocks on the disk.
    pub fn reader(&self) -> impl Read + Send + use<> {
        self.file.raw(0)
    }
}

/// Verifies all of a copy, and hands its state to `state` to read. What that returns is returned too.
///
/// # Errors
/// Names the file and what is wrong with it: that it is no copy, is of another format version, is damaged or cut short, or that
/// `state` does not understand what is in it.
pub fn read_backup<T>(
    path: &Path,
    state: impl FnOnce(&mut dyn Read) -> Result<T, anyhow::Error>,
) -> Result<(BackupInfo, T), OpenError> {
    let damaged = |reason: String| OpenError::Damaged { file: path.to_owned(), reason };
    let file = SnapshotFile::verify(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidData => damaged(source.to_string()),
        _ => OpenError::Io { what: path.display().to_string(), source },
    })?;
    let info = info(&file).map_err(damaged)?;
    let mut body = file.body().map_err(|e| damaged(e.to_string()))?;
    let read = state(&mut body)
        .map_err(|e| OpenError::Install { file: path.to_owned(), reason: format!("{e:#}") })?;
    Ok((info, read))
}

fn info(file: &SnapshotFile) -> Result<BackupInfo, String> {
    let meta = file.meta().map_err(|e| e.to_string())?;
    Ok(BackupInfo {
        cluster_id: file.header.cluster_id.clone(),
        last: file.header.last.map(Position::from),
        members: members(&meta.last_membership),
        bytes: file.bytes().map_err(|e| e.to_string())?,
    })
}

/// Who belongs to it, and whether they vote.
pub(crate) fn members(stored: &StoredMembership) -> BTreeMap<NodeId, (Peer, bool)> {
    let membership = stored.membership();
    let voters: Vec<NodeId> = membership.voter_ids().collect();
    membership.nodes().map(|(id, seat)| (*id, (seat.peer.clone(), voters.contains(id)))).collect()
}
