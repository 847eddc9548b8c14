//! Tests of the log as a whole: the consensus library's own suite, restarts, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;

use openraft::EntryPayload;
use openraft::StorageError;
use openraft::storage::RaftLogStorageExt;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::faults::Faults;
use super::open::{GUARD_FILE, LOG_FILE};
use super::*;
use crate::cluster::Cluster;
use crate::error::OpenError;
use crate::meter::Meter;
use crate::snapshot::Snapshots;
use crate::state::Replica;
use crate::testing::List;
use crate::types::{Command, LeaderId, log_id};

fn open_at(dir: &Path) -> Result<LogStore, OpenError> {
    open(dir, 1, Faults::default(), Fatal::new())
}

fn entry(term: u64, index: u64) -> RaftEntry {
    let text = format!("command {index} of term {term}");
    RaftEntry {
        log_id: log_id(term, 1, index),
        payload: EntryPayload::Normal(Command { term, bytes: text.into() }),
    }
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, node_id: 1 }, committed: false }
}

async fn all(log: &mut LogStore) -> Vec<RaftEntry> {
    log.try_get_log_entries(..).await.unwrap()
}

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, Replica, TempDir> for OnDisk {
    async fn build(&self) -> Result<(TempDir, LogStore, Replica), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = open_at(dir.path()).unwrap();
        let snapshots = Snapshots::open(&dir.path().join("snapshots")).unwrap();
        let cluster = Cluster::new(1, None, log.clone());
        let meter = Arc::new(Meter::new(u64::MAX, u64::MAX));
        let replica = Replica::open(
            Box::new(List::default()),
            snapshots,
            cluster,
            crate::roster::Roster::new(1, crate::seat::Incarnation::draw(), Fatal::new()),
            meter,
            Fatal::new(),
        )
        .await
        .unwrap();
        Ok((dir, log, replica))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_of_the_consensus_library_passes() {
    Suite::test_all(OnDisk).await.unwrap();
}

#[tokio::test]
async fn everything_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_at(dir.path()).unwrap();
    log.save_vote(&vote(3)).await.unwrap();
    log.blocking_append((0..50).map(|i| entry(1, i))).await.unwrap();
    log.truncate_after(Some(log_id(1, 1, 29))).await.unwrap();
    log.blocking_append((30..40).map(|i| entry(2, i))).await.unwrap();
    log.purge(log_id(1, 1, 9)).await.unwrap();
    log.save_committed(Some(log_id(2, 1, 35))).await.unwrap();
    let before = all(&mut log).await;
    log.close().await;

    let mut again = open_at(dir.path()).unwrap();
    assert_eq!(all(&mut again).await, before);
    assert_eq!(before.len(), 30);
    assert_eq!(again.read_vote().await.unwrap(), Some(vote(3)));
    assert_eq!(again.read_committed().await.unwrap(), Some(log_id(2, 1, 35)));
    let state = again.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 1, 9)));
    assert_eq!(state.last_log_id, Some(log_id(2, 1, 39)));
}

#[tokio::test]
async fn entries_beyond_the_cache_are_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_at(dir.path()).unwrap();
    let big = |index| RaftEntry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Normal(Command { term: 1, bytes: vec![index as u8; 1 << 20].into() }),
    };
    let count = (CACHE_BYTES >> 20) as u64 + 8;
    for index in 0..count {
        log.blocking_append([big(index)]).await.unwrap();
    }
    assert!(log.memory().first_cached() > 0, "the test must reach beyond the cache");
    let read = all(&mut log).await;
    assert_eq!(read.len() as u64, count);
    assert_eq!(read[1], big(1));
    let limited = log.limited_get_log_entries(0, count).await.unwrap();
    assert!(!limited.is_empty() && limited.len() < 6, "{} entries of 1 MiB", limited.len());
    let streamed: Vec<_> = log.entries_stream(..count).await.collect().await;
    assert_eq!(streamed.len() as u64, count);
}

#[tokio::test]
async fn a_second_process_and_another_replica_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_at(dir.path()).unwrap();
    assert!(matches!(open_at(dir.path()), Err(OpenError::InUse { .. })));
    log.close().await;
    assert!(matches!(open(dir.path(), 2, Faults::default(), Fatal::new()), Err(OpenError::Foreign { .. })));
    open_at(dir.path()).unwrap();
}

#[tokio::test]
async fn a_log_that_was_never_finished_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    // As a crash leaves them: a file of the right length without anything in it, and a draft of the kind.
    std::fs::write(dir.path().join("log.redb.new"), vec![0; 4096]).unwrap();
    std::fs::write(dir.path().join(LOG_FILE), []).unwrap();
    let log = open_at(dir.path()).unwrap();
    assert_eq!(log.identity().map(|identity| identity.node_id), Some(1));
    assert!(!dir.path().join("log.redb.new").exists());
    log.close().await;
    open_at(dir.path()).unwrap();
}

/// A folder as it is found after a kill: copied while the log is open.
async fn killed(entries: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_at(dir.path()).unwrap();
    log.save_vote(&vote(1)).await.unwrap();
    for index in 0..entries {
        log.blocking_append([entry(1, index)]).await.unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    for file in [LOG_FILE, GUARD_FILE] {
        std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    log.close().await;
    copy
}

fn refused(dir: &Path, expected_file: &str) -> String {
    match open_at(dir) {
        Err(OpenError::Damaged { file, reason }) => {
            assert_eq!(file, dir.join(expected_file));
            assert!(!reason.is_empty());
            reason
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a damaged {expected_file} was opened"),
    }
}

#[tokio::test]
async fn a_log_that_lost_acknowledged_commits_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, guard) = (dir.path().join(LOG_FILE), dir.path().join(GUARD_FILE));
    let mut log = open_at(dir.path()).unwrap();
    log.blocking_append([entry(1, 0)]).await.unwrap();
    log.close().await;
    let (old_log, old_guard) = (std::fs::read(&file).unwrap(), std::fs::read(&guard).unwrap());
    let mut log = open_at(dir.path()).unwrap();
    log.blocking_append([entry(1, 1)]).await.unwrap();
    log.close().await;
    let (new_log, new_guard) = (std::fs::read(&file).unwrap(), std::fs::read(&guard).unwrap());

    std::fs::write(&file, &old_log).unwrap();
    let reason = refused(dir.path(), LOG_FILE);
    assert!(reason.contains("entries are missing"), "{reason}");
    std::fs::write(&file, "").unwrap();
    refused(dir.path(), LOG_FILE);
    std::fs::remove_file(&file).unwrap();
    refused(dir.path(), LOG_FILE);

    std::fs::write(&file, &new_log).unwrap();
    std::fs::write(&guard, &new_guard[..10]).unwrap();
    refused(dir.path(), GUARD_FILE);
    std::fs::remove_file(&guard).unwrap();
    refused(dir.path(), GUARD_FILE);
    // The guard may be older than the log: it is not synced.
    std::fs::write(&guard, &old_guard).unwrap();
    assert_eq!(all(&mut open_at(dir.path()).unwrap()).await.len(), 2);
}

#[tokio::test]
async fn a_cut_log_is_refused() {
    let dir = killed(20).await;
    let file = dir.path().join(LOG_FILE);
    let whole = std::fs::read(&file).unwrap();
    for part in [1, 100, 4096, 9000, whole.len() / 2] {
        std::fs::write(&file, &whole[..part]).unwrap();
        refused(dir.path(), LOG_FILE);
    }
}

/// Opens a damaged folder: either all entries are there, or it is refused with a reason.
async fn all_or_refused(dir: &Path, entries: u64, what: &str) -> bool {
    match open_at(dir) {
        Err(OpenError::Damaged { reason, .. }) => {
            assert!(!reason.is_empty(), "{what}");
            false
        }
        Err(other) => panic!("{what}: {other}"),
        Ok(mut log) => {
            let found = all(&mut log).await;
            let expected: Vec<_> = (0..entries).map(|i| entry(1, i)).collect();
            assert!(found == expected, "{what}: opened with {} of {entries} entries", found.len());
            assert_eq!(log.read_vote().await.unwrap(), Some(vote(1)), "{what}");
            log.close().await;
            true
        }
    }
}

#[tokio::test]
async fn one_flipped_bit_anywhere_never_loses_an_entry() {
    const ENTRIES: u64 = 12;
    let dir = killed(ENTRIES).await;
    let file = dir.path().join(LOG_FILE);
    let whole = std::fs::read(&file).unwrap();
    // The end of the file may be free space: then nothing is lost.
    for part in [whole.len() - 4096, whole.len() - 1] {
        std::fs::write(&file, &whole[..part]).unwrap();
        all_or_refused(dir.path(), ENTRIES, &format!("cut at {part}")).await;
        std::fs::write(&file, &whole).unwrap();
    }
    // Every bit of what the database reads first, then places all over the file.
    let header = (0..192).map(|byte| (byte, (byte % 8) as u32));
    let rest = (192..whole.len()).step_by(1009).map(|byte| (byte, (byte % 8) as u32));
    let mut opened = 0;
    let mut refused = 0;
    // A panic inside the database is expected here; it must come out as a refusal, and its text helps nobody.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.location().is_none_or(|l| !l.file().contains("redb")) {
            hook(info);
        }
    }));
    for (byte, bit) in header.chain(rest) {
        let mut bad = whole.clone();
        bad[byte] ^= 1 << bit;
        std::fs::write(&file, &bad).unwrap();
        let copy = tempfile::tempdir().unwrap();
        for name in [LOG_FILE, GUARD_FILE] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        if all_or_refused(copy.path(), ENTRIES, &format!("byte {byte} bit {bit}")).await {
            opened += 1;
        } else {
            refused += 1;
        }
    }
    assert!(opened > 0 && refused > 0, "the test reached nothing: {opened} opened, {refused} refused");
}

#[tokio::test]
async fn one_flipped_bit_after_a_clean_close_never_loses_an_entry() {
    const ENTRIES: u64 = 12;
    let dir = tempfile::tempdir().unwrap();
    let mut log = open_at(dir.path()).unwrap();
    log.save_vote(&vote(1)).await.unwrap();
    log.blocking_append((0..ENTRIES).map(|i| entry(1, i))).await.unwrap();
    log.close().await;
    let file = dir.path().join(LOG_FILE);
    let whole = std::fs::read(&file).unwrap();
    for byte in (0..whole.len()).step_by(499) {
        let mut bad = whole.clone();
        bad[byte] ^= 1 << (byte % 8);
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join(LOG_FILE), &bad).unwrap();
        std::fs::copy(dir.path().join(GUARD_FILE), copy.path().join(GUARD_FILE)).unwrap();
        all_or_refused(copy.path(), ENTRIES, &format!("byte {byte}")).await;
    }
}

#[tokio::test]
async fn an_identity_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_at(dir.path()).unwrap();
    let cluster = Cluster::new(1, None, log.clone());
    let id = cluster.create().await.unwrap();
    assert_eq!(cluster.create().await.unwrap(), id, "nothing was logged yet: creation can be finished");
    log.clone().save_vote(&vote(1)).await.unwrap();
    assert!(cluster.create().await.is_err());
    log.close().await;
    let again = Cluster::new(1, None, open_at(dir.path()).unwrap());
    assert_eq!(again.id(), Some(id));
    let peers: BTreeMap<u64, crate::Peer> = BTreeMap::new();
    assert!(crate::membership::check_first(1, &peers).is_err());
}
