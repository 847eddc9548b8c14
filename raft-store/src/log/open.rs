//! Opening the log of a replica: everything is read and verified, and anything that does not add up is refused with the file
//! and the reason.
//!
//! Owns the order of checks between database and guard, and the first commit of a new log, which names its owner.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Change, Commit, Identity, LogDisk, Recovered, Tail};
use super::faults::Faults;
use super::guard::{Guard, GuardError};
use super::redb_disk::{RedbDisk, RedbOpenError};
use super::{CACHE_BYTES, LogStore};
use crate::config::NodeId;
use crate::error::OpenError;
use crate::fatal::Fatal;

/// The database, inside the folder of a replica.
pub(super) const LOG_FILE: &str = "log.redb";
/// It, before it has its name.
const DRAFT_FILE: &str = "log.redb.new";
/// The guard beside it.
pub(super) const GUARD_FILE: &str = "log.guard";

/// Opens or creates the log in this folder.
pub(crate) fn open(dir: &Path, node_id: NodeId, faults: Faults, fatal: Fatal) -> Result<LogStore, OpenError> {
    open_of(dir, Some(node_id), faults, fatal)
}

/// Opens the log of whatever replica is in this folder; there must be one.
pub(crate) fn open_existing(dir: &Path, fatal: Fatal) -> Result<LogStore, OpenError> {
    open_of(dir, None, Faults::default(), fatal)
}

fn open_of(dir: &Path, node_id: Option<NodeId>, faults: Faults, fatal: Fatal) -> Result<LogStore, OpenError> {
    let file = dir.join(LOG_FILE);
    let guard_file = dir.join(GUARD_FILE);
    let guard = Guard::read(&guard_file).map_err(|e| match e {
        GuardError::Damaged(damage) => damaged(&guard_file, damage.0),
        GuardError::Io(e) => io_error(&guard_file, e),
    })?;
    let present = std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 0);
    if let (Some(guard), false) = (guard, present) {
        let text = format!("it is missing or empty, although {} commits were acknowledged", guard.serial);
        return Err(damaged(&file, text));
    }
    if !present && node_id.is_none() {
        return Err(OpenError::Foreign { file, reason: "there is no log".to_owned() });
    }
    if let (false, Some(node_id)) = (present, node_id) {
        make(dir, &file, node_id)?;
    }
    let disk = open_disk(dir, &file)?;
    let mut found = disk.recover(CACHE_BYTES).map_err(|damage| damaged(&file, damage.0))?;
    check_guard(&found, guard).map_err(|text| {
        let culprit = if guard.is_some() { &file } else { &guard_file };
        damaged(culprit, text)
    })?;
    let owner = found.identity.as_ref().map(|identity| identity.node_id);
    match (owner, node_id) {
        (Some(owner), Some(node_id)) if owner != node_id => {
            let reason = format!("it belongs to replica {owner}, not to {node_id}");
            return Err(OpenError::Foreign { file, reason });
        }
        (Some(_), _) => {}
        (None, None) => {
            let reason = "it does not say whose it is".to_owned();
            return Err(OpenError::Foreign { file, reason });
        }
        (None, Some(node_id)) => {
            found = create(&disk, node_id).map_err(|e| io_error(&file, e))?;
            File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io_error(dir, e))?;
        }
    }
    let guard = Guard::open(&guard_file, found.tail).map_err(|e| io_error(&guard_file, e))?;
    let disk = Arc::new(disk.with_guard(guard).with_faults(faults));
    let name = format!("log-{}", node_id.or(owner).unwrap_or_default());
    LogStore::start(disk, found, name, fatal).map_err(|e| io_error(&file, e))
}

fn open_disk(dir: &Path, file: &Path) -> Result<RedbDisk, OpenError> {
    RedbDisk::open(file).map_err(|e| match e {
        RedbOpenError::InUse => OpenError::InUse { dir: dir.to_owned() },
        RedbOpenError::Damaged(damage) => damaged(file, damage.0),
        RedbOpenError::Io(e) => io_error(file, e),
    })
}

/// Makes a new log under another name and gives it its own once it is whole: a file that a crash left half made would be refused for
/// ever.
fn make(dir: &Path, file: &Path, node_id: NodeId) -> Result<(), OpenError> {
    let draft = dir.join(DRAFT_FILE);
    if let Err(RedbOpenError::InUse) = RedbDisk::open(&draft) {
        return Err(OpenError::InUse { dir: dir.to_owned() });
    }
    let error = |e| io_error(&draft, e);
    std::fs::remove_file(&draft).map_err(error)?;
    let disk = open_disk(dir, &draft)?;
    create(&disk, node_id).map_err(error)?;
    disk.close();
    std::fs::rename(&draft, file).map_err(error)?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io_error(dir, e))
}

/// The first commit: whose log this is.
fn create(disk: &RedbDisk, node_id: NodeId) -> io::Result<Recovered> {
    let identity = Identity { node_id, cluster_id: None, created_here: false };
    let tail = Tail { serial: 1, last: None };
    disk.commit(&Commit { changes: vec![Change::Identity(identity.clone())], tail })?;
    Ok(Recovered { identity: Some(identity), tail, ..Recovered::default() })
}

pub(super) fn check_guard(found: &Recovered, guard: Option<Tail>) -> Result<(), String> {
    let Some(guard) = guard else {
        // The guard is created right after the first commit.
        if found.tail.serial > 1 {
            return Err(format!("it is missing, although the log has {} commits", found.tail.serial));
        }
        return Ok(());
    };
    if found.tail.serial < guard.serial {
        return Err(format!(
            "it ends with commit {}, but commit {} was acknowledged: entries are missing",
            found.tail.serial, guard.serial
        ));
    }
    if found.tail.serial == guard.serial && found.tail.last != guard.last {
        return Err(format!("commit {} is not the one that was acknowledged", guard.serial));
    }
    Ok(())
}

fn damaged(file: &Path, reason: String) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), reason }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { what: path.display().to_string(), source }
}
