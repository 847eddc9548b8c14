//! Work on the folder of a replica that does not run: reading the state of a survivor, and founding a new cluster from a state.
//!
//! Owns the order of those steps. A new cluster begins with a snapshot under an id of its own and with one voter, so that no
//! replica of the former one can speak to it. Nothing of what is read is changed; what is founded appears whole or not at all.
//! What the state means, and what becomes of it in between, is the caller's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use openraft::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::backup::{Position, members};
use crate::cluster::Cluster;
use crate::config::{NodeId, Peer};
use crate::error::OpenError;
use crate::fatal::Fatal;
use crate::log::{self, Identity, LogStore};
use crate::machine::{Entry, StateMachine};
use crate::node::check_together;
use crate::seat::Seat;
use crate::snapshot::{Header, Snapshots};
use crate::types::{LogId, Membership, RaftEntry, StoredMembership, Vote, log_id};

/// So many entries are applied in one call at most.
const APPLY_AT_ONCE: usize = 1024;

/// How far the state in a folder reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// The replica whose folder it is.
    pub node_id: NodeId,
    /// The cluster it belongs to, if any.
    pub cluster_id: Option<String>,
    /// The last entry that it has, committed or not: of several folders the one with the greatest is the best.
    pub last: Option<Position>,
    /// The last entry that it knew to be committed. What lies behind it may have been acknowledged all the same.
    pub committed: Option<Position>,
    /// The last entry of its newest snapshot.
    pub snapshot: Option<Position>,
    /// The highest term that it has voted in.
    pub term: u64,
    /// Who belonged to its cluster, and whether they voted.
    pub members: BTreeMap<NodeId, (Peer, bool)>,
}

/// A cluster to be founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Its id, which no cluster had before.
    pub cluster_id: String,
    /// Its first and only voter …
    pub node_id: NodeId,
    /// … and where that one is reached.
    pub me: Peer,
    /// The last entry whose effect the state contains; the new cluster's log begins behind it.
    pub after: Option<Position>,
    /// The highest term that was ever voted in, as far as known.
    pub term: u64,
}

/// Reads the folder of a replica that does not run into an empty state machine: its newest snapshot, and every entry behind it.
///
/// # Errors
/// When the folder is in use, holds no replica, or anything in it is damaged or of an unknown format version.
pub async fn survive<S: StateMachine>(dir: &Path, machine: S) -> Result<(Survivor, S), OpenError> {
    let folder = dir.to_owned();
    let log = blocking(move || log::open_existing(&folder, Fatal::new())).await?;
    let read = read_from(dir, &log, machine).await;
    log.close().await;
    read
}

async fn read_from<S: StateMachine>(
    dir: &Path,
    log: &LogStore,
    mut machine: S,
) -> Result<(Survivor, S), OpenError> {
    let io_error = |source| OpenError::Io { what: dir.display().to_string(), source };
    let identity = log.identity().ok_or_else(|| OpenError::Foreign {
        file: dir.to_owned(),
        reason: "it does not say whose it is".to_owned(),
    })?;
    let snapshot_dir = dir.join("snapshots");
    let folder = snapshot_dir.clone();
    let snapshots = blocking(move || Snapshots::open(&folder)).await?;
    let cluster = Cluster::new(identity.node_id, None, log.clone());
    check_together(&snapshot_dir, log, &snapshots, &cluster)?;

    let mut log = log.clone();
    let mut last: Option<LogId> = None;
    let mut membership = StoredMembership::default();
    let current = snapshots.current();
    if let Some(file) = current.clone() {
        let refused = |reason: String| OpenError::Install { file: file.path.clone(), reason };
        let meta = file.meta().map_err(|e| refused(e.to_string()))?;
        (last, membership) = (meta.last_log_id, meta.last_membership);
        let at = file.clone();
        machine = blocking(move || {
            let mut body =
                at.body().map_err(|source| OpenError::Io { what: at.path.display().to_string(), source })?;
            let installed = machine.install(&mut body, at.header.last_index().unwrap_or(0));
            installed.map_err(|e| OpenError::Install { file: at.path.clone(), reason: format!("{e:#}") })?;
            Ok(machine)
        })
        .await?;
    }
    loop {
        let next = last.map_or(0, |id| id.index + 1);
        let piece = log.limited_get_log_entries(next, u64::MAX).await.map_err(io_error)?;
        let Some(newest) = piece.last().map(|entry| entry.log_id) else { break };
        for entry in &piece {
            if let EntryPayload::Membership(new) = &entry.payload {
                membership = StoredMembership::new(Some(entry.log_id), new.clone());
            }
        }
        apply(&mut machine, piece);
        last = Some(newest);
    }
    let position = |id: Option<LogId>| id.map(|id| Position::from(crate::codec::LogIdRecord::from(id)));
    let committed = log.read_committed().await.map_err(io_error)?;
    let snapshot = current.and_then(|file| file.header.last).map(LogId::from);
    let vote = log.read_vote().await.map_err(io_error)?;
    let survivor = Survivor {
        node_id: identity.node_id,
        cluster_id: identity.cluster_id,
        last: position(last),
        committed: position(committed.max(snapshot)),
        snapshot: position(snapshot),
        term: vote.map_or(0, |vote| vote.leader_id.term),
        members: members(&membership),
    };
    Ok((survivor, machine))
}

/// The commands among these entries, by the rule that replicas in service follow: one of another term has no effect.
fn apply<S: StateMachine>(machine: &mut S, entries: Vec<RaftEntry>) {
    let mut commands = Vec::with_capacity(APPLY_AT_ONCE);
    for entry in entries {
        let EntryPayload::Normal(command) = entry.payload else { continue };
        if command.term == entry.log_id.leader_id.term {
            commands.push(Entry { index: entry.log_id.index, command: command.bytes });
        }
        if commands.len() == APPLY_AT_ONCE {
            machine.apply(std::mem::take(&mut commands));
        }
    }
    if !commands.is_empty() {
        machine.apply(commands);
    }
}

/// Founds a cluster in a folder that does not exist yet: a snapshot that `write` fills, a log that begins behind it, one voter.
/// A replica that is opened there with that number leads at once.
///
/// # Errors
/// When the folder exists and is not empty, or a file cannot be written; nothing is left in its place then.
pub async fn found(
    dir: &Path,
    founding: Founding,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), OpenError> {
    let io_error = |source| OpenError::Io { what: dir.display().to_string(), source };
    let draft = draft_of(dir);
    refuse_data(dir)?;
    if draft.exists() {
        // Of an attempt that did not come to its end: nothing in it was ever used.
        fs::remove_dir_all(&draft).map_err(io_error)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&draft).map_err(io_error)?;
    let laid = lay(&draft, founding, write).await;
    let moved = laid.and_then(|()| {
        if dir.exists() {
            // Empty, as was made sure of; taking away anything else fails.
            fs::remove_dir(dir).map_err(io_error)?;
        }
        fs::rename(&draft, dir).map_err(io_error)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(io_error)
    });
    if moved.is_err() {
        // It stays behind at worst, and is taken away by the next attempt.
        drop(fs::remove_dir_all(&draft));
    }
    moved
}

/// Beside the folder, in the same file system.
fn draft_of(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    dir.with_file_name(name)
}

fn refuse_data(dir: &Path) -> Result<(), OpenError> {
    match fs::read_dir(dir).map(|mut entries| entries.next()) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let reason = "it is not empty: a cluster is founded where nothing is".to_owned();
            Err(OpenError::Foreign { file: dir.to_owned(), reason })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OpenError::Io { what: dir.display().to_string(), source }),
    }
}

/// Snapshot first, then the log that relies on it.
async fn lay(
    dir: &Path,
    founding: Founding,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Result<(), OpenError> {
    let Founding { cluster_id, node_id, me, after, term } = founding;
    // Above everything that the former cluster voted for, so that its entries can never win against the new one's.
    let term = term.max(after.map_or(0, |after| after.term)).saturating_add(1);
    let first = log_id(term, node_id, after.map_or(0, |after| after.index.saturating_add(1)));
    let alone = vec![std::collections::BTreeSet::from([node_id])];
    let seat = Seat { peer: me, incarnation: None, newest: node_id };
    let membership = Membership::new(alone, BTreeMap::from([(node_id, seat)]))
        .map_err(|e| OpenError::Config(e.to_string()))?;
    let membership = StoredMembership::new(Some(first), membership);
    let header =
        Header { cluster_id: cluster_id.clone(), last: Some(first.into()), membership: (&membership).into() };
    let folder = dir.to_owned();
    let mut log = blocking(move || {
        let io_error = |source| OpenError::Io { what: folder.display().to_string(), source };
        let snapshots = Snapshots::open(&folder.join("snapshots"))?;
        snapshots.write(&header, Box::new(write)).map_err(io_error)?;
        log::open(&folder, node_id, log::faults::Faults::default(), Fatal::new())
    })
    .await?;
    let laid = async {
        let identity = Identity { node_id, cluster_id: Some(cluster_id), created_here: true };
        log.save_identity(identity).await?;
        log.purge(first).await?;
        let leader_id = first.leader_id;
        // Saved last: it waits until all of this is durable.
        log.save_vote(&Vote { leader_id, committed: false }).await
    }
    .await;
    log.close().await;
    laid.map_err(|source| OpenError::Io { what: dir.display().to_string(), source })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    crate::blocking::run(work).await.unwrap_or_else(|e| Err(OpenError::Raft(e.to_string())))
}
