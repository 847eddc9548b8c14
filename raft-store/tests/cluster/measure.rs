//! Figures, not tests: run with `--ignored --nocapture`, best in release. They assert nothing about speed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use tepui_raft_store::Timing;

use crate::harness::Cluster;

const ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn time_from_a_leaders_death_to_the_next_commit() {
    let mut cluster = Cluster::started(3, |config| config.timing = Timing::default()).await;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        cluster.write(&format!("before-{round}")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (leader, _) = cluster.leader().await;
        cluster.kill(leader);
        let killed = Instant::now();
        cluster.write(&format!("after-{round}")).await;
        times.push(killed.elapsed());
        cluster.start(leader).await;
    }
    times.sort();
    println!(
        "death to next commit: min {:?} median {:?} max {:?}",
        times[0],
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn commits_per_second() {
    for replicas in [1, 3] {
        println!("{replicas} replicas");
        measure_commits(replicas).await;
    }
}

async fn measure_commits(replicas: u64) {
    let cluster = Cluster::started(replicas, |config| config.timing = Timing::default()).await;
    let (id, lead) = cluster.leader().await;
    for in_flight in [1, 64, 1024, 4096] {
        let begun = Instant::now();
        let store = cluster.store(id);
        let proposals = (0..u32::MAX).take_while(|_| begun.elapsed() < Duration::from_secs(3)).map(|_| {
            let (proposed, proposal) = (Instant::now(), store.propose(&lead, Bytes::from("x".repeat(256))));
            async move { proposal.await.ok().map(|_| proposed.elapsed()) }
        });
        let done: Vec<_> = futures::stream::iter(proposals).buffer_unordered(in_flight).collect().await;
        let mut times: Vec<Duration> = done.iter().flatten().copied().collect();
        times.sort();
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
        let refused = done.len() - times.len();
        let now = store.leadership().borrow().clone();
        if refused > 0 {
            println!("it led as {lead:?}, now {now:?}");
        }
        println!(
            "{in_flight} in flight: {rate:.0}/s, min {:?} p50 {:?} p99 {:?}, {refused} refused",
            at(0),
            at(50),
            at(99)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn spurious_changes_of_leader_in_peace() {
    let cluster = Cluster::started(3, |config| config.timing = Timing::default()).await;
    let (_, first) = cluster.leader().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (_, last) = cluster.leader().await;
    println!("30 s: from {first:?} to {last:?}");
}
