//! Damaged files of one replica: it says what is wrong and stays out, and the others go on.

use std::path::{Path, PathBuf};

use tepui_raft_store::OpenError;

use crate::harness::{Cluster, texts};

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

async fn refused(cluster: &mut Cluster, id: u64) -> (PathBuf, String) {
    match cluster.try_start(id).await {
        Err(OpenError::Damaged { file, reason }) => (file, reason),
        Err(other) => panic!("{other}"),
        Ok(()) => panic!("it started"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_damaged_files_stays_out_and_the_cluster_goes_on() {
    let mut cluster = Cluster::started(3, |config| config.keep_entries = 0).await;
    let mut expected = texts(0..40);
    for text in &expected {
        cluster.write(text).await;
    }
    cluster.all_have(&expected).await;
    let (leader, _) = cluster.leader().await;
    let victim = cluster.others(leader)[0];
    cluster.store(victim).trigger_snapshot().await.unwrap();
    cluster.shutdown(victim).await;

    let log = cluster.folder(victim).join("log.redb");
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    let (file, reason) = refused(&mut cluster, victim).await;
    assert_eq!(file, log);
    assert!(!reason.is_empty());
    std::fs::write(&log, &whole).unwrap();

    let snapshots = cluster.folder(victim).join("snapshots");
    let newest = std::fs::read_dir(&snapshots).unwrap().map(|e| e.unwrap().path()).max().unwrap();
    let whole = std::fs::read(&newest).unwrap();
    flip(&newest, whole.len() - 60);
    let (file, reason) = refused(&mut cluster, victim).await;
    assert_eq!(file, newest);
    assert!(reason.contains("checksum"), "{reason}");
    std::fs::write(&newest, &whole[..whole.len() - 5]).unwrap();
    let (file, reason) = refused(&mut cluster, victim).await;
    assert_eq!(file, newest);
    assert!(reason.contains("ends in the middle"), "{reason}");
    std::fs::remove_file(&newest).unwrap();
    let (file, reason) = refused(&mut cluster, victim).await;
    assert_eq!(file, snapshots);
    assert!(reason.contains("purged"), "{reason}");

    expected.push("meanwhile".to_owned());
    cluster.write("meanwhile").await;
    cluster.all_have(&expected).await;

    // Repaired by hand, it is welcome again.
    std::fs::write(&newest, &whole).unwrap();
    cluster.start(victim).await;
    cluster.all_have(&expected).await;
}
