//! Work on a master's folder or on a copy of its state while no master runs there: verifying, restoring, recovering.
//!
//! Owns what an operator is told of a state, and the beginning of a new cluster: the state with another name and an epoch far
//! above the former cluster's, so that agents come over and never go back. Where bytes lie is the store's business.

pub(crate) mod state;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tepui_raft_store::{BackupInfo, Founding, NodeId, OpenError, Peer, Position, Survivor};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::{Envelope, FEATURE_LEVEL, Operation, Outcome, Refound};

use self::state::Replay;
use crate::runtime::timers;

/// Where the replicated store lies within a master's folder.
pub(crate) const STORE: &str = "raft";

/// Why something could not be done; in each case nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// A file cannot be read or written, is damaged, or is no such thing.
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The folder for the new cluster has something in it.
    #[error("{} is not empty: a cluster is founded where nothing is", .0.display())]
    NotEmpty(PathBuf),
    /// What was read is no state that a cluster could begin with.
    #[error("{}: {reason}", path.display())]
    State { path: PathBuf, reason: String },
}

/// What is in a state, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Contents {
    /// Of its last leadership.
    pub epoch: u64,
    /// What every master must be able to do.
    pub feature_level: u32,
    pub agents: usize,
    pub frameworks: usize,
    pub tasks: usize,
    pub drivers: usize,
    pub registers: usize,
    /// Wall clock of its last change, milliseconds since 1970.
    pub wall_ms: u64,
}

impl Contents {
    fn of(registry: &Registry) -> Contents {
        Contents {
            epoch: registry.epoch,
            feature_level: registry.feature_level,
            agents: registry.agents.len(),
            frameworks: registry.frameworks.len(),
            tasks: registry.tasks.len(),
            drivers: registry.drivers.len(),
            registers: registry.registers.len(),
            wall_ms: registry.wall_ms,
        }
    }
}

/// A verified copy of the state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BackupReport {
    pub cluster_id: String,
    /// The last entry of the log that it contains, and its term.
    pub index: u64,
    pub term: u64,
    /// Length of the file in bytes, and its SHA-256 in hexadecimal.
    pub bytes: u64,
    pub sha256: String,
    #[serde(flatten)]
    pub contents: Contents,
}

/// Verifies all of a copy: every checksum, and that this build understands the state in it. Blocks.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn verify_backup(path: &Path) -> Result<BackupReport, OfflineError> {
    let (info, registry) = read_backup(path)?;
    let Position { term, index, .. } = last_of(path, &info)?;
    let sha256 = digest(path).map_err(|source| OfflineError::File { path: path.to_owned(), source })?;
    let contents = Contents::of(&registry);
    Ok(BackupReport { cluster_id: info.cluster_id, index, term, bytes: info.bytes, sha256, contents })
}

fn read_backup(path: &Path) -> Result<(BackupInfo, Registry), OfflineError> {
    Ok(tepui_raft_store::read_backup(path, |input| state::read(input, FEATURE_LEVEL))?)
}

fn last_of(path: &Path, info: &BackupInfo) -> Result<Position, OfflineError> {
    let reason = "there is nothing in it".to_owned();
    info.last.ok_or_else(|| OfflineError::State { path: path.to_owned(), reason })
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => hash.update(&piece[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a stopped master's folder has.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SurvivorReport {
    pub folder: PathBuf,
    pub node_id: NodeId,
    pub cluster_id: String,
    /// The last entry that it has, committed or not, and its term: of several folders the one with the greatest term, and the
    /// greatest index within it, has the most.
    pub term: u64,
    pub leader: NodeId,
    pub index: u64,
    /// How far it knew its entries to be committed.
    pub committed: u64,
    /// Where that master was reached by the others, and by everybody else.
    pub peer_addr: Option<String>,
    pub api_addr: Option<String>,
    #[serde(flatten)]
    pub contents: Contents,
}

impl SurvivorReport {
    /// Greater is better.
    pub fn reach(&self) -> (u64, NodeId, u64) {
        (self.term, self.leader, self.index)
    }
}

/// Reads a stopped master's folder: its newest snapshot and every entry of its log.
///
/// # Errors
/// When a master runs there, or anything in it is damaged or of another format version.
pub async fn survey(work_dir: &Path) -> Result<SurvivorReport, OfflineError> {
    survive(work_dir).await.map(|(report, _, _)| report)
}

async fn survive(work_dir: &Path) -> Result<(SurvivorReport, Survivor, Registry), OfflineError> {
    let wrong = |reason: String| OfflineError::State { path: work_dir.to_owned(), reason };
    let dir = work_dir.join(STORE);
    let (survivor, replay) = tepui_raft_store::survive(&dir, Replay::new(FEATURE_LEVEL)).await?;
    let registry = replay.finish().map_err(wrong)?;
    let last = survivor.last.ok_or_else(|| wrong("its log is empty".to_owned()))?;
    let cluster_id =
        survivor.cluster_id.clone().ok_or_else(|| wrong("it belongs to no cluster".to_owned()))?;
    let own = survivor.members.get(&survivor.node_id).map(|(peer, _)| peer);
    let report = SurvivorReport {
        folder: work_dir.to_owned(),
        node_id: survivor.node_id,
        cluster_id,
        term: last.term,
        leader: last.node_id,
        index: last.index,
        committed: survivor.committed.map_or(0, |committed| committed.index),
        peer_addr: own.map(|peer| peer.peer_addr.clone()),
        api_addr: own.map(|peer| peer.api_addr.clone()),
        contents: Contents::of(&registry),
    };
    Ok((report, survivor, registry))
}

/// A cluster that was founded anew; its first master has not been started yet.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Founded {
    pub folder: PathBuf,
    pub cluster_id: String,
    pub former_cluster_id: String,
    /// Its first and only master so far.
    pub node_id: NodeId,
    /// The last entry of the former log that is contained.
    pub index: u64,
    pub term: u64,
    #[serde(flatten)]
    pub contents: Contents,
}

/// Founds a cluster from a copy of the state. `work_dir` becomes the folder of its first master, which is `node_id` and reached
/// as `me`.
///
/// # Errors
/// When the copy is not whole, or the folder is not empty.
pub async fn restore(
    file: &Path,
    work_dir: &Path,
    node_id: NodeId,
    me: Peer,
) -> Result<Founded, OfflineError> {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let (info, registry) = read_backup(&path)?;
        Ok::<_, OfflineError>((last_of(&path, &info)?, info, registry))
    });
    let (last, info, registry) = match read.await {
        Ok(read) => read?,
        Err(error) => {
            return Err(OfflineError::State { path: file.to_owned(), reason: error.to_string() });
        }
    };
    let state = State { former: info.cluster_id, last, term: 0, registry };
    found(work_dir, node_id, me, state).await
}

/// Founds a cluster from what a master's folder has, in another folder; the survivor's is left as it is. Without `me` its
/// first master is reached where the survivor was.
///
/// # Errors
/// When a master runs in the survivor's folder, anything in it is damaged, or the new folder is not empty.
pub async fn recover(survivor: &Path, work_dir: &Path, me: Option<Peer>) -> Result<Founded, OfflineError> {
    let (report, read, registry) = survive(survivor).await?;
    let wrong = |reason: &str| OfflineError::State { path: survivor.to_owned(), reason: reason.to_owned() };
    let known = read.members.get(&read.node_id).map(|(peer, _)| peer.clone());
    let me = me.or(known).ok_or_else(|| wrong("it does not know its own address: name it"))?;
    let last = read.last.ok_or_else(|| wrong("its log is empty"))?;
    let state = State { former: report.cluster_id, last, term: read.term, registry };
    found(work_dir, read.node_id, me, state).await
}

/// What a cluster begins with.
struct State {
    former: String,
    last: Position,
    /// The highest term that was voted in, as far as known.
    term: u64,
    registry: Registry,
}

async fn found(work_dir: &Path, node_id: NodeId, me: Peer, state: State) -> Result<Founded, OfflineError> {
    let State { former, last, term, mut registry } = state;
    let file = |source| OfflineError::File { path: work_dir.to_owned(), source };
    if work_dir.exists() && fs::read_dir(work_dir).map_err(file)?.next().is_some() {
        return Err(OfflineError::NotEmpty(work_dir.to_owned()));
    }
    fs::create_dir_all(work_dir).map_err(file)?;
    let cluster_id = uuid::Uuid::new_v4().to_string();
    let operation = Operation::Refound(Refound { cluster_id: cluster_id.clone() });
    let envelope = Envelope {
        epoch: registry.epoch,
        cluster_ms: registry.cluster_ms,
        wall_ms: timers::wall_ms(),
        proposal: 0,
        node_id,
        operation: Some(operation),
    };
    let (outcome, _) = registry.apply(&envelope);
    if outcome != Outcome::Done {
        let reason = format!("its state cannot begin a cluster: {outcome:?}");
        return Err(OfflineError::State { path: work_dir.to_owned(), reason });
    }
    let founding = Founding { cluster_id: cluster_id.clone(), node_id, me, after: Some(last), term };
    let contents = Contents::of(&registry);
    tepui_raft_store::found(&work_dir.join(STORE), founding, move |out| registry.write_snapshot(out)).await?;
    Ok(Founded {
        folder: work_dir.to_owned(),
        cluster_id,
        former_cluster_id: former,
        node_id,
        index: last.index,
        term: last.term,
        contents,
    })
}
