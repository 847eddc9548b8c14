//! State machines that misbehave: the replica ends with a reason, the process does not.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tepui_raft_store::{Entry, Leadership, OpenError, RaftStore, StateMachine};

use crate::harness::{Cluster, PATIENCE};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    None,
    Panic,
    TooFewAnswers,
    SnapshotFails,
    InstallFails,
}

struct Wicked(Arc<Mutex<Vice>>);

impl StateMachine for Wicked {
    type Frozen = Vice;

    fn apply(&mut self, entries: Vec<Entry>) -> Vec<Bytes> {
        let vice = *self.0.lock().unwrap();
        assert_ne!(vice, Vice::Panic, "as told");
        let skipped = usize::from(vice == Vice::TooFewAnswers);
        entries.iter().skip(skipped).map(|_| Bytes::new()).collect()
    }

    fn freeze(&self) -> Vice {
        *self.0.lock().unwrap()
    }

    fn write_snapshot(vice: &Vice, _out: &mut dyn Write) -> std::io::Result<()> {
        if *vice == Vice::SnapshotFails { Err(std::io::Error::other("no ink")) } else { Ok(()) }
    }

    fn install(&mut self, _input: &mut dyn Read, _last_index: u64) -> Result<(), anyhow::Error> {
        anyhow::ensure!(*self.0.lock().unwrap() != Vice::InstallFails, "cannot read this");
        Ok(())
    }
}

/// A cluster of one on a wicked state machine, leading.
async fn started(cluster: &Cluster, vice: &Arc<Mutex<Vice>>) -> RaftStore {
    let store = RaftStore::open(cluster.config(1), Wicked(Arc::clone(vice))).await.unwrap();
    if store.cluster_id().is_none() {
        store.bootstrap(cluster.peers()).await.unwrap();
    }
    store
}

async fn propose(store: &RaftStore) -> bool {
    let mut leadership = store.leadership();
    let leading = leadership.wait_for(|l| matches!(l, Leadership::Leading(_)));
    let Leadership::Leading(lead) = tokio::time::timeout(PATIENCE, leading).await.unwrap().unwrap().clone()
    else {
        unreachable!("it was waited for")
    };
    tokio::time::timeout(PATIENCE, store.propose(&lead, Bytes::from_static(b"x"))).await.unwrap().is_ok()
}

async fn fault(store: &RaftStore) -> String {
    let mut fatal = store.fatal();
    let fault = fatal.wait_for(Option::is_some);
    tokio::time::timeout(PATIENCE, fault).await.unwrap().unwrap().clone().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_apply_is_fatal_and_answers_nobody() {
    for (vice, words) in [(Vice::Panic, "panicked"), (Vice::TooFewAnswers, "0 answers to 1 commands")] {
        let cluster = Cluster::with(1, |_| {});
        let told = Arc::new(Mutex::new(Vice::None));
        let store = started(&cluster, &told).await;
        assert!(propose(&store).await);
        *told.lock().unwrap() = vice;
        assert!(!propose(&store).await, "{vice:?}");
        let text = fault(&store).await;
        assert!(text.contains(words), "{vice:?}: {text}");
        store.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_written_is_fatal() {
    let cluster = Cluster::with(1, |_| {});
    let store = started(&cluster, &Arc::new(Mutex::new(Vice::SnapshotFails))).await;
    assert!(propose(&store).await);
    assert!(store.trigger_snapshot().await.is_err());
    assert!(fault(&store).await.contains("no ink"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_understood_keeps_the_replica_out() {
    let cluster = Cluster::with(1, |_| {});
    let told = Arc::new(Mutex::new(Vice::None));
    let store = started(&cluster, &told).await;
    assert!(propose(&store).await);
    store.trigger_snapshot().await.unwrap();
    store.shutdown().await;
    *told.lock().unwrap() = Vice::InstallFails;
    match RaftStore::open(cluster.config(1), Wicked(Arc::clone(&told))).await {
        Err(OpenError::Install { file, reason }) => {
            assert!(file.starts_with(cluster.folder(1)));
            assert_eq!(reason, "cannot read this");
        }
        other => panic!("{other:?}"),
    }
    *told.lock().unwrap() = Vice::None;
    // The folder was let go.
    started(&cluster, &told).await.shutdown().await;
}
