//! A leader out of reach of its peers, and leaders that die under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tepui_raft_store::{Leadership, ProposeError};

use crate::harness::{Cluster, texts, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_its_quorum_stops_leading_and_begins_anew_when_it_is_back() {
    let mut cluster = Cluster::started(3, |_| {}).await;
    cluster.write("before").await;
    let (leader, lead) = cluster.leader().await;
    let others = cluster.others(leader);
    for id in &others {
        cluster.shutdown(*id).await;
    }
    let store = cluster.store(leader).clone();
    let stuck = store.propose(&lead, Bytes::from_static(b"stuck"));
    let mut leadership = store.leadership();
    let following = leadership.wait_for(|l| matches!(l, Leadership::Following { .. }));
    tokio::time::timeout(crate::harness::PATIENCE, following).await.expect("it must stop leading").unwrap();
    let outcome = stuck.await;
    assert!(
        matches!(outcome, Err(ProposeError::Unknown(_) | ProposeError::NotLeading { .. })),
        "answered when the lead ended: {outcome:?}"
    );
    let refused = store.propose(&lead, Bytes::from_static(b"late")).await;
    assert!(matches!(refused, Err(ProposeError::NotLeading { .. })), "{refused:?}");
    assert!(store.read_barrier(&lead).await.is_err());

    for id in &others {
        cluster.start(*id).await;
    }
    let (again, next) = cluster.leader().await;
    if again == leader {
        assert!(next.serial > lead.serial);
    }
    let last = cluster.write("after").await;
    for id in cluster.running.keys() {
        until("the last command", || (cluster.seen(*id).last()?.0 == last.index).then_some(())).await;
    }
    let seen = cluster.seen(leader);
    assert!(!seen.iter().any(|(_, text)| text == "late"), "refused means never applied: {seen:?}");
}

/// Writes one command after the other until told to stop; returns what was acknowledged and what was surely refused.
async fn writer(
    cluster: Arc<tokio::sync::RwLock<Cluster>>,
    name: u32,
    stop: Arc<AtomicBool>,
) -> (Vec<String>, Vec<String>) {
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{name}/{number}");
        number += 1;
        let proposal = {
            let cluster = cluster.read().await;
            cluster.leading().map(|(id, lead)| cluster.store(id).propose(&lead, Bytes::from(text.clone())))
        };
        match proposal {
            None => tokio::time::sleep(Duration::from_millis(10)).await,
            Some(proposal) => match proposal.await {
                Ok(_) => acknowledged.push(text),
                Err(ProposeError::NotLeading { .. }) => refused.push(text),
                Err(_) => {}
            },
        }
    }
    (acknowledged, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_leader_and_what_was_refused_never_appears() {
    let cluster = Cluster::started(3, |config| {
        config.timing =
            tepui_raft_store::Timing { heartbeat_ms: 50, election_min_ms: 250, election_max_ms: 500 };
        config.snapshot_every_entries = 300;
        config.keep_entries = 50;
    })
    .await;
    let cluster = Arc::new(tokio::sync::RwLock::new(cluster));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for name in 0..4 {
        writers.spawn(writer(Arc::clone(&cluster), name, Arc::clone(&stop)));
    }
    for round in 0..5 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (leader, _) = cluster.read().await.leader().await;
        if round % 2 == 0 {
            cluster.write().await.kill(leader);
            let (new, _) = cluster.read().await.leader().await;
            assert_ne!(new, leader);
            cluster.write().await.start(leader).await;
        } else {
            let store = cluster.read().await.store(leader).clone();
            store.hand_over(crate::harness::PATIENCE).await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let outcomes = writers.join_all().await;
    let cluster = cluster.read().await;
    let last = cluster.write("last").await;
    for id in cluster.running.keys() {
        until("all to catch up", || (cluster.seen(*id).last()?.0 >= last.index).then_some(())).await;
    }
    let seen = cluster.seen(1);
    assert!(cluster.running.keys().all(|id| cluster.seen(*id) == seen), "the same everywhere");
    let all: std::collections::BTreeMap<&str, u32> =
        seen.iter().fold(std::collections::BTreeMap::new(), |mut counts, (_, text)| {
            *counts.entry(text.as_str()).or_default() += 1;
            counts
        });
    for (acknowledged, refused) in &outcomes {
        assert!(!acknowledged.is_empty());
        for text in acknowledged {
            assert_eq!(all.get(text.as_str()), Some(&1), "{text} was acknowledged");
        }
        for text in refused {
            assert_eq!(all.get(text.as_str()), None, "{text} was refused");
        }
    }
}

/// The transport contract: after every change of leader a write commits soon, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_never_stall_after_a_change_of_leader() {
    let cluster = Cluster::started(3, |config| {
        config.timing =
            tepui_raft_store::Timing { heartbeat_ms: 50, election_min_ms: 250, election_max_ms: 500 };
    })
    .await;
    let expected = texts(0..60);
    for text in &expected {
        cluster.write(text).await;
        let (leader, _) = cluster.leader().await;
        cluster.store(leader).hand_over(crate::harness::PATIENCE).await.unwrap();
    }
    cluster.all_have(&expected).await;
}
