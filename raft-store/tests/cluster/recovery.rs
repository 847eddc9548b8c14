//! Copies of the state, and clusters that begin with one: nothing of the former cluster may speak to them.

use std::io::Read;
use std::path::Path;

use tepui_raft_store::{
    Backup, Founding, Leadership, OpenError, Position, RaftStore, found, read_backup, survive,
};

use crate::harness::{Cluster, Journal, Seen, until};

async fn shutdown(cluster: &mut Cluster) {
    let running: Vec<u64> = cluster.running.keys().copied().collect();
    for id in running {
        cluster.shutdown(id).await;
    }
}

fn save(backup: &Backup, path: &Path) {
    let mut bytes = Vec::new();
    backup.reader().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, backup.info().bytes);
    std::fs::write(path, bytes).unwrap();
}

fn text(path: &Path) -> Result<(tepui_raft_store::BackupInfo, String), OpenError> {
    read_backup(path, |input| {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        Ok(text)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gives_a_copy_that_proves_itself() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    for word in ["a", "b", "c"] {
        cluster.write(word).await;
    }
    let (leader, _) = cluster.leader().await;
    let follower = *cluster.others(leader).first().unwrap();
    cluster.has(follower, &["a", "b", "c"].map(str::to_owned)).await;
    let backup = cluster.store(follower).backup().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    save(&backup, &path);
    // Newer snapshots do not take it away from whoever is still reading.
    for round in 0..4 {
        cluster.write(&format!("later {round}")).await;
        cluster.store(follower).trigger_snapshot().await.unwrap();
    }
    save(&backup, &path);
    let (info, state) = text(&path).unwrap();
    assert_eq!(&info, backup.info());
    assert_eq!(Some(info.cluster_id.clone()), cluster.store(leader).cluster_id());
    assert_eq!((info.members.len(), state.lines().count()), (3, 3), "{state}");
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(text(&path), Err(OpenError::Damaged { .. })), "byte {at}");
    }
    let mut newer = good.clone();
    newer[8] = 9;
    std::fs::write(&path, &newer).unwrap();
    let error = text(&path).unwrap_err().to_string();
    assert!(error.contains("unknown format version 9"), "{error}");
    std::fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(text(&path), Err(OpenError::Damaged { .. })));
    shutdown(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_founds_a_cluster_that_the_others_are_strangers_to() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    for word in ["a", "b", "c"] {
        cluster.write(word).await;
    }
    let (leader, _) = cluster.leader().await;
    cluster.store(leader).trigger_snapshot().await.unwrap();
    // Behind the snapshot, so that log and snapshot both have to be read.
    cluster.write("d").await;
    let former = cluster.store(leader).cluster_id().unwrap();
    let running = survive(&cluster.folder(leader), Journal::new(&Seen::default())).await.map(|_| ());
    assert!(matches!(running, Err(OpenError::InUse { .. })), "{running:?}");
    shutdown(&mut cluster).await;

    let seen = Seen::default();
    let (survivor, machine) = survive(&cluster.folder(leader), Journal::new(&seen)).await.unwrap();
    let words: Vec<String> = seen.lock().unwrap().iter().map(|(_, word)| word.clone()).collect();
    assert_eq!(words, ["a", "b", "c", "d"]);
    assert_eq!((survivor.node_id, survivor.cluster_id.clone()), (leader, Some(former)));
    assert_eq!(survivor.members.len(), 3);
    let last = survivor.last.unwrap();
    assert!(survivor.snapshot.unwrap() < last && survivor.committed.unwrap() <= last, "{survivor:?}");
    drop(machine);

    // Somewhere else, under the same number.
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new");
    let founding = Founding {
        cluster_id: "new-cluster".to_owned(),
        node_id: leader,
        me: cluster.peers()[&leader].clone(),
        after: survivor.last,
        term: survivor.term,
    };
    let lines: String = seen.lock().unwrap().iter().map(|(at, word)| format!("{at} {word}\n")).collect();
    let write = lines.clone();
    found(&folder, founding.clone(), move |out| out.write_all(write.as_bytes())).await.unwrap();
    let again = found(&folder, founding, move |out| out.write_all(lines.as_bytes())).await;
    assert!(matches!(again, Err(OpenError::Foreign { .. })), "{again:?}");

    let mut config = cluster.config(leader);
    config.dir = folder.clone();
    let reborn = Seen::default();
    let store = RaftStore::open(config, Journal::new(&reborn)).await.unwrap();
    assert_eq!(store.cluster_id().as_deref(), Some("new-cluster"));
    assert_eq!(reborn.lock().unwrap().len(), 4);
    let lead = until("a lead", || match &*store.leadership().borrow() {
        Leadership::Leading(lead) => Some(lead.clone()),
        Leadership::Following { .. } => None,
    })
    .await;
    assert!(lead.term > survivor.term.max(last.term), "{lead:?}");
    let applied = store.propose(&lead, "e".into()).await.unwrap();
    assert!(applied.index > last.index + 1, "{applied:?}");
    // The others come back, and are a cluster of their own that does not disturb the new one.
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.start(id).await;
    }
    assert_ne!(cluster.leader().await.0, leader);
    cluster.write("elsewhere").await;
    let applied = store.propose(&lead, "f".into()).await.unwrap();
    assert_eq!(applied.answer, "6");
    assert_eq!(store.status().members.len(), 1);
    store.shutdown().await;
    shutdown(&mut cluster).await;

    // What was founded can be read and opened again like any other.
    let seen = Seen::default();
    let (survivor, _) = survive(&folder, Journal::new(&seen)).await.unwrap();
    assert_eq!(survivor.cluster_id.as_deref(), Some("new-cluster"));
    assert_eq!(seen.lock().unwrap().last().unwrap().1, "f");
    assert!(survivor.last > Some(Position { term: lead.term, node_id: leader, index: last.index }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_without_a_replica_survives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for folder in [dir.path().to_owned(), dir.path().join("missing")] {
        let error = survive(&folder, Journal::new(&Seen::default())).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert!(!dir.path().join("log.redb").exists(), "nothing is made by looking");
    }
}
